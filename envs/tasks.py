"""What an episode is rewarded for."""

from __future__ import annotations

from typing import Protocol

import numpy as np

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
        self.targets = targets
        self.received = np.zeros(targets.points_yx_nm.shape[:2])
        self.seen = np.zeros(len(targets.weight), dtype=bool)
        self.fraction = 0.0

    @property
    def done(self) -> bool:
        return bool(self.seen.all())

    def update(self, exposure: Exposure | None) -> float:
        if exposure is None:
            raise ValueError("the task 'discover' needs to know where the electrons went")
        self.received += rule.dose(self.targets, exposure)
        self.seen = rule.seen(self.targets, self.received)
        before, self.fraction = self.fraction, float(self.targets.weight[self.seen].sum())
        return self.fraction - before


class Explore:
    """Where there is no truth there is no reward, and no end but the budget's."""

    name = "explore"
    fraction = 0.0
    done = False

    def update(self, exposure: Exposure | None) -> float:
        return 0.0
