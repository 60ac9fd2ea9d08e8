"""Rings of a flat three-fold network: the faces that its bonds enclose."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def rings(points: np.ndarray, cutoff: float, reach: float | None = None) -> list[np.ndarray]:
    """Every inner face of the bonds shorter than ``cutoff``, as indices of its corners."""
    pairs = cKDTree(points).query_pairs(cutoff, output_type="ndarray")
    around: dict[int, list[int]] = {}
    for i, j in pairs:
        around.setdefault(int(i), []).append(int(j))
        around.setdefault(int(j), []).append(int(i))
    follow = {}
    for i, near in around.items():
        angles = [np.arctan2(*(points[j] - points[i])) for j in near]
        order = [near[k] for k in np.argsort(angles)]
        for k, j in enumerate(order):
            follow[(j, i)] = (i, order[k - 1])  # arriving from j, leave by the next one
    found, used = [], set()
    for edge in follow:
        if edge in used:
            continue
        face, at = [], edge
        while at not in used:
            used.add(at)
            face.append(at[0])
            at = follow[at]
        corners = points[face]
        y, x = corners.T
        area = 0.5 * np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))
        if len(face) <= 40 and area > 0:
            found.append(np.array(face))
    return found
