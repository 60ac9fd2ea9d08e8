"""The inner loop of every simulated frame: sample a world, count the electrons.

A world is held as the coefficients of a cubic B-spline, so that it can be
point-sampled anywhere, as a probe does, without its grid showing.  (Unser et
al., IEEE Trans. Signal Process. 41 (1993) 821.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, sin
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX, ScanRequest
from .grid import Grid
from .imperfections.counting import EVERY_ELECTRON, Counting
from .noise import draw, key_of, ladder

if TYPE_CHECKING:
    from .world import World

F32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Offsets = tuple[NDArray[np.float64], NDArray[np.float64]]
STRAIGHT = np.empty((0, 2))  # nothing distorts
TOO_MANY = "an expected count is above 1e9; take a shorter dwell"


class Slots:
    """An array for each of ``n`` places, as compiled loops take them; pickled as they are."""

    def __init__(self, n: int) -> None:
        self._arrays: list[NDArray[Any] | None] = [None] * n
        self.typed: Any = None

    def put(self, k: int, array: NDArray[Any]) -> None:
        """Let place ``k`` hold an array, not a copy; all are of one type."""
        self._arrays[k] = array
        if self.typed is None:
            self.typed = numba.typed.List([array] * len(self._arrays))
        self.typed[k] = array

    def __getstate__(self) -> list[NDArray[Any] | None]:
        return self._arrays

    def __setstate__(self, arrays: list[NDArray[Any] | None]) -> None:
        self._arrays, self.typed = arrays, None
        for k, array in enumerate(arrays):
            if array is not None:
                self.put(k, array)


class Worlds:
    """Worlds side by side, as the compiled loop takes them; each slot holds one.

    Args:
        n: slots.
    """

    def __init__(self, n: int) -> None:
        self.origin_yx_nm = np.zeros((n, 2))
        self.sampling_nm = np.ones(n)
        self.electrons_per_us = np.zeros(n)
        self.coefficients = Slots(n)
        self._held: list[tuple[World, str, F32 | None] | None] = [None] * n

    def put(self, k: int, world: World, detector: str, own: F32 | None = None) -> None:
        """Let slot ``k`` hold a world, seen by one detector; ``own`` is what has become of it."""
        self._held[k] = world, detector, own
        self.coefficients.put(k, np.asarray(world.coefficients[detector] if own is None else own))
        self.origin_yx_nm[k] = world.grid.origin_yx_nm
        self.sampling_nm[k] = world.grid.sampling_nm
        self.electrons_per_us[k] = world.optics.electrons_per_us

    def __getstate__(self) -> list[tuple[World, str, F32 | None] | None]:
        """Worlds pickle as how they are made, and copies share them."""
        return self._held

    def __setstate__(self, held: list[tuple[World, str, F32 | None] | None]) -> None:
        Worlds.__init__(self, len(held))
        for k, shown in enumerate(held):
            if shown is not None:
                self.put(k, *shown)


@dataclass(frozen=True)
class Displacements:
    """Where the probe was in several frames, off what was asked for: see ``Displacement``.

    Attributes:
        mean_yx_nm, rotation_rad: (m, 2) and (m,).
        by_row_nm, by_column_nm: (m, rows, 2) and (m, columns, 2); (0, 0, 2) where nothing
            distorts, and the frames are upright.
    """

    mean_yx_nm: Floats
    rotation_rad: Floats
    by_row_nm: Floats
    by_column_nm: Floats

    @classmethod
    def none(cls, m: int) -> Displacements:
        return cls(np.zeros((m, 2)), np.zeros(m), np.empty((0, 0, 2)), np.empty((0, 0, 2)))


def scan_batch(
    worlds: Worlds,
    which: NDArray[np.int64],
    centre_yx_nm: NDArray[np.float64],
    fov_yx_nm: NDArray[np.float64],
    dwell_us: NDArray[np.float64],
    keys: NDArray[np.uint64],
    efficiency: float,
    out: F32,
    off: Displacements | None = None,
) -> None:
    """One frame of each of several worlds: Poisson counts, to the bit those of ``counts``.

    Args:
        worlds: side by side.
        which: (m,) slots that are scanned.
        centre_yx_nm, fov_yx_nm: (m, 2) of the frames; they lie inside the worlds.
        dwell_us: (m,).
        keys: (m,) a raw word of each world's generator.
        efficiency: share of the collected electrons that are counted.
        out: (m, rows, columns).
        off: where the probe was, off what was asked for; nowhere else by default.
    """
    off = off or Displacements.none(len(which))
    if not _scan_all(
        worlds.coefficients.typed,
        worlds.origin_yx_nm,
        worlds.sampling_nm,
        worlds.electrons_per_us,
        which,
        centre_yx_nm,
        fov_yx_nm,
        dwell_us,
        keys,
        efficiency,
        *ladder(),
        off.rotation_rad,
        off.mean_yx_nm,
        off.by_row_nm,
        off.by_column_nm,
        out,
    ):
        raise ValueError(TOO_MANY)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _scan_all(
    coefficients, origin, sampling, per_us, which, centre, fov, dwell, keys, efficiency,
    means, starts, bits, tables, turn, shift, by_row, by_column, out,
):  # fmt: skip
    expected = np.empty((out.shape[1], out.shape[2]))
    straight = np.empty((0, 2))
    for m in range(which.shape[0]):
        n = which[m]
        if not _count(
            coefficients[n], (origin[n, 0], origin[n, 1]), sampling[n], per_us[n] * dwell[m],
            (centre[m, 0], centre[m, 1]), (fov[m, 0], fov[m, 1]), turn[m],
            (shift[m, 0], shift[m, 1]), by_row[m] if by_row.shape[0] > 0 else straight,
            by_column[m] if by_row.shape[0] > 0 else straight,
            keys[m], efficiency, means, starts, bits, tables, expected, out[m],
        ):  # fmt: skip
            return False
    return True


@numba.njit(cache=True, fastmath=False, nogil=True)
def _count(
    c, origin, sampling, electrons, centre, fov, turn, shift, by_row, by_column,
    key, efficiency, means, starts, bits, tables, expected, out,
):  # fmt: skip
    """One frame of one world: what is expected at each pixel, and what is counted."""
    y0, x0, down_y, down_x, right_y, right_x = _nodes(
        centre, fov, out.shape, turn, shift, origin, sampling
    )
    if by_row.shape[0] > 0:
        _sample_displaced(
            c, y0, x0, down_y, down_x, right_y, right_x, 1.0 / sampling, by_row, by_column, expected
        )
    elif turn == 0.0:
        _sample_upright(c, y0, x0, down_y, right_x, expected)
    else:
        _sample_turned(c, y0, x0, down_y, down_x, right_y, right_x, expected)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            expected[i, j] = efficiency * (expected[i, j] * electrons)
    return draw(expected.ravel(), key, means, starts, bits, tables, out.ravel())


def counts(
    coefficients: Mapping[str, F32],
    grid: Grid,
    electrons_per_us: float,
    request: ScanRequest,
    shift_yx_nm: YX,
    rng: np.random.Generator,
    offsets: Offsets | None = None,
    counting: Counting | None = EVERY_ELECTRON,
) -> dict[str, F32]:
    """One frame of counts by detector; without ``counting``, of what is expected."""
    electrons = electrons_per_us * request.dwell_us
    expected = np.empty(request.shape_yx, dtype=np.float64)
    by_row, by_column = (STRAIGHT, STRAIGHT) if offsets is None else offsets
    frame = {}
    for name in request.detectors:
        if counting is None:
            sample(coefficients[name], grid, request, shift_yx_nm, expected, offsets)
            frame[name] = (expected * electrons).astype(np.float32)
            continue
        frame[name] = np.empty(request.shape_yx, dtype=np.float32)
        if not _count(
            coefficients[name],
            grid.origin_yx_nm,
            grid.sampling_nm,
            electrons,
            request.centre_yx_nm,
            request.fov_yx_nm,
            request.rotation_rad,
            shift_yx_nm,
            by_row,
            by_column,
            key_of(rng),
            counting.efficiency,
            *ladder(),
            expected,
            frame[name],
        ):
            raise ValueError(TOO_MANY)
    return frame


def sample(
    coefficients: F32,
    grid: Grid,
    request: ScanRequest,
    shift_yx_nm: YX,
    out: NDArray[np.float64],
    offsets: Offsets | None = None,
) -> None:
    """Fill ``out`` with the fraction of the beam that is collected at each pixel.

    Args:
        coefficients: (rows, columns) of the world, of one detector.
        grid: the nodes that they belong to.
        request: what is scanned.
        shift_yx_nm: beam shift minus stage position.
        out: (rows, columns) of the request.
        offsets: displacements of the probe by rows (rows, 2) and by columns
            (columns, 2), in nm on the specimen; none by default.
    """
    y0, x0, down_y, down_x, right_y, right_x = _nodes(
        request.centre_yx_nm,
        request.fov_yx_nm,
        request.shape_yx,
        request.rotation_rad,
        shift_yx_nm,
        grid.origin_yx_nm,
        grid.sampling_nm,
    )
    step = down_y, down_x, right_y, right_x
    if offsets is not None:
        _sample_displaced(coefficients, y0, x0, *step, 1.0 / grid.sampling_nm, *offsets, out)
    elif request.rotation_rad == 0.0:
        _sample_upright(coefficients, y0, x0, down_y, right_x, out)
    else:
        _sample_turned(coefficients, y0, x0, *step, out)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _nodes(centre, fov, shape, rotation, shift, origin, sampling):
    """A frame in nodes of a world: its first pixel, and the steps to the next row and column."""
    c, s = cos(rotation), sin(rotation)
    scale = 1.0 / sampling
    down, right = fov[0] / shape[0], fov[1] / shape[1]
    first_y = centre[0] + (0.5 / shape[0] - 0.5) * fov[0]
    first_x = centre[1] + (0.5 / shape[1] - 0.5) * fov[1]
    y0 = (c * first_y + s * first_x + shift[0] - origin[0]) * scale
    x0 = (c * first_x - s * first_y + shift[1] - origin[1]) * scale
    return y0, x0, c * down * scale, -s * down * scale, s * right * scale, c * right * scale


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _weights(t: float) -> tuple[float, float, float, float]:
    """Cubic B-spline weights of the four nodes around a fraction ``t``."""
    u = 1.0 - t
    return (
        u * u * u / 6.0,
        2.0 / 3.0 - t * t * (2.0 - t) / 2.0,
        2.0 / 3.0 - u * u * (2.0 - u) / 2.0,
        t * t * t / 6.0,
    )


@numba.njit(cache=True, fastmath=False, nogil=True)
def _sample_upright(c, y0, x0, down_y, right_x, out):
    """Rows and columns separate: each row of nodes is combined once, then read along x."""
    rows, columns = out.shape
    top, side = c.shape[0] - 4, c.shape[1] - 4
    first = np.empty(columns, np.int64)
    weights = np.empty((columns, 4))
    for j in range(columns):
        x = x0 + j * right_x
        ix = int(np.floor(x))
        first[j] = min(max(ix - 1, 0), side)
        weights[j] = _weights(x - ix)
    left, right = first.min(), first.max() + 4
    line = np.empty(right - left)
    for i in range(rows):
        y = y0 + i * down_y
        iy = int(np.floor(y))
        a = min(max(iy - 1, 0), top)
        w0, w1, w2, w3 = _weights(y - iy)
        for b in range(left, right):
            line[b - left] = w0 * c[a, b] + w1 * c[a + 1, b] + w2 * c[a + 2, b] + w3 * c[a + 3, b]
        for j in range(columns):
            b = first[j] - left
            value = 0.0
            for k in range(4):
                value += weights[j, k] * line[b + k]
            out[i, j] = max(value, 0.0)


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _value(c, y, x):
    iy, ix = int(np.floor(y)), int(np.floor(x))
    wy, wx = _weights(y - iy), _weights(x - ix)
    a, b = min(max(iy - 1, 0), c.shape[0] - 4), min(max(ix - 1, 0), c.shape[1] - 4)
    value = 0.0
    for k in range(4):
        for n in range(4):
            value += wy[k] * wx[n] * c[a + k, b + n]
    return max(value, 0.0)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _sample_turned(c, y0, x0, down_y, down_x, right_y, right_x, out):
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = _value(c, y0 + i * down_y + j * right_y, x0 + i * down_x + j * right_x)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _sample_displaced(c, y0, x0, down_y, down_x, right_y, right_x, scale, by_row, by_column, out):
    for i in range(out.shape[0]):
        y = y0 + i * down_y + by_row[i, 0] * scale
        x = x0 + i * down_x + by_row[i, 1] * scale
        for j in range(out.shape[1]):
            out[i, j] = _value(
                c,
                y + j * right_y + by_column[j, 0] * scale,
                x + j * right_x + by_column[j, 1] * scale,
            )
