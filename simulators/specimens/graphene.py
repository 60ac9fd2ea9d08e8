"""Graphene with substituted silicon and single vacancies.

A single sheet at a random in-plane orientation.  Some defects lie alone, most
lie in groups, as they do where a beam or a plasma has passed, so that where
one is found, others are likely.

Structure: lattice constant 0.246 nm (C-C 0.142 nm; Castro Neto et al., Rev.
Mod. Phys. 81 (2009) 109).  A three-fold silicon replaces one carbon and stands
out of the plane until its Si-C bonds are about 0.175 nm (Zhou et al., Phys.
Rev. Lett. 109 (2012) 206803, show the buckled three-fold site).  A vacancy is
one missing carbon; its neighbours are left where they were.

| class    | context radius | tolerance | coarsest pixel |
|----------|----------------|-----------|----------------|
| silicon  | 0.20 nm        | 0.10 nm   | 0.05 nm        |
| vacancy  | 0.25 nm        | 0.10 nm   | 0.05 nm        |

Difficulty sets the density of defects and the dwell of the reference frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..optics import Detector, Optics
from .specimen import DIFFICULTIES, FeatureClass, Floats, Specimen

NAME = "graphene"
LATTICE_NM = 0.246
SILICON_HEIGHT_NM = 0.102  # sqrt(0.175² - 0.142²): Si-C 0.175 nm over a flat C-C of 0.142 nm
MARGIN_NM = 1.0  # atoms beyond the field, so that probe tails at the border find a lattice
SEPARATION_NM = 0.6  # between defects: their context discs never overlap
CLUSTERED = 0.7  # the share of defects that lie in groups
CLUSTER_SIGMA_NM = 1.2

FIELD_NM = 24.0
FRAME_NM = 1.5
FRAME_PX = 64
MONOLAYER = True
# In-plane r.m.s. thermal displacement at 300 K: a Debye temperature of 1500 K
# gives 0.005 nm for carbon; silicon is bound more softly.
THERMAL_SIGMA_NM = {"C": 0.005, "Si": 0.007}

OPTICS = Optics(
    energy_kev=60.0,
    semiangle_mrad=30.0,
    beam_current_pa=80.0,
    source_fwhm_nm=0.08,
    detectors=(Detector("haadf", 80.0, 180.0), Detector("maadf", 50.0, 80.0)),
)

# Fractions of the beam that an operator would set white to: a little above one silicon atom.
FULL_SCALE = {"haadf": 2.0e-3, "maadf": 3.2e-3}


@dataclass(frozen=True)
class Level:
    """What a difficulty means here: defects per nm² and the dwell time."""

    silicon_per_nm2: float
    vacancies_per_nm2: float
    dwell_us: float


LEVELS = {
    "easy": Level(0.040, 0.040, 40.0),
    "medium": Level(0.020, 0.020, 24.0),
    "hard": Level(0.010, 0.010, 12.0),
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility graphene`.  The optics and the image of a
# defect are the same at every difficulty, and so is the need.
NEED_E_PER_A2 = {"silicon": 4_000.0, "vacancy": 61_000.0}

CLASSES = (
    FeatureClass("silicon", 0.20, 0.10, 0.05, NEED_E_PER_A2["silicon"]),
    FeatureClass("vacancy", 0.25, 0.10, 0.05, NEED_E_PER_A2["vacancy"]),
)


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "medium",
    field_nm: float = FIELD_NM,
) -> Specimen:
    """One sheet of graphene from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_nm: side of the square field in nm; at least 4, so that eight
            defects fit.

    Raises:
        ValueError: an unknown difficulty or a field that is too small.
    """
    if difficulty not in LEVELS:
        raise ValueError(f"unknown difficulty {difficulty!r}; there are: {', '.join(DIFFICULTIES)}")
    if not np.isfinite(field_nm) or field_nm < 4.0:
        raise ValueError(f"a field of {field_nm} nm; graphene needs at least 4 nm for its defects")
    level = LEVELS[difficulty]
    sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    rng = np.random.default_rng(sequence)

    sites = _honeycomb(field_nm / 2 + MARGIN_NM, angle=rng.uniform(0, np.pi / 3), rng=rng)
    area = field_nm * field_nm
    counts = [max(4, round(d * area)) for d in (level.silicon_per_nm2, level.vacancies_per_nm2)]
    inner = field_nm / 2 - max(c.context_radius_nm for c in CLASSES)
    chosen = _defect_sites(sites, sum(counts), inner, rng)
    labels = np.repeat(np.arange(2), counts)
    rng.shuffle(labels)

    silicon, vacancy = chosen[labels == 0], chosen[labels == 1]
    kind = np.zeros(len(sites), dtype=np.int64)
    kind[silicon] = 1
    height = np.zeros(len(sites))
    height[silicon] = SILICON_HEIGHT_NM
    present = np.ones(len(sites), dtype=bool)
    present[vacancy] = False
    return Specimen(
        name=NAME,
        seed=_seed_words(sequence),
        difficulty=difficulty,
        field_yx_nm=(field_nm, field_nm),
        positions_yx_nm=sites[present],
        height_nm=height[present],
        kind=kind[present],
        kinds=("C", "Si"),
        classes=CLASSES,
        feature_class=labels,
        feature_yx_nm=sites[chosen],
    )


def with_feature(specimen: Specimen, feature_class: int, yx_nm: Floats) -> Specimen:
    """The specimen with one more feature at the atom nearest to ``yx_nm``."""
    atom = int(((specimen.positions_yx_nm - yx_nm) ** 2).sum(axis=1).argmin())
    kind, height, positions = (
        specimen.kind.copy(),
        specimen.height_nm.copy(),
        specimen.positions_yx_nm,
    )
    where = positions[atom]
    if CLASSES[feature_class].name == "silicon":
        kind[atom], height[atom] = 1, SILICON_HEIGHT_NM
    else:
        kind, height = np.delete(kind, atom), np.delete(height, atom)
        positions = np.delete(positions, atom, axis=0)
    return replace(
        specimen,
        positions_yx_nm=positions.copy(),
        kind=kind,
        height_nm=height,
        feature_class=np.append(specimen.feature_class, feature_class),
        feature_yx_nm=np.vstack([specimen.feature_yx_nm, where]),
    )


def _seed_words(sequence: np.random.SeedSequence) -> tuple[int, ...]:
    entropy = sequence.entropy
    words = [entropy] if isinstance(entropy, int) else list(entropy or ())
    return (*words, *sequence.spawn_key)


def _honeycomb(half_nm: float, angle: float, rng: np.random.Generator) -> Floats:
    """Carbon sites (n, 2) within ±half_nm, rotated by ``angle`` and shifted at random."""
    a = LATTICE_NM
    basis = np.array([[0.0, a], [a * np.sqrt(3) / 2, a / 2]])  # rows: lattice vectors (y, x)
    motif = np.array([[0.0, 0.0], [a / np.sqrt(3), 0.0]])
    reach = int(np.ceil(half_nm * np.sqrt(2) / (a * np.sqrt(3) / 2))) + 2
    i, j = np.meshgrid(np.arange(-2 * reach, 2 * reach + 1), np.arange(-reach, reach + 1))
    cells = i.ravel()[:, None] * basis[0] + j.ravel()[:, None] * basis[1]
    shift = rng.uniform(0, 1, 2) @ basis
    sites = (cells[:, None, :] + motif[None]).reshape(-1, 2) + shift
    c, s = np.cos(angle), np.sin(angle)
    sites = sites @ np.array([[c, -s], [s, c]])
    return np.ascontiguousarray(sites[(np.abs(sites) <= half_nm).all(axis=1)])


def _defect_sites(
    sites: Floats, count: int, inner_nm: float, rng: np.random.Generator
) -> np.ndarray:
    """Indices of ``count`` sites, mostly in groups, none closer than SEPARATION_NM."""
    groups = rng.uniform(-inner_nm, inner_nm, size=(max(2, count // 6), 2))
    chosen: list[int] = []
    taken = np.empty((0, 2))
    for _ in range(400 * count):
        if len(chosen) == count:
            break
        if rng.random() < CLUSTERED:
            wish = rng.normal(groups[rng.integers(len(groups))], CLUSTER_SIGMA_NM)
        else:
            wish = rng.uniform(-inner_nm, inner_nm, 2)
        nearest = int(((sites - wish) ** 2).sum(axis=1).argmin())
        site = sites[nearest]
        if np.abs(site).max() > inner_nm:
            continue
        if len(taken) and ((taken - site) ** 2).sum(axis=1).min() < SEPARATION_NM**2:
            continue
        chosen.append(nearest)
        taken = np.vstack([taken, site])
    if len(chosen) < count:
        raise ValueError(
            f"{count} defects do not fit {SEPARATION_NM} nm apart into ±{inner_nm:.2f} nm; "
            "ask for a larger field"
        )
    return np.asarray(chosen)
