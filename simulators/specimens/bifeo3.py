"""Ferroelectric domains in BiFeO3, seen along the pseudo-cubic [001].

The second material of Creange et al., Mach. Learn.: Sci. Technol. 3 (2022)
015024.  Iron stands off the middle of its four bismuth neighbours, against the
polarisation, and that is all that tells one domain from another: in the raw
image the walls hardly show.

Structure: pseudo-cubic a = 0.3965 nm.  The displacements are those of neutron
diffraction (Palewicz et al., Acta Cryst. B 63 (2007) 537: Fe 0.041 nm along
[111], of which [001] shows 0.034 nm along [110]); the O between two Fe goes with
them and 0.011 nm further, that above Fe, in the same column, with Fe, which keeps
Fe-O within 3 % of the 0.195 and 0.211 nm found there.  The
tilts of the octahedra and the components along the beam, which HAADF does not
see, are left out; with them goes the splitting of the Bi-O distances, so that the
nearest oxygen is 0.247 nm from Bi and four more 0.261 nm, where the crystal has three at
0.227 and three at 0.251 nm.

In projection the polarisation has four directions, along <110>.  A wall is
scored by how much it turns there, 90° or 180°; its crystallographic type is
written in its outline's note (90°: 71° or 109°; 180°: 109° or 180°).  Walls
stand edge-on.  Straight ones are neutral (Streiffer et al., J. Appl. Phys. 83
(1998) 2742): the polarisation's component across them is the same on both
sides, so 90° walls lie across a <100> and 180° walls along the polarisation.
Others are kinked or curved.  Besides, domains of the other kind are enclosed
in some as islands.  Across a wall the displacement follows tanh(d / 0.6 nm):
nine tenths of the turn take 1.8 nm.

| class     | shape            | context radius | tolerance | coarsest pixel |
|-----------|------------------|----------------|-----------|----------------|
| wall 90°  | segments of 1 nm | 0.60 nm        | 0.50 nm   | 0.06 nm        |
| wall 180° | segments of 1 nm | 0.60 nm        | 0.50 nm   | 0.06 nm        |

Difficulty sets the number of walls and islands, the contamination (a blob of
amorphous carbon, not scored) and the dwell of the reference frame.  Maps:
``polarisation`` (direction and relative size as (y, x); 1 in a domain),
``domain`` (label), ``contamination`` (nm).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..optics import Detector, Optics
from . import amorphous
from .lattice import lattice, rotation
from .outlines import cut_path, distance_to_path, inside, within
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

NAME = "bifeo3"
CELL_NM = 0.3965
IRON_NM, OXYGEN_NM = 0.0337, 0.045  # off the middle, in projection, against the polarisation
HALF_WIDTH_NM = 0.6
FIELD_NM, LEAST_FIELD_NM = 28.8, 10.0
FRAME_NM, FRAME_PX = 1.8, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.03125
THICKNESS_NM = 4.0
SLICE_NM = CELL_NM / 2  # two slices to a cell
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
    Kind("FeO", (("O", 0.0), ("Fe", CELL_NM / 2)), CELL_NM),
    Kind("O", (("O", CELL_NM / 2),), CELL_NM),
    Kind.atom("C"),
)
BASIS = np.array([[0.0, 0.0], [0.5, 0.5], [0.5, 0.0], [0.0, 0.5]])
BASIS_KIND = np.array([0, 1, 2, 2])
BASIS_SHIFT_NM = np.array([0.0, IRON_NM, OXYGEN_NM, OXYGEN_NM])
CARBON_KIND = 3
SPACING_NM = 4.5  # between walls, at least
REACH_NM = 3.0  # farther from a wall nothing turns: tanh(5) is 0.9999


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time."""

    walls: int
    islands: int
    patches: int
    dwell_us: float


