"""What a network tells of a kind of specimen: its channels, and the truth painted in them.

Every channel is a probability by pixel: columns of a kind and features of a class as blobs
of 1 at their places, walls and boundaries as lines, areas as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from ....hardware.coordinates import deflection, rotation
from ....hardware.microscope import ScanRequest
from ....simulators.species import in_line
from ....simulators.specimens import FeatureClass, specimen_module
from ....simulators.specimens.outlines import inside
from ....simulators.specimens.specimen import Floats, Ints, Specimen
from .paint import blobs, discs

COLUMN_NM = 0.03  # standard deviation of a column's blob
SHARP = 0.4  # that of a feature's blob, in tolerances
FINEST_NM = 0.06
OCCUPIED_NM = 0.2  # farther than this from any column of a sheet there is vacuum
GOLD_NM = 0.16  # nearer than this to a column of gold there is a particle
THICK_NM = 0.1  # of contamination that counts
SHEET_NM = 0.25  # columns higher than this above a sheet lie on it
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Legend:
    """The channels of a network.

    Attributes:
        specimen: that it is for.
        pixel_nm: of the network; images are resampled to it.
        columns: the channel of columns whose atoms, in line with the beam, have these
            symbols, sorted and joined by spaces; those that are not listed have none.
        areas: ``contamination``, ``vacuum``, ``particle``, and the names of closed outlines'
            inner phases.
        as_area: the area by which a feature class is told that has no channel of its own.
        bond_nm: of neighbouring columns, in projection, where they form a net of six-membered
            rings; 0 where they do not.
    """

    specimen: str
    pixel_nm: float
    columns: Mapping[str, str]
    areas: tuple[str, ...]
    as_area: Mapping[str, str] = field(default_factory=dict)
    bond_nm: float = 0.0

    @cached_property
    def features(self) -> tuple[str, ...]:
        """The classes of features that have a channel of their own."""
        classes = specimen_module(self.specimen).CLASSES
        return tuple(c.name for c in classes if c.name not in self.as_area)

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of column."""
        return tuple(dict.fromkeys(self.columns.values()))

    @cached_property
    def blobs(self) -> tuple[bool, ...]:
        """By channel, whether it shows columns or points rather than lines or areas."""
        shape = {c.name: c.shape for c in specimen_module(self.specimen).CLASSES}
        return tuple(c in self.kinds or shape.get(c) == "point" for c in self.channels)

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """All: columns, features, areas."""
        return (*self.kinds, *self.features, *self.areas)


def _sheet(metal: str, other: str, guests: tuple[str, str, str]) -> dict[str, str]:
    """Columns of a chalcogenide and its substitutes: two metals, and another chalcogen."""
    first, second, third = guests
    found = {metal: metal, f"{other} {other}": f"{other}2", other: other}
    found |= {first: first, second: second, third: third, f"{third} {third}": third}
    for below in (" ".join(sorted((a, b))) for a, b in ((other, third), (metal, other))):
        found[below] = third if third in below.split() else metal
    return found


LEGENDS: dict[str, Legend] = {
    of.specimen: of
    for of in (
        Legend(
            "graphene",
            1.5 / 64,
            {"C": "C", "Si": "Si"},
            ("contamination", "vacuum"),
            bond_nm=0.142,
        ),
        Legend(
            "mos2",
            1.5 / 64,
            _sheet("Mo", "S", ("W", "V", "Se")),
            ("contamination", "1T"),
            bond_nm=0.182,
        ),
        Legend(
            "wse2",
            1.5 / 64,
            _sheet("W", "Se", ("Mo", "V", "S")),
            ("contamination", "1T"),
            bond_nm=0.189,
        ),
        Legend(
            "nio_lsmo",
            1.8 / 64,
            {"La": "La/Sr", "Mn O": "Mn", "Ni O": "Ni"},
            ("contamination", "NiO"),
            {"pillar": "NiO"},
        ),
        Legend("bifeo3", 1.8 / 64, {"Bi": "Bi", "Fe": "Fe"}, ("contamination",)),
        Legend("nanoparticles", 6.0 / 64, {}, ("particle",)),
    )
}
INNER = {"NiO": ("pillar", "inclusion"), "1T": ("boundary",)}  # whose closed outlines enclose it


