"""Electrons come one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..noise import poisson

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Counting:
    """The number of electrons in a pixel is Poisson's: shot noise at the true dose.

    A detector that counts each of them with the same chance leaves the statistics
    Poisson's; that chance is then its detective quantum efficiency.

    Attributes:
        efficiency: share of the collected electrons that are counted.
    """

    efficiency: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.efficiency <= 1:
            raise ValueError(
                f"Counting: efficiency is {self.efficiency}; it must be above 0 and at most 1"
            )

    def counts(self, expected: NDArray[np.float64], rng: np.random.Generator) -> F32:
        """Counts of the same shape as ``expected``: the electrons collected on average."""
        return poisson(self.efficiency * expected, rng)

    def count_of(self, electrons: float) -> float:
        """The mean count of a number of electrons."""
        return self.efficiency * electrons


EVERY_ELECTRON = Counting()
