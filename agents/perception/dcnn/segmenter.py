"""A network at work: an image in, the probability of everything in every pixel out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...agent import ClassMap
from .legend import F32, LEGENDS, Legend
from .noise import SATURATED, is_noise, noise_of, saturated
from .scenes import PIXELS, SIDE, prepared, shape_at
from .weights import load, path_of

if TYPE_CHECKING:
    from .network import UNet

TRAINED = (0.99 * PIXELS[0], 1.01 * PIXELS[1])  # pixels, in the network's; rounding is no matter
EVEN = 0.5  # the threshold of a class for which none was chosen
LEAST_PX = 8  # of the network's; smaller pictures hold nothing that it knows
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Segmentation:
    """What a network says of an image.

    Attributes:
        legend: the channels.
        probability: (channels, rows, columns) at the network's pixels.
        spread: its standard deviation over the members; zeros for one.
        pixel_yx_nm: of the network, along either axis.
        scale_yx: pixels of the image for each of the network's.
    """

    legend: Legend
    probability: F32
    spread: F32
    pixel_yx_nm: tuple[float, float]
    scale_yx: tuple[float, float]

    def channel(self, name: str) -> F32:
        """The probability (rows, columns) of one channel."""
        return np.asarray(self.probability[self.legend.channels.index(name)])

    @property
    def class_map(self) -> ClassMap:
        """What is likelier than not: features before columns, and columns before areas."""
        names = self.legend.channels
        values = np.zeros(self.probability.shape[1:], dtype=np.uint8)
        for among in (self.legend.areas, self.legend.kinds, self.legend.features):
            if among:
                channels = np.array([names.index(name) for name in among])
                of = self.probability[channels]
                best = channels[of.argmax(axis=0)] + 1
                values = np.where(of.max(axis=0) > EVEN, best, values).astype(np.uint8)
        legend = self.legend
        kind = dict.fromkeys(legend.areas, "area") | dict.fromkeys(legend.kinds, "column")
        return ClassMap(names, tuple(kind.get(name, "feature") for name in names), values)

    def image_px(self, network_px: Floats) -> Floats:
        """Pixels (..., 2) of the network as pixels of the image."""
        return np.asarray((network_px + 0.5) * self.scale_yx - 0.5)

    def network_px(self, image_px: Floats) -> Floats:
        """The inverse."""
        return np.asarray((image_px + 0.5) / self.scale_yx - 0.5)


class Segmenter:
    """A network, or an ensemble of its snapshots, for one kind of specimen.

    Args:
        weights: the name of a specimen, whose weights are in the package, or the path of a
            file.
        ensemble: ask all snapshots, whose spread is an uncertainty, rather than the last alone.

    Raises:
        ValueError: no such weights, or damaged ones.
    """

    def __init__(self, weights: str | Path, ensemble: bool = False) -> None:
        from .network import ready

        members, self.header = load(path_of(weights))
        self.members: list[UNet] = ready(members if ensemble else members[-1:])
        self.legend: Legend = LEGENDS[self.header.specimen]
        self._warned: set[str] = set()

    @property
    def specimen(self) -> str:
        """That it was trained on."""
        return self.header.specimen

    @property
    def thresholds(self) -> dict[str, float]:
        """Confidence from which each class is claimed: the card's, or a half."""
        chosen = self.header.card.get("thresholds", {})
        return {n: chosen.get(n, EVEN) for n in (*self.legend.features, *self.legend.as_area)}

    def takes(self, shape_yx: Sequence[int], pixel_yx_nm: Sequence[float]) -> bool:
        """Whether it looks at images of so many pixels, so large; where not it says why, once.

        Their pixels must be no larger than those that it was trained on, for there is nothing
        between them that it could see; and either side at least ``LEAST_PX`` of its own pixels.
        """
        return not (self._is_coarse(pixel_yx_nm) or self._is_small(shape_yx, pixel_yx_nm))

    def look(self, image: NDArray[np.floating], pixel_yx_nm: Sequence[float]) -> Segmentation:
        """What is in an image (rows, columns), whose pixels are so large.

        Its brightness and contrast do not matter.  Pixels that are no numbers count as the
        median of the others.  Of an image that shows nothing but noise, of a constant one, and
        of one that is saturated in more than half of its pixels (with a warning), everything is
        improbable everywhere: a network would see lattices there.

        So it is of an image whose pixels are larger than those that it was trained on (with a
        warning), which it does not look at: what is said of it has the image's own pixels.  An
        image never has more than 7 of the network's pixels for each of its own, therefore, which
        bounds what a look takes: about 4 kB, and 30 us on one core, for each pixel of the image.

        Raises:
            ValueError: fewer pixels than it takes, or none that is a number.
        """
        from .network import probabilities

        values = np.asarray(image, dtype=np.float64)
        there = np.isfinite(values)
        if not there.any():
            raise ValueError("an image without a number in it")
        if not there.all():
            values = np.where(there, values, np.median(values[there]))
        coarse = self._is_coarse(pixel_yx_nm)
        if not coarse:
            self._warn_of_fine(pixel_yx_nm)
            if small := self._too_small(values.shape, pixel_yx_nm):
                raise ValueError(small)
        shape = values.shape if coarse else self._shape(values.shape, pixel_yx_nm)
        mean = spread = np.zeros((1, len(self.legend.channels), *shape), dtype=np.float32)
        if not (coarse or self._is_saturated(values) or is_noise(values)):
            given = prepared(values, (shape[0], shape[1]))
            self._warn_of_noise(given)
            mean, spread = probabilities(self.members, given[None])
        scale = (values.shape[0] / shape[0], values.shape[1] / shape[1])
        pixel = (scale[0] * float(pixel_yx_nm[0]), scale[1] * float(pixel_yx_nm[1]))
        return Segmentation(self.legend, mean[0], spread[0], pixel, scale)

    def _is_saturated(self, values: Floats) -> bool:
        share = saturated(values)
        if share > SATURATED:
            self._warn_once(
                "saturated",
                f"{share:.0%} of the pixels have the greatest value of all: an image so saturated "
                "tells nothing; lower the gain, the beam current or the dwell time",
            )
        return share > SATURATED

    def _warn_of_noise(self, given: F32) -> None:
        """Of a picture in which it is known to overlook much for its noise."""
        most = self.header.card.get("noise", np.inf)
        if min(given.shape) >= SIDE // 2 and noise_of(given) > most:
            self._warn_once(
                "noise",
                f"noise is {noise_of(given):.0%} of the contrast; the network for {self.specimen} "
                f"is reliable up to {most:.0%}, and may overlook or see what is not there",
            )

    def _is_coarse(self, pixel_yx_nm: Sequence[float]) -> bool:
        coarse = max(pixel_yx_nm) > TRAINED[1] * self.header.pixel_nm
        if coarse:
            sentence = f"{self._trained(max(pixel_yx_nm))}, and does not look at larger ones"
            self._warn_once("coarse", sentence)
        return bool(coarse)

    def _is_small(self, shape_yx: Sequence[int], pixel_yx_nm: Sequence[float]) -> bool:
        small = self._too_small(shape_yx, pixel_yx_nm)
        if small:
            self._warn_once("small", f"{small}, and does not look at smaller ones")
        return bool(small)

    def _warn_of_fine(self, pixel_yx_nm: Sequence[float]) -> None:
        if min(pixel_yx_nm) < TRAINED[0] * self.header.pixel_nm:
            sentence = f"{self._trained(min(pixel_yx_nm))}, and may be wrong of smaller ones"
            self._warn_once("fine", sentence)

    def _trained(self, pixel_nm: float) -> str:
        least, most = (p * self.header.pixel_nm for p in PIXELS)
        return (
            f"pixels of {pixel_nm:.4g} nm; the network for {self.specimen} was trained on "
            f"{least:.3g} to {most:.3g} nm"
        )

    def _too_small(self, shape_yx: Sequence[int], pixel_yx_nm: Sequence[float]) -> str:
        """A sentence of an image with fewer pixels than it takes; none of one with enough."""
        if min(self._shape(shape_yx, pixel_yx_nm)) >= LEAST_PX:
            return ""
        least = LEAST_PX * self.header.pixel_nm
        return (
            f"an image of {shape_yx[0]} x {shape_yx[1]} px of {pixel_yx_nm[0]:.4g} nm; the network "
            f"for {self.specimen} takes at least {least:.3g} nm a side"
        )

    def _shape(self, shape_yx: Sequence[int], pixel_yx_nm: Sequence[float]) -> tuple[int, int]:
        return shape_at(shape_yx, pixel_yx_nm, self.header.pixel_nm)

    def _warn_once(self, of: str, sentence: str) -> None:
        if of not in self._warned:
            self._warned.add(of)
            warnings.warn(sentence, stacklevel=4)
