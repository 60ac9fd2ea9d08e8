"""`check` is pure, complete, and never clamps."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from math import inf, nan

import numpy as np
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
BOUNDLESS = replace(
    LIMITS,
    field_yx_nm=(inf, inf),
    fov_nm=(0.0, inf),
    pixel_nm=(0.0, inf),
    shape_px=(0, inf),
    dwell_us=(0.0, inf),
    rotation_rad=(-inf, inf),
    stage_nm=(-inf, inf),
    beam_shift_nm=(-inf, inf),
    max_dose_e_per_a2=inf,
    max_dose_rate_e_per_a2_s=inf,
    max_charge_e=inf,
    max_time_s=inf,
    stage_step_nm=inf,
    stage_speed_nm_per_s=inf,
)


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
        ({"shape_yx": (64.0, 64)}, "frame side 64.0 px; it must be a whole number"),
        ({"shape_yx": (20, 0)}, "frame side 0 px; allowed is 1 to 512 px"),
        ({"shape_yx": (-1, 64)}, "frame side -1 px; allowed is 1 to 512 px"),
        ({"shape_yx": (True, 64)}, "frame side bool True px; it must be a whole number"),
        ({"shape_yx": (64, nan)}, "frame side nan px; it must be a whole number"),
        ({"shape_yx": (10**400, 64)}, "frame side above 1.8e+308 px; allowed is 1 to 512 px"),
        ({"shape_yx": (64,)}, "frame side tuple (64,); it must be two numbers"),
        ({"dwell_us": True}, "dwell bool True µs; it must be a finite number, 1 to 100 µs"),
        ({"dwell_us": "10"}, "dwell str '10' µs; it must be a finite number"),
        ({"dwell_us": 10**400}, "dwell above 1.8e+308 µs; it must be a finite number, 1 to 100"),
        ({"fov_yx_nm": (2.0, -(10**400))}, "field of view below -1.8e+308 nm; it must be a finite"),
        ({"centre_yx_nm": (0.0, 10**5000)}, "centre above 1.8e+308 nm; it must be a finite"),
        ({"centre_yx_nm": (0.0, inf)}, "centre inf nm; it must be a finite number, -15 to 15 nm"),
        ({"centre_yx_nm": 3.0}, "centre 3; it must be two numbers, (y, x)"),
        (
            {"rotation_rad": np.bool_(True)},
            "rotation bool np.True_ rad; it must be a finite number",
        ),
        ({"detectors": ("haadf", "haadf")}, "haadf, haadf; each may be named once, out of: haadf"),
        ({"detectors": ()}, "no detector was named; there are: haadf"),
    ],
)
def test_each_limit_says_the_value_and_what_is_allowed(change, sentence):
    with pytest.raises(LimitError, match=re.escape(sentence)):
        check(replace(GOOD, **change), LIMITS)


@pytest.mark.parametrize(
    "change",
    [{"dwell_us": inf}, {"fov_yx_nm": (inf, inf)}, {"centre_yx_nm": (inf, 0)}, {"dwell_us": 0.0}],
)
def test_where_there_is_no_limit_a_number_must_be_one_all_the_same(change):
    with pytest.raises(LimitError, match=r"finite|above 0"):
        check(replace(GOOD, **change), BOUNDLESS)


def test_whatever_counts_as_a_number_is_one():
    numbers = {"dwell_us": np.float32(10), "shape_yx": (np.int64(64), np.uint8(64))}
    check(replace(GOOD, **numbers, rotation_rad=Fraction(1, 10), fov_yx_nm=(2, 2)), LIMITS)


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
NUMBERS = (
    st.integers(-2, 600)
    | st.integers(10**300, 10**320)
    | st.floats(allow_nan=True, allow_infinity=True)
    | st.floats(0.5, 20.0)
    | st.booleans()
    | st.sampled_from([10**400, -(10**400), 10**5000, 0, -0.0, 5e-324, -1e-9, 1e154, 1.7e308])
)
PAIRS = st.tuples(NUMBERS, NUMBERS)
WORN = replace(
    LIMITS, max_dose_e_per_a2=1e4, max_dose_rate_e_per_a2_s=1e6, max_spot_dose_e_per_a2=1e4,
    max_charge_e=1e9, max_time_s=100.0, stage_step_nm=50.0, stage_speed_nm_per_s=10.0,
)  # fmt: skip


@given(
    request=st.builds(ScanRequest, PAIRS, PAIRS, PAIRS, NUMBERS, NUMBERS)
    | st.builds(StageMove, PAIRS)
    | st.builds(BeamShift, PAIRS),
    limits=st.sampled_from([LIMITS, WORN, BOUNDLESS]),
    current=st.sampled_from([None, 10.0, nan]),
    told=st.booleans(),
)
def test_whatever_the_numbers_it_is_allowed_or_refused_and_nothing_else(
    request, limits, current, told
):
    sent = replace(SENT, dose=DoseMap.over(LIMITS), since_move_s=1.0) if told else None
    said = "allowed is"
    try:
        check(request, limits, current, sent)
    except (LimitError, Unsupported) as error:
        said = str(error)
    except BaseException as error:
        raise AssertionError(f"{type(error).__name__} instead") from error
    sentences = "allowed is", "it must be", "reaches beyond", "needs a known beam current"
    assert any(words in said for words in sentences)


@given(
    centre=st.tuples(st.floats(-12, 12), NUMBERS),
    fov=st.tuples(NUMBERS, st.floats(0.7, 8)),
    shape=st.tuples(st.integers(-2, 600), st.integers(16, 64)),
    dwell=NUMBERS,
    angle=NUMBERS,
)
def test_what_is_allowed_is_a_frame_that_can_be_taken(centre, fov, shape, dwell, angle):
    request = ScanRequest(centre, fov, shape, dwell, angle)
    try:
        check(request, LIMITS)
    except LimitError:
        return
    numbers = (*centre, *fov, *shape, dwell, angle)
    assert np.isfinite(np.array(numbers, float)).all()
    assert not any(isinstance(n, bool) for n in numbers)
    assert all(n > 0 for n in (*fov, *shape, dwell))


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

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_charge_e": nan}, {"max_charge_e": "1e9"}, {"max_charge_e": True},
            {"max_charge_e": 10**400}, {"dwell_us": (1.0, nan)}, {"field_yx_nm": (nan, 30.0)},
            {"dwell_us": None}, {"dwell_us": 5.0}, {"fov_nm": (1.0, 2.0, 3.0)},
            {"detectors": "haadf"}, {"detectors": None},
        ],
    )  # fmt: skip
    def test_what_is_no_limit_is_refused_by_its_name(self, wrong):
        (name,) = wrong
        for both in ((LIMITS, replace(LIMITS, **wrong)), (replace(LIMITS, **wrong), LIMITS)):
            with pytest.raises(LimitError, match=name):
                narrowed(*both)

    def test_an_infinite_limit_is_none(self):
        assert narrowed(LIMITS, BOUNDLESS).dwell_us == LIMITS.dwell_us
        assert narrowed(replace(LIMITS, max_charge_e=1e6), BOUNDLESS).max_charge_e == 1e6

    def test_ranges_may_be_lists_as_json_has_them(self):
        further = replace(LIMITS, dwell_us=[5.0, 50.0], fov_nm=[0.1, 30.0])
        assert narrowed(LIMITS, further).dwell_us == (5.0, 50.0)
        assert narrowed(further, LIMITS).fov_nm == (0.5, 20.0)


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
