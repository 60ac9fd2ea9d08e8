"""A monolayer of WSe2 with point defects, an island of the 1T phase and contamination.

Structure: 1H, a = 0.328 nm and W-Se 0.2526 nm (Schutte et al., J. Solid State
Chem. 70 (1987) 207); each column of selenium holds two atoms.  In the island the
lower selenium is glided to the octahedral place (1T), at the lattice constant and
heights of 2H.  Its edges follow zigzag rows, along which both phases share their
metals.  Classes are those of MoS2, with metals and chalcogens exchanged.

All that departs from the crystal was relaxed offline, in Keating's force field, by
``python -m stemscout.simulators.specimens.relax_chalcogenide``, whose docstring has
the sources, and is pasted with its border on the lattice:

- Boundaries, one period of each of the two kinds of edge, which alternate around a
  hexagon.  The phases cannot join without a gap in the lower layer: a third of a row
  of selenium is missing and one tungsten a period is five-fold, or two thirds and
  two; every selenium keeps three neighbours.  Atoms move by up to 0.006 and 0.008 nm,
  towards the gap, and by less than 0.001 nm at 1.8 nm from it; bonds are within
  2.5 % of the crystal's.  Within 0.6 nm of corners and of point defects this fades,
  and the latter stay on their sites.
- Foreign atoms and antisites, by up to 0.03 nm: W-W 0.27 nm at w_se, Se-Se 0.23
  nm at se_w, whose two seleniums have four selenium neighbours each.
- Selenium vacancies: the force field moves nothing, so the three tungsten beside one
  are drawn in by 0.010 nm, the figure taken for MoS2, and the selenium around
  follows.  The surroundings of a missing tungsten (vw) are NOT relaxed: no such
  figure is taken, and the field has none.

| class    | what it is                                        |
|----------|---------------------------------------------------|
| vse      | one selenium of a column missing                  |
| vse2     | both missing                                      |
| vw       | a tungsten missing                                |
| mo_w     | molybdenum on a tungsten's place                  |
| v_w      | vanadium on a tungsten's place                    |
| s_se     | sulphur for one selenium                          |
| w_se     | tungsten for one selenium (antisite)              |
| se_w     | two selenium on a tungsten's place (antisite)     |
| boundary | between 2H and 1T, in segments of 0.5 nm          |

| shape    | context radius | tolerance | largest pixel |
|----------|----------------|-----------|---------------|
| point    | 0.30 nm        | 0.10 nm   | 0.05 nm       |
| segment  | 0.50 nm        | 0.25 nm   | 0.05 nm       |

Patches of amorphous carbon lie on the sheet; they are not scored, nor are segments
that they hide, and no defect is under one.  Most defects lie along the boundary, at
the edges of patches or in groups.

Difficulty, for the default field of 24 nm; defects are those of each class of
points, in the order above:

| difficulty | defects                 | patches | sheets with an island | dwell |
|------------|-------------------------|---------|-----------------------|-------|
| easy       | 12, 6, 5, 6, 5, 6, 3, 3 | 1       | 9 of 10               | 24 µs |
| medium     | 6, 3, 3, 3, 3, 3, 2, 1  | 2       | 8 of 10               | 12 µs |
| hard       | 3, 2, 1, 2, 1, 1, 1, 1  | 4       | 7 of 10               | 6 µs  |

Fields below 10 nm never have an island.  The dwell is that of the reference frame.
Maps: ``contamination`` (nm), ``phase`` (1 in 1T).
"""

from __future__ import annotations

import numpy as np

from ..optics import Detector, Optics
from . import chalcogenide
from .chalcogenide import LEAST_FIELD_NM, LEVELS, Material
from .specimen import Floats, Specimen

NAME = "wse2"
FIELD_NM = 24.0
FRAME_NM, FRAME_PX = 1.5, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.04
THICKNESS_NM = 0.0
HALF_NM = 0.1672  # of the sheet: chalcogens stand so far above and below the metal
SLICE_NM = HALF_NM  # each layer of atoms in the middle of its own
TILE_NODES = 10
CONFIGURATIONS = 8
# R.m.s. displacement along each axis at 300 K: those of MoS2, by mass.
THERMAL_SIGMA_NM = {
    "Mo": 0.0063, "S": 0.0077, "W": 0.0050, "V": 0.0075, "Se": 0.0065, "C": 0.0080
}  # fmt: skip

OPTICS = Optics(
    energy_kev=60.0,
    semiangle_mrad=30.0,
    beam_current_pa=80.0,
    source_fwhm_nm=0.09,
    detectors=(
        Detector("haadf", 80.0, 180.0),
        Detector("maadf", 50.0, 80.0),
        Detector("abf", 15.0, 30.0),
        Detector("bf", 0.0, 15.0),
    ),
)
# Fractions of the beam that an operator would set white to: a little above one W atom.
FULL_SCALE = {"haadf": 4.0e-2, "maadf": 2.5e-2, "abf": 0.9, "bf": 0.4}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility wse2`.
NEED_E_PER_A2 = {
    "vse": 4180.0,
    "vse2": 1260.0,
    "vw": 926.0,
    "mo_w": 4050.0,
    "v_w": 1560.0,
    "s_se": 9870.0,
    "w_se": 1530.0,
    "se_w": 1880.0,
    "boundary": 230.0,
}
MATERIAL = Material(NAME, "W", "Se", ("Mo", "V", "S"), 0.328, HALF_NM, NEED_E_PER_A2)
CLASSES, KINDS = MATERIAL.classes, MATERIAL.kinds
PAIRED = (MATERIAL.chalcogen,)  # in 2H; in 1T, and beside a vacancy, each stands alone
RAISED = (MATERIAL.metal,)  # where it stands in a chalcogen's place
CALIBRATED = {"vse": 2, "s_se": 2, "w_se": 2}  # those that stand in either layer, so in both
__all__ = ["LEAST_FIELD_NM", "LEVELS"]


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "medium",
    field_nm: float = FIELD_NM,
    margin_nm: float = 1.0,
) -> Specimen:
    """A sheet from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_nm: side of the square field in nm; at least 6.
        margin_nm: how far atoms reach beyond the field.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    return chalcogenide.generate(MATERIAL, FIELD_NM, seed, difficulty, field_nm, margin_nm)


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "medium"
) -> tuple[Specimen, Specimen, Floats]:
    """Two sheets of 4 nm with and without one feature, alike at every difficulty."""
    return chalcogenide.pair(MATERIAL, feature_class, rng)