LEVELS = {
    "easy": Level(4, 2, 1, 8.0),
    "medium": Level(2, 1, 1, 4.0),
    "hard": Level(1, 1, 3, 2.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility bifeo3`.
NEED_E_PER_A2 = {
    "wall 90°": 1520.0,
    "wall 180°": 745.0,
}
CLASSES = (
    FeatureClass("wall 90°", 0.6, 0.5, 0.06, NEED_E_PER_A2["wall 90°"], "segment", 1.0),
    FeatureClass("wall 180°", 0.6, 0.5, 0.06, NEED_E_PER_A2["wall 180°"], "segment", 1.0),
)
TYPES = (("71°", "109°"), ("109°", "180°"))  # as the component along the beam stays or turns
SHAPES = ("straight", "kinked", "curved")


@dataclass(frozen=True)
class Wall:
    """Where the polarisation turns by ``quarters`` of a full turn.

    ``beyond(points)`` is the signed distance in nm, positive on the far side or
    inside an island.
    """

    path_yx_nm: Floats
    closed: bool
    beyond: Callable[[Floats], Floats]
    before: int  # quarter turns of the polarisation on the near side
    quarters: int
    note: str

    @property
    def feature_class(self) -> int:
        return 1 if self.quarters == 2 else 0


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
    walls = _stripes(max(1, round(level.walls * share)), field_nm, angle, rng)
    walls += _islands(round(level.islands * share**2), field_nm, walls, rng)
    patches = amorphous.scatter_patches(
        rng, round(level.patches * share**2), 0.4 * field_nm, (2.0, 4.5), (4.0, 12.0)
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
        **_columns(walls, angle, origin, field_nm / 2 + margin_nm, patches),
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.array([w.feature_class for w in walls])[owner[kept]],
        feature_yx_nm=centres[kept],
        thickness_nm=THICKNESS_NM,
        feature_angle_rad=direction[kept],
        feature_outline=owner[kept],
        outlines=tuple(Outline(w.feature_class, w.path_yx_nm, w.closed, w.note) for w in walls),
        maps=_maps(walls, angle, field_nm)
        | {"contamination": amorphous.thickness_map(patches, field_nm, CELL_NM)},
    )


def pair(feature_class: int, rng: np.random.Generator) -> tuple[Specimen, Specimen, Floats]:
    """Two films of 4 nm: with a straight neutral wall through ``yx_nm``, and one domain."""
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, CELL_NM, 2)
    yx = rng.uniform(-0.2, 0.2, 2)
    quarters = 2 if feature_class == 1 else 1
    before = int(rng.integers(4))
    path = yx + np.outer([-4.0, 4.0], _along(_neutral(before, quarters, angle)))
    wall = _wall(path, False, before, quarters, 0)
    flat = replace(wall, beyond=lambda p: np.full(len(p), -4 * REACH_NM))
    return (
        _small(feature_class, wall, angle, origin, yx),
        _small(feature_class, flat, angle, origin, yx),
        yx,
    )


def _small(feature_class: int, wall: Wall, angle: float, origin: Floats, yx: Floats) -> Specimen:
    return Specimen(
        name=NAME,
        seed=(0,),
        difficulty="medium",
        field_yx_nm=(4.0, 4.0),
        **_columns([wall], angle, origin, 3.0, ()),
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.full(1, feature_class),
        feature_yx_nm=yx[None].copy(),
        thickness_nm=THICKNESS_NM,
    )


def _neutral(before: int, quarters: int, angle: float) -> float:
    """Direction of a straight wall that carries no charge, from +x towards +y."""
    # The polarisation points along angle + 45° + 90° before.  A 180° wall lies along it; a
    # 90° wall lies across the sum of the two directions, which is 45° from either.
    towards = angle + np.pi / 4 + before * np.pi / 2
    return towards if quarters == 2 else towards + quarters * np.pi / 4 + np.pi / 2


def _along(direction: float) -> Floats:
    return np.array([np.sin(direction), np.cos(direction)])


def _wall(path: Floats, closed: bool, before: int, quarters: int, turned: int) -> Wall:
    beyond = _enclosed(path) if closed else _crossing(path)
    kind = 1 if quarters == 2 else 0
    return Wall(path, closed, beyond, before, quarters, f"{TYPES[kind][turned]} wall")


def _crossing(path: Floats) -> Callable[[Floats], Floats]:
    """Signed distance from a path across the field, positive at +90° from its direction."""
    run = path[-1] - path[0]
    run /= np.hypot(*run)
    across = np.array([run[1], -run[0]])
    u, v = (path - path[0]) @ run, (path - path[0]) @ across

    def beyond(points: Floats) -> Floats:
        distance = (points - path[0]) @ across
        if len(path) > 2:  # exact only where the wall is near
            distance -= np.interp((points - path[0]) @ run, u, v)
            near = np.flatnonzero(np.abs(distance) < REACH_NM)
            exact = distance_to_path(points[near], path)
            distance[near] = np.copysign(exact, distance[near])
        return np.asarray(distance)

    return beyond


def _enclosed(path: Floats) -> Callable[[Floats], Floats]:
    """Signed distance from a closed path, positive inside."""
    low, high = path.min(axis=0) - REACH_NM, path.max(axis=0) + REACH_NM

    def beyond(points: Floats) -> Floats:
        distance = np.full(len(points), -REACH_NM)
        near = np.flatnonzero(((points >= low) & (points <= high)).all(axis=1))
        exact = distance_to_path(points[near], path, closed=True)
        distance[near] = np.where(inside(points[near], path), exact, -exact)
        return distance

    return beyond


def _stripes(count: int, field_nm: float, angle: float, rng: np.random.Generator) -> list[Wall]:
    """Walls side by side across the field; all turn by 90°, or all by 180°."""
    quarters = int(rng.choice([1, 2]))
    before = int(rng.integers(4))
    direction = _neutral(before, quarters, angle)
    along, across = _along(direction), _along(direction + np.pi / 2)
    room = 0.62 * field_nm
    gaps = rng.dirichlet(np.full(count + 1, 3.0)) * max(0.0, room - (count - 1) * SPACING_NM)
    offsets = np.cumsum(gaps[:-1]) + np.arange(count) * SPACING_NM - room / 2
    reach = 0.75 * field_nm + 3.0
    walls = []
    for offset in offsets:
        shape = SHAPES[rng.integers(3)]
        bend, phase = rng.uniform(0.5, 1.1), rng.uniform(0, 1)
        length = rng.uniform(7.0, 12.0)
        t = np.linspace(-reach, reach, 2 if shape == "straight" else 61)
        wave = (t / length + phase) % 1.0
        if shape == "kinked":
            step = bend * (np.abs(2 * wave - 1) - 0.5)
        else:
            step = bend * np.sin(2 * np.pi * wave)
        v = np.full(len(t), offset) if shape == "straight" else offset + step
        path = np.outer(t, along) + np.outer(v, across)
        walls.append(_wall(path, False, before, quarters, int(rng.integers(2))))
        before = (before + quarters) % 4
        # The next 90° wall turns back, so that it can lie parallel to this one.
        quarters = -quarters if quarters != 2 else 2
    return walls


def _islands(
    count: int, field_nm: float, stripes: list[Wall], rng: np.random.Generator
) -> list[Wall]:
    """Closed walls of the other kind, clear of the stripes and of each other."""
    found: list[Wall] = []
    for _ in range(25 * count):
        if len(found) == count:
            break
        radius = rng.uniform(2.0, 3.6)
        yx = rng.uniform(-0.5, 0.5, 2) * (field_nm - radius)
        t = np.linspace(0, 2 * np.pi, 49)[:-1]
        waves = rng.uniform(0.03, 0.1, 3)[:, None] * np.cos(
            np.arange(2, 5)[:, None] * t + rng.uniform(0, 2 * np.pi, 3)[:, None]
        )
        r = radius * (1 + waves.sum(axis=0))
        path = yx + np.column_stack([r * np.sin(t), r * np.cos(t)])
        turned = int(rng.integers(2))
        if all(distance_to_path(path, w.path_yx_nm, w.closed).min() > 2.2 for w in stripes + found):
            host = stripes[0].before
            for wall in stripes:
                if wall.beyond(yx[None])[0] > 0:
                    host = (wall.before + wall.quarters) % 4
            quarters = 2 if abs(stripes[0].quarters) == 1 else int(rng.choice([-1, 1]))
            found.append(_wall(path, True, host, quarters, turned))
    return found


def _polarisation(points: Floats, walls: list[Wall], angle: float) -> tuple[Floats, Ints]:
    """Direction and relative size (n, 2) at points, and the domain's label (n,)."""

    def towards(quarter: int) -> Floats:
        return _along(angle + np.pi / 4 + quarter * np.pi / 2)

    value = np.tile(towards(walls[0].before), (len(points), 1))
    label = np.zeros(len(points), dtype=np.int64)
    for number, wall in enumerate(walls, start=1):
        beyond = wall.beyond(points)
        share = 0.5 * (1.0 + np.tanh(beyond / HALF_WIDTH_NM))
        value += share[:, None] * (towards(wall.before + wall.quarters) - towards(wall.before))
        label[beyond > 0] = number
    return value, label


def _columns(
    walls: list[Wall],
    angle: float,
    origin: Floats,
    half_nm: float,
    patches: tuple[amorphous.Patch, ...],
) -> Columns:
    """Positions, heights, kinds and displacements of all columns."""
    turn = rotation(angle)
    cells, _ = lattice(CELL_NM * turn, origin, half_nm + CELL_NM)
    ideal = np.concatenate([cells + b * CELL_NM @ turn for b in BASIS])
    shift = np.repeat(BASIS_SHIFT_NM, len(cells))
    displaced = np.zeros_like(ideal)
    # Each column by the polarisation at its own place, so that bonds last across a wall.
    moved = shift != 0
    value, _ = _polarisation(ideal[moved], walls, angle)
    displaced[moved] = -shift[moved, None] * value
    kept = (np.abs(ideal) <= half_nm).all(axis=1)
    carbon = amorphous.contamination(patches, half_nm, THICKNESS_NM + 0.4)
    return {
        "positions_yx_nm": np.vstack([(ideal + displaced)[kept], carbon[:, :2]]),
        "displacement_yx_nm": np.vstack([displaced[kept], np.zeros((len(carbon), 2))]),
        "height_nm": np.concatenate([np.zeros(kept.sum()), carbon[:, 2]]),
        "kind": np.concatenate(
            [np.repeat(BASIS_KIND, len(cells))[kept], np.full(len(carbon), CARBON_KIND)]
        ),
    }


def _maps(walls: list[Wall], angle: float, field_nm: float) -> dict[str, Map]:
    count = max(1, round(field_nm / CELL_NM))
    axis = (np.arange(count) - (count - 1) / 2) * CELL_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    value, label = _polarisation(points, walls, angle)
    return {
        "polarisation": Map(value.reshape(count, count, 2), CELL_NM),
        "domain": Map(label.reshape(count, count).astype(np.float64), CELL_NM),
    }
