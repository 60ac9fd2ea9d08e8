"""Robust location and scale: what most values are like, whatever the few are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL = 1.4826  # times the MAD is the standard deviation where values are normal


def weighted_median(values: Floats, shares: Floats) -> Floats:
    """The lower median (d,) of values (n, d) that stand for shares (n,) of the field."""
    order = np.argsort(values, axis=0, kind="stable")
    below = np.cumsum(shares[order], axis=0)
    middle = (below >= 0.5 * below[-1] * (1 - 1e-9)).argmax(axis=0)
    columns = np.arange(values.shape[1])
    return np.asarray(values[order[middle, columns], columns])


def location_and_scale(values: Floats, shares: Floats) -> tuple[Floats, Floats]:
    """Median (d,) and median absolute deviation (d,), this one in standard deviations.

    Args:
        values: (n, d), finite.
        shares: (n,) of the field that each stands for, so that a search which has
            looked mostly where it found something does not take that for the rule.
    """
    middle = weighted_median(values, shares)
    return middle, NORMAL * weighted_median(np.abs(values - middle), shares)