@dataclass(frozen=True, eq=False)
class Truth:
    """What is to be told of a specimen, ready to be painted for any frame of it.

    Attributes:
        legend: the channels.
        columns_yx_nm: (n, 2) where columns with a channel are.
        column_channel: (n,) which.
        features_yx_nm: (m, 2) points, and dense points along lines.
        feature_channel: (m,) which.
        sigma_nm: (m,) of their blobs.
        specimen: for the areas.
    """

    legend: Legend
    columns_yx_nm: Floats
    column_channel: Ints
    features_yx_nm: Floats
    feature_channel: Ints
    sigma_nm: Floats
    specimen: Specimen

    @classmethod
    def of(cls, specimen: Specimen) -> Truth:
        legend = LEGENDS[specimen.name]
        yx, channel = columns_of(specimen, legend)
        return cls(legend, yx, channel, *features_of(specimen, legend), specimen)

    def painted(self, request: ScanRequest, shape_yx: tuple[int, int], areas: bool = True) -> F32:
        """The channels (c, rows, columns) of a frame at so many pixels, as the specimen has them.

        The frame is given as it truly lies, not as an instrument reports it.  Without
        ``areas`` theirs are left empty.
        """
        out = np.zeros((len(self.legend.channels), *shape_yx), dtype=np.float32)
        scale = np.asarray(shape_yx) / np.asarray(request.fov_yx_nm)
        pixel = float(1.0 / scale.mean())
        near = _near(self.columns_yx_nm, request, 3 * COLUMN_NM)
        at = pixels_of(self.columns_yx_nm[near], request, shape_yx)
        blobs(at, self.column_channel[near], np.full(len(at), COLUMN_NM / pixel), out)
        near = _near(self.features_yx_nm, request, 3 * self.sigma_nm.max(initial=0.0))
        at = pixels_of(self.features_yx_nm[near], request, shape_yx)
        blobs(at, self.feature_channel[near], self.sigma_nm[near] / pixel, out)
        if not areas:
            return out
        out[len(out) - len(self.legend.areas) :] = self.covered(
            request, shape_yx, self.legend.areas
        )
        return out

    def covered(
        self, request: ScanRequest, shape_yx: tuple[int, int], areas: Sequence[str]
    ) -> NDArray[np.bool_]:
        """Which pixels (areas, rows, columns) of a frame lie in which of the areas."""
        points = specimen_points(request, shape_yx)
        return np.array([self._area(area, points, request, shape_yx) for area in areas])

    def _area(
        self, area: str, points: Floats, request: ScanRequest, shape_yx: tuple[int, int]
    ) -> NDArray[np.bool_]:
        specimen = self.specimen
        if area == "contamination":
            thickness = specimen.maps["contamination"]
            middle = (np.asarray(thickness.values.shape) - 1) / 2
            at = np.moveaxis(points / thickness.pitch_nm + middle, -1, 0)
            here = map_coordinates(thickness.values, at, order=1, mode="nearest")
            return np.asarray(here > THICK_NM)
        if area in ("vacuum", "particle"):
            reach = OCCUPIED_NM if area == "vacuum" else GOLD_NM
            near = _near(specimen.positions_yx_nm, request, reach)
            if area == "particle":
                near = near[specimen.kind[near] == 0]
            covered = np.zeros(shape_yx, dtype=np.bool_)
            pixel = float((np.asarray(request.fov_yx_nm) / shape_yx).mean())
            at = pixels_of(specimen.positions_yx_nm[near], request, shape_yx)
            discs(at, reach / pixel, covered)
            return ~covered if area == "vacuum" else covered
        found = np.zeros(points.shape[:2], dtype=np.bool_)
        for outline in specimen.outlines:
            if outline.closed and specimen.class_names[outline.feature_class] in INNER[area]:
                flat = inside(points.reshape(-1, 2), outline.path_yx_nm)
                found |= flat.reshape(found.shape)
        return found


