"""Navigators that look and follow up, by rules that a person could state."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from ...hardware.coordinates import origin_in_scan
from ..agent import Context, Needs
from ..outliers import deviations, otsu
from .navigator import Bools, Candidates, Decision, Floats, Situation, allowed
from .overview import WIDER, overview, same_place, wide_frames
from .scripted import Order, bit_reversed_order, coarse_shape

NEAR = 1.5  # frames; so near to a frame, a candidate is taken to be like it
FEWEST = 5  # targets from which on it can be said what is ordinary
NEIGHBOURS = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if (i, j) != (0, 0)])


class Lawnmower:
    """To and fro in lines of contiguous frames; what stands out is followed up at once.

    Lines are as far apart as the budget without its reserve demands.  A frame stands
    out when its target is further from the median of the mown ones than so many
    MADs; then the frames around it are taken before the mowing goes on, and those around
    them as long as they stand out too, the latest first, so that a wall is followed along.
    When all lines are mown, those between them follow.

    Args:
        reserve: share of the budget that is kept for what stands out.
        threshold: MADs, scaled to standard deviations as normal targets have them.

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
        odd = self._odd(situation, free)
        maps: dict[str, tuple[Floats, str]] = {}
        if odd is not None:
            of = np.isfinite(odd)
            shown = np.zeros(len(centres))  # nothing is known to stand out elsewhere
            shown[self.candidates.nearest(situation.measured_yx_nm[of])] = odd[of]
            maps = {"what stands out": (shown, "MADs")}
            followed = self._followed(odd, situation, free)
            if followed is not None:
                cell, frame = followed
                reason = f"follows up frame {frame}, which stands out ({odd[frame]:.1f} MADs)"
                return Decision.at(self.context, centres[cell], reason, maps)
        at = int(free[self.order].argmax())
        reason = "mows on" if at < self.first else "mows between the lines"
        return Decision.at(self.context, centres[self.order[at]], reason, maps)

    def _odd(self, situation: Situation, free: Bools) -> Floats | None:
        """How far frames (k,) stand out, in MADs, NaN where untold; None while few are known."""
        measured, known = situation.measured_yx_nm, situation.known
        # What is ordinary is told by the mown lines: what follows up lies where it is odd.
        mown = self.order[: free[self.order].argmax()]
        ordinary = np.isin(self.candidates.nearest(measured[known]), mown)
        if ordinary.sum() < FEWEST:
            return None
        odd = np.full(len(measured), np.nan)
        odd[known] = deviations(situation.targets[known], ordinary / ordinary.sum())
        return odd

    def _followed(self, odd: Floats, situation: Situation, free: Bools) -> tuple[int, int] | None:
        """A free neighbour of the latest frame that stands out, and that frame."""
        measured = situation.measured_yx_nm
        last = measured[-1]
        for frame in np.flatnonzero(odd > self.threshold)[::-1].tolist():
            around = self._around(measured[frame])
            around = around[free[around]]
            if len(around):
                away = np.hypot(*(self.candidates.centres_yx_nm[around] - last).T)
                return int(around[away.argmin()]), frame
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

    def __init__(self, share: float = 0.2, free: bool = False) -> None:
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
        self.looked: tuple[Any, ...] = ()
        self.shown: Floats | None = None

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
        maps = {} if values is None else {"what stands out": (np.expm1(values), "MADs")}
        zoomed = None if values is None else self._zoomed(values, situation, free)
        if zoomed is None:
            reason = "nothing else stands out, so it goes on between the frames so far"
            return Decision.at(self.context, centres[self.order[at]], reason, maps)
        return Decision.at(self.context, centres[zoomed[0]], zoomed[1], maps)

    def _wide(self, situation: Situation) -> Decision | None:
        """The next of the wide frames that are not taken yet."""
        for number, request in enumerate(self.wide, start=1):
            centre = np.array([request.centre_yx_nm])
            may = allowed(centre, self.context, situation.forbidden, request.fov_yx_nm)[0]
            if may and not any(same_place(f.request, request) for f in situation.frames):
                reason = f"surveys by wide frames at low dose ({number} of {len(self.wide)})"
                return Decision((request,), reason)
        return None

    def _known(self, situation: Situation) -> Floats | None:
        """How far (n,) each candidate stands out: as the nearest frame does, or as on the picture.

        The picture holds where no frame has come near; without one the nearest frame does.
        Both are ln(1 + MADs): a few extremes, such as contamination, would else set Otsu's
        threshold alone.
        """
        from scipy.spatial import cKDTree

        picture = self._picture(situation)
        known = situation.known
        if known.sum() < FEWEST:
            return picture
        measured = situation.measured_yx_nm[known]
        shares = self.candidates.shares(measured)
        frames = np.log1p(deviations(situation.targets[known], shares, above=True))
        away, nearest = cKDTree(measured).query(self.candidates.centres_yx_nm)
        if picture is None:
            return np.asarray(frames[nearest])
        near = NEAR * max(self.context.reference.fov_yx_nm)
        return np.where(away < near, frames[nearest], picture)

    def _picture(self, situation: Situation) -> Floats | None:
        """What the survey and the wide frames show; None without any."""
        widest = WIDER * self.context.reference.side_nm
        pictures = [f for f in situation.frames if min(f.request.fov_yx_nm) > widest]
        if self.context.survey is not None:
            pictures.append(self.context.survey)
        if not pictures:
            return None
        now = situation.state or pictures[-1].state
        looked = (len(pictures), origin_in_scan(now))
        if looked != self.looked:  # each is read once, and anew where the stage has moved
            self.looked = looked
            self.shown = np.log1p(overview(pictures, self.candidates, now))
        return self.shown

    def _zoomed(self, values: Floats, situation: Situation, free: Bools) -> tuple[int, str] | None:
        """A free candidate of the strongest region that has any, and why."""
        from scipy.ndimage import label, maximum

        threshold = otsu(values)
        if threshold is None:
            return None
        regions, _ = label((values > threshold).reshape(self.candidates.shape), np.ones((3, 3)))
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
            f"({np.expm1(peaks.max()):.1f} > {np.expm1(threshold):.1f} MADs)"
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
    lines = evenly(rows, min(rows, max(1, int(frames / columns))))
    on_a_line = evenly(columns, min(columns, max(1, int(frames))))
    rest = bit_reversed_order(rows, 1)  # between lines that are far apart first
    tracks = [(r, on_a_line) for r in lines] + [(r, np.arange(columns)) for r in rest]
    path = [r * columns + (c if k % 2 == 0 else c[::-1]) for k, (r, c) in enumerate(tracks)]
    every = np.concatenate(path)
    _, first = np.unique(every, return_index=True)
    return every[np.sort(first)], len(lines) * len(on_a_line)


def evenly(places: int, count: int) -> Order:
    """``count`` of ``places``, each in the middle of its equal share."""
    return np.asarray((np.arange(count) + 0.5) * places / count, dtype=np.int64)


def _share(name: str, value: float) -> float:
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"a {name} of {value!r}; it must be a share of the budget, in [0, 1)")
    return value
