"""Where the probe stops."""

from __future__ import annotations

from dataclasses import dataclass

from ..hardware.microscope import YX

PAD = 2  # nodes beyond the field on every side, which the spline needs


@dataclass(frozen=True)
class Grid:
    """Probe positions: node (i, j) is at ``origin_yx_nm + (i, j) * sampling_nm``."""

    origin_yx_nm: YX
    shape_yx: tuple[int, int]
    sampling_nm: float

    @classmethod
    def over(cls, field_yx_nm: YX, sampling_nm: float) -> Grid:
        """The grid that covers a field about the origin, and ``PAD`` nodes more."""
        if not sampling_nm > 0:
            raise ValueError(f"sampling {sampling_nm} nm; it must be above 0")
        spans = [max(1, round(side / sampling_nm)) for side in field_yx_nm]
        origin = [round(-(n / 2 + PAD) * sampling_nm, 9) for n in spans]
        shape = (spans[0] + 1 + 2 * PAD, spans[1] + 1 + 2 * PAD)
        return cls((origin[0], origin[1]), shape, sampling_nm)
