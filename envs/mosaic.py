"""What has been measured so far, on a coarse grid of cells over the field."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import deflection
from ..hardware.microscope import YX, Frame

U8 = NDArray[np.uint8]


class Mosaic:
    """Means of the measured pixels in each cell.

    Args:
        field_yx_nm: what the cells cover.
        cells_yx: rows and columns.
    """

    def __init__(self, field_yx_nm: YX, cells_yx: tuple[int, int]) -> None:
        self.field_yx_nm = field_yx_nm
        self.total = np.zeros(cells_yx)
        self.count = np.zeros(cells_yx)

    def add(self, frame: Frame, values: NDArray[np.float32]) -> None:
        """Take in a frame, its readings scaled to ``values`` (rows, columns)."""
        region, state = frame.region, frame.state
        cells = self.total.shape
        scale = (cells[0] / self.field_yx_nm[0], cells[1] / self.field_yx_nm[1])
        rows, columns = values.shape
        pitch = (region.fov_yx_nm[0] / rows, region.fov_yx_nm[1] / columns)
        first = (
            region.centre_yx_nm[0] - (rows - 1) / 2 * pitch[0],
            region.centre_yx_nm[1] - (columns - 1) / 2 * pitch[1],
        )
        down, right = (pitch[0], 0.0), (0.0, pitch[1])
        if region.rotation_rad != 0.0:
            first, down, right = (
                tuple(deflection(v, region.rotation_rad)) for v in (first, down, right)
            )
        shift = (
            state.beam_shift_yx_nm[0] - state.stage_yx_nm[0],
            state.beam_shift_yx_nm[1] - state.stage_yx_nm[1],
        )
        add = _add if region.rotation_rad else _add_upright
        add(
            values[: frame.valid_rows],
            (first[0] + shift[0]) * scale[0] + cells[0] / 2,
            (first[1] + shift[1]) * scale[1] + cells[1] / 2,
            down[0] * scale[0],
            down[1] * scale[1],
            right[0] * scale[0],
            right[1] * scale[1],
            self.total,
            self.count,
        )

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Cells (rows, columns) with at least one measured pixel."""
        return self.count > 0

    def as_uint8(self) -> U8:
        """(2, rows, columns): the rounded mean of each cell at 0 to 255, and its mask."""
        out = np.zeros((2, *self.total.shape), dtype=np.uint8)
        _quantise(self.total, self.count, out)
        return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add_upright(values, y0, x0, down_y, down_x, right_y, right_x, total, count):
    """``_add`` for a frame whose rows and columns are those of the cells."""
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
def _add(values, y0, x0, down_y, down_x, right_y, right_x, total, count):
    rows, columns = total.shape
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            a = int(np.floor(y0 + i * down_y + j * right_y))
            b = int(np.floor(x0 + i * down_x + j * right_x))
            if 0 <= a < rows and 0 <= b < columns:
                total[a, b] += values[i, j]
                count[a, b] += 1.0


@numba.njit(cache=True, fastmath=False, nogil=True)
def _quantise(total, count, out):
    for a in range(total.shape[0]):
        for b in range(total.shape[1]):
            if count[a, b] > 0:
                value = 255.0 * total[a, b] / count[a, b]
                out[0, a, b] = np.uint8(min(max(np.rint(value), 0.0), 255.0))
                out[1, a, b] = 255
