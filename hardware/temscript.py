"""Thermo Fisher (FEI) microscopes through temscript's own server, behind the contract.

temscript (BSD-3-Clause) is an optional extra (``stemscout[temscript]``).  Its server runs on the
microscope's computer (``temscript-server``), this client anywhere.  **Not verified on hardware:**
the scale of the scan and the directions of its axes are for the facility to calibrate,
and to prove by the conformance suite and a grating.

TEMScripting scans whole, square images of a few sizes.  So sub-scans are emulated: magnification
and image size give the field of view, and the beam shift brings it to its centre.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .coordinates import deflection, rotation
from .costs import CostModel
from .errors import AcquisitionError, ConnectionLost, LimitError
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

NM = 1e-9
SENSOR_PX = 2048  # to a side of a full image at binning 1
SIZES = {1: "FULL", 2: "HALF", 4: "QUARTER"}  # by what part of the side they show
BINNINGS = (1, 2, 4, 8)
CLOSE = 1e-6  # relative, of sides and pixels that are held to be equal
SAME_NM = 1e-3  # of a beam shift that was set and read
T = TypeVar("T")


class TemscriptMicroscope:
    """A microscope behind temscript's ``RemoteMicroscope``, or anything like it.

    Args:
        client: what has temscript's methods.
        field_at_1x_m: side of a full image at magnification 1; it is to be calibrated.
        field_nm: side of what the scan may reach about the axis, by its beam shift.
        stage_nm, shift_nm: how far stage and beam shift may go from zero, along either axis.
        name: as a person would say it.
        simulated: whether no beam exists.
        calibrated: distances were held against a known specimen.
    """

    def __init__(
        self,
        client: Any,
        field_at_1x_m: float,
        field_nm: float,
        stage_nm: float,
        shift_nm: float,
        name: str = "Thermo Fisher through temscript, unverified on hardware",
        simulated: bool = False,
        calibrated: bool = False,
    ) -> None:
        self._client, self._scale_m = client, field_at_1x_m
        self._line = threading.Lock()  # its connection is no two callers' at once
        self._open = False
        self._shift_nm: YX | None = None  # without what a sub-scan adds
        detectors = tuple(sorted(self._told(client.get_stem_detectors)))
        if not detectors:
            raise ConnectionLost("the microscope names no STEM detector; is STEM switched on?")
        self._names = {d.lower(): d for d in detectors}
        names = tuple(self._names)
        limits = Limits(
            field_yx_nm=(field_nm, field_nm),
            fov_nm=(0.2, field_nm),
            pixel_nm=(0.001, field_nm),
            shape_px=(SENSOR_PX // 4 // 8, SENSOR_PX),
            dwell_us=(0.1, 10_000.0),
            detectors=names,
            stage_nm=(-stage_nm, stage_nm),
            beam_shift_nm=(-shift_nm, shift_nm),
        )
        self.capabilities = Capabilities(
            name=name,
            limits=limits,
            detectors=names,
            full_scale=dict.fromkeys(names, (0.0, 65535.0)),
            region_of_interest="emulated",
            can_abort=False,
            can_blank=True,
            can_blank_while_busy=False,  # its server answers one call after another
            units_verified=calibrated,
            simulated=simulated,
            stage_tolerance_nm=1.0 if simulated else 20.0,
            shift_tolerance_nm=SAME_NM if simulated else 0.5,
        )
        self.costs = CostModel()

    def open(self) -> Capabilities:
        self._open = True
        return self.capabilities

    def state(self) -> State:
        self._need_open()
        stage = self._told(self._client.get_stage_position)
        return State(
            stage_yx_nm=(stage["y"] / NM, stage["x"] / NM),
            beam_shift_yx_nm=self._shift(),
            blanked=bool(self._told(self._client.get_beam_blanked)),
        )

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        """Move, and read back: what is out of its range it clamps, and says nothing."""
        self._need_open()
        check(StageMove(yx_nm), self.capabilities.limits)
        to = {"y": yx_nm[0] * NM, "x": yx_nm[1] * NM}
        self._told(lambda: self._client.set_stage_position(to))
        there = self.state()
        off = max(abs(a - b) for a, b in zip(there.stage_yx_nm, yx_nm, strict=True))
        if off > self.capabilities.stage_tolerance_nm:
            raise AcquisitionError(
                f"the stage was sent to {yx_nm} nm and reads {there.stage_yx_nm}; what is out of "
                "its range it clamps silently"
            )
        return there

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._need_open()
        check(BeamShift(yx_nm), self.capabilities.limits)
        self._set_shift(yx_nm)
        self._shift_nm = self._read_shift()
        return self.state()

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        self._need_open()
        check(request, self.capabilities.limits)
        size, binning = _image(request)
        state, began = self.state(), time.perf_counter()
        if state.blanked:
            data = {d: np.zeros(request.shape_yx, np.float32) for d in request.detectors}
            note = {"blanked": "nothing was scanned"}
            rows, seconds = request.shape_yx[0], time.perf_counter() - began
            return Frame(request, request.region, data, rows, None, seconds, state, note)
        resting = state.beam_shift_yx_nm
        y, x = deflection(request.centre_yx_nm, request.rotation_rad)
        client = self._client
        whole_m = request.fov_yx_nm[0] * NM * size
        self._told(lambda: client.set_stem_magnification(self._scale_m / whole_m))
        self._told(lambda: client.set_stem_rotation(request.rotation_rad))
        given = {
            "image_size": SIZES[size],
            "binning": binning,
            "dwell_time(s)": request.dwell_us * 1e-6,
        }
        self._told(lambda: client.set_stem_acquisition_param(given))
        try:
            self._set_shift((resting[0] + float(y), resting[1] + float(x)))
            named = [self._names[d] for d in request.detectors]
            taken = self._told(lambda: client.acquire(*named))
            region = self._region(request, size, resting)
        finally:
            self._set_shift(resting)
        try:
            data = {
                d: np.asarray(taken[n], dtype=np.float32)
                for d, n in zip(request.detectors, named, strict=True)
            }
        except KeyError as error:
            raise AcquisitionError(f"the frame lacks {error}; it has {sorted(taken)}") from error
        seconds = time.perf_counter() - began
        return Frame(request, region, data, request.shape_yx[0], None, seconds, state, dict(given))

    def blank(self, on: bool) -> State:
        self._need_open()
        self._told(lambda: self._client.set_beam_blanked(bool(on)))
        state = self.state()
        if state.blanked != on:
            raise AcquisitionError(f"the beam was to be {'' if on else 'un'}blanked and is not")
        return state

    def abort(self) -> None:
        """TEMScripting has no way to end a scan: it comes to its own end."""
        return

    def close(self) -> None:
        if self._open:
            self.blank(True)
        self._open = False

    def _region(self, request: ScanRequest, size: int, resting: YX) -> ScanRegion:
        """What was scanned, by what magnification, rotation and beam shift read now."""
        fov = self._scale_m / self._told(self._client.get_stem_magnification) / NM / size
        angle = float(self._told(self._client.get_stem_rotation))
        off = np.subtract(self._read_shift(), resting)
        y, x = off @ rotation(angle)
        return ScanRegion((float(y), float(x)), (fov, fov), angle)

    def _shift(self) -> YX:
        """The beam shift at rest."""
        if self._shift_nm is None:
            self._shift_nm = self._read_shift()
        return self._shift_nm

    def _read_shift(self) -> YX:
        x, y = self._told(self._client.get_beam_shift)
        return y / NM, x / NM

    def _set_shift(self, yx_nm: YX) -> None:
        self._told(lambda: self._client.set_beam_shift((yx_nm[1] * NM, yx_nm[0] * NM)))

    def _told(self, call: Callable[[], T]) -> T:
        """A call over the one connection; what fails there as ours, in its own words."""
        try:
            with self._line:
                return call()
        except (ConnectionError, OSError) as error:
            raise ConnectionLost(f"temscript's server cannot be reached: {error}") from error
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise AcquisitionError(f"temscript: {error}") from error

    def _need_open(self) -> None:
        if not self._open:
            raise ConnectionLost(f"{self.capabilities.name} is closed; call open() first")


def _image(request: ScanRequest) -> tuple[int, int]:
    """The part of a full image's side, and the binning, that give a frame; LimitError for none."""
    rows, columns = request.shape_yx
    height, width = request.fov_yx_nm
    possible = {SENSOR_PX // s // b: (s, b) for s in SIZES for b in reversed(BINNINGS)}
    if rows != columns or abs(height / width - 1.0) > CLOSE:
        raise LimitError(
            f"a frame of {rows} x {columns} px over {height:g} x {width:g} nm; TEMScripting scans "
            "square ones only"
        )
    if rows not in possible:
        known = ", ".join(map(str, sorted(possible)))
        raise LimitError(f"a frame of {rows} px to a side; TEMScripting scans {known}")
    return possible[rows]


def remote(
    host: str,
    port: int,
    field_at_1x_m: float,
    field_nm: float = 500.0,
    stage_nm: float = 0.0,
    shift_nm: float = 0.0,
) -> TemscriptMicroscope:
    """The microscope behind a temscript server; see ``TemscriptMicroscope``.

    Stage and beam shift stay where they are unless it is said how far they may go.
    """
    return TemscriptMicroscope(connected(host, port), field_at_1x_m, field_nm, stage_nm, shift_nm)


def connected(host: str, port: int) -> Any:
    """temscript's client of a server, over JSON: its other transport unpickles what it is sent."""
    try:
        from temscript import RemoteMicroscope
    except ImportError as error:
        raise ImportError("temscript: needs pip install 'stemscout[temscript]'") from error
    try:
        return RemoteMicroscope((host, port), transport="JSON", timeout=60.0)
    except (OSError, ValueError) as error:
        raise ConnectionLost(f"no temscript server at {host}:{port}: {error}") from error
