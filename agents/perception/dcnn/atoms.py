"""From probabilities to atoms: positions below a pixel, neighbours, and the rings they form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
STRETCHED = 1.3  # bonds; what is farther apart is none
LARGEST = 24  # corners of a ring; a larger face is what is left around a piece


@dataclass(frozen=True, eq=False)
class Peaks:
    """Local maxima of a map.

    Attributes:
        yx_px: (n, 2) below a pixel exact, strongest first.
        height: (n,) of the maxima.
    """

    yx_px: Floats
    height: Floats


def peaks(values: NDArray[np.floating], least: float, apart_px: float) -> Peaks:
    """The maxima of a map (rows, columns) that are at least so high and so far apart.

    Positions are refined by parabolas through the logarithm of the neighbours, which
    are exact for a Gaussian.
    """
    reach = max(1, int(apart_px))
    given = np.asarray(values, dtype=np.float64)
    around = np.pad(given, reach, mode="edge")
    rows, columns = given.shape

    def beside(down: int, right: int) -> Floats:
        return around[reach + down :, reach + right :][:rows, :columns]

    there = given >= least
    if not there.any():
        return Peaks(np.empty((0, 2)), np.empty(0))
    for step in ((-1, 0), (1, 0), (0, -1), (0, 1)):  # few are left, and the disc is large
        there &= given >= beside(*step)
    at = np.argwhere(there)
    height = given[there]
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.argwhere(np.hypot(y, x) <= max(apart_px, 1.0))
    seen = at[:, None] + disc
    highest = around[seen[..., 0], seen[..., 1]].max(axis=1, initial=-np.inf) == height
    at, height = at[highest], height[highest]
    order = np.argsort(-height, kind="stable")
    at, height = at[order], height[order]
    kept = first_of_close(at, max(apart_px, 1.0))  # the first of maxima equally high side by side
    at, height = at[kept], height[kept]
    logs = np.log(np.maximum(np.pad(given, 1, mode="edge"), 1e-6))
    refined = at.astype(np.float64)
    for axis, step in enumerate(((1, 0), (0, 1))):
        before, here, after = (
            logs[at[:, 0] + 1 + k * step[0], at[:, 1] + 1 + k * step[1]] for k in (-1, 0, 1)
        )
        curved = before - 2.0 * here + after
        flat = curved >= -1e-9
        moved = 0.5 * (before - after) / np.where(flat, 1.0, curved)
        refined[:, axis] += np.where(flat, 0.0, np.clip(moved, -0.5, 0.5))
    return Peaks(refined, height)


def first_of_close(at: NDArray[Any], within: float) -> NDArray[np.bool_]:
    """Which of places (n, 2) to keep so that none has an earlier one that is kept so near."""
    kept = np.ones(len(at), dtype=np.bool_)
    if len(at) < 2:
        return kept
    for a, b in sorted(cKDTree(at).query_pairs(within)):
        if kept[a]:
            kept[b] = False
    return kept


def neighbours(yx_nm: Floats, within_nm: float) -> Ints:
    """The pairs (m, 2) of points (n, 2) that are bonded: nearer to each other than that.

    Where two bonds cross the longer one is none.
    """
    if len(yx_nm) < 2:
        return np.empty((0, 2), dtype=np.int64)
    pairs = cKDTree(yx_nm).query_pairs(within_nm, output_type="ndarray").astype(np.int64)
    if not len(pairs):
        return np.empty((0, 2), dtype=np.int64)
    length = np.linalg.norm(yx_nm[pairs[:, 0]] - yx_nm[pairs[:, 1]], axis=1)
    pairs = pairs[np.argsort(length, kind="stable")]
    middle = yx_nm[pairs].mean(axis=1)
    near = sorted(cKDTree(middle).query_pairs(within_nm))
    kept = np.ones(len(pairs), dtype=np.bool_)
    for a, b in near:
        if kept[a] and kept[b] and _cross(yx_nm[pairs[a]], yx_nm[pairs[b]]):
            kept[max(a, b)] = False
    return np.asarray(pairs[kept])


def _cross(first: Floats, second: Floats) -> bool:
    """Whether two bonds (2, 2) that share no end cross."""

    def side(a: Floats, b: Floats, c: Floats) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    (a, b), (c, d) = first, second
    return bool(side(a, b, c) * side(a, b, d) < 0.0 and side(c, d, a) * side(c, d, b) < 0.0)


def rings(yx_nm: Floats, pairs: Ints) -> list[Ints]:
    """The faces of a planar graph, each as the points around it in order.

    A walk along every bond, turning as sharply as it can at every atom, goes once around
    each face; what goes around a whole piece the other way is none.

    Args:
        yx_nm: (n, 2) points.
        pairs: (m, 2) bonds, of which none cross.
    """
    around: dict[int, list[int]] = {}
    for a, b in pairs.tolist():
        around.setdefault(a, []).append(b)
        around.setdefault(b, []).append(a)
    after: dict[tuple[int, int], tuple[int, int]] = {}
    for at, others in around.items():
        away = yx_nm[others] - yx_nm[at]
        order = np.argsort(np.arctan2(away[:, 0], away[:, 1]))
        turn = [others[k] for k in order]
        for k, other in enumerate(turn):  # coming from one, leave to the one before it
            after[(other, at)] = (at, turn[k - 1])
    found = []
    left = dict.fromkeys(after)
    while left:
        first = next(iter(left))
        walk, step = [], first
        while step in left:
            del left[step]
            walk.append(step[0])
            step = after[step]
        face = np.array(walk)
        if len(set(walk)) == len(walk) <= LARGEST and _area(yx_nm[face]) > 0.0:
            found.append(face)
    return found


def _area(corners: Floats) -> float:
    """Twice the signed area of a polygon, positive in the way of the walk around a face."""
    y, x = corners.T
    return float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
