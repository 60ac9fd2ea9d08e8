"""How noisy a picture is, whether it shows anything but noise, and whether it is saturated."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray

from .legend import F32

LAGS = tuple((y, x) for y in range(3) for x in range(-2, 3) if (y, x) > (0, 0))  # 12 neighbours
CHANCE = 51.0  # of the statistic with so many degrees of freedom: 1 picture of noise in a million
SATURATED = 0.5  # share of the pixels that have the greatest value of all


def noise_of(image: F32) -> float:
    """White noise in an image (rows, columns), as a share of its deviation, 0 to about 1.

    By the mean magnitude of a second difference along both axes, to which what varies slowly
    adds nothing (Immerkaer, *Comput. Vis. Image Underst.* 64 (1996) 300).
    """
    rows = image[:-2] - 2.0 * image[1:-1] + image[2:]
    twice = rows[:, :-2] - 2.0 * rows[:, 1:-1] + rows[:, 2:]
    deviation = float(image.std())
    return sqrt(pi / 2) / 6 * float(np.abs(twice).mean()) / deviation if deviation else 0.0


def is_noise(image: NDArray[np.floating]) -> bool:
    """Whether pixels (rows, columns) are as if each were drawn by itself.

    The squared correlations with the pixels up to two away, times the number of pixels, add up to
    about the number of such neighbours then, by a chi-squared distribution (Box & Pierce, *J. Am.
    Stat. Assoc.* 65 (1970) 1509).  A constant image is noise without noise.
    """
    values = np.asarray(image, dtype=np.float64)
    deviation = float(values.std())
    if deviation <= 1e-9 * max(1.0, float(np.abs(values).max())):
        return True
    values = (values - values.mean()) / deviation
    rows, columns = values.shape
    total = 0.0
    for y, x in LAGS:
        one = values[y:, max(x, 0) : columns + min(x, 0)]
        other = values[: rows - y, max(-x, 0) : columns - max(x, 0)]
        total += float((one * other).sum()) ** 2 / values.size
    return total < CHANCE


def saturated(image: NDArray[np.floating]) -> float:
    """The share of the pixels that have the greatest value of all; 0 where all have it."""
    values = np.asarray(image)
    share = float((values == values.max()).mean())
    return share if share < 1.0 else 0.0
