"""Active search: towards as many features as can be, not towards the greatest target.

An optimiser is done once it has found the maximum; a searcher wants all that there is.  It
asks of every candidate how likely it is to show something, and whether that would be new
(Garnett et al., *Bayesian Optimal Active Search and Surveying*, ICML 2012).
"""

from __future__ import annotations

from math import inf, isfinite
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ..agent import Context
from ..outliers import NORMAL
from .acquisition import normal_share
from .believer import Believer
from .gp import Belief
from .kernels import squared_distances
from .navigator import LARGEST, PITCH, Bools, Candidates, Floats, Situation

COUNTS = ("area", "spots")
CELLS = 8  # to a side of a frame, by which area is counted
CONTEXT = 2  # cells that must be scanned all around a place for it to be told of
AROUND = CELLS + 2 * CONTEXT  # to a side of what one frame may tell of
SAME = (1.0, 3.0)  # length scales from a hit: up to the first it is the same spot, from the
# second on another one; where f is smooth, spots are some two length scales wide
LATER = 0.01  # what new area at a spot that was hit is worth, next to another spot
THRESHOLDS = ("outlier", "half")
HALF, OUTLIER, LEAST = 0.5, 3.0, 0.1  # of the way to the greatest; deviations; of the way at least


class Search(Believer):
    """Greedy: the candidate that most probably shows something new.

    A frame is a hit where its target exceeds the threshold.  The probability of a hit is
    that of the Gaussian process; new is the area that is scanned whole with its surroundings
    and was not before (``area``, for features that go on, and are seen piece by piece), or,
    for features that are found by one frame (``spots``), what lies length scales away from
    every hit; where nothing else is likely, what is left of the spots comes last.

    Args:
        threshold: target from which on a frame is a hit: a number; ``outlier``, three
            standard deviations of what lies below the usual target above it, and a tenth of
            the way to the greatest at least; or ``half`` of that way.
        counts: ``area`` or ``spots``.
        options: of every ``Believer``.
    """

    name = "search"
    unit = "probability of a new hit"

    def __init__(
        self, threshold: float | str = "outlier", counts: str = "area", **options: Any
    ) -> None:
        super().__init__(**options)
        by_rule = isinstance(threshold, str) and threshold in THRESHOLDS
        if not by_rule and not (is_number(threshold) and isfinite(float(threshold))):
            raise ValueError(
                f"threshold is {threshold!r}; it must be a finite number, or one of: "
                f"{', '.join(THRESHOLDS)}"
            )
        if counts not in COUNTS:
            raise ValueError(f"unknown counts {counts!r}; there are: {', '.join(COUNTS)}")
        self.given, self.counts = threshold, counts

    @property
    def settings(self) -> dict[str, Any]:
        return {"threshold": self.given, "counts": self.counts, **super().settings}

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        super().reset(context, rng)
        self.cover = Cover(context, self.candidates)

    def value(self, belief: Belief, free: Bools, situation: Situation) -> Floats:
        self.likely = self.probability(belief.mean, belief.sigma, belief, situation)
        self.fresh = self.new(belief, situation)
        return self.likely * self.fresh

    def probability(
        self, mean: Floats, sigma: Floats, belief: Belief, situation: Situation
    ) -> Floats:
        """Of a hit, where the field is believed to be mean ± sigma."""
        targets = situation.targets[situation.known]
        rule = self.given
        self.threshold = threshold_by(rule, targets, belief) if isinstance(rule, str) else rule
        return self.value_at(mean, sigma, belief)

    def value_at(self, mean: Floats, sigma: Floats, belief: Belief) -> Floats:
        """The probability of a hit; what is new hardly differs about one candidate."""
        spread = np.maximum(sigma, 1e-9 * belief.scale)
        return normal_share((mean - self.threshold) / spread)

    def new(self, belief: Belief, situation: Situation) -> Floats:
        """How much (n,) of what a candidate shows would be new: area in frames, or a share."""
        area = self.cover.new(situation.measured_yx_nm)
        if self.counts == "area":
            return area
        known = situation.known
        hits = situation.measured_yx_nm[known][situation.targets[known] > self.threshold]
        if not len(hits):
            return np.ones_like(area)
        away = np.sqrt(squared_distances(hits, self.candidates.centres_yx_nm).min(axis=0))
        near, far = (width * belief.length_nm for width in SAME)
        apart = np.clip((away - near) / (far - near), 0.0, 1.0)
        return np.asarray(np.maximum(apart, LATER * area))

    def why(self, index: int, belief: Belief, values: Floats) -> str:
        return (
            f"a hit is likeliest there (P = {self.likely[index]:.2g} of more than "
            f"{self.threshold:.3g}, {self.fresh[index]:.2g} of it new)"
        )


