"""What has been measured so far, on a coarse grid of cells over the field."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX, Frame

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Looks:
    """Frames of several episodes side by side, scaled for display.

    Attributes:
        which: (m,) the episodes that they belong to.
        values: (m, rows, columns), 0 at black and 1 at full scale.
        valid_rows: (m,) rows that were scanned.
        centre_yx_nm, fov_yx_nm: (m, 2) of the regions scanned.
        rotation_rad: (m,).
        shift_yx_nm: (m, 2) beam shift minus stage position.
    """

    which: Ints
    values: F32
    valid_rows: Ints
    centre_yx_nm: Floats
    fov_yx_nm: Floats
    rotation_rad: Floats
    shift_yx_nm: Floats

    @classmethod
    def of(cls, frame: Frame, values: F32) -> Looks:
        """One frame of the first episode."""
        region, state = frame.region, frame.state
        shift = [b - s for b, s in zip(state.beam_shift_yx_nm, state.stage_yx_nm, strict=True)]
        return cls(
            np.zeros(1, dtype=np.int64),
            values[None],
            np.array([frame.valid_rows], dtype=np.int64),
            np.array([region.centre_yx_nm]),
            np.array([region.fov_yx_nm]),
            np.array([region.rotation_rad]),
            np.array([shift]),
        )


class Mosaics:
    """Means of the measured pixels in each cell, for several episodes.

    Args:
        field_yx_nm: what the cells cover.
        cells_yx: rows and columns.
        n: episodes.

    Attributes:
        total, count: (n, rows, columns) sum and number of the pixels measured.
    """

    def __init__(self, field_yx_nm: YX, cells_yx: tuple[int, int], n: int = 1) -> None:
        self.field_yx_nm = field_yx_nm
        self.total = np.zeros((n, *cells_yx))
        self.count = np.zeros((n, *cells_yx))

    def clear(self, k: int) -> None:
        self.total[k] = 0.0
        self.count[k] = 0.0

    def add(self, looks: Looks) -> None:
        _add(
            looks.which,
            looks.values,
            looks.valid_rows,
            looks.centre_yx_nm,
            looks.fov_yx_nm,
            looks.rotation_rad,
            looks.shift_yx_nm,
            self.field_yx_nm,
            self.total,
            self.count,
        )

    def as_uint8(self) -> U8:
        """(n, 2, rows, columns): the rounded mean of each cell at 0 to 255, and its mask."""
        shape = self.total.shape
        out = np.empty((shape[0], 2, *shape[1:]), dtype=np.uint8)
        _quantise(self.total, self.count, out)
        return out

    def about(self, centre_yx_nm: Floats, cells_yx: tuple[int, int]) -> U8:
        """Windows (n, 2, rows, columns) of the mosaics about points (n, 2); beyond the field 0."""
        out = np.empty((len(self.total), 2, *cells_yx), dtype=np.uint8)
        for_each = np.empty((len(self.total), 2), dtype=np.int64)
        for axis in (0, 1):
            cells, field = self.total.shape[1 + axis], self.field_yx_nm[axis]
            middle = np.floor((centre_yx_nm[:, axis] / field + 0.5) * cells)
            for_each[:, axis] = middle - cells_yx[axis] // 2
        _quantise_about(self.total, self.count, for_each, out)
        return out


class Mosaic:
    """That of one episode.

    Args:
        field_yx_nm: what the cells cover.
        cells_yx: rows and columns.
    """

    def __init__(self, field_yx_nm: YX, cells_yx: tuple[int, int]) -> None:
        self._all = Mosaics(field_yx_nm, cells_yx)

    @property
    def total(self) -> Floats:
        total: Floats = self._all.total[0]
        return total

    @property
    def count(self) -> Floats:
        count: Floats = self._all.count[0]
        return count

    def add(self, frame: Frame, values: F32) -> None:
        """Take in a frame, its readings scaled to ``values`` (rows, columns)."""
        self._all.add(Looks.of(frame, values))

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Cells (rows, columns) with at least one measured pixel."""
        return self.count > 0

    @property
    def mean(self) -> Floats:
        """(rows, columns) of the measured pixels of each cell; NaN where there are none."""
        return np.where(self.measured, self.total / np.maximum(self.count, 1), np.nan)

    def as_uint8(self) -> U8:
        """(2, rows, columns): the rounded mean of each cell at 0 to 255, and its mask."""
        shown: U8 = self._all.as_uint8()[0]
        return shown


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add(which, values, valid_rows, centre, fov, rotation, shift, field, total, count):
    """Add frames to the cells of their episodes."""
    shape, rows, columns = total.shape, values.shape[1], values.shape[2]
    scale_y, scale_x = shape[1] / field[0], shape[2] / field[1]
    for m in range(which.shape[0]):
        down, right = fov[m, 0] / rows, fov[m, 1] / columns
        v = centre[m, 0] - (rows - 1) / 2 * down
        u = centre[m, 1] - (columns - 1) / 2 * right
        n, frame = which[m], values[m, : valid_rows[m]]
        if rotation[m] == 0.0:
            y0 = (v + shift[m, 0]) * scale_y + shape[1] / 2
            x0 = (u + shift[m, 1]) * scale_x + shape[2] / 2
            _add_upright(frame, y0, x0, down * scale_y, right * scale_x, total[n], count[n])
        else:
            c, s = cos(rotation[m]), sin(rotation[m])
            y0 = (v * c + u * s + shift[m, 0]) * scale_y + shape[1] / 2
            x0 = (u * c - v * s + shift[m, 1]) * scale_x + shape[2] / 2
            steps = (down * c * scale_y, -down * s * scale_x, right * s * scale_y)
            _add_turned(frame, y0, x0, *steps, right * c * scale_x, total[n], count[n])


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add_upright(values, y0, x0, down_y, right_x, total, count):
    """For a frame whose rows and columns are those of the cells."""
    rows, columns = total.shape
    cell = np.empty(values.shape[1], np.int64)
    for j in range(values.shape[1]):
        b = int(np.floor(x0 + j * right_x))
        cell[j] = b if 0 <= b < columns else -1
    for i in range(values.shape[0]):
        a = int(np.floor(y0 + i * down_y))
        if not 0 <= a < rows:
            continue
        for j in range(values.shape[1]):
            if cell[j] >= 0:
                total[a, cell[j]] += values[i, j]
                count[a, cell[j]] += 1.0


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add_turned(values, y0, x0, down_y, down_x, right_y, right_x, total, count):
    rows, columns = total.shape
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            a = int(np.floor(y0 + i * down_y + j * right_y))
            b = int(np.floor(x0 + i * down_x + j * right_x))
            if 0 <= a < rows and 0 <= b < columns:
                total[a, b] += values[i, j]
                count[a, b] += 1.0


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _shown(total, count):
    value = 255.0 * total / count
    return np.uint8(min(max(np.rint(value), 0.0), 255.0))


@numba.njit(cache=True, fastmath=False, nogil=True)
def _quantise(total, count, out):
    for n in range(out.shape[0]):
        for a in range(out.shape[2]):
            for b in range(out.shape[3]):
                if count[n, a, b] > 0:
                    out[n, 0, a, b] = _shown(total[n, a, b], count[n, a, b])
                    out[n, 1, a, b] = 255
                else:
                    out[n, 0, a, b] = 0
                    out[n, 1, a, b] = 0


@numba.njit(cache=True, fastmath=False, nogil=True)
def _quantise_about(total, count, first, out):
    rows, columns = total.shape[1], total.shape[2]
    for n in range(out.shape[0]):
        for i in range(out.shape[2]):
            for j in range(out.shape[3]):
                a, b = first[n, 0] + i, first[n, 1] + j
                if 0 <= a < rows and 0 <= b < columns and count[n, a, b] > 0:
                    out[n, 0, i, j] = _shown(total[n, a, b], count[n, a, b])
                    out[n, 1, i, j] = 255
                else:
                    out[n, 0, i, j] = 0
                    out[n, 1, i, j] = 0
