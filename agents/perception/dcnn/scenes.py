"""Training frames without end: random specimens, seen as instruments see them.

A scene is a frame of a simulated specimen with its truth.  Everything is varied that a user's
instrument may have otherwise: difficulty, detector, pixel size, rotation, dose, defocus,
stretch (so that square lattices are none), jitter and lag of the scan lines, tails of the
probe, dark noise, background, gradients, bands, saturation, whatever a display has done to the
grey values, and how bright the rest of a larger image is.  Of all of this the network sees the
picture alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import pi

import numpy as np
from numpy.typing import NDArray

from ....hardware.costs import CostModel
from ....hardware.microscope import ScanRequest
from ....simulators.fast import load_kernels
from ....simulators.imperfections import Flyback, Imperfections, LineJitter, Scanner
from ....simulators.scan import sample
from ....simulators.specimens import specimen_module
from ....simulators.world import Recipe, World, render_fast
from .legend import F32, LEGENDS, Legend, Truth

SIDE = 64  # pixels of a scene
PER_WORLD = 96  # so many, for training: a specimen takes as long to make as ten scenes
AIMED = 0.6  # share of the scenes that show a feature
PLAIN = 0.5  # share that is scanned at the network's own pixel size
PIXELS = (0.5, 2.6)  # spread of the others, in the network's pixels
STRETCH = 0.06
DOSES = (0.25, 6.0)  # in reference frames
DEFOCUS_NM = 4.0
FLATTEST = 0.02  # of an image's deviation: what varies less in a part of it is noise
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """How far scenes differ from what the reference frame of a specimen shows.

    Attributes:
        pixels: of the scan, in the network's pixels, least and most.
        plain: share of the scenes at the network's own pixel size.
        doses: in those of a reference frame of its difficulty, least and most.
        defocus_nm: greatest.
        stretch: greatest share by which one axis is longer than the other.
        disturbed: share of the scenes with each of the other imperfections.
        haadf: share of the specimens that HAADF shows; the others are shown by MAADF.
        power: standard deviation of how the power of the atomic number differs by which a
            column's brightness goes, as with other angles, thicknesses and tilts.
    """

    pixels: tuple[float, float] = PIXELS
    plain: float = PLAIN
    doses: tuple[float, float] = DOSES
    defocus_nm: float = DEFOCUS_NM
    stretch: float = STRETCH
    disturbed: float = 0.3
    haadf: float = 0.85
    power: float = 0.2


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, and what is in it.

    Attributes:
        image: (SIDE, SIDE) at the network's pixel size, of mean 0 and variance 1 or about.
        truth: of its specimen.
        request: where it truly lies.
    """

    image: F32
    truth: Truth
    request: ScanRequest

    @property
    def painted(self) -> F32:
        """What a network should say of it, (channels, SIDE, SIDE)."""
        return self.truth.painted(self.request, (SIDE, SIDE))


