"""The rule of what has been seen.  It lives here and nowhere else.

A pure function of the truth and of where the electrons truly went.  A point
feature is seen when each of 13 fixed points of its context disc (the centre,
six at half and six at full radius) has received the dose its class needs from
frames that are sampled at least as finely as its ``max_pixel_nm``.  A segment
is a strip, as long as it is and a context radius to either side, and a cell a
square; they are sampled a tenth of a reference frame apart, and seen when 80 %
of their points are.  Doses of different frames add up.  What the beam destroys
before it is seen can be seen no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from math import cos, sin

import numba
import numpy as np
from numpy.typing import NDArray

from ..simulators.exposure import EDGE_NM, Exposure, within
from ..simulators.specimens import FeatureClass, Specimen

ROUNDING = 1e-9  # relative, of sums of doses
EXTENDED_SHARE = 0.8  # of the points of a segment or cell
SPACING = 0.1  # of these points, in reference frames
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Targets:
    """Sample points of every feature, and what they need.

    Attributes:
        points_yx_nm: (n, p, 2) sample points of n features; NaN where a feature
            has fewer than p.
        least: (n,) how many of them have to be seen.
        need_e_per_a2: (n,) dose that each point needs.
        max_pixel_nm: (n,) coarser frames do not count.
        weight: (n,) shares of the recall; they add up to 1.
    """

    points_yx_nm: Floats
    least: Ints
    need_e_per_a2: Floats
    max_pixel_nm: Floats
    weight: Floats

    def only(self, features: Ints) -> Targets:
        """Some of the features; their weights stay what they are."""
        return Targets(
            self.points_yx_nm[features],
            self.least[features],
            self.need_e_per_a2[features],
            self.max_pixel_nm[features],
            self.weight[features],
        )

    @cached_property
    def bounds_yx_nm(self) -> tuple[Floats, Floats]:
        """The least and the greatest coordinates (n, 2) of each feature's points."""
        low = np.nanmin(self.points_yx_nm, axis=1)
        return low, np.nanmax(self.points_yx_nm, axis=1)


def context_points(centre_yx_nm: Floats, radius_nm: float) -> Floats:
    """The 13 points (13, 2) of a context disc."""
    angles = np.arange(6) * np.pi / 3
    ring = np.column_stack([np.sin(angles), np.cos(angles)])
    unit = np.vstack([np.zeros((1, 2)), 0.5 * ring, ring])
    return np.asarray(centre_yx_nm + radius_nm * unit, dtype=np.float64)


def strip_points(
    centre_yx_nm: Floats, angle_rad: float, length_nm: float, width_nm: float, pitch_nm: float
) -> Floats:
    """Points (p, 2), ``pitch_nm`` apart, of a rectangle along a direction."""
    along, across = (
        pitch_nm * np.arange(-int(side / 2 / pitch_nm + 1e-9), int(side / 2 / pitch_nm + 1e-9) + 1)
        for side in (length_nm, width_nm)
    )
    a, b = (g.ravel() for g in np.meshgrid(along, across, indexing="ij"))
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    turned = np.column_stack([a * s + b * c, a * c - b * s])
    return np.array(centre_yx_nm + turned, dtype=np.float64)


def targets(specimen: Specimen, frame_nm: float) -> Targets:
    """What has to be imaged of a specimen; ``frame_nm`` is the side of the reference frame."""
    classes = [specimen.classes[k] for k in specimen.feature_class]
    points = [
        _points(c, yx, angle, SPACING * frame_nm)
        for c, yx, angle in zip(
            classes, specimen.feature_yx_nm, specimen.feature_angle_rad, strict=True
        )
    ]
    most = max((len(p) for p in points), default=0)
    padded = np.full((len(points), most, 2), np.nan)
    for row, own in zip(padded, points, strict=True):
        row[: len(own)] = own
    extended = np.array([c.shape != "point" for c in classes], dtype=bool)
    counts = np.array([len(p) for p in points], dtype=np.int64)
    return Targets(
        points_yx_nm=padded,
        least=np.where(extended, np.ceil(EXTENDED_SHARE * counts - ROUNDING), counts).astype(int),
        need_e_per_a2=np.array([c.need_e_per_a2 for c in classes]),
        max_pixel_nm=np.array([c.max_pixel_nm for c in classes]),
        weight=_weights(extended),
    )


def _points(c: FeatureClass, yx_nm: Floats, angle_rad: float, pitch_nm: float) -> Floats:
    if c.shape == "point":
        return context_points(yx_nm, c.context_radius_nm)
    width = 2 * c.context_radius_nm if c.shape == "segment" else c.size_nm
    return strip_points(yx_nm, angle_rad, c.size_nm, width, pitch_nm)


