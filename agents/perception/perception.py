"""What perceptions share: the contract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import Frame
from ..agent import Context, Finding

Floats = NDArray[np.float64]


class Perception(Protocol):
    """What is in this frame?  Descriptors are learned from the frames so far."""

    name: str
    privileged: bool  # it is told the truth

    def reset(self, context: Context, seed: int) -> None:
        """Start over on a new specimen."""
        ...

    def features(self, frames: Sequence[Frame]) -> Floats:
        """What of frames is kept, computed once for each: (n, ...)."""
        ...

    def fit(self, features: Floats, shares: Floats) -> None:
        """Learn from frames that stand for ``shares`` (n,) of the field."""
        ...

    def describe(self, features: Floats) -> Floats:
        """Descriptors (n, d)."""
        ...

    @property
    def largest(self) -> int:
        """The descriptor that is pursued where nobody chooses another."""
        ...

    @property
    def rare(self) -> float:
        """The sign under which it is pursued."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """All that was chosen before the run, as JSON."""
        ...

    @property
    def components(self) -> Floats | None:
        """Pictures of the descriptors (d, rows, columns); None without any."""
        ...

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        """Half the width of those pictures, and its unit."""
        ...


class Classifier(Perception, Protocol):
    """A perception that claims features, each with its class."""

    def findings(self, frames: Sequence[Frame]) -> list[Finding]:
        """All that it claims of the frames of a run so far, in order; called after each."""
        ...
