"""Where the electrons of a frame truly went.

``Frame`` carries what the instrument reports; this is what it did.  The two
agree as long as nothing drifts, and only truth is scored by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import Points, rotation
from ..hardware.microscope import YX, ScanRegion


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
        half = np.asarray(self.region.fov_yx_nm) / 2 + 1e-9
        if self.region.rotation_rad != 0.0:
            turn = rotation(self.region.rotation_rad)
            middle, half = turn @ middle, np.abs(turn) @ half
        middle = middle + np.asarray(self.shift_yx_nm)
        near = (low_yx_nm <= middle + half) & (high_yx_nm >= middle - half)
        return np.asarray(near.all(axis=-1))

    def covers(self, points_yx_nm: Points) -> NDArray[np.bool_]:
        """Which of the specimen points (n, 2) lie inside the footprint, its edge included."""
        offset = points_yx_nm - np.asarray(self.shift_yx_nm)
        if self.region.rotation_rad != 0.0:
            offset = offset @ rotation(self.region.rotation_rad)
        half = np.asarray(self.region.fov_yx_nm) / 2 + 1e-9
        near = np.abs(offset - np.asarray(self.region.centre_yx_nm)) <= half
        return np.asarray(near.all(axis=-1))
