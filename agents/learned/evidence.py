"""What was sighted so far, laid on the field: what a learned navigator goes by.

The field is divided into cells of a block of a frame, ``BLOCKS`` to a side of it.  Of each cell
it is kept how often it was looked at and the mean of what was sighted in it, for any number of
episodes side by side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import YX
from ..perception.sightings import BLOCKS

ROUNDING = 1e-6  # of a cell
Floats = NDArray[np.float64]
F32 = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """The cells of a field.

    Attributes:
        low_yx_nm: the corner where the first begins.
        side_yx_nm: of a cell.
        shape: rows and columns; the last may reach beyond the field.
    """

    low_yx_nm: YX
    side_yx_nm: YX
    shape: tuple[int, int]

    @classmethod
    def of(cls, field_yx_nm: YX, fov_yx_nm: YX) -> Cells:
        """Those of a field, for frames of a field of view."""
        side = (fov_yx_nm[0] / BLOCKS, fov_yx_nm[1] / BLOCKS)
        count = [
            max(1, int(np.ceil(f / s - ROUNDING))) for f, s in zip(field_yx_nm, side, strict=True)
        ]
        return cls((-field_yx_nm[0] / 2, -field_yx_nm[1] / 2), side, (count[0], count[1]))

    def at(self, yx_nm: Floats) -> Ints:
        """Cells (..., 2) of places, whether there are such or not."""
        relative = (yx_nm - self.low_yx_nm) / self.side_yx_nm
        return np.floor(relative + ROUNDING).astype(np.int64)

    def under(self, centres_yx_nm: Floats) -> Ints:
        """The cells (n, BLOCKS, BLOCKS, 2) in which the blocks of upright frames (n, 2) lie."""
        steps = np.arange(BLOCKS) + 0.5 - BLOCKS / 2
        grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1) * self.side_yx_nm
        return self.at(centres_yx_nm[:, None, None] + grid)

    def inside(self, cells: Ints) -> NDArray[np.bool_]:
        """Which of cells (..., 2) there are."""
        return np.asarray(((cells >= 0) & (cells < self.shape)).all(axis=-1))


class Evidence:
    """Of ``n`` episodes over fields alike.

    Args:
        cells: of the field.
        layers: of every sighting.
        n: episodes.

    Attributes:
        looks: (n, rows, columns) how often each cell was looked at.
        sums: (n, layers, rows, columns) of all that was sighted there.
    """

    def __init__(self, cells: Cells, layers: int, n: int = 1) -> None:
        self.cells = cells
        self.looks = np.zeros((n, *cells.shape), dtype=np.float32)
        self.sums = np.zeros((n, layers, *cells.shape), dtype=np.float32)

    def clear(self, which: Ints) -> None:
        """Some episodes begin anew."""
        self.looks[which] = 0.0
        self.sums[which] = 0.0

    def add(self, which: Ints, under: Ints, sighted: F32) -> None:
        """One more frame in each of some episodes.

        Args:
            which: (m,) these, none of them twice.
            under: (m, BLOCKS, BLOCKS, 2) the cells of its blocks.
            sighted: (m, layers, BLOCKS, BLOCKS); what is NaN was not looked at.
        """
        there = self.cells.inside(under) & np.isfinite(sighted).all(axis=1)
        m, i, j = np.nonzero(there)
        row, column = under[m, i, j].T
        np.add.at(self.looks, (which[m], row, column), 1.0)
        layer = np.arange(self.sums.shape[1])
        at = (which[m][:, None], layer[None], row[:, None], column[:, None])
        np.add.at(self.sums, at, sighted[m, :, i, j])

    @property
    def means(self) -> F32:
        """Of what was sighted (n, layers, rows, columns); 0 where nobody looked."""
        return np.asarray(self.sums / np.maximum(self.looks, 1.0)[:, None])
