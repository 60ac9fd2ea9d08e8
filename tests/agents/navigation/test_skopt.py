"""The Gaussian process of scikit-optimize: what it does with targets of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.agents.navigation.seeding import SEEDINGS
from stemscout.agents.navigation.skopt_engine import ACQUISITIONS, SkoptGP


def test_climbs_a_bump(ready, measured, bump, situation):
    navigator = ready(SkoptGP())
    centres, targets = measured(navigator, 6, bump)
    for _ in range(12):
        decision = navigator.decide(situation(centres, targets))
        new = decision.centre_yx_nm
        centres, targets = np.vstack([centres, new]), np.append(targets, bump(*new))
    assert targets.max() > 0.9


def test_beliefs_depend_on_the_seed_alone(ready, measured, bump, situation):
    """Restarts of the likelihood's optimiser included."""
    beliefs = []
    for _ in range(3):
        navigator = ready(SkoptGP(), seed=5)
        centres, targets = measured(navigator, 25, bump)
        targets = targets + np.random.default_rng(1).normal(0, 0.5, len(targets))
        np.random.random()  # noqa: NPY002  the global generator must not matter
        maps = navigator.decide(situation(centres, targets)).maps
        beliefs.append(np.concatenate([values for values, _ in maps.values()]))
    for other in beliefs[1:]:
        assert np.allclose(beliefs[0], other, rtol=1e-9, atol=1e-12, equal_nan=True)


def test_mean_and_sigma_are_those_of_the_data(ready, measured, bump, situation):
    navigator = ready(SkoptGP())
    centres, targets = measured(navigator, 40, bump)
    maps = navigator.decide(situation(centres, targets)).maps
    (mean, unit), (sigma, _) = maps["posterior mean"], maps["uncertainty"]
    at = navigator.candidates.nearest(centres)
    assert unit == "target"
    assert mean[at] == pytest.approx(targets, abs=0.1)
    others = np.setdiff1d(np.arange(len(mean)), at)
    assert sigma[at].mean() < sigma[others].mean()


@settings(max_examples=5, deadline=None)
@given(scale=st.sampled_from([1e-6, 1.0, 1e6]), offset=st.sampled_from([0.0, -100.0, 1e5]))
def test_units_of_the_target_do_not_matter(ready, measured, bump, situation, scale, offset):
    picks = []
    for s, o in ((1.0, 0.0), (scale, offset * scale)):
        navigator = ready(SkoptGP())
        centres, targets = measured(navigator, 10, bump)
        picks.append(navigator.decide(situation(centres, s * targets + o)).centre_yx_nm)
    assert picks[0] == picks[1]


@pytest.mark.parametrize("value", [0.0, 3.5, -1e9])
def test_constant_targets_send_it_anywhere_new(ready, measured, bump, situation, value):
    navigator = ready(SkoptGP())
    centres, _ = measured(navigator, 8, bump)
    decision = navigator.decide(situation(centres, np.full(8, value)))
    assert "equal" in decision.reason
    assert decision.centre_yx_nm not in set(map(tuple, centres.tolist()))


def test_targets_that_are_not_finite_are_left_out(ready, measured, bump, situation):
    navigator = ready(SkoptGP())
    centres, targets = measured(navigator, 8, bump)
    targets[2], targets[5] = np.nan, np.inf
    assert navigator.decide(situation(centres, targets)) is not None
    assert navigator.decide(situation(centres)) is not None


def test_duplicates_and_points_between_candidates(ready, measured, bump, situation):
    """A person's frames may lie anywhere, and twice."""
    navigator = ready(SkoptGP())
    centres, targets = measured(navigator, 8, bump)
    centres = np.vstack([centres, centres[:2], [[0.1, 0.2]]])
    targets = np.append(targets, [0.4, 0.5, 0.1])
    assert navigator.decide(situation(centres, targets)) is not None


def test_all_measured_is_the_end(ready, situation):
    navigator = ready(SkoptGP())
    centres = navigator.candidates.centres_yx_nm
    assert navigator.decide(situation(centres, np.zeros(len(centres)))) is None


def test_one_candidate_left_is_taken(ready, measured, bump, situation):
    navigator = ready(SkoptGP())
    every = navigator.candidates.centres_yx_nm
    centres = np.delete(every, 17, axis=0)
    targets = np.array([bump(*c) for c in centres])
    assert navigator.decide(situation(centres, targets)).centre_yx_nm == tuple(every[17])


def test_seeds_do_not_repeat(ready, situation):
    navigator = ready(SkoptGP())
    centres = np.empty((0, 2))
    for _ in range(5):
        decision = navigator.decide(situation(centres))
        centres = np.vstack([centres, decision.centre_yx_nm])
    assert len(np.unique(centres, axis=0)) == 5


@pytest.mark.parametrize(("name", "words"), [(n, w) for n, (w, _) in ACQUISITIONS.items()])
def test_every_acquisition_climbs_the_bump_and_says_what_it_is(
    ready, measured, bump, situation, name, words
):
    navigator = ready(SkoptGP(acquisition=name))
    centres, targets = measured(navigator, 6, bump)
    for _ in range(12):
        decision = navigator.decide(situation(centres, targets))
        assert decision.maps["acquisition"][1] == words
        new = decision.centre_yx_nm
        centres, targets = np.vstack([centres, new]), np.append(targets, bump(*new))
    assert targets.max() > 0.85


def test_more_curiosity_goes_where_less_is_known(ready, measured, bump, situation):
    sigma = []
    for kappa in (0.0, 10.0):
        navigator = ready(SkoptGP(acquisition="LCB", exploration=kappa))
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
        navigator = ready(SkoptGP(seeding=seeding))
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
        navigator = ready(SkoptGP(**options))
        centres, targets = measured(navigator, 30, bump)
        maps[name] = navigator.decide(situation(centres, targets)).maps
    sigma = {k: m["uncertainty"][0].mean() for k, m in maps.items()}
    assert sigma["short"] > 2 * sigma["long"]
    ranges = {k: np.ptp(m["posterior mean"][0]) for k, m in maps.items()}
    assert ranges["noisy"] < 0.5 * ranges["long"]


def test_bad_settings():
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
