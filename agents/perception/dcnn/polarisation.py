"""Polarisation of a perovskite, cell by cell: how far one sublattice is off the other's middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .claims import columns
from .segmenter import Segmentation

CORNERS = 4  # columns of the A sublattice around one of the B sublattice
CELL_NM = 0.396
UNEVEN = 0.25  # of a cell: corners that differ more in their distance surround no cell
Floats = NDArray[np.float64]


def polarisation(
    seen: Segmentation, corner: str = "Bi", middle: str = "Fe"
) -> tuple[Floats, Floats]:
    """Where cells are, and the displacement of the middle from its corners.

    Args:
        seen: what a network says of an image.
        corner: the kind of column at the corners of a cell.
        middle: the kind in its middle.

    Returns:
        Positions (n, 2) of the middles in the network's pixels, and displacements (n, 2)
        along (y, x) of the image, in nm.
    """
    pixel = np.asarray(seen.pixel_yx_nm)
    found = columns(seen)
    corners, middles = (found[kind].yx_px * pixel for kind in (corner, middle))
    whole, moved = off_middle(corners, middles)
    return middles[whole] / pixel, moved


def off_middle(corners_nm: Floats, middles_nm: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Which columns (m, 2) are amid four others (n, 2), and how far (w, 2) off their middle."""
    if len(corners_nm) < CORNERS or not len(middles_nm):
        return np.zeros(len(middles_nm), dtype=np.bool_), np.empty((0, 2))
    distance, nearest = cKDTree(corners_nm).query(middles_nm, k=CORNERS)
    whole = distance[:, -1] - distance[:, 0] < UNEVEN * CELL_NM
    whole &= distance[:, -1] < CELL_NM
    return whole, (middles_nm - corners_nm[nearest].mean(axis=1))[whole]
