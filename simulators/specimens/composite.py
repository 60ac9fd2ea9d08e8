"""Several materials far apart on one support: sparse, at several scales; hard only.

A grid on which a suspension of flakes, particles and crushed lamellae has
dried: a patch of graphene, a flake of MoS2, a fragment of the NiO-LSMO film and
one of BiFeO3, and gold particles on a piece of carbon film, each in its own
place on a field of 96 nm with nothing between them.  What each holds is made by
its own generator at ``hard``, and its manual holds; names of classes carry the
material.  The optics are a compromise that none would choose alone: 80 kV, 25
mrad.  The beam enters every piece at height 0, where its focus is: the gold
lies on the far side of its film.

Features: defects and junctions are points; boundaries, walls and pillars are
extended.  The needs are those of this specimen's optics.  Maps: ``material``
(0 for none, then 1 to 5 in the order above), and those of each piece under its
material's name, as ``BiFeO3 polarisation``, 0 outside it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np

from ..optics import Detector, Optics
from . import amorphous, bifeo3, graphene, mos2, nanoparticles, nio_lsmo
from .specimen import (
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

NAME = "composite"
FIELD_NM, LEAST_FIELD_NM = 96.0, 96.0
FRAME_NM, FRAME_PX = 6.0, 192
SAMPLING_NM, EXACT_SAMPLING_NM = 0.04, 0.04
THICKNESS_NM = 4.0
SLICE_NM = 0.08  # no plane of any crystal far from the middle of one
TILE_NODES = 5
CONFIGURATIONS = 2

OPTICS = Optics(
    energy_kev=80.0,
    semiangle_mrad=25.0,
    beam_current_pa=60.0,
    source_fwhm_nm=0.09,
    detectors=(
        Detector("haadf", 70.0, 160.0),
        Detector("maadf", 40.0, 70.0),
        Detector("abf", 12.0, 25.0),
        Detector("bf", 0.0, 12.0),
    ),
)
# Fractions of the beam that an operator would set white to; the sheets are faint beside oxides.
FULL_SCALE = {"haadf": 0.06, "maadf": 0.08, "abf": 0.9, "bf": 0.9}


@dataclass(frozen=True)
class Part:
    """A material, and how large a piece of it there is."""

    prefix: str
    module: ModuleType
    side_nm: float


PARTS = (
    Part("graphene", graphene, 26.0),
    Part("MoS2", mos2, 24.0),
    Part("LSMO", nio_lsmo, 22.0),
    Part("BiFeO3", bifeo3, 22.0),
    Part("gold", nanoparticles, 48.0),
)
HOLD_NM = 2.0  # from the field's border to a piece, and between pieces
FILM_NM = 2.0
MAP_PITCH_NM = 0.5


@dataclass(frozen=True)
class Level:
    """The dwell time of the reference frame."""

    dwell_us: float


LEVELS = {"hard": Level(20.0)}
THERMAL_SIGMA_NM: dict[str, float] = {}
for _part in PARTS:
    THERMAL_SIGMA_NM |= _part.module.THERMAL_SIGMA_NM


def _kinds() -> tuple[tuple[Kind, ...], list[list[int]]]:
    """All kinds once, and where those of each part are among them."""
    merged: list[Kind] = []
    places = []
    for part in PARTS:
        own = []
        for kind in part.module.KINDS:
            # Single atoms are the same everywhere; columns belong to their crystal.
            shared = kind.period_nm == 0
            named = kind if shared else replace(kind, name=f"{part.prefix} {kind.name}")
            if named not in merged:
                merged.append(named)
            own.append(merged.index(named))
        places.append(own)
    return tuple(merged), places


KINDS, KIND_PLACES = _kinds()
PAIRED, RAISED = mos2.PAIRED, mos2.RAISED

CALIBRATED = {
    f"{part.prefix} {name}": count
    for part in PARTS
    for name, count in getattr(part.module, "CALIBRATED", {}).items()
}

# Dose in e/Å² at which d' = 5 for HAADF; made by
# `python -m stemscout.simulators.visibility composite`.
NEED_E_PER_A2: dict[str, float] = {
    "graphene si3": 5940.0,
    "graphene si4": 5230.0,
    "graphene si cluster": 1980.0,
    "graphene single vacancy": 65200.0,
    "graphene divacancy 5-8-5": 32400.0,
    "graphene divacancy 555-777": 18600.0,
    "graphene stone-wales": 30300.0,
    "graphene hole": 6040.0,
    "graphene boundary": 10300.0,
    "MoS2 vs": 18300.0,
    "MoS2 vs2": 6540.0,
    "MoS2 vmo": 2130.0,
    "MoS2 w_mo": 2170.0,
    "MoS2 v_mo": 5780.0,
    "MoS2 se_s": 2980.0,
    "MoS2 mo_s": 1640.0,
    "MoS2 s_mo": 5750.0,
    "MoS2 boundary": 1680.0,
    "LSMO pillar": 6.31,
    "LSMO inclusion": 14.2,
    "BiFeO3 wall 90°": 210.0,
    "BiFeO3 wall 180°": 93.2,
    "gold junction": 0.236,
}


def _classes() -> tuple[FeatureClass, ...]:
    made = []
    for part in PARTS:
        for c in part.module.CLASSES:
            name = f"{part.prefix} {c.name}"
            need = NEED_E_PER_A2.get(name, c.need_e_per_a2)
            made.append(replace(c, name=name, need_e_per_a2=need))
    return tuple(made)


CLASSES = _classes()
FIRST_CLASS = np.cumsum([0, *(len(p.module.CLASSES) for p in PARTS)])


def generate(
    seed: np.random.SeedSequence | int = 0,
    difficulty: str = "hard",
    field_nm: float = FIELD_NM,
    margin_nm: float = 1.0,
) -> Specimen:
    """The mixture from a seed.

    Args:
        seed: a ``SeedSequence``, or an integer at least 0.
        difficulty: only ``hard``.
        field_nm: side of the square field in nm; at least 96.
        margin_nm: no effect: nothing lies beyond the field.

    Raises:
        ValueError: another difficulty, or a field that is too small.
    """
    check_request(NAME, difficulty, field_nm, LEAST_FIELD_NM)
    if difficulty != "hard":
        raise ValueError(f"{NAME} at {difficulty!r}; it is made only at: hard")
    sequence = seed_sequence(seed)
    # Children by key, so that the caller's sequence stays as it was.
    children = [
        np.random.SeedSequence(sequence.entropy, spawn_key=(*sequence.spawn_key, k))
        for k in range(len(PARTS) + 1)
    ]
    middles = _places(field_nm, np.random.default_rng(children[-1]))
    pieces = [
        part.module.generate(child, "hard", part.side_nm, 0.0)
        for part, child in zip(PARTS, children, strict=False)
    ]
    return _merged(sequence, field_nm, pieces, middles)


def pair(
    feature_class: int, rng: np.random.Generator, difficulty: str = "hard"
) -> tuple[Specimen, Specimen, Floats]:
    """The pair of the material that the class belongs to, as this specimen."""
    number = int(np.searchsorted(FIRST_CLASS, feature_class, side="right")) - 1
    own = feature_class - FIRST_CLASS[number]
    first, second, yx = PARTS[number].module.pair(own, rng, difficulty)
    first, second = (
        replace(_as_part(s, number), film_nm=FILM_NM if s.film_nm else 0.0) for s in (first, second)
    )
    return first, second, yx


def _as_part(specimen: Specimen, number: int) -> Specimen:
    """The same columns under this specimen's name and kinds; gold on the far side of its film."""
    gold = PARTS[number].module is nanoparticles
    return replace(
        specimen,
        name=NAME,
        height_nm=FILM_NM - specimen.height_nm if gold else specimen.height_nm,
        kind=np.array(KIND_PLACES[number])[specimen.kind],
        kinds=KINDS,
        classes=CLASSES,
        feature_class=specimen.feature_class + FIRST_CLASS[number],
        thickness_nm=THICKNESS_NM,
    )


