"""Projected potentials that do not depend on where an atom falls between the grid points.

abTEM's own infinite projection spreads each atom over its four nearest grid
points; at the coarsest sampling that reaches the detector, that dims an atom
between the points by a third at high angles.  Here every atom enters through
its phase, exp(-2πi k·r), which is exact at any position; scattering factors and
everything after are abTEM's.  Imported only by the abtem renderer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from abtem.integrals import ScatteringFactorProjectionIntegrals
from ase.data import chemical_symbols


class PhaseProjection(ScatteringFactorProjectionIntegrals):
    """``abtem.Potential(..., integrator=PhaseProjection())``."""

    def integrate_on_grid(
        self,
        atoms: Any,
        a: float,
        b: float,
        gpts: tuple[int, int],
        sampling: tuple[float, float],
        device: str = "cpu",
    ) -> np.ndarray:
        """The projected potential (gpts) of one slice in V Å, by structure factors."""
        kx, ky = (np.fft.fftfreq(n, d) for n, d in zip(gpts, sampling, strict=True))
        factors: Any = self.get_scattering_factor
        spectrum = np.zeros(gpts, dtype=np.complex128)
        for number in np.unique(atoms.numbers):
            x, y = atoms.positions[atoms.numbers == number, :2].T
            factor = factors(chemical_symbols[number], gpts, sampling, device)
            phases = np.exp(-2j * np.pi * np.outer(kx, x)) @ np.exp(-2j * np.pi * np.outer(y, ky))
            spectrum += factor * phases
        potential = np.fft.ifft2(spectrum).real / (sampling[0] * sampling[1])
        return potential.astype(np.float32)
