"""NiO pillars in La0.7Sr0.3MnO3: a vertically aligned nanocomposite, seen along [001].

Pillars of rock salt stand epitaxially, cube on cube, through a film of
perovskite; here and there are tiny inclusions of the same oxide, too small to
be pillars.  It is the first material of Creange et al., Mach. Learn.: Sci.
Technol. 3 (2022) 015024.

Structure: pseudo-cubic La0.7Sr0.3MnO3 with a = 0.388 nm and NiO with 0.418 nm
(the figures of that paper's material).  In projection the perovskite has
columns of La/Sr, of Mn and O, and two of O; every column of rock salt holds Ni
and O in turn, half a period out of step with its neighbours.  The share of Sr
varies from column to column as in a random alloy.  Pillars have {100} and {110}
facets, with a plane of La/Sr before one {100} facet and a plane of Mn before the
other.  The {100} facets are coherent: the rock salt is strained by up to 4 %, as
little as it takes to fit whole planes between those of the perovskite, so that
the planes of the two phases are 0.18 to 0.22 nm apart, about the mean of their
spacings.  A slight twist remains, and where columns of the two phases would stand
closer than 0.175 nm, at {110} facets, that of NiO is missing.  Along the beam the
two are incommensurate and not relaxed: some atoms face each other across the
interface at 0.175 nm.

| class     | shape         | context radius | tolerance | coarsest pixel |
|-----------|---------------|----------------|-----------|----------------|
| pillar    | cells of 1 nm | 0.50 nm        | 0.50 nm   | 0.06 nm        |
| inclusion | point, < 1 nm | 0.60 nm        | 0.30 nm   | 0.06 nm        |

Inclusions lie mostly near pillars.  Difficulty sets the number of pillars and
inclusions, the contamination (amorphous carbon, not scored) and the dwell of
the reference frame.  Maps: ``phase`` (1 in NiO), ``contamination`` (nm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ..optics import Detector, Optics
from . import amorphous
from .lattice import lattice, rotation, site_uniform
from .outlines import clearance, cut_area, inside, which, within
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

NAME = "nio_lsmo"
LSMO_NM, NIO_NM = 0.388, 0.418
FIELD_NM, LEAST_FIELD_NM = 28.8, 7.0
FRAME_NM, FRAME_PX = 1.8, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.03125
THICKNESS_NM = 4.0
SLICE_NM = LSMO_NM / 2  # two slices to a cell
CONFIGURATIONS = 3
# R.m.s. displacement along each axis at 300 K: from U_iso of 0.006, 0.004 and 0.011 Å² for
# La/Sr, Mn and O, as powder neutron diffraction of manganites finds them (Radaelli et al.,
# Phys. Rev. B 56 (1997) 8265), and 0.0045 Å² for Ni in NiO, of the same order as for O there.
THERMAL_SIGMA_NM = {
    "La": 0.0077, "Sr": 0.0077, "Mn": 0.0063, "O": 0.0105, "Ni": 0.0067, "C": 0.0080
}  # fmt: skip
STRONTIUM = 0.3

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
FULL_SCALE = {"haadf": 0.06, "maadf": 0.1, "abf": 0.6, "bf": 0.9}

KINDS = (
    Kind("La", (("La", 0.0),), LSMO_NM, "Sr"),
    Kind("MnO", (("O", 0.0), ("Mn", LSMO_NM / 2)), LSMO_NM),
    Kind("O", (("O", LSMO_NM / 2),), LSMO_NM),
    Kind("NiO", (("Ni", 0.0), ("O", NIO_NM / 2)), NIO_NM),
    Kind.atom("C"),
)
BASIS = np.array([[0.0, 0.0], [0.5, 0.5], [0.5, 0.0], [0.0, 0.5]])
BASIS_KIND = np.array([0, 1, 2, 2])
NIO_KIND, CARBON_KIND = 3, 4
CLOSEST_NM = 0.175  # columns of different phases
INTERFACE_NM = (LSMO_NM + NIO_NM) / 4  # between the planes of the two phases, unless strained
MOST_STRAIN = 0.04
PILLAR_NM = (2.4, 6.4)  # between opposite {100} facets
INCLUSION_CELLS = (2.0, 2.5)  # between opposite facets: 0.78 and 0.97 nm
TWIST_RAD = 0.008  # standard deviation
GAP_NM = 1.6  # between pillars, and from a pillar to an inclusion's middle
NEAR_PILLARS, NEAR_NM = 0.6, 3.5  # the share of inclusions that lie so near to a pillar


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time."""

    pillars: int
    inclusions: int
    patches: int
    dwell_us: float


