"""Every action ends in one request; codecs and their inverses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.envs.actions import ACTIONS, GridAction, MoveAction, OperatorAction, action_codec
from stemscout.envs.reference import ReferenceFrame
from stemscout.envs.registration import make_env
from stemscout.hardware import Limits, ScanRequest

REFERENCE = ReferenceFrame((1.5, 1.5), (64, 64), 24.0)
FIELD = (24.0, 24.0)
HALF = st.floats(-1, 1, width=32)
LIMITS = Limits(FIELD, (0.2, 24.0), (0.002, 24.0), (1, 4096), (0.1, 1e4), ("haadf",))


def inside(request):
    reach = np.abs(request.centre_yx_nm) + np.asarray(request.fov_yx_nm) / 2
    return (reach <= np.asarray(FIELD) / 2 + 1e-9).all()


@pytest.mark.parametrize("name", ACTIONS)
def test_samples_are_frames_inside_the_field_and_come_back(name):
    codec = action_codec(name, FIELD, REFERENCE, LIMITS)
    codec.space.seed(0)
    at = (3.0, -2.0)
    for _ in range(50):
        action = codec.space.sample()
        request = codec.decode(action, at)
        assert inside(request)
        again = codec.decode(codec.encode(request, at), at)
        assert again.centre_yx_nm == pytest.approx(request.centre_yx_nm, abs=1e-5)
        assert again.fov_yx_nm == pytest.approx(request.fov_yx_nm, rel=1e-5)
        assert again.dwell_us == pytest.approx(request.dwell_us, rel=1e-5)


@pytest.mark.parametrize("name", ["position", "move", "grid"])
def test_only_operators_take_other_frames_than_the_reference(name):
    codec = action_codec(name, FIELD, REFERENCE)
    codec.space.seed(1)
    request = codec.decode(codec.space.sample())
    assert request == REFERENCE.at(request.centre_yx_nm)
    with pytest.raises(ValueError, match="reference frames only"):
        codec.encode(ScanRequest((0.0, 0.0), (3.0, 3.0), (64, 64), 24.0))


class TestMove:
    codec = MoveAction(FIELD, REFERENCE)

    @given(y=HALF, x=HALF)
    def test_goes_up_to_four_frames_from_where_it_is(self, y, x):
        request = self.codec.decode(np.array([y, x], np.float32), (1.0, 2.0))
        assert request.centre_yx_nm == pytest.approx((1.0 + 6.0 * y, 2.0 + 6.0 * x))

    def test_stops_at_the_border_and_says_so(self):
        moves = np.array([[1.0, 0.5], [0.2, 0.0]])
        requests = self.codec.decode_all(moves, np.array([[10.0, 0.0], [10.0, 0.0]]))
        assert requests.at_limit.tolist() == [True, False]
        assert requests.centre_yx_nm[0] == pytest.approx([11.25, 3.0])

    def test_a_stop_is_paid_for_and_told(self):
        env = make_env("StemScout/GrapheneDefects-v0", action="move")
        env.reset(seed=0)
        spent = 0.0
        told = []
        for _ in range(3):
            *_, info = env.step(np.array([1.0, 0.0], np.float32))
            assert info["spent"] > spent
            spent = info["spent"]
            told.append(info["at_limit"])
        assert told == [False, True, True]

    def test_a_frame_too_far_away_is_no_move(self):
        with pytest.raises(ValueError, match="one goes at most"):
            self.codec.encode(REFERENCE.at((10.0, 0.0)), (0.0, 0.0))

    def test_the_way_takes_time(self):
        """Travel and settling are in the cost model; charge is the same."""
        env = make_env("StemScout/GrapheneDefects-v0", action="move")
        times = []
        for length in (0.0, 1.0):
            env.reset(seed=0)
            env.step(np.zeros(2, np.float32))
            before = env.episode.budget.spent_time_s
            *_, info = env.step(np.array([length, 0.0], np.float32))
            times.append(info["time_s"] - before)
        travel = env.source.costs.travel_us_per_nm * 6.0e-6
        assert times[1] - times[0] == pytest.approx(travel)


class TestGrid:
    codec = GridAction(FIELD, REFERENCE)

    def test_cells_lie_half_a_frame_apart(self):
        assert self.codec.shape_yx == (31, 31)
        assert self.codec.space.n == 961
        first, second = (self.codec.decode(np.int64(k)).centre_yx_nm for k in (0, 1))
        assert second[1] - first[1] == pytest.approx(0.75)

    def test_a_frame_between_cells_is_none(self):
        with pytest.raises(ValueError, match="none of the 961 cells"):
            self.codec.encode(REFERENCE.at((0.1, 0.0)))

    def test_the_mask_is_what_was_not_taken(self):
        env = make_env("StemScout/GrapheneDefects-v0", action="grid")
        _, info = env.reset(seed=0)
        assert info["action_mask"].all()
        env.action_space.seed(0)
        taken = set()
        for _ in range(20):
            action = env.action_space.sample(info["action_mask"])
            assert int(action) not in taken
            taken.add(int(action))
            *_, info = env.step(action)
            assert set(np.flatnonzero(info["action_mask"] == 0)) == taken
            assert np.array_equal(env.action_masks(), info["action_mask"] == 1)

    def test_a_person_takes_a_cell_too(self):
        env = make_env("StemScout/GrapheneDefects-v0", action="grid")
        env.reset(seed=0)
        env.episode.take(env.actions.decode(np.int64(17)))
        assert np.flatnonzero(~env.action_masks()).tolist() == [17]

    def test_only_cells_have_a_mask(self):
        env = make_env("StemScout/GrapheneDefects-v0")
        env.reset(seed=0)
        with pytest.raises(ValueError, match="only the action 'grid' has a mask"):
            env.action_masks()


class TestOperator:
    codec = OperatorAction(FIELD, REFERENCE, LIMITS)

    def test_surveys_and_zooms(self):
        wide = self.codec.decode(np.array([1.0, 1.0, 1.0, -1.0], np.float32))
        assert wide.fov_yx_nm == pytest.approx(FIELD)
        assert wide.centre_yx_nm == pytest.approx((0.0, 0.0)), "the whole field has one centre"
        assert wide.dwell_us == pytest.approx(1.5)
        near = self.codec.decode(np.array([1.0, 1.0, -1.0, 1.0], np.float32))
        assert near.fov_yx_nm == pytest.approx((0.75, 0.75))
        assert near.dwell_us == pytest.approx(96.0)

    def test_an_episode_ends_when_its_cheapest_frame_is_too_dear(self):
        env = make_env("StemScout/GrapheneDefects-v0", action="operator", budget=0.02)
        env.reset(seed=0)
        truncated = False
        while not truncated:
            *_, truncated, info = env.step(np.array([0.0, 0.0, 0.0, -1.0], np.float32))
        least = env.source.costs.charge_e(env.actions.cheapest, env.episode.beam_current_pa)
        left = env.episode.budget.charge_e - info["charge_e"]
        assert 0 <= left < least

    def test_a_budget_must_pay_for_the_cheapest_frame_alone(self):
        options = {"action": "operator", "budget": 0.003, "time_budget_s": 0.1}
        env = make_env("StemScout/GrapheneDefects-v0", **options)
        env.reset(seed=0)
        *_, info = env.step(np.array([0.0, 0.0, 0.0, -1.0], np.float32))
        assert info["frames"] == 1
        for less in ({"budget": 1e-4}, {"time_budget_s": 1e-3}):
            with pytest.raises(ValueError, match=r"does not pay for one frame|one frame takes"):
                make_env("StemScout/GrapheneDefects-v0", **{**options, **less})

    def test_ranges_end_where_the_limits_do(self, lattice_image):
        """A recording has one dwell and no finer pixels than its own."""
        env = make_env(
            "StemScout/Recorded-v0", image=lattice_image, pixel_nm=0.05, action="operator"
        )
        env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(5):
            *_, info = env.step(env.action_space.sample())
            request = info["request"]
            assert request.dwell_us == env.source.reference.dwell_us
            assert min(request.pixel_yx_nm) >= 0.05 * (1 - 1e-9)
            again = env.actions.decode(env.actions.encode(request))
            assert again.fov_yx_nm == pytest.approx(request.fov_yx_nm)

    def test_limits_that_leave_nothing_are_refused(self):
        short = Limits(FIELD, (0.2, 24.0), (0.002, 24.0), (1, 4096), (500.0, 1e4), ("haadf",))
        with pytest.raises(ValueError, match="leave the action 'operator' no dwell: from 500"):
            OperatorAction(FIELD, REFERENCE, short)

    def test_frames_that_are_not_square_are_none(self):
        with pytest.raises(ValueError, match="square upright frames"):
            self.codec.encode(ScanRequest((0.0, 0.0), (3.0, 2.0), (64, 64), 24.0))