def columns_of(specimen: Specimen, legend: Legend) -> tuple[Floats, Ints]:
    """Columns that have a channel: positions (n, 2), and channels (n,)."""
    if not legend.columns:
        return np.empty((0, 2)), np.empty(0, dtype=np.int64)
    number = {kind: k for k, kind in enumerate(legend.kinds)}
    symbols = [" ".join(sorted(s for s, _ in k.stack)) for k in specimen.kinds]
    yx, kind = specimen.positions_yx_nm, specimen.kind
    if specimen.thickness_nm > 0:  # a column is one already
        channel = np.array([number.get(legend.columns.get(s, ""), -1) for s in symbols])[kind]
        return yx[channel >= 0], channel[channel >= 0]
    there = np.flatnonzero(np.abs(specimen.height_nm) < SHEET_NM)
    column = in_line(yx[there])
    held = np.zeros((column.max(initial=-1) + 1, len(symbols)), dtype=np.int64)  # of each kind
    np.add.at(held, (column, kind[there]), 1)
    sums = [np.bincount(column, yx[there, a]) for a in (0, 1)]
    middles = np.column_stack(sums) / held.sum(axis=1)[:, None]
    sorts, of_sort = np.unique(held, axis=0, return_inverse=True)
    labels = (
        " ".join(sorted(s for s, n in zip(symbols, h, strict=True) for _ in range(n)))
        for h in sorts
    )
    channel = np.array([number.get(legend.columns.get(s, ""), -1) for s in labels])[of_sort]
    return middles[channel >= 0], channel[channel >= 0]


def features_of(specimen: Specimen, legend: Legend) -> tuple[Floats, Ints, Floats]:
    """Points along what has a channel: positions (m, 2), channels and widths (m,)."""
    places: list[Floats] = []
    channels: list[int] = []
    first, step = len(legend.kinds), legend.pixel_nm
    names = specimen.class_names
    for of, yx in zip(specimen.feature_class, specimen.feature_yx_nm, strict=True):
        if specimen.classes[of].shape == "point" and names[of] in legend.features:
            places.append(yx[None])
            channels.append(int(of))
    for outline in specimen.outlines:
        of = outline.feature_class
        if specimen.classes[of].shape == "segment" and names[of] in legend.features:
            path = outline.path_yx_nm
            places.append(evenly(np.vstack([path, path[:1]]) if outline.closed else path, step))
            channels.append(of)
    if not places:
        return np.empty((0, 2)), np.empty(0, dtype=np.int64), np.empty(0)
    of_class = np.repeat(channels, [len(p) for p in places])
    sigma = np.array([width_nm(c) for c in specimen.classes])
    number = np.array([legend.features.index(n) if n in legend.features else -1 for n in names])
    return np.concatenate(places), first + number[of_class], sigma[of_class]


def width_nm(of: FeatureClass) -> float:
    """Standard deviation of a feature's blob, and of a line across itself."""
    return max(SHARP * of.tolerance_nm, FINEST_NM)


def band_nm(of: FeatureClass) -> float:
    """How wide a line is: the probability summed across it; over this its area is its length."""
    return sqrt(2.0 * pi) * width_nm(of)


def evenly(path_yx: Floats, step: float) -> Floats:
    """Points (m, 2) along a path, at most a step apart, its ends among them."""
    along = np.concatenate([[0.0], np.hypot(*np.diff(path_yx, axis=0).T).cumsum()])
    at = np.linspace(0.0, along[-1], max(2, int(np.ceil(along[-1] / step)) + 1))
    return np.column_stack([np.interp(at, along, path_yx[:, a]) for a in (0, 1)])


def _near(yx_nm: Floats, request: ScanRequest, beyond_nm: float) -> Ints:
    """Which of many places (n, 2) lie in a square about a frame that reaches so far beyond it."""
    (centre,) = deflection(np.array([request.centre_yx_nm]), request.rotation_rad)
    half = float(np.hypot(*request.fov_yx_nm)) / 2 + beyond_nm
    there = np.abs(yx_nm[:, 0] - centre[0]) <= half
    there &= np.abs(yx_nm[:, 1] - centre[1]) <= half
    return np.flatnonzero(there)


def pixels_of(yx_nm: Floats, request: ScanRequest, shape_yx: tuple[int, int]) -> Floats:
    """Places (n, 2) on the specimen as pixels of a frame that has so many."""
    turned = yx_nm @ rotation(request.rotation_rad) - request.centre_yx_nm
    return np.asarray((turned / request.fov_yx_nm + 0.5) * shape_yx - 0.5)


def specimen_points(request: ScanRequest, shape_yx: tuple[int, int]) -> Floats:
    """Where the pixels (rows, columns, 2) of a frame lie, in nm."""
    offsets = [
        ((np.arange(n) + 0.5) / n - 0.5) * fov
        for n, fov in zip(shape_yx, request.fov_yx_nm, strict=True)
    ]
    scan = np.stack(np.meshgrid(*offsets, indexing="ij"), axis=-1) + request.centre_yx_nm
    return deflection(scan, request.rotation_rad)
