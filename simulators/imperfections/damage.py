"""Atoms that the beam takes away.

The cross-section for knocking an atom out elastically follows from the energy
that it takes: McKinley & Feshbach's approximation (Phys. Rev. 74 (1948) 1759)
integrated over the transfers above the threshold, averaged over the atom's
thermal velocity along the beam (Meyer et al., Phys. Rev. Lett. 108 (2012)
196102).  It is computed, never scaled.

| atom       | threshold | source                                                          |
|------------|-----------|-----------------------------------------------------------------|
| C graphene | 21.14 eV  | Susi et al., Nat. Commun. 7 (2016) 13040                         |
| S in MoS2  | 6.9 eV    | Komsa et al., Phys. Rev. Lett. 109 (2012) 035503                 |
| Se in WSe2 | 6.4 eV    | the same                                                         |

Graphene hardly suffers at 60 to 80 kV, sulphur in MoS2 has about a barn at 80 kV
and far less at 60 kV; selenium, for which the approximation overreaches (it is
good to about Z = 28), is too heavy to be moved at either.  Chalcogens leave
only on the side where the beam does: one on the other side is held back by the
layers behind it (thresholds of the two sides differ strongly: Pizzochero &
Yazyev, arXiv:1804.04599, 2018).  Measured cross-sections of sulphur
exceed these below 80 kV, because electronic excitation lowers the threshold
(Kretschmer et al., Nano Lett. 20 (2020) 2865; Speckmann et al., Phys. Rev. B 107
(2023) 094112: the elastic part dominates above 80 kV only); that part is left
out, so this is a lower bound there.  Whoever has a measured value gives it:
``BeamDamage({"S": ...})``.

What holds an atom is its material, so thresholds are listed by it.  A specimen
made of several is damaged piece by piece, each at the energy of the one beam.

Metal atoms in these sheets, silicon in graphene and the atoms of the oxides and
of gold at 200 kV are held too well, or no threshold is established: they are not
removed.  What the beam does to silicon in graphene at 60 kV is to make it trade
places with a carbon neighbour, without a loss (Susi et al., Phys. Rev. Lett. 113
(2014) 115501); it stays where it is here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from math import cos, exp, expm1, log, pi, sin, sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from ..exposure import EDGE_NM, within
from ..noise import uniform
from ..specimens import Kind, Specimen, specimen_module

Bools = NDArray[np.bool_]
THERE, LEAVING, GONE = range(3)  # what becomes of an atom
A2_PER_BARN = 1e-8
ELECTRON_KEV = 510.99895  # rest energy
ALPHA = 1 / 137.035999
# (4 π a0² (13.6057 eV)²) in barn eV²: the Rutherford prefactor.
RUTHERFORD_BARN = 4 * pi * 0.529177**2 * 1e8 * 13.605693**2


@dataclass(frozen=True)
class Threshold:
    """How an atom is held: energy to remove it, mass, and its motion along the beam.

    Attributes:
        energy_ev: of displacement.
        number: atomic number.
        mass_u: atomic mass.
        motion_ev: mean kinetic energy along the beam at 300 K, zero-point
            motion included: that of graphene from its out-of-plane velocity,
            3.17e5 m²/s² (Meyer et al. 2012); of the chalcogens kT/2 and some
            more for the zero-point motion, an estimate.
        exit_side: only atoms above the middle of the sheet are lost; the beam
            goes upwards.
    """

    energy_ev: float
    number: int
    mass_u: float
    motion_ev: float
    exit_side: bool = False


# By material and symbol.
THRESHOLDS: Mapping[str, Mapping[str, Threshold]] = {
    "graphene": {"C": Threshold(21.14, 6, 12.011, 0.0197)},
    "mos2": {"S": Threshold(6.9, 16, 32.06, 0.0150, exit_side=True)},
    "wse2": {"Se": Threshold(6.4, 34, 78.97, 0.0138, exit_side=True)},
}


@cache
def cross_section_barn(threshold: Threshold, energy_kev: float) -> float:
    """Elastic displacement cross-section with thermal motion, in barn."""
    mass_ev = threshold.mass_u * 931.49410e6
    speeds = np.linspace(-5.0, 5.0, 201)
    weights = np.exp(-0.5 * speeds**2)
    weights /= weights.sum()
    # Velocity along the beam in units of c: m v² / 2 = motion.
    sigma = sqrt(2 * threshold.motion_ev / mass_ev)
    total = 0.0
    for s, w in zip(speeds, weights, strict=True):
        total += w * _static(threshold, energy_kev, sigma * s, mass_ev)
    return total


def _static(threshold: Threshold, energy_kev: float, velocity: float, mass_ev: float) -> float:
    """Of an atom that moves with ``velocity`` (in c) along the beam."""
    highest = greatest_transfer_ev(energy_kev, mass_ev, velocity)
    if highest <= threshold.energy_ev:
        return 0.0
    e = energy_kev / ELECTRON_KEV
    beta2 = 1 - 1 / (1 + e) ** 2
    beta = sqrt(beta2)
    ratio = threshold.energy_ev / highest
    factor = threshold.number**2 * (1 - beta2) / beta2**2
    prefactor = RUTHERFORD_BARN * factor / (ELECTRON_KEV * 1e3) ** 2
    bend = pi * ALPHA * threshold.number * beta
    return prefactor * (
        1 / ratio - 1 + beta2 * log(ratio) + bend * (2 / sqrt(ratio) - 2 + log(ratio))
    )


def greatest_transfer_ev(energy_kev: float, mass_ev: float, velocity: float = 0.0) -> float:
    """Energy that an electron gives an atom in a head-on collision.

    The atom moves along the beam with ``velocity`` (in c); from the momentum
    that the electron hands over, 2p, and the atom's own (Meyer et al. 2012).
    """
    e = energy_kev * 1e3
    momentum = sqrt(e * (e + 2 * ELECTRON_KEV * 1e3))  # p c
    own = mass_ev * velocity
    return (2 * momentum + own) ** 2 / (2 * mass_ev)


def loss_probability(cross_section: float, dose_e_per_a2: float) -> float:
    """That an atom is lost to a dose: 1 - exp(-σ D)."""
    return 1.0 - exp(-cross_section * A2_PER_BARN * dose_e_per_a2)


@dataclass(frozen=True)
class BeamDamage:
    """Atoms leave with the probability that cross-section and dose give.

    Attributes:
        barn: cross-sections by symbol, instead of the computed ones; for
            energies or materials that these do not cover.
    """

    barn: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for symbol, value in self.barn.items():
            from ase.data import atomic_numbers

            if symbol not in atomic_numbers:
                raise ValueError(f"a cross-section for {symbol!r}, which is no chemical symbol")
            if not 0 <= value < np.inf:
                raise ValueError(
                    f"a cross-section of {value} barn for {symbol}; at least 0, and finite"
                )

    def cross_section(self, material: str, kind: Kind, energy_kev: float) -> float:
        """Barn of a kind of column in a material; only single atoms are ever lost."""
        if len(kind.stack) > 1 or kind.period_nm:
            return 0.0
        symbol = kind.stack[0][0]
        if symbol in self.barn:
            return self.barn[symbol]
        held = THRESHOLDS.get(material, {}).get(symbol)
        return 0.0 if held is None else cross_section_barn(held, energy_kev)

    def of_columns(self, specimen: Specimen, energy_kev: float) -> NDArray[np.float64]:
        """Barn of each column (n,): that of its kind, and 0 where it cannot leave."""
        barn = np.zeros(len(specimen.kind))
        for material, own in pieces(specimen):
            for k, kind in enumerate(specimen.kinds):
                value = self.cross_section(material, kind, energy_kev)
                if value == 0.0:
                    continue
                leaves = own & (specimen.kind == k)
                held = THRESHOLDS.get(material, {}).get(kind.stack[0][0])
                if held is not None and held.exit_side:
                    leaves &= specimen.height_nm > 0
                barn[leaves] = value
        return barn


def pieces(specimen: Specimen) -> Iterator[tuple[str, Bools]]:
    """The materials of a specimen, and which columns (n,) are of each.

    Most specimens are one material.  A mixture says which one lies where by its
    map ``material``, in the order of its module's ``PARTS``: a single atom is of
    the same kind in all of them.
    """
    laid = specimen.maps.get("material")
    if laid is None:
        yield specimen.name, np.ones(len(specimen.kind), dtype=bool)
        return
    from scipy.ndimage import grey_dilation

    # A cell belongs to the piece that its middle lies in, whose border is within half a cell
    # of it; pieces are several cells apart.
    values = grey_dilation(laid.values, size=(3, 3))
    shape = np.asarray(values.shape)
    cell = np.floor(specimen.positions_yx_nm / laid.pitch_nm + shape / 2).astype(np.int64)
    row, column = np.clip(cell, 0, shape - 1).T
    label = values[row, column]
    for k, part in enumerate(specimen_module(specimen.name).PARTS, start=1):
        yield part.module.NAME, label == k


def feature_loss_probability(
    specimen: Specimen, damage: BeamDamage, energy_kev: float, dose_e_per_a2: float
) -> dict[str, float]:
    """Mean probability of losing an atom of a feature to a dose over all of it, by class."""
    barn = damage.of_columns(specimen, energy_kev)
    found: dict[str, list[float]] = {}
    for k, yx in zip(specimen.feature_class, specimen.feature_yx_nm, strict=True):
        own = atoms_of_feature(specimen, int(k), yx)
        total = float(barn[own].sum())
        found.setdefault(specimen.classes[k].name, []).append(
            loss_probability(total, dose_e_per_a2)
        )
    return {name: float(np.mean(values)) for name, values in found.items()}


def atoms_of_feature(
    specimen: Specimen, feature_class: int, yx_nm: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Columns in a feature's context disc: a point feature is destroyed when one of them goes.

    Segments and cells have too many for one to matter; they are never destroyed.
    """
    of_class = specimen.classes[feature_class]
    if of_class.shape != "point":
        return np.empty(0, dtype=np.int64)
    offset = specimen.positions_yx_nm - yx_nm
    return np.flatnonzero((offset**2).sum(axis=1) <= of_class.context_radius_nm**2)


@numba.njit(cache=True, fastmath=False, nogil=True)
def strike(points, centre, fov, rotation, shift, dose, barn, key, state):
    """Let the dose of one frame act on atoms (n, 2): those that it removes are ``LEAVING``.

    Args:
        points: where the atoms stand.
        centre, fov, rotation, shift: the frame's footprint, as of an ``Exposure``.
        dose: in e/Å².
        barn: (n,) cross-sections.
        key: of what is drawn.
        state: (n,) of the atoms; only those that are ``THERE`` are struck.

    Returns:
        How many leave.
    """
    c, s = cos(rotation), sin(rotation)
    half_y, half_x = fov[0] / 2 + EDGE_NM, fov[1] / 2 + EDGE_NM
    drawn = key
    leaving = 0
    for n in range(points.shape[0]):
        y, x = points[n, 0] - shift[0], points[n, 1] - shift[1]
        if state[n] == THERE and within(y, x, centre, half_y, half_x, c, s):
            number, drawn = uniform(drawn)
            if number < -expm1(-barn[n] * A2_PER_BARN * dose):
                state[n] = LEAVING
                leaving += 1
    return leaving
