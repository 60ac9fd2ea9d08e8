"""Where a navigator looks before it believes anything."""

from __future__ import annotations

import warnings
from math import inf
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ..agent import Context
from .navigator import Bools, Candidates, Decision, Floats, Situation
from .survey import covariates

Indices = NDArray[np.int64]
SEED_FRAMES, FEW_SEED_FRAMES = 5, 2
WIDE_FRAMES = 16  # reference frames side by side in a field of default size
SEEDINGS = ("sobol", "random", "corner", "middle", "survey")


def seed_frames_for(context: Context) -> int:
    """How many frames a run starts from: 5, or 2 in a field too small to spend that many.

    Every id's default field and every recorded image hold 16 x 16 reference
    frames; the shipped abtem worlds are smaller, their whole raster some dozens.
    """
    field, frame = context.field_yx_nm, context.reference.fov_yx_nm
    across = min(f / side for f, side in zip(field, frame, strict=True))
    return SEED_FRAMES if across > WIDE_FRAMES * (1 - 1e-9) else FEW_SEED_FRAMES


class Seeds:
    """The frames that come first, as candidates.

    Args:
        count: how many; None for what suits the field (``seed_frames_for``).
        seeding: where they lie: at the points of a scrambled ``sobol`` sequence, snapped
            to candidates, at ``random`` ones, as near as can be to the first ``corner`` or
            to the ``middle`` of the field, or as unlike each other as can be by what the
            ``survey`` shows there and by where they lie; without a survey, as ``sobol``.
        least: below this many a count is refused.

    Raises:
        ValueError: no such seeding, or no such number.
    """

    def __init__(self, count: int | None = None, seeding: str = "sobol", least: int = 2) -> None:
        if count is not None and not (is_number(count, Integral) and least <= count < inf):
            raise ValueError(f"{count} seed frames; a fit needs at least {least}")
        if seeding not in SEEDINGS:
            raise ValueError(f"unknown seeding {seeding!r}; there are: {', '.join(SEEDINGS)}")
        self.chosen, self.seeding = count, seeding
        self.count = SEED_FRAMES if count is None else count

    def reset(self, context: Context, candidates: Candidates, rng: np.random.Generator) -> None:
        if self.chosen is None:
            self.count = seed_frames_for(context)
        self.context, self.candidates = context, candidates
        self.order = self._order(rng)

    def _order(self, rng: np.random.Generator) -> list[int]:
        """Candidates to begin with, more than are needed, since some may be forbidden."""
        centres = self.candidates.centres_yx_nm
        half = np.asarray(self.context.reference.half_range_yx_nm(self.context.field_yx_nm))
        count = min(4 * self.count, 2 * len(centres))
        shown = covariates(self.context, self.candidates) if self.seeding == "survey" else None
        if shown is not None:
            chosen: Indices = _unlike(np.hstack([centres / np.maximum(half, 1e-9), shown]), count)
        elif self.seeding in ("sobol", "survey"):
            from scipy.stats import qmc

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a count that is no power of two is fine here
                points = qmc.Sobol(2, rng=rng).random(count)
            order = self.candidates.nearest((points * 2 - 1) * half)
            _, first = np.unique(order, return_index=True)
            chosen = order[np.sort(first)]
        elif self.seeding == "random":
            chosen = rng.permutation(len(centres))[:count]
        else:
            place = centres.min(axis=0) if self.seeding == "corner" else np.zeros(2)
            away = np.hypot(*(centres - place).T)
            chosen = np.argsort(away, kind="stable")[:count]
        return [int(k) for k in chosen]

    def next(self, situation: Situation, free: Bools) -> Decision | None:
        """The next seed frame; None once there are enough."""
        taken = len(situation.measured_yx_nm)
        if taken >= self.count:
            return None
        index = next((k for k in self.order if free[k]), int(free.argmax()))
        reason = f"seed frame {taken + 1} of {self.count}"
        return Decision.at(self.context, self.candidates.centres_yx_nm[index], reason)

    def save(self) -> list[int]:
        return self.order

    def restore(self, order: list[int]) -> None:
        self.order = [int(k) for k in order]


def _unlike(points: Floats, count: int) -> Indices:
    """Farthest first: the one in the middle of (n, d) points, then each as far from all before."""
    first = int(np.linalg.norm(points - np.median(points, axis=0), axis=1).argmin())
    chosen = [first]
    away = np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)
