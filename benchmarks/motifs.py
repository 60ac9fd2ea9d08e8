"""Patches around columns and defects of MoS2, of which kind and angle are known.

A patch shows one motif in its middle, scanned at an angle of its own at the reference frame's
pixels and dwell.  The disc that it fills holds the motif and its two nearest shells, so every
kind has the lattice's threefold axis.  The same seed gives the same patches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..agents.perception.dcnn.legend import LEGENDS, columns_of
from ..hardware.coordinates import scan_from_specimen
from ..hardware.microscope import ScanRequest, State
from ..simulators.scan import sample
from ..simulators.specimens import specimen_module
from ..simulators.specimens.specimen import Floats, Map, Specimen
from ..simulators.world import Recipe, World, open_world, specimen_seed

SPECIMEN, DIFFICULTY, DETECTOR = "mos2", "medium", "haadf"
COLUMNS = ("Mo", "S2")
KINDS = (*COLUMNS, "vs2", "vmo", "w_mo")
SYMMETRY = 3
SIDE = 32  # px
PER_SPECIMEN = 250  # patches; there are 3 defects of a kind in each
LEAST_NM = 0.75  # from a plain column to the next feature
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Motifs:
    """Patches (n, 32, 32) in electrons, kinds taking turns.

    Attributes:
        measured: as they were counted.
        expected: the same without noise.
        kind: (n,) index into ``KINDS``.
        angle_rad: (n,) by which the scan was rotated.
    """

    measured: F32
    expected: F32
    kind: NDArray[np.int64]
    angle_rad: Floats


def motifs(count: int, seed: int = 0, split: str = "train") -> Motifs:
    """So many patches at random angles, from specimens of a split.

    Raises:
        ValueError: fewer patches than kinds.
    """
    if count < len(KINDS):
        raise ValueError(f"{count} patches; there must be at least {len(KINDS)}, one of each kind")
    rng = np.random.default_rng([seed, *split.encode()])
    kinds = np.arange(count) % len(KINDS)
    angles = rng.uniform(0.0, 2 * np.pi, count)
    expected = np.empty((count, SIDE, SIDE))
    for first in range(0, count, PER_SPECIMEN):
        world, places = _specimen(seed, split, first // PER_SPECIMEN)
        for k in range(first, min(first + PER_SPECIMEN, count)):
            there = places[kinds[k]]
            yx = there[rng.integers(len(there))]
            expected[k] = _electrons(world, yx, angles[k])
    measured = rng.poisson(expected)
    return Motifs(measured.astype(np.float32), expected.astype(np.float32), kinds, angles)


def turned(count: int, angles_rad: Floats, seed: int = 0, split: str = "validation") -> F32:
    """So many motifs, each at every angle, without noise: (count, angles, 32, 32) electrons."""
    out = np.empty((count, len(angles_rad), SIDE, SIDE), dtype=np.float32)
    rng = np.random.default_rng([seed, *split.encode(), 1])
    for first in range(0, count, PER_SPECIMEN):
        world, places = _specimen(seed, split, first // PER_SPECIMEN)
        for k in range(first, min(first + PER_SPECIMEN, count)):
            there = places[k % len(KINDS)]
            yx = there[rng.integers(len(there))]
            out[k] = [_electrons(world, yx, a) for a in angles_rad]
    return out


def _specimen(seed: int, split: str, number: int) -> tuple[World, list[Floats]]:
    """A specimen, and the places (k, 2) of each kind in it."""
    field = specimen_module(SPECIMEN).FIELD_NM
    entropy, key = specimen_seed(seed, split, number)
    world = open_world(Recipe(SPECIMEN, DIFFICULTY, entropy, key, field, detectors=(DETECTOR,)))
    return world, _places(world.specimen)


def _places(specimen: Specimen) -> list[Floats]:
    """Where (k, 2) there is a motif of each kind whose patch lies in the field.

    Columns are those of clean 2H, far from any feature.
    """
    legend = LEGENDS[SPECIMEN]
    yx, channel = columns_of(specimen, legend)
    away = np.hypot(*(yx[:, None] - specimen.feature_yx_nm).transpose(2, 0, 1)).min(axis=1)
    plain = away > LEAST_NM
    for name in ("phase", "contamination"):
        plain &= _values(specimen.maps[name], yx) == 0.0
    found = [yx[plain & (channel == legend.kinds.index(k))] for k in COLUMNS]
    names = specimen.class_names
    of_class = specimen.feature_class
    found += [specimen.feature_yx_nm[of_class == names.index(k)] for k in KINDS[len(COLUMNS) :]]
    half = specimen.field_yx_nm[0] / 2 - SIDE * _pixel_nm()
    return [f[np.abs(f).max(axis=1) < half] for f in found]


def _values(of: Map, yx_nm: Floats) -> Floats:
    """Of the squares of a map in which places (n, 2) lie; of the nearest beyond its border."""
    last = np.asarray(of.values.shape) - 1
    at = np.clip(np.round(yx_nm / of.pitch_nm + last / 2).astype(np.int64), 0, last)
    return np.asarray(of.values[at[:, 0], at[:, 1]])


def _electrons(world: World, yx_nm: Floats, angle_rad: float) -> Floats:
    """Expected counts (32, 32) about a place, scanned at an angle."""
    y, x = scan_from_specimen(yx_nm, State(), angle_rad).tolist()
    side = SIDE * _pixel_nm()
    dwell = specimen_module(SPECIMEN).LEVELS[DIFFICULTY].dwell_us
    out = np.empty((SIDE, SIDE))
    request = ScanRequest((y, x), (side, side), (SIDE, SIDE), dwell, float(angle_rad))
    sample(world.coefficients[DETECTOR], world.grid, request, (0.0, 0.0), out)
    return np.asarray(np.maximum(out, 0.0) * world.optics.electrons_per_us * dwell)


def _pixel_nm() -> float:
    module = specimen_module(SPECIMEN)
    return float(module.FRAME_NM / module.FRAME_PX)
