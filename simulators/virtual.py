"""What simulated and recorded microscopes share: state, checks, costs, the beam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import corners
from ..hardware.costs import ELECTRONS_PER_PA_US, CostModel, travel_nm
from ..hardware.errors import ConnectionLost, LimitError
from ..hardware.limits import SLACK_NM, check
from ..hardware.microscope import (
    YX,
    BeamShift,
    Capabilities,
    Frame,
    Limits,
    ScanRegion,
    ScanRequest,
    StageMove,
    State,
)
from .exposure import Exposure

F32 = NDArray[np.float32]


class VirtualMicroscope(ABC):
    """A microscope without a beam: subclasses say what a scan of a region yields.

    Args:
        capabilities: what ``open`` answers; its limits are enforced here.
        costs: prices in time and charge.
        beam_current_pa: the declared beam current.
    """

    def __init__(
        self, capabilities: Capabilities, costs: CostModel, beam_current_pa: float
    ) -> None:
        self.capabilities = capabilities
        self.costs = costs
        self.last_exposure: Exposure | None = None
        self._at_yx_nm: YX | None = None  # where the latest frame was
        self._state = State(beam_current_pa=beam_current_pa, current_source="declared")
        self._open = False

    @abstractmethod
    def _scan(self, request: ScanRequest, shift_yx_nm: YX) -> tuple[ScanRegion, dict[str, F32]]:
        """The region really scanned and the readings by detector."""

    def _exposure(self, region: ScanRegion, shift_yx_nm: YX, dose: float, pixel: float) -> Exposure:
        """Where the electrons of the scan just made truly went, and what they did."""
        return Exposure(region, shift_yx_nm, pixel, dose)

    def _moved(self, by_yx_nm: YX, time_s: float) -> None:
        """Beam shift or stage brought the probe elsewhere on the specimen, in a time."""
        return

    def open(self) -> Capabilities:
        self._open = True
        return self.capabilities

    def state(self) -> State:
        self._need_open()
        return self._state

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        self._need_open()
        check(StageMove(yx_nm), self.limits)
        # The specimen goes with the stage, and the probe the other way on it.
        by = _difference(self._state.stage_yx_nm, yx_nm)
        self._state = replace(self._state, stage_yx_nm=yx_nm)
        self._moved(by, self.costs.stage_time_s(by))
        return self._state

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._need_open()
        check(BeamShift(yx_nm), self.limits)
        by = _difference(yx_nm, self._state.beam_shift_yx_nm)
        self._state = replace(self._state, beam_shift_yx_nm=yx_nm)
        self._moved(by, self.costs.shift_time_s())
        return self._state

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        self._need_open()
        state = self._state
        current = state.beam_current_pa
        assert current is not None
        check(request, self.limits, current)
        shift = _difference(state.beam_shift_yx_nm, state.stage_yx_nm)
        if shift != (0.0, 0.0):
            self._check_specimen(request, shift)
        region, data = self._scan(request, shift)
        charge = 0.0
        if state.blanked:
            data = {name: np.zeros_like(image) for name, image in data.items()}
        else:
            charge = self.costs.charge_e(request, current)
        pitch = request.pixel_yx_nm
        dose = 0.0 if state.blanked else current * ELECTRONS_PER_PA_US * request.dwell_us
        self.last_exposure = self._exposure(
            region, shift, dose / (pitch[0] * pitch[1] * 100.0), max(pitch)
        )
        way = 0.0 if self._at_yx_nm is None else travel_nm(self._at_yx_nm, request.centre_yx_nm)
        self._at_yx_nm = request.centre_yx_nm
        time_s = self.costs.time_s(request, way)
        return Frame(request, region, data, request.shape_yx[0], charge, time_s, state)

    def blank(self, on: bool) -> State:
        self._need_open()
        self._state = replace(self._state, blanked=on)
        return self._state

    def abort(self) -> None:
        """Nothing is ever under way: a scan is computed at once, and ``can_abort`` is False."""
        return

    def close(self) -> None:
        self._state = replace(self._state, blanked=True)
        self._open = False

    @property
    def limits(self) -> Limits:
        return self.capabilities.limits

    def _need_open(self) -> None:
        if not self._open:
            raise ConnectionLost(f"{self.capabilities.name} is closed; call open() first")

    def _check_specimen(self, request: ScanRequest, shift_yx_nm: YX) -> None:
        """Beyond the field there is nothing to compute."""
        half = np.asarray(self.limits.field_yx_nm) / 2 + SLACK_NM
        if (np.abs(corners(request.region) + np.asarray(shift_yx_nm)) > half).any():
            raise LimitError(
                f"with stage and beam shift the frame would lie {shift_yx_nm} nm off, beyond the "
                f"field of {self.limits.field_yx_nm} nm that this microscope can show"
            )


def _difference(a: YX, b: YX) -> YX:
    return a[0] - b[0], a[1] - b[1]
