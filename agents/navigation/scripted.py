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
SAME = 1e-3  # of a frame's side: centres that are nearer are of the same frame


class Scripted:
    """Visits candidates in an order that is fixed before the first frame.

    What is forbidden is passed over as long as it is, and what was taken already for good: by a
    person or, where an axis has no room for its positions, by the plan itself.
    """

    name = "scripted"
    privileged = False
    needs = Needs()
    settings: Mapping[str, Any] = {}
    reason = "the plan says so"
    candidates: Candidates

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context = context
        self.candidates, self.order = self.plan(context, rng)
        self.asked = np.zeros(len(self.order), dtype=bool)

    @abstractmethod
    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        """The candidates and the order in which they are visited."""

    def decide(self, situation: Situation) -> Decision | None:
        centres = self.candidates.centres_yx_nm
        same = SAME * self.context.reference.side_nm
        for at in np.flatnonzero(~self.asked).tolist():
            centre = centres[self.order[at]]
            taken = np.abs(situation.measured_yx_nm - centre).max(axis=1, initial=0.0) < same
            if not taken.any() and allowed(centre[None], self.context, situation.forbidden)[0]:
                self.asked[at] = True
                reason = f"{self.reason} ({at + 1} of {len(self.order)})"
                return Decision.at(self.context, centre, reason)
        return None

    def steer(self, exploration: float) -> None:
        raise ValueError(f"{self.name} follows a plan; it has no curiosity to set")

    def save(self) -> dict[str, Any]:
        return {"asked": np.flatnonzero(self.asked).tolist()}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.asked[state["asked"]] = True


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
        y, x = coarse_axes(context, context.frames)
        mid_y, mid_x = (y[1:] + y[:-1]) / 2, (x[1:] + x[:-1]) / 2
        main = mesh(y, x)[bit_reversed_order(len(y), len(x))]
        middles = mesh(mid_y, mid_x)[bit_reversed_order(len(mid_y), len(mid_x))]
        return _then_the_rest(context, main, middles)


class Sobol(Scripted):
    """A scrambled Sobol sequence, snapped to candidates at half-frame pitch, none twice.

    Every prefix is spread more evenly than at random, and yet on no lattice that
    the specimen's own could be in step with (Sobol 1967; Owen's scrambling, as SciPy has it).
    What a sequence of four times as many points as there are candidates leaves
    out comes last.
    """

    name = "sobol"
    reason = "the next point of the scrambled Sobol sequence"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        from scipy.stats import qmc

        candidates = Candidates.of(context)
        power = (4 * len(candidates.centres_yx_nm) - 1).bit_length()
        points = qmc.Sobol(2, rng=rng).random_base2(power)
        return candidates, _snapped(points, candidates, rng)


class LatinHypercube(Scripted):
    """A Latin hypercube: of as many strata as frames, each row and column holds one frame.

    As many strata as frames that the budget pays for, so that the whole run, and not its
    prefixes, is even along either axis (McKay, Beckman & Conover 1979).  Its frames
    are snapped to candidates at half-frame pitch; the rest of these comes last, at random.
    """

    name = "latin"
    reason = "the next point of the Latin hypercube"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        from scipy.stats import qmc

        candidates = Candidates.of(context)
        strata = max(1, min(context.frames, len(candidates.centres_yx_nm)))
        points = qmc.LatinHypercube(2, rng=rng).random(strata)
        return candidates, _snapped(points, candidates, rng)


class Spiral(Scripted):
    """Outwards from the middle of the field, each frame beside the one before.

    Frames are contiguous where the budget pays for all of the field, and else as far
    apart as in the coarse grid: a contiguous spiral under a small budget would never leave
    the middle, as a raster never leaves the top.  Its turns are rectangles of the
    field's own shape.  Frames that are left go to all candidates, spread first.
    """

    name = "spiral"
    reason = "the next frame of the spiral"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        whole = Candidates.of(context, pitch=1.0)
        enough = context.frames >= len(whole.centres_yx_nm)
        y, x = whole.axes_nm if enough else coarse_axes(context, context.frames)
        return _then_the_rest(context, mesh(y, x)[spiral_order(len(y), len(x))])


