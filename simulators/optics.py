"""What illuminates the specimen and what collects the scattered electrons.

These objects only describe; the renderers compute.  Angles are semi-angles in
mrad, lengths in nm, energies in keV.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, isfinite, sqrt

from ..hardware.costs import ELECTRONS_PER_PA_US


@dataclass(frozen=True)
class Detector:
    """An annular detector by its name and collection angles."""

    name: str
    inner_mrad: float
    outer_mrad: float

    def __post_init__(self) -> None:
        if not 0 <= self.inner_mrad < self.outer_mrad < inf:
            raise ValueError(
                f"detector {self.name!r}: angles {self.inner_mrad}-{self.outer_mrad} mrad; the "
                "inner one must be at least 0 and below the outer one, which must be finite"
            )


@dataclass(frozen=True)
class Optics:
    """The probe and the detectors.

    Attributes:
        energy_kev: of the beam.
        semiangle_mrad: of convergence.
        beam_current_pa: of the probe.
        source_fwhm_nm: full width at half maximum of the effective source in
            the specimen plane; it blurs every image incoherently.
        defocus_nm: underfocus is positive.
        astigmatism_nm, astigmatism_rad: two-fold, size (C12) and direction.
        c3_nm, c5_nm: spherical aberration of third and fifth order.
        focal_spread_nm: standard deviation of the defocus that the chromatic
            aberration leaves; images are averaged over it incoherently.
        detectors: what collects.
    """

    energy_kev: float
    semiangle_mrad: float
    beam_current_pa: float
    source_fwhm_nm: float
    defocus_nm: float = 0.0
    astigmatism_nm: float = 0.0
    astigmatism_rad: float = 0.0
    c3_nm: float = 0.0
    c5_nm: float = 0.0
    focal_spread_nm: float = 0.0
    detectors: tuple[Detector, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("energy_kev", "semiangle_mrad", "beam_current_pa"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 and finite")
        for name in ("source_fwhm_nm", "focal_spread_nm"):
            if not 0 <= getattr(self, name) < inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}; it must be at least 0 and finite"
                )
        for name in ("defocus_nm", "astigmatism_nm", "astigmatism_rad", "c3_nm", "c5_nm"):
            if not isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be finite")

    @property
    def wavelength_nm(self) -> float:
        """Relativistic electron wavelength (de Broglie)."""
        return wavelength_nm(self.energy_kev)

    @property
    def electrons_per_us(self) -> float:
        return self.beam_current_pa * ELECTRONS_PER_PA_US

    @property
    def source_sigma_nm(self) -> float:
        """Standard deviation of the Gaussian source."""
        return self.source_fwhm_nm / 2.354820045


def wavelength_nm(energy_kev: float) -> float:
    """Relativistic electron wavelength in nm: hc / sqrt(E (E + 2 m c²))."""
    return 1.23984198 / sqrt(energy_kev * (energy_kev + 2 * 510.99895))