@dataclass
class Scenes:
    """Scenes without end.

    Iterated over they are pairs: an image (SIDE, SIDE), and what should be said of it
    (channels, SIDE, SIDE).

    Args:
        specimen: a name of ``LEGENDS``.
        seed: of everything.
        split: which specimens; those of training by default.
        spread: how far scenes differ.
        first: the number of the first specimen.
        per_world: scenes of one specimen, before there is another.
    """

    specimen: str
    seed: int
    split: int = 0
    spread: Spread = field(default_factory=Spread)
    first: int = 0
    per_world: int = PER_WORLD

    def __post_init__(self) -> None:
        if self.specimen not in LEGENDS:
            known = ", ".join(LEGENDS)
            raise ValueError(f"no network is known for {self.specimen!r}; there are: {known}")
        self.legend: Legend = LEGENDS[self.specimen]
        self.module = specimen_module(self.specimen)

    def __iter__(self) -> Iterator[tuple[F32, F32]]:
        return ((s.image, s.painted) for s in self.scenes())

    def scenes(self) -> Iterator[Scene]:
        """The same with all that is known of them."""
        number = self.first
        while True:
            rng = np.random.default_rng([self.seed, self.split, number])
            world, truth = self._world(rng, number)
            for _ in range(self.per_world):
                yield self._scene(world, truth, rng)
            number += 1

    def _world(self, rng: np.random.Generator, number: int) -> tuple[World, Truth]:
        levels = tuple(self.module.LEVELS)
        haadf = rng.random() < self.spread.haadf
        defocus = rng.normal(0.0, self.spread.defocus_nm / 2)
        recipe = Recipe(
            self.specimen,
            levels[rng.integers(len(levels))],
            self.seed,
            (self.split, number, 0),
            self.module.FIELD_NM,
            detectors=("haadf" if haadf else "maadf",),
            defocus_nm=float(np.clip(defocus, -self.spread.defocus_nm, self.spread.defocus_nm)),
        )
        power = float(np.clip(rng.normal(0.0, self.spread.power), -0.5, 0.5))
        world = render_fast(recipe, strengths(self.specimen, power))
        return world, Truth.of(world.specimen)

    def _scene(self, world: World, truth: Truth, rng: np.random.Generator) -> Scene:
        request = self._request(world, rng)
        fraction = np.empty(request.shape_yx)
        (coefficients,) = world.coefficients.values()
        sample(coefficients, world.grid, request, (0.0, 0.0), fraction, self._offsets(request, rng))
        electrons = world.optics.electrons_per_us * request.dwell_us
        image = self._recorded(np.maximum(fraction, 0.0) * electrons, rng)
        seen = resampled(standard(image), (SIDE, SIDE))
        if rng.random() < self.spread.disturbed:  # a larger image has other means beside it
            seen = seen * np.float32(np.exp(rng.uniform(-0.7, 0.3)))
            seen += np.float32(rng.normal(0.0, 0.4))
        return Scene(seen, truth, request)

    def _request(self, world: World, rng: np.random.Generator) -> ScanRequest:
        spread = self.spread
        relative = 1.0
        if rng.random() >= spread.plain:
            relative = float(np.exp(rng.uniform(*np.log(spread.pixels))))
        # The picture covers what SIDE of the network's pixels do, but for the stretch.
        stretch = np.exp(rng.uniform(-0.5, 0.5) * 2 * spread.stretch * (relative != 1.0))
        side = SIDE * self.legend.pixel_nm
        fov = (side * stretch, side / stretch)
        shape = max(8, round(SIDE / relative))
        levels = self.module.LEVELS
        reference_us = levels[world.specimen.difficulty].dwell_us
        dose = float(np.exp(rng.uniform(*np.log(spread.doses))))
        angle = float(rng.uniform(-pi, pi))
        half = np.asarray(world.field_yx_nm) / 2 - 0.75 * side
        of_class = world.specimen.feature_class
        aim = rng.uniform(-half, half)
        if len(of_class) and rng.random() < AIMED:  # at each class as often as at any other
            wanted = rng.choice(np.unique(of_class))
            there = world.specimen.feature_yx_nm[of_class == wanted]
            aim = there[rng.integers(len(there))] + rng.uniform(-0.4, 0.4, 2) * side
        aim = np.clip(aim, -half, half)
        c, s = np.cos(angle), np.sin(angle)  # to scan coordinates, which turn with the scan
        centre = (float(c * aim[0] - s * aim[1]), float(s * aim[0] + c * aim[1]))
        dwell = reference_us * dose * relative**2
        return ScanRequest(centre, fov, (shape, shape), dwell, angle)

    def _offsets(self, request: ScanRequest, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Of the probe, by rows and columns, as a scanner has them."""
        some = rng.random(2) < self.spread.disturbed
        imperfections = Imperfections(
            jitter=LineJitter(float(rng.uniform(0.0, 0.02))) if some[0] else None,
            flyback=Flyback(float(rng.uniform(0.0, 0.08))) if some[1] else None,
        )
        off = Scanner(imperfections, rng).displacement(request, CostModel())
        return off.by_row_nm, off.by_column_nm

    def _recorded(self, electrons: Floats, rng: np.random.Generator) -> Floats:
        """Expected electrons as a picture of them."""
        from scipy.ndimage import gaussian_filter

        rows, columns = electrons.shape
        y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]

        def now() -> bool:
            return bool(rng.random() < self.spread.disturbed)

        mean = electrons.mean()
        if now():  # tails of the probe, and a source that is larger than thought
            share, width = rng.uniform(0.0, 0.4), rng.uniform(2.0, 8.0)
            electrons = (1 - share) * electrons + share * gaussian_filter(electrons, width)
            electrons = gaussian_filter(electrons, rng.uniform(0.0, 1.0))
        if now():  # something lies over or under the specimen
            thick = gaussian_filter(rng.normal(size=electrons.shape), rng.uniform(8.0, 24.0))
            thick = thick / (np.abs(thick).max() + 1e-12) + 1.0
            electrons = electrons + mean * rng.uniform(0.0, 0.5) * thick
        if now():
            slope = rng.normal(0.0, 0.3, 2)
            electrons = electrons * np.clip(1.0 + slope[0] * y + slope[1] * x, 0.2, None)
        if now():  # emission that flickers shows as bands
            electrons = electrons * np.clip(1.0 + rng.normal(0.0, 0.03, (rows, 1)), 0.5, None)
        image = rng.poisson(electrons).astype(np.float64)
        if now():
            image += rng.normal(0.0, rng.uniform(0.0, 0.5) * np.sqrt(mean + 1.0), image.shape)
        if now():  # a display's gamma, and clipped ends
            low, high = np.percentile(image, [0.0, 100.0])
            image = np.clip((image - low) / max(high - low, 1e-12), 0.0, 1.0)
            image = image ** np.exp(rng.uniform(-0.4, 0.4))
            image = np.clip(image, 0.0, rng.uniform(0.8, 1.0))
            if rng.random() < 0.5:
                image = np.round(255 * image) / 255
        return image


def strengths(specimen: str, power: float) -> dict[str, float]:
    """By species, (Z / Z of the heaviest) to a power, Z being that of its heaviest element."""
    from ase.data import atomic_numbers

    of = {}
    for name in load_kernels(specimen).species:
        own = name.rpartition(":")[2].partition(" on ")[0]  # what it stands behind is not its own
        of[name] = max(atomic_numbers[symbol] for symbol in re.findall("[A-Z][a-z]?", own))
    heaviest = max(of.values())
    return {name: (z / heaviest) ** power for name, z in of.items()}


def standard(image: NDArray[np.floating], tile_yx: tuple[float, float] = (np.inf, np.inf)) -> F32:
    """An image of mean 0 and variance 1; zeros where it is constant.

    One that is larger than a tile, in pixels, is so in every part that is about as large:
    something bright in a corner of a large image does not change what the rest looks like.
    From the middle of one part to that of the next, mean and deviation change linearly.
    """
    values = np.asarray(image, dtype=np.float64)
    spread = float(values.std())
    middle = float(values.mean())
    if spread <= 1e-9 * max(1.0, abs(middle)):
        return np.zeros(values.shape, dtype=np.float32)
    relative = (values - middle) / spread
    parts = [max(1, round(n / t)) for n, t in zip(values.shape, tile_yx, strict=True)]
    if max(parts) > 1:
        means, squares = (_by_part(v, parts) for v in (relative, relative**2))
        deviations = np.sqrt(np.maximum(squares - means**2, FLATTEST**2))
        relative = (relative - _between(means, values.shape)) / _between(deviations, values.shape)
    return np.asarray(relative, dtype=np.float32)


def _by_part(values: Floats, parts: list[int]) -> Floats:
    """Means (a, b) of an image (rows, columns) in so many parts along each axis."""
    for axis, count in enumerate(parts):
        edges = np.linspace(0, values.shape[axis], count + 1).round().astype(np.int64)
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        sizes = np.diff(edges)
        values = sums / (sizes[:, None] if axis == 0 else sizes)
    return values


def _between(of_part: Floats, shape_yx: tuple[int, ...]) -> Floats:
    """Values (a, b) of parts as an image's (rows, columns): linear from middle to middle."""
    for axis, size in enumerate(shape_yx):
        count = of_part.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0.0, count - 1.0)
        low = np.minimum(at.astype(np.int64), max(count - 2, 0))
        share = at - low
        share = share[:, None] if axis == 0 else share
        high = np.minimum(low + 1, count - 1)
        of_part = of_part.take(low, axis) * (1 - share) + of_part.take(high, axis) * share
    return of_part


