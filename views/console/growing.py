"""A table that grows by rows, and is looked at while it does."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Growing:
    """Rows of numbers, added one after another.

    What was given out as ``rows`` stays as it was: rows are never changed, and a table that needs
    more room is copied.

    Args:
        shape: of a row.
    """

    def __init__(self, *shape: int) -> None:
        self._held = np.empty((64, *shape))
        self._count = 0

    def add(self, row: ArrayLike) -> None:
        """One more."""
        if self._count == len(self._held):
            self._held = np.concatenate([self._held, np.empty_like(self._held)])
        self._held[self._count] = row
        self._count += 1

    @property
    def rows(self) -> NDArray[np.float64]:
        """Those so far (n, ...)."""
        return self._held[: self._count]