class NonmyopicSearch(Search):
    """Budget-aware: what a frame shows, and what it makes the rest of the budget worth.

    ENS (Jiang et al., *Efficient Nonmyopic Active Search*, ICML 2017, eq. 5): after each
    possible reading all frames that are left are spent at once on the likeliest candidates;
    a candidate's value is its own probability and the expected sum of theirs.  So it looks
    around while there is much left to spend, and gathers at the end.  Only the likeliest and
    the least known candidates are looked at so closely, the rest of the budget goes to the
    likeliest of each neighbourhood that one frame accounts for, and readings are three: the
    nodes of a Gauss-Hermite rule.

    Args:
        closely: how many candidates.
        options: of ``Search``.
    """

    name = "ens"
    unit = "hits to come"

    def __init__(self, closely: int = 16, **options: Any) -> None:
        super().__init__(**options)
        if not (is_number(closely, Integral) and closely >= 1):
            raise ValueError(f"closely is {closely!r}; it must be an integer, at least 1")
        self.closely = closely

    @property
    def settings(self) -> dict[str, Any]:
        return {"closely": self.closely, **super().settings}

    def value(self, belief: Belief, free: Bools, situation: Situation) -> Floats:
        own = super().value(belief, free, situation)
        left = situation.left - 1
        if left < 1:
            return own
        size = max(1, self.block(belief))
        likely, unknown = np.where(free, own, -inf), np.where(free, belief.sigma, -inf)
        best = block_best(likely, self.candidates.shape, size)
        least = block_best(unknown, self.candidates.shape, size)
        half = (self.closely + 1) // 2
        top = best[np.argsort(-likely[best], kind="stable")][:half]
        rest = least[np.argsort(-unknown[least], kind="stable")][: self.closely - half]
        chosen = np.unique(np.concatenate([top, rest]))
        chosen = chosen[free[chosen]]
        to_come = self._to_come(chosen, belief, free, size, left)
        # Those not looked at keep their order below all that were.
        values = own - 1.0 + float(to_come.min())
        values[chosen] = own[chosen] + to_come
        return np.asarray(values)

    def block(self, belief: Belief) -> int:
        """Candidates to a side of what one frame accounts for."""
        if self.counts == "area":
            return round(1.0 / PITCH)
        return max(1, round(belief.length_nm / self.step_nm))

    def _to_come(
        self, chosen: NDArray[np.int64], belief: Belief, free: Bools, size: int, left: int
    ) -> Floats:
        """Expected hits (m,) of the frames that are left, once a chosen one was measured.

        They go to the best of the squares of ``size`` candidates a side, one to each.
        """
        nodes, weights = np.polynomial.hermite_e.hermegauss(3)
        across = self.gp.covariance(chosen)
        own = np.maximum(belief.sigma[chosen] ** 2 + self.gp.noise_at_reference(), 1e-300)
        gain = across / own[:, None]
        sigma = np.sqrt(np.maximum(belief.sigma**2 - gain * across, 0.0))
        sigma = np.maximum(sigma, 1e-9 * belief.scale)
        steps = gain * np.sqrt(own)[:, None] / sigma
        above = (belief.mean - self.threshold) / sigma
        fresh = np.where(free, self.fresh, 0.0)
        expected = np.zeros(len(chosen))
        for node, weight in zip(nodes, weights / weights.sum(), strict=True):
            worth = normal_share(above + node * steps) * fresh
            worth[np.arange(len(chosen)), chosen] = 0.0
            best = block_greatest(worth, self.candidates.shape, size)
            count = min(left, best.shape[1])
            rest = best.shape[1] - count
            expected += weight * np.partition(best, rest - (rest > 0), axis=1)[:, rest:].sum(axis=1)
        return expected

    def why(self, index: int, belief: Belief, values: Floats) -> str:
        return (
            f"{values[index]:.3g} hits are to be expected of the rest of the budget if it begins "
            f"there (P = {self.likely[index]:.2g} of one at once)"
        )


