"""What navigators share: candidates, beliefs, the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..agent import Context, FieldMap

Floats = NDArray[np.float64]
PITCH = 0.5  # candidates lie half a frame apart


@dataclass(frozen=True, eq=False)
class Candidates:
    """Frames to choose from, on a lattice.

    Attributes:
        centres_yx_nm: (n, 2) in raster order.
        shape: rows and columns of the lattice.
    """

    centres_yx_nm: Floats
    shape: tuple[int, int]

    @classmethod
    def of(cls, context: Context, pitch: float = PITCH) -> Candidates:
        return cls(*context.reference.lattice(context.field_yx_nm, pitch))

    def field_map(self, values: Floats, unit: str) -> FieldMap:
        """One value for each candidate, as a map."""
        return FieldMap(
            values.reshape(self.shape),
            self.centres_yx_nm[:: self.shape[1], 0],
            self.centres_yx_nm[: self.shape[1], 1],
            unit,
        )

    def nearest(self, yx_nm: Floats) -> NDArray[np.int64]:
        """Index of the candidate nearest to each of (k, 2) points."""
        y, x = self.centres_yx_nm[:: self.shape[1], 0], self.centres_yx_nm[: self.shape[1], 1]
        row = np.abs(yx_nm[:, :1] - y[None]).argmin(axis=1)
        column = np.abs(yx_nm[:, 1:] - x[None]).argmin(axis=1)
        return np.asarray(row * self.shape[1] + column)


@dataclass(frozen=True, eq=False)
class Decision:
    """Which candidate is next, why, and what is believed.

    Attributes:
        index: of the candidate.
        reason: one plain sentence without its subject.
        maps: beliefs, one value for each candidate, with their units; NaN where
            a candidate was out of the question.
    """

    index: int
    reason: str
    maps: Mapping[str, tuple[Floats, str]]


class Navigator(Protocol):
    """Given what has been measured, where next?"""

    name: str
    privileged: bool  # it is told the truth
    candidates: Candidates

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that was chosen before the run, as JSON."""
        ...

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        """Start over; all randomness comes from ``rng``."""
        ...

    def decide(
        self, measured_yx_nm: Floats, targets: Floats, allowed: NDArray[np.bool_]
    ) -> Decision | None:
        """The next candidate.

        Args:
            measured_yx_nm: (k, 2) centres of the frames so far.
            targets: (k,) their targets; larger is better; NaN where there are none.
            allowed: (n,) candidates that may be chosen.

        Returns:
            None when no candidate is left.
        """
        ...

    def steer(self, exploration: float) -> None:
        """Set the curiosity; ValueError where there is none to set."""
        ...

    def save(self) -> dict[str, Any]:
        """State beyond what was measured, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None: ...
