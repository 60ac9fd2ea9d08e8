"""Navigators that follow a plan: the bar that every clever one must clear."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agent import Context, Needs
from .navigator import Candidates, Decision, Floats, Situation, allowed

Order = NDArray[np.int64]


class Scripted:
    """Visits candidates in an order that is fixed before the first frame."""

    name = "scripted"
    privileged = False
    needs = Needs()
    settings: Mapping[str, Any] = {}
    reason = "the plan says so"
    candidates: Candidates

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context = context
        self.candidates, self.order = self.plan(context, rng)
        self.visited = 0

    @abstractmethod
    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        """The candidates and the order in which they are visited."""

    def decide(self, situation: Situation) -> Decision | None:
        centres = self.candidates.centres_yx_nm
        while self.visited < len(self.order):
            centre = centres[self.order[self.visited]]
            self.visited += 1
            if allowed(centre[None], self.context, situation.forbidden)[0]:
                reason = f"{self.reason} ({self.visited} of {len(self.order)})"
                return Decision.at(self.context, centre, reason)
        return None

    def steer(self, exploration: float) -> None:
        raise ValueError(f"{self.name} follows a plan; it has no curiosity to set")

    def save(self) -> dict[str, Any]:
        return {"visited": self.visited}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.visited = int(state["visited"])


class Raster(Scripted):
    """Contiguous frames, row by row from the first corner."""

    name = "raster"
    reason = "the next frame of the contiguous raster"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        candidates = Candidates.of(context, pitch=1.0)
        return candidates, np.arange(len(candidates.centres_yx_nm))


class Random(Scripted):
    """Candidates at half-frame pitch in random order, without repetition."""

    name = "random"
    reason = "a random candidate"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        candidates = Candidates.of(context)
        return candidates, rng.permutation(len(candidates.centres_yx_nm))


class Grid(Scripted):
    """A coarse grid whose spacing the budget sets, so that it just covers the field.

    Visited in bit-reversed order, so that every prefix covers the field evenly
    (the two-dimensional van der Corput order).  Frames that the budget has left
    beyond the grid go to the middles between its points, and then to all
    candidates in the same order.
    """

    name = "grid"
    reason = "the next point of the coarse grid"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        height, width = context.field_yx_nm
        rows, columns = coarse_shape(context.frames, height / width)
        half = context.reference.half_range_yx_nm(context.field_yx_nm)
        y, x = _even(height, half[0], rows), _even(width, half[1], columns)
        main = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
        mid_y, mid_x = (y[1:] + y[:-1]) / 2, (x[1:] + x[:-1]) / 2
        middles = np.stack(np.meshgrid(mid_y, mid_x, indexing="ij"), axis=-1).reshape(-1, 2)
        first = bit_reversed_order(rows, columns)
        second = len(main) + bit_reversed_order(len(mid_y), len(mid_x))
        every = Candidates.of(context)
        third = len(main) + len(middles) + bit_reversed_order(*every.shape)
        centres = np.vstack([main, middles, every.centres_yx_nm])
        return Candidates(centres, (len(centres), 1)), np.concatenate([first, second, third])


def coarse_shape(frames: int, aspect: float) -> tuple[int, int]:
    """Rows and columns of a grid of at most ``frames`` points, ``aspect`` times as tall as wide."""
    rows = max(1, min(frames, int(np.sqrt(frames * aspect))))
    return rows, max(1, frames // rows)


def _even(side_nm: float, half_nm: float, count: int) -> Floats:
    """``count`` positions, each in the middle of its equal share of a side, as far as is valid."""
    middles = ((np.arange(count) + 0.5) / count - 0.5) * side_nm
    return np.asarray(np.clip(middles, -half_nm, half_nm))


def bit_reversed_order(rows: int, columns: int) -> Order:
    """Raster indices of a grid so that every prefix spreads over all of it."""
    bits = max(rows - 1, columns - 1, 1).bit_length()
    i, j = np.divmod(np.arange(rows * columns), max(columns, 1))
    key = np.zeros(rows * columns, dtype=np.int64)
    for bit in range(bits):  # the lowest bits of row and column come first
        quarter = ((((i ^ j) >> bit) & 1) << 1) | ((i >> bit) & 1)
        key = (key << 2) | quarter
    return np.argsort(key, kind="stable")
