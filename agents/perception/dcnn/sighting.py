"""From a segmentation to what was sighted in each block of a frame."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..sightings import BLOCKS, Layers
from . import claims
from .legend import F32, band_nm
from .segmenter import Segmentation


def sighted(seen: Segmentation, layers: Layers, thresholds: Mapping[str, float]) -> F32:
    """Amounts (layers, BLOCKS, BLOCKS) of what a network says.

    Points count from the confidence on from which they are claimed; the length of lines and the
    area of cells are expectations.
    """
    rows, columns = seen.probability.shape[1:]
    edges = [np.linspace(0, n, BLOCKS + 1).round().astype(np.int64) for n in (rows, columns)]
    pixel = seen.pixel_yx_nm[0] * seen.pixel_yx_nm[1]
    out = np.zeros((len(layers.names), BLOCKS, BLOCKS), dtype=np.float32)
    number = {name: k for k, name in enumerate(layers.names)}
    for found in claims.points(seen):
        if found.confidence >= thresholds[found.of.name]:
            at = seen.network_px(found.points_px[0]) + 0.5
            block = np.clip(at * BLOCKS / (rows, columns), 0, BLOCKS - 1).astype(np.int64)
            out[number[found.of.name], block[0], block[1]] += 1.0
    for k, of in enumerate(layers.classes):
        if of.shape == "segment":
            lengths = _sums(seen.channel(of.name), edges) * pixel / band_nm(of)
            out[k] = lengths / of.size_nm
        elif of.shape == "cell":
            told_by = seen.channel(seen.legend.as_area[of.name])
            out[k] = _sums(told_by, edges) * pixel / of.size_nm**2
    size = np.outer(*(np.diff(e) for e in edges))
    for area in layers.areas:
        out[number[area]] = _sums(seen.channel(area), edges) / size
    return out


def _sums(values: F32, edges: list[np.ndarray]) -> F32:
    """Of a map (rows, columns), by block (BLOCKS, BLOCKS)."""
    by_row = np.add.reduceat(values, edges[0][:-1], axis=0)
    return np.asarray(np.add.reduceat(by_row, edges[1][:-1], axis=1))
