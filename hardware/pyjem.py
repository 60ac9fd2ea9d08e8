"""JEOL microscopes through PyJEM, behind the contract.

**Not verified on hardware.**  Written from the calls that PyJEM documents: stage in nm, dwell in
µs, scan rotation in degrees, deflectors in raw counts of sixteen bits, whose scale and directions
the facility has to measure.  PyJEM comes with the microscope; nothing of it is needed to import
this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from math import degrees
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .emulated import EmulatedMicroscope
from .errors import AcquisitionError, ConnectionLost, Unsupported
from .microscope import YX

SIDES = (128, 256, 512, 1024, 2048)
COUNTS = (0, 65535)  # of a deflector
UNVERIFIED = "JEOL through PyJEM, unverified on hardware"
MOVED_S = 30.0  # for which a stage may move


class PyJemMicroscope(EmulatedMicroscope):
    """A microscope behind PyJEM's ``TEM3`` and ``detector``, in STEM mode.

    Each detector takes a scan of its own, so a frame is one detector's.

    Args:
        tem: ``PyJEM.TEM3``, or anything like it.
        detector: ``PyJEM.detector``.
        nm_per_count: (2, 2) by which counts (x, y) of CLA1 move the probe (y, x), in nm.
        field_at_1x_nm: side of an image at magnification 1.
        field_nm, stage_nm, shift_nm, name, simulated, calibrated: as of ``EmulatedMicroscope``.
        sleep: waits for the stage.

    Raises:
        ValueError: a matrix that cannot be inverted.
        ConnectionLost: no detector is attached.
    """

    field_close = 0.02  # of a step of the magnification to what was asked for
    one_detector = True

    def __init__(
        self,
        tem: Any,
        detector: Any,
        nm_per_count: ArrayLike,
        field_at_1x_nm: float,
        field_nm: float = 500.0,
        stage_nm: float = 0.0,
        shift_nm: float = 0.0,
        name: str = UNVERIFIED,
        simulated: bool = False,
        calibrated: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        matrix = np.asarray(nm_per_count, dtype=np.float64)
        if matrix.shape != (2, 2) or abs(np.linalg.det(matrix)) < 1e-12:
            raise ValueError(f"nm_per_count is {matrix.tolist()}; it must be 2 x 2, and invertible")
        self._stage, self._deflector, self._eos = tem.Stage3(), tem.Def3(), tem.EOS3()
        self._detector, self._matrix, self._scale_nm = detector, matrix, field_at_1x_nm
        self._angle_rad, self._sleep = 0.0, sleep
        attached = list(detector.get_attached_detector() or ())
        if not attached:
            raise ConnectionLost("PyJEM names no detector; is TEMCenter running?")
        self._own = {d: detector.Detector(d) for d in attached}
        x, y = self._counts()
        self._zero = np.array([x, y], dtype=np.float64)  # where the beam shift is 0
        super().__init__(name, attached, SIDES, field_nm, stage_nm, shift_nm, simulated, calibrated)

    def _read_stage(self) -> YX:
        x, y, *_ = self._stage.GetPos()
        return float(y), float(x)

    def _set_stage(self, yx_nm: YX) -> None:
        self._stage.SetY(yx_nm[0])
        self._stage.SetX(yx_nm[1])
        until = time.monotonic() + MOVED_S
        while any(self._stage.GetStatus()[:2]):  # it returns before it is there
            if time.monotonic() > until:
                raise AcquisitionError(f"the stage moves for more than {MOVED_S:g} s")
            self._sleep(0.05)

    def _read_shift(self) -> YX:
        y, x = self._matrix @ (np.asarray(self._counts(), dtype=np.float64) - self._zero)
        return float(y), float(x)

    def _set_shift(self, yx_nm: YX) -> None:
        counts = np.rint(np.linalg.solve(self._matrix, np.asarray(yx_nm)) + self._zero)
        low, high = COUNTS
        if (counts < low).any() or (counts > high).any():
            raise Unsupported(
                f"a beam shift of {yx_nm} nm is {counts.astype(int).tolist()} counts; the "
                f"deflector takes {low} to {high}"
            )
        self._deflector.SetCLA1(int(counts[0]), int(counts[1]))

    def _read_blanked(self) -> bool:
        return bool(self._deflector.GetBeamBlank())

    def _set_blanked(self, on: bool) -> None:
        self._deflector.SetBeamBlank(1 if on else 0)

    def _prepare(self, side: int, fov_nm: float, rotation_rad: float, dwell_us: float) -> None:
        there = self._scale_nm / float(self._eos.GetMagValue()[0])
        if abs(there / fov_nm - 1.0) > self.field_close:
            # Magnification goes by steps, and changes focus: it is the operator's to choose.
            raise Unsupported(
                f"a field of view of {fov_nm:g} nm; at this magnification it is {there:g} nm, and "
                "PyJEM sets it by steps: choose the frame to fit"
            )
        self._angle_rad = rotation_rad
        for own in self._own.values():
            own.set_scanmode(0)
            own.set_imaging_area(side, side, 0, 0)
            own.set_exposuretime_value(dwell_us)
            own.set_scanrotation(degrees(rotation_rad) % 360.0)

    def _read_scan(self) -> tuple[float, float]:
        return self._scale_nm / float(self._eos.GetMagValue()[0]), self._angle_rad

    def _take(self, detectors: Sequence[str], side: int, dwell_us: float) -> Mapping[str, Any]:
        (name,) = detectors
        image = np.frombuffer(self._own[name].snapshot_rawdata(), dtype=np.uint16)
        if image.size != side * side:
            raise AcquisitionError(
                f"{name} gave {image.size} pixels, and {side} x {side} were asked for"
            )
        return {name: image.reshape(side, side)}

    def _counts(self) -> tuple[int, int]:
        x, y, *_ = self._deflector.GetCLA1()
        return int(x), int(y)


def here(
    nm_per_count: ArrayLike,
    field_at_1x_nm: float,
    field_nm: float = 500.0,
    stage_nm: float = 0.0,
    shift_nm: float = 0.0,
) -> PyJemMicroscope:
    """The microscope that this computer controls; see ``PyJemMicroscope``.

    Unless it is said how far they may go, the stage stays where it is, and the beam shift is where
    it was after each frame.  For a frame it goes to the frame's centre, up to half of ``field_nm``
    along either axis; the rotation of the scan stays as the last frame had it.

    Raises:
        ImportError: PyJEM is not installed.
        ConnectionLost: TEMCenter cannot be reached.
    """
    try:
        from PyJEM import TEM3, detector
    except ImportError as error:
        raise ImportError(
            "pyjem: (unverified on hardware) needs JEOL's PyJEM, which comes with the microscope"
        ) from error
    TEM3.connect()
    return PyJemMicroscope(
        TEM3, detector, nm_per_count, field_at_1x_nm, field_nm, stage_nm, shift_nm
    )
