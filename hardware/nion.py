"""Nion Swift: its instruments, and its simulated one, behind the contract.

nionswift, nionswift-instrumentation and nionswift-usim are GPL-3.0; they are an optional extra
(``stemscout[nion]``) and imported only here, in the process of the driver (``adapter.py``).

What the instrument's software does, and its documentation does not say, is told of where it is
dealt with below.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from .coordinates import deflection, rotation
from .costs import CostModel
from .errors import AbortedError, AcquisitionError, ConnectionLost, LimitError
from .limits import check
from .microscope import (
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

PROFILE = 2  # of the three that Swift keeps frame parameters in: record
NM = 1e-9
STAGE, SHIFT, BLANKER, CURRENT = "stage_position_m", "beam_shift_m", "C_Blank", "BeamCurrent"
SQUARE = 1e-6  # by how much the sides of a pixel may differ, relatively
BRIGHT = 2.0  # what a flake of the simulated specimens reads at 1 µs, and noise above it


class NionMicroscope:
    """A scan device and its controller, as they are registered in Nion Swift.

    Args:
        controller: the ``stem_controller``.
        source: the scan's hardware source.
        name: as a person would say it.
        simulated: whether no beam exists.
        field_nm: side of what the scan may reach about the axis.
        stage_nm, shift_nm: how far stage and beam shift may go from zero, along either axis.
    """

    def __init__(
        self,
        controller: Any,
        source: Any,
        name: str,
        simulated: bool,
        field_nm: float,
        stage_nm: float,
        shift_nm: float,
    ) -> None:
        self._controller, self._source = controller, source
        self._scanning = threading.Lock()
        self._aborted = threading.Event()
        self._open = False
        names = [source.get_channel_state(k).name.lower() for k in range(source.channel_count)]
        self._channels = {name: k for k, name in enumerate(names)}
        limits = Limits(
            field_yx_nm=(field_nm, field_nm),
            fov_nm=(1.0, field_nm),
            pixel_nm=(0.001, field_nm),
            shape_px=(4, 4096),
            dwell_us=(0.1, 10_000.0),
            detectors=tuple(names),
            stage_nm=(-stage_nm, stage_nm),
            beam_shift_nm=(-shift_nm, shift_nm),
        )
        self.capabilities = Capabilities(
            name=name,
            limits=limits,
            detectors=tuple(names),
            full_scale=dict.fromkeys(names, (0.0, BRIGHT)),
            region_of_interest="native",
            can_abort=True,
            can_blank=True,
            can_blank_while_busy=True,
            units_verified=simulated,
            simulated=simulated,
            stage_tolerance_nm=0.01 if simulated else 1.0,
            shift_tolerance_nm=0.01 if simulated else 0.1,
        )
        flyback = float(source.get_frame_parameters(PROFILE).as_dict().get("flyback_time_us", 30.0))
        self.costs = CostModel(flyback_us=flyback)

    def open(self) -> Capabilities:
        self._open = True
        return self.capabilities

    def state(self) -> State:
        self._need_open()
        current = self._value(CURRENT) * 1e12
        return State(
            stage_yx_nm=self._point(STAGE),
            beam_shift_yx_nm=self._point(SHIFT),
            blanked=self._value(BLANKER) != 0.0,
            beam_current_pa=current,
            current_source="measured",
        )

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        """Move, and wait until the stage reads what was asked."""
        self._need_open()
        # The software itself would accept a move of a metre.
        check(StageMove(yx_nm), self.capabilities.limits)
        return self._moved(STAGE, yx_nm, timeout_s, self.capabilities.stage_tolerance_nm)

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._need_open()
        check(BeamShift(yx_nm), self.capabilities.limits)
        return self._moved(SHIFT, yx_nm, 5.0, self.capabilities.shift_tolerance_nm)

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        self._need_open()
        state = self.state()
        check(request, self.capabilities.limits, state.beam_current_pa)
        pitch = request.pixel_yx_nm
        if abs(pitch[0] / pitch[1] - 1.0) > SQUARE:
            raise LimitError(
                f"pixels of {pitch[0]:g} x {pitch[1]:g} nm; Nion Swift scans square ones only"
            )
        # A second scan at the same time would end in a bare AssertionError.
        if not self._scanning.acquire(timeout=timeout_s):
            raise AcquisitionError(f"another scan is under way for longer than {timeout_s:g} s")
        try:
            return self._scanned(request, state, timeout_s)
        finally:
            self._scanning.release()

    def blank(self, on: bool) -> State:
        self._need_open()
        self._set(BLANKER, 1.0 if on else 0.0)
        return self.state()

    def abort(self) -> None:
        self._aborted.set()
        if self._scanning.locked():
            self._source.abort_recording()

    def close(self) -> None:
        if self._open:
            self.blank(True)
        self._open = False

    def _scanned(self, request: ScanRequest, state: State, timeout_s: float) -> Frame:
        began = time.perf_counter()
        self._aborted.clear()
        if state.blanked:
            # The simulator scans on as if nothing were in the beam's way, so nothing is scanned.
            seconds, note = time.perf_counter() - began, {"blanked": "nothing was scanned"}
            rows = request.shape_yx[0]
            return Frame(request, request.region, request.dark(), rows, 0.0, seconds, state, note)
        wanted = [self._channels[d] for d in request.detectors]
        self._source.set_enabled_channels(wanted)
        try:
            taken = self._source.record_immediate(self._parameters(request), timeout_s)
        except AssertionError as error:
            raise AcquisitionError(
                f"the scan did not end within {timeout_s:g} s after its last pixel"
            ) from error
        # After an abort a whole frame may still arrive.
        if self._aborted.is_set():
            raise AbortedError("the scan was aborted")
        # A fault in the middle of a frame raises nothing, and brings an empty list.
        if len(taken) < len(wanted) or any(t is None for t in taken):
            raise AcquisitionError("the scan device failed in the middle of the frame")
        by_channel = {t.metadata["hardware_source"]["channel_index"]: t for t in taken}
        found = [by_channel[k] for k in wanted]
        rows = int(found[0].metadata["hardware_source"]["valid_rows"])
        data = {
            d: np.array(t.data, dtype=np.float32)
            for d, t in zip(request.detectors, found, strict=True)
        }
        current = state.beam_current_pa
        assert current is not None
        charge = self.costs.charge_e(request, current) * rows / request.shape_yx[0]
        told = found[0].metadata["scan"]["scan_device_parameters"]
        seconds = time.perf_counter() - began
        return Frame(
            request, _region(request, told), data, rows, charge, seconds, state, {"nion": told}
        )

    def _parameters(self, request: ScanRequest) -> Any:
        """A request as Swift has it: its centre in specimen directions, its height as ``fov_nm``.

        A sub-scan of a context would be calibrated as if the context were centred, so every frame
        is a context of its own.
        """
        parameters = self._source.get_frame_parameters(PROFILE)
        y, x = deflection(request.centre_yx_nm, request.rotation_rad)
        parameters.pixel_size = (int(request.shape_yx[0]), int(request.shape_yx[1]))
        parameters.fov_nm = request.fov_yx_nm[0]
        parameters.center_nm = (float(y), float(x))
        parameters.rotation_rad = request.rotation_rad
        parameters.pixel_time_us = request.dwell_us
        return parameters

    def _moved(self, control: str, yx_nm: YX, timeout_s: float, tolerance_nm: float) -> State:
        from nion.utils import Geometry

        point = Geometry.FloatPoint(y=yx_nm[0] * NM, x=yx_nm[1] * NM)
        if not self._controller.SetVal2D(control, point):  # an unknown one fails silently
            raise AcquisitionError(f"{control} could not be set to {yx_nm} nm")
        until = time.monotonic() + timeout_s
        while True:
            there = self._point(control)
            off = max(abs(a - b) for a, b in zip(there, yx_nm, strict=True))
            if off <= tolerance_nm:
                return self.state()
            if time.monotonic() > until:
                raise AcquisitionError(
                    f"{control} was set to {yx_nm} nm and reads {there} after {timeout_s:g} s"
                )
            time.sleep(0.005)

    def _value(self, control: str) -> float:
        known, value = self._controller.TryGetVal(control)
        if not known or value is None:
            raise AcquisitionError(f"the instrument has no control {control!r}")
        return float(value)

    def _set(self, control: str, value: float) -> None:
        if not self._controller.SetVal(control, value) or self._value(control) != value:
            raise AcquisitionError(f"{control} could not be set to {value:g}")

    def _point(self, control: str) -> YX:
        point = self._controller.GetVal2D(control)
        return point.y / NM, point.x / NM

    def _need_open(self) -> None:
        if not self._open:
            raise ConnectionLost(f"{self.capabilities.name} is closed; call open() first")


def _region(request: ScanRequest, told: dict[str, Any]) -> ScanRegion:
    """What the device says that it scanned."""
    angle = float(told["rotation_rad"])
    centre = np.asarray(told["center_nm"]) @ rotation(angle)
    height = float(told["fov_nm"])
    rows, columns = told["pixel_size"]
    return ScanRegion(
        (float(centre[0]), float(centre[1])), (height, height * columns / rows), angle
    )


def simulated(sample: int = 0, seed: int = 0) -> NionMicroscope:
    """nionswift-usim, without its windows.

    Args:
        sample: 0: rectangular flakes, 1: amorphous, 2: both.
        seed: of its noise, which it draws from Python's and NumPy's global generators.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    # Its initialisation looks for an event loop.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    from nion.instrumentation import HardwareSource, scan_base, stem_controller
    from nion.usim_device import DeviceConfiguration

    made = DeviceConfiguration.AcquisitionContextConfiguration(
        sample_index=sample,
        set_configuration_location=False,  # else it empties ./test_data
    )
    stem_controller.register_event_loop(loop)
    HardwareSource.run()
    scan_base.run(Path(tempfile.mkdtemp(prefix="stemscout-nion-")))
    made.run()
    manager = HardwareSource.HardwareSourceManager()
    device = made.scan_module.device.scan_device_id
    source = manager.get_hardware_source_for_hardware_source_id(device)
    field = float(made._instrument.stage_size_nm)
    return NionMicroscope(
        made.instrument, source, "Nion Swift, simulated (usim)", True, field, field / 2, field / 2
    )


def registered(
    field_nm: float = 100.0, stage_nm: float = 0.0, shift_nm: float = 0.0
) -> NionMicroscope:
    """The instrument that is registered in this process, as in a plug-in of Nion Swift.

    **Not verified on hardware:** it has no address, and was tried with doubles only.  Limits are
    the facility's affair: stage and beam shift stay where they are unless it says how far they may
    go; frames off the axis are the scan's own.
    """
    from nion.instrumentation import HardwareSource
    from nion.utils import Registry

    controller = Registry.get_component("stem_controller")
    if controller is None:
        raise ConnectionLost("no stem_controller is registered; run this inside Nion Swift")
    device = Registry.get_component("scan_hardware_source") or controller.scan_controller
    if device is None:
        raise ConnectionLost("no scan device is registered; run this inside Nion Swift")
    manager = HardwareSource.HardwareSourceManager()
    source = manager.get_hardware_source_for_hardware_source_id(device.hardware_source_id)
    name = f"Nion Swift, {controller.instrument_id}, unverified on hardware"
    return NionMicroscope(controller, source, name, False, field_nm, stage_nm, shift_nm)
