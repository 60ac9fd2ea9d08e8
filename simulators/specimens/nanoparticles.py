"""Gold particles on a carbon film; where two of them touch there is a junction.

Most particles lie alone; some have coalesced into pairs and chains, and some
lie so close to each other that only a good look tells that they do not touch.

Structure: fcc gold, a = 0.4078 nm (Au-Au 0.2884 nm), in particles of 2 to 5 nm
(log-normal): truncated octahedra, cuboctahedra, and octahedra with a (111) twin
plane, bounded by {111} and {100} facets (Marks, Rep. Prog. Phys. 57 (1994) 603).
Each lies on the film at random, most with a <110>, <100> or <111> axis along
the beam, so that columns of atoms show, the others tilted off it.  In a
junction the nearest atoms of two particles are 0.28 nm apart.  The film is
amorphous carbon, 0.30 nm from the nearest gold atoms.  The beam meets the gold
first and is focused into it, 2 nm behind the first atoms.

| class    | shape | context radius | tolerance | coarsest pixel |
|----------|-------|----------------|-----------|----------------|
| junction | point | 1.20 nm        | 0.80 nm   | 0.12 nm        |

Difficulty sets the number of junctions among how many particles, the thickness
of the film and the dwell of the reference frame.  Maps: ``coverage`` (share of
a square of 0.5 nm over which there is gold).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numba
import numpy as np

from ..optics import Detector, Optics
from .lattice import rotation
from .specimen import (
    FeatureClass,
    Floats,
    Kind,
    Map,
    Specimen,
    check_request,
    seed_sequence,
    seed_words,
)

NAME = "nanoparticles"
LATTICE_NM = 0.4078
FIELD_NM, LEAST_FIELD_NM = 96.0, 48.0
FRAME_NM, FRAME_PX = 6.0, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.08, 0.04
THICKNESS_NM = 0.0
SLICE_NM = 0.4
TILE_NODES = 10
CONFIGURATIONS = 2
# R.m.s. displacement along each axis at 300 K: B = 0.6 Å² for gold (Peng et al., Acta Cryst. A
# 52 (1996) 456).
THERMAL_SIGMA_NM = {"Au": 0.0087, "C": 0.0080}

OPTICS = Optics(
    energy_kev=200.0,
    semiangle_mrad=20.0,
    beam_current_pa=40.0,
    source_fwhm_nm=0.14,
    defocus_nm=2.0,
    detectors=(
        Detector("haadf", 60.0, 120.0),
        Detector("maadf", 50.0, 90.0),
        Detector("abf", 10.0, 20.0),
        Detector("bf", 0.0, 10.0),
    ),
)
# Fractions of the beam that an operator would set white to.
FULL_SCALE = {"haadf": 0.15, "maadf": 0.14, "abf": 0.6, "bf": 0.9}
# Channelling makes an atom of a long column brighter than one alone.  Its ``share`` is how long
# its column is, and the fast renderer interpolates between the two.
KINDS = (Kind("Au", (("Au", 0.0),), 0.0, "Au"), Kind.atom("C"))
LONGEST = 18  # atoms

CONTACT_NM = 0.28
ABOVE_FILM_NM = 0.30
RADII_NM = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.4)
SHAPES = ("octahedron", "cuboctahedron", "twin")
AXES = ((0, 1, 1), (0, 0, 1), (1, 1, 1), (1, 2, 4))  # along the beam; the last shows no columns
AXIS_SHARE = (0.5, 0.2, 0.15, 0.15)  # of the particles
APART_NM = 0.9  # between the outlines of particles that do not touch
MISS_NM = (0.5, 0.9)  # between particles that nearly touch
MAP_PITCH_NM = 0.5


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time."""

    junctions: int
    alone: int
    near_misses: int
    film_nm: float
    dwell_us: float


# Windows of calibration about a feature: how bright a column of gold is depends on how its particle
# lies, so that one particle says little of others.
CALIBRATED = {"junction": 6}

