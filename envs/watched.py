"""A source with a guard in front of each of its microscopes.

A simulation that a person watches is driven as an instrument is: its stop button sends nothing
more and blanks.  What is known of a simulation, its truth and where its electrons went, stays
known for people and scores.  Training and benchmarks drive the bare simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..hardware.guard import Guard
from ..hardware.microscope import Microscope
from ..simulators.specimens import Specimen
from .sources import Source


class WatchedSource:
    """Another source, each of whose microscopes has a guard.

    Args:
        source: makes the microscopes.
        guarded: puts a guard in front of one.

    Attributes:
        guard: of the latest; None before the first.
    """

    def __init__(self, source: Source, guarded: Callable[[Microscope], Guard]) -> None:
        self.source, self._guarded = source, guarded
        self.guard: Guard | None = None
        self.field_yx_nm, self.reference = source.field_yx_nm, source.reference
        self.costs, self.limits, self.classes = source.costs, source.limits, source.classes

    @property
    def settings(self) -> dict[str, Any]:
        return self.source.settings

    def microscope(self, seed: int, split: str, episode: int, specimen: int | None) -> Guard:
        if self.guard is not None:
            self.guard.close()
        self.guard = self._guarded(self.source.microscope(seed, split, episode, specimen))
        return self.guard

    def truth(self, microscope: Microscope) -> Specimen | None:
        assert isinstance(microscope, Guard)
        return self.source.truth(microscope.microscope)