def _weights(extended: Bools) -> Floats:
    """Points and extended features carry half each where there are both."""
    share = np.where(extended, 1.0 / max(1, extended.sum()), 1.0 / max(1, (~extended).sum()))
    return np.asarray(share / max(1.0, share.sum()))


def dose(wanted: Targets, exposure: Exposure) -> Floats:
    """Dose (n, p) that one exposure gives to every sample point, in e/Å²."""
    tally = Tally(wanted)
    tally.add(exposure)
    return tally.received


@numba.njit(cache=True, fastmath=False, nogil=True)
def _suffices(received: Floats, need: float, least: int) -> bool:
    """Whether so many sample points of a feature have the dose that it needs."""
    count = 0
    for p in range(received.shape[0]):
        count += received[p] >= need * (1 - ROUNDING)
    return count >= least


def enough(wanted: Targets, received: Floats) -> Bools:
    """Which features (n,) a dose (n, p) suffices for."""
    rows = zip(received, wanted.need_e_per_a2, wanted.least, strict=True)
    return np.array([_suffices(r, need, least) for r, need, least in rows], dtype=bool)


@numba.njit(cache=True, fastmath=False, nogil=True)
def expose(
    points: Floats,
    low: Floats,
    high: Floats,
    coarsest: Floats,
    need: Floats,
    least: Ints,
    pixel: float,
    centre: tuple[float, float],
    fov: tuple[float, float],
    rotation: float,
    shift: tuple[float, float],
    given: float,
    received: Floats,
    seen: Bools,
    destroyed: Bools,
) -> None:
    """Add the dose of one frame to the sample points, and mark what is seen by it.

    The same test as ``Exposure.covers``, in one pass over the features that are near.
    """
    c, s = cos(rotation), sin(rotation)
    half_y, half_x = fov[0] / 2 + EDGE_NM, fov[1] / 2 + EDGE_NM
    # The upright box about the footprint.
    middle_y, middle_x = c * centre[0] + s * centre[1] + shift[0], c * centre[1] - s * centre[0]
    middle_x += shift[1]
    box_y, box_x = abs(c) * half_y + abs(s) * half_x, abs(s) * half_y + abs(c) * half_x
    for n in range(points.shape[0]):
        if (
            pixel > coarsest[n] * (1 + ROUNDING)
            or low[n, 0] > middle_y + box_y
            or high[n, 0] < middle_y - box_y
            or low[n, 1] > middle_x + box_x
            or high[n, 1] < middle_x - box_x
        ):
            continue
        any_here = False
        for p in range(points.shape[1]):
            y, x = points[n, p, 0] - shift[0], points[n, p, 1] - shift[1]
            if within(y, x, centre, half_y, half_x, c, s):
                received[n, p] += given
                any_here = True
        if any_here and not destroyed[n]:
            seen[n] = seen[n] or _suffices(received[n], need[n], least[n])


class Tally:
    """What a series of exposures has shown so far.

    Attributes:
        received: (n, p) dose at every sample point, in e/Å².
        seen: (n,) features seen.
        destroyed: (n,) features that the beam has destroyed.
    """

    def __init__(self, wanted: Targets) -> None:
        self.wanted = wanted
        self.received = np.zeros(wanted.points_yx_nm.shape[:2])
        self.seen = np.zeros(len(wanted.weight), dtype=bool)
        self.destroyed = np.zeros(len(wanted.weight), dtype=bool)

    def add(self, exposure: Exposure) -> None:
        """Take note of a frame; what it destroyed it may still have shown."""
        wanted, region = self.wanted, exposure.region
        expose(
            wanted.points_yx_nm,
            *wanted.bounds_yx_nm,
            wanted.max_pixel_nm,
            wanted.need_e_per_a2,
            wanted.least,
            exposure.pixel_nm,
            region.centre_yx_nm,
            region.fov_yx_nm,
            region.rotation_rad,
            exposure.shift_yx_nm,
            exposure.dose_e_per_a2,
            self.received,
            self.seen,
            self.destroyed,
        )
        if exposure.destroyed:
            self.destroyed[list(exposure.destroyed)] = True

    @property
    def recall(self) -> float:
        """The weight of what was seen."""
        return float(self.wanted.weight[self.seen].sum())


def seen_after(wanted: Targets, exposures: Iterable[Exposure]) -> Bools:
    """Which features (n,) a series of exposures has shown."""
    tally = Tally(wanted)
    for exposure in exposures:
        tally.add(exposure)
    return tally.seen
