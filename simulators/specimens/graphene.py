"""Graphene with point defects, a grain boundary and contamination.

A sheet, or two grains of it that meet in a 5|7 tilt boundary (Σ7, 21.8°, or
Σ13, 32.2°; Yazyev & Louie, Phys. Rev. B 81 (2010) 195420), at a random
orientation.  It is the third material of Creange et al., Mach. Learn.: Sci.
Technol. 3 (2022) 015024.

Structure: lattice constant 0.246 nm (C-C 0.142 nm; Castro Neto et al., Rev.
Mod. Phys. 81 (2009) 109).  Defects and boundaries were relaxed offline by
``python -m stemscout.simulators.specimens.relax`` and are pasted; outside them
the lattice is ideal.  Bonds that a defect has made are Tersoff's, and up to a quarter
off graphene's: 0.133 to 0.157 nm in a boundary, 0.134 to 0.150 nm about a rotated bond,
0.132 to 0.179 nm about vacancies, 0.131 to 0.144 nm at the edge of a hole; some bonds in
twenty, within 0.9 nm, are more than 5 % off, one in five about a hole.

| class             | what it is                                         | radius  |
|-------------------|----------------------------------------------------|---------|
| si3               | silicon for one carbon, raised out of the plane    | 0.20 nm |
| si4               | silicon for two carbons, in the plane              | 0.25 nm |
| si cluster        | three silicon about a missing carbon               | 0.35 nm |
| single vacancy    | one carbon missing: a 5- and a 9-ring              | 0.25 nm |
| divacancy 5-8-5   | two carbons missing: rings of 5, 8, 5              | 0.40 nm |
| divacancy 555-777 | the same, a bond rotated: three 5s and three 7s    | 0.45 nm |
| stone-wales       | a rotated bond: rings of 5, 5, 7, 7                | 0.40 nm |
| hole              | 6 or 24 carbons missing                            | 0.45 nm |
| boundary          | segments of 0.5 nm                                 | 0.50 nm |

The radius is that of the context disc; findings may lie 0.10 nm off (0.15 nm
for clusters, 0.20 nm for divacancies, 0.25 nm for Stone-Wales defects, holes
and boundaries), and pixels may be up to 0.05 nm.  Patches of amorphous carbon
lie on the sheet; they are not scored, nor are segments that they hide, and no
defect is under one.  Most defects lie along the boundary, at the edges of
patches or in groups, as in life.

Difficulty sets the number of defects of each class (those with silicon, which stand
out, are 20 of 46 at easy and 4 of 12 at hard) and of patches, how often there is a
boundary (9, 8 and 7 of 10 sheets; never in fields below 10 nm), and the dwell
of the reference frame.  Maps: ``contamination`` (nm), ``grain`` (0 or 1),
``orientation`` (of a zigzag row, in rad, modulo 60°).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..optics import Detector, Optics
from . import amorphous
from .lattice import rotation
from .motifs import Boundary, boundaries, motifs
from .outlines import cut_path, within
from .sheet import Barrier, Grain, Placed, Sheet, Wish, atoms, place, wanted
from .specimen import (
    Columns,
    FeatureClass,
    Floats,
    Ints,
    Kind,
    Map,
    Outline,
    Specimen,
    check_request,
    seed_sequence,
    seed_words,
)

NAME = "graphene"
LATTICE_NM = 0.246
FIELD_NM, LEAST_FIELD_NM = 24.0, 6.0
FRAME_NM, FRAME_PX = 1.5, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.04
THICKNESS_NM = 0.0
SLICE_NM = 0.2  # for what lies on the sheet
TILE_NODES = 10
CONFIGURATIONS = 8
# In-plane r.m.s. thermal displacement at 300 K: a Debye temperature of 1500 K
# gives 0.005 nm for carbon; silicon is bound more softly.
THERMAL_SIGMA_NM = {"C": 0.005, "Si": 0.007}

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
# Fractions of the beam that an operator would set white to: a little above one silicon atom.
FULL_SCALE = {"haadf": 2.0e-3, "maadf": 3.2e-3, "abf": 0.9, "bf": 0.4}
KINDS = (Kind.atom("C"), Kind.atom("Si"))
CARBON_HEIGHT_NM = 0.33  # of contamination above the sheet: the distance of layers in graphite

MAP_PITCH_NM = 0.25
BOUNDARY_LEAST_NM = 10.0  # field
PATCH_NM, PATCH_THICKNESS_NM = (1.3, 3.8), (1.0, 3.5)


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time.

    ``defects`` are those of each class of points, in their order.
    """

    defects: tuple[int, ...]
    patches: int
    boundary: float
    dwell_us: float


