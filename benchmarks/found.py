"""What was found: an agent's findings against the truth.

A finding counts where its class is right.  Points are matched one to one, within the
tolerance of their class; walls and boundaries by length, and areas by area, in pieces a
tenth of a segment or cell long, so that what is claimed twice is false the second time.
Where a specimen holds both points and extended features each kind carries half.
Findings are mapped through where the electrons of their frame truly went, so that
drift that nobody can know of does not falsify them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from scipy.spatial import cKDTree

from ..agents.agent import Finding
from ..hardware.coordinates import deflection
from ..simulators.exposure import Exposure
from ..simulators.specimens import FeatureClass, Specimen
from ..simulators.specimens.outlines import inside

Floats = NDArray[np.float64]
PIECES = 10  # of a segment, and along either side of a cell
CORNERS = 3  # of a polygon, at least


@dataclass(frozen=True, eq=False)
class Claim:
    """A finding on the specimen.

    Attributes:
        label: the class claimed.
        points_yx_nm: (n, 2) one for a point, a polyline, or a closed polygon; empty where it
            makes no sense, as of a finding in a frame that was never taken or far outside it.
    """

    label: str
    points_yx_nm: Floats


@dataclass(frozen=True)
class Count:
    """Of one kind of feature, each segment and each cell counting 1.

    Attributes:
        true: features there are.
        claimed: features claimed.
        right: claims that are right.
    """

    true: float = 0.0
    claimed: float = 0.0
    right: float = 0.0

    def __add__(self, other: Count) -> Count:
        return Count(self.true + other.true, self.claimed + other.claimed, self.right + other.right)

    @property
    def precision(self) -> float:
        """Share of the claims that are right; 0 without any."""
        return self.right / self.claimed if self.claimed else 0.0

    @property
    def recall(self) -> float:
        """Share of the features that were claimed."""
        return self.right / self.true if self.true else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        total = self.true + self.claimed
        return 2.0 * self.right / total if total else 0.0


@dataclass(frozen=True)
class Found:
    """How right the findings of a run are, in [0, 1]; ``false`` is a number of features."""

    precision: float
    recall: float
    f1: float
    false: float


def claims_of(
    findings: Iterable[Finding],
    exposures: Sequence[Exposure],
    shape_yx: Sequence[tuple[int, int]],
) -> list[Claim]:
    """Findings as claims about the specimen.

    Args:
        findings: by frame and pixel.
        exposures: of the frames, in order.
        shape_yx: rows and columns of each of them.
    """
    claims = []
    for finding in findings:
        points = np.empty((0, 2))
        pixels = np.asarray(finding.points_px, dtype=np.float64)
        if (
            0 <= finding.frame < len(exposures)
            and pixels.ndim == 2
            and pixels.shape[1] == 2
            and (np.abs(pixels) <= 2 * max(shape_yx[finding.frame])).all()  # NaN fails too
        ):
            exposure = exposures[finding.frame]
            region = exposure.region
            part = (pixels + 0.5) / np.asarray(shape_yx[finding.frame]) - 0.5
            scan = np.asarray(region.centre_yx_nm) + part * np.asarray(region.fov_yx_nm)
            points = deflection(scan, region.rotation_rad) + np.asarray(exposure.shift_yx_nm)
        claims.append(Claim(finding.label, points))
    return claims


def found(claims: Sequence[Claim], specimen: Specimen) -> Found:
    """Precision, recall and F1 of claims against a specimen's truth."""
    points, extended = Count(), Count()
    for k, of in enumerate(specimen.classes):
        features = np.flatnonzero(specimen.feature_class == k)
        own = [c.points_yx_nm for c in claims if c.label == of.name]
        yx, angle = specimen.feature_yx_nm[features], specimen.feature_angle_rad[features]
        if of.shape == "point":
            points += _points(of, yx, own)
        elif of.shape == "segment":
            extended += _lengths(of, yx, angle, own)
        else:
            extended += _areas(of, yx, own)
    unknown = sum(c.label not in specimen.class_names for c in claims)
    counts = _by_kind(points, extended, Count(claimed=float(unknown)))
    precision, recall, f1 = (
        float(np.mean([getattr(c, name) for c in counts])) for name in ("precision", "recall", "f1")
    )
    return Found(precision, recall, f1, sum(c.claimed - c.right for c in counts))


