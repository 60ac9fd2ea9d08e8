"""The perception of contrast: what a person sees of a frame at a glance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import Frame
from ..agent import Context
from ..outliers import location_and_scale

Floats = NDArray[np.float64]
BRIGHTEST = 0.01  # of the pixels
EVEN = 2.0  # a frame counts for at most so many times its equal share, and for no less than 1 / so
FINEST = 1e-6  # of full scale; spreads below it are rounding


class ContrastPerception:
    """How bright a frame is, how much contrast it has, and how odd that makes it.

    Its descriptors are oddity, mean, standard deviation beyond shot noise, and the
    mean of the brightest hundredth of the pixels, the last three in full scales.  Oddity is
    the greatest of the deviations of these three from their medians over the field, in MADs;
    it is pursued by default.

    The brightest pixels are averaged because counts are whole numbers, and a percentile of
    few electrons is the same for most frames.  The shot noise of a frame is estimated
    from its second differences, in which smooth pictures leave nothing (Immerkaer, Computer
    Vision and Image Understanding 64 (1996) 300), so that no detector's gain need be known.
    """

    name = "contrast"
    privileged = False
    pursued = "oddity"
    names = ("oddity", "mean", "deviation", "brightest")
    components = None

    def reset(self, context: Context, seed: int) -> None:
        self.full_scale = context.full_scale
        self.dwell_us = context.reference.dwell_us
        self.middle, self.spread = np.zeros(3), np.ones(3)

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def features(self, frames: Sequence[Frame]) -> Floats:
        """Mean, standard deviation and brightest hundredth (n, 3) of n frames."""
        return np.array([self._glance(f) for f in frames]).reshape(-1, 3)

    def _glance(self, frame: Frame) -> tuple[float, float, float]:
        black, white = self.full_scale[frame.request.detectors[0]]
        longer = frame.request.dwell_us / self.dwell_us
        image = frame.image[: frame.valid_rows]  # of a frame that was broken off
        if not len(image):
            return np.nan, np.nan, np.nan
        pixels = image.ravel()
        few = max(1, round(BRIGHTEST * len(pixels)))
        mean = float(pixels.mean(dtype=np.float64))
        brightest = float(np.partition(pixels, -few)[-few:].mean(dtype=np.float64))
        centred = pixels - np.float32(mean)
        variance = float(centred @ centred) / len(pixels) - _noise_variance(image)
        scale = white - black
        return (
            (mean / longer - black) / scale,
            max(variance, 0.0) ** 0.5 / longer / scale,
            (brightest / longer - black) / scale,
        )

    def fit(self, features: Sequence[Floats], shares: Floats) -> None:
        """Take the medians over the field for what is ordinary.

        Args:
            features: (3,) of each of n frames.
            shares: (n,) of the field that each frame stands for; they add up to 1.
        """
        seen = np.asarray(features)
        there = np.isfinite(seen).all(axis=1)  # a frame without a number tells nothing of others
        if not there.any():
            return
        # Of a first line of frames the last stands for nearly all of the field, and is one frame.
        equal = 1.0 / there.sum()
        weights = np.clip(shares[there], equal / EVEN, equal * EVEN)
        self.middle, self.spread = location_and_scale(seen[there], weights)

    def describe(self, features: Sequence[Floats]) -> list[Floats]:
        """Descriptors (1, 4) of each frame, from its three: oddity first."""
        found = np.asarray(features)
        deviation = np.abs(found - self.middle) / np.maximum(self.spread, FINEST)
        return list(np.column_stack([deviation.max(axis=1), found])[:, None])

    def save(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The frames tell everything."""

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        return 1.0, ""


def _noise_variance(image: NDArray[np.float32]) -> float:
    """Of white noise upon a smooth picture (rows, columns)."""
    if min(image.shape) < 3:
        return 0.0
    down = image[2:] - 2 * image[1:-1] + image[:-2]
    both = (down[:, 2:] - 2 * down[:, 1:-1] + down[:, :-2]).ravel()
    return float(both @ both) / len(both) / 36.0  # the sum of the squares of its weights
