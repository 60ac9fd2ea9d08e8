"""Correlation functions of distance, their derivatives and their spectra.

All are isotropic, 1 at distance 0, and scaled by one length (Rasmussen & Williams,
*Gaussian Processes for Machine Learning*, 2006, chapter 4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Kernel(ABC):
    """How alike two points are, by their squared distance.

    ``shape`` is a second parameter besides the length, where there is one.
    """

    has_shape = False

    @abstractmethod
    def __call__(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        """Correlations, of squared distances in squared units of ``length``."""

    @abstractmethod
    def by_log_length(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        """Derivative by the logarithm of the length."""

    def by_log_shape(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        """Derivative by the logarithm of the shape."""
        return np.zeros_like(squared)

    @abstractmethod
    def widths(self, count: int, shape: float, rng: np.random.Generator) -> Floats:
        """Factors (count,) that make normal frequencies those of this kernel's spectrum."""


class RBF(Kernel):
    """exp(-d² / 2l²), eq. 4.9."""

    def __call__(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        return np.asarray(np.exp(squared * (-0.5 / length**2)))

    def by_log_length(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        return self(squared, length) * squared / length**2

    def widths(self, count: int, shape: float, rng: np.random.Generator) -> Floats:
        return np.ones(count)


class Matern32(Kernel):
    """(1 + a) exp(-a) with a = √3 d / l, eq. 4.17."""

    nu = 1.5

    def _scaled(self, squared: Floats, length: float) -> Floats:
        return np.asarray(np.sqrt(squared) * (np.sqrt(2.0 * self.nu) / length))

    def __call__(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        a = self._scaled(squared, length)
        return np.asarray((1.0 + a) * np.exp(-a))

    def by_log_length(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        a = self._scaled(squared, length)
        return np.asarray(a * a * np.exp(-a))

    def widths(self, count: int, shape: float, rng: np.random.Generator) -> Floats:
        # The spectrum of a Matérn kernel is Student's t with 2ν degrees of freedom.
        return np.sqrt(2.0 * self.nu / rng.chisquare(2.0 * self.nu, count))


class Matern52(Matern32):
    """(1 + a + a²/3) exp(-a) with a = √5 d / l, eq. 4.17."""

    nu = 2.5

    def __call__(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        a = self._scaled(squared, length)
        return np.asarray((1.0 + a * (1.0 + a / 3.0)) * np.exp(-a))

    def by_log_length(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        a = self._scaled(squared, length)
        return np.asarray(a * a * (1.0 + a) / 3.0 * np.exp(-a))


class RationalQuadratic(Kernel):
    """(1 + d² / 2αl²)^-α, eq. 4.19: RBFs of many lengths; ``shape`` is α."""

    has_shape = True

    def __call__(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        return np.asarray((1.0 + squared / (2.0 * shape * length**2)) ** -shape)

    def by_log_length(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        base = 1.0 + squared / (2.0 * shape * length**2)
        return np.asarray(squared / length**2 * base ** (-shape - 1.0))

    def by_log_shape(self, squared: Floats, length: float, shape: float = 1.0) -> Floats:
        base = 1.0 + squared / (2.0 * shape * length**2)
        return np.asarray(shape * base**-shape * (1.0 - 1.0 / base - np.log(base)))

    def widths(self, count: int, shape: float, rng: np.random.Generator) -> Floats:
        return np.sqrt(rng.gamma(shape, 1.0 / shape, count))


KERNELS: dict[str, Kernel] = {
    "rbf": RBF(),
    "matern32": Matern32(),
    "matern52": Matern52(),
    "rational-quadratic": RationalQuadratic(),
}


def squared_distances(a: Floats, b: Floats) -> Floats:
    """Between (k, 2) and (n, 2) points: (k, n)."""
    dy = a[:, :1] - b[:, 0]
    dx = a[:, 1:] - b[:, 1]
    return np.asarray(dy * dy + dx * dx)
