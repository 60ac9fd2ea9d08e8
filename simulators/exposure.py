"""Where the electrons of a frame truly went.

``Frame`` carries what the instrument reports; this is what it did.  The two
agree as long as nothing drifts, and only truth is scored by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import Points, rotation
from ..hardware.microscope import YX, ScanRegion

EDGE_NM = 1e-9  # the edge of a footprint belongs to it


@dataclass(frozen=True, slots=True)
class Exposure:
    """One frame's true footprint on the specimen.

    Attributes:
        region: as scanned, about the optic axis.
        shift_yx_nm: beam shift minus stage position.
        pixel_nm: the coarser of the two pixel pitches.
        dose_e_per_a2: electrons per area inside the footprint.
        destroyed: indices of the features that these electrons destroyed.
    """

    region: ScanRegion
    shift_yx_nm: YX
    pixel_nm: float
    dose_e_per_a2: float
    destroyed: tuple[int, ...] = ()

    def may_cover(self, low_yx_nm: Points, high_yx_nm: Points) -> NDArray[np.bool_]:
        """Which boxes (n,) come near the footprint: cheap, and never wrong about what does not."""
        middle = np.asarray(self.region.centre_yx_nm)
        half = np.asarray(self.region.fov_yx_nm) / 2 + EDGE_NM
        if self.region.rotation_rad != 0.0:
            turn = rotation(self.region.rotation_rad)
            middle, half = turn @ middle, np.abs(turn) @ half
        middle = middle + np.asarray(self.shift_yx_nm)
        near = (low_yx_nm <= middle + half) & (high_yx_nm >= middle - half)
        return np.asarray(near.all(axis=-1))

    def covers(self, points_yx_nm: Points) -> NDArray[np.bool_]:
        """Which of the specimen points (..., 2) lie inside the footprint, its edge included."""
        angle, region = self.region.rotation_rad, self.region
        points = np.ascontiguousarray(points_yx_nm, dtype=np.float64).reshape(-1, 2)
        inside = np.empty(len(points), dtype=np.bool_)
        _cover(
            points,
            region.centre_yx_nm,
            region.fov_yx_nm,
            cos(angle),
            sin(angle),
            self.shift_yx_nm,
            inside,
        )
        return inside.reshape(points_yx_nm.shape[:-1])


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def within(
    y: float, x: float, centre: YX, half_y: float, half_x: float, c: float, s: float
) -> bool:
    """Whether a point lies in a footprint, its edge included; NaN does not.

    Args:
        y, x: of the point, less the shift of the probe.
        centre: of the frame, about the optic axis.
        half_y, half_x: half its sides, and ``EDGE_NM``.
        c, s: cosine and sine of its rotation.
    """
    v, u = y * c - x * s, y * s + x * c
    return abs(v - centre[0]) <= half_y and abs(u - centre[1]) <= half_x


@numba.njit(cache=True, fastmath=False, nogil=True)
def _cover(
    points: Points,
    centre: YX,
    fov: YX,
    c: float,
    s: float,
    shift: YX,
    inside: NDArray[np.bool_],
) -> None:
    """In one pass: a frame is asked for tens of thousands of columns where atoms may be lost."""
    half_y, half_x = fov[0] / 2 + EDGE_NM, fov[1] / 2 + EDGE_NM
    for n in range(points.shape[0]):
        y, x = points[n, 0] - shift[0], points[n, 1] - shift[1]
        inside[n] = within(y, x, centre, half_y, half_x, c, s)
