"""Lattices, budgets, codecs and the mosaic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.envs.actions import PositionAction
from stemscout.envs.budget import Budget, BudgetError
from stemscout.envs.mosaic import Mosaic
from stemscout.envs.reference import ReferenceFrame
from stemscout.hardware import CostModel, Frame, LimitError, ScanRequest, State

REFERENCE = ReferenceFrame((1.5, 1.5), (64, 64), 24.0)
FIELD = (24.0, 24.0)


def test_lattice_of_a_field_that_frames_divide():
    centres, shape = REFERENCE.lattice(FIELD)
    assert shape == (16, 16)
    assert centres[0] == pytest.approx([-11.25, -11.25])
    assert centres[1] == pytest.approx([-11.25, -9.75]), "x runs fastest"


@given(h=st.floats(1.5, 60), w=st.floats(1.5, 60), pitch=st.sampled_from([0.25, 0.5, 1.0]))
def test_lattices_cover_the_field_to_its_border(h, w, pitch):
    centres, (rows, columns) = REFERENCE.lattice((h, w), pitch)
    assert len(centres) == rows * columns
    y, x = np.unique(centres[:, 0]), np.unique(centres[:, 1])
    for axis, side in ((y, h), (x, w)):
        assert axis[0] - 0.75 == pytest.approx(-side / 2)
        assert axis[-1] + 0.75 == pytest.approx(side / 2), "the last one lies flush"
        assert (np.diff(axis) <= pitch * 1.5 + 1e-6).all()


def test_budget_is_the_charge_of_rasters():
    budget = Budget.relative(0.4, FIELD, REFERENCE, CostModel(), 80.0)
    frame = CostModel().charge_e(REFERENCE.at((0.0, 0.0)), 80.0)
    assert budget.raster_charge_e == pytest.approx(256 * frame)
    assert budget.charge_e == pytest.approx(0.4 * 256 * frame)
    for _ in range(102):
        assert budget.affords(frame, 0.0)
        budget.spend(frame, 0.1)
    assert not budget.affords(frame, 0.0)
    assert budget.charge_left == pytest.approx(1 - 102 / 102.4)


def test_a_whole_raster_fits_a_budget_of_one():
    """Rounding of a sum of equal charges never loses the last frame."""
    budget = Budget.relative(1.0, (20.0, 20.0), REFERENCE, CostModel(flyback_us=33.3), 77.7)
    frame = CostModel(flyback_us=33.3).charge_e(REFERENCE.at((0.0, 0.0)), 77.7)
    taken = 0
    while budget.affords(frame, 0.0):
        budget.spend(frame, 0.0)
        taken += 1
    assert taken == 14 * 14


def test_without_a_known_current_charge_is_refused():
    with pytest.raises(BudgetError, match="beam current is unknown"):
        Budget.relative(0.4, FIELD, REFERENCE, CostModel(), None)


@given(y=st.floats(-1, 1, width=32), x=st.floats(-1, 1, width=32))
def test_actions_are_frames_inside_the_field_and_back(y, x):
    codec = PositionAction(FIELD, REFERENCE)
    action = np.array([y, x], np.float32)
    request = codec.decode(action)
    assert np.abs(request.centre_yx_nm).max() <= 11.25
    assert codec.encode(request) == pytest.approx(action, abs=1e-6)


def test_a_frame_outside_has_no_action():
    with pytest.raises(ValueError, match="outside the valid centres"):
        PositionAction(FIELD, REFERENCE).encode(REFERENCE.at((12.0, 0.0)))


FRAMES = st.lists(
    st.tuples(
        st.floats(-4, 4),
        st.floats(-4, 4),
        st.floats(-3, 3),
        st.integers(0, 2**31),
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(frames=FRAMES)
def test_mosaic_holds_the_mean_of_the_measured_pixels(frames):
    """Held against a plain loop over pixels, rotations and stage shifts included."""
    field, cells = (10.0, 12.0), (8, 9)
    mosaic = Mosaic(field, cells)
    total, count = np.zeros(cells), np.zeros(cells)
    for y, x, angle, seed in frames:
        request = ScanRequest((y, x), (1.5, 1.0), (6, 5), 1.0, angle)
        values = np.random.default_rng(seed).random((6, 5)).astype(np.float32)
        state = State(stage_yx_nm=(0.3, -0.2))
        mosaic.add(Frame(request, request.region, {}, 6, 0.0, 0.0, state), values)
        for i in range(6):
            for j in range(5):
                v = y + ((i + 0.5) / 6 - 0.5) * 1.5
                u = x + ((j + 0.5) / 5 - 0.5) * 1.0
                py = v * np.cos(angle) + u * np.sin(angle) - 0.3
                px = u * np.cos(angle) - v * np.sin(angle) + 0.2
                a, b = int((py + 5.0) // (10 / 8)), int((px + 6.0) // (12 / 9))
                if 0 <= a < 8 and 0 <= b < 9:
                    total[a, b] += values[i, j]
                    count[a, b] += 1
    value, mask = mosaic.as_uint8()
    assert np.array_equal(mosaic.count, count)
    assert np.array_equal(mask, np.where(count > 0, 255, 0))
    expected = np.rint(255 * total / np.maximum(count, 1))
    assert np.abs(value - expected).max() <= 1


def test_rows_that_were_not_scanned_do_not_count():
    mosaic = Mosaic((2.0, 2.0), (4, 4))
    request = ScanRequest((0.0, 0.0), (2.0, 2.0), (4, 4), 1.0)
    mosaic.add(
        Frame(request, request.region, {}, 2, 0.0, 0.0, State()), np.ones((4, 4), np.float32)
    )
    assert mosaic.measured.tolist() == [[True] * 4] * 2 + [[False] * 4] * 2


class TestEpisode:
    """`take` is where every frame comes through."""

    def test_a_persons_frame_enters_directly(self, graphene):
        env = graphene()
        env.reset(seed=0)
        request = ScanRequest((0.0, 0.0), (3.0, 2.0), (96, 64), 10.0)
        frame = env.episode.take(request)
        assert frame.image.shape == (96, 64)
        assert env.episode.budget.spent > 0
        assert env.observations.observe()["mosaic"][1].any()

    def test_what_is_not_allowed_costs_nothing(self, graphene):
        env = graphene()
        env.reset(seed=0)
        with pytest.raises(LimitError):
            env.episode.take(ScanRequest((12.0, 0.0), (1.5, 1.5), (64, 64), 24.0))
        with pytest.raises(BudgetError, match="are left"):
            env.episode.take(ScanRequest((0.0, 0.0), (20.0, 20.0), (4000, 4000), 1000.0))
        assert env.episode.budget.spent == 0.0

    def test_dwell_does_not_change_the_display(self, graphene):
        env = graphene()
        env.reset(seed=0)
        means = []
        for dwell in (24.0, 240.0):
            frame = env.episode.take(ScanRequest((0.0, 0.0), (1.5, 1.5), (64, 64), dwell))
            means.append(env.episode.display(frame).mean())
        assert means[0] == pytest.approx(means[1], rel=0.05)


class TestRecordedSource:
    def test_frames_are_a_sixteenth_of_the_shorter_side(self, recorded):
        env = recorded()
        assert env.source.reference.shape_yx == (18, 18)
        assert env.source.reference.fov_yx_nm == pytest.approx((0.9, 0.9))

    def test_small_images_are_refused(self):
        from stemscout.envs.registration import make_env

        small = np.random.default_rng(0).random((255, 400))
        with pytest.raises(
            ValueError, match="255 x 400 px; its shorter side must have at least 256"
        ):
            make_env("StemScout/Recorded-v0", image=small, pixel_nm=0.05)

    @pytest.mark.parametrize("wrong", [{"pixel_nm": "a"}, {"pixel_nm": 0.05, "electrons": True}])
    def test_what_is_no_number_is_refused_by_name(self, lattice_image, wrong):
        from stemscout.envs.registration import make_env

        with pytest.raises(ValueError, match=r"(pixel_nm|electrons) is .*; it must be a number"):
            make_env("StemScout/Recorded-v0", image=lattice_image, **wrong)

    def test_a_pixel_size_is_needed(self, lattice_image):
        from stemscout.envs.registration import make_env

        with pytest.raises(ValueError, match="does not say its pixel size"):
            make_env("StemScout/Recorded-v0", image=lattice_image)

    def test_no_truth_no_reward(self, recorded):
        env = recorded()
        env.reset(seed=0)
        rewards = {env.step(env.action_space.sample())[1] for _ in range(20)}
        assert rewards == {0.0}
        assert env.truth is None
