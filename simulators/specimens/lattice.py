"""Two-dimensional lattices over a field, and numbers that belong to their sites."""

from __future__ import annotations

import numba
import numpy as np

from .specimen import Floats, Ints


def rotation(angle_rad: float) -> Floats:
    """Turns row vectors (y, x) from +x towards +y (rows down): ``points @ rotation(angle)``."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, -s], [s, c]])


def lattice(vectors_yx_nm: Floats, origin_yx_nm: Floats, half_nm: float) -> tuple[Floats, Ints]:
    """The points of a lattice within a square of ±``half_nm``.

    Args:
        vectors_yx_nm: (2, 2) rows are the lattice vectors (y, x).
        origin_yx_nm: (2,) the point with indices (0, 0).
        half_nm: half the side of the square.

    Returns:
        Positions (n, 2) and indices (n, 2); those of a smaller square are among
        those of a larger one, with the same indices.
    """
    vectors = np.ascontiguousarray(vectors_yx_nm, dtype=np.float64)
    return _lattice(vectors, float(origin_yx_nm[0]), float(origin_yx_nm[1]), half_nm)  # type: ignore[no-any-return]


def site_uniform(key: int, index: Ints) -> Floats:
    """A number (n,) in [0, 1) for each site (n, 2), whatever other sites there are.

    The finaliser of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014) of key and indices.
    """
    with np.errstate(over="ignore"):
        z = np.uint64(key) + index[:, 0].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = _mixed(z) + index[:, 1].astype(np.uint64) * np.uint64(0xD1B54A32D192ED03)
        return np.asarray((_mixed(z) >> np.uint64(11)) * 2.0**-53)


def _mixed(z: np.ndarray) -> np.ndarray:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


@numba.njit(cache=True, fastmath=False)
def _lattice(vectors, oy, ox, half):
    (ay, ax), (by, bx) = vectors[0], vectors[1]
    area = ay * bx - ax * by
    lows, highs = np.full(2, np.inf), np.full(2, -np.inf)
    for sy in (-half - oy, half - oy):
        for sx in (-half - ox, half - ox):
            u, v = (sy * bx - sx * by) / area, (ay * sx - ax * sy) / area
            lows[0], lows[1] = min(lows[0], u), min(lows[1], v)
            highs[0], highs[1] = max(highs[0], u), max(highs[1], v)
    first = (int(np.floor(lows[0])), int(np.floor(lows[1])))
    last = (int(np.ceil(highs[0])), int(np.ceil(highs[1])))
    most = (last[0] - first[0] + 1) * (last[1] - first[1] + 1)
    positions, index = np.empty((most, 2)), np.empty((most, 2), np.int64)
    n = 0
    for i in range(first[0], last[0] + 1):
        for j in range(first[1], last[1] + 1):
            y, x = i * ay + j * by + oy, i * ax + j * bx + ox
            if abs(y) <= half and abs(x) <= half:
                positions[n, 0], positions[n, 1] = y, x
                index[n, 0], index[n, 1] = i, j
                n += 1
    return positions[:n].copy(), index[:n].copy()