def shape_at(
    shape_yx: Sequence[int], pixel_yx_nm: Sequence[float], own_nm: float
) -> tuple[int, int]:
    """How many pixels of a network's own size an image has, whose pixels are so many and large."""
    rows, columns = (round(n * p / own_nm) for n, p in zip(shape_yx, pixel_yx_nm, strict=True))
    return rows, columns


def prepared(image: NDArray[np.floating], shape_yx: tuple[int, int]) -> F32:
    """An image as a network is given it, at so many of the network's pixels.

    It is standardised in parts of about a scene, and then resampled.
    """
    rows, columns = (SIDE * n / s for n, s in zip(image.shape, shape_yx, strict=True))
    return resampled(standard(image, (rows, columns)), shape_yx)


def resampled(image: F32, shape_yx: tuple[int, int]) -> F32:
    """An image at so many pixels over the same field; averaged where they become fewer.

    Raises:
        ValueError: an image with no pixels.
    """
    if image.shape == tuple(shape_yx):
        return image
    if 0 in image.shape:
        raise ValueError(f"an image of {image.shape[0]} x {image.shape[1]} px holds nothing")
    import torch

    given = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    found = torch.nn.functional.interpolate(
        given, size=tuple(shape_yx), mode="bilinear", antialias=True, align_corners=False
    )
    return np.asarray(found[0, 0].numpy())
