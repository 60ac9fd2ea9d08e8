"""Precision and recall of whatever was claimed."""

from __future__ import annotations


class Rates:
    """Of what has counts ``true`` (there is), ``claimed`` and ``right`` (of those claimed)."""

    true: float
    claimed: float
    right: float

    @property
    def precision(self) -> float:
        """Share of the claims that are right; 0 without any."""
        return self.right / self.claimed if self.claimed else 0.0

    @property
    def recall(self) -> float:
        """Share of the features that were claimed."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        total = self.true + self.claimed
        return 2.0 * self.right / total if total else 0.0
