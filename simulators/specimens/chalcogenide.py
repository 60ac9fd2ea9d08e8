"""What monolayers of the 1H chalcogenides share: their structure, defects and phases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from scipy.spatial import cKDTree

from . import amorphous
from .lattice import rotation
from .motifs import edges, motifs
from .outlines import cut_path, distance_to_path, which, within
from .sheet import Barrier, Grain, Sheet, Wish, atoms, place, wanted
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

MAP_PITCH_NM = 0.25
LEAST_FIELD_NM = 6.0
PHASES_LEAST_NM = 10.0  # smaller fields are of one phase
FADE_NM = 0.6  # from corners and point defects, where boundaries are not relaxed
CARBON_GAP_NM = 0.3  # between the upper chalcogen and contamination
PATCH_NM, PATCH_THICKNESS_NM = (1.3, 3.8), (1.0, 3.5)


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time.

    ``defects`` are those of each class of points, in their order.
    """

    defects: tuple[int, ...]
    patches: int
    island: float
    dwell_us: float


LEVELS = {
    "easy": Level((12, 6, 5, 6, 5, 6, 3, 3), 1, 0.9, 24.0),
    "medium": Level((6, 3, 3, 3, 3, 3, 2, 1), 2, 0.8, 12.0),
    "hard": Level((3, 2, 1, 2, 1, 1, 1, 1), 4, 0.7, 6.0),
}


@dataclass(frozen=True, eq=False)
class Material:
    """A chalcogenide MX2.

    Attributes:
        name: of the specimen, and of its file of motifs.
        metal, chalcogen: symbols.
        others: symbols of what may stand in their place.
        lattice_nm: the lattice constant.
        half_thickness_nm: height of the chalcogens above and below the metal.
        need_e_per_a2: by class, in order; the last one is the phase boundary.
    """

    name: str
    metal: str
    chalcogen: str
    others: tuple[str, ...]
    lattice_nm: float
    half_thickness_nm: float
    need_e_per_a2: dict[str, float] = field(default_factory=dict)

    @property
    def symbols(self) -> tuple[str, ...]:
        return (self.metal, self.chalcogen, *self.others, "C")

    @cached_property
    def kinds(self) -> tuple[Kind, ...]:
        return tuple(Kind.atom(s) for s in self.symbols)

    @cached_property
    def classes(self) -> tuple[FeatureClass, ...]:
        names = tuple(self.need_e_per_a2)
        points = [FeatureClass(n, 0.3, 0.1, 0.05, self.need_e_per_a2[n]) for n in names[:-1]]
        edge = FeatureClass("boundary", 0.5, 0.25, 0.05, self.need_e_per_a2["boundary"],
                            "segment", 0.5)  # fmt: skip
        return (*points, edge)

    @property
    def boundary(self) -> int:
        return len(self.need_e_per_a2) - 1

    @property
    def vectors_yx_nm(self) -> Floats:
        return self.lattice_nm * np.array([[0.0, 1.0], [np.sqrt(3) / 2, 0.5]])

    @property
    def basis_yxz_nm(self) -> Floats:
        """Metal, upper chalcogen, lower chalcogen, and the lower one of the 1T phase."""
        third = self.vectors_yx_nm.sum(axis=0) / 3
        h = self.half_thickness_nm
        return np.array([[0.0, 0.0, 0.0], [*third, h], [*third, -h], [*(2 * third), -h]])

    @property
    def row_nm(self) -> float:
        """From one zigzag row of metals to the next."""
        return self.lattice_nm * float(np.sqrt(3)) / 2

    def sheet_kind(self, basis: int) -> int:
        """The kind at a place of the basis."""
        return 0 if basis == 0 else 1

    @cached_property
    def sheet(self) -> Sheet:
        return Sheet(
            vectors_yx_nm=self.vectors_yx_nm,
            basis_yxz_nm=self.basis_yxz_nm,
            basis_kind=np.array([self.sheet_kind(k) for k in range(4)]),
            symbols=self.symbols,
            motifs=motifs(self.name),
            turns=3,
            carbon_height_nm=self.half_thickness_nm + CARBON_GAP_NM,
        )


LOWER_2H, LOWER_1T = 2, 3
# Kinds of edge: the arm from a metal to its upper chalcogen points out of the 1T phase, or in.
EDGES = ("out", "in")


