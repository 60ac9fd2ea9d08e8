"""A monolayer of WSe2 with point defects, an island of the 1T phase and contamination.

Structure: 1H, a = 0.328 nm and W-Se 0.2526 nm (Schutte et al., J. Solid State
Chem. 70 (1987) 207).  All else is as in MoS2; see ``mos2.py``.

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
SLICE_NM = 0.35  # the whole sheet: phases of 60 kV electrons turn little within it
CONFIGURATIONS = 8
# R.m.s. displacement along each axis at 300 K: those of MoS2, by mass.
THERMAL_SIGMA_NM = {
    "Mo": 0.0063, "S": 0.0077, "W": 0.0050, "V": 0.0075, "Se": 0.0065, "C": 0.0080
}  # fmt: skip

OPTICS = Optics(
    energy_kev=60.0,
    semiangle_mrad=30.0,
    beam_current_pa=80.0,
    source_fwhm_nm=0.08,
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
    "vse": 4460.0,
    "vse2": 1110.0,
    "vw": 697.0,
    "mo_w": 2730.0,
    "v_w": 1130.0,
    "s_se": 7790.0,
    "w_se": 1340.0,
    "se_w": 673.0,
    "boundary": 160.0,
}
MATERIAL = Material(NAME, "W", "Se", ("Mo", "V", "S"), 0.328, 0.1672, NEED_E_PER_A2)
CLASSES, KINDS = MATERIAL.classes, MATERIAL.kinds
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


def pair(feature_class: int, rng: np.random.Generator) -> tuple[Specimen, Specimen, Floats]:
    """Two sheets of 4 nm with and without one feature; a boundary ends as 2H."""
    return chalcogenide.pair(MATERIAL, feature_class, rng)
