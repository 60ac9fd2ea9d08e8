"""Navigators: what they do with odd targets, and what their plans look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.agents.agent import Context
from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.bayesian import ACQUISITIONS, SEEDINGS, SkoptGP
from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.navigation.scripted import Grid, Random, bit_reversed_order, coarse_shape
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.envs.registration import make_env
from stemscout.hardware import Limits

FIELD = (12.0, 18.0)
REFERENCE = ReferenceFrame((1.5, 1.5), (32, 32), 10.0)
LIMITS = Limits(FIELD, (0.1, 20), (0.001, 20), (1, 500), (1, 100), ("haadf",))


def context(frames=30):
    return Context(
        field_yx_nm=FIELD,
        reference=REFERENCE,
        limits=LIMITS,
        actions=PositionAction(FIELD, REFERENCE),
        full_scale={"haadf": (0.0, 1.0)},
        budget=0.4,
        frames=frames,
    )


def ready(navigator, frames=30, seed=0):
    navigator.reset(context(frames), np.random.default_rng(seed))
    return navigator


def anywhere(navigator):
    return np.ones(len(navigator.candidates.centres_yx_nm), dtype=bool)


@given(rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_bit_reversed_order_visits_everything_once(rows, columns):
    order = bit_reversed_order(rows, columns)
    assert sorted(order) == list(range(rows * columns))


@pytest.mark.parametrize("prefix", [4, 16, 64])
def test_every_prefix_of_the_grid_spreads_over_the_field(prefix):
    """After 4, 16, 64 frames every quarter, sixteenth, 64th of a 16 x 16 grid has one."""
    first = bit_reversed_order(16, 16)[:prefix]
    side = int(np.sqrt(prefix))
    blocks = (first // 16) * side // 16 * side + (first % 16) * side // 16
    assert len(set(blocks)) == prefix


@given(frames=st.integers(1, 300), aspect=st.floats(0.3, 3.0))
def test_coarse_grids_fit_the_budget_and_use_most_of_it(frames, aspect):
    rows, columns = coarse_shape(frames, aspect)
    assert rows * columns <= frames
    assert rows * columns > frames / 2


def test_the_grid_covers_the_field():
    grid = ready(Grid(), frames=54)
    main = grid.candidates.centres_yx_nm[:54]
    rows, columns = (np.unique(main[:, a].round(9)) for a in (0, 1))
    assert (len(rows), len(columns)) == (6, 9)
    assert rows == pytest.approx((np.arange(6) + 0.5) * 2 - 6), "equal shares of 12 nm"
    assert columns == pytest.approx((np.arange(9) + 0.5) * 2 - 9), "equal shares of 18 nm"


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 54, 96, 200])
def test_the_grid_never_ends_before_the_budget(frames):
    grid = ready(Grid(), frames=frames)
    empty = np.empty((0, 2))
    taken = [grid.decide(empty, np.empty(0), anywhere(grid)) for _ in range(frames)]
    assert all(taken)


def test_random_visits_every_candidate_once():
    random = ready(Random())
    count = len(random.candidates.centres_yx_nm)
    empty = np.empty((0, 2))
    found = {random.decide(empty, np.empty(0), anywhere(random)).index for _ in range(count)}
    assert len(found) == count
    assert random.decide(empty, np.empty(0), anywhere(random)) is None


def measured(navigator, count, function, seed=0):
    rng = np.random.default_rng(seed)
    centres = navigator.candidates.centres_yx_nm
    chosen = centres[rng.choice(len(centres), count, replace=False)]
    return chosen, np.array([function(y, x) for y, x in chosen])


def bump(y, x):
    return np.exp(-((y - 2) ** 2 + (x + 4) ** 2) / 8)


class TestSkoptGP:
    def test_climbs_a_bump(self):
        navigator = ready(SkoptGP())
        centres, targets = measured(navigator, 6, bump)
        for _ in range(12):
            decision = navigator.decide(centres, targets, anywhere(navigator))
            new = navigator.candidates.centres_yx_nm[decision.index]
            centres, targets = np.vstack([centres, new]), np.append(targets, bump(*new))
        assert targets.max() > 0.9

    def test_beliefs_depend_on_the_seed_alone(self):
        """Restarts of the likelihood's optimiser included."""
        beliefs = []
        for _ in range(3):
            navigator = ready(SkoptGP(), seed=5)
            centres, targets = measured(navigator, 25, bump)
            targets = targets + np.random.default_rng(1).normal(0, 0.5, len(targets))
            np.random.random()  # noqa: NPY002  the global generator must not matter
            maps = navigator.decide(centres, targets, anywhere(navigator)).maps
            beliefs.append(np.concatenate([values for values, _ in maps.values()]))
        for other in beliefs[1:]:
            assert np.allclose(beliefs[0], other, rtol=1e-9, atol=1e-12, equal_nan=True)

    def test_mean_and_sigma_are_those_of_the_data(self):
        navigator = ready(SkoptGP())
        centres, targets = measured(navigator, 40, bump)
        maps = navigator.decide(centres, targets, anywhere(navigator)).maps
        (mean, unit), (sigma, _) = maps["posterior mean"], maps["uncertainty"]
        at = navigator.candidates.nearest(centres)
        assert unit == "target"
        assert mean[at] == pytest.approx(targets, abs=0.1)
        others = np.setdiff1d(np.arange(len(mean)), at)
        assert sigma[at].mean() < sigma[others].mean()

    @settings(max_examples=5, deadline=None)
    @given(scale=st.sampled_from([1e-6, 1.0, 1e6]), offset=st.sampled_from([0.0, -100.0, 1e5]))
    def test_units_of_the_target_do_not_matter(self, scale, offset):
        picks = []
        for s, o in ((1.0, 0.0), (scale, offset * scale)):
            navigator = ready(SkoptGP())
            centres, targets = measured(navigator, 10, bump)
            picks.append(navigator.decide(centres, s * targets + o, anywhere(navigator)).index)
        assert picks[0] == picks[1]

    @pytest.mark.parametrize("value", [0.0, 3.5, -1e9])
    def test_constant_targets_send_it_anywhere_new(self, value):
        navigator = ready(SkoptGP())
        centres, _ = measured(navigator, 8, bump)
        decision = navigator.decide(centres, np.full(8, value), anywhere(navigator))
        assert "equal" in decision.reason
        assert decision.index not in set(navigator.candidates.nearest(centres))

    def test_targets_that_are_not_finite_are_left_out(self):
        navigator = ready(SkoptGP())
        centres, targets = measured(navigator, 8, bump)
        targets[2], targets[5] = np.nan, np.inf
        assert navigator.decide(centres, targets, anywhere(navigator)) is not None
        assert navigator.decide(centres, np.full(8, np.nan), anywhere(navigator)) is not None

    def test_duplicates_and_points_between_candidates(self):
        """A person's frames may lie anywhere, and twice."""
        navigator = ready(SkoptGP())
        centres, targets = measured(navigator, 8, bump)
        centres = np.vstack([centres, centres[:2], [[0.1, 0.2]]])
        targets = np.append(targets, [0.4, 0.5, 0.1])
        assert navigator.decide(centres, targets, anywhere(navigator)) is not None

    def test_all_measured_is_the_end(self):
        navigator = ready(SkoptGP())
        centres = navigator.candidates.centres_yx_nm
        assert navigator.decide(centres, np.zeros(len(centres)), anywhere(navigator)) is None

    def test_one_candidate_left_is_taken(self):
        navigator = ready(SkoptGP())
        only = np.zeros(len(navigator.candidates.centres_yx_nm), dtype=bool)
        only[17] = True
        centres, targets = measured(navigator, 6, bump)
        assert navigator.decide(centres, targets, only).index == 17

    def test_seeds_do_not_repeat(self):
        navigator = ready(SkoptGP())
        centres = np.empty((0, 2))
        for _ in range(5):
            decision = navigator.decide(centres, np.full(len(centres), np.nan), anywhere(navigator))
            centres = np.vstack([centres, navigator.candidates.centres_yx_nm[decision.index]])
        assert len(np.unique(centres, axis=0)) == 5

    @pytest.mark.parametrize(("name", "words"), [(n, w) for n, (w, _) in ACQUISITIONS.items()])
    def test_every_acquisition_climbs_the_bump_and_says_what_it_is(self, name, words):
        navigator = ready(SkoptGP(acquisition=name))
        centres, targets = measured(navigator, 6, bump)
        for _ in range(12):
            decision = navigator.decide(centres, targets, anywhere(navigator))
            assert decision.maps["acquisition"][1] == words
            new = navigator.candidates.centres_yx_nm[decision.index]
            centres, targets = np.vstack([centres, new]), np.append(targets, bump(*new))
        assert targets.max() > 0.85

    def test_more_curiosity_goes_where_less_is_known(self):
        sigma = []
        for kappa in (0.0, 10.0):
            navigator = ready(SkoptGP(acquisition="LCB", exploration=kappa))
            centres, targets = measured(navigator, 20, bump)
            decision = navigator.decide(centres, targets, anywhere(navigator))
            sigma.append(decision.maps["uncertainty"][0][decision.index])
        assert sigma[1] > 2 * sigma[0]

    def test_where_it_begins_is_as_asked(self):
        half = np.array(FIELD) / 2
        begins = {}
        for seeding in SEEDINGS:
            navigator = ready(SkoptGP(seeding=seeding))
            centres = navigator.candidates.centres_yx_nm[navigator.seeds[:5]]
            assert len(np.unique(centres, axis=0)) == 5
            begins[seeding] = centres
        assert (np.abs(begins["middle"]) <= 1.5).all()
        assert (np.abs(begins["corner"] + half) <= 2.5).all()
        for spread in ("sobol", "random"):
            assert np.ptp(begins[spread], axis=0).max() > 6.0

    def test_a_length_scale_within_its_bounds_and_a_noise_that_is_given(self):
        """Short scales forget within a step; much noise is not followed."""
        maps = {}
        for name, options in {
            "short": {"length_scale_nm": [0.2, 0.3]},
            "long": {"length_scale_nm": [6.0, 9.0]},
            "noisy": {"length_scale_nm": [6.0, 9.0], "noise": 10.0},
        }.items():
            navigator = ready(SkoptGP(**options))
            centres, targets = measured(navigator, 30, bump)
            maps[name] = navigator.decide(centres, targets, anywhere(navigator)).maps
        sigma = {k: m["uncertainty"][0].mean() for k, m in maps.items()}
        assert sigma["short"] > 2 * sigma["long"]
        ranges = {k: np.ptp(m["posterior mean"][0]) for k, m in maps.items()}
        assert ranges["noisy"] < 0.5 * ranges["long"]

    def test_bad_settings(self):
        with pytest.raises(ValueError, match="1 seed frames; a fit needs at least 2"):
            SkoptGP(seed_frames=1)
        with pytest.raises(ValueError, match="an exploration of -1"):
            SkoptGP().steer(-1.0)
        for wrong in (
            {"acquisition": "luck"},
            {"seeding": "everywhere"},
            {"length_scale_nm": [3.0, 1.0]},
            {"length_scale_nm": 2.0},
            {"noise": 0.0},
            {"exploration": "much"},
        ):
            (name,) = wrong
            with pytest.raises(ValueError, match=name):
                SkoptGP(**wrong)