class Novelty(Believer):
    """Hunts for distinct kinds: the candidate of which least is known.

    What a Gaussian process expects anywhere is a mixture of what was seen, and so never
    new; new can only be what it does not know.  So the field of the descriptors is explored
    by its uncertainty, with the length over which the descriptors' first principal component
    hangs together, and nothing is pursued.  Frames whose descriptors are alike are of one
    kind, which is for the sentence alone.  Without descriptors the target is the only one.

    Args:
        alike: up to this share of the greatest distance between any two frames' descriptors,
            each in units of its spread, they are alike.
        options: of every ``Believer``.
    """

    name = "novelty"
    unit = "share of the variance that is unknown"

    def __init__(self, alike: float = 0.3, **options: Any) -> None:
        super().__init__(**options)
        if not (is_number(alike) and 0 < alike < 1):
            raise ValueError(f"alike is {alike!r}; it must lie between 0 and 1")
        self.alike = float(alike)

    @property
    def settings(self) -> dict[str, Any]:
        return {"alike": self.alike, **super().settings}

    def pursued(self, situation: Situation) -> Floats:
        """The first principal component of the descriptors."""
        described = situation.descriptors
        self.pursues = "target" if described is None else "first principal component"
        if described is None:
            self.count = len(np.unique(kinds(situation.targets[situation.known, None], self.alike)))
            return super().pursued(situation)
        sound = (np.abs(described) <= LARGEST).all(axis=1)
        told = np.full(len(described), np.nan)
        if sound.any():
            of = described[sound]
            self.count = len(np.unique(kinds(of, self.alike)))
            spread = of.std(axis=0)
            scaled = (of - of.mean(axis=0)) / np.where(spread > 0.0, spread, 1.0)
            told[sound] = scaled @ np.linalg.svd(scaled, full_matrices=False)[2][0]
        return told

    def value(self, belief: Belief, free: Bools, situation: Situation) -> Floats:
        return np.asarray(belief.relative**2 / self.gp.own)

    def value_at(self, mean: Floats, sigma: Floats, belief: Belief) -> Floats:
        return sigma

    def why(self, index: int, belief: Belief, values: Floats) -> str:
        return (
            f"least is known there ({values[index]:.0%} of the variance), and {self.count} kinds "
            "were seen so far"
        )


def kinds(descriptors: Floats, alike: float) -> NDArray[np.int64]:
    """The kind (k,) of each of (k, d): that of the first one before it that is alike."""
    from scipy.spatial.distance import cdist

    if not len(descriptors):
        return np.empty(0, dtype=np.int64)
    spread = descriptors.std(axis=0)
    told = spread > 1e-12 * np.maximum(1.0, np.abs(descriptors).max(axis=0, initial=0.0))
    scaled = descriptors[:, told] / spread[told]
    away = cdist(scaled, scaled) if told.any() else np.zeros((len(scaled),) * 2)
    near = away <= alike * away.max(initial=0.0)
    leaders: list[int] = []
    of = np.zeros(len(descriptors), dtype=np.int64)
    for k in range(len(descriptors)):
        led = np.flatnonzero(near[k, leaders])
        of[k] = led[0] if len(led) else len(leaders)
        if not len(led):
            leaders.append(k)
    return of


