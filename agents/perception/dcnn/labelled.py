"""A user's own labelled images, to train a network further on.

Labels are those of ``envs/labels.py``: places of features, of the classes that the file
declares.  Of these classes all is taken to be labelled; of columns, areas and other classes
the file says nothing, and the network is asked nothing there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.labels import Image, read_labels
from ....hardware.coordinates import rotation
from ....hardware.microscope import ScanRequest
from .legend import F32, LEGENDS, Truth, features_of, specimen_points
from .scenes import SIDE, standard

AIMED = 0.5  # share of the scenes that show a label
FRAMES = 16  # the reference frame of a recorded image is this share of its shorter side
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """One image and its labels, for a network.

    Attributes:
        image: (rows, columns).
        pixel_nm: side of a pixel.
        truth: what the labels say, for painting.
        known: (channels,) 1 for those that the labels tell of.
    """

    image: Floats
    pixel_nm: float
    truth: Truth
    known: F32

    @classmethod
    def of(
        cls,
        specimen: str,
        image: NDArray[Any],
        pixel_nm: float,
        labels: str | Path | Mapping[str, Any],
    ) -> Labelled:
        """Raises ValueError where labels have a class that the specimen's network does not."""
        values = np.asarray(image, dtype=np.float64)
        if values.ndim != 2 or min(values.shape) < FRAMES or not np.isfinite(values).all():
            raise ValueError(
                f"an image of shape {values.shape}; it must have two dimensions of at least "
                f"{FRAMES} px, and numbers alone"
            )
        frame_nm = min(values.shape) // FRAMES * pixel_nm
        said = read_labels(labels, Image(_two(values.shape), pixel_nm, frame_nm, 1.0))
        legend = LEGENDS[specimen]
        other = [n for n in said.class_names if n not in legend.features]
        if other:
            raise ValueError(
                f"labels of {', '.join(other)}; the network for {specimen} knows: "
                f"{', '.join(legend.features)}"
            )
        known = np.array([c in said.class_names for c in legend.channels], dtype=np.float32)
        places, channels, widths = features_of(said, legend)
        none = np.empty(0, dtype=np.int64)
        truth = Truth(legend, np.empty((0, 2)), none, places, channels, widths, said)
        return cls(values, pixel_nm, truth, known)

    def scene(self, rng: np.random.Generator) -> tuple[F32, F32, F32]:
        """A piece of it, turned anyhow, as the network is to see it."""
        legend, said = self.truth.legend, self.truth.specimen
        side = SIDE * legend.pixel_nm
        half = np.asarray(said.field_yx_nm) / 2
        aim = rng.uniform(-half, half)
        if len(said.feature_yx_nm) and rng.random() < AIMED:
            aim = said.feature_yx_nm[rng.integers(len(said.feature_yx_nm))]
            aim = aim + rng.uniform(-0.4, 0.4, 2) * side
        request = _aimed(aim, side, float(rng.uniform(-pi, pi)))
        points = specimen_points(request, (SIDE, SIDE))
        painted = self.truth.painted(request, (SIDE, SIDE), areas=False)
        return standard(_sampled(self.image, points / self.pixel_nm)), painted, self.known


@dataclass(frozen=True)
class LabelledScenes:
    """Pieces of labelled images without end, in turn.

    Args:
        images: at least one.
        seed: of where they lie.
    """

    images: tuple[Labelled, ...]
    seed: int = 0

    def __iter__(self) -> Iterator[tuple[F32, F32, F32]]:
        rng = np.random.default_rng([self.seed, 3])
        while True:
            for image in self.images:
                yield image.scene(rng)


def _aimed(aim: Floats, side: float, angle: float) -> ScanRequest:
    """A frame about a place on the specimen, turned by an angle."""
    y, x = (aim @ rotation(angle)).tolist()
    return ScanRequest((y, x), (side, side), (SIDE, SIDE), 1.0, angle)


def _sampled(image: Floats, at_px: Floats) -> Floats:
    """An image at places (rows, columns, 2) in its pixels from its middle; mirrored beyond."""
    from scipy.ndimage import map_coordinates

    middle = (np.asarray(image.shape) - 1) / 2
    at = np.moveaxis(at_px + middle, -1, 0)
    return np.asarray(map_coordinates(image, at, order=1, mode="mirror"))


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]