def test_candidates_lie_half_a_frame_apart():
    candidates = Candidates.of(context())
    assert candidates.shape == (15, 23)
    assert np.diff(candidates.centres_yx_nm[:23, 1]) == pytest.approx(0.75)


@given(index=st.integers(0, 15 * 23 - 1), dy=st.floats(-0.3, 0.3), dx=st.floats(-0.3, 0.3))
def test_nearest_candidate(index, dy, dx):
    candidates = Candidates.of(context())
    point = candidates.centres_yx_nm[index] + [dy, dx]
    assert candidates.nearest(point[None])[0] == index


def test_the_oracle_plans_where_frames_truly_come_to_lie():
    """An action of 32 bits moves a frame by a hair, and points on its edge with it."""
    env = make_env("StemScout/Composite-v0", split="test", terminate_when_done=False)
    steps = Experiment(env, make_agent("oracle"), seed=0).run()
    assert steps[-1].fraction > 0.999


def test_the_oracle_plans_over_cells_where_actions_are_cells():
    env = make_env("StemScout/MoS2Defects-v0", action="grid", split="test")
    steps = Experiment(env, make_agent("oracle"), seed=0).run()
    assert steps[-1].fraction > 0.9
    cells = [env.actions.cell_of(s.request.centre_yx_nm) for s in steps]
    assert None not in cells