def generate(
    material: Material,
    field_default_nm: float,
    seed: np.random.SeedSequence | int,
    difficulty: str,
    field_nm: float,
    margin_nm: float,
) -> Specimen:
    """A sheet of a material from a seed; the material's own module has the manual."""
    check_request(material.name, difficulty, field_nm, LEAST_FIELD_NM)
    level = LEVELS[difficulty]
    sequence = seed_sequence(seed)
    rng = np.random.default_rng(sequence)
    share = (field_nm / field_default_nm) ** 2
    patches = amorphous.scatter_patches(
        rng, round(level.patches * share), field_nm / 2, PATCH_NM, PATCH_THICKNESS_NM
    )
    grain = Grain(rng.uniform(0, 2 * np.pi), rng.uniform(0, material.lattice_nm, 2))
    island = _island(material, grain, field_nm, level.island, rng)
    wishes = [_wish(material, k, rng) for k in wanted(level.defects, share)]
    barriers = () if island is None else (Barrier(island, True, 0.1),)
    placed = place(
        material.sheet, wishes, (grain,), _outside(island), barriers, patches, field_nm, rng
    )
    points = np.array([p.feature_yx_nm for p in placed])
    segments, directions = np.empty((0, 2)), np.empty(0)
    outlines: tuple[Outline, ...] = ()
    if island is not None:
        segments, directions = cut_path(island, 0.5, closed=True)
        edge = material.classes[material.boundary]
        kept = within(segments, (field_nm, field_nm), edge.context_radius_nm)
        kept &= amorphous.covered(patches, segments) == 0.0
        segments, directions = segments[kept], directions[kept]
        outlines = (Outline(material.boundary, island, True, "2H outside, 1T inside"),)
    return Specimen(
        name=material.name,
        seed=seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        **_settled(
            material,
            grain,
            island,
            points,
            atoms(
                material.sheet,
                placed,
                (grain,),
                _kept(material, grain, island),
                patches,
                field_nm / 2 + margin_nm,
            ),
        ),
        kinds=material.kinds,
        classes=material.classes,
        feature_class=np.concatenate(
            [[p.wish.feature_class for p in placed], np.full(len(segments), material.boundary)]
        ).astype(np.int64),
        feature_yx_nm=np.vstack([points, segments]),
        feature_angle_rad=np.concatenate([np.zeros(len(points)), directions]),
        feature_outline=np.repeat([-1, 0], [len(points), len(segments)]),
        outlines=outlines,
        maps={
            "contamination": amorphous.thickness_map(patches, field_nm, MAP_PITCH_NM),
            "phase": _phase(island, field_nm),
        },
    )


def pair(
    material: Material, feature_class: int, rng: np.random.Generator
) -> tuple[Specimen, Specimen, Floats]:
    """Two sheets of 4 nm with and without one feature; a boundary ends as 2H."""
    grain = Grain(rng.uniform(0, 2 * np.pi), rng.uniform(0, material.lattice_nm, 2))
    if feature_class == material.boundary:
        yx = rng.uniform(-0.2, 0.2, 2)
        turn = rotation(grain.angle_rad + rng.integers(3) * 2 * np.pi / 3)
        half_plane = np.array([[0.0, -8.0], [0.0, 8.0], [8.0, 8.0], [8.0, -8.0]]) @ turn + yx
        made = [_small(material, feature_class, (), grain, i, yx) for i in (half_plane, None)]
        return made[0], made[1], yx
    wish = _wish(material, feature_class, rng)
    placed = place(material.sheet, [wish], (grain,), _outside(None), (), (), 1.4, rng)
    yx = np.array(placed[0].feature_yx_nm)
    made = [_small(material, feature_class, p, grain, None, yx) for p in (placed, ())]
    return made[0], made[1], yx


def _small(
    material: Material,
    feature_class: int,
    placed: tuple,  # type: ignore[type-arg]
    grain: Grain,
    island: Floats | None,
    yx: Floats,
) -> Specimen:
    columns = atoms(material.sheet, placed, (grain,), _kept(material, grain, island), (), 3.0)
    return Specimen(
        name=material.name,
        seed=(0,),
        difficulty="medium",
        field_yx_nm=(4.0, 4.0),
        **_settled(material, grain, island, np.empty((0, 2)), columns),
        kinds=material.kinds,
        classes=material.classes,
        feature_class=np.array([feature_class]),
        feature_yx_nm=yx[None].copy(),
    )


def _wish(material: Material, feature_class: int, rng: np.random.Generator) -> Wish:
    """Defects of one chalcogen are in the upper layer or in the lower one."""
    name = tuple(material.need_e_per_a2)[feature_class]
    names = [n for n in _names(material.name) if n.split(",")[0] == name]
    return Wish(feature_class, names[rng.integers(len(names))], 0.3)


@cache
def _names(material: str) -> tuple[str, ...]:
    return tuple(motifs(material))


def _island(
    material: Material, grain: Grain, field_nm: float, probability: float, rng: np.random.Generator
) -> Floats | None:
    """A hexagon (6, 2) with edges along zigzag rows, in which the phase is 1T."""
    there = rng.random() < probability
    radius = min(rng.uniform(3.0, 6.5), 0.3 * field_nm)
    middle = rng.uniform(-0.3, 0.3, 2) * field_nm
    reach = radius * rng.uniform(0.7, 1.0, 6)
    if not there or field_nm < PHASES_LEAST_NM:
        return None
    normals = grain.angle_rad + np.pi / 6 + np.arange(6) * np.pi / 3 + np.pi / 3
    corners = []
    for k in range(6):
        pair_of = np.array([[np.sin(a), np.cos(a)] for a in normals[[k - 1, k]]])
        corners.append(np.linalg.solve(pair_of, reach[[k - 1, k]]))
    return np.array(corners) + middle