LEVELS = {
    "easy": Level((10, 6, 4, 8, 5, 5, 4, 4), 1, 0.9, 40.0),
    "medium": Level((5, 3, 2, 4, 3, 3, 2, 2), 2, 0.8, 24.0),
    "hard": Level((2, 1, 1, 2, 2, 1, 1, 2), 4, 0.7, 12.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility graphene`.  The optics and the image of a
# defect are the same at every difficulty, and so is the need.
NEED_E_PER_A2 = {
    "si3": 4420.0,
    "si4": 3520.0,
    "si cluster": 1460.0,
    "single vacancy": 43200.0,
    "divacancy 5-8-5": 20900.0,
    "divacancy 555-777": 10900.0,
    "stone-wales": 16900.0,
    "hole": 4800.0,
    "boundary": 5460.0,
}
RADIUS_NM = (0.20, 0.25, 0.35, 0.25, 0.40, 0.45, 0.40, 0.45)
TOLERANCE_NM = (0.10, 0.10, 0.15, 0.10, 0.20, 0.20, 0.25, 0.25)
POINTS = tuple(NEED_E_PER_A2)[:-1]
CLASSES = (
    *(
        FeatureClass(name, radius, tolerance, 0.05, NEED_E_PER_A2[name])
        for name, radius, tolerance in zip(POINTS, RADIUS_NM, TOLERANCE_NM, strict=True)
    ),
    FeatureClass("boundary", 0.5, 0.25, 0.05, NEED_E_PER_A2["boundary"], "segment", 0.5),
)
BOUNDARY = len(POINTS)
VARIANTS = {"hole": ("hole 6", "hole 24")}
VECTORS = LATTICE_NM * np.array([[0.0, 1.0], [np.sqrt(3) / 2, 0.5]])  # between ring centres
BASIS = np.array([VECTORS.sum(axis=0), 2 * VECTORS[1] - VECTORS[0]]) / 3  # atoms about a ring


@dataclass(frozen=True)
class Line:
    """A grain boundary: a point on it, its direction, and its relaxed period."""

    middle_yx_nm: Floats
    direction_rad: float
    period: Boundary

    def offset_nm(self, points_yx_nm: Floats) -> Floats:
        """Signed distance (n,) from it, positive at +90° from its direction."""
        across = np.array([np.cos(self.direction_rad), -np.sin(self.direction_rad)])
        return np.asarray((points_yx_nm - self.middle_yx_nm) @ across)

    def barrier(self, field_nm: float) -> Barrier:
        along = np.array([np.sin(self.direction_rad), np.cos(self.direction_rad)])
        path = self.middle_yx_nm + np.outer([-1.0, 1.0], field_nm * along)
        return Barrier(path, False, self.period.half_width_nm)

    def grain(self, side: int) -> Grain:
        turn = rotation(self.direction_rad)
        origin = self.period.origins_yx_nm[side] @ turn + self.middle_yx_nm
        return Grain(self.direction_rad + self.period.angles_rad[side], origin)


@cache
def sheet() -> Sheet:
    """Graphene, its motifs included."""
    return Sheet(
        vectors_yx_nm=VECTORS,
        basis_yxz_nm=np.pad(BASIS, ((0, 0), (0, 1))),
        basis_kind=np.zeros(2, dtype=np.int64),
        symbols=("C", "Si"),
        motifs=motifs(NAME),
        turns=6,
        carbon_height_nm=CARBON_HEIGHT_NM,
    )


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
        field_nm: side of the square field in nm; at least 6, so that eight
            defects fit.
        margin_nm: how far atoms reach beyond the field.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    check_request(NAME, difficulty, field_nm, LEAST_FIELD_NM)
    level = LEVELS[difficulty]
    sequence = seed_sequence(seed)
    rng = np.random.default_rng(sequence)
    share = (field_nm / FIELD_NM) ** 2
    patches = amorphous.scatter_patches(
        rng, round(level.patches * share), field_nm / 2, PATCH_NM, PATCH_THICKNESS_NM
    )
    line = _line(field_nm, level.boundary, rng)
    grains = _grains(line, rng)
    wishes = [_wish(k, rng) for k in wanted(level.defects, share)]
    barriers = () if line is None else (line.barrier(field_nm),)
    placed = place(sheet(), wishes, grains, _sides(line), barriers, patches, field_nm, rng)
    half = field_nm / 2 + margin_nm
    segments, directions = np.empty((0, 2)), np.empty(0)
    outlines: tuple[Outline, ...] = ()
    if line is not None:
        path = line.barrier(field_nm).path_yx_nm
        segments, directions = cut_path(path, CLASSES[BOUNDARY].size_nm)
        kept = within(segments, (field_nm, field_nm), CLASSES[BOUNDARY].context_radius_nm)
        kept &= amorphous.covered(patches, segments) == 0.0
        segments, directions = segments[kept], directions[kept]
        outlines = (Outline(BOUNDARY, path, False, _name_of(line.period)),)
    points = np.array([p.feature_yx_nm for p in placed])
    return Specimen(
        name=NAME,
        seed=seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        **_atoms(placed, grains, line, patches, half),
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.concatenate(
            [[p.wish.feature_class for p in placed], np.full(len(segments), BOUNDARY)]
        ).astype(np.int64),
        feature_yx_nm=np.vstack([points, segments]),
        feature_angle_rad=np.concatenate([np.zeros(len(points)), directions]),
        feature_outline=np.repeat([-1, 0], [len(points), len(segments)]),
        outlines=outlines,
        maps={
            "contamination": amorphous.thickness_map(patches, field_nm, MAP_PITCH_NM),
            **_maps(grains, line, field_nm),
        },
    )


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "medium"
) -> tuple[Specimen, Specimen, Floats]:
    """Two sheets of 4 nm with and without one defect, alike at every difficulty.

    A boundary ends as one grain or the other.
    """
    if feature_class == BOUNDARY:
        found = tuple(boundaries(NAME).values())
        period = found[rng.integers(len(found))]
        middle = rng.uniform(-0.3, 0.3, 2)
        line = Line(middle, rng.uniform(0, 2 * np.pi), period)
        sides = (line.grain(0), line.grain(1))
        return (
            _small(feature_class, (), sides, line, middle),
            _small(feature_class, (), (sides[rng.integers(2)],), None, middle),
            middle,
        )
    grains = _grains(None, rng)
    placed = place(sheet(), [_wish(feature_class, rng)], grains, _sides(None), (), (), 1.4, rng)
    yx = np.array(placed[0].feature_yx_nm)
    with_it = _small(feature_class, placed, grains, None, yx)
    return with_it, _small(feature_class, (), grains, None, yx), yx


def _small(
    feature_class: int,
    placed: tuple[Placed, ...],
    grains: tuple[Grain, ...],
    line: Line | None,
    yx: Floats,
) -> Specimen:
    return Specimen(
        name=NAME,
        seed=(0,),
        difficulty="medium",
        field_yx_nm=(4.0, 4.0),
        **_atoms(placed, grains, line, (), 3.0),
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.array([feature_class]),
        feature_yx_nm=yx[None].copy(),
    )


def _wish(feature_class: int, rng: np.random.Generator) -> Wish:
    names = VARIANTS.get(POINTS[feature_class], (POINTS[feature_class],))
    return Wish(feature_class, names[rng.integers(len(names))], RADIUS_NM[feature_class])


def _sides(line: Line | None) -> Callable[[Floats], Ints]:
    if line is None:
        return lambda points: np.zeros(len(points), dtype=np.int64)
    return lambda points: (line.offset_nm(points) > 0).astype(np.int64)


def _line(field_nm: float, probability: float, rng: np.random.Generator) -> Line | None:
    found = tuple(boundaries(NAME).values())
    there = rng.random() < probability
    period = found[rng.integers(len(found))]
    direction = rng.uniform(0, 2 * np.pi)
    middle = rng.uniform(-0.25, 0.25, 2) * field_nm
    if not there or field_nm < BOUNDARY_LEAST_NM:
        return None
    return Line(middle, direction, period)


def _grains(line: Line | None, rng: np.random.Generator) -> tuple[Grain, ...]:
    angle, origin = rng.uniform(0, np.pi / 3), rng.uniform(0, LATTICE_NM, 2)
    return (Grain(angle, origin),) if line is None else (line.grain(0), line.grain(1))


def _atoms(
    placed: tuple[Placed, ...],
    grains: tuple[Grain, ...],
    line: Line | None,
    patches: tuple[amorphous.Patch, ...],
    half_nm: float,
) -> Columns:
    """Positions, heights and kinds of all atoms."""
    if line is None:
        return atoms(
            sheet(), placed, grains, lambda g, b, yx: np.ones(len(yx), bool), patches, half_nm
        )

    def kept(number: int, basis: int, yx: Floats) -> np.ndarray:
        side = 1.0 if number else -1.0
        return np.asarray(side * line.offset_nm(yx) > line.period.half_width_nm)

    strip = _strip(line, half_nm)
    zero = np.zeros(len(strip))
    return atoms(
        sheet(), placed, grains, kept, patches, half_nm, (strip, zero, zero.astype(np.int64))
    )


def _strip(line: Line, half_nm: float) -> Floats:
    """The relaxed periods of a boundary that lie in the field."""
    period = line.period
    count = int(np.ceil(2 * half_nm / period.period_nm)) + 2
    shifts = np.arange(-count, count + 1) * period.period_nm
    one = period.atoms_yx_nm
    strip = np.concatenate([one + np.array([0.0, s]) for s in shifts])
    strip = strip @ rotation(line.direction_rad) + line.middle_yx_nm
    return np.asarray(strip[(np.abs(strip) <= half_nm).all(axis=1)])


def _name_of(period: Boundary) -> str:
    turn = np.degrees(abs(period.angles_rad[0] - period.angles_rad[1]))
    return f"{period.name} tilt boundary, {turn:.1f}°"


def _maps(grains: tuple[Grain, ...], line: Line | None, field_nm: float) -> dict[str, Map]:
    count = max(1, round(field_nm / MAP_PITCH_NM))
    axis = (np.arange(count) - (count - 1) / 2) * MAP_PITCH_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    label = np.zeros(count * count, dtype=int) if line is None else line.offset_nm(points) > 0
    label = label.astype(int)
    turned = np.array([g.angle_rad % (np.pi / 3) for g in grains])[label]
    return {
        "grain": Map(label.reshape(count, count).astype(np.float64), MAP_PITCH_NM),
        "orientation": Map(turned.reshape(count, count), MAP_PITCH_NM, "rad"),
    }
