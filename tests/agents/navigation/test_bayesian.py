"""Bayesian optimisation over all candidates: it climbs, and copes with whatever comes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stemscout.agents.navigation.acquisition import ACQUISITIONS
from stemscout.agents.navigation.batches import spread
from stemscout.agents.navigation.bayesian import Bayesian
from stemscout.agents.navigation.deep import DeepBayesian
from stemscout.agents.navigation.gp import Belief
from stemscout.agents.navigation.kernels import KERNELS
from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.navigation.search import NonmyopicSearch, Novelty, Search

BELIEVERS = {
    "bo": Bayesian,
    "search": Search,
    "ens": lambda **o: NonmyopicSearch(closely=6, **o),
    "novelty": Novelty,
    "deep": lambda **o: DeepBayesian(steps=3, **o),
}


@pytest.fixture(params=BELIEVERS)
def make(request):
    return BELIEVERS[request.param]


def nearest(navigator, decision):
    return navigator.candidates.nearest(np.array([r.centre_yx_nm for r in decision.requests]))


@pytest.mark.parametrize("name", ACQUISITIONS)
def test_every_acquisition_finds_the_bump_but_one_that_only_maps(ready, run, bump, name):
    navigator = ready(Bayesian(acquisition=name))
    centres, targets = run(navigator, bump, 25, noise=0.02)
    assert len(np.unique(centres, axis=0)) == 25
    if name != "sigma":
        assert targets.max() > 0.9


def test_uncertainty_alone_spreads_over_the_field(ready, run, bump):
    centres, _ = run(ready(Bayesian(acquisition="sigma")), bump, 30)
    field = ready(Bayesian()).candidates.centres_yx_nm
    away = np.sqrt(((field[:, None] - centres) ** 2).sum(axis=2)).min(axis=1)
    assert away.max() < 3.6, "a random set of 30 leaves holes of 5 nm"


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_finds_the_bump(ready, run, bump, kernel):
    _, targets = run(ready(Bayesian(kernel=kernel)), bump, 25, noise=0.02)
    assert targets.max() > 0.9


def test_it_says_what_it_believes_and_why(ready, situation, measured, bump, make):
    navigator = ready(make())
    decision = navigator.decide(situation(*measured(navigator, 12, bump)))
    assert set(decision.maps) == {"posterior mean", "uncertainty", "acquisition"}
    gain, unit = decision.maps["acquisition"]
    assert unit == navigator.unit
    assert np.isnan(gain).sum() == 12
    assert nearest(navigator, decision)[0] == np.nanargmax(gain)
    assert "\n" not in decision.reason
    assert not decision.reason.endswith(".")


def test_the_seed_decides(ready, run, bump, make):
    paths = [run(ready(make(), seed=s), bump, 14, noise=0.1)[0] for s in (3, 3, 4)]
    assert np.array_equal(paths[0], paths[1])
    assert not np.array_equal(paths[0], paths[2])


@pytest.mark.parametrize("taken", [2, 9, 17])
def test_saved_and_restored_it_goes_on_the_same_way(ready, run, situation, bump, make, taken):
    def go(navigator, centres, targets):
        return run(navigator, bump, 24, centres)[0]

    first = ready(make(seed_frames=4))
    centres, targets = run(first, bump, taken)
    state = json.loads(json.dumps(first.save()))
    twin = ready(make(seed_frames=4), seed=99)
    twin.restore(state, situation(centres, targets))
    assert np.array_equal(go(first, centres, targets), go(twin, centres, targets))


class TestOddTargets:
    @pytest.mark.parametrize("value", [0.0, 3.5, -1e9])
    def test_constant_ones_send_it_where_it_knows_least(
        self, ready, situation, measured, bump, make, value
    ):
        navigator = ready(make())
        centres, _ = measured(navigator, 8, bump)
        decision = navigator.decide(situation(centres, np.full(8, value)))
        assert "all targets are equal" in decision.reason
        away = np.hypot(*(centres - decision.centre_yx_nm).T).min()
        assert away > 3.0

    def test_those_that_are_not_finite_are_left_out(self, ready, situation, measured, bump, make):
        centres, targets = measured(ready(make()), 12, bump)
        odd = targets.copy()
        odd[[2, 5]] = np.nan, np.inf
        navigator = ready(make())
        with_them = navigator.decide(situation(centres, odd))
        mean = with_them.maps["posterior mean"][0]
        sound = np.isfinite(odd)
        alone = ready(make()).decide(situation(centres[sound], targets[sound]))
        assert mean == pytest.approx(alone.maps["posterior mean"][0])
        assert np.isnan(with_them.maps["acquisition"][0]).sum() == 12, "all were measured"

    @pytest.mark.parametrize("size", [1e-90, 1e-13, 1e90])
    def test_of_whatever_size_are_pursued_alike(self, ready, situation, measured, bump, make, size):
        """Currents in ampere, or counts of a whole day."""
        centres, targets = measured(ready(make()), 12, bump)
        decisions = [
            ready(make()).decide(situation(centres, targets * of)).centre_yx_nm for of in (1, size)
        ]
        assert decisions[0] == decisions[1]

    def test_beyond_all_measure_are_left_out(self, ready, situation, measured, bump, make):
        centres, targets = measured(ready(make()), 12, bump)
        targets[3] = 1e300
        decision = ready(make()).decide(situation(centres, targets))
        assert all(np.isfinite(v).any() for v, _ in decision.maps.values())
        assert np.nanmax(decision.maps["posterior mean"][0]) < 10.0

    def test_none_at_all_send_it_away_from_what_was_measured(self, ready, situation, make):
        navigator = ready(make())
        centres = navigator.candidates.centres_yx_nm[:100]
        decision = navigator.decide(situation(centres))
        assert "no targets are known" in decision.reason
        assert decision.centre_yx_nm[0] == pytest.approx(5.25), "the other end of the field"

    def test_duplicates_and_points_between_candidates(self, ready, situation, measured, bump, make):
        """A person's frames may lie anywhere, and twice."""
        navigator = ready(make())
        centres, targets = measured(navigator, 8, bump)
        centres = np.vstack([centres, centres[:2], [[0.1, 0.2]]])
        targets = np.append(targets, [0.4, 0.5, 0.1])
        decision = navigator.decide(situation(centres, targets))
        taken = navigator.candidates.nearest(centres)
        assert nearest(navigator, decision)[0] not in taken

    def test_all_measured_is_the_end(self, ready, situation, make):
        navigator = ready(make())
        centres = navigator.candidates.centres_yx_nm
        assert navigator.decide(situation(centres, np.arange(len(centres)))) is None

    def test_one_candidate_left_is_taken(self, ready, situation, bump, make):
        navigator = ready(make(batch=4))
        every = navigator.candidates.centres_yx_nm
        centres = np.delete(every, 17, axis=0)
        decision = navigator.decide(situation(centres, [bump(*c) for c in centres]))
        assert [r.centre_yx_nm for r in decision.requests] == [tuple(every[17])]

    def test_a_field_of_one_frame_has_one_candidate(self, context, situation, make):
        from dataclasses import replace

        navigator = make()
        navigator.reset(replace(context(), field_yx_nm=(1.5, 1.5)), np.random.default_rng(0))
        assert navigator.decide(situation()).centre_yx_nm == (0.0, 0.0)
        assert navigator.decide(situation([[0.0, 0.0]], [1.0])) is None


