"""scikit-optimize's engine: surrogates, acquisitions, batches, and targets of every kind."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.agents.agent import Context
from stemscout.agents.navigation.seeding import SEEDINGS
from stemscout.agents.navigation.skopt_engine import (
    ACQUISITIONS,
    STRATEGIES,
    SURROGATES,
    Hedge,
    SkoptBO,
)
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.hardware import Limits


def test_beliefs_depend_on_the_seed_alone(ready, measured, bump, situation):
    """Restarts of the likelihood's optimiser included."""
    beliefs = []
    for _ in range(3):
        navigator = ready(SkoptBO(), seed=5)
        centres, targets = measured(navigator, 25, bump)
        targets = targets + np.random.default_rng(1).normal(0, 0.5, len(targets))
        np.random.random()  # noqa: NPY002  the global generator must not matter
        maps = navigator.decide(situation(centres, targets)).maps
        beliefs.append(np.concatenate([values for values, _ in maps.values()]))
    for other in beliefs[1:]:
        assert np.allclose(beliefs[0], other, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_mean_and_sigma_are_those_of_the_data(ready, measured, bump, situation):
    navigator = ready(SkoptBO())
    centres, targets = measured(navigator, 40, bump)
    maps = navigator.decide(situation(centres, targets)).maps
    (mean, unit), (sigma, _) = maps["posterior mean"], maps["uncertainty"]
    at = navigator.candidates.nearest(centres)
    assert unit == "target"
    assert mean[at] == pytest.approx(targets, abs=0.1)
    others = np.setdiff1d(np.arange(len(mean)), at)
    assert sigma[at].mean() < sigma[others].mean()


@settings(max_examples=5, deadline=None)
@given(scale=st.sampled_from([1e-90, 1e6, 1e90]), offset=st.sampled_from([0.0, -100.0, 1e5]))
def test_units_of_the_target_do_not_matter(ready, measured, bump, situation, scale, offset):
    picks = []
    for s, o in ((1.0, 0.0), (scale, offset * scale)):
        navigator = ready(SkoptBO())
        centres, targets = measured(navigator, 10, bump)
        picks.append(navigator.decide(situation(centres, s * targets + o)).centre_yx_nm)
    assert picks[0] == picks[1]


@pytest.mark.parametrize("value", [0.0, 3.5, -1e9])
def test_constant_targets_send_it_anywhere_new(ready, measured, bump, situation, value):
    navigator = ready(SkoptBO())
    centres, _ = measured(navigator, 8, bump)
    decision = navigator.decide(situation(centres, np.full(8, value)))
    assert "equal" in decision.reason
    assert decision.centre_yx_nm not in set(map(tuple, centres.tolist()))


def test_a_frame_that_the_stage_has_moved_out_of_the_field_tells_nothing(
    ready, measured, bump, situation
):
    first, second = ready(SkoptBO()), ready(SkoptBO())
    centres, targets = measured(first, 10, bump)
    measured(second, 10, bump)
    gone = np.vstack([centres, [[1e3, 0.0]]])
    far = first.decide(situation(gone, np.append(targets, 50.0)))
    near = second.decide(situation(centres, targets))
    assert far.centre_yx_nm == near.centre_yx_nm


def test_without_a_target_it_says_so(ready, measured, bump, situation):
    navigator = ready(SkoptBO())
    centres, _ = measured(navigator, 8, bump)
    decision = navigator.decide(situation(centres, np.full(8, np.nan)))
    assert decision.reason == "no target is known so far, so it goes anywhere new"


def test_targets_that_are_not_finite_are_left_out(ready, measured, bump, situation):
    navigator = ready(SkoptBO())
    centres, targets = measured(navigator, 8, bump)
    targets[2], targets[5] = np.nan, np.inf
    assert navigator.decide(situation(centres, targets)) is not None
    assert navigator.decide(situation(centres)) is not None


def test_duplicates_and_points_between_candidates(ready, measured, bump, situation):
    """A person's frames may lie anywhere, and twice."""
    navigator = ready(SkoptBO())
    centres, targets = measured(navigator, 8, bump)
    centres = np.vstack([centres, centres[:2], [[0.1, 0.2]]])
    targets = np.append(targets, [0.4, 0.5, 0.1])
    assert navigator.decide(situation(centres, targets)) is not None


def test_all_measured_is_the_end(ready, situation):
    navigator = ready(SkoptBO())
    centres = navigator.candidates.centres_yx_nm
    assert navigator.decide(situation(centres, np.zeros(len(centres)))) is None


def test_one_candidate_left_is_taken(ready, measured, bump, situation):
    navigator = ready(SkoptBO())
    every = navigator.candidates.centres_yx_nm
    centres = np.delete(every, 17, axis=0)
    targets = np.array([bump(*c) for c in centres])
    assert navigator.decide(situation(centres, targets)).centre_yx_nm == tuple(every[17])


def test_seeds_do_not_repeat(ready, situation):
    navigator = ready(SkoptBO())
    centres = np.empty((0, 2))
    for _ in range(5):
        decision = navigator.decide(situation(centres))
        centres = np.vstack([centres, decision.centre_yx_nm])
    assert len(np.unique(centres, axis=0)) == 5


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_every_acquisition_climbs_the_bump_on_every_surrogate(
    ready, run, bump, acquisition, surrogate
):
    navigator = ready(SkoptBO(acquisition=acquisition, surrogate=surrogate))
    begin = [(y, x) for y in (-3.0, 0.0, 3.0) for x in (-7.5, -1.5, 4.5)]
    _, targets = run(navigator, bump, 16, centres=begin)
    assert targets[:9].max() < 0.45
    if surrogate == "GP":
        assert targets.max() > 0.85
    everywhere = np.mean([bump(*c) for c in navigator.candidates.centres_yx_nm])
    assert targets[9:].mean() > 1.6 * everywhere


@pytest.mark.parametrize("acquisition", ACQUISITIONS)
def test_the_map_and_the_reason_say_which_acquisition_chose(
    ready, measured, bump, situation, acquisition
):
    navigator = ready(SkoptBO(acquisition=acquisition))
    decision = navigator.decide(situation(*measured(navigator, 12, bump)))
    values, words = decision.maps["acquisition"]
    assert words in decision.reason
    assert decision.reason.startswith("the hedge drew") == (acquisition == "gp_hedge")
    at = navigator.candidates.nearest(np.array([decision.centre_yx_nm]))
    assert values[at] == np.nanmax(values)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_surrogates_are_unsure_where_nothing_was_measured(
    ready, measured, bump, situation, surrogate
):
    """Forests, too: of their trees' means, and within their leaves."""
    navigator = ready(SkoptBO(surrogate=surrogate))
    centres, targets = measured(navigator, 60, lambda y, x: bump(y, x) if x < 0 else 0.0)
    left = centres[:, 1] < 0
    decision = navigator.decide(situation(centres[left], targets[left]))
    sigma, unit = decision.maps["uncertainty"]
    assert unit == "target"
    assert (sigma > 0).any()
    top = navigator.candidates.nearest(np.array([[2.0, -4.0]]))
    if surrogate == "GP":
        assert sigma[navigator.candidates.centres_yx_nm[:, 1] > 4].min() > sigma[top]
    else:
        flat = navigator.candidates.nearest(np.array([[-5.25, -8.25]]))
        assert sigma[top] > sigma[flat], "trees agree where all is 0, and not on a flank"


def test_of_equal_candidates_a_forest_takes_one_at_random(ready, measured, bump, situation):
    """A forest's belief is flat in places, and the first of equals would be their corner."""
    chosen = set()
    for seed in range(6):
        navigator = ready(SkoptBO(surrogate="RF"), seed=seed)
        centres, targets = measured(navigator, 6, bump)
        chosen.add(navigator.decide(situation(centres, targets)).centre_yx_nm)
    assert len(chosen) > 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("surrogate", SURROGATES)
def test_a_batch_holds_as_many_different_free_candidates(
    ready, measured, bump, situation, surrogate, strategy
):
    navigator = ready(SkoptBO(batch=3, strategy=strategy, surrogate=surrogate))
    centres, targets = measured(navigator, 8, bump)
    rectangle = ((-6.0, -9.0), (0.0, 9.0))
    decision = navigator.decide(situation(centres, targets, forbidden=[rectangle]))
    new = np.array([r.centre_yx_nm for r in decision.requests])
    assert len(np.unique(np.vstack([centres, new]), axis=0)) == 11
    assert (new[:, 0] - 0.75 >= 0).all()
    assert decision.reason.startswith(f"a batch of 3 by constant liar ({strategy}): at first, ")


def test_lies_are_what_spreads_a_batch(ready, measured, bump, situation):
    """The higher the lie, in skopt's minimising sense, the farther away goes what follows it."""
    apart = {}
    for strategy in ("cl_min", "cl_max"):
        navigator = ready(SkoptBO(batch=3, strategy=strategy))
        centres, targets = measured(navigator, 25, bump)
        new = np.array(
            [r.centre_yx_nm for r in navigator.decide(situation(centres, targets)).requests]
        )
        apart[strategy] = np.hypot(*(new[1] - new[0]))
    assert apart["cl_min"] < apart["cl_max"]


def test_a_batch_is_no_longer_than_what_is_left(ready, measured, bump, situation):
    navigator = ready(SkoptBO(batch=10))
    centres, targets = measured(navigator, 8, bump)
    assert len(navigator.decide(situation(centres, targets, left=2)).requests) == 2
    assert len(navigator.decide(situation(centres, np.ones(8), left=3)).requests) == 3
    every = navigator.candidates.centres_yx_nm
    measured_but_three = np.delete(every, [3, 200, 300], axis=0)
    targets = np.array([bump(*c) for c in measured_but_three])
    navigator = ready(SkoptBO(batch=10, surrogate="ET"))  # quick where much is measured
    decision = navigator.decide(situation(measured_but_three, targets))
    assert {r.centre_yx_nm for r in decision.requests} == set(map(tuple, every[[3, 200, 300]]))


def test_the_hedge_is_skopts_and_survives_a_restart(ready, run, bump, situation):
    navigator = ready(SkoptBO(acquisition="gp_hedge"))
    centres, targets = run(navigator, bump, 9)
    gains = [navigator.hedge.gains]
    decision = navigator.decide(situation(centres, targets))
    gains.append(navigator.hedge.gains)
    assert len(gains[1]) == len(navigator.hedge.proposals) == 3
    assert gains[0] != gains[1]
    state = json.loads(json.dumps(navigator.save()))
    centres = np.vstack([centres, decision.centre_yx_nm])
    targets = np.append(targets, bump(*decision.centre_yx_nm))
    again = ready(SkoptBO(acquisition="gp_hedge"), seed=99)
    again.restore(state, situation(centres, targets))
    for _ in range(3):
        after = [n.decide(situation(centres, targets)).centre_yx_nm for n in (navigator, again)]
        assert after[0] == after[1]
        assert navigator.hedge == again.hedge
        centres, targets = np.vstack([centres, after[0]]), np.append(targets, bump(*after[0]))


def test_the_hedge_follows_what_has_turned_out_well(ready, measured, bump, situation):
    """A kind whose proposals were good by far is drawn nearly always."""
    navigator = ready(SkoptBO(acquisition="gp_hedge"))
    centres, targets = measured(navigator, 20, bump)
    drawn = set()
    for _ in range(4):
        navigator.hedge = Hedge((0.0, 0.0, 50.0), (1, 1, 1))
        drawn.add(navigator.decide(situation(centres, targets)).maps["acquisition"][1])
    assert drawn == {"probability of improvement"}


def test_lies_do_not_change_the_gains(ready, measured, bump, situation):
    hedges = []
    for batch in (1, 3):
        navigator = ready(SkoptBO(acquisition="gp_hedge", batch=batch))
        navigator.hedge = Hedge((0.1, 0.2, 0.3), (5, 50, 200))
        navigator.decide(situation(*measured(navigator, 12, bump)))
        hedges.append(navigator.hedge)
    assert hedges[0] == hedges[1]


def test_a_field_of_one_frame(situation):
    """One candidate: it is the seed, and then there is none."""
    reference = ReferenceFrame((1.5, 1.5), (32, 32), 10.0)
    field = (1.5, 1.5)
    limits = Limits(field, (0.1, 20), (0.001, 20), (1, 500), (1, 100), ("haadf",))
    only = Context(
        field, reference, limits, PositionAction(field, reference), {"haadf": (0.0, 1.0)}, 1.0, 1
    )
    for options in ({}, {"acquisition": "gp_hedge", "batch": 5}):
        navigator = SkoptBO(**options)
        navigator.reset(only, np.random.default_rng(0))
        assert len(navigator.candidates.centres_yx_nm) == 1
        first = navigator.decide(situation())
        assert first.centre_yx_nm == (0.0, 0.0)
        assert navigator.decide(situation([first.centre_yx_nm], [1.0])) is None


def test_gradient_boosting_is_refused_because_it_is_broken():
    """Should this fail, scikit-optimize has mended it, and it may be offered."""
    from skopt import Optimizer

    with pytest.raises(ValueError, match="regressor"):
        Optimizer([(0.0, 1.0)], base_estimator="GBRT")
    for name in ("GBRT", "gbrt"):
        with pytest.raises(ValueError, match=r"gradient boosting .* take one of: GP, RF, ET"):
            SkoptBO(surrogate=name)


def test_more_curiosity_goes_where_less_is_known(ready, measured, bump, situation):
    sigma = []
    for kappa in (0.0, 10.0):
        navigator = ready(SkoptBO(acquisition="LCB", exploration=kappa))
        centres, targets = measured(navigator, 20, bump)
        decision = navigator.decide(situation(centres, targets))
        sigma.append(
            decision.maps["uncertainty"][0][
                navigator.candidates.nearest(np.array([decision.centre_yx_nm]))[0]
            ]
        )
    assert sigma[1] > 2 * sigma[0]


def test_where_it_begins_is_as_asked(ready):
    half = np.array([6.0, 9.0])
    begins = {}
    for seeding in SEEDINGS:
        navigator = ready(SkoptBO(seeding=seeding))
        centres = navigator.candidates.centres_yx_nm[navigator.seeds.order[:5]]
        assert len(np.unique(centres, axis=0)) == 5
        begins[seeding] = centres
    assert (np.abs(begins["middle"]) <= 1.5).all()
    assert (np.abs(begins["corner"] + half) <= 2.5).all()
    for spread in ("sobol", "random"):
        assert np.ptp(begins[spread], axis=0).max() > 6.0


def test_a_length_scale_within_its_bounds_and_a_noise_that_is_given(
    ready, measured, bump, situation
):
    """Short scales forget within a step; much noise is not followed."""
    maps = {}
    for name, options in {
        "short": {"length_scale_nm": [0.2, 0.3]},
        "long": {"length_scale_nm": [6.0, 9.0]},
        "noisy": {"length_scale_nm": [6.0, 9.0], "noise": 10.0},
    }.items():
        navigator = ready(SkoptBO(**options))
        centres, targets = measured(navigator, 30, bump)
        maps[name] = navigator.decide(situation(centres, targets)).maps
    sigma = {k: m["uncertainty"][0].mean() for k, m in maps.items()}
    assert sigma["short"] > 2 * sigma["long"]
    ranges = {k: np.ptp(m["posterior mean"][0]) for k, m in maps.items()}
    assert ranges["noisy"] < 0.5 * ranges["long"]


def test_bad_settings():
    with pytest.raises(ValueError, match="1 seed frames; a fit needs at least 2"):
        SkoptBO(seed_frames=1)
    with pytest.raises(ValueError, match="an exploration of -1"):
        SkoptBO().steer(-1.0)
    with pytest.raises(ValueError, match="RF has neither noise nor length_scale_nm"):
        SkoptBO(surrogate="RF", noise=0.1)
    for wrong in (
        {"acquisition": "luck"},
        {"surrogate": "NN"},
        {"batch": 0},
        {"batch": 2.5},
        {"batch": True},
        {"strategy": "cl_luck"},
        {"seeding": "everywhere"},
        {"length_scale_nm": [3.0, 1.0]},
        {"length_scale_nm": 2.0},
        {"noise": 0.0},
        {"exploration": "much"},
    ):
        (name,) = wrong
        with pytest.raises(ValueError, match=name):
            SkoptBO(**wrong)
