"""What an episode is rewarded for."""

from __future__ import annotations

from typing import Protocol

from ..simulators.exposure import Exposure
from . import seen as rule


class Task(Protocol):
    """Progress towards a goal; ``fraction`` in [0, 1] never falls."""

    @property
    def name(self) -> str: ...

    @property
    def fraction(self) -> float:
        """How much of the task is done."""
        ...

    @property
    def done(self) -> bool:
        """Nothing more can be gained."""
        ...

    def update(self, exposure: Exposure | None) -> float:
        """Take note of one more frame; the gain in ``fraction``."""
        ...


class Discover:
    """See every feature."""

    name = "discover"

    def __init__(self, targets: rule.Targets) -> None:
        self.tally = rule.Tally(targets)
        self.fraction = 0.0

    @property
    def done(self) -> bool:
        """Every feature was seen, or destroyed."""
        return bool((self.tally.seen | self.tally.destroyed).all())

    def update(self, exposure: Exposure | None) -> float:
        if exposure is None:
            raise ValueError("the task 'discover' needs to know where the electrons went")
        self.tally.add(exposure)
        before, self.fraction = self.fraction, self.tally.recall
        return self.fraction - before


class Explore:
    """Where there is no truth there is no reward, and no end but the budget's."""

    name = "explore"
    fraction = 0.0
    done = False

    def update(self, exposure: Exposure | None) -> float:
        return 0.0