def _outside(island: Floats | None) -> Callable[[Floats], Ints]:
    """Defects lie in the 2H phase."""
    if island is None:
        return lambda points: np.zeros(len(points), dtype=np.int64)
    return lambda points: np.where(which(points, [island]) < 0, 0, -1)


def _kept(
    material: Material, grain: Grain, island: Floats | None
) -> Callable[[int, int, Floats], np.ndarray]:
    """Which chalcogens of the lower layer are there: as 2H outside, as 1T inside."""
    third = material.basis_yxz_nm[1, :2] @ rotation(grain.angle_rad)
    around = [third @ rotation(k * 2 * np.pi / 3) for k in range(3)]

    def kept(number: int, basis: int, yx: Floats) -> np.ndarray:
        if basis < LOWER_2H:
            return np.ones(len(yx), dtype=bool)
        if island is None:
            return np.full(len(yx), basis == LOWER_2H)
        inside = which(yx, [island]) >= 0
        if basis == LOWER_2H:
            return ~inside
        # Three places of the 2H phase are too close; none of them may be taken.
        for step in around:
            inside &= which(yx - step, [island]) >= 0
        return inside

    return kept


@cache
def _moved(material: Material) -> tuple[Floats, int]:
    """By how much atoms near an edge move, and where the middle of the table is.

    The table (2, 3, n, 3) goes by kind of edge, layer (metal, upper, lower) and place
    across in thirds of a row of metals; it holds across, along, height.
    """
    periods = [edges(material.name)[kind] for kind in EDGES]
    thirds = [np.rint(3 * p.sites_nm[:, 0] / material.row_nm).astype(int) for p in periods]
    half = 1 + max(int(np.abs(t).max()) for t in thirds)
    table = np.zeros((len(periods), 3, 2 * half + 1, 3))
    for own, period, place_of in zip(table, periods, thirds, strict=True):
        own[_layer(period.sites_nm[:, 2]), place_of + half] = period.moved_nm
    return table, half


def _layer(height_nm: Floats) -> Ints:
    """0 for metals, 1 for what is above them, 2 for what is below."""
    return np.where(np.abs(height_nm) < 0.08, 0, np.where(height_nm > 0, 1, 2))


def _settled(
    material: Material, grain: Grain, island: Floats | None, points: Floats, columns: Columns
) -> Columns:
    """Atoms (n), those near the island's edges moved as in a relaxed period.

    An atom belongs to the nearest edge.  Towards corners, and towards defects at
    points (k, 2), the movement fades to nothing.
    """
    if island is None:
        return columns
    table, half = _moved(material)
    yx, height = columns["positions_yx_nm"], columns["height_nm"]
    reach = max(e.reach_nm for e in edges(material.name).values()) + material.row_nm
    carbon = columns["kind"] == material.symbols.index("C")
    sheet = np.flatnonzero(~carbon & (distance_to_path(yx, island, closed=True) < reach))
    own, layer = yx[sheet], _layer(height[sheet])
    nearest = np.full(len(own), reach)
    moved = np.zeros((len(own), 3))  # y, x, height
    for start, end in zip(island, np.roll(island, -1, axis=0), strict=True):
        length = float(np.hypot(*(end - start)))
        along = (end - start) / length
        out = np.array([-along[1], along[0]])
        out *= -np.sign((island.mean(axis=0) - start) @ out)
        across, beside = (own - start) @ out, (own - start) @ along
        k = np.flatnonzero((np.abs(across) < nearest) & (beside > 0) & (beside < length))
        nearest[k] = np.abs(across[k])
        # Is the edge across the arms from metals to upper chalcogens, or against them?
        turn = float(np.arctan2(out[0], out[1])) - grain.angle_rad - np.pi / 6
        kind = 0 if np.cos(3 * turn) > 0 else 1
        edge = (start - grain.origin_yx_nm) @ out / material.row_nm
        row = np.floor(edge - (2 / 3, 1 / 3)[kind])
        thirds = np.rint(3 * (across[k] / material.row_nm + edge - row)).astype(int)
        shift = table[kind, layer[k], np.clip(thirds, -half, half) + half]
        shift *= _risen(np.minimum(beside[k], length - beside[k]) / FADE_NM)[:, None]
        moved[k, :2] = shift[:, :1] * out + shift[:, 1:2] * along
        moved[k, 2] = shift[:, 2]
    if len(points):
        distance, _ = cKDTree(points).query(own, distance_upper_bound=FADE_NM)
        moved *= _risen(distance / FADE_NM)[:, None]
    yx[sheet] += moved[:, :2]
    height[sheet] += moved[:, 2]
    return columns


def _risen(share: Floats) -> Floats:
    """From 0 at 0 to 1 at 1 and beyond, smoothly."""
    t = np.clip(share, 0.0, 1.0)
    return np.asarray(t * t * (3 - 2 * t))


def _phase(island: Floats | None, field_nm: float) -> Map:
    count = max(1, round(field_nm / MAP_PITCH_NM))
    axis = (np.arange(count) - (count - 1) / 2) * MAP_PITCH_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    values = np.zeros(len(points)) if island is None else which(points, [island]) >= 0
    return Map(np.asarray(values, dtype=np.float64).reshape(count, count), MAP_PITCH_NM)