class TestBatches:
    @pytest.mark.parametrize("rule", ["penalty", "distance"])
    def test_hold_different_free_candidates(self, ready, situation, measured, bump, make, rule):
        navigator = ready(make(batch=5, spread=rule))
        centres, targets = measured(navigator, 10, bump)
        decision = navigator.decide(situation(centres, targets))
        chosen = nearest(navigator, decision)
        assert len(set(chosen.tolist())) == 5
        assert not set(chosen) & set(navigator.candidates.nearest(centres))
        assert "one of 5 at once" in decision.reason

    def test_by_distance_lie_a_length_scale_apart(self, ready, situation, measured, bump):
        navigator = ready(Bayesian(batch=4, spread="distance", length_scale_nm=[2.0, 3.0]))
        decision = navigator.decide(situation(*measured(navigator, 15, bump)))
        centres = np.array([r.centre_yx_nm for r in decision.requests])
        apart = np.hypot(*(centres[:, None] - centres).T)[np.triu_indices(4, 1)]
        assert apart.min() >= navigator.gp.hyper.length_nm

    def test_by_penalty_keep_off_where_the_maximum_cannot_be(self, context):
        """A place believed to be at 0.2 ± 0.02 excludes a maximum of 1 within 0.8 / slope."""
        candidates = Candidates.of(context())
        y, x = candidates.centres_yx_nm.T
        mean = np.clip(1.0 - 0.4 * np.hypot(y - 4.5, x - 7.5), 0.2, 1.0)  # 0.4 a nm at most
        sigma = np.full(len(mean), 0.02)
        belief = Belief(mean, sigma, sigma, 1.0, 1.0, 2.0, 10)
        values = np.exp(-np.hypot(y + 3.0, x + 4.5) / 50.0)  # the best is far from the hill
        chosen = spread(values, np.ones(345, dtype=bool), 5, "penalty", candidates, belief)
        centres = candidates.centres_yx_nm[chosen]
        apart = np.hypot(*(centres[:, None] - centres).T)[np.triu_indices(5, 1)]
        steepest = 0.4 * np.sqrt(2.0)
        assert tuple(centres[0]) == (-3.0, -4.5)
        assert apart.min() > 0.8 / steepest - 3 * 0.02 / steepest - 0.75

    @pytest.mark.parametrize("rule", ["penalty", "distance"])
    def test_in_a_well_known_field_are_worth_much_too(self, ready, situation, measured, bump, rule):
        """Penalties multiply to less than the smallest number there is; their order is left."""
        navigator = ready(Bayesian(batch=10, spread=rule, acquisition="mean+sigma"))
        decision = navigator.decide(situation(*measured(navigator, 200, bump), left=100))
        values = decision.maps["acquisition"][0]
        chosen = values[nearest(navigator, decision)]
        assert np.mean(chosen) > np.nanquantile(values, 0.6)

    def test_fewer_candidates_than_the_batch_give_fewer(self, ready, situation, bump, make):
        navigator = ready(make(batch=10))
        every = navigator.candidates.centres_yx_nm
        centres = every[:-3]
        decision = navigator.decide(situation(centres, [bump(*c) for c in centres]))
        assert sorted(nearest(navigator, decision)) == [342, 343, 344]


