"""How good a network is: precision and recall by channel, and whether its confidence is right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from ....simulators.specimens import specimen_module
from ...rates import Rates
from . import claims
from .legend import COLUMN_NM, Legend, evenly, pixels_of
from .polarisation import off_middle, polarisation
from .scenes import SIDE, Scene
from .segmenter import Segmentation, Segmenter

COLUMN_TOLERANCE_NM = 0.05
BINS = 10  # of confidence
BORDER_NM = 0.06  # truth nearer to the border than this is neither asked for nor held against
Floats = NDArray[np.float64]


@dataclass
class Tally(Rates):
    """Of one channel: what there is, what was claimed, and what of it is right.

    ``claimed_at`` and ``right_at`` (BINS,) are the same by confidence; ``off_nm`` the distances of
    the right ones.
    """

    true: int = 0
    claimed: int = 0
    right: int = 0
    claimed_at: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    right_at: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, dtype=np.int64))
    off_nm: list[float] = field(default_factory=list)

    def add(self, true: Floats, claimed: Floats, confidence: Floats, within: float) -> None:
        """Match places (n, 2) to places (m, 2), all in nm, one to one, nearest in sum."""
        self.true += len(true)
        self.claimed += len(claimed)
        at = np.minimum((np.asarray(confidence) * BINS).astype(np.int64), BINS - 1)
        np.add.at(self.claimed_at, at, 1)
        if not len(true) or not len(claimed):
            return
        apart = np.linalg.norm(true[:, None] - claimed, axis=2)
        rows, columns = linear_sum_assignment(np.where(apart <= within, apart, 1e3))
        close = apart[rows, columns] <= within
        self.right += int(close.sum())
        np.add.at(self.right_at, at[columns[close]], 1)
        self.off_nm += apart[rows, columns][close].tolist()

    def count(self, other: Tally) -> None:
        """Those of another scene too."""
        self.true += other.true
        self.claimed += other.claimed
        self.right += other.right
        self.claimed_at += other.claimed_at
        self.right_at += other.right_at
        self.off_nm += other.off_nm


def add_up(tallies: Iterable[Mapping[str, Tally]]) -> dict[str, Tally]:
    """Of several scenes or images, channel by channel."""
    found: dict[str, Tally] = {}
    for own in tallies:
        for channel, tally in own.items():
            found.setdefault(channel, Tally()).count(tally)
    return found


def score(
    segmenter: Segmenter, scenes: Iterable[Scene], thresholds: Mapping[str, float] | None = None
) -> dict[str, Tally]:
    """By channel: columns and points one to one within their tolerance; lines by their length,
    point by point a network's pixel apart, in the same way; areas pixel by pixel.

    Args:
        segmenter: the network.
        scenes: of its specimen; as many as are to be looked at.
        thresholds: confidence from which a feature of each class is claimed; the network's own by
            default.
    """
    legend = segmenter.legend
    found = {name: Tally() for name in legend.channels}
    least = segmenter.thresholds if thresholds is None else thresholds
    for scene in scenes:
        _score(segmenter, legend, scene, least, found)
    return found


def atoms(segmenter: Segmenter, scenes: Iterable[Scene]) -> Tally:
    """Of columns of whatever kind, taken for whatever kind."""
    found, pixel = Tally(), segmenter.legend.pixel_nm
    for scene in scenes:
        each = _columns(segmenter.look(scene.image, (pixel, pixel)), scene).values()
        true, claimed, height = (np.concatenate(of) for of in zip(*each, strict=True))
        found.add(true, claimed, height, COLUMN_TOLERANCE_NM)
    return found


def displacements(
    segmenter: Segmenter, scenes: Iterable[Scene], corner: str = "Bi", middle: str = "Fe"
) -> dict[str, float]:
    """How right the polarisation is, cell by cell, against that of the true columns.

    Returns:
        ``cells``, those whose five columns are in the frame and not under contamination; ``found``
        of them; and ``rms_nm``, the root mean square of the error's length over these.
    """
    legend = segmenter.legend
    kinds = [legend.kinds.index(kind) for kind in (corner, middle)]
    cells, errors = 0, []
    for scene in scenes:
        pixel = np.asarray(scene.request.fov_yx_nm) / SIDE
        at = pixels_of(scene.truth.columns_yx_nm, scene.request, (SIDE, SIDE))
        sound = _inside(at, pixel) & claims.clear(legend, scene.painted, at)
        true = [at[sound & (scene.truth.column_channel == kind)] * pixel for kind in kinds]
        whole, expected = off_middle(*true)
        cells += int(whole.sum())
        seen = segmenter.look(scene.image, (legend.pixel_nm, legend.pixel_nm))
        places, moved = polarisation(seen, corner, middle)
        if not len(expected) or not len(places):
            continue
        apart, nearest = cKDTree(places * pixel).query(true[1][whole])
        near = apart <= COLUMN_TOLERANCE_NM
        errors += np.linalg.norm(moved[nearest] - expected, axis=1)[near].tolist()
    rms = float(np.sqrt(np.mean(np.square(errors)))) if errors else float("nan")
    return {"cells": cells, "found": len(errors), "rms_nm": round(rms, 5)}


def _columns(seen: Segmentation, scene: Scene) -> dict[str, tuple[Floats, Floats, Floats]]:
    """By kind: true places (n, 2) and claimed ones (m, 2), in nm, and how sure these are (m,).

    What is at the very border, or under contamination, is neither.
    """
    pixel, legend, painted = np.asarray(scene.request.fov_yx_nm) / SIDE, seen.legend, scene.painted
    at = pixels_of(scene.truth.columns_yx_nm, scene.request, (SIDE, SIDE))
    found = {}
    for k, (kind, there) in enumerate(claims.columns(seen).items()):
        true = at[scene.truth.column_channel == k]
        true = true[_inside(true, pixel)]
        true = true[claims.clear(legend, painted, true)]
        inner = _inside(there.yx_px, pixel) & claims.clear(legend, painted, there.yx_px)
        found[kind] = true * pixel, there.yx_px[inner] * pixel, there.height[inner]
    return found


def _score(
    segmenter: Segmenter,
    legend: Legend,
    scene: Scene,
    least: Mapping[str, float],
    found: dict[str, Tally],
) -> None:
    pixel = np.asarray(scene.request.fov_yx_nm) / SIDE
    seen = segmenter.look(scene.image, (legend.pixel_nm, legend.pixel_nm))
    truth, painted = scene.truth, scene.painted
    for kind, columns in _columns(seen, scene).items():
        found[kind].add(*columns, COLUMN_TOLERANCE_NM)
    classes = {c.name: c for c in specimen_module(legend.specimen).CLASSES}
    places = pixels_of(truth.specimen.feature_yx_nm, scene.request, (SIDE, SIDE))
    of_class = np.array(truth.specimen.class_names)[truth.specimen.feature_class]
    claimed_at = claimed_places(seen, least)
    dense = pixels_of(truth.features_yx_nm, scene.request, (SIDE, SIDE))
    for name in legend.features:
        if classes[name].shape == "point":
            true, within = places[of_class == name], max(classes[name].tolerance_nm, COLUMN_NM)
        else:
            channel = legend.channels.index(name)
            true, within = dense[truth.feature_channel == channel], classes[name].tolerance_nm
        at_image, confidence = claimed_at[name]
        claimed = seen.network_px(at_image)
        inner = _inside(claimed, pixel)
        found[name].add(
            true[_inside(true, pixel)] * pixel, claimed[inner] * pixel, confidence[inner], within
        )
    for k, name in enumerate(legend.channels):
        if name not in legend.areas:
            continue
        true_px, claimed_px = painted[k] > 0.5, seen.probability[k] > 0.5
        tally = found[name]
        tally.true += int(true_px.sum())
        tally.claimed += int(claimed_px.sum())
        tally.right += int((true_px & claimed_px).sum())
        bins = np.minimum((seen.probability[k] * BINS).astype(np.int64), BINS - 1)
        tally.claimed_at += np.bincount(bins.ravel(), minlength=BINS)
        tally.right_at += np.bincount(bins[true_px], minlength=BINS)


def claimed_places(
    seen: Segmentation, least: Mapping[str, float]
) -> dict[str, tuple[Floats, Floats]]:
    """By class, where something is claimed, (n, 2) in the image's pixels, and how sure it is (n,).

    Points as they are, and lines point by point, at most one of the network's pixels apart.
    """
    everywhere = np.ones(seen.probability.shape[1:], dtype=np.bool_)
    every = (*claims.points(seen), *claims.lines(seen, everywhere))
    found = {}
    for name in seen.legend.features:
        own = [c for c in every if c.of.name == name and c.confidence >= least[name]]
        paths = [
            c.points_px if c.of.shape == "point" else evenly(c.points_px, seen.scale_yx[0])
            for c in own
        ]
        sure = np.repeat([c.confidence for c in own], [len(path) for path in paths])
        found[name] = np.concatenate([np.empty((0, 2)), *paths]), sure
    return found


def _inside(at_px: Floats, pixel_nm: Floats) -> NDArray[np.bool_]:
    """What is not at the very border."""
    border = BORDER_NM / pixel_nm
    return np.asarray(((at_px > border - 0.5) & (at_px < SIDE - 0.5 - border)).all(axis=1))
