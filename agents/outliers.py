"""What most values are like, and which few stand out from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL = 1.4826  # times the MAD is the standard deviation where values are normal


def weighted_median(values: Floats, shares: Floats) -> Floats:
    """The lower median (d,) of values (n, d) of weights (n,)."""
    order = np.argsort(values, axis=0, kind="stable")
    below = np.cumsum(shares[order], axis=0)
    middle = (below >= 0.5 * below[-1] * (1 - 1e-9)).argmax(axis=0)
    columns = np.arange(values.shape[1])
    return np.asarray(values[order[middle, columns], columns])


def location_and_scale(values: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Median (d,) and median absolute deviation (d,), this one in standard deviations.

    Where most values are equal the MAD is 0, and the mean of the deviations takes its place.

    Args:
        values: (n, d), finite.
        shares: (n,) weight of each, so that a search which has looked mostly where
            it found something does not take that for the rule.
    """
    middle = weighted_median(values, shares)
    away = np.abs(values - middle)
    spread = NORMAL * weighted_median(away, shares)
    return middle, np.where(spread > 0, spread, shares @ away / shares.sum())


def deviations(values: Floats, shares: Floats, above: bool = False) -> Floats:
    """How far values (n,) are from their median, in MADs; 0 where all are equal.

    Args:
        values, shares: as of ``location_and_scale``.
        above: those below the median count as 0.
    """
    middle, spread = location_and_scale(values[:, None], shares)
    away = np.clip(values - middle, 0.0, None) if above else np.abs(values - middle)
    return np.asarray(away / spread if spread[0] > 0 else away)


def otsu(values: Floats) -> float | None:
    """The threshold that divides values (n,) best in two; None where all are equal.

    That which makes the variance between both classes greatest (Otsu, IEEE
    Transactions on Systems, Man, and Cybernetics 9 (1979) 62), tried between
    all values rather than between the bins of a histogram.
    """
    ordered = np.sort(values)
    n, total = len(ordered), ordered.sum()
    below = np.arange(1, n)
    sums = np.cumsum(ordered)[:-1]
    between = (sums * n - total * below) ** 2 / (below * (n - below))
    between[np.diff(ordered) <= 0] = -1.0  # equals are never divided
    if n < 2 or between.max() < 0:
        return None
    best = int(between.argmax())
    return float(ordered[best] + ordered[best + 1]) / 2
