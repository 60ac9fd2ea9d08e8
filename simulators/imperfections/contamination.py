"""Carbon that grows where the beam dwells."""

from __future__ import annotations

from dataclasses import dataclass

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
        if not self.nm_per_e_per_a2 >= 0 or not self.spread_nm > 0:
            raise ValueError(
                f"a rate of {self.nm_per_e_per_a2} nm for 1 e/Å² must be at least 0, and a spread "
                f"of {self.spread_nm} nm above 0"
            )

    def thickness(
        self, exposure: Exposure, grid: Grid
    ) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
        """What one exposure adds: the nodes concerned, and nm at each of them."""
        from scipy.special import erf

        middle = np.asarray(exposure.region.centre_yx_nm) + np.asarray(exposure.shift_yx_nm)
        half = np.asarray(exposure.region.fov_yx_nm) / 2
        profiles, where = [], []
        for k in range(2):
            nodes = grid.origin_yx_nm[k] + np.arange(grid.shape_yx[k]) * grid.sampling_nm
            far = half[k] + 4 * self.spread_nm
            low, high = np.searchsorted(nodes, [middle[k] - far, middle[k] + far])
            offset = (nodes[low:high] - middle[k]) / (np.sqrt(2) * self.spread_nm)
            edge = half[k] / (np.sqrt(2) * self.spread_nm)
            profiles.append(0.5 * (erf(offset + edge) - erf(offset - edge)))
            where.append(slice(int(low), int(high)))
        most = self.nm_per_e_per_a2 * exposure.dose_e_per_a2
        grown = (most * np.outer(*profiles)).astype(np.float32)
        return (where[0], where[1]), grown
