"""Carbon that grows where the beam dwells."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, erf, floor, sin, sqrt

import numba
import numpy as np
from numpy.typing import NDArray

from ..exposure import Exposure
from ..grid import Grid


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
        if not 0 <= self.nm_per_e_per_a2 < np.inf or not 0 < self.spread_nm < np.inf:
            raise ValueError(
                f"a rate of {self.nm_per_e_per_a2} nm for 1 e/Å² must be at least 0, and a spread "
                f"of {self.spread_nm} nm above 0, both finite"
            )

    def deposit(
        self, exposure: Exposure, grid: Grid, per_nm: float, image: NDArray[np.float32]
    ) -> tuple[int, int, int, int]:
        """Add ``per_nm`` times what one exposure adds to an image; the nodes touched.

        Returns:
            The first row, the one after the last, and the same of columns.
        """
        region = exposure.region
        touched: tuple[int, int, int, int] = deposit(
            image,
            grid.origin_yx_nm,
            grid.sampling_nm,
            region.centre_yx_nm,
            region.fov_yx_nm,
            region.rotation_rad,
            exposure.shift_yx_nm,
            self.nm_per_e_per_a2 * exposure.dose_e_per_a2 * per_nm,
            self.spread_nm,
        )
        return touched


@numba.njit(cache=True, fastmath=False, nogil=True)
def _profile(offset, half, spread):
    """A box of ``half`` to either side, its edges blurred."""
    width = sqrt(2.0) * spread
    return 0.5 * (erf((offset + half) / width) - erf((offset - half) / width))


@numba.njit(cache=True, fastmath=False, nogil=True)
def deposit(image, origin, sampling, centre, fov, rotation, shift, amount, spread):
    """Add what grows under one frame, ``amount`` in its middle, to an image in place."""
    c, s = cos(rotation), sin(rotation)
    half_y, half_x = fov[0] / 2, fov[1] / 2
    far_y, far_x = half_y + 4 * spread, half_x + 4 * spread
    middle_y = c * centre[0] + s * centre[1] + shift[0]
    middle_x = c * centre[1] - s * centre[0] + shift[1]
    # A scan error of some mrad moves corners by far less than edges are blurred: not turned,
    # a frame is the product of two profiles.
    upright = abs(s) * max(far_y, far_x) < 0.1 * spread and c > 0
    if upright:
        c, s = 1.0, 0.0
    reach_y, reach_x = abs(c) * far_y + abs(s) * far_x, abs(s) * far_y + abs(c) * far_x
    top = max(0, ceil((middle_y - reach_y - origin[0]) / sampling))
    bottom = min(image.shape[0], floor((middle_y + reach_y - origin[0]) / sampling) + 1)
    left = max(0, ceil((middle_x - reach_x - origin[1]) / sampling))
    right = min(image.shape[1], floor((middle_x + reach_x - origin[1]) / sampling) + 1)
    if top >= bottom or left >= right:
        return 0, 0, 0, 0
    across = np.empty(right - left)
    if upright:
        for j in range(left, right):
            across[j - left] = _profile(origin[1] + j * sampling - middle_x, half_x, spread)
    for i in range(top, bottom):
        y = origin[0] + i * sampling - middle_y
        if upright:
            down = amount * _profile(y, half_y, spread)
            for j in range(left, right):
                image[i, j] += down * across[j - left]
        else:
            for j in range(left, right):
                x = origin[1] + j * sampling - middle_x
                # Into the axes of the scan.
                v, u = c * y - s * x, s * y + c * x
                image[i, j] += amount * _profile(v, half_y, spread) * _profile(u, half_x, spread)
    return top, bottom, left, right
