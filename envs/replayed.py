"""A source whose microscope gives what a journal holds, in the order in which it came.

An experiment over a simulation or an image is seen again as it was: its frames are those of the
journal.  What only the simulation knows, the truth and where the electrons went, is simulated
beside them, since it is not in the journal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..hardware.microscope import Frame, Microscope, ScanRequest
from ..hardware.replayed import Replayed, Told
from ..simulators.specimens import Specimen
from .sources import Source


class ReplayedSource:
    """Another source, whose microscope is the journal of an experiment over it.

    Args:
        source: of the experiment, as it was configured.
        told: what the journal tells.

    Attributes:
        replayed: the microscope.
    """

    def __init__(self, source: Source, told: Told) -> None:
        self.source, self.replayed = source, SimulatedBeside(told)
        self.field_yx_nm, self.reference = source.field_yx_nm, source.reference
        self.costs, self.limits, self.classes = source.costs, source.limits, source.classes

    @property
    def settings(self) -> dict[str, Any]:
        return self.source.settings

    def microscope(
        self, seed: int, split: str, episode: int, specimen: int | None
    ) -> SimulatedBeside:
        beside = self.source.microscope(seed, split, episode, specimen)
        beside.open()
        self.replayed.beside = beside
        return self.replayed

    def truth(self, microscope: Microscope) -> Specimen | None:
        assert isinstance(microscope, SimulatedBeside)
        assert microscope.beside is not None
        return self.source.truth(microscope.beside)


class SimulatedBeside(Replayed):
    """A journal's frames, and a simulated microscope that takes the same ones for what it knows.

    Attributes:
        beside: the simulated one, open; None before the first episode.
        altered: frames, by number, that are simulated otherwise today than they were recorded,
            so that what is said of the truth need not hold.
    """

    def __init__(self, told: Told) -> None:
        super().__init__(told)
        self.beside: Microscope | None = None
        self.altered: list[int] = []

    @property
    def last_exposure(self) -> Any:
        """Where the electrons of the latest frame truly went."""
        return getattr(self.beside, "last_exposure", None)

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        number = self.at
        frame = super().acquire(request, timeout_s)
        if self.beside is not None:
            again = self.beside.acquire(frame.request, timeout_s)
            if not np.array_equal(again.image, frame.image):
                self.altered.append(number)
        return frame