class Hierarchical(Scripted):
    """Coarse to fine: each level halves the pitch of the one before, down to half a frame.

    A level holds what the coarser ones left out of its lattice, which lies about
    the middle of the field, and is visited in rows to and fro: the levels see to the
    spread, so that within one the way may be short.  That is what sets it apart from ``grid``,
    whose every frame is far from the last.
    """

    name = "hierarchical"
    reason = "the next frame of the level"

    def plan(self, context: Context, rng: np.random.Generator) -> tuple[Candidates, Order]:
        candidates = Candidates.of(context)
        return candidates, coarse_to_fine_order(*candidates.shape)


def _snapped(points: Floats, candidates: Candidates, rng: np.random.Generator) -> Order:
    """Candidates under (n, 2) points of the unit square, each once; the rest at random after."""
    row, column = (points * candidates.shape).astype(np.int64).T
    cells = row * candidates.shape[1] + column
    every = np.concatenate([cells, rng.permutation(len(candidates.centres_yx_nm))])
    _, first = np.unique(every, return_index=True)
    return every[np.sort(first)]


def _then_the_rest(context: Context, *stages: Floats) -> tuple[Candidates, Order]:
    """Centres (n, 2) in their order; then all candidates that none of them is nearest to."""
    planned = np.vstack(stages)
    every = Candidates.of(context)
    fresh = np.ones(len(every.centres_yx_nm), dtype=bool)
    fresh[every.nearest(planned)] = False
    order = bit_reversed_order(*every.shape)
    centres = np.vstack([planned, every.centres_yx_nm[order[fresh[order]]]])
    return Candidates(centres, (len(centres), 1)), np.arange(len(centres))


def mesh(y_nm: Floats, x_nm: Floats) -> Floats:
    """Points (rows * columns, 2) in raster order."""
    return np.stack(np.meshgrid(y_nm, x_nm, indexing="ij"), axis=-1).reshape(-1, 2)


def coarse_axes(context: Context, frames: int) -> tuple[Floats, Floats]:
    """Rows and columns in nm of a grid of at most ``frames`` that just covers the field."""
    height, width = context.field_yx_nm
    rows, columns = coarse_shape(frames, height / width)
    half = context.reference.half_range_yx_nm(context.field_yx_nm)
    return even(height, half[0], rows), even(width, half[1], columns)


def coarse_shape(frames: int, aspect: float) -> tuple[int, int]:
    """Rows and columns of a grid of at most ``frames`` points, ``aspect`` times as tall as wide."""
    rows = max(1, min(frames, int(np.sqrt(frames * aspect))))
    return rows, max(1, frames // rows)


def even(side_nm: float, half_nm: float, count: int) -> Floats:
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


def spiral_order(rows: int, columns: int) -> Order:
    """Raster indices of a grid from its middle outwards, each the neighbour of the one before."""
    left = np.arange(rows * columns).reshape(rows, columns)
    inwards: list[Order] = []
    while left.size:  # a spiral inwards takes the first row, and turns what is left
        inwards.append(left[0])
        left = np.rot90(left[1:])
    return np.concatenate(inwards)[::-1]


def coarse_to_fine_order(rows: int, columns: int) -> Order:
    """Raster indices of a grid by levels of half the pitch each, each level to and fro."""
    i, j = (np.arange(n) - (n - 1) // 2 for n in (rows, columns))
    i, j = (a.ravel() for a in np.meshgrid(i, j, indexing="ij"))
    coarsest = 1 << (max(rows, columns) - 1).bit_length()
    both = i | j | coarsest
    pitch = both & -both  # the greatest power of two that divides both coordinates
    back = (i // pitch) % 2 == 1
    return np.lexsort((np.where(back, -j, j), i, -pitch))
