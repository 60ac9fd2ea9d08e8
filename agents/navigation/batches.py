"""Several frames at once: which of the candidates, when one decision has to do for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .gp import Belief
from .navigator import Bools, Candidates, greatest

Floats = NDArray[np.float64]
SPREADS = ("penalty", "distance")


def spread(
    values: Floats,
    free: Bools,
    count: int,
    rule: str,
    candidates: Candidates,
    belief: Belief,
) -> list[int]:
    """Up to ``count`` candidates of great value that do not tell the same.

    Args:
        values: (n,) of the candidates.
        free: (n,) which of them may be chosen; at least one.
        count: how many are wanted; fewer are given where fewer are free.
        rule: ``penalty``: what lies where an earlier one of the batch may tell already is
            worth less (local penalisation); ``distance``: none lies nearer to another than
            one length scale, as in GPim, until no such candidate is left.
        candidates: where they lie.
        belief: by which they are valued.
    """
    count = min(count, int(free.sum()))
    first = greatest(values, free)
    if count == 1:
        return [first]
    if rule == "distance":
        return _apart(values, free, count, candidates, belief.length_nm)
    return _penalised(values, free, count, candidates, belief)


def _apart(
    values: Floats, free: Bools, count: int, candidates: Candidates, length_nm: float
) -> list[int]:
    """The best that lie a length scale apart; where there are none left, the rest by value."""
    chosen: list[int] = []
    left, far = free.copy(), free.copy()
    while len(chosen) < count:
        best = greatest(values, far if far.any() else left)
        chosen.append(best)
        left[best] = False
        away = _distances(candidates, best)
        far &= left & (away >= length_nm)
    return chosen


def _penalised(
    values: Floats, free: Bools, count: int, candidates: Candidates, belief: Belief
) -> list[int]:
    """Local penalisation (González et al., AISTATS 2016, eq. 9 to 11).

    A point at which the field is believed to be mean ± sigma cannot have the maximum M
    within (M - mean) / L of it, where L is how steep the field is anywhere: the mean, or
    where that is flat, for want of knowledge, the process on its own length scale.
    """
    from scipy.special import log_ndtr

    least = float(values[free].min())
    above = np.maximum(values - least, 0.0)  # penalties are factors of what is above nothing
    if not above[free].any():
        above = np.ones_like(above)
    with np.errstate(divide="ignore"):
        # Where the field is well known their product underflows, and its logarithm does not.
        worth = np.log(above)
    steep = max(_steepest(belief.mean, candidates), belief.scale / belief.length_nm)
    if belief.scale <= 0.0:
        return _apart(values, free, count, candidates, belief.length_nm)
    top = max(belief.best, float(belief.mean.max()))
    chosen: list[int] = []
    left = free.copy()
    while len(chosen) < count:
        best = greatest(worth, left)
        chosen.append(best)
        left[best] = False
        sigma = max(float(belief.sigma[best]), 1e-9 * belief.scale)
        reach = steep * _distances(candidates, best) - top + belief.mean[best]
        worth = worth + log_ndtr(reach / sigma)
    return chosen


def _steepest(mean: Floats, candidates: Candidates) -> float:
    """The greatest slope of the mean, between neighbours of the lattice."""
    field = mean.reshape(candidates.shape)
    y, x = candidates.axes_nm
    down = np.abs(np.diff(field, axis=0) / np.diff(y)[:, None]).max(initial=0.0)
    across = np.abs(np.diff(field, axis=1) / np.diff(x)).max(initial=0.0)
    return float(np.hypot(down, across))


def _distances(candidates: Candidates, index: int) -> Floats:
    centres = candidates.centres_yx_nm
    return np.asarray(np.hypot(*(centres - centres[index]).T))
