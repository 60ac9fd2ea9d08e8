"""From a segmentation to what is claimed of it: points, lines and areas, in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ....simulators.specimens import FeatureClass, specimen_module
from ....simulators.specimens.outlines import inside
from .atoms import STRETCHED, Peaks, first_of_close, neighbours, peaks, rings
from .legend import F32, Legend
from .segmenter import Segmentation

COLUMN = 0.3  # height of the probability from which a column is one
FEATURE = 0.3  # the same of a feature: a blob is never sure of its middle
EVEN = 0.5  # the same of a line or an area: it is wide, and goes as far as it is likelier than not
BONDED_NM = 0.1  # two columns are farther from each other than this
TILE = 64  # pixels; a line is nearly straight within
KNOT = 3  # pixels from one corner of a line to the next
SHORTEST = 3  # corners
SURE = 8  # power of the probability by which the ridge is weighted across the line
SMALLEST_NM2 = 0.06  # of an area; less is noise
WIDEST = 2.5  # radii of a point's disc: an area that it explains is no wider
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Found:
    """A feature in an image: its class, where, and how sure.

    Attributes:
        of: the class.
        points_px: (n, 2) in the image's pixels.
        confidence: in [0, 1].
    """

    of: FeatureClass
    points_px: Floats
    confidence: float


def columns(seen: Segmentation) -> dict[str, Peaks]:
    """The columns by kind, in the network's pixels; of two kinds at one place the likelier."""
    within = max(1.5, BONDED_NM / float(np.mean(seen.pixel_yx_nm)))
    each = [peaks(seen.channel(kind), COLUMN, within) for kind in seen.legend.kinds]
    if not each:
        return {}
    of = np.repeat(np.arange(len(each)), [len(p.height) for p in each])
    at, height = np.concatenate([p.yx_px for p in each]), np.concatenate([p.height for p in each])
    order = np.argsort(-height, kind="stable")
    kept = order[first_of_close(at[order], within)]
    found = {}
    for k, kind in enumerate(seen.legend.kinds):
        own = kept[of[kept] == k]
        found[kind] = Peaks(at[own], height[own])
    return found


def clear(legend: Legend, values: F32, yx_px: Floats) -> NDArray[np.bool_]:
    """Which places (n, 2) in pixels are not under contamination, where nobody can tell columns.

    ``values`` (channels, rows, columns) are probabilities, or the truth.
    """
    if "contamination" not in legend.areas:
        return np.ones(len(yx_px), dtype=np.bool_)
    covered = values[legend.channels.index("contamination")] > 0.5
    at = np.clip(np.round(yx_px), 0, np.array(covered.shape) - 1).astype(np.int64)
    return np.asarray(~covered[at[:, 0], at[:, 1]])


def points(seen: Segmentation, least: float = FEATURE) -> list[Found]:
    """Point features, most confident first; of two classes at one place the likelier."""
    pixel = float(np.mean(seen.pixel_yx_nm))
    found: list[tuple[float, Floats, FeatureClass]] = []
    for of in _classes(seen):
        if of.shape == "point":
            local = peaks(seen.channel(of.name), least, of.context_radius_nm / pixel)
            found += [(float(h), at, of) for h, at in zip(local.height, local.yx_px, strict=True)]
    found.sort(key=lambda f: -f[0])
    kept: list[tuple[float, Floats, FeatureClass]] = []
    for height, at, of in found:
        radius = of.context_radius_nm / pixel
        if all(np.hypot(*(at - other)) > radius for _, other, _ in kept):
            kept.append((height, at, of))
    return [Found(of, seen.image_px(at[None]), height) for height, at, of in kept]


def ring_sizes(seen: Segmentation) -> NDArray[np.int64]:
    """Columns around each ring of the net, (r,); none where the columns form no such net.

    Of a perfect sheet all are 6.  What the frame's border cuts is no ring.
    """
    bond = seen.legend.bond_nm
    if not bond:
        return np.empty(0, dtype=np.int64)
    at = np.concatenate([c.yx_px for c in columns(seen).values()]) * seen.pixel_yx_nm
    found = rings(at, neighbours(at, STRETCHED * bond))
    return np.array([len(r) for r in found], dtype=np.int64)


def lines(seen: Segmentation, new: NDArray[np.bool_], least: float = EVEN) -> list[Found]:
    """Walls and boundaries as polylines, where (rows, columns) it is new, from a probability on."""
    from scipy.ndimage import binary_erosion, label

    rows, columns_ = new.shape
    inner = binary_erosion(new)
    found = []
    for of in _classes(seen):
        if of.shape != "segment":
            continue
        values = np.where(new, seen.channel(of.name), 0.0)
        for top in range(0, rows, TILE):
            for left in range(0, columns_, TILE):
                tile = values[top : top + TILE, left : left + TILE]
                labels, count = label(tile > least)
                for k in range(1, count + 1):
                    at = np.argwhere(labels == k)
                    weight = tile[labels == k].astype(np.float64)
                    within = inner[top : top + TILE, left : left + TILE][labels == k]
                    path = _ridge(at.astype(np.float64), weight, within)
                    if len(path) >= SHORTEST:
                        corner = np.array([top, left], dtype=np.float64)
                        found.append(Found(of, seen.image_px(path + corner), float(weight.mean())))
    return found


