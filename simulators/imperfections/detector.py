"""How a detector turns electrons into numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class DetectorResponse:
    """Gain, offset, dark noise and saturation; ideal in all that is not given.

    Saturation acts on electrons, before the gain; the order is that of a
    scintillator and its amplifier.

    Attributes:
        gain: reading for one electron.
        offset: reading without any.
        dark_noise: standard deviation of the reading without any.
        saturation_e: electrons in a pixel above which the reading no longer
            rises; None where it always does.
    """

    gain: float = 1.0
    offset: float = 0.0
    dark_noise: float = 0.0
    saturation_e: float | None = None

    def __post_init__(self) -> None:
        rises = self.saturation_e is None or self.saturation_e > 0
        if not 0 < self.gain < np.inf or not rises:
            raise ValueError(
                f"gain {self.gain} and saturation {self.saturation_e} electrons must be above 0, "
                "the gain finite"
            )
        if not 0 <= self.dark_noise < np.inf or not np.isfinite(self.offset):
            raise ValueError(
                f"dark noise {self.dark_noise} must be at least 0 and finite, the offset "
                f"{self.offset} finite"
            )

    def readings(self, electrons: F32, rng: np.random.Generator) -> F32:
        """Readings of the same shape as ``electrons``."""
        if self.saturation_e is not None:
            electrons = np.minimum(electrons, np.float32(self.saturation_e))
        read = np.float32(self.gain) * electrons + np.float32(self.offset)
        if self.dark_noise > 0:
            read += np.float32(self.dark_noise) * rng.standard_normal(read.shape, dtype=np.float32)
        return np.asarray(read, dtype=np.float32)

    def reading_of(self, electrons: float) -> float:
        """The mean reading of a number of electrons."""
        if self.saturation_e is not None:
            electrons = min(electrons, self.saturation_e)
        return self.gain * electrons + self.offset
