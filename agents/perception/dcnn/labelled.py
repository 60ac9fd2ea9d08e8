"""A user's own labelled images, to train a network further on.

Labels are those of ``envs/labels.py``: places of features, of the classes that the file
declares.  Of these classes all is taken to be labelled; of columns, areas and other classes
the file says nothing, and the network is asked nothing there.  Nor is it of points nearer to
the image's border than a context radius, where labels may not lie, and of what is beyond it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....envs.labels import DRAWN_AS, Image, read_labels
from ....envs.numbers import is_number
from ....hardware.coordinates import rotation
from ....hardware.microscope import ScanRequest
from ....simulators.specimens import Specimen, specimen_module
from .legend import COLUMN_NM, F32, LEGENDS, Legend, Truth, features_of, specimen_points
from .scenes import PIXELS, SIDE, prepared, shape_at, standard
from .scoring import Tally, add_up, claimed_places
from .segmenter import LEAST_PX, TRAINED, Segmenter

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
        told_nm: (channels,) how far from the image's border on the labels tell of each; of what
            they never tell it is infinite.
        held_out: columns of pixels at its right side that are not trained on.
    """

    image: Floats
    pixel_nm: float
    truth: Truth
    told_nm: Floats
    held_out: int = 0

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
            ValueError: an image that is constant, or that the specimen's network cannot look at,
                pixels of no size, or labels of a class that it does not tell, or as another shape.
        """
        values = np.asarray(image, dtype=np.float64)
        if values.ndim != 2 or min(values.shape) < FRAMES or not np.isfinite(values).all():
            raise ValueError(
                f"an image of shape {values.shape}; it must have two dimensions of at least "
                f"{FRAMES} px, and numbers alone"
            )
        if not (is_number(pixel_nm) and 0 < pixel_nm < np.inf):
            raise ValueError(f"pixels of {pixel_nm!r} nm; they must be above 0 and finite")
        legend = LEGENDS[specimen]
        _check_sampling(legend, values, pixel_nm)
        frame_nm = min(values.shape) // FRAMES * pixel_nm
        said = read_labels(labels, Image(_two(values.shape), pixel_nm, frame_nm, 1.0))
        told = _told(legend, said)
        places, channels, widths = features_of(said, legend)
        none = np.empty(0, dtype=np.int64)
        truth = Truth(legend, np.empty((0, 2)), none, places, channels, widths, said)
        width, scene = values.shape[1] * pixel_nm, SIDE * legend.pixel_nm
        held_out = round(hold_out * values.shape[1])
        wide = min(held_out * pixel_nm, width - held_out * pixel_nm) >= scene
        if hold_out and not wide:
            warnings.warn(
                f"nothing is held out of an image of {width:.3g} nm: the strip, and what is left, "
                f"must be as wide as a scene, {scene:.3g} nm",
                stacklevel=2,
            )
        made = cls(values, pixel_nm, truth, told, held_out if wide else 0)
        if not standard(made.trained).any():
            raise ValueError("the image is constant where it is to be trained on; it shows nothing")
        return made

    @property
    def trained(self) -> Floats:
        """What of the image is trained on (rows, columns)."""
        return self.image[:, : self.image.shape[1] - self.held_out]

    @cached_property
    def _splines(self) -> F32:
        """The same as the network is given it when it looks, ready to be turned."""
        from scipy.ndimage import spline_filter

        pixel, own = (self.pixel_nm, self.pixel_nm), self.truth.legend.pixel_nm
        given = prepared(self.trained, shape_at(self.trained.shape, pixel, own))
        return np.asarray(spline_filter(given, mode="mirror", output=np.float32))

    def scene(self, rng: np.random.Generator) -> tuple[F32, F32]:
        """A piece of it, turned anyhow, as the network is to see it, and what is to be said of it.

        It lies within what is trained on, where that is large enough.  What is beyond is shown as
        in a mirror, and not asked for.
        """
        from scipy.ndimage import map_coordinates

        said = self.truth.specimen
        side = SIDE * self.truth.legend.pixel_nm
        low = -np.asarray(said.field_yx_nm) / 2
        high = -low - (0.0, self.held_out * self.pixel_nm)
        angle = float(rng.uniform(-pi, pi))
        reach = side / 2 * (abs(np.cos(angle)) + abs(np.sin(angle)))  # of the corners, either way
        middle = (low + high) / 2
        first, last = np.minimum(low + reach, middle), np.maximum(high - reach, middle)
        aim = rng.uniform(first, last)
        features = said.feature_yx_nm[said.feature_yx_nm[:, 1] <= high[1]]
        if len(features) and rng.random() < AIMED:
            aim = features[rng.integers(len(features))] + rng.uniform(-0.4, 0.4, 2) * side
        request = _aimed(np.clip(aim, first, last), side, angle)
        points = specimen_points(request, (SIDE, SIDE))
        at = (points - low) / (high - low) * self._splines.shape - 0.5
        at = np.moveaxis(at, -1, 0)
        image = map_coordinates(self._splines, at, mode="mirror", prefilter=False)
        painted = self.truth.painted(request, (SIDE, SIDE), areas=False)
        painted[self._border_nm(points) < self.told_nm[:, None, None]] = np.nan
        painted[:, points[..., 1] > high[1]] = np.nan
        return image, painted

    def _border_nm(self, yx_nm: Floats) -> Floats:
        """How far (...) inside the image's border places (..., 2) lie; negative outside."""
        half = np.asarray(self.truth.specimen.field_yx_nm) / 2
        return np.asarray((half - np.abs(yx_nm)).min(axis=-1))

    def score(self, segmenter: Segmenter) -> dict[str, Tally]:
        """What a network claims in the strip, by class, against the labels; {} without one."""
        if not self.held_out:
            return {}
        legend = self.truth.legend
        seen = segmenter.look(self.image, (self.pixel_nm, self.pixel_nm))
        first_nm = (self.image.shape[1] / 2 - self.held_out) * self.pixel_nm
        claimed_at = claimed_places(seen, segmenter.thresholds)
        middle = (np.asarray(self.image.shape) - 1) / 2
        found = {}
        for of in specimen_module(legend.specimen).CLASSES:
            if of.name not in self.truth.specimen.class_names:
                continue
            channel = legend.channels.index(of.name)
            true = self.truth.features_yx_nm[self.truth.feature_channel == channel]
            at, sure = claimed_at[of.name]
            claimed = (at - middle) * self.pixel_nm
            within = max(of.tolerance_nm, COLUMN_NM)
            there = claimed[:, 1] >= first_nm
            there &= self._border_nm(claimed) >= self.told_nm[channel] - within
            tally = found[of.name] = Tally()
            tally.add(true[true[:, 1] >= first_nm], claimed[there], sure[there], within)
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

    def __iter__(self) -> Iterator[tuple[F32, F32]]:
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


