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
facets, with a plane of Mn of the perovskite before every {100}.  In the plane the
rock salt is strained, pillars by up to 3 % and inclusions by 5 %, as little as it
takes to fit whole planes between those of the perovskite, which make way for
inclusions by up to 0.007 nm.  A slight twist remains.  {110} facets stand where the
first plane of NiO is no farther than 0.21 nm from the last of O.  Along the beam the
phases share one period where they meet.  Across the border bonds of Mn-O and Ni-O
are within 5 % of 0.2015 nm, their mean, or longer, and no two ions of like charge
come nearer than 0.24 nm; ``rock_salt.py`` says how.

| class     | shape         | context radius | tolerance | coarsest pixel |
|-----------|---------------|----------------|-----------|----------------|
| pillar    | cells of 1 nm | 0.50 nm        | 0.50 nm   | 0.06 nm        |
| inclusion | point, < 1 nm | 0.60 nm        | 0.30 nm   | 0.06 nm        |

The dose that a feature needs is that of a clean film; under contamination it counts with
the same.  Inclusions lie mostly near pillars; they are 1.0 nm wide at easy, 0.6 at hard, where
they stand out less, and either at medium.  Difficulty sets the number of pillars and
inclusions and their size, the contamination (amorphous carbon, not scored) and the dwell of
the reference frame.  Maps: ``phase`` (1 in NiO), ``contamination`` (nm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from ..optics import Detector, Optics
from . import amorphous
from .lattice import lattice, rotation, site_uniform
from .outlines import clearance, cut_area, which, within
from .rock_salt import (
    LSMO_NM,
    NIO_NM,
    TWIST_RAD,
    Grain,
    along_the_beam,
    apart,
    columns_of,
    facets,
    grain_between,
    making_way,
)
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
FIELD_NM, LEAST_FIELD_NM = 28.8, 7.0
FRAME_NM, FRAME_PX = 1.8, 64
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.03125
THICKNESS_NM = 4.0
SLICE_NM = LSMO_NM / 4  # with two to a cell, some hold two of the planes of NiO, some none
TILE_NODES = 5
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
PILLAR_NM = (2.4, 6.4)  # between opposite {100} facets
GAP_NM = 1.6  # between pillars, and from a pillar to an inclusion's middle
BETWEEN_NM = 2.4  # the middles of inclusions
NEAR_PILLARS, NEAR_NM = 0.6, 3.5  # the share of inclusions that lie so near to a pillar


@dataclass(frozen=True)
class Level:
    """What a difficulty means here, for the default field, and the dwell time."""

    pillars: int
    inclusions: int
    cells: tuple[float, ...]  # between opposite facets of an inclusion: smaller stands out less
    patches: int
    dwell_us: float


LEVELS = {
    "easy": Level(9, 16, (2.5,), 0, 8.0),
    "medium": Level(6, 10, (1.5, 2.5), 1, 4.0),
    "hard": Level(4, 6, (1.5,), 3, 2.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility nio_lsmo`.
NEED_E_PER_A2 = {
    "pillar": {"easy": 53.8, "medium": 53.8, "hard": 53.8},
    "inclusion": {"easy": 31.0, "medium": 62.6, "hard": 81.7},
}


def classes_at(difficulty: str) -> tuple[FeatureClass, ...]:
    """The classes, with the doses they need where inclusions are as large as that."""
    need = {name: doses[difficulty] for name, doses in NEED_E_PER_A2.items()}
    return (
        FeatureClass("pillar", 0.5, 0.5, 0.06, need["pillar"], "cell", 1.0),
        FeatureClass("inclusion", 0.6, 0.3, 0.06, need["inclusion"]),
    )


CLASSES = classes_at("medium")
PILLAR, INCLUSION = range(2)


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
    inclusions = [_inclusion(yx, level.cells, angle, origin, rng) for yx in middles]
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
        classes=classes_at(difficulty),
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


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "medium"
) -> tuple[Specimen, Specimen, Floats]:
    """Two films of 4 nm, with and without NiO: all of it, or one inclusion at ``yx_nm``."""
    angle, origin = rng.uniform(0, np.pi / 2), rng.uniform(0, LSMO_NM, 2)
    key, yx = int(rng.integers(2**63)), rng.uniform(-0.2, 0.2, 2)
    if feature_class == PILLAR:
        size, chamfer = np.full(2, 8.0), np.zeros(4)
        grain = grain_between(
            *facets(yx, size, angle, origin), chamfer, angle, origin, TWIST_RAD * rng.normal()
        )
    else:
        grain = _inclusion(yx, LEVELS[difficulty].cells, angle, origin, rng)
        yx = grain.outline_yx_nm.mean(axis=0)
    with_it, without = (
        Specimen(
            name=NAME,
            seed=(0,),
            difficulty=difficulty,
            field_yx_nm=(4.0, 4.0),
            **_columns(grains, angle, origin, key, 3.0, ()),
            kinds=KINDS,
            classes=classes_at(difficulty),
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
        grain = grain_between(
            *facets(yx, size, angle, origin), chamfer, angle, origin, TWIST_RAD * rng.normal()
        )
        outline = grain.outline_yx_nm
        others = [g.outline_yx_nm for g in found]
        if not found or (
            clearance(outline, others).min() > GAP_NM
            and all(clearance(o, [outline]).min() > GAP_NM for o in others)
        ):
            found.append(grain)
    return found


def _inclusion(
    yx: Floats, cells: tuple[float, ...], angle: float, origin: Floats, rng: np.random.Generator
) -> Grain:
    """An inclusion as near to a point as the planes of the perovskite allow."""
    size = rng.choice(cells, 2)
    middle = (yx - origin) @ rotation(angle).T / LSMO_NM
    low = np.rint(middle - size / 2 - 0.75) + 0.75
    return grain_between(low, low + size, np.zeros(4), angle, origin)


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
        narrower = 1.2 * max(0.0, attempt / (500 * count) - 0.5)
        if rng.random() < NEAR_PILLARS:
            outline = outlines[rng.integers(len(outlines))]
            corner = outline[rng.integers(len(outline))]
            yx = corner + rng.uniform(-NEAR_NM, NEAR_NM, 2)
        else:
            yx = rng.uniform(-reach, reach, 2)
        if (
            np.abs(yx).max() <= reach
            and (not len(found) or np.hypot(*(found - yx).T).min() > BETWEEN_NM - narrower)
            and clearance(yx[None], outlines)[0] > GAP_NM - narrower
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
    positions, kind, share = positions[kept], np.repeat(BASIS_KIND, len(cells))[kept], share[kept]
    nio = np.vstack([*(columns_of(grain, half_nm) for grain in grains), np.empty((0, 2))])
    nio = nio[apart(nio, angle, origin, grains)]
    positions = making_way(positions, grains, angle)
    of_nio = np.arange(len(positions) + len(nio)) >= len(positions)
    positions = np.vstack([positions, nio])
    stretch, base = along_the_beam(positions, of_nio, outlines, angle, origin)
    carbon = amorphous.contamination(patches, half_nm, THICKNESS_NM + 0.6)
    alone = np.zeros(len(nio) + len(carbon))
    return {
        "positions_yx_nm": np.vstack([positions, carbon[:, :2]]),
        "height_nm": np.concatenate([base, carbon[:, 2]]),
        "kind": np.concatenate(
            [kind, np.full(len(nio), NIO_KIND), np.full(len(carbon), CARBON_KIND)]
        ),
        "share": np.concatenate([share, alone]),
        "stretch": np.concatenate([stretch, np.ones(len(carbon))]),
    }


def _phase(grains: list[Grain], field_nm: float) -> Map:
    count = max(1, round(field_nm / LSMO_NM))
    axis = (np.arange(count) - (count - 1) / 2) * LSMO_NM
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    values = (which(points, [g.outline_yx_nm for g in grains]) >= 0).astype(np.float64)
    return Map(values.reshape(count, count), LSMO_NM)
