"""Targets on which navigators are held against each other: 64 x 64 candidates, the truth known.

| target      | what                                                                            |
|-------------|---------------------------------------------------------------------------------|
| `bumps`     | 20 smooth Gaussian bumps, sigma 2.6 steps, each found at half its peak          |
| `needle`    | one narrow bump, sigma 1.3 steps                                                |
| `clustered` | 60 narrow bumps in 4 clusters                                                   |
| `curve`     | a line across the field, sigma 1 step, cut into segments 4 steps long           |
| `discs`     | 20 discs of the radius at which a bump is at half its peak, 1 inside, 0 outside |
| `flat`      | nothing: there is only noise                                                    |
| others      | how much of a linear component the frames of a recorded image hold, from 0 to 1 |

A step is the distance between neighbouring candidates, half a frame.  None exceeds 1, and all
have noise of 0.05.  A seed draws where everything lies, and the noise.

The others are `nio`, `bfo`, `graphene` and `mos2`, from the folder that ``STEMSCOUT_IMAGES`` names.
Features are connected regions above Otsu's threshold, cut into cells of 8 x 8 steps as extended
features are elsewhere, without pieces of fewer than 4 candidates.  A seed draws the noise, and
which way the image is turned and mirrored.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Context
from ..agents.outliers import otsu
from ..agents.perception.linear import LinearPerception
from ..envs.actions import PositionAction
from ..envs.reference import ReferenceFrame
from ..hardware.microscope import Limits

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
SIDE = 64  # candidates along y and x
REFERENCE = ReferenceFrame((1.5, 1.5), (32, 32), 10.0)
FIELD = (48.75, 48.75)  # nm: 32.5 frames, which makes 64 candidates half a frame apart
NOISE = 0.05  # of the peak
SIGMA, NARROW, THIN = 2.6, 1.3, 1.0  # steps
HALF = float(np.sqrt(2 * np.log(2)))  # sigmas from the peak to half of it
BUMPS, APART = 20, 7.0  # how many, and steps between them at least
CLUSTERS, MEMBERS, SPREAD, CLOSE = 4, 15, 3.0, 2.5
SEGMENT, CELL, TINY = 4.0, 8, 4  # steps, steps, candidates
TRIES = 10_000
FOLDER = "STEMSCOUT_IMAGES"
FRAMES_ACROSS = 16  # reference frames along the shorter side of a recorded image
# The image of each target, and the component that shows what there is to be found.
IMAGES = {
    "nio": ("NiO_LSMO_435px.png", 0),  # pillars
    "bfo": ("BFO_435px.png", 2),  # the domain wall
    "graphene": ("Si-Graphene_435px.png", 0),  # contamination
    "mos2": ("MoS2_stem_Exp-001-5.npy", 0),  # contamination
}


@dataclass(frozen=True, eq=False)
class Target:
    """What navigators look for.

    Attributes:
        name, seed: from which it was made.
        values: (64, 64) without noise, in the order of the candidates.
        sigma: of the noise of an observation.
        features: each as the candidates that show it, by their raster index; one is found
            once any of its candidates was measured.
    """

    name: str
    seed: int
    values: Floats
    sigma: float = NOISE
    features: tuple[Indices, ...] = field(default=())

    @property
    def observed(self) -> Floats:
        """What is read (64, 64) at each candidate: the same however often, and in any order."""
        return self.values + self.sigma * _rng(self.name, self.seed, 1).normal(
            size=self.values.shape
        )

    @property
    def digest(self) -> str:
        """A hash of what there is, the noise left out."""
        content = hashlib.sha256(np.round(self.values, 4).tobytes())
        for feature in self.features:
            content.update(np.asarray(feature, dtype=np.int64).tobytes() + b"|")
        return content.hexdigest()[:16]


def context_for(observations: int) -> Context:
    """What navigators are told before they begin: a field of 64 x 64 candidates."""
    _, (rows, columns) = REFERENCE.lattice(FIELD)
    return Context(
        field_yx_nm=FIELD,
        reference=REFERENCE,
        limits=Limits(FIELD, (0.1, 50), (0.001, 50), (1, 500), (1, 100), REFERENCE.detectors),
        actions=PositionAction(FIELD, REFERENCE),
        full_scale={REFERENCE.detectors[0]: (0.0, 1.0)},
        budget=observations / (rows * columns),
        frames=observations,
    )


def make_target(name: str, seed: int) -> Target:
    """A target, the same one for the same name and seed.

    Raises:
        ValueError: an unknown name, or the image of one is not there.
    """
    if name in IMAGES:
        return _recorded(name, seed)
    if name not in ANALYTIC:
        raise ValueError(f"unknown target {name!r}; there are: {', '.join(TARGETS)}")
    return ANALYTIC[name](name, seed)


def missing(name: str) -> str | None:
    """Why a target cannot be made here, in a sentence; None where it can."""
    return no_image(IMAGES[name][0]) if name in IMAGES else None


def no_image(file: str) -> str | None:
    """Why a recorded image cannot be read here, in a sentence; None where it can."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return f"{FOLDER} names no folder of recorded images"
    path = Path(folder) / file
    return None if path.is_file() else f"{FOLDER} names a folder without {path.name}"


