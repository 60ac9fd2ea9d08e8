"""What a scan and a move cost in time, and a scan in electrons."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, sqrt
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .microscope import YX, ScanRequest

Number = TypeVar("Number", float, NDArray[np.float64])
ELECTRONS_PER_PA_US = 6.241509074  # 1 pA for 1 µs, in electrons (1/e, CODATA 2018)


def travel_nm(a_yx_nm: YX, b_yx_nm: YX) -> float:
    """The way of the beam from one centre to another."""
    # Not by hypot, whose last digit differs from one library to another.
    dy, dx = b_yx_nm[0] - a_yx_nm[0], b_yx_nm[1] - a_yx_nm[1]
    return sqrt(dy * dy + dx * dx)


@dataclass(frozen=True)
class CostModel:
    """The instrument's overheads.

    Attributes:
        flyback_us: return of the beam after each line.
        flyback_blanked: the beam is off during fly-back.
        offset_settle_us: wait after a change of the scan offset, once a frame.
        travel_us_per_nm: besides, for the way of the beam between the centres of frames.
        shift_settle_us: wait after a beam shift.
        stage_speed_nm_per_s: travel of the stage.
        stage_settle_s: wait after a stage move.
    """

    flyback_us: float = 100.0
    flyback_blanked: bool = False
    offset_settle_us: float = 1000.0
    travel_us_per_nm: float = 20.0
    shift_settle_us: float = 10_000.0
    stage_speed_nm_per_s: float = 100.0
    stage_settle_s: float = 5.0

    def beam_on_us(self, request: ScanRequest) -> float:
        """Time with the beam on the specimen."""
        return self.beam_on_us_of(request.shape_yx, request.dwell_us)

    def charge_e(self, request: ScanRequest, beam_current_pa: float) -> float:
        """Electrons that a scan sends."""
        return self.beam_on_us(request) * beam_current_pa * ELECTRONS_PER_PA_US

    def time_s(self, request: ScanRequest, travel_nm: float = 0.0) -> float:
        """Time that a scan takes, the way there and settling of the scan offset included."""
        return self.time_s_of(request.shape_yx, request.dwell_us, travel_nm)

    def beam_on_us_of(self, shape_yx: tuple[int, int], dwell_us: Number) -> Number:
        """The same for one dwell or an array of them."""
        rows, columns = shape_yx
        flyback = 0.0 if self.flyback_blanked else rows * self.flyback_us
        return rows * columns * dwell_us + flyback

    def time_s_of(self, shape_yx: tuple[int, int], dwell_us: Number, travel_nm: Number) -> Number:
        """The same for one dwell and way or arrays of them."""
        rows, columns = shape_yx
        scan = rows * (columns * dwell_us + self.flyback_us)
        return (scan + self.offset_settle_us + self.travel_us_per_nm * travel_nm) * 1e-6

    def shift_time_s(self) -> float:
        return self.shift_settle_us * 1e-6

    def stage_time_s(self, distance_yx_nm: YX) -> float:
        """Time that a stage move takes, settling included."""
        return hypot(*distance_yx_nm) / self.stage_speed_nm_per_s + self.stage_settle_s
