"""The one function that says whether an instrument accepts a request."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass, field, fields, replace
from math import hypot, inf, isfinite, isnan, nan
from numbers import Integral, Real
from typing import Any

import numpy as np

from .coordinates import corners
from .costs import ELECTRONS_PER_PA_US, CostModel
from .dose import DoseMap, dose_of
from .errors import LimitError, Unsupported
from .microscope import YX, BeamShift, Limits, Range, ScanRequest, StageMove, State

SLACK_NM = 1e-6  # rounding in unit conversions; far below any instrument's precision
LARGEST_PX = 2**31 - 1  # of a side, whatever an instrument says
OPTIONAL = tuple(f.name for f in fields(Limits) if f.default is None)
Request = ScanRequest | StageMove | BeamShift


@dataclass(frozen=True)
class Sent:
    """What was sent so far, which limits on totals and on speed look at.

    Attributes:
        state: of the instrument now.
        costs: prices of what is to be sent.
        charge_e, time_s: of all frames.
        dose: where it went; None where no beam current is known.
        since_move_s: since the latest stage move.
    """

    state: State
    costs: CostModel = field(default_factory=CostModel)
    charge_e: float = 0.0
    time_s: float = 0.0
    dose: DoseMap | None = None
    since_move_s: float = inf


def check(
    request: Request,
    limits: Limits,
    beam_current_pa: float | None = None,
    sent: Sent | None = None,
) -> None:
    """Return where ``request`` may be sent, raise where it may not.

    Pure: it looks at its arguments only and changes nothing.

    Args:
        request: a scan, a stage move or a beam shift.
        limits: what the instrument accepts.
        beam_current_pa: needed by the dose limits, where there are any.
        sent: what was sent before; without it, limits on totals and on stage moves from where it
            stands are not looked at.

    Raises:
        LimitError: with the offending value and the allowed range; also for what is no number,
            or none that is finite.
        Unsupported: a detector that the instrument has not got, or a dose
            limit without a known beam current.
    """
    if isinstance(request, StageMove):
        request = StageMove(_pair("stage position", request.yx_nm, limits.stage_nm))
        for value in request.yx_nm:
            _within("stage position", value, limits.stage_nm, "nm")
        if sent is not None:
            _check_travel(request, limits, sent)
        return
    if isinstance(request, BeamShift):
        for value in _pair("beam shift", request.yx_nm, limits.beam_shift_nm):
            _within("beam shift", value, limits.beam_shift_nm, "nm")
        return
    request = _in_numbers(request, limits)
    for axis in (0, 1):
        _within("field of view", request.fov_yx_nm[axis], limits.fov_nm, "nm", positive=True)
        _within("pixel size", request.pixel_yx_nm[axis], limits.pixel_nm, "nm", positive=True)
    _within("dwell", request.dwell_us, limits.dwell_us, "µs", positive=True)
    _within("rotation", request.rotation_rad, limits.rotation_rad, "rad")
    _check_field(request, limits)
    _check_detectors(request, limits)
    _check_dose(request, limits, beam_current_pa)
    if sent is not None:
        _check_totals(request, limits, beam_current_pa, sent)


def narrowed(limits: Limits, further: Limits) -> Limits:
    """What both allow.

    Raises:
        LimitError: there is nothing that both allow, or a limit that is none, such as NaN.
    """
    both: dict[str, Any] = {}
    for name in (f.name for f in fields(Limits)):
        a, b = getattr(limits, name), getattr(further, name)
        for limit in (a, b):
            _check_limit(name, limit)
        if name == "detectors":
            both[name] = tuple(d for d in a if d in b)
        elif name == "field_yx_nm":
            both[name] = (min(a[0], b[0]), min(a[1], b[1]))
        elif name not in OPTIONAL:
            both[name] = (max(a[0], b[0]), min(a[1], b[1]))
            if both[name][0] > both[name][1]:
                raise LimitError(
                    f"{name} of {b[0]:g} to {b[1]:g} was asked for, and {a[0]:g} to {a[1]:g} is "
                    "possible: they have nothing in common"
                )
        else:
            both[name] = min((v for v in (a, b) if v is not None), default=None)
    if not both["detectors"]:
        raise LimitError(
            f"the detectors {', '.join(further.detectors)} were asked for, and there are: "
            f"{', '.join(limits.detectors)}"
        )
    return replace(limits, **both)


def _in_numbers(request: ScanRequest, limits: Limits) -> ScanRequest:
    """The same scan in plain numbers, which may be divided and multiplied."""
    half_y, half_x = limits.field_yx_nm[0] / 2, limits.field_yx_nm[1] / 2
    y, x = _two("centre", request.centre_yx_nm)
    rows, columns = _two("frame side", request.shape_yx)
    return ScanRequest(
        (
            _real("centre", y, (-half_y, half_y), "nm"),
            _real("centre", x, (-half_x, half_x), "nm"),
        ),
        _pair("field of view", request.fov_yx_nm, limits.fov_nm),
        (_side(rows, limits.shape_px), _side(columns, limits.shape_px)),
        _real("dwell", request.dwell_us, limits.dwell_us, "µs"),
        _real("rotation", request.rotation_rad, limits.rotation_rad, "rad"),
        request.detectors,
    )


def _two(what: str, given: Any) -> tuple[Any, Any]:
    try:
        y, x = given
    except (TypeError, ValueError):
        raise LimitError(f"{what} {_told(given)}; it must be two numbers, (y, x)") from None
    return y, x


def _pair(what: str, given: Any, allowed: Range) -> YX:
    """Two lengths in nm, along either axis."""
    y, x = _two(what, given)
    return _real(what, y, allowed, "nm"), _real(what, x, allowed, "nm")


def _real(what: str, value: Any, allowed: Range, unit: str) -> float:
    """A number as a float; LimitError where it is none, or none that is finite."""
    number = value
    if type(value) is not float:
        try:
            number = float(value) if _is_number(value) else nan
        except OverflowError:  # an integer beyond all floats
            number = inf
    if isfinite(number):
        return float(number)
    low, high = allowed
    raise LimitError(
        f"{what} {_told(value)} {unit}; it must be a finite number, {low:g} to {high:g} {unit}"
    )


def _side(value: Any, allowed: tuple[int, int]) -> int:
    """A number of pixels."""
    low, high = max(1, allowed[0]), min(allowed[1], LARGEST_PX)
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, Integral)):
        told = value if isinstance(value, float) else _told(value)
        raise LimitError(
            f"frame side {told} px; it must be a whole number (an int), {low:g} to {high:g} px"
        )
    side = int(value)
    if not low <= side <= high:
        raise LimitError(f"frame side {_told(side)} px; allowed is {low:g} to {high:g} px")
    return side


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _told(value: Any) -> str:
    """Whatever was given, in a few characters."""
    if not _is_number(value):
        try:
            return f"{type(value).__name__} {reprlib.repr(value)}"
        except ValueError:  # it holds an integer of more digits than Python writes
            return f"a {type(value).__name__}"
    try:
        return f"{float(value):g}"
    except OverflowError:
        return "above 1.8e+308" if value > 0 else "below -1.8e+308"


def _within(what: str, value: float, allowed: Range, unit: str, positive: bool = False) -> None:
    low, high = allowed
    if not isfinite(value) or not low - SLACK_NM <= value <= high + SLACK_NM:
        raise LimitError(f"{what} {value:g} {unit}; allowed is {low:g} to {high:g} {unit}")
    if positive and not value > 0.0:  # which the slack would let through
        raise LimitError(f"{what} {value:g} {unit}; it must be above 0, up to {high:g} {unit}")


def _check_limit(name: str, limit: Any) -> None:
    """LimitError where a limit is none: NaN compares with nothing, and would allow everything."""
    if name == "detectors":
        if not isinstance(limit, tuple | list) or not all(isinstance(d, str) for d in limit):
            raise LimitError(f"detectors of {_told(limit)}; they must be names")
        return
    if name in OPTIONAL:
        numbers: tuple[Any, ...] = () if limit is None else (limit,)
    else:
        numbers = _two(name, limit)
    for number in numbers:
        try:
            sound = _is_number(number) and not isnan(number)
        except OverflowError:  # an integer beyond all floats
            sound = False
        if not sound:
            raise LimitError(f"{name} of {_told(limit)}; a limit is a number, or infinite")


def _check_field(request: ScanRequest, limits: Limits) -> None:
    half_y, half_x = limits.field_yx_nm[0] / 2, limits.field_yx_nm[1] / 2
    if request.rotation_rad == 0.0:  # the common case, and the fast one
        reach_y = abs(request.centre_yx_nm[0]) + request.fov_yx_nm[0] / 2
        reach_x = abs(request.centre_yx_nm[1]) + request.fov_yx_nm[1] / 2
    else:
        with np.errstate(all="ignore"):  # what is too large becomes infinite, or NaN
            reached = abs(corners(request.region)).max(axis=0)
        reach_y, reach_x = float(reached[0]), float(reached[1])
    if not (reach_y <= half_y + SLACK_NM and reach_x <= half_x + SLACK_NM):
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
    if len(set(request.detectors)) < len(request.detectors):
        raise LimitError(
            f"the detectors {', '.join(request.detectors)}; each may be named once, out of: "
            f"{', '.join(limits.detectors)}"
        )


def _check_dose(request: ScanRequest, limits: Limits, beam_current_pa: float | None) -> None:
    if limits.max_dose_e_per_a2 is None and limits.max_dose_rate_e_per_a2_s is None:
        return
    if beam_current_pa is None:
        raise Unsupported("a dose limit needs a known beam current; declare or measure it")
    if limits.max_dose_e_per_a2 is not None:
        dose = _dose(request, beam_current_pa)
        _within("dose", dose, (0.0, limits.max_dose_e_per_a2), "e/Å²")
    if limits.max_dose_rate_e_per_a2_s is not None:
        area_a2 = request.fov_yx_nm[0] * request.fov_yx_nm[1] * 100.0
        rate = beam_current_pa * ELECTRONS_PER_PA_US * 1e6 / area_a2 if area_a2 else inf
        _within("dose rate", rate, (0.0, limits.max_dose_rate_e_per_a2_s), "e/Å²/s")


def _dose(request: ScanRequest, beam_current_pa: float) -> float:
    """The same as ``dose_of``, and infinite where a pixel's area is too small for a float."""
    try:
        return dose_of(request, beam_current_pa)
    except ZeroDivisionError:
        return inf


