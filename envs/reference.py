"""The reference frame, and the lattices of frames that a field holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX, ScanRequest

Points = NDArray[np.float64]


@dataclass(frozen=True)
class ReferenceFrame:
    """The frame that an id's fixed-frame track uses."""

    fov_yx_nm: YX
    shape_yx: tuple[int, int]
    dwell_us: float
    detectors: tuple[str, ...] = ("haadf",)

    @property
    def side_nm(self) -> float:
        """The shorter side."""
        return min(self.fov_yx_nm)

    def at(self, centre_yx_nm: YX) -> ScanRequest:
        """The request for this frame at a centre in scan coordinates."""
        return ScanRequest(
            centre_yx_nm, self.fov_yx_nm, self.shape_yx, self.dwell_us, 0.0, self.detectors
        )

    def half_range_yx_nm(self, field_yx_nm: YX) -> YX:
        """How far a valid centre may lie from the middle of the field."""
        return (
            (field_yx_nm[0] - self.fov_yx_nm[0]) / 2,
            (field_yx_nm[1] - self.fov_yx_nm[1]) / 2,
        )

    def lattice(self, field_yx_nm: YX, pitch: float = 1.0) -> tuple[Points, tuple[int, int]]:
        """Centres (n, 2) of frames that cover a field, in raster order, and (rows, columns).

        Args:
            field_yx_nm: the field.
            pitch: distance between neighbours, in frames; where it does not
                divide the field, the last row and column lie flush with the
                border.
        """
        if not pitch > 0:
            raise ValueError(f"a pitch of {pitch} frames; it must be above 0")
        y, x = (
            _axis(half, pitch * fov)
            for half, fov in zip(self.half_range_yx_nm(field_yx_nm), self.fov_yx_nm, strict=True)
        )
        centres = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
        return centres, (len(y), len(x))


def _axis(half_nm: float, step_nm: float) -> Points:
    whole = int(np.floor(2 * half_nm / step_nm + 1e-9))
    positions = -half_nm + step_nm * np.arange(whole + 1)
    if half_nm - positions[-1] > 1e-9 * max(1.0, half_nm):
        positions = np.append(positions, half_nm)
    return np.asarray(positions, dtype=np.float64)
