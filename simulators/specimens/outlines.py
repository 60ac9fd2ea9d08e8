"""Walls and areas as paths and polygons, and how they are cut into features."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
from numpy.typing import NDArray

from .specimen import Floats, Ints

STRETCH = 8  # pieces of a path that are left out together where they are too far off
ROUNDING_NM2 = 1e-9  # more than rounding makes of the square of a distance


def cut_path(path_yx_nm: Floats, size_nm: float, closed: bool = False) -> tuple[Floats, Floats]:
    """Cut a path into equal straight segments of about ``size_nm``.

    Returns:
        Their middles (n, 2) and their directions (n,) from +x towards +y.
    """
    path = np.vstack([path_yx_nm, path_yx_nm[:1]]) if closed else np.asarray(path_yx_nm)
    step = np.hypot(*np.diff(path, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(step)])
    count = max(1, round(along[-1] / size_nm))
    ends = np.linspace(0.0, along[-1], count + 1)
    joints = np.column_stack([np.interp(ends, along, path[:, k]) for k in range(2)])
    middle = (ends[:-1] + ends[1:]) / 2
    centres = np.column_stack([np.interp(middle, along, path[:, k]) for k in range(2)])
    chord = np.diff(joints, axis=0)
    return centres, np.arctan2(chord[:, 0], chord[:, 1])


def cut_area(polygon_yx_nm: Floats, size_nm: float) -> Floats:
    """Centres (n, 2) of the square cells of ``size_nm`` whose centre lies inside a polygon.

    The cells belong to one lattice through the middle of the field, so that
    cells of different areas never overlap.
    """
    low = np.floor(polygon_yx_nm.min(axis=0) / size_nm)
    high = np.ceil(polygon_yx_nm.max(axis=0) / size_nm)
    y, x = (np.arange(a, b) * size_nm + size_nm / 2 for a, b in zip(low, high, strict=True))
    centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
    return centres[inside(centres, polygon_yx_nm)]


def within(
    points_yx_nm: Floats, field_yx_nm: tuple[float, float], inset_nm: float
) -> NDArray[np.bool_]:
    """Which points (n,) lie at least ``inset_nm`` inside a field."""
    half = np.asarray(field_yx_nm) / 2 - inset_nm + 1e-9
    return np.asarray((np.abs(points_yx_nm) <= half).all(axis=-1))


def inside(points_yx_nm: Floats, polygon_yx_nm: Floats) -> NDArray[np.bool_]:
    """Which points (n,) lie inside a closed polygon (even-odd rule)."""
    return np.asarray(
        _inside(
            np.ascontiguousarray(points_yx_nm, dtype=np.float64),
            np.ascontiguousarray(polygon_yx_nm, dtype=np.float64),
        )
    )


def which(points_yx_nm: Floats, polygons: Sequence[Floats]) -> Ints:
    """The first polygon that each point (n,) lies in; -1 for none."""
    return np.asarray(_which(np.ascontiguousarray(points_yx_nm), *_packed(polygons)))


def clearance(points_yx_nm: Floats, polygons: Sequence[Floats]) -> Floats:
    """Distance (n,) of points from the nearest polygon, 0 inside one, in nm."""
    return np.asarray(_clearance(np.ascontiguousarray(points_yx_nm), *_packed(polygons)))


def _packed(polygons: Sequence[Floats]) -> tuple[Floats, Ints]:
    """All corners, and where each polygon's begin."""
    ends = np.cumsum([0, *(len(p) for p in polygons)])
    return np.vstack([*polygons, np.empty((0, 2))]), ends.astype(np.int64)


def distance_to_path(points_yx_nm: Floats, path_yx_nm: Floats, closed: bool = False) -> Floats:
    """Distance (n,) of points from a path, in nm."""
    return np.asarray(
        _distance(
            np.ascontiguousarray(points_yx_nm, dtype=np.float64),
            np.ascontiguousarray(path_yx_nm, dtype=np.float64),
            closed,
        )
    )


def from_borders(points_yx_nm: Floats, polygons: Sequence[Floats], reach_nm: float) -> Floats:
    """Distance (n,) of points from the nearest border, on either side of it; at most the reach."""
    points = np.ascontiguousarray(points_yx_nm)
    return np.asarray(_from_borders(points, *_packed(polygons), float(reach_nm)))


@numba.njit(cache=True, fastmath=False)
def _inside(points, polygon):
    out = np.zeros(points.shape[0], np.bool_)
    count = polygon.shape[0]
    for n in range(points.shape[0]):
        y, x = points[n, 0], points[n, 1]
        odd = False
        for i in range(count):
            j = i - 1 if i else count - 1
            yi, yj = polygon[i, 0], polygon[j, 0]
            if (yi > y) != (yj > y):
                t = (y - yi) / (yj - yi)
                if x < polygon[i, 1] + t * (polygon[j, 1] - polygon[i, 1]):
                    odd = not odd
        out[n] = odd
    return out


