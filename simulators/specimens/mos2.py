"""A monolayer of MoS2 with point defects, an island of the 1T phase and contamination.

Structure: 1H, a = 0.316 nm and Mo-S 0.2417 nm (Bronsema et al., Z. Anorg. Allg.
Chem. 540 (1986) 15); each column of sulphur holds two atoms.  In the island the
lower sulphur is glided to the octahedral place (1T; Lin et al., Nat. Nanotechnol.
9 (2014) 391), at the lattice constant and heights of 2H.  Its edges follow zigzag
rows, along which both phases share their metals.  Which defects there are follows
Zhou et al., Nano Lett. 13 (2013) 2615, and Hong et al., Nat. Commun. 6 (2015) 6293.

All that departs from the crystal was relaxed offline, in Keating's force field, by
``python -m stemscout.simulators.specimens.relax_chalcogenide``, whose docstring has
the sources, and is pasted with its border on the lattice:

- Boundaries, one period of each of the two kinds of edge, which alternate around a
  hexagon.  The phases cannot join without a gap in the lower layer: a third of a row
  of sulphur is missing and one molybdenum a period is five-fold, or two thirds and
  two; every sulphur keeps three neighbours.  Atoms move by up to 0.006 and 0.008 nm,
  towards the gap, and by less than 0.001 nm at 1.8 nm from it; bonds are within
  2.5 % of the crystal's.  Within 0.6 nm of corners and of point defects this fades,
  and the latter stay on their sites.
- Foreign atoms and antisites, by up to 0.03 nm: Mo-Mo 0.27 nm at mo_s, S-S 0.20
  nm at s_mo, whose two sulphurs have four sulphur neighbours each.
- Sulphur vacancies: the force field moves nothing, so the three molybdenum beside one
  are drawn in by 0.010 nm, about what density-functional theory gives, and the
  sulphur around follows.  The surroundings of a missing molybdenum (vmo) are NOT
  relaxed: no such figure is taken, and the field has none.

| class    | what it is                                       |
|----------|--------------------------------------------------|
| vs       | one sulphur of a column missing                  |
| vs2      | both missing                                     |
| vmo      | a molybdenum missing                             |
| w_mo     | tungsten on a molybdenum's place                 |
| v_mo     | vanadium on a molybdenum's place                 |
| se_s     | selenium for one sulphur                         |
| mo_s     | molybdenum for one sulphur (antisite)            |
| s_mo     | two sulphur on a molybdenum's place (antisite)   |
| boundary | between 2H and 1T, in segments of 0.5 nm         |

Points have a context radius of 0.30 nm and a tolerance of 0.10 nm, segments of
0.50 and 0.25 nm; pixels may be up to 0.05 nm.  Patches of amorphous carbon lie
on the sheet; they are not scored, nor are segments that they hide, and no
defect is under one.  Most defects lie along the boundary, at the edges of
patches or in groups.

Difficulty sets the number of defects and patches, how often there is an island
(9, 8 and 7 of 10 sheets; never in fields below 10 nm), and the dwell of the
reference frame.  Maps: ``contamination`` (nm), ``phase`` (1 in 1T).
"""

from __future__ import annotations

import numpy as np

from ..optics import Detector, Optics
from . import chalcogenide
from .chalcogenide import LEAST_FIELD_NM, LEVELS, Material
from .specimen import Floats, Specimen

NAME = "mos2"
FIELD_NM = 24.0
FRAME_NM, FRAME_PX = 1.5, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.04
THICKNESS_NM = 0.0
HALF_NM = 0.1585  # of the sheet: chalcogens stand so far above and below the metal
SLICE_NM = HALF_NM  # each layer of atoms in the middle of its own
TILE_NODES = 10
CONFIGURATIONS = 8
# R.m.s. displacement along each axis at 300 K: U of about 0.004 Å² for Mo and 0.006 Å² for S
# in the plane (Schönfeld et al., Acta Cryst. B 39 (1983) 404); the others by their mass.
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
# Fractions of the beam that an operator would set white to: a little above one Mo atom.
FULL_SCALE = {"haadf": 1.6e-2, "maadf": 1.4e-2, "abf": 0.9, "bf": 0.4}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility mos2`.
NEED_E_PER_A2 = {
    "vs": 14700.0,
    "vs2": 5110.0,
    "vmo": 1750.0,
    "w_mo": 2150.0,
    "v_mo": 5350.0,
    "se_s": 3500.0,
    "mo_s": 1270.0,
    "s_mo": 4960.0,
    "boundary": 1160.0,
}
MATERIAL = Material(NAME, "Mo", "S", ("W", "V", "Se"), 0.316, HALF_NM, NEED_E_PER_A2)
CLASSES, KINDS = MATERIAL.classes, MATERIAL.kinds
PAIRED = (MATERIAL.chalcogen,)  # in 2H; in 1T, and beside a vacancy, each stands alone
RAISED = (MATERIAL.metal,)  # where it stands in a chalcogen's place
CALIBRATED = {"vs": 2, "se_s": 2, "mo_s": 2}  # those that stand in either layer, so in both
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