def _by_kind(points: Count, extended: Count, unknown: Count) -> list[Count]:
    """The kinds that occur; what is claimed of one that does not, and of none, is false there."""
    if not extended.true:
        return [points + Count(claimed=extended.claimed) + unknown]
    if not points.true:
        return [extended + Count(claimed=points.claimed) + unknown]
    return [points + unknown, extended]


def _points(of: FeatureClass, yx_nm: Floats, claimed: list[Floats]) -> Count:
    """A claim of a point is the middle of what it says; one that says nothing is false."""
    middles = [c.mean(axis=0) for c in claimed if len(c)]
    right = _matched(yx_nm, np.array(middles).reshape(-1, 2), of.tolerance_nm)
    return Count(len(yx_nm), len(claimed), right)


def _lengths(of: FeatureClass, yx_nm: Floats, angle_rad: Floats, claimed: list[Floats]) -> Count:
    """In pieces of truth and claims, matched one to one within the tolerance."""
    step = of.size_nm / PIECES
    along = step * (np.arange(PIECES) + 0.5) - of.size_nm / 2
    way = np.column_stack([np.sin(angle_rad), np.cos(angle_rad)])
    true = (yx_nm[:, None] + along[None, :, None] * way[:, None]).reshape(-1, 2)
    pieces = [_cut(c, step) for c in claimed if len(c)]
    together = np.vstack([np.empty((0, 2)), *pieces])
    senseless = sum(not len(c) for c in claimed)
    right = _matched(true, together, of.tolerance_nm)
    return Count(len(yx_nm), len(together) / PIECES + senseless, right / PIECES)


def _cut(line_yx_nm: Floats, step_nm: float) -> Floats:
    """Middles of the pieces of a polyline; a line without length is one piece."""
    each = np.hypot(*np.diff(line_yx_nm, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(each)])
    count = max(1, round(float(along[-1]) / step_nm))
    at = (np.arange(count) + 0.5) / count * along[-1]
    return np.column_stack([np.interp(at, along, line_yx_nm[:, k]) for k in range(2)])


def _areas(of: FeatureClass, yx_nm: Floats, claimed: list[Floats]) -> Count:
    """In the points of one lattice that truth and claims hold."""
    step = of.size_nm / PIECES
    true: set[tuple[int, int]] = set()
    for y, x in yx_nm:
        corner = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * of.size_nm / 2
        true |= _held(np.array([y, x]) + corner, step)
    taken: set[tuple[int, int]] = set()
    count, senseless = 0, 0
    for polygon in claimed:
        held = _held(polygon, step) if len(polygon) >= CORNERS else set()
        count += len(held)
        senseless += not held
        taken |= held
    whole = PIECES**2
    return Count(len(yx_nm), count / whole + senseless, len(taken & true) / whole)


def _held(polygon_yx_nm: Floats, step_nm: float) -> set[tuple[int, int]]:
    """The lattice points that lie inside a polygon, by their numbers."""
    low = np.floor(polygon_yx_nm.min(axis=0) / step_nm).astype(int)
    high = np.ceil(polygon_yx_nm.max(axis=0) / step_nm).astype(int)
    numbers = np.indices(high - low + 1).reshape(2, -1).T + low
    kept = numbers[inside((numbers + 0.5) * step_nm, polygon_yx_nm)]
    return set(map(tuple, kept.tolist()))


def _matched(true_yx_nm: Floats, claimed_yx_nm: Floats, reach_nm: float) -> int:
    """The most pairs, one to one, that lie within a reach of each other."""
    if not len(true_yx_nm) or not len(claimed_yx_nm):
        return 0
    near = cKDTree(true_yx_nm).query_ball_point(claimed_yx_nm, reach_nm * (1.0 + 1e-9))
    rows = np.repeat(np.arange(len(near)), [len(n) for n in near])
    columns = np.array([j for n in near for j in n], dtype=np.int64)
    shape = (len(claimed_yx_nm), len(true_yx_nm))
    graph = coo_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape).tocsr()
    return int((maximum_bipartite_matching(graph, perm_type="column") >= 0).sum())
