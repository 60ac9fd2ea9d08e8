"""What perceptions share: the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import Frame
from ..agent import ClassMap, Context, Finding

Floats = NDArray[np.float64]


class Perception(Protocol):
    """What is in this frame?  Descriptors are learned from the frames so far.

    A frame is described piece by piece: as a whole, or by its windows, or its atoms.  What is
    pursued of the descriptors is the scalarizer's business (``agents/scalarizers.py``).

    Attributes:
        name: by which the catalogue has it.
        privileged: it is told the truth.
        pursued: the scalarizer that is meant where nobody chooses one, as plain data.
        names: of the descriptors; empty until they are known, at the latest after ``reset``.
    """

    name: str
    privileged: bool
    pursued: Any

    @property
    def names(self) -> Sequence[str]: ...

    def reset(self, context: Context, seed: int) -> None:
        """Start over on a new specimen."""
        ...

    def features(self, frames: Sequence[Frame]) -> Sequence[Any]:
        """What of each frame is kept, computed once for each."""
        ...

    def fit(self, features: Sequence[Any], shares: Floats) -> None:
        """Learn from the features of frames that stand for ``shares`` (n,) of the field."""
        ...

    def describe(self, features: Sequence[Any]) -> list[Floats]:
        """Descriptors (k, d) of the k pieces of each frame."""
        ...

    def save(self) -> dict[str, Any]:
        """What the next fit depends on beyond the frames, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """After ``reset``: the next fit, to the same frames, ends as the one after ``save``."""
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


class Segmenting(Perception, Protocol):
    """A perception that tells of every pixel of a frame what it shows."""

    def segmented(self, frame: Frame) -> ClassMap | None:
        """Of a frame whose features were just asked for; None where nobody can tell."""
        ...


class Decoding(Perception, Protocol):
    """A perception that can show what descriptors stand for."""

    def decoded(self, descriptors: Floats) -> Floats | None:
        """Pictures (n, rows, columns) of descriptors (n, d); None before the first fit."""
        ...


class Classifier(Perception, Protocol):
    """A perception that claims features, each with its class."""

    def findings(self, frames: Sequence[Frame]) -> list[Finding]:
        """All that it claims of the frames of a run so far, in order; called after each."""
        ...
