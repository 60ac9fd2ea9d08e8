"""The one function that says whether an instrument accepts a request."""

from __future__ import annotations

from math import isfinite

from .coordinates import corners
from .costs import ELECTRONS_PER_PA_US
from .errors import LimitError, Unsupported
from .microscope import BeamShift, Limits, Range, ScanRequest, StageMove

SLACK_NM = 1e-6  # rounding in unit conversions; far below any instrument's precision


def check(
    request: ScanRequest | StageMove | BeamShift,
    limits: Limits,
    beam_current_pa: float | None = None,
) -> None:
    """Return where ``request`` may be sent, raise where it may not.

    Pure: it looks at its arguments only and changes nothing.

    Args:
        request: a scan, a stage move or a beam shift.
        limits: what the instrument accepts.
        beam_current_pa: needed by the dose limits, where there are any.

    Raises:
        LimitError: with the offending value and the allowed range.
        Unsupported: a detector that the instrument has not got, or a dose
            limit without a known beam current.
    """
    if isinstance(request, StageMove):
        for value in request.yx_nm:
            _within("stage position", value, limits.stage_nm, "nm")
        return
    if isinstance(request, BeamShift):
        for value in request.yx_nm:
            _within("beam shift", value, limits.beam_shift_nm, "nm")
        return
    for axis in (0, 1):
        if not isfinite(request.centre_yx_nm[axis]):
            raise LimitError(f"centre {request.centre_yx_nm} nm; both numbers must be finite")
        _within("field of view", request.fov_yx_nm[axis], limits.fov_nm, "nm")
        _within("frame side", request.shape_yx[axis], limits.shape_px, "px")
        if request.shape_yx[axis] != int(request.shape_yx[axis]):
            raise LimitError(f"frame side {request.shape_yx[axis]} px; it must be a whole number")
        _within("pixel size", request.pixel_yx_nm[axis], limits.pixel_nm, "nm")
    _within("dwell", request.dwell_us, limits.dwell_us, "µs")
    _within("rotation", request.rotation_rad, limits.rotation_rad, "rad")
    _check_field(request, limits)
    _check_detectors(request, limits)
    _check_dose(request, limits, beam_current_pa)


def _within(what: str, value: float, allowed: Range, unit: str) -> None:
    low, high = allowed
    if not low - SLACK_NM <= value <= high + SLACK_NM:  # NaN fails too
        raise LimitError(f"{what} {value:g} {unit}; allowed is {low:g} to {high:g} {unit}")


def _check_field(request: ScanRequest, limits: Limits) -> None:
    half_y, half_x = limits.field_yx_nm[0] / 2, limits.field_yx_nm[1] / 2
    if request.rotation_rad == 0.0:  # the common case, and the fast one
        reach_y = abs(request.centre_yx_nm[0]) + request.fov_yx_nm[0] / 2
        reach_x = abs(request.centre_yx_nm[1]) + request.fov_yx_nm[1] / 2
    else:
        reached = abs(corners(request.region)).max(axis=0)
        reach_y, reach_x = float(reached[0]), float(reached[1])
    if reach_y > half_y + SLACK_NM or reach_x > half_x + SLACK_NM:
        y, x = request.centre_yx_nm
        raise LimitError(
            f"a frame of {request.fov_yx_nm[0]:g} x {request.fov_yx_nm[1]:g} nm at "
            f"({y:g}, {x:g}) nm reaches beyond the field of ±{half_y:g} x ±{half_x:g} nm; "
            "move its centre inwards or make it smaller"
        )


def _check_detectors(request: ScanRequest, limits: Limits) -> None:
    if not request.detectors:
        raise LimitError(f"no detector was named; there are: {', '.join(limits.detectors)}")
    for name in request.detectors:
        if name not in limits.detectors:
            raise Unsupported(
                f"no detector {name!r} here; there are: {', '.join(limits.detectors)}"
            )


def _check_dose(request: ScanRequest, limits: Limits, beam_current_pa: float | None) -> None:
    if limits.max_dose_e_per_a2 is None and limits.max_dose_rate_e_per_a2_s is None:
        return
    if beam_current_pa is None:
        raise Unsupported("a dose limit needs a known beam current; declare or measure it")
    electrons = beam_current_pa * ELECTRONS_PER_PA_US * request.dwell_us
    pixel_a2 = request.pixel_yx_nm[0] * request.pixel_yx_nm[1] * 100.0
    if limits.max_dose_e_per_a2 is not None:
        _within("dose", electrons / pixel_a2, (0.0, limits.max_dose_e_per_a2), "e/Å²")
    if limits.max_dose_rate_e_per_a2_s is not None:
        area_a2 = request.fov_yx_nm[0] * request.fov_yx_nm[1] * 100.0
        rate = beam_current_pa * ELECTRONS_PER_PA_US * 1e6 / area_a2
        _within("dose rate", rate, (0.0, limits.max_dose_rate_e_per_a2_s), "e/Å²/s")