@numba.njit(cache=True, fastmath=False, inline="always")
def _squared_piece(y, x, ay, ax, by, bx):
    """The square of a point's distance from a straight piece."""
    dy, dx = by - ay, bx - ax
    length = dy * dy + dx * dx
    t = 0.0
    if length > 0.0:
        t = min(1.0, max(0.0, ((y - ay) * dy + (x - ax) * dx) / length))
    return (y - ay - t * dy) ** 2 + (x - ax - t * dx) ** 2


@numba.njit(cache=True, fastmath=False)
def _squared(y, x, path, closed):
    """The square of a point's distance from a path."""
    best = np.inf
    count = path.shape[0]
    for i in range(count if closed else count - 1):
        j = i + 1 if i + 1 < count else 0
        r = _squared_piece(y, x, path[i, 0], path[i, 1], path[j, 0], path[j, 1])
        if r < best:
            best = r
    return best


@numba.njit(cache=True, fastmath=False)
def _distance(points, path, closed):
    """The least is the same whatever the order: stretches that are farther off are left out."""
    out = np.empty(points.shape[0])
    count = path.shape[0]
    pieces = count if closed else count - 1
    boxes = np.empty(((pieces + STRETCH - 1) // STRETCH, 4))
    for k in range(boxes.shape[0]):
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = np.inf, -np.inf, np.inf, -np.inf
        for i in range(k * STRETCH, min(pieces, (k + 1) * STRETCH) + 1):
            y, x = path[i % count, 0], path[i % count, 1]
            boxes[k, 0], boxes[k, 1] = min(boxes[k, 0], y), max(boxes[k, 1], y)
            boxes[k, 2], boxes[k, 3] = min(boxes[k, 2], x), max(boxes[k, 3], x)
    first = 0  # the stretch nearest to the point before, which mostly lies beside this one
    for n in range(points.shape[0]):
        y, x = points[n, 0], points[n, 1]
        best = np.inf
        nearest = first
        for k in range(-1, boxes.shape[0]):
            if k == first:
                continue
            here = first if k < 0 else k
            dy = max(0.0, boxes[here, 0] - y, y - boxes[here, 1])
            dx = max(0.0, boxes[here, 2] - x, x - boxes[here, 3])
            if dy * dy + dx * dx > best + ROUNDING_NM2:
                continue
            for i in range(here * STRETCH, min(pieces, (here + 1) * STRETCH)):
                j = i + 1 if i + 1 < count else 0
                r = _squared_piece(y, x, path[i, 0], path[i, 1], path[j, 0], path[j, 1])
                if r < best:
                    best, nearest = r, here
        first = nearest
        out[n] = np.sqrt(best)
    return out


@numba.njit(cache=True, fastmath=False)
def _boxes(corners, ends):
    boxes = np.empty((ends.shape[0] - 1, 4))
    for k in range(boxes.shape[0]):
        own = corners[ends[k] : ends[k + 1]]
        boxes[k, 0], boxes[k, 1] = own[:, 0].min(), own[:, 0].max()
        boxes[k, 2], boxes[k, 3] = own[:, 1].min(), own[:, 1].max()
    return boxes


@numba.njit(cache=True, fastmath=False)
def _which(points, corners, ends):
    boxes = _boxes(corners, ends)
    out = np.full(points.shape[0], -1, np.int64)
    for n in range(points.shape[0]):
        y, x = points[n, 0], points[n, 1]
        for k in range(boxes.shape[0]):
            if y < boxes[k, 0] or y > boxes[k, 1] or x < boxes[k, 2] or x > boxes[k, 3]:
                continue
            if _inside(points[n : n + 1], corners[ends[k] : ends[k + 1]])[0]:
                out[n] = k
                break
    return out


@numba.njit(cache=True, fastmath=False)
def _clearance(points, corners, ends):
    out = np.full(points.shape[0], np.inf)
    for n in range(points.shape[0]):
        for k in range(ends.shape[0] - 1):
            own = corners[ends[k] : ends[k + 1]]
            if _inside(points[n : n + 1], own)[0]:
                out[n] = 0.0
                break
            out[n] = min(out[n], np.sqrt(_squared(points[n, 0], points[n, 1], own, True)))
    return out


@numba.njit(cache=True, fastmath=False)
def _from_borders(points, corners, ends, reach):
    boxes = _boxes(corners, ends)
    out = np.full(points.shape[0], reach)
    for k in range(boxes.shape[0]):
        own = corners[ends[k] : ends[k + 1]]
        for n in range(points.shape[0]):
            y, x = points[n, 0], points[n, 1]
            if (
                boxes[k, 0] - reach < y < boxes[k, 1] + reach
                and boxes[k, 2] - reach < x < boxes[k, 3] + reach
            ):
                out[n] = min(out[n], np.sqrt(_squared(y, x, own, True)))
    return out
