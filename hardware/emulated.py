"""Instruments that scan whole, square images of a few sizes: sub-scans by field of view and shift.

The field of view is set to the frame's, and the beam shift brings the frame's centre to the axis
and is taken back afterwards.  What differs from one maker's software to another is what subclasses
say: ten calls, in nm and radians.

Before a scan, what was set is read back and held against what was asked for: some software clamps
what is out of its range, and says nothing.  A scan under way cannot be ended; an abort keeps one
from beginning.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import remainder, tau
from typing import Any, TypeVar

import numpy as np

from .coordinates import deflection, rotation
from .costs import CostModel
from .errors import AbortedError, AcquisitionError, ConnectionLost, LimitError, MicroscopeError
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
CLOSE = 1e-6  # relative, of sides that are held to be equal
SAME_NM = 1e-3  # of what was set and is read, where nothing is real
SAME_RAD = 1e-3  # of a rotation that was set and is read
READINGS = (0.0, 65535.0)  # of sixteen bits
T = TypeVar("T")


class EmulatedMicroscope(ABC):
    """Everything but the maker's own calls, which are made one at a time.

    Args:
        name: as a person would say it; whoever uses it is told what is unverified.
        detectors: as the maker names them; here they are in lower case.
        sides: pixels to a side that can be scanned.
        field_nm: side of what the scan may reach about the axis, by its beam shift.
        stage_nm, shift_nm: how far ``move_stage`` and ``set_beam_shift`` may go from zero, along
            either axis.  A frame off the axis moves the beam shift besides, from wherever it is
            and whatever ``shift_nm``, by up to half of ``field_nm`` along either axis.
        simulated: whether no beam exists.
        calibrated: distances were held against a known specimen.

    Attributes:
        field_close: relative, by which a field of view may be read other than it was asked for.
        one_detector: each detector takes a scan of its own, so that a frame has but one.
    """

    field_close = 1e-3
    one_detector = False

    def __init__(
        self,
        name: str,
        detectors: Sequence[str],
        sides: Sequence[int],
        field_nm: float,
        stage_nm: float,
        shift_nm: float,
        simulated: bool,
        calibrated: bool,
    ) -> None:
        self._line = threading.Lock()
        self._open = False
        self._aborted = threading.Event()
        self._resting: YX | None = None  # the beam shift without what a sub-scan adds
        self._names = {d.lower(): d for d in detectors}
        self._sides = tuple(sorted(sides))
        names = tuple(self._names)
        limits = Limits(
            field_yx_nm=(field_nm, field_nm),
            fov_nm=(0.2, field_nm),
            pixel_nm=(0.001, field_nm),
            shape_px=(self._sides[0], self._sides[-1]),
            dwell_us=(0.1, 10_000.0),
            detectors=names,
            stage_nm=(-stage_nm, stage_nm),
            beam_shift_nm=(-shift_nm, shift_nm),
        )
        self.capabilities = Capabilities(
            name=name,
            limits=limits,
            detectors=names,
            full_scale=dict.fromkeys(names, READINGS),
            region_of_interest="emulated",
            can_abort=False,
            can_blank=True,
            can_blank_while_busy=False,  # calls are answered one after another
            units_verified=calibrated,
            simulated=simulated,
            stage_tolerance_nm=1.0 if simulated else 20.0,
            shift_tolerance_nm=SAME_NM if simulated else 0.5,
        )
        self.costs = CostModel()

    # What the maker's software is asked for.

    @abstractmethod
    def _read_stage(self) -> YX:
        """Where the stage is, in nm."""

    @abstractmethod
    def _set_stage(self, yx_nm: YX) -> None:
        """Move the stage there, and wait."""

    @abstractmethod
    def _read_shift(self) -> YX:
        """The beam shift, in nm."""

    @abstractmethod
    def _set_shift(self, yx_nm: YX) -> None:
        """Shift the beam."""

    @abstractmethod
    def _read_blanked(self) -> bool:
        """Whether the beam is blanked."""

    @abstractmethod
    def _set_blanked(self, on: bool) -> None:
        """Blank or unblank the beam."""

    @abstractmethod
    def _prepare(self, side: int, fov_nm: float, rotation_rad: float, dwell_us: float) -> None:
        """Set what the next scan is like."""

    @abstractmethod
    def _read_scan(self) -> tuple[float, float]:
        """The field of view in nm and the rotation in radians, as they are now."""

    @abstractmethod
    def _take(self, detectors: Sequence[str], side: int, dwell_us: float) -> Mapping[str, Any]:
        """Scan, and give images by the maker's names of detectors."""

    # The contract.

    def open(self) -> Capabilities:
        self._open = True
        return self.capabilities

    def state(self) -> State:
        self._need_open()
        stage, blanked = self._told(self._read_stage), self._told(self._read_blanked)
        return State(stage_yx_nm=stage, beam_shift_yx_nm=self._shift(), blanked=blanked)

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        """Move, and read back: some software clamps what is out of range, and says nothing."""
        self._need_open()
        check(StageMove(yx_nm), self.capabilities.limits)
        self._told(lambda: self._set_stage(yx_nm))
        there = self.state()
        off = max(abs(a - b) for a, b in zip(there.stage_yx_nm, yx_nm, strict=True))
        if off > self.capabilities.stage_tolerance_nm:
            raise AcquisitionError(
                f"the stage was sent to {yx_nm} nm and reads {there.stage_yx_nm}; what is out of "
                "its range may be clamped silently"
            )
        return there

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._need_open()
        check(BeamShift(yx_nm), self.capabilities.limits)
        self._told(lambda: self._set_shift(yx_nm))
        self._resting = self._told(self._read_shift)
        return self.state()

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        """Scan where it was asked for, or not at all.

        Raises:
            AcquisitionError: what was set reads otherwise, and nothing was scanned; or what fails.
            AbortedError: it was aborted before the scan began.
        """
        self._aborted.clear()
        self._need_open()
        check(request, self.capabilities.limits)
        self._check_image(request)
        state, began = self.state(), time.perf_counter()
        rows = request.shape_yx[0]
        if state.blanked:
            seconds, note = time.perf_counter() - began, {"blanked": "nothing was scanned"}
            return Frame(request, request.region, request.dark(), rows, None, seconds, state, note)
        y, x = deflection(request.centre_yx_nm, request.rotation_rad)
        resting = state.beam_shift_yx_nm
        there = (resting[0] + float(y), resting[1] + float(x))
        fov, angle, dwell = request.fov_yx_nm[0], request.rotation_rad, request.dwell_us
        named = [self._names[d] for d in request.detectors]
        self._step(lambda: self._prepare(rows, fov, angle, dwell))
        try:
            self._step(lambda: self._set_shift(there))
            region = self._region(request, there, resting)
            taken = self._step(lambda: self._take(named, rows, dwell))
        finally:
            self._told(lambda: self._set_shift(resting))  # also where it was aborted
        lacking = [n for n in named if n not in taken]
        if lacking:
            raise AcquisitionError(f"the frame lacks {', '.join(lacking)}; it has {sorted(taken)}")
        data = {
            d: np.array(taken[n], dtype=np.float32)
            for d, n in zip(request.detectors, named, strict=True)
        }
        seconds = time.perf_counter() - began
        return Frame(request, region, data, rows, None, seconds, state)

    def blank(self, on: bool) -> State:
        self._need_open()
        self._told(lambda: self._set_blanked(on))
        state = self.state()
        if state.blanked != on:
            raise AcquisitionError(f"the beam was to be {'' if on else 'un'}blanked and is not")
        return state

    def abort(self) -> None:
        """No scan begins any more; one under way comes to its own end, as there is no other."""
        self._aborted.set()

    def close(self) -> None:
        if self._open:
            self.blank(True)
        self._open = False

    def _check_image(self, request: ScanRequest) -> None:
        rows, columns = request.shape_yx
        height, width = request.fov_yx_nm
        if rows != columns or abs(height / width - 1.0) > CLOSE:
            raise LimitError(
                f"a frame of {rows} x {columns} px over {height:g} x {width:g} nm; this "
                "instrument's software scans square ones only"
            )
        if rows not in self._sides:
            known = ", ".join(map(str, self._sides))
            raise LimitError(
                f"a frame of {rows} px to a side; this instrument's software scans {known}"
            )
        if self.one_detector and len(request.detectors) > 1:
            raise LimitError(
                f"a frame of {', '.join(request.detectors)}; this instrument's software scans once "
                "for each detector, and a frame is one scan: ask for one detector"
            )

    def _region(self, request: ScanRequest, there: YX, resting: YX) -> ScanRegion:
        """What will be scanned, by what is read now; it must be what was asked for."""
        fov, angle = self._step(self._read_scan)
        at = self._step(self._read_shift)
        tolerance_nm = self.capabilities.shift_tolerance_nm
        if not (np.abs(np.subtract(at, there)) <= tolerance_nm).all():
            raise AcquisitionError(
                f"for the scan the beam shift was set to ({there[0]:g}, {there[1]:g}) nm and reads "
                f"({at[0]:g}, {at[1]:g}); nothing was scanned"
            )
        side = request.fov_yx_nm[0]
        if not abs(fov / side - 1.0) <= self.field_close:
            raise AcquisitionError(
                f"a field of view of {side:g} nm was asked for and reads {fov:g} nm; nothing was "
                "scanned"
            )
        if not abs(remainder(angle - request.rotation_rad, tau)) <= SAME_RAD:
            raise AcquisitionError(
                f"a rotation of {request.rotation_rad:g} rad was asked for and reads {angle:g}; "
                "nothing was scanned"
            )
        y, x = np.subtract(at, resting) @ rotation(angle)
        return ScanRegion((float(y), float(x)), (fov, fov), angle)

    def _shift(self) -> YX:
        """The beam shift at rest."""
        if self._resting is None:
            self._resting = self._told(self._read_shift)
        return self._resting

    def _step(self, call: Callable[[], T]) -> T:
        """A call of the maker's for a scan: none is made once it was aborted."""

        def unless_aborted() -> T:
            self._go_on()
            return call()

        return self._told(unless_aborted)

    def _go_on(self) -> None:
        """AbortedError where the scan was aborted; for subclasses too, before what scans again."""
        if self._aborted.is_set():
            raise AbortedError("the scan was aborted; from there on nothing was scanned")

    def _told(self, call: Callable[[], T]) -> T:
        """A call of the maker's; what fails there as ours, in its own words."""
        try:
            with self._line:
                return call()
        except MicroscopeError:
            raise
        except OSError as error:
            raise ConnectionLost(f"{self.capabilities.name} cannot be reached: {error}") from error
        except Exception as error:  # each maker has errors of its own
            raise AcquisitionError(f"{self.capabilities.name}: {error}") from error

    def _need_open(self) -> None:
        if not self._open:
            raise ConnectionLost(f"{self.capabilities.name} is closed; call open() first")