LEVELS = {
    "easy": Level(16, 12, 2, 3.0, 4.0),
    "medium": Level(12, 20, 4, 5.0, 2.0),
    "hard": Level(8, 28, 6, 8.0, 1.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility nanoparticles`.
NEED_E_PER_A2 = {
    "junction": {"easy": 0.747, "medium": 1.16, "hard": 1.74},  # the film's noise hides some of it
}


def classes_at(difficulty: str) -> tuple[FeatureClass, ...]:
    """The class of features, with the dose it needs on the film of a difficulty."""
    return (FeatureClass("junction", 1.2, 0.8, 0.12, NEED_E_PER_A2["junction"][difficulty]),)


CLASSES = classes_at("medium")


@dataclass(frozen=True, eq=False)
class Particle:
    """A particle about the middle of its outline.

    Attributes:
        atoms: (n, 4) y, x, z above the atom nearest to the film, and how long the column of
            atoms is; those of a column come one after the other.
        surface: (m, 3) the outermost of them.
        radius_nm: of the outline.
        turn: (2, 2) what the atoms are yet to be turned by; the surface is.
    """

    atoms: Floats
    surface: Floats
    radius_nm: float
    turn: Floats


@dataclass(frozen=True, eq=False)
class Unit:
    """Particles that belong together, about their middle: where they are, and where they touch."""

    particles: list[Particle]
    places: Floats
    junctions: Floats
    radius_nm: float


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "medium",
    field_nm: float = FIELD_NM,
    margin_nm: float = 1.0,
) -> Specimen:
    """A film with its particles from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_nm: side of the square field in nm; at least 48.
        margin_nm: of no meaning here: particles lie inside the field, and the
            film has no end.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    check_request(NAME, difficulty, field_nm, LEAST_FIELD_NM)
    level = LEVELS[difficulty]
    sequence = seed_sequence(seed)
    rng = np.random.default_rng(sequence)
    share = (field_nm / FIELD_NM) ** 2
    units = _units(
        max(8, round(level.junctions * share)),
        round(level.alone * share),
        round(level.near_misses * share),
        rng,
    )
    middles = _scatter([u.radius_nm for u in units], field_nm, rng)
    atoms = _atoms(units, middles)
    junctions = np.vstack([u.junctions + m for u, m in zip(units, middles, strict=True)])
    return Specimen(
        name=NAME,
        seed=seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        positions_yx_nm=atoms[:, :2].copy(),
        height_nm=-atoms[:, 2] - ABOVE_FILM_NM,
        share=atoms[:, 3].copy(),
        kind=np.zeros(len(atoms), dtype=np.int64),
        kinds=KINDS,
        classes=classes_at(difficulty),
        feature_class=np.zeros(len(junctions), dtype=np.int64),
        feature_yx_nm=junctions,
        film_nm=level.film_nm,
        maps={"coverage": _coverage(atoms, field_nm)},
    )


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "medium"
) -> tuple[Specimen, Specimen, Floats]:
    """Two films with two particles each: in contact at ``yx_nm``, and 0.6 nm farther apart."""
    first, second = _any_particle(rng), _any_particle(rng)
    angle = rng.uniform(0, 2 * np.pi)
    yx = rng.uniform(-0.3, 0.3, 2)
    made = []
    for gap in (0.0, 0.6):
        unit = _joined([first, second], [angle], gap)
        atoms = _atoms([unit], (yx - unit.junctions[0])[None])
        near = atoms[(np.abs(atoms[:, :2]) <= 4.0).all(axis=1)]
        made.append(
            Specimen(
                name=NAME,
                seed=(0,),
                difficulty=difficulty,
                field_yx_nm=(6.0, 6.0),
                positions_yx_nm=near[:, :2].copy(),
                height_nm=-near[:, 2] - ABOVE_FILM_NM,
                share=near[:, 3].copy(),
                kind=np.zeros(len(near), dtype=np.int64),
                kinds=KINDS,
                classes=CLASSES,
                feature_class=np.array([feature_class]),
                feature_yx_nm=yx[None].copy(),
                film_nm=LEVELS[difficulty].film_nm,
            )
        )
    return made[0], made[1], yx


def _atoms(units: list[Unit], middles: Floats) -> Floats:
    """All atoms (n, 4) of units with their middles (k, 2), turned and moved to where they are."""
    each = [
        (particle, middle + place)
        for unit, middle in zip(units, middles, strict=True)
        for particle, place in zip(unit.particles, unit.places, strict=True)
    ]
    out = np.vstack([particle.atoms for particle, _ in each])
    end = 0
    for particle, yx in each:
        start, end = end, end + len(particle.atoms)
        out[start:end, :2] = out[start:end, :2] @ particle.turn + yx
    return out


def _units(junctions: int, alone: int, misses: int, rng: np.random.Generator) -> list[Unit]:
    """What is placed as one: chains with junctions, near misses, and particles alone."""
    units = []
    left = junctions
    while left:
        links = min(left, 1 if rng.random() < 0.7 else 2)
        left -= links
        particles = [_any_particle(rng) for _ in range(links + 1)]
        first = rng.uniform(0, 2 * np.pi)
        angles = [first, first + rng.uniform(-0.9, 0.9)][:links]
        units.append(_joined(particles, angles, 0.0))
    for _ in range(misses):
        particles = [_any_particle(rng) for _ in range(2)]
        gap = rng.uniform(*MISS_NM)
        unit = _joined(particles, [rng.uniform(0, 2 * np.pi)], gap)
        units.append(replace(unit, junctions=np.empty((0, 2))))
    return units + [_joined([_any_particle(rng)], [], 0.0) for _ in range(alone)]


def _joined(particles: list[Particle], angles: list[float], gap_nm: float) -> Unit:
    """Particles one after the other in directions, and where they touch."""
    place = np.zeros(2)
    places, junctions = [place], []
    for before, after, angle in zip(particles[:-1], particles[1:], angles, strict=True):
        towards = np.array([np.sin(angle), np.cos(angle), 0.0])
        facing = before.surface[before.surface @ towards > 0]
        faced = after.surface[after.surface @ towards < 0]
        distance, contact = _contact(facing, faced, towards, CONTACT_NM)
        junctions.append(place + contact[:2])
        place = place + (distance + gap_nm) * towards[:2]
        places.append(place)
    middle = np.mean(places, axis=0)
    radius = max(
        float(np.hypot(*(p - middle))) + q.radius_nm for p, q in zip(places, particles, strict=True)
    )
    return Unit(
        particles, np.array(places) - middle, np.array(junctions).reshape(-1, 2) - middle, radius
    )


def _scatter(radii: list[float], field_nm: float, rng: np.random.Generator) -> Floats:
    """Middles (n, 2) of outlines that stay apart; the largest first."""
    order = np.argsort(-np.asarray(radii))
    sizes = np.asarray(radii)[order]
    found = np.empty((len(radii), 2))
    for n, radius in enumerate(sizes):
        half = field_nm / 2 - radius - 0.2
        for _ in range(400):
            yx = rng.uniform(-half, half, 2)
            gap = np.hypot(*(found[:n] - yx).T) - sizes[:n] - radius
            if n == 0 or gap.min() > APART_NM:
                found[n] = yx
                break
        else:
            raise ValueError(f"{len(radii)} particles do not fit into a field of {field_nm} nm")
    out = np.empty_like(found)
    out[order] = found
    return out


def _any_particle(rng: np.random.Generator) -> Particle:
    """A particle of random size, shape, axis and in-plane direction."""
    wish = 1.5 * np.exp(rng.normal(0.0, 0.25))
    radius = RADII_NM[int(np.abs(np.asarray(RADII_NM) - wish).argmin())]
    shape = SHAPES[rng.integers(len(SHAPES))]
    axis = AXES[int(np.searchsorted(np.cumsum(AXIS_SHARE), rng.random(), side="right"))]
    made = _particle(radius, shape, axis)
    turn = rotation(rng.uniform(0, 2 * np.pi))
    surface = made.surface.copy()
    surface[:, :2] = surface[:, :2] @ turn
    return replace(made, surface=surface, turn=turn)


@cache
def _particle(radius: float, shape: str, axis: tuple[int, int, int]) -> Particle:
    """The atoms of a shape with an axis along the beam."""
    n = int(np.ceil(2 * radius / LATTICE_NM)) + 1
    axis_cells = np.arange(-n, n + 1.0)
    cells = np.stack(np.meshgrid(axis_cells, axis_cells, axis_cells), axis=-1).reshape(-1, 3)
    basis = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    points = (cells[:, None] + basis).reshape(-1, 3) * LATTICE_NM + [0.05, 0.03, 0.02]
    face = np.abs(points).max(axis=1)  # {100}
    corner = np.abs(points).sum(axis=1) / np.sqrt(3)  # {111}
    # Distances of {111} and {100}: near Wulff's ratio of sqrt(3)/2, or cut at the edges' middles.
    cut = {"octahedron": 1.12, "cuboctahedron": 0.92, "twin": 1.12}[shape] * radius
    points = points[(corner <= 0.97 * radius) & (face <= cut)]
    if shape == "twin":
        normal = np.ones(3) / np.sqrt(3)
        height = points @ normal
        plane = height[np.abs(height).argmin()]
        upper = height > plane + 1e-6
        # Turned by half a turn about the normal through an atom of the plane.
        in_plane = np.abs(height - plane) < 1e-6
        pivot = points[np.where(in_plane, np.linalg.norm(points, axis=1), np.inf).argmin()]
        turned = pivot + 2 * np.outer((points - pivot) @ normal, normal) - (points - pivot)
        points = np.where(upper[:, None], turned, points)
    beam = np.array(axis) / np.linalg.norm(axis)
    side = np.cross(beam, [1.0, -1.0, 0.0] if axis != (0, 0, 1) else [1.0, 0.0, 0.0])
    side /= np.linalg.norm(side)
    atoms = points @ np.array([np.cross(beam, side), side, beam]).T
    atoms[:, :2] -= (atoms[:, :2].max(axis=0) + atoms[:, :2].min(axis=0)) / 2
    atoms[:, 2] -= atoms[:, 2].min()
    from scipy.spatial import cKDTree

    # An atom inside has twelve nearest neighbours.
    twelfth = cKDTree(atoms).query(atoms, k=[13])[0][:, 0]
    surface = atoms[twelfth > 1.2 * LATTICE_NM / np.sqrt(2)]
    _, column = np.unique(np.round(atoms[:, :2], 4), axis=0, return_inverse=True)
    column = column.ravel()
    length = np.bincount(column)[column]
    long = np.minimum((length - 1.0) / (LONGEST - 1.0), 1.0)
    radius_nm = float(np.hypot(*atoms[:, :2].T).max())
    columns = np.column_stack([atoms, long])[np.argsort(column, kind="stable")]
    return Particle(columns, surface, radius_nm, np.eye(2))


@numba.njit(cache=True, fastmath=False)
def _contact(first, second, towards, closest):
    """How far ``second`` must be moved so that no atoms are nearer than ``closest``.

    Returns that distance, and the mean point between atoms nearly in contact.
    """
    most = 0.0
    for i in range(first.shape[0]):
        for j in range(second.shape[0]):
            dy = first[i, 0] - second[j, 0]
            dx = first[i, 1] - second[j, 1]
            dz = first[i, 2] - second[j, 2]
            along = dy * towards[0] + dx * towards[1]
            across = dy * dy + dx * dx + dz * dz - along * along
            if across < closest * closest:
                most = max(most, along + np.sqrt(closest * closest - across))
    total, count = np.zeros(3), 0
    reach = (closest + 0.12) ** 2
    for i in range(first.shape[0]):
        for j in range(second.shape[0]):
            dy = first[i, 0] - second[j, 0] - most * towards[0]
            dx = first[i, 1] - second[j, 1] - most * towards[1]
            dz = first[i, 2] - second[j, 2]
            if dy * dy + dx * dx + dz * dz < reach:
                total[0] += first[i, 0] - dy / 2
                total[1] += first[i, 1] - dx / 2
                total[2] += first[i, 2] - dz / 2
                count += 1
    return most, total / max(count, 1)


def _coverage(atoms: Floats, field_nm: float) -> Map:
    """Which of the quarters of each square have gold in them: their share."""
    count = max(1, round(field_nm / MAP_PITCH_NM))
    fine = 2 * count
    y, x = ((atoms[:, :2] / field_nm + 0.5) * fine).astype(np.int64).T
    there = np.zeros((fine, fine))
    there[y, x] = 0.25
    rows = there[::2] + there[1::2]
    return Map(rows[:, ::2] + rows[:, 1::2], field_nm / count)
