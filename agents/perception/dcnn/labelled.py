"""A user's own labelled images, to train a network further on.

Labels are those of ``envs/labels.py``: places of features, of the classes that the file
declares.  Of these classes all is taken to be labelled; of columns, areas and other classes
the file says nothing, and the network is asked nothing there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import pi, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.labels import Image, read_labels
from ....envs.numbers import is_number
from ....hardware.coordinates import rotation
from ....hardware.microscope import ScanRequest
from ....simulators.specimens import specimen_module
from .legend import COLUMN_NM, F32, LEGENDS, Truth, features_of, specimen_points
from .scenes import SIDE, standard
from .scoring import Tally, add_up, claimed_places
from .segmenter import Segmenter

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
        held_out_nm: width of a strip at its right side that is not trained on.
    """

    image: Floats
    pixel_nm: float
    truth: Truth
    known: F32
    held_out_nm: float = 0.0

    @classmethod
    def of(
        cls,
        specimen: str,
        image: NDArray[Any],
        pixel_nm: float,
        labels: str | Path | Mapping[str, Any],
        hold_out: float = 0.0,
    ) -> Labelled:
        """From a file of labels.

        Args:
            specimen: whose network is to learn from it.
            image: (rows, columns).
            pixel_nm: side of a pixel.
            labels: as ``envs/labels.py`` has them.
            hold_out: share of its width to score the network on; nothing where what is left,
                or the strip, would be smaller than a scene.

        Raises:
            ValueError: pixels of no size, or labels of a class that the specimen's network does
                not tell.
        """
        values = np.asarray(image, dtype=np.float64)
        if values.ndim != 2 or min(values.shape) < FRAMES or not np.isfinite(values).all():
            raise ValueError(
                f"an image of shape {values.shape}; it must have two dimensions of at least "
                f"{FRAMES} px, and numbers alone"
            )
        if not (is_number(pixel_nm) and 0 < pixel_nm < np.inf):
            raise ValueError(f"pixels of {pixel_nm!r} nm; they must be above 0 and finite")
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
        width, scene = values.shape[1] * pixel_nm, SIDE * legend.pixel_nm
        held_out = hold_out * width
        wide = min(held_out, width - held_out) >= scene
        if hold_out and not wide:
            warnings.warn(
                f"nothing is held out of an image of {width:.3g} nm: the strip, and what is left, "
                f"must be as wide as a scene, {scene:.3g} nm",
                stacklevel=2,
            )
        return cls(values, pixel_nm, truth, known, held_out if wide else 0.0)

    def scene(self, rng: np.random.Generator) -> tuple[F32, F32, F32]:
        """A piece of it, turned anyhow, as the network is to see it."""
        legend, said = self.truth.legend, self.truth.specimen
        side = SIDE * legend.pixel_nm
        half = np.asarray(said.field_yx_nm) / 2
        # However a scene is turned, none of its corners is in the strip.
        last = half[1] - self.held_out_nm - (side / sqrt(2) if self.held_out_nm else 0.0)
        high = np.array([half[0], max(last, -half[1])])
        aim = rng.uniform(-half, high)
        features = said.feature_yx_nm[said.feature_yx_nm[:, 1] <= high[1]]
        if len(features) and rng.random() < AIMED:
            aim = features[rng.integers(len(features))]
            aim = np.minimum(aim + rng.uniform(-0.4, 0.4, 2) * side, high)
        request = _aimed(aim, side, float(rng.uniform(-pi, pi)))
        points = specimen_points(request, (SIDE, SIDE))
        painted = self.truth.painted(request, (SIDE, SIDE), areas=False)
        return standard(_sampled(self.image, points / self.pixel_nm)), painted, self.known

    def score(self, segmenter: Segmenter) -> dict[str, Tally]:
        """What a network claims in the strip, by class, against the labels; {} without one."""
        if not self.held_out_nm:
            return {}
        legend = self.truth.legend
        seen = segmenter.look(self.image, (self.pixel_nm, self.pixel_nm))
        first = self.image.shape[1] - self.held_out_nm / self.pixel_nm
        claimed_at = claimed_places(seen, segmenter.thresholds)
        middle = (np.asarray(self.image.shape) - 1) / 2
        found = {}
        for of in specimen_module(legend.specimen).CLASSES:
            channel = legend.channels.index(of.name) if of.name in legend.features else None
            if channel is None or not self.known[channel]:
                continue
            true = self.truth.features_yx_nm[self.truth.feature_channel == channel]
            true = true / self.pixel_nm + middle
            at, sure = claimed_at[of.name]
            true, there = true[true[:, 1] >= first], at[:, 1] >= first
            tally = found[of.name] = Tally()
            within = max(of.tolerance_nm, COLUMN_NM)
            tally.add(true * self.pixel_nm, at[there] * self.pixel_nm, sure[there], within)
        return found


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

    def score(self, segmenter: Segmenter) -> dict[str, Tally]:
        """Of all images together, in what was held out of them."""
        return add_up(image.score(segmenter) for image in self.images)


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