class Cover:
    """What of the field the frames so far tell of: what lies in them with its surroundings.

    A feature is seen where its context is scanned whole, by one frame or by several side by
    side.  So a frame beside an earlier one tells of what lies across their border, too, and
    one that is half a frame further leaves a strip of which nothing can be told.

    All lengths here are in cells, of which a reference frame has ``CELLS`` to a side.
    """

    def __init__(self, context: Context, candidates: Candidates) -> None:
        self.cell_nm = np.asarray(context.reference.fov_yx_nm) / CELLS
        self.low_nm = -np.asarray(context.field_yx_nm) / 2
        self.places = self._corners(candidates.centres_yx_nm)
        self.shape = self.places.max(axis=0) + CELLS + 4 * CONTEXT
        self._forget()

    def _forget(self) -> None:
        self.scanned = np.zeros(self.shape, dtype=bool)
        self.fresh = np.zeros((len(self.places), AROUND, AROUND), dtype=bool)
        inner = slice(2 * CONTEXT, CELLS)
        self.fresh[:, inner, inner] = True
        self.of = np.empty((0, 2))

    def _corners(self, centres_yx_nm: Floats) -> NDArray[np.int64]:
        """The first cells (n, 2) of frames."""
        return np.rint((centres_yx_nm - self.low_nm) / self.cell_nm - CELLS / 2).astype(np.int64)

    def new(self, measured_yx_nm: Floats) -> Floats:
        """The area (n,), in frames, that each candidate would tell of beyond those measured."""
        return np.asarray(self.told(measured_yx_nm).sum(axis=(1, 2)) / CELLS**2)

    def told(self, measured_yx_nm: Floats) -> Bools:
        """Of which cells each candidate would tell beyond the frames measured.

        Returns:
            (n, AROUND, AROUND) a frame and ``CONTEXT`` cells about it; not to be written to.
        """
        known = len(self.of)
        if not np.array_equal(measured_yx_nm[:known], self.of):
            self._forget()
            known = 0
        corners = self._corners(measured_yx_nm[known:])
        near = np.zeros(len(self.places), dtype=bool)
        for corner in corners:
            # The stage may have moved a frame out of the field, or a part of it.
            low = np.maximum(corner + 2 * CONTEXT, 0)
            high = np.maximum(corner + 2 * CONTEXT + CELLS, 0)
            self.scanned[low[0] : high[0], low[1] : high[1]] = True
            near |= (np.abs(self.places - corner) < CELLS + 2 * CONTEXT).all(axis=1)
        if near.any():
            self.fresh[near] = self._told(self.places[near])
        self.of = measured_yx_nm.copy()
        return self.fresh

    def _told(self, places: NDArray[np.int64]) -> Bools:
        side = np.arange(CELLS + 4 * CONTEXT)
        rows, columns = places[:, :1] + side, places[:, 1:] + side
        before = self.scanned[rows[:, :, None], columns[:, None, :]]
        after = before.copy()
        own = slice(2 * CONTEXT, 2 * CONTEXT + CELLS)
        after[:, own, own] = True
        return whole(after) & ~whole(before)


def whole(scanned: Bools) -> Bools:
    """Which cells of fields (m, n, n), but for a border, have all their context scanned."""
    sums = np.zeros((len(scanned), *(n + 1 for n in scanned.shape[1:])), dtype=np.int64)
    sums[:, 1:, 1:] = scanned.cumsum(axis=1).cumsum(axis=2)
    w = 2 * CONTEXT + 1
    inside = sums[:, w:, w:] - sums[:, :-w, w:] - sums[:, w:, :-w] + sums[:, :-w, :-w]
    return np.asarray(inside == w * w)


def threshold_by(rule: str, targets: Floats, belief: Belief) -> float:
    """The target from which on a frame is a hit, by one of the ``THRESHOLDS``.

    What is usual is the median of the belief over the field, since frames lie mostly where
    something was found; it is below the greatest that is believed in, whatever noise says.
    """
    usual = float(np.median(belief.mean))
    best = max(belief.best, usual)
    if rule == "half":
        return usual + HALF * (best - usual)
    below = usual - targets[targets <= usual]
    spread = NORMAL * float(np.median(below)) if len(below) else 0.0
    return usual + max(min(OUTLIER * spread, HALF * (best - usual)), LEAST * (best - usual))


def block_best(values: Floats, shape: tuple[int, int], size: int) -> NDArray[np.int64]:
    """The index of the greatest value in each square of candidates, the first of equals."""
    down, across = (-(-n // size) for n in shape)
    padded = np.full((down * size, across * size), -inf)
    padded[: shape[0], : shape[1]] = values.reshape(shape)
    squares = padded.reshape(down, size, across, size).swapaxes(1, 2).reshape(down, across, -1)
    row, column = np.divmod(squares.argmax(axis=2), size)
    row += size * np.arange(down)[:, None]
    column += size * np.arange(across)
    return np.asarray(row * shape[1] + column).ravel()


def block_greatest(values: Floats, shape: tuple[int, int], size: int) -> Floats:
    """Of (m, n) values of candidates, the greatest in each square of them: (m, squares)."""
    field = values.reshape(len(values), *shape)
    # Every size-th row, then column: NumPy is several times slower at reducing short runs.
    for axis, count in ((1, shape[0]), (2, shape[1])):
        first = np.arange(0, count, size)
        greatest = field.take(first, axis)
        for k in range(1, size):
            beside = field.take(np.minimum(first + k, count - 1), axis)
            np.maximum(greatest, beside, out=greatest)
        field = greatest
    return field.reshape(len(values), -1)