LEVELS = {
    "easy": Level(9, 16, 0, 8.0),
    "medium": Level(6, 10, 1, 4.0),
    "hard": Level(4, 6, 3, 2.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility nio_lsmo`.
NEED_E_PER_A2 = {
    "pillar": 56.5,
    "inclusion": 37.2,
}
CLASSES = (
    FeatureClass("pillar", 0.5, 0.5, 0.06, NEED_E_PER_A2["pillar"], "cell", 1.0),
    FeatureClass("inclusion", 0.6, 0.3, 0.06, NEED_E_PER_A2["inclusion"]),
)
PILLAR, INCLUSION = range(2)


@dataclass(frozen=True)
class Grain:
    """A pillar or an inclusion.

    Attributes:
        outline_yx_nm: (corners, 2).
        origin_yx_nm: (2,) a column of the lattice in it.
        vectors_yx_nm: (2, 2) from a column to its neighbours, in rows.
    """

    outline_yx_nm: Floats
    origin_yx_nm: Floats
    vectors_yx_nm: Floats


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "medium",
    field_nm: float = FIELD_NM,
    margin_nm: float = 1.0,
) -> Specimen:
    """A film with its pillars from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_nm: side of the square field in nm; at least 7.
        margin_nm: how far columns reach beyond the field.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    check_request(NAME, difficulty, field_nm, LEAST_FIELD_NM)
    level = LEVELS[difficulty]
    sequence = seed_sequence(seed)
    rng = np.random.default_rng(sequence)
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, LSMO_NM, 2)
    key = int(rng.integers(2**63))
    share = (field_nm / FIELD_NM) ** 2
    pillars = _pillars(max(1, round(level.pillars * share)), field_nm, angle, origin, rng)
    count = max(2, round(level.inclusions * share))
    middles = _inclusion_sites(count, field_nm, pillars, rng)
    inclusions = [_inclusion(yx, angle, origin, rng) for yx in middles]
    middles = np.array([g.outline_yx_nm.mean(axis=0) for g in inclusions])
    patches = amorphous.scatter_patches(
        rng, round(level.patches * max(share, 0.12)), field_nm / 2, (2.0, 4.0), (1.0, 3.5)
    )
    columns = _columns(pillars + inclusions, angle, origin, key, field_nm / 2 + margin_nm, patches)

    cells = [cut_area(p.outline_yx_nm, 1.0) for p in pillars]
    owner = np.repeat(np.arange(len(cells)), [len(c) for c in cells])
    cell_yx = np.vstack(cells)
    kept = within(cell_yx, (field_nm, field_nm), CLASSES[PILLAR].context_radius_nm)
    return Specimen(
        name=NAME,
        seed=seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        **columns,
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.repeat([PILLAR, INCLUSION], [kept.sum(), count]),
        feature_yx_nm=np.vstack([cell_yx[kept], middles]),
        thickness_nm=THICKNESS_NM,
        feature_outline=np.concatenate([owner[kept], len(pillars) + np.arange(count)]),
        outlines=(
            *(Outline(PILLAR, g.outline_yx_nm, True, "NiO pillar") for g in pillars),
            *(Outline(INCLUSION, g.outline_yx_nm, True, "NiO inclusion") for g in inclusions),
        ),
        maps={
            "phase": _phase(pillars + inclusions, field_nm),
            "contamination": amorphous.thickness_map(patches, field_nm, LSMO_NM),
        },
    )


def pair(feature_class: int, rng: np.random.Generator) -> tuple[Specimen, Specimen, Floats]:
    """Two films of 4 nm, with and without NiO: all of it, or one inclusion at ``yx_nm``."""
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, LSMO_NM, 2)
    key, yx = int(rng.integers(2**63)), rng.uniform(-0.2, 0.2, 2)
    if feature_class == PILLAR:
        size, chamfer = np.full(2, 8.0), np.zeros(4)
        grain = _grain(*_facets(yx, size, angle, origin), chamfer, angle, origin, rng)
    else:
        grain = _inclusion(yx, angle, origin, rng)
        yx = grain.outline_yx_nm.mean(axis=0)
    with_it, without = (
        Specimen(
            name=NAME,
            seed=(0,),
            difficulty="medium",
            field_yx_nm=(4.0, 4.0),
            **_columns(grains, angle, origin, key, 3.0, ()),
            kinds=KINDS,
            classes=CLASSES,
            feature_class=np.full(len(grains), feature_class),
            feature_yx_nm=np.tile(yx, (len(grains), 1)),
            thickness_nm=THICKNESS_NM,
        )
        for grains in ([grain], [])
    )
    return with_it, without, yx


def _pillars(
    count: int, field_nm: float, angle: float, origin: Floats, rng: np.random.Generator
) -> list[Grain]:
    """Octagons between lattice planes, apart from each other; the first lies well inside."""
    # In a small field inclusions need room beside the pillar.
    largest = min(PILLAR_NM[1], 0.6 * field_nm, field_nm - 2.9)
    found: list[Grain] = []
    for attempt in range(400):
        if len(found) == count:
            break
        # A field too crowded for large pillars still takes small ones.
        limit = max(PILLAR_NM[0] + 0.4, largest * 0.995**attempt)
        size = rng.uniform(max(PILLAR_NM[0], min(3.2, limit - 0.1)) if not found else PILLAR_NM[0],
                           limit, 2)  # fmt: skip
        chamfer = rng.uniform(0.05, 0.4, 4) * size.min()
        reach = field_nm / 2 - (size.max() / 2 if not found else 0.8)
        yx = rng.uniform(-reach, reach, 2)
        grain = _grain(*_facets(yx, size, angle, origin), chamfer, angle, origin, rng)
        outline = grain.outline_yx_nm
        others = [g.outline_yx_nm for g in found]
        if not found or (
            clearance(outline, others).min() > GAP_NM
            and all(clearance(o, [outline]).min() > GAP_NM for o in others)
        ):
            found.append(grain)
    return found


def _facets(yx: Floats, size: Floats, angle: float, origin: Floats) -> tuple[Floats, Floats]:
    """Low and high {100} facets (2,) about a point, in cells: between planes of La/Sr and of Mn."""
    middle = (yx - origin) @ rotation(angle).T / LSMO_NM
    low, high = (np.floor(middle + s * size / 2 / LSMO_NM) + 0.25 for s in (-1, 1))
    return low, high


def _grain(
    low: Floats,
    high: Floats,
    chamfer: Floats,
    angle: float,
    origin: Floats,
    rng: np.random.Generator,
) -> Grain:
    """Rock salt between facets, strained so that whole planes fit between those outside."""
    turn = rotation(angle)
    span = (high - low + 0.5) * LSMO_NM  # from plane to plane of the perovskite outside
    steps = np.rint((span - 2 * INTERFACE_NM) / (NIO_NM / 2))
    strain = (span - 2 * INTERFACE_NM) / steps / (NIO_NM / 2) - 1.0
    spacing = NIO_NM / 2 * (1.0 + np.clip(strain, -MOST_STRAIN, MOST_STRAIN))
    middle = (low + high) / 2 * LSMO_NM
    first = middle - steps * spacing / 2
    twist = rotation(TWIST_RAD * rng.normal())
    if chamfer.any():
        apart = (span - steps * spacing).mean() / 2
        chamfer = _fitting(chamfer, spacing.mean(), apart)
    return Grain(
        _octagon(low, high, chamfer / LSMO_NM) @ turn + origin,
        ((first - middle) @ twist + middle) @ turn + origin,
        spacing[:, None] * twist @ turn,
    )


def _fitting(chamfer: Floats, spacing_nm: float, apart_nm: float) -> Floats:
    """The chamfers (4,) next to those wished at which a {110} facet leaves no seam.

    A chamfer passes midway between two {110} planes of the perovskite, half a cell apart
    along an axis; ahead of the outer one is the next such plane of the rock salt.  Where that
    is neither about its own spacing away nor so near that its columns make way for the next,
    a dark seam would remain.
    """
    cells = 0.25 + 0.5 * np.arange(int(chamfer.max() / LSMO_NM * 2) + 2)
    step = spacing_nm / LSMO_NM
    ahead = (2 * apart_nm / LSMO_NM - 0.5 - (cells - 0.25)) % step / step
    fits = cells[(ahead > 0.8) | (ahead < 0.25)]
    return np.asarray(fits[np.abs(fits - chamfer[:, None] / LSMO_NM).argmin(axis=1)] * LSMO_NM)


def _octagon(low: Floats, high: Floats, c: Floats) -> Floats:
    """Corners (8, 2) in cells; (4, 2) where nothing is cut off them."""
    corners = np.array(
        [
            [low[0], low[1] + c[0]], [low[0], high[1] - c[1]], [low[0] + c[1], high[1]],
            [high[0] - c[2], high[1]], [high[0], high[1] - c[2]], [high[0], low[1] + c[3]],
            [high[0] - c[3], low[1]], [low[0] + c[0], low[1]],
        ]
    )  # fmt: skip
    return np.asarray((corners if c.any() else corners[::2]) * LSMO_NM)


def _inclusion(yx: Floats, angle: float, origin: Floats, rng: np.random.Generator) -> Grain:
    """An inclusion as near to a point as the planes of the perovskite allow."""
    size = rng.choice(INCLUSION_CELLS, 2)
    middle = (yx - origin) @ rotation(angle).T / LSMO_NM
    low = np.rint((middle - size / 2 - 0.25) * 2) / 2 + 0.25
    return _grain(low, low + size, np.zeros(4), angle, origin, rng)


def _inclusion_sites(
    count: int, field_nm: float, pillars: list[Grain], rng: np.random.Generator
) -> Floats:
    """Middles (count, 2): mostly near pillars, clear of them and of each other."""
    # The planes of the perovskite move a middle by up to a quarter of a cell along each axis.
    reach = field_nm / 2 - CLASSES[INCLUSION].context_radius_nm - LSMO_NM / 4 * np.sqrt(2)
    outlines = [p.outline_yx_nm for p in pillars]
    found = np.empty((0, 2))
    for attempt in range(500 * count):
        if len(found) == count:
            break
        # A field too crowded for the whole gap still takes a narrower one.
        gap = GAP_NM - 1.8 * max(0.0, attempt / (500 * count) - 0.5)
        if rng.random() < NEAR_PILLARS:
            outline = outlines[rng.integers(len(outlines))]
            corner = outline[rng.integers(len(outline))]
            yx = corner + rng.uniform(-NEAR_NM, NEAR_NM, 2)
        else:
            yx = rng.uniform(-reach, reach, 2)
        if (
            np.abs(yx).max() <= reach
            and (not len(found) or ((found - yx) ** 2).sum(axis=1).min() > gap**2)
            and clearance(yx[None], outlines)[0] > gap
        ):
            found = np.vstack([found, yx])
    if len(found) < count:
        raise ValueError(f"{count} inclusions do not fit between the pillars of {field_nm} nm")
    return found


def _columns(
    grains: list[Grain],
    angle: float,
    origin: Floats,
    key: int,
    half_nm: float,
    patches: tuple[amorphous.Patch, ...],
) -> Columns:
    """Positions, heights, kinds and shares of all columns."""
    turn = rotation(angle)
    cells, index = lattice(LSMO_NM * turn, origin, half_nm + LSMO_NM)
    positions = np.concatenate([cells + b * LSMO_NM @ turn for b in BASIS])
    kind = np.repeat(BASIS_KIND, len(cells))
    repeats = round(THICKNESS_NM / LSMO_NM)
    steps = binom.cdf(np.arange(repeats + 1), repeats, STRONTIUM)
    strontium = np.searchsorted(steps, site_uniform(key, index), side="right") / repeats
    share = np.concatenate([strontium, np.zeros(3 * len(cells))])
    outlines = [g.outline_yx_nm for g in grains]
    kept = (np.abs(positions) <= half_nm).all(axis=1) & (which(positions, outlines) < 0)
    rock = [_rock_salt(grain, half_nm) for grain in grains]
    nio = np.vstack([*(yx for yx, _ in rock), np.empty((0, 2))])
    step = np.concatenate([*(height for _, height in rock), np.empty(0)])
    clear = _clear(nio, angle, origin, outlines)
    nio, step = nio[clear], step[clear]
    carbon = amorphous.contamination(patches, half_nm, THICKNESS_NM + 0.4)
    return {
        "positions_yx_nm": np.vstack([positions[kept], nio, carbon[:, :2]]),
        "height_nm": np.concatenate([np.zeros(kept.sum()), step, carbon[:, 2]]),
        "kind": np.concatenate(
            [kind[kept], np.full(len(nio), NIO_KIND), np.full(len(carbon), CARBON_KIND)]
        ),
        "share": np.concatenate([share[kept], np.zeros(len(nio) + len(carbon))]),
    }


def _rock_salt(grain: Grain, half_nm: float) -> tuple[Floats, Floats]:
    """Columns of NiO in an outline: positions (n, 2) and heights (n,)."""
    middle = grain.outline_yx_nm.mean(axis=0)
    reach = np.abs(grain.outline_yx_nm - middle).max()
    yx, index = lattice(grain.vectors_yx_nm, grain.origin_yx_nm - middle, reach)
    yx = yx + middle
    kept = inside(yx, grain.outline_yx_nm) & (np.abs(yx) <= half_nm).all(axis=1)
    return yx[kept], index[kept].sum(axis=1) % 2 * (NIO_NM / 2)


def _clear(nio: Floats, angle: float, origin: Floats, outlines: list[Floats]) -> NDArray[np.bool_]:
    """Which columns of NiO (n,) are far enough from those of the perovskite.

    These stand on a square lattice of half a cell: four of them are around a point.
    """
    turn = rotation(angle)
    cell = np.floor((nio - origin) @ turn.T / (LSMO_NM / 2))
    clear = np.ones(len(nio), dtype=bool)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        site = (cell + corner) * (LSMO_NM / 2) @ turn + origin
        close = ((site - nio) ** 2).sum(axis=1) < CLOSEST_NM**2
        clear[close] &= which(site[close], outlines) >= 0
    return clear


def _phase(grains: list[Grain], field_nm: float) -> Map:
    count = max(1, round(field_nm / LSMO_NM))
    axis = (np.arange(count) - (count - 1) / 2) * LSMO_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    values = (which(points, [g.outline_yx_nm for g in grains]) >= 0).astype(np.float64)
    return Map(values.reshape(count, count), LSMO_NM)
