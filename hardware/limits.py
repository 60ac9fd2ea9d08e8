"""The one function that says whether an instrument accepts a request."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from math import hypot, inf, isfinite
from typing import Any

from .coordinates import corners
from .costs import ELECTRONS_PER_PA_US, CostModel
from .dose import DoseMap, dose_of
from .errors import LimitError, Unsupported
from .microscope import BeamShift, Limits, Range, ScanRequest, StageMove, State

SLACK_NM = 1e-6  # rounding in unit conversions; far below any instrument's precision
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
        LimitError: with the offending value and the allowed range.
        Unsupported: a detector that the instrument has not got, or a dose
            limit without a known beam current.
    """
    if isinstance(request, StageMove):
        for value in request.yx_nm:
            _within("stage position", value, limits.stage_nm, "nm")
        if sent is not None:
            _check_travel(request, limits, sent)
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
    if sent is not None:
        _check_totals(request, limits, beam_current_pa, sent)


def narrowed(limits: Limits, further: Limits) -> Limits:
    """What both allow.

    Raises:
        LimitError: there is nothing that both allow.
    """
    both: dict[str, Any] = {}
    for name in (f.name for f in fields(Limits)):
        a, b = getattr(limits, name), getattr(further, name)
        if name == "detectors":
            both[name] = tuple(d for d in a if d in b)
        elif name == "field_yx_nm":
            both[name] = (min(a[0], b[0]), min(a[1], b[1]))
        elif isinstance(a, tuple):
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
    if limits.max_dose_e_per_a2 is not None:
        dose = dose_of(request, beam_current_pa)
        _within("dose", dose, (0.0, limits.max_dose_e_per_a2), "e/Å²")
    if limits.max_dose_rate_e_per_a2_s is not None:
        area_a2 = request.fov_yx_nm[0] * request.fov_yx_nm[1] * 100.0
        rate = beam_current_pa * ELECTRONS_PER_PA_US * 1e6 / area_a2
        _within("dose rate", rate, (0.0, limits.max_dose_rate_e_per_a2_s), "e/Å²/s")


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
        dose = before + dose_of(request, beam_current_pa)
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
