"""Candidates, and what is free of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.navigation.navigator import Candidates, allowed, greatest


def test_candidates_lie_half_a_frame_apart(context):
    candidates = Candidates.of(context())
    assert candidates.shape == (15, 23)
    assert np.diff(candidates.centres_yx_nm[:23, 1]) == pytest.approx(0.75)


@given(index=st.integers(0, 15 * 23 - 1), dy=st.floats(-0.3, 0.3), dx=st.floats(-0.3, 0.3))
def test_nearest_candidate(context, index, dy, dx):
    candidates = Candidates.of(context())
    point = candidates.centres_yx_nm[index] + [dy, dx]
    assert candidates.nearest(point[None])[0] == index


def test_frames_that_touch_a_forbidden_rectangle_are_not_allowed(context):
    """Frames are 1.5 nm wide; edges that meet do not touch."""
    centres = np.array([[0.0, 0.0], [0.0, 1.75], [0.0, 1.74], [3.0, 0.0]])
    rectangle = ((1.0, -1.0), (-1.0, 1.0))  # by any two opposite corners
    assert allowed(centres, context(), [rectangle]).tolist() == [False, True, False, True]
    assert allowed(centres, context(), []).all()


def test_what_was_measured_is_no_candidate_any_more(context, situation):
    candidates = Candidates.of(context())
    free = candidates.free(context(), situation(candidates.centres_yx_nm[[5, 17]] + 0.1))
    assert np.flatnonzero(~free).tolist() == [5, 17]


def test_the_greatest_is_the_first_of_equals():
    values = np.array([1.0, 3.0, 3.0 + 1e-12, 9.0, -np.inf])
    free = np.array([True, True, True, False, True])
    assert greatest(values, free & np.isfinite(values)) == 1
