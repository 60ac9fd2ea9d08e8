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
    ScanRequest,
    StageMove,
    Unsupported,
    check,
)
from stemscout.hardware.coordinates import corners

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
