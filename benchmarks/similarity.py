"""How alike two maps look."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOW = 7  # candidates
K1, K2 = 0.01, 0.03


def structural_similarity(a: Floats, b: Floats, span: float = 1.0) -> float:
    """The structural similarity index of two maps, 1 where they are the same.

    Means, variances and covariance within windows of 7 x 7 of equal weight, unbiased; the mean
    over the windows that lie inside (Wang, Bovik, Sheikh & Simoncelli, IEEE Transactions on
    Image Processing 13 (2004) 600).  This is what scikit-image's ``structural_similarity``, with
    which the paper's notebooks score, does by default.

    Args:
        a, b: (rows, columns) each, at least 7 of both.
        span: of the values, by which the constants that keep the ratios finite go.

    Raises:
        ValueError: maps of different shapes, too small ones, or a span that is none.
    """
    from scipy.ndimage import uniform_filter

    if a.shape != b.shape or a.ndim != 2 or min(a.shape) < WINDOW:
        raise ValueError(
            f"maps of {a.shape} and {b.shape}; they must be alike, and {WINDOW} or more to a side"
        )
    if not 0 < span < np.inf:
        raise ValueError(f"a span of {span}; it must be above 0 and finite")

    def mean(values: Floats) -> Floats:
        inside = slice(WINDOW // 2, -(WINDOW // 2))
        return np.asarray(uniform_filter(values, WINDOW)[inside, inside])

    first, second = mean(a), mean(b)
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    of_first = unbiased * (mean(a * a) - first**2)
    of_second = unbiased * (mean(b * b) - second**2)
    both = unbiased * (mean(a * b) - first * second)
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    light = (2 * first * second + c1) / (first**2 + second**2 + c1)
    structure = (2 * both + c2) / (of_first + of_second + c2)
    return float((light * structure).mean())
