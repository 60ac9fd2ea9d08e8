"""`check` is pure, complete, and never clamps."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.hardware import (
    BeamShift,
    LimitError,
    Limits,
    ScanRegion,
    ScanRequest,
    StageMove,
    State,
    Unsupported,
    check,
)
from stemscout.hardware.coordinates import corners, scan_from_specimen, specimen_from_scan
from stemscout.hardware.dose import DoseMap
from stemscout.hardware.limits import Sent, narrowed

LIMITS = Limits(
    field_yx_nm=(20.0, 30.0),
    fov_nm=(0.5, 20.0),
    pixel_nm=(0.01, 1.0),
    shape_px=(1, 512),
    dwell_us=(1.0, 100.0),
    detectors=("haadf",),
    stage_nm=(-100.0, 100.0),
    beam_shift_nm=(-10.0, 10.0),
)
GOOD = ScanRequest((0.0, 0.0), (2.0, 2.0), (64, 64), 10.0)


def test_a_good_request_passes():
    check(GOOD, LIMITS)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"centre_yx_nm": (float("nan"), 0.0)}, "finite"),
        ({"centre_yx_nm": (9.5, 0.0)}, "reaches beyond the field"),
        ({"fov_yx_nm": (0.1, 2.0)}, "field of view 0.1 nm; allowed is 0.5 to 20 nm"),
        ({"fov_yx_nm": (float("inf"), 2.0)}, "field of view"),
        ({"shape_yx": (0, 64)}, "frame side 0 px; allowed is 1 to 512 px"),
        ({"shape_yx": (1, 64)}, "pixel size 2 nm"),
        ({"dwell_us": 0.5}, "dwell 0.5 µs; allowed is 1 to 100 µs"),
        ({"dwell_us": float("nan")}, "dwell"),
        ({"rotation_rad": 7.0}, "rotation 7 rad"),
        ({"shape_yx": (64.5, 64)}, "frame side 64.5 px; it must be a whole number"),
    ],
)
def test_each_limit_says_the_value_and_what_is_allowed(change, sentence):
    with pytest.raises(LimitError, match=sentence.replace("(", r"\(")):
        check(replace(GOOD, **change), LIMITS)


def test_unknown_detectors_are_named():
    with pytest.raises(Unsupported, match="no detector 'bf' here; there are: haadf"):
        check(replace(GOOD, detectors=("bf",)), LIMITS)


@pytest.mark.parametrize("move", [StageMove((101.0, 0.0)), BeamShift((0.0, -10.5))])
def test_moves(move):
    with pytest.raises(LimitError, match="allowed is"):
        check(move, LIMITS)
    check(type(move)((1.0, -1.0)), LIMITS)


def test_dose_limits_need_a_current_and_hold():
    # 10 pA for 10 µs is 624 electrons on a pixel of (2/64 nm)² = 0.0977 Å²: 6391 e/Å².
    careful = replace(LIMITS, max_dose_e_per_a2=6000.0)
    with pytest.raises(Unsupported, match="beam current"):
        check(GOOD, careful)
    with pytest.raises(LimitError, match="dose 6391"):
        check(GOOD, careful, beam_current_pa=10.0)
    check(GOOD, careful, beam_current_pa=9.0)


def test_dose_rate_limit():
    # 10 pA over 400 Å²: 6.24e7 / 400 = 156038 e/Å²/s.
    careful = replace(LIMITS, max_dose_rate_e_per_a2_s=150_000.0)
    with pytest.raises(LimitError, match="dose rate 156038"):
        check(GOOD, careful, beam_current_pa=10.0)
    check(GOOD, careful, beam_current_pa=9.0)


@given(
    y=st.floats(-12, 12),
    x=st.floats(-18, 18),
    side=st.floats(0.7, 8),
    angle=st.floats(-6.2, 6.2),
)
def test_what_passes_lies_inside_the_field(y, x, side, angle):
    request = replace(GOOD, centre_yx_nm=(y, x), fov_yx_nm=(side, side), rotation_rad=angle)
    reached = abs(corners(request.region)).max(axis=0)
    inside = reached[0] <= 10.0 and reached[1] <= 15.0
    near = min(abs(reached[0] - 10.0), abs(reached[1] - 15.0)) < 1e-5
    try:
        check(request, LIMITS)
        accepted = True
    except LimitError:
        accepted = False
    assert accepted == inside or near


SENT = Sent(State())


class TestTotals:
    """What was sent before counts, where it is told of."""

    def test_charge_of_all_frames(self):
        # 64 * (64 * 10 + 100) µs at 10 pA are 2.956e6 electrons.
        careful = replace(LIMITS, max_charge_e=4e6)
        check(GOOD, careful, 10.0, SENT)
        with pytest.raises(
            LimitError, match=r"charge of all frames 4.95.*allowed is 0 to 4e\+06 e"
        ):
            check(GOOD, careful, 10.0, replace(SENT, charge_e=2e6))

    def test_time_of_all_frames(self):
        careful = replace(LIMITS, max_time_s=1.0)
        check(GOOD, careful, None, replace(SENT, time_s=0.9))
        with pytest.raises(LimitError, match=r"time of all frames 1\.02836 s"):
            check(GOOD, careful, None, replace(SENT, time_s=0.98))

    def test_dose_of_a_spot_counts_where_frames_overlap(self):
        # 6391 e/Å² a frame at 10 pA.
        careful = replace(LIMITS, max_spot_dose_e_per_a2=10_000.0)
        dose = DoseMap.over(LIMITS)
        dose.add(GOOD.region, State(), 6391.0)
        sent = replace(SENT, dose=dose)
        with pytest.raises(LimitError, match="dose of a spot 12782"):
            check(GOOD, careful, 10.0, sent)
        beside = replace(GOOD, centre_yx_nm=(0.0, 2.0))
        check(beside, careful, 10.0, sent)
        with pytest.raises(LimitError, match="dose of a spot"):
            check(replace(GOOD, centre_yx_nm=(1.8, 1.8)), careful, 10.0, sent)

    def test_totals_of_charge_need_a_current(self):
        for careful in (
            replace(LIMITS, max_charge_e=1e9),
            replace(LIMITS, max_spot_dose_e_per_a2=1e9),
        ):
            with pytest.raises(Unsupported, match="needs a known beam current"):
                check(GOOD, careful, None, SENT)

    def test_stage_moves_are_short_and_slow(self):
        careful = replace(LIMITS, stage_step_nm=20.0, stage_speed_nm_per_s=10.0)
        check(StageMove((15.0, 0.0)), careful, sent=SENT)
        with pytest.raises(LimitError, match="stage move 25 nm; allowed is 0 to 20 nm"):
            check(StageMove((15.0, 20.0)), careful, sent=SENT)
        soon = replace(SENT, since_move_s=1.0)
        check(StageMove((9.0, 0.0)), careful, sent=soon)
        with pytest.raises(LimitError, match="stage speed 15 nm/s"):
            check(StageMove((15.0, 0.0)), careful, sent=soon)


class TestNarrowed:
    def test_both_must_allow_it(self):
        further = replace(LIMITS, field_yx_nm=(10.0, 90.0), dwell_us=(5.0, 500.0), max_charge_e=1e6)
        both = narrowed(LIMITS, further)
        assert both.field_yx_nm == (10.0, 30.0)
        assert both.dwell_us == (5.0, 100.0)
        assert both.max_charge_e == 1e6
        assert narrowed(further, LIMITS) == both

    def test_nothing_in_common_is_refused(self):
        with pytest.raises(LimitError, match="dwell_us of 200 to 300 was asked for, and 1 to 100"):
            narrowed(LIMITS, replace(LIMITS, dwell_us=(200.0, 300.0)))
        with pytest.raises(LimitError, match="detectors bf were asked for, and there are: haadf"):
            narrowed(LIMITS, replace(LIMITS, detectors=("bf",)))


@given(
    y=st.floats(-8, 8),
    x=st.floats(-8, 8),
    angle=st.floats(-6.2, 6.2),
    at=st.tuples(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2)),
    shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
)
def test_a_dose_lies_where_the_frame_was(y, x, angle, at, shift):
    """A tiny frame about a place is held to have received what the place did."""
    dose, state = DoseMap(0.05), State(beam_shift_yx_nm=shift)
    region = ScanRegion((y, x), (2.0, 1.0), angle)
    dose.add(region, state, 5.0)
    place = specimen_from_scan((y + at[0], x + at[1]), state, angle)
    probe = ScanRegion(tuple(scan_from_specimen(place, State())), (0.02, 0.02))
    margin = max(abs(at[0]) - 1.0, abs(at[1]) - 0.5)
    if abs(margin) > 0.08:
        assert dose.most(probe, State()) == (5.0 if margin < 0 else 0.0)