def _check_totals(
    request: ScanRequest, limits: Limits, beam_current_pa: float | None, sent: Sent
) -> None:
    """Of this frame and all before it."""
    if limits.max_time_s is not None:
        time_s = sent.time_s + sent.costs.time_s(request)
        _within("time of all frames", time_s, (0.0, limits.max_time_s), "s")
    if limits.max_charge_e is None and limits.max_spot_dose_e_per_a2 is None:
        return
    if beam_current_pa is None:
        raise Unsupported(
            "a limit on charge or on the dose of a spot needs a known beam current; declare or "
            "measure it"
        )
    if limits.max_charge_e is not None:
        charge = sent.charge_e + sent.costs.charge_e(request, beam_current_pa)
        _within("charge of all frames", charge, (0.0, limits.max_charge_e), "e")
    if limits.max_spot_dose_e_per_a2 is not None:
        before = 0.0 if sent.dose is None else sent.dose.most(request.region, sent.state)
        dose = before + _dose(request, beam_current_pa)
        _within("dose of a spot", dose, (0.0, limits.max_spot_dose_e_per_a2), "e/Å²")


def _check_travel(request: StageMove, limits: Limits, sent: Sent) -> None:
    stage = sent.state.stage_yx_nm
    way = hypot(request.yx_nm[0] - stage[0], request.yx_nm[1] - stage[1])
    if limits.stage_step_nm is not None:
        _within("stage move", way, (0.0, limits.stage_step_nm), "nm")
    if limits.stage_speed_nm_per_s is not None:
        # The first may be as long as it likes: nobody knows when the one before was.
        speed = way / max(sent.since_move_s, 1e-9)
        _within("stage speed", speed, (0.0, limits.stage_speed_nm_per_s), "nm/s")
