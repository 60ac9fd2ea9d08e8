"""Ferroelectric domains in BiFeO3, seen along the pseudo-cubic [001].

The second material of Creange et al., Mach. Learn.: Sci. Technol. 3 (2022)
015024.  Iron stands off the middle of its four bismuth neighbours, against the
polarisation, and that is all that tells one domain from another: in the raw
image the walls hardly show.

Structure: R3c, on a pseudo-cubic lattice with a = 0.3965 nm (its shear of 0.5° is
left out).  Off the places of the ideal perovskite, with bismuth on its own, iron
stands 0.041 nm against the polarisation, along a [111]; oxygen 0.055 nm along its
bond and 0.073 nm across it; and the octahedra are turned by 12° about the
polarisation, one this way and its six neighbours the other.  The bonds are then
those of neutron diffraction (Palewicz et al., Acta Cryst. B 63 (2007) 537: Fe-O
three of 0.195 nm and three of 0.211, Bi-O three of 0.227 and three of 0.253)
within 0.5 %.  Columns of oxygen sway by the turn, by 0.035 nm to either side in
turn, which in HAADF only widens them.

In projection the polarisation has four directions, along <110>.  A wall is
scored by how much it turns there, 90° or 180°; its crystallographic type is
written in its outline's note (90°: 71° or 109°; 180°: 109° or 180°).  Walls
stand edge-on.  Straight ones are neutral (Streiffer et al., J. Appl. Phys. 83
(1998) 2742): the polarisation's component across them is the same on both
sides, so 90° walls lie across a <100> and 180° walls along the polarisation.
Others are kinked or curved.  Besides, domains of the other kind are enclosed
in some as islands.  Across a wall the displacements follow tanh(d / w): nine
tenths of the turn take 3 w, with w = 0.55 nm at easy, 0.6 at medium and 0.8 at
hard, where the turn is slower and harder to see.  So do the octahedra's turns,
whose sense is the one of the two about the new polarisation that changes least.

| class     | shape            | context radius | tolerance | coarsest pixel |
|-----------|------------------|----------------|-----------|----------------|
| wall 90°  | segments of 1 nm | 0.60 nm        | 0.50 nm   | 0.06 nm        |
| wall 180° | segments of 1 nm | 0.60 nm        | 0.50 nm   | 0.06 nm        |

Difficulty sets the number of walls and islands, how slowly they turn, the
contamination (a blob of amorphous carbon, not scored) and the dwell of the reference
frame.  The dose that a wall needs is that of a clean film; under the blob it counts with
the same.  Maps:
``polarisation`` (direction and relative size as (y, x); 1 in a domain),
``domain`` (label), ``contamination`` (nm).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numba
import numpy as np

from ..optics import Detector, Optics
from . import amorphous
from .domains import REACH_NM, Domain, Wall, islands, order, straight, stripes
from .lattice import lattice, rotation
from .outlines import cut_path, within
from .specimen import (
    Columns,
    FeatureClass,
    Floats,
    Kind,
    Map,
    Outline,
    Specimen,
    check_request,
    seed_sequence,
    seed_words,
)

NAME = "bifeo3"
CELL_NM = 0.3965
# Off the ideal place against the polarisation: iron, and oxygen along and across its bond.
# From the coordinates of Palewicz et al. (2007) at 298 K, by least squares of the bonds.
IRON_NM, OXYGEN_ALONG_NM, OXYGEN_ACROSS_NM = 0.0413, 0.0547, 0.0730
TILT_RAD = 0.215
FIELD_NM, LEAST_FIELD_NM = 28.8, 10.0
FRAME_NM, FRAME_PX = 1.8, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.03125
THICKNESS_NM = 4.0
SLICE_NM = CELL_NM / 2  # two slices to a cell, each plane of atoms in the middle of one
TILE_NODES = 5
CONFIGURATIONS = 3
# R.m.s. displacement along each axis at 298 K, from U_iso of 0.0054, 0.0047 and 0.0081 Å²
# (Palewicz et al. 2007).
THERMAL_SIGMA_NM = {"Bi": 0.0073, "Fe": 0.0069, "O": 0.0090, "C": 0.0080}

OPTICS = Optics(
    energy_kev=200.0,
    semiangle_mrad=20.0,
    beam_current_pa=40.0,
    source_fwhm_nm=0.14,
    detectors=(
        Detector("haadf", 60.0, 120.0),
        Detector("maadf", 30.0, 60.0),
        Detector("abf", 10.0, 20.0),
        Detector("bf", 0.0, 10.0),
    ),
)
# Fractions of the beam that an operator would set white to.
FULL_SCALE = {"haadf": 0.08, "maadf": 0.11, "abf": 0.6, "bf": 0.9}

KINDS = (
    Kind("Bi", (("Bi", 0.0),), CELL_NM),
    Kind("Fe", (("Fe", CELL_NM / 2),), CELL_NM),
    Kind("O on Fe", (("O", 0.0),), CELL_NM),
    Kind("O", (("O", CELL_NM / 2),), CELL_NM),
    Kind.atom("C"),
)
BASIS = np.array([[0.0, 0.0], [0.5, 0.5], [0.5, 0.5], [0.0, 0.5], [0.5, 0.0]])
BASIS_KIND = np.array([0, 1, 2, 3, 3])
# Of each of them along (y, x, height), as a share of the polarisation's component there.
BASIS_SHIFT_NM = -np.array(
    [
        [0.0, 0.0, 0.0],
        [IRON_NM, IRON_NM, IRON_NM],
        [OXYGEN_ACROSS_NM, OXYGEN_ACROSS_NM, OXYGEN_ALONG_NM],
        [OXYGEN_ALONG_NM, OXYGEN_ACROSS_NM, OXYGEN_ACROSS_NM],
        [OXYGEN_ACROSS_NM, OXYGEN_ALONG_NM, OXYGEN_ACROSS_NM],
    ]
)
# From the iron at the same indices to each of them; only oxygen goes with its octahedron.
BASIS_ARM_NM = np.zeros((5, 3))
BASIS_ARM_NM[[2, 3, 4], [2, 0, 1]] = -CELL_NM / 2
CARBON_KIND = 4


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time."""

    walls: int
    islands: int
    half_width_nm: float  # of a wall: what turns more slowly stands out less
    patches: int
    dwell_us: float


