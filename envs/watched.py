"""A source with a guard in front of each of its microscopes.

A simulation that a person watches is driven as an instrument is: its stop button sends nothing
more and blanks.  What is known of a simulation, its truth and where its electrons went, stays
known for people and scores.  Training and benchmarks drive the bare simulator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..hardware.guard import Guard
from ..hardware.microscope import YX, Capabilities, Frame, Microscope, ScanRequest, State
from ..simulators.exposure import Exposure
from ..simulators.specimens import Specimen
from .episode import KnowsExposure
from .sources import Source


class Watched:
    """A microscope behind its guard, of which is known what is known of the bare one.

    Args:
        guard: drives it.
        bare: the one behind the guard.
    """

    def __init__(self, guard: Guard, bare: Microscope) -> None:
        self.guard, self.bare = guard, bare

    @property
    def last_exposure(self) -> Exposure | None:
        """Where the electrons of the latest frame truly went, where anybody knows."""
        return self.bare.last_exposure if isinstance(self.bare, KnowsExposure) else None

    def open(self) -> Capabilities:
        return self.guard.open()

    def state(self) -> State:
        return self.guard.state()

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        return self.guard.move_stage(yx_nm, timeout_s)

    def set_beam_shift(self, yx_nm: YX) -> State:
        return self.guard.set_beam_shift(yx_nm)

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        return self.guard.acquire(request, timeout_s)

    def blank(self, on: bool) -> State:
        return self.guard.blank(on)

    def abort(self) -> None:
        self.guard.abort()

    def close(self) -> None:
        self.guard.close()


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

    def microscope(self, seed: int, split: str, episode: int, specimen: int | None) -> Watched:
        if self.guard is not None:
            self.guard.close()
        bare = self.source.microscope(seed, split, episode, specimen)
        self.guard = self._guarded(bare)
        return Watched(self.guard, bare)

    def truth(self, microscope: Microscope) -> Specimen | None:
        assert isinstance(microscope, Watched)
        return self.source.truth(microscope.bare)