def _check_sampling(legend: Legend, image: Floats, pixel_nm: float) -> None:
    """Raises ValueError where the network does not look at such an image."""
    own = legend.pixel_nm
    if pixel_nm > TRAINED[1] * own:
        raise ValueError(
            f"pixels of {pixel_nm:.4g} nm; the network for {legend.specimen} does not look at "
            f"images whose pixels are larger than {PIXELS[1] * own:.3g} nm"
        )
    if min(shape_at(image.shape, (pixel_nm, pixel_nm), own)) < LEAST_PX:
        raise ValueError(
            f"an image of {image.shape[0]} x {image.shape[1]} px of {pixel_nm:.4g} nm; the network "
            f"for {legend.specimen} takes at least {LEAST_PX * own:.3g} nm a side"
        )


def _told(legend: Legend, said: Specimen) -> Floats:
    """From how far inside the border on (channels,) labels tell of what the network tells.

    Points may lie a context radius inside it and not nearer; lines may reach to it.

    Raises:
        ValueError: they are of other classes, or of another shape than the network knows.
    """
    other = [n for n in said.class_names if n not in legend.features]
    if other:
        raise ValueError(
            f"labels of {', '.join(other)}; the network for {legend.specimen} knows: "
            f"{', '.join(legend.features)}"
        )
    shapes = {c.name: c.shape for c in specimen_module(legend.specimen).CLASSES}
    told = np.full(len(legend.channels), np.inf)
    for own in said.classes:
        known = shapes[own.name]
        if own.shape != known:
            raise ValueError(
                f"labels of {own.name} as a {own.shape}; the network for {legend.specimen} tells "
                f"it as a {known}, each given by its {DRAWN_AS[known]!r}"
            )
        told[legend.channels.index(own.name)] = own.context_radius_nm if known == "point" else 0.0
    return told


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[0], shape[1]
