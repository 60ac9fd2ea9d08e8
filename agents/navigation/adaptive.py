"""Navigators that look and follow up, by rules that a person could state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.coordinates import specimen_from_pixel
from ...hardware.microscope import Frame, ScanRequest
from ..agent import Context, Needs
from ..robust import location_and_scale
from .navigator import Bools, Candidates, Decision, Floats, Situation
from .scripted import Order, bit_reversed_order, coarse_shape

FEWEST = 5  # targets from which on it can be said what is ordinary
NEIGHBOURS = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])


class Lawnmower:
    """To and fro in lines of contiguous frames; what stands out is followed up at once.

    Lines are as far apart as the budget without its reserve demands.  A frame stands
    out when its target is further from the median over the field than so many
    MADs; then the frames around it are taken before the mowing goes on, and those around
    them as long as they stand out too, the latest first, so that a wall is followed along.
    When all lines are mown, those between them follow.

    Args:
        reserve: share of the budget that is kept for what stands out.
        threshold: MADs, as multiples of a standard deviation.

    Raises:
        ValueError: a reserve outside [0, 1), or a threshold that is not above 0.
    """

    name = "lawnmower"
    privileged = False
    needs = Needs()

    def __init__(self, reserve: float = 0.4, threshold: float = 3.0) -> None:
        self.reserve = _share("reserve", reserve)
        if not (is_number(threshold) and 0 < threshold < inf):
            raise ValueError(f"a threshold of {threshold!r} MADs; it must be above 0, and finite")
        self.threshold = threshold

    @property
    def settings(self) -> dict[str, Any]:
        return {"reserve": self.reserve, "threshold": self.threshold}

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context = context
        self.candidates = Candidates.of(context, pitch=1.0)
        self.order, self.first = mown(self.candidates.shape, context.frames * (1 - self.reserve))

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        centres = self.candidates.centres_yx_nm
        followed = self._followed(situation, free)
        if followed is not None:
            cell, frame, deviation = followed
            reason = f"follows up frame {frame}, which stands out ({deviation:.1f} MADs)"
            return Decision.at(self.context, centres[cell], reason)
        at = int(free[self.order].argmax())
        reason = "mows on" if at < self.first else "mows between the lines"
        return Decision.at(self.context, centres[self.order[at]], reason)

    def _followed(self, situation: Situation, free: Bools) -> tuple[int, int, float] | None:
        """A free neighbour of the latest frame that stands out, that frame, and its deviation."""
        known = np.flatnonzero(situation.known)
        if len(known) < FEWEST:
            return None
        measured = situation.measured_yx_nm
        deviation = deviations(situation.targets[known], self.candidates.shares(measured[known]))
        last = measured[-1]
        for k in np.flatnonzero(deviation > self.threshold)[::-1]:
            frame = int(known[k])
            around = self._around(measured[frame])
            around = around[free[around]]
            if len(around):
                away = np.hypot(*(self.candidates.centres_yx_nm[around] - last).T)
                return int(around[away.argmin()]), frame, float(deviation[k])
        return None

    def _around(self, centre_yx_nm: Floats) -> Order:
        """The candidates beside the one that is nearest to a centre."""
        shape = self.candidates.shape
        cell = self.candidates.nearest(centre_yx_nm[None])[0]
        beside = np.array(np.divmod(cell, shape[1])) + NEIGHBOURS
        inside = ((beside >= 0) & (beside < shape)).all(axis=1)
        return np.asarray(beside[inside] @ [shape[1], 1])

    def steer(self, exploration: float) -> None:
        raise ValueError("lawnmower follows what stands out; it has no curiosity to set")

    def save(self) -> dict[str, Any]:
        """What was measured tells all."""
        return {}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        pass


class Operator:
    """As a person would: survey, threshold, zoom.

    It reads the survey where one is granted; otherwise a share of the budget goes to a
    coarse grid, and what lies between is taken to be like the nearest frame.  What it
    knows is divided by Otsu's threshold into what stands out and what does not.
    Connected regions that stand out are scanned with contiguous frames, the strongest
    region first; what its frames show is counted in at once.  When none is left,
    it goes on with the frames between those of the grid.

    With ``free`` it chooses its own frames: wide ones at low dose first, side by side
    over the field, which are its survey, and then reference frames.

    Args:
        share: of the budget for the survey of its own.
        free: chooses fields of view and dwells; for the free-frame track.

    Raises:
        ValueError: a share outside [0, 1), or ``free`` that is neither true nor false.
    """

    name = "operator"
    privileged = False

    def __init__(self, share: float = 0.3, free: bool = False) -> None:
        if not isinstance(free, bool):
            raise ValueError(f"free is {free!r}; it must be true or false")
        self.share, self.free = _share("share", share), free
        self.needs = Needs(action="operator") if free else Needs()

    @property
    def settings(self) -> dict[str, Any]:
        return {"share": self.share, "free": self.free}

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context = context
        self.candidates = Candidates.of(context, pitch=1.0)
        self.wide = wide_frames(context, self.share) if self.free else []
        rows, columns = self.candidates.shape
        order = bit_reversed_order(rows, columns)
        self.coarse = 0
        if context.survey is None and not self.wide:
            down, across = coarse_shape(max(1, int(self.share * context.frames)), rows / columns)
            grid = evenly(rows, down)[:, None] * columns + evenly(columns, across)
            coarse = grid.ravel()[bit_reversed_order(*grid.shape)]
            self.coarse = len(coarse)
            order = np.concatenate([coarse, order[~np.isin(order, coarse)]])
        self.order = order

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        wide = self._wide(situation)
        if wide is not None:
            return wide
        centres = self.candidates.centres_yx_nm
        at = int(free[self.order].argmax())
        if at < self.coarse:
            reason = f"surveys by a coarse grid ({at + 1} of {self.coarse})"
            return Decision.at(self.context, centres[self.order[at]], reason)
        values = self._known(situation)
        maps = {} if values is None else {"what stands out": (values, "target")}
        zoomed = None if values is None else self._zoomed(values, situation, free)
        if zoomed is None:
            reason = "nothing else stands out, so it goes on between the frames so far"
            return Decision.at(self.context, centres[self.order[at]], reason, maps)
        return Decision.at(self.context, centres[zoomed[0]], zoomed[1], maps)

    def _wide(self, situation: Situation) -> Decision | None:
        """The next of the wide frames that are not taken yet."""
        return None

    def _known(self, situation: Situation) -> Floats | None:
        """What stands out (n,) at the candidates, by the picture or else by the nearest frame."""
        looked = [f for f in situation.frames if f.request in self.wide]
        pictures = looked if self.context.survey is None else [*looked, self.context.survey]
        if pictures:
            seen = overview(pictures, self.candidates)
            return None if seen is None else deviations(seen, np.ones(len(seen)))
        from scipy.spatial import cKDTree

        known = situation.known
        if not known.any():
            return None
        _, nearest = cKDTree(situation.measured_yx_nm[known]).query(self.candidates.centres_yx_nm)
        return situation.targets[known][nearest]

    def _zoomed(
        self, values: Floats, situation: Situation, free: Bools
    ) -> tuple[int, str] | None:
        """A free candidate of the strongest region that has any, and why."""
        from scipy.ndimage import label, maximum

        threshold = otsu(values)
        if threshold is None:
            return None
        regions, count = label((values > threshold).reshape(self.candidates.shape), np.ones((3, 3)))
        regions = regions.ravel()
        open_ = np.unique(regions[free & (regions > 0)])
        if not len(open_):
            return None
        peaks = maximum(values, regions, open_)
        region = int(open_[np.argmax(peaks)])
        inside = np.flatnonzero(free & (regions == region))
        centres = self.candidates.centres_yx_nm
        latest = situation.measured_yx_nm[-1:]
        if len(latest) and regions[self.candidates.nearest(latest)[0]] == region:
            start = latest[0]  # goes on beside the frame that it has just taken
        else:
            start = centres[inside[values[inside].argmax()]]
        cell = int(inside[np.hypot(*(centres[inside] - start).T).argmin()])
        reason = (
            f"zooms into the strongest of {len(open_)} regions above Otsu's threshold "
            f"({peaks.max():.3g} > {threshold:.3g})"
        )
        return cell, reason

    def steer(self, exploration: float) -> None:
        raise ValueError("operator goes by what it sees; it has no curiosity to set")

    def save(self) -> dict[str, Any]:
        """What was measured tells all."""
        return {}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        pass


def mown(shape: tuple[int, int], frames: float) -> tuple[Order, int]:
    """Cells in the order in which they are mown, and how many of them are on the first lines.

    Args:
        shape: rows and columns.
        frames: that may go to the first lines; where they do not suffice for one,
            the frames on it lie apart.
    """
    rows, columns = shape
    lines = min(rows, max(1, int(frames / columns)))
    on_a_line = evenly(columns, max(1, min(columns, int(frames))))
    first = evenly(rows, lines)
    between = [r for r in bit_reversed_order(rows, 1) if r not in first]
    path = [r * columns + (on_a_line if k % 2 == 0 else on_a_line[::-1]) for k, r in enumerate(first)]
    path += [
        r * columns + (np.arange(columns) if k % 2 == 0 else np.arange(columns)[::-1])
        for k, r in enumerate([*between, *first])
    ]
    every = np.concatenate(path)
    _, at = np.unique(every, return_index=True)
    return every[np.sort(at)], lines * len(on_a_line)


def evenly(places: int, count: int) -> Order:
    """``count`` of ``places``, each in the middle of its equal share."""
    return np.asarray((np.arange(count) + 0.5) * places / count, dtype=np.int64)


def deviations(values: Floats, shares: Floats) -> Floats:
    """How far values (n,) are from their median, in MADs; infinite where the rest are alike."""
    middle, spread = location_and_scale(values[:, None], shares)
    away = np.abs(values - middle[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(away > 0, away / spread[0], 0.0)


def overview(frames: Sequence[Frame], candidates: Candidates) -> Floats | None:
    """Mean reading (n,) of wide frames within each candidate; None where one is not covered.

    Readings are those of a unit of dwell, so that frames of different dwells may be mixed.
    """
    total, count = np.zeros((2, len(candidates.centres_yx_nm)))
    for frame in frames:
        rows, columns = frame.request.shape_yx
        pixels = np.stack(np.mgrid[:rows, :columns], axis=-1).reshape(-1, 2)
        cell = candidates.nearest(specimen_from_pixel(frame, pixels))
        readings = frame.image.ravel() / frame.request.dwell_us
        total += np.bincount(cell, readings, len(total))
        count += np.bincount(cell, minlength=len(count))
    return total / count if count.all() else None


def wide_frames(context: Context, share: float) -> list[ScanRequest]:
    return []


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


def _share(name: str, value: float) -> float:
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"a {name} of {value!r}; it must be a share of the budget, in [0, 1)")
    return value