class TestCosts:
    def test_by_time_the_way_counts(self, ready, situation, measured, bump):
        """Where the way takes as long as some frames, it goes less far."""
        from stemscout.hardware.costs import CostModel

        steps = {}
        for per in ("charge", "time"):
            slow = CostModel(travel_us_per_nm=5000.0)
            navigator = ready(Bayesian(acquisition="sigma", per=per), costs=slow)
            centres, targets = measured(navigator, 12, bump)
            at = np.array(navigator.decide(situation(centres, targets)).centre_yx_nm)
            steps[per] = np.hypot(*(at - centres[-1]))
        assert steps["time"] < steps["charge"]

    def test_dear_ways_are_not_gone(self, ready, situation, measured, bump):
        from stemscout.hardware.costs import CostModel

        dear = CostModel(travel_us_per_nm=1e9)
        navigator = ready(Bayesian(acquisition="sigma", per="time"), costs=dear)
        centres, targets = measured(navigator, 12, bump)
        at = np.array(navigator.decide(situation(centres, targets)).centre_yx_nm)
        assert np.hypot(*(at - centres[-1])) < 2.0


def test_forbidden_rectangles_are_never_touched(ready, run, bump, make):
    centres, _ = run(ready(make(batch=3)), bump, 20, forbidden=[((-6.0, -9.0), (6.0, 0.0))])
    assert (centres[:, 1] - 0.75 >= 0.0).all()