def _rng(name: str, seed: int, part: int) -> np.random.Generator:
    """Of a target's content (0) or of its noise (1)."""
    key = (zlib.crc32(name.encode()), part)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _distance(centre: Floats) -> Floats:
    """Steps (64, 64) of every candidate from a point."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.asarray(np.hypot(y - centre[0], x - centre[1]))


def _within(centres: Floats, radius: float) -> tuple[Indices, ...]:
    return tuple(np.flatnonzero(_distance(c) <= radius) for c in centres)


def _apart(draw: Callable[[], Floats], count: int, apart: float, margin: float) -> Floats:
    """Points (count, 2) from ``draw``, so far apart, and from the border."""
    points: list[Floats] = []
    for _ in range(TRIES):
        point = draw()
        inside = (point >= margin).all() and (point <= SIDE - 1 - margin).all()
        if inside and all(np.hypot(*(point - p)) >= apart for p in points):
            points.append(point)
        if len(points) == count:
            return np.array(points)
    raise RuntimeError(f"{count} points {apart:g} steps apart do not fit in")


def _scattered(name: str, seed: int, count: int, sigma: float) -> Floats:
    """Centres (count, 2) over the whole field."""
    rng = _rng(name, seed, 0)
    return _apart(lambda: rng.uniform(0, SIDE - 1, 2), count, APART, HALF * sigma)


def _smooth(centres: Floats, sigma: float) -> Floats:
    """Gaussian bumps, added up and scaled so that the highest is 1."""
    total = sum(np.exp(-0.5 * (_distance(c) / sigma) ** 2) for c in centres)
    return np.asarray(total / np.max(total))


def _bumps(name: str, seed: int) -> Target:
    centres = _scattered(name, seed, BUMPS, SIGMA)
    features = _within(centres, HALF * SIGMA)
    return Target(name, seed, _smooth(centres, SIGMA), features=features)


def _needle(name: str, seed: int) -> Target:
    centres = _scattered(name, seed, 1, NARROW)
    features = _within(centres, HALF * NARROW)
    return Target(name, seed, _smooth(centres, NARROW), features=features)


def _clustered(name: str, seed: int) -> Target:
    rng = _rng(name, seed, 0)
    middles = _apart(lambda: rng.uniform(0, SIDE - 1, 2), CLUSTERS, 4 * SPREAD, 2 * SPREAD)

    def around(middle: Floats) -> Floats:
        return rng.normal(middle, SPREAD)

    clusters = [_apart(partial(around, m), MEMBERS, CLOSE, HALF * NARROW) for m in middles]
    centres = np.vstack(clusters)
    # Neighbours overlap: the higher counts, so that a point in a crowd is no higher than one alone.
    values = np.max([np.exp(-0.5 * (_distance(c) / NARROW) ** 2) for c in centres], axis=0)
    return Target(name, seed, values, features=_within(centres, HALF * NARROW))


def _curve(name: str, seed: int) -> Target:
    rng = _rng(name, seed, 0)
    along = np.linspace(0, SIDE - 1, 40 * SIDE)
    amplitudes, phases = rng.uniform(3, 9, 2), rng.uniform(0, 2 * np.pi, 2)
    turns = rng.uniform(0.4, 0.8), rng.uniform(0.9, 1.6)
    across = SIDE / 2 + sum(
        a * np.sin(2 * np.pi * t * along / SIDE + p)
        for a, t, p in zip(amplitudes, turns, phases, strict=True)
    )
    line = np.column_stack([along, across] if rng.random() < 0.5 else [across, along])
    gone = np.concatenate([[0.0], np.hypot(*np.diff(line, axis=0).T).cumsum()])
    count = int(gone[-1] // SEGMENT)  # the rest of the line belongs to the last one
    segment = np.minimum((gone // SEGMENT).astype(int), count - 1)
    steps = np.indices((SIDE, SIDE)).reshape(2, -1).T.astype(np.float64)
    away, nearest = _nearest(steps, line)
    close = away <= HALF * THIN
    features = tuple(np.flatnonzero(close & (segment[nearest] == k)) for k in range(count))
    values = np.exp(-0.5 * (away / THIN) ** 2).reshape(SIDE, SIDE)
    return Target(name, seed, values, features=features)


def _nearest(points: Floats, line: Floats) -> tuple[Floats, Indices]:
    from scipy.spatial import cKDTree

    away, nearest = cKDTree(line).query(points)
    return np.asarray(away), np.asarray(nearest)


def _discs(name: str, seed: int) -> Target:
    features = _within(_scattered(name, seed, BUMPS, SIGMA), HALF * SIGMA)
    values = np.zeros(SIDE * SIDE)
    values[np.concatenate(features)] = 1.0
    return Target(name, seed, values.reshape(SIDE, SIDE), features=features)


def _flat(name: str, seed: int) -> Target:
    return Target(name, seed, np.zeros((SIDE, SIDE)))


def _recorded(name: str, seed: int) -> Target:
    why = missing(name)
    if why is not None:
        raise ValueError(f"target {name} is not at hand: {why}")
    file, component = IMAGES[name]
    values = _component(Path(os.environ[FOLDER]) / file, component)
    way = int(_rng(name, seed, 0).integers(8))
    turned = np.rot90(values if way < 4 else values.T, way % 4).copy()
    return Target(name, seed, turned, features=regions(turned))


@lru_cache(maxsize=len(IMAGES))
def _component(path: Path, component: int) -> Floats:
    """How much (64, 64) of a linear component the frames of an image hold, from 0 to 1."""
    image = _image(path)
    side = min(image.shape) // FRAMES_ACROSS
    share = np.linspace(0, 1, SIDE)
    rows, columns = (np.round(share * (n - side)).astype(int) for n in image.shape)
    every = np.lib.stride_tricks.sliding_window_view(image, (side, side))
    frames = every[rows][:, columns].reshape(-1, side, side)
    perception = LinearPerception(window=1.0)
    perception.reset(context_for(1), seed=0)
    spectra = [perception.described(f) for f in frames]
    perception.fit(spectra, np.full(len(frames), 1 / len(frames)))
    values = np.concatenate(perception.describe(spectra))[:, component].reshape(SIDE, SIDE)
    return np.asarray((values - values.min()) / np.ptp(values))


def _image(path: Path) -> Floats:
    """Grey values from 0 to 1."""
    from PIL import Image

    if path.suffix == ".npy":
        image = np.load(path, allow_pickle=False).astype(np.float64)
    else:
        image = np.asarray(Image.open(path).convert("L"), dtype=np.float64)
    return np.asarray((image - image.min()) / np.ptp(image))


def regions(values: Floats) -> tuple[Indices, ...]:
    """Connected regions above Otsu's threshold, cut into cells; tiny pieces are no feature."""
    from scipy.ndimage import label

    threshold = otsu(values.ravel())
    if threshold is None:
        return ()
    labels, _ = label(values > threshold)
    rows, columns = np.indices(values.shape) // CELL
    cells = rows * SIDE + columns
    pieces = np.where(labels > 0, labels * SIDE * SIDE + cells, -1).ravel()
    found = (np.flatnonzero(pieces == piece) for piece in np.unique(pieces[pieces >= 0]))
    return tuple(of for of in found if len(of) >= TINY)


ANALYTIC: Mapping[str, Callable[[str, int], Target]] = {
    "bumps": _bumps,
    "needle": _needle,
    "clustered": _clustered,
    "curve": _curve,
    "discs": _discs,
    "flat": _flat,
}
TARGETS = (*ANALYTIC, *IMAGES)
