"""How a detector turns electrons into numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..noise import key_of, normal, ziggurat

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
        read = np.array(electrons, dtype=np.float32)
        key = key_of(rng) if self.dark_noise > 0 else np.uint64(0)
        respond(read.reshape(-1), self.numbers, key, ziggurat())
        return read

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """Gain, offset, dark noise and saturation, for compiled loops."""
        most = np.inf if self.saturation_e is None else self.saturation_e
        return float(self.gain), float(self.offset), float(self.dark_noise), float(most)

    def reading_of(self, electrons: float) -> float:
        """The mean reading of a number of electrons."""
        if self.saturation_e is not None:
            electrons = min(electrons, self.saturation_e)
        return self.gain * electrons + self.offset


@numba.njit(cache=True, fastmath=False, nogil=True)
def respond(values, numbers, key, layers):
    """Electrons (n,) to readings, in place."""
    gain, offset, dark, most = numbers
    state = key
    for n in range(values.shape[0]):
        read = gain * min(values[n], most) + offset
        if dark > 0.0:
            noise, state = normal(state, layers)
            read += dark * noise
        values[n] = read