def test_in_the_continuum_it_goes_between_candidates_and_higher(ready, run):
    def off(y, x):
        """A narrow bump half way between four candidates."""
        return np.exp(-((y - 1.125) ** 2 + (x + 3.0) ** 2) / 2.0)

    best = {}
    for continuum in (False, True):
        navigator = ready(Bayesian(continuum=continuum, acquisition="mean+sigma", exploration=0.5))
        centres, targets = run(navigator, off, 40)
        assert (np.abs(centres) <= np.array([5.25, 8.25]) + 1e-9).all()
        best[continuum] = targets.max()
    assert best[True] > best[False] + 0.01


def test_more_curiosity_goes_where_less_is_known(ready, situation, measured, bump):
    sigma = []
    for kappa in (0.0, 10.0):
        navigator = ready(Bayesian(acquisition="mean+sigma", exploration=kappa))
        decision = navigator.decide(situation(*measured(navigator, 20, bump)))
        sigma.append(decision.maps["uncertainty"][0][nearest(navigator, decision)[0]])
    assert sigma[1] > 2 * sigma[0]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed_frames": 1}, "1 seed frames; a fit needs at least 2"),
        ({"seeding": "everywhere"}, "unknown seeding 'everywhere'; there are: sobol"),
        ({"kernel": "cubic"}, "unknown kernel"),
        ({"length_scale_nm": [3.0, 1.0]}, "the smaller one first"),
        ({"length_scale_nm": 2.0}, "length_scale_nm is 2.0"),
        ({"noise": 0.0}, "a noise of 0.0; it must be at least 1e-06"),
        ({"refit": 0}, "refit is 0; it must be an integer, at least 1"),
        ({"batch": 0.5}, "batch is 0.5; it must be an integer, at least 1"),
        ({"spread": "thin"}, "unknown spread 'thin'; there are: penalty, distance"),
        ({"per": "penny"}, "unknown per 'penny'; there are: charge, time"),
        ({"continuum": 1}, "continuum is 1; it must be true or false"),
        ({"continuum": True, "acquisition": "Thompson"}, "sampled at candidates alone"),
        ({"acquisition": ["EI"]}, "unknown acquisition"),
        ({"acquisition": "luck"}, "unknown acquisition 'luck'; there are: EI, PI"),
        ({"exploration": "much"}, "an exploration of much; it must be at least 0"),
    ],
)
def test_bad_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Bayesian(**wrong)


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: Bayesian(exploration=0.0, **o),
        lambda **o: Bayesian(acquisition="mean+sigma", exploration=0.0, **o),
        lambda **o: Bayesian(acquisition="mean+sigma", batch=5, spread="distance", **o),
        Search,
        lambda **o: Search(counts="spots", threshold="half", **o),
        NonmyopicSearch,
        Novelty,
    ],
)
def test_in_the_continuum_nothing_is_taken_twice_either(ready, run, bump, make):
    """Not by a frame alone, nor in a batch, nor where nothing but the mean counts."""
    navigator = ready(make(continuum=True), frames=40)
    centres, _ = run(navigator, bump, 40, noise=0.1)
    assert len(set(navigator.candidates.nearest(centres).tolist())) == 40
    apart = np.hypot(*(centres[:, None] - centres).T)[np.triu_indices(40, 1)]
    assert apart.min() >= 0.375 - 1e-6
    off = np.abs(
        centres - navigator.candidates.centres_yx_nm[navigator.candidates.nearest(centres)]
    )
    assert off.max() > 0.05, "some lie between candidates"


def test_a_batch_is_no_larger_than_what_is_left(ready, situation, measured, bump, make):
    navigator = ready(make(batch=10))
    decision = navigator.decide(situation(*measured(navigator, 10, bump), left=2))
    assert len(decision.requests) == 2


def test_those_without_curiosity_say_so():
    with pytest.raises(ValueError, match="search has no curiosity to set"):
        Search().steer(1.0)
