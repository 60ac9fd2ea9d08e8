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
    a, b = columns(seen, corner).yx_px, columns(seen, middle).yx_px
    nothing = np.empty((0, 2))
    if len(a) < CORNERS or not len(b):
        return nothing, nothing
    distance, nearest = cKDTree(a * pixel).query(b * pixel, k=CORNERS)
    whole = distance[:, -1] - distance[:, 0] < UNEVEN * CELL_NM
    whole &= distance[:, -1] < CELL_NM
    around = (a * pixel)[nearest].mean(axis=1)
    return b[whole], (b * pixel - around)[whole]
