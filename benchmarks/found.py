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
from scipy.sparse.csgraph import maximum_flow
from scipy.spatial import cKDTree

from ..agents.agent import Finding
from ..agents.rates import Rates
from ..hardware.coordinates import deflection
from ..simulators.exposure import Exposure
from ..simulators.specimens import FeatureClass, Specimen
from ..simulators.specimens.outlines import inside

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
PIECES = 10  # of a segment, and along either side of a cell
CORNERS = 3  # of a polygon, at least
MOST = 0.5  # of a claim is right, and it is called so


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
class Count(Rates):
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
        own = [c.points_yx_nm for c in claims if c.label == of.name]
        count = _pieces(specimen, k, own).count
        if of.shape == "point":
            points += count
        else:
            extended += count
    unknown = sum(c.label not in specimen.class_names for c in claims)
    counts = _by_kind(points, extended, Count(claimed=float(unknown)))
    precision, recall, f1 = (
        float(np.mean([getattr(c, name) for c in counts])) for name in ("precision", "recall", "f1")
    )
    return Found(precision, recall, f1, sum(c.claimed - c.right for c in counts))


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the same matching says of each claim, and of each feature.

    Attributes:
        right: (n,) share of each claim that is right: of a point 0 or 1.
        otherwise: (n,) another class of which a claim that is wrong would be right; empty
            where there is none.
        feature: (n,) index of the feature that a claim is the best part of; -1 for none.
        claimed: (m,) share of each feature that was rightly claimed.
    """

    right: Floats
    otherwise: tuple[str, ...]
    feature: Ints
    claimed: Floats


def verdicts(claims: Sequence[Claim], specimen: Specimen) -> Verdicts:
    """Which claims are right, which features they are, and which features nobody claimed."""
    right, feature = np.zeros(len(claims)), np.full(len(claims), -1)
    claimed = np.zeros(len(specimen.feature_class))
    for k, of in enumerate(specimen.classes):
        own = [n for n, c in enumerate(claims) if c.label == of.name]
        pieces = _pieces(specimen, k, [claims[n].points_yx_nm for n in own])
        right[own] = pieces.right
        feature[own] = pieces.best
        hit = np.bincount(pieces.feature[pieces.feature >= 0], minlength=len(claimed))
        claimed += np.minimum(1.0, hit / pieces.whole)
    otherwise = [
        _otherwise(claim, specimen) if share < MOST else ""
        for claim, share in zip(claims, right, strict=True)
    ]
    return Verdicts(right, tuple(otherwise), feature, claimed)


def _otherwise(claim: Claim, specimen: Specimen) -> str:
    """Another class of its shape, or any for a class that there is none of, that would be right."""
    shapes = {of.shape for of in specimen.classes if of.name == claim.label}
    for k, of in enumerate(specimen.classes):
        if of.name == claim.label or (shapes and of.shape not in shapes):
            continue
        if _pieces(specimen, k, [claim.points_yx_nm]).right[0] >= MOST:
            return of.name
    return ""


def _by_kind(points: Count, extended: Count, unknown: Count) -> list[Count]:
    """The kinds that occur; what is claimed of one that does not, and of none, is false there."""
    if not extended.true:
        return [points + Count(claimed=extended.claimed) + unknown]
    if not points.true:
        return [extended + Count(claimed=points.claimed) + unknown]
    return [points + unknown, extended]


@dataclass(frozen=True, eq=False)
class Pieces:
    """All claims of one class, cut into pieces that count alike.

    Attributes:
        features: of the class.
        claims: of the class.
        claim: (p,) which claim each is a piece of; one that makes no sense has none.
        feature: (p,) index of the feature that each is matched with; -1 where it is false.
        whole: pieces that count as one feature.
    """

    features: int
    claims: int
    claim: Ints
    feature: Ints
    whole: int

    @property
    def _of_each(self) -> Ints:
        """(claims,) how many pieces there are."""
        return np.bincount(self.claim, minlength=self.claims)

    @property
    def count(self) -> Count:
        """Claims that make no sense count 1 each."""
        senseless = int((self._of_each == 0).sum())
        right = int((self.feature >= 0).sum())
        return Count(self.features, len(self.claim) / self.whole + senseless, right / self.whole)

    @property
    def right(self) -> Floats:
        """(claims,) share of each that is right."""
        right = np.bincount(self.claim[self.feature >= 0], minlength=self.claims)
        return np.asarray(right / np.maximum(1, self._of_each))

    @property
    def best(self) -> Ints:
        """(claims,) the feature that most of its right pieces belong to; -1 for none."""
        own = [self.feature[(self.claim == n) & (self.feature >= 0)] for n in range(self.claims)]
        return np.array([np.bincount(f).argmax() if len(f) else -1 for f in own], dtype=np.int64)


def _pieces(specimen: Specimen, k: int, claimed: Sequence[Floats]) -> Pieces:
    """Claims of class ``k`` by the points that they hold."""
    of = specimen.classes[k]
    features = np.flatnonzero(specimen.feature_class == k)
    yx = specimen.feature_yx_nm[features]
    if of.shape == "point":
        claim, feature, whole = *_points(of, yx, claimed), 1
    elif of.shape == "segment":
        angle = specimen.feature_angle_rad[features]
        claim, feature, whole = *_lengths(of, yx, angle, claimed), PIECES
    else:
        claim, feature, whole = *_areas(of, yx, claimed), PIECES**2
    index = np.append(features, -1)[feature]  # its last entry is that of none
    return Pieces(len(features), len(claimed), claim, index, whole)


def _points(of: FeatureClass, yx_nm: Floats, claimed: Sequence[Floats]) -> tuple[Ints, Ints]:
    """A claim of a point is the middle of what it says; one that says nothing is false."""
    own = [n for n, c in enumerate(claimed) if len(c)]
    middles = np.array([claimed[n].mean(axis=0) for n in own]).reshape(-1, 2)
    return np.array(own, dtype=np.int64), _matched(yx_nm, middles, of.tolerance_nm)


def _lengths(
    of: FeatureClass, yx_nm: Floats, angle_rad: Floats, claimed: Sequence[Floats]
) -> tuple[Ints, Ints]:
    """In pieces of truth and claims, matched one to one within the tolerance."""
    step = of.size_nm / PIECES
    along = step * (np.arange(PIECES) + 0.5) - of.size_nm / 2
    way = np.column_stack([np.sin(angle_rad), np.cos(angle_rad)])
    true = (yx_nm[:, None] + along[None, :, None] * way[:, None]).reshape(-1, 2)
    cut = [_cut(c, step) if len(c) else c for c in claimed]
    together = np.vstack([np.empty((0, 2)), *cut])
    which = _matched(true, together, of.tolerance_nm)
    claim = np.repeat(np.arange(len(cut)), [len(c) for c in cut])
    return claim, np.where(which >= 0, which // PIECES, -1)


def _cut(line_yx_nm: Floats, step_nm: float) -> Floats:
    """Middles of the pieces of a polyline; a line without length is one piece."""
    each = np.hypot(*np.diff(line_yx_nm, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(each)])
    count = max(1, round(float(along[-1]) / step_nm))
    at = (np.arange(count) + 0.5) / count * along[-1]
    return np.column_stack([np.interp(at, along, line_yx_nm[:, k]) for k in range(2)])


def _areas(of: FeatureClass, yx_nm: Floats, claimed: Sequence[Floats]) -> tuple[Ints, Ints]:
    """In the points of one lattice that truth and claims hold; no point is right twice."""
    step = of.size_nm / PIECES
    left: dict[tuple[int, int], int] = {}
    for n, (y, x) in enumerate(yx_nm):
        corner = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * of.size_nm / 2
        for point in _held(np.array([y, x]) + corner, step):
            left.setdefault(point, n)
    claim, feature = [], []
    for n, polygon in enumerate(claimed):
        held = _held(polygon, step) if len(polygon) >= CORNERS else set()
        claim += [n] * len(held)
        feature += [left.pop(point, -1) for point in held]
    return np.array(claim, dtype=np.int64), np.array(feature, dtype=np.int64)


def _held(polygon_yx_nm: Floats, step_nm: float) -> set[tuple[int, int]]:
    """The lattice points that lie inside a polygon, by their numbers."""
    low = np.floor(polygon_yx_nm.min(axis=0) / step_nm).astype(int)
    high = np.ceil(polygon_yx_nm.max(axis=0) / step_nm).astype(int)
    numbers = np.indices(high - low + 1).reshape(2, -1).T + low
    kept = numbers[inside((numbers + 0.5) * step_nm, polygon_yx_nm)]
    return set(map(tuple, kept.tolist()))


def _matched(true_yx_nm: Floats, claimed_yx_nm: Floats, reach_nm: float) -> Ints:
    """The most pairs, one to one, within a reach: for each claim (n,) the number of its truth.

    -1 where there is none left.
    """
    if not len(true_yx_nm) or not len(claimed_yx_nm):
        return np.full(len(claimed_yx_nm), -1)
    near = cKDTree(true_yx_nm).query_ball_point(claimed_yx_nm, reach_nm * (1.0 + 1e-9))
    claim = np.repeat(np.arange(len(near)), [len(n) for n in near])
    truth = np.array([j for n in near for j in n], dtype=np.int64)
    # As a flow from a source over claims and truths to a sink, of one unit each: SciPy's
    # matching of bipartite graphs took minutes where long walls were claimed whole.
    claims, truths = len(claimed_yx_nm), len(true_yx_nm)
    source, sink = claims + truths, claims + truths + 1
    starts = np.concatenate([np.full(claims, source), claim, claims + np.arange(truths)])
    ends = np.concatenate([np.arange(claims), claims + truth, np.full(truths, sink)])
    unit = np.ones(len(starts), dtype=np.int32)
    graph = coo_array((unit, (starts, ends)), (sink + 1, sink + 1)).tocsr()
    flow = maximum_flow(graph, source, sink, method="dinic").flow[:claims, claims:source].tocoo()
    which = np.full(claims, -1)
    which[flow.row[flow.data > 0]] = flow.col[flow.data > 0]
    return which