def _places(field_nm: float, rng: np.random.Generator) -> list[Floats]:
    """Middles of the pieces: gold takes one corner's quarter, the others stand around it."""
    sides = [p.side_nm for p in PARTS]
    order = np.argsort(sides)[::-1]
    found: dict[int, Floats] = {}
    for _ in range(2000):
        found.clear()
        for k in order:
            half = field_nm / 2 - sides[k] / 2 - HOLD_NM
            for _ in range(40):
                yx = rng.uniform(-half, half, 2)
                apart = all(
                    np.abs(yx - other).max() >= (sides[k] + sides[n]) / 2 + HOLD_NM
                    for n, other in found.items()
                )
                if apart:
                    found[int(k)] = yx
                    break
            else:
                break
        if len(found) == len(PARTS):
            return [found[k] for k in range(len(PARTS))]
    raise ValueError(f"the pieces do not fit into a field of {field_nm} nm")


def _merged(
    sequence: np.random.SeedSequence,
    field_nm: float,
    pieces: list[Specimen],
    middles: list[Floats],
) -> Specimen:
    own = [_as_part(piece, k) for k, piece in enumerate(pieces)]
    # The gold's film is made of atoms here: it ends where the piece does, before the gold.
    side = PARTS[-1].side_nm
    film = amorphous.film((side, side), FILM_NM, amorphous.shift_yx_nm(seed_words(sequence)), 0.0)
    carbon = next(k for k, kind in enumerate(KINDS) if kind.name == "C")

    def joined(name: str, of_film: Floats) -> Floats:
        """What all pieces say of their columns; what one does not say is as it is for the film."""
        said = [getattr(s, name) for s in own]
        unsaid = [np.tile(of_film[:1], (len(s.kind), *[1] * (of_film.ndim - 1))) for s in own]
        return np.concatenate(
            [*(a if len(a) else b for a, b in zip(said, unsaid, strict=True)), of_film]
        )

    positions = [s.positions_yx_nm + m for s, m in zip(own, middles, strict=True)]
    none = np.zeros(len(film))
    outlines: list[Outline] = []
    outline_of = []
    for s, middle in zip(own, middles, strict=True):
        outline_of.append(np.where(s.feature_outline < 0, -1, s.feature_outline + len(outlines)))
        offset = FIRST_CLASS[own.index(s)]
        outlines += [
            replace(
                o, feature_class=int(o.feature_class + offset), path_yx_nm=o.path_yx_nm + middle
            )
            for o in s.outlines
        ]
    return Specimen(
        name=NAME,
        seed=seed_words(sequence),
        difficulty="hard",
        field_yx_nm=(field_nm, field_nm),
        positions_yx_nm=np.vstack([*positions, film[:, :2] + middles[-1]]),
        height_nm=joined("height_nm", film[:, 2]),
        kind=np.concatenate([*(s.kind for s in own), np.full(len(film), carbon)]),
        kinds=KINDS,
        classes=CLASSES,
        feature_class=np.concatenate([s.feature_class for s in own]),
        feature_yx_nm=np.vstack([s.feature_yx_nm + m for s, m in zip(own, middles, strict=True)]),
        thickness_nm=THICKNESS_NM,
        share=joined("share", none),
        stretch=joined("stretch", none + 1.0),
        sway_yxz_nm=joined("sway_yxz_nm", np.tile(none[:, None], 3)),
        displacement_yx_nm=joined("displacement_yx_nm", np.tile(none[:, None], 2)),
        feature_angle_rad=np.concatenate([s.feature_angle_rad for s in own]),
        feature_outline=np.concatenate(outline_of),
        outlines=tuple(outlines),
        maps=_maps(pieces, middles, field_nm),
    )


def _maps(pieces: list[Specimen], middles: list[Floats], field_nm: float) -> dict[str, Map]:
    """Which material is where, and the maps of every piece on the same squares."""
    count = round(field_nm / MAP_PITCH_NM)
    axis = (np.arange(count) - (count - 1) / 2) * MAP_PITCH_NM
    maps = {"material": Map(np.zeros((count, count)), MAP_PITCH_NM)}
    for k, (part, piece, middle) in enumerate(zip(PARTS, pieces, middles, strict=True), start=1):
        inside = [np.flatnonzero(np.abs(axis - m) <= part.side_nm / 2) for m in middle]
        here = np.ix_(*inside)
        maps["material"].values[here] = k
        for name, own in piece.maps.items():
            # The nearest square of the piece's own map.
            nearest = [
                np.rint((axis[i] - m) / own.pitch_nm + (n - 1) / 2).astype(int).clip(0, n - 1)
                for i, m, n in zip(inside, middle, own.values.shape, strict=False)
            ]
            values = np.zeros((count, count, *own.values.shape[2:]))
            values[here] = own.values[np.ix_(*nearest)]
            maps[f"{part.prefix} {name}"] = Map(values, MAP_PITCH_NM, own.unit)
    return maps