LEVELS = {
    "easy": Level(4, 2, 0.55, 1, 8.0),
    "medium": Level(2, 1, 0.6, 1, 4.0),
    "hard": Level(1, 1, 0.8, 3, 2.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility bifeo3`.
NEED_E_PER_A2 = {
    "wall 90°": {"easy": 1560.0, "medium": 1590.0, "hard": 1670.0},
    "wall 180°": {"easy": 756.0, "medium": 769.0, "hard": 811.0},
}


def classes_at(difficulty: str) -> tuple[FeatureClass, ...]:
    """The classes of walls, with the doses they need where they are as wide as that."""
    return tuple(
        FeatureClass(name, 0.6, 0.5, 0.06, need[difficulty], "segment", 1.0)
        for name, need in NEED_E_PER_A2.items()
    )


CLASSES = classes_at("medium")


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "medium",
    field_nm: float = FIELD_NM,
    margin_nm: float = 1.0,
) -> Specimen:
    """A film with its domains from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_nm: side of the square field in nm; at least 10.
        margin_nm: how far columns reach beyond the field.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    check_request(NAME, difficulty, field_nm, LEAST_FIELD_NM)
    level = LEVELS[difficulty]
    sequence = seed_sequence(seed)
    rng = np.random.default_rng(sequence)
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, CELL_NM, 2)
    share = field_nm / FIELD_NM
    walls = stripes(max(1, round(level.walls * share)), field_nm, angle, rng)
    # A small field holds one of each, and these are smaller.
    size = min(1.0, field_nm / 15.0)
    walls += islands(max(1, round(level.islands * share**2)), field_nm, size, walls, rng)
    patches = amorphous.scatter_patches(
        rng,
        max(1, round(level.patches * share**2)),
        0.4 * field_nm,
        (2.0 * size, 4.5 * size),
        (4.0, 12.0),
    )
    cuts = [cut_path(w.path_yx_nm, 1.0, w.closed) for w in walls]
    owner = np.repeat(np.arange(len(walls)), [len(c) for c, _ in cuts])
    centres, direction = np.vstack([c for c, _ in cuts]), np.concatenate([d for _, d in cuts])
    kept = within(centres, (field_nm, field_nm), CLASSES[0].context_radius_nm)
    return Specimen(
        name=NAME,
        seed=seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        **_columns(walls, level, angle, origin, field_nm / 2 + margin_nm, patches),
        kinds=KINDS,
        classes=classes_at(difficulty),
        feature_class=np.array([w.feature_class for w in walls])[owner[kept]],
        feature_yx_nm=centres[kept],
        thickness_nm=THICKNESS_NM,
        feature_angle_rad=direction[kept],
        feature_outline=owner[kept],
        outlines=tuple(Outline(w.feature_class, w.path_yx_nm, w.closed, w.note) for w in walls),
        maps=_maps(walls, level, angle, field_nm)
        | {"contamination": amorphous.thickness_map(patches, field_nm, CELL_NM)},
    )


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "medium"
) -> tuple[Specimen, Specimen, Floats]:
    """Two films of 4 nm: with a straight neutral wall through ``yx_nm``, and one domain."""
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, CELL_NM, 2)
    yx = rng.uniform(-0.2, 0.2, 2)
    quarters = 2 if feature_class == 1 else 1
    wall = straight(yx, 4.0, Domain(int(rng.integers(4))), quarters, angle)
    flat = replace(wall, beyond=lambda p: np.full(len(p), -4 * REACH_NM))
    return (
        _small(feature_class, difficulty, wall, angle, origin, yx),
        _small(feature_class, difficulty, flat, angle, origin, yx),
        yx,
    )


def _small(
    feature_class: int, difficulty: str, wall: Wall, angle: float, origin: Floats, yx: Floats
) -> Specimen:
    return Specimen(
        name=NAME,
        seed=(0,),
        difficulty=difficulty,
        field_yx_nm=(4.0, 4.0),
        **_columns([wall], LEVELS[difficulty], angle, origin, 3.0, ()),
        kinds=KINDS,
        classes=classes_at(difficulty),
        feature_class=np.full(1, feature_class),
        feature_yx_nm=yx[None].copy(),
        thickness_nm=THICKNESS_NM,
    )


def _columns(
    walls: list[Wall],
    level: Level,
    angle: float,
    origin: Floats,
    half_nm: float,
    patches: tuple[amorphous.Patch, ...],
) -> Columns:
    """Positions, heights, kinds, displacements and swaying of all columns."""
    turn = rotation(angle)
    cells, index = lattice(CELL_NM * turn, origin, half_nm + CELL_NM)
    ideal = np.concatenate([cells + b * CELL_NM @ turn for b in BASIS])
    # Row by row NumPy would take four times as long.
    kept = np.flatnonzero((np.abs(ideal[:, 0]) <= half_nm) & (np.abs(ideal[:, 1]) <= half_nm))
    ideal = ideal.take(kept, axis=0)
    # Each column by the order at its own place, so that bonds last across a wall.
    polar, axis, _ = order(ideal, walls, level.half_width_nm)
    place, cell = np.divmod(kept, len(cells))
    tilt = TILT_RAD * (1.0 - 2.0 * ((index[:, 0] + index[:, 1]) % 2))[cell]
    moved, sway = _off_place(place, tilt, polar, axis, BASIS_SHIFT_NM, BASIS_ARM_NM)
    displaced = moved[:, :2] @ turn
    sway[:, :2] = sway[:, :2] @ turn
    carbon = amorphous.contamination(patches, half_nm, THICKNESS_NM + 0.4)
    none = np.zeros((len(carbon), 3))
    return {
        "positions_yx_nm": np.vstack([ideal + displaced, carbon[:, :2]]),
        "displacement_yx_nm": np.vstack([displaced, none[:, :2]]),
        "height_nm": np.concatenate([moved[:, 2], carbon[:, 2]]),
        "kind": np.concatenate([BASIS_KIND[place], np.full(len(carbon), CARBON_KIND)]),
        "sway_yxz_nm": np.vstack([sway, none]),
    }


@numba.njit(cache=True, fastmath=False)
def _off_place(place, tilt, polar, axis, shift, arm):
    """How far ions stand off their place, and sway: tilt times the axis across the arm."""
    moved, sway = np.empty_like(polar), np.empty_like(polar)
    for n in range(place.shape[0]):
        s, b, a = shift[place[n]], arm[place[n]], axis[n]
        for k in range(3):
            moved[n, k] = s[k] * polar[n, k]
        sway[n, 0] = tilt[n] * (a[1] * b[2] - a[2] * b[1])
        sway[n, 1] = tilt[n] * (a[2] * b[0] - a[0] * b[2])
        sway[n, 2] = tilt[n] * (a[0] * b[1] - a[1] * b[0])
    return moved, sway


def _maps(walls: list[Wall], level: Level, angle: float, field_nm: float) -> dict[str, Map]:
    count = max(1, round(field_nm / CELL_NM))
    axis = (np.arange(count) - (count - 1) / 2) * CELL_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    polar, _, label = order(points, walls, level.half_width_nm)
    planar = polar[:, :2] @ rotation(angle) * np.sqrt(1.5)
    return {
        "polarisation": Map(planar.reshape(count, count, 2), CELL_NM),
        "domain": Map(label.reshape(count, count).astype(np.float64), CELL_NM),
    }
