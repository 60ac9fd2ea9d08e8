"""What of their fields frames tell of, for any number of episodes side by side.

The rule is that of active search (``navigation/search.py``): a place is told of where its
surroundings are scanned whole, by one frame or by several.  Here a frame is divided as finely, and
the map of all that is told is kept, of every episode.
"""

from __future__ import annotations

import numpy as np

from ..navigation.search import AROUND, CELLS, CONTEXT, whole
from ..perception.sightings import BLOCKS
from .evidence import F32, Cells, Floats, Ints

FINER = CELLS // BLOCKS  # places to a side of a cell
REACH = AROUND + 2 * CONTEXT  # to a side of all that decides what a frame tells of


class Told:
    """Of ``n`` episodes over fields alike.

    Args:
        cells: of the field.
        n: episodes.

    Attributes:
        map: (n, FINER * rows, FINER * columns) which places are told of.
        scanned: which were scanned, with a border of ``REACH`` about the field.
    """

    def __init__(self, cells: Cells, n: int = 1) -> None:
        self.low_yx_nm = np.asarray(cells.low_yx_nm)
        self.side_yx_nm = np.asarray(cells.side_yx_nm) / FINER
        rows, columns = (FINER * k for k in cells.shape)
        self.map = np.zeros((n, rows, columns), dtype=bool)
        # Nothing beyond the field is ever scanned; the border spares asking.
        self.scanned = np.zeros((n, rows + 2 * REACH, columns + 2 * REACH), dtype=bool)

    def clear(self, which: Ints) -> None:
        """Some episodes begin anew."""
        self.map[which] = False
        self.scanned[which] = False

    def corners(self, centres_yx_nm: Floats) -> Ints:
        """The first places (m, 2) of frames, inside the field or not."""
        first = (centres_yx_nm - self.low_yx_nm) / self.side_yx_nm - CELLS / 2
        return np.asarray(np.rint(first), dtype=np.int64)

    def add(self, which: Ints, corners: Ints, weight: F32 | None = None) -> F32:
        """One more frame in each of some episodes.

        Args:
            which: (m,) these, none of them twice.
            corners: (m, 2) of the frames, as ``corners`` has them.
            weight: (n, rows, columns) of the cells of all episodes.

        Returns:
            What the places that are newly told of weigh (m,); without weights their area in frames.
        """
        _, rows, columns = self.map.shape
        # A frame out of the field is kept beside it, where it tells of nothing.
        at = np.clip(corners, -REACH, np.array([rows, columns]) + REACH - CELLS) + REACH
        of = which[:, None, None]
        own = np.arange(CELLS)
        here = of, (at[:, :1] + own)[:, :, None], (at[:, 1:] + own)[:, None, :]
        self.scanned[here] = True
        self.scanned[which, :REACH] = self.scanned[which, -REACH:] = False
        self.scanned[which, :, :REACH] = self.scanned[which, :, -REACH:] = False
        near = np.arange(REACH) - 2 * CONTEXT
        y = np.clip(at[:, :1] + near, 0, rows + 2 * REACH - 1)
        x = np.clip(at[:, 1:] + near, 0, columns + 2 * REACH - 1)
        told = whole(self.scanned[of, y[:, :, None], x[:, None, :]])
        inner = slice(CONTEXT, -CONTEXT)
        y, x = y[:, inner] - REACH, x[:, inner] - REACH
        there = ((y >= 0) & (y < rows))[:, :, None] & ((x >= 0) & (x < columns))[:, None, :]
        y, x = np.clip(y, 0, rows - 1)[:, :, None], np.clip(x, 0, columns - 1)[:, None, :]
        new = told & there & ~self.map[of, y, x]
        m, i, j = np.nonzero(new)
        self.map[which[m], y[m, i, 0], x[m, 0, j]] = True
        if weight is None:
            return np.asarray(new.sum(axis=(1, 2), dtype=np.float32) / CELLS**2)
        worth = weight[of, y // FINER, x // FINER] / FINER**2
        return np.asarray((worth * new).sum(axis=(1, 2), dtype=np.float32))

    @property
    def shares(self) -> F32:
        """Of each cell (n, rows, columns), the share that is told of."""
        n, rows, columns = self.map.shape
        finer = self.map.reshape(n, rows // FINER, FINER, columns // FINER, FINER)
        return np.asarray(finer.mean(axis=(2, 4), dtype=np.float32))
