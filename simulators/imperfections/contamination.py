"""Carbon that grows where the beam dwells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...hardware.coordinates import deflection, rotation
from ..exposure import Exposure
from ..grid import Grid

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ContaminationGrowth:
    """Hydrocarbons on the surface are cracked under the beam and stay.

    The growth is proportional to the dose, and diffuses a little beyond the
    scanned area.  Rates vary by orders of magnitude with the cleanliness of
    specimen and column (Hettler et al., Micron 96 (2017) 38); the default is a
    clean one: 0.1 nm after 1e6 e/Å².

    Attributes:
        nm_per_e_per_a2: thickness for a dose.
        spread_nm: standard deviation of the edge of what grows.
    """

    nm_per_e_per_a2: float = 1e-7
    spread_nm: float = 0.3

    def __post_init__(self) -> None:
        if not self.nm_per_e_per_a2 >= 0 or not self.spread_nm > 0:
            raise ValueError(
                f"a rate of {self.nm_per_e_per_a2} nm for 1 e/Å² must be at least 0, and a spread "
                f"of {self.spread_nm} nm above 0"
            )

    def thickness(
        self, exposure: Exposure, grid: Grid
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """What one exposure adds: the nodes concerned, and nm at each of them."""
        region = exposure.region
        middle = deflection(region.centre_yx_nm, region.rotation_rad) + exposure.shift_yx_nm
        half = np.asarray(region.fov_yx_nm) / 2
        turn = rotation(region.rotation_rad)
        far = half + 4 * self.spread_nm
        # A scan error of some mrad moves corners by far less than edges are blurred: not turned,
        # a frame is the product of two profiles.
        if abs(turn[0, 1]) * far.max() < 0.1 * self.spread_nm and turn[0, 0] > 0:
            turn = np.eye(2)
        offsets, where = [], []
        for k, reach in enumerate(np.abs(turn) @ far):
            nodes = grid.origin_yx_nm[k] + np.arange(grid.shape_yx[k]) * grid.sampling_nm
            low, high = np.searchsorted(nodes, [middle[k] - reach, middle[k] + reach])
            offsets.append(nodes[low:high] - middle[k])
            where.append(slice(int(low), int(high)))
        down, right = offsets[0][:, None], offsets[1][None, :]
        if turn[0, 1] != 0.0:
            # Into the axes of the scan.
            down, right = (turn[0, k] * down + turn[1, k] * right for k in range(2))
        grown = self._profile(down, half[0]) * self._profile(right, half[1])
        grown *= self.nm_per_e_per_a2 * exposure.dose_e_per_a2
        return (where[0], where[1]), grown.astype(np.float32)

    def _profile(self, offset_nm: Floats, half_nm: float) -> Floats:
        """A box of ``half_nm`` to either side, its edges blurred."""
        from scipy.special import erf

        width = np.sqrt(2) * self.spread_nm
        outer, inner = (offset_nm + half_nm) / width, (offset_nm - half_nm) / width
        return np.asarray(0.5 * (erf(outer) - erf(inner)))
