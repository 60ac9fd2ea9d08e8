"""There is one conversion between specimen and scan coordinates, and it has an inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.hardware import CostModel, Frame, LimitError, ScanRegion, ScanRequest, State
from stemscout.hardware.coordinates import (
    pixel_from_specimen,
    reach,
    rotation,
    scan_from_specimen,
    specimen_from_pixel,
    specimen_from_scan,
)

COORDINATE = st.floats(-50, 50)
POINT = st.tuples(COORDINATE, COORDINATE)
ANGLE = st.floats(-6.2, 6.2)
COSTS = CostModel()


@given(point=POINT, stage=POINT, shift=POINT, angle=ANGLE)
def test_scan_and_specimen_are_inverse(point, stage, shift, angle):
    state = State(stage_yx_nm=stage, beam_shift_yx_nm=shift)
    there = specimen_from_scan(point, state, angle)
    assert np.allclose(scan_from_specimen(there, state, angle), point, atol=1e-9)


@given(centre=POINT, stage=POINT, angle=ANGLE, pixel=POINT)
def test_pixel_and_specimen_are_inverse(centre, stage, angle, pixel):
    request = ScanRequest(centre, (2.0, 3.0), (40, 30), 1.0, angle)
    frame = Frame(
        request, ScanRegion(centre, (2.0, 3.0), angle), {}, 40, 0.0, 0.0, State(stage_yx_nm=stage)
    )
    there = specimen_from_pixel(frame, pixel)
    assert np.allclose(pixel_from_specimen(frame, there), pixel, atol=1e-6)


def test_signs():
    assert np.allclose(rotation(np.pi / 2) @ [0.0, 1.0], [1.0, 0.0])  # right turns downwards
    moved = State(stage_yx_nm=(1.0, 0.0), beam_shift_yx_nm=(0.0, 2.0))
    assert np.allclose(specimen_from_scan((0.0, 0.0), moved), (-1.0, 2.0))


AT_REST = State()


def reached(target, state=AT_REST):
    return reach(target, state, (5.0, 5.0), 3.0, 100.0, COSTS)


def test_scan_offset_comes_first_and_is_free():
    there = reached((4.0, -5.0))
    assert there.scan_yx_nm == (4.0, -5.0)
    assert there.beam_shift_yx_nm == there.stage_yx_nm == (0.0, 0.0)
    assert there.time_s == 0.0


def test_beam_shift_comes_second_and_is_as_small_as_can_be():
    there = reached((7.0, 0.0))
    assert there.beam_shift_yx_nm == (2.0, 0.0)
    assert there.stage_yx_nm == (0.0, 0.0)
    assert there.time_s == COSTS.shift_time_s()


def test_stage_comes_last_and_costs_most():
    there = reached((40.0, -30.0))
    assert there.stage_yx_nm == (-40.0, 30.0)
    assert there.scan_yx_nm == there.beam_shift_yx_nm == (0.0, 0.0)
    assert there.time_s == pytest.approx(50.0 / 100.0 + 5.0 + COSTS.shift_time_s())


def test_beyond_all_three_is_refused():
    there = reached((107.5, 0.0))
    assert (there.stage_yx_nm, there.beam_shift_yx_nm, there.scan_yx_nm) == (
        (-100.0, 0.0),
        (2.5, 0.0),
        (5.0, 0.0),
    )
    with pytest.raises(LimitError, match=r"target \(108.1, 0\) nm is out of reach"):
        reached((108.1, 0.0))


@given(target=POINT, stage=POINT, shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)))
def test_what_is_set_brings_the_probe_there(target, stage, shift):
    there = reached(target, State(stage_yx_nm=stage, beam_shift_yx_nm=shift))
    after = State(stage_yx_nm=there.stage_yx_nm, beam_shift_yx_nm=there.beam_shift_yx_nm)
    assert np.allclose(specimen_from_scan(there.scan_yx_nm, after), target, atol=1e-9)
    assert np.abs(there.scan_yx_nm).max() <= 5.0 + 1e-6


def test_costs_add_up():
    costs = CostModel(flyback_us=50.0, offset_settle_us=200.0)
    request = ScanRequest((0.0, 0.0), (1.0, 1.0), (10, 20), 2.0)
    assert costs.beam_on_us(request) == 10 * (20 * 2.0 + 50.0)
    assert costs.time_s(request) == pytest.approx((10 * (20 * 2.0 + 50.0) + 200.0) * 1e-6)
    # 1 pA is 6.241509074 electrons a microsecond.
    assert costs.charge_e(request, 3.0) == pytest.approx(900.0 * 3.0 * 6.241509074)
    blanked = CostModel(flyback_us=50.0, flyback_blanked=True)
    assert blanked.beam_on_us(request) == 10 * 20 * 2.0