def areas(seen: Segmentation, new: NDArray[np.bool_], least: float = EVEN) -> list[Found]:
    """Cells as polygons, where (rows, columns) they are new; what a point explains is none.

    What a polygon encloses that is no such area, or not new, is cut out of it, by a slit.
    """
    from contourpy import FillType, contour_generator

    found = []
    pixel = seen.pixel_yx_nm[0] * seen.pixel_yx_nm[1]
    for of in specimen_module(seen.legend.specimen).CLASSES:
        if of.name not in seen.legend.as_area:
            continue
        values = np.where(new, seen.channel(seen.legend.as_area[of.name]), 0.0)
        values = _without(values, [p for p in points(seen) if p.of.name in EXPLAINS], seen, least)
        padded = np.pad(values, 1)
        made = contour_generator(z=padded, fill_type=FillType.OuterOffset)
        for corners, offsets in zip(*made.filled(least, np.inf), strict=True):
            rings = [corners[a:b, ::-1] - 1.0 for a, b in pairwise(offsets.tolist())]
            # Holes go the other way round, so that their areas count against the outer one.
            if abs(sum(map(_area, rings))) * pixel >= SMALLEST_NM2:
                path = _slit(rings[0], rings[1:])
                sure = _mean_within(values, path, least)
                found.append(Found(of, seen.image_px(path[:-1]), sure))
    return found


EXPLAINS = ("inclusion",)  # an area that is no cell


def _without(values: Floats, explained: list[Found], seen: Segmentation, least: float) -> Floats:
    """A map without the pieces that hold a feature which explains them."""
    from scipy.ndimage import label

    labels, _ = label(values > least)
    kept = np.array(values)
    for of in explained:
        at = np.round(seen.network_px(of.points_px[0])).astype(np.int64)
        at = np.clip(at, 0, np.asarray(values.shape) - 1)
        inside = labels[at[0], at[1]]
        reach = WIDEST * of.of.context_radius_nm / float(np.mean(seen.pixel_yx_nm))
        if inside and np.ptp(np.argwhere(labels == inside), axis=0).max() <= reach:
            kept[labels == inside] = 0.0
    return kept


def _classes(seen: Segmentation) -> list[FeatureClass]:
    classes = specimen_module(seen.legend.specimen).CLASSES
    return [c for c in classes if c.name in seen.legend.features]


def _ridge(at: Floats, weight: Floats, within: NDArray[np.bool_]) -> Floats:
    """The ridge (n, 2) of a piece of line from one end to the other.

    Points are put in order along the piece's longest axis; between two knots the ridge is
    where the line is surest.  Where that is not ``within``, at the border of what is looked at,
    the ridge itself lies beyond it, and only its slope is seen.
    """
    middle = weight @ at / weight.sum()
    _, _, axes = np.linalg.svd(at - middle, full_matrices=False)
    along = (at - middle) @ axes[0]
    count = max(1, int(np.ceil(np.ptp(along) / KNOT)))
    knot = np.minimum(((along - along.min()) / KNOT).astype(np.int64), count - 1)
    order = np.lexsort((weight, knot))
    last = np.flatnonzero(np.diff(knot[order], append=count))  # the surest of each knot
    there = np.zeros(count, dtype=np.bool_)
    there[knot[order][last]] = within[order][last]
    sure = weight**SURE
    total = np.bincount(knot, sure, minlength=count)
    sums = [np.bincount(knot, sure * at[:, a], minlength=count) for a in (0, 1)]
    path = np.column_stack(sums)[there] / total[there, None]
    if len(path) < 2:
        return path
    # The outermost knots lie half a knot inside; the line goes to the ends of the piece.
    ends = [path[0] + (path[0] - path[1]) / 2, path[-1] + (path[-1] - path[-2]) / 2]
    return np.vstack([ends[0], path, ends[1]])


def _area(corners: Floats) -> float:
    """Of a polygon (n, 2); its sign tells which way round it goes."""
    y, x = corners.T
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))


def _slit(outer: Floats, holes: list[Floats]) -> Floats:
    """A closed polygon (n, 2) with its holes as one path: a slit leads to each and back."""
    path = outer
    for hole in holes:
        away = np.hypot(*(path[:, None] - hole[None]).transpose(2, 0, 1))
        here, there = np.unravel_index(away.argmin(), away.shape)
        around = np.vstack([hole[there:-1], hole[: there + 1]])  # closed, from its nearest corner
        path = np.vstack([path[: here + 1], around, path[here:]])
    return path


def _mean_within(values: Floats, path: Floats, least: float) -> float:
    """Of the values (rows, columns) above the least that a polygon encloses."""
    low = np.floor(path.min(axis=0)).astype(np.int64).clip(0)
    high = np.ceil(path.max(axis=0)).astype(np.int64) + 1
    box = values[low[0] : high[0], low[1] : high[1]]
    at = np.moveaxis(np.indices(box.shape), 0, -1).reshape(-1, 2) + low
    own = box.ravel()[inside(at.astype(np.float64), path) & (box.ravel() > least)]
    return float(own.mean()) if len(own) else least
