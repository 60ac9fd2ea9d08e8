"""Active search: as many features as can be, not the greatest target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion
from scipy.stats import norm

from stemscout.agents.navigation.bayesian import Bayesian
from stemscout.agents.navigation.gp import Belief
from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.navigation.scripted import Grid, Random
from stemscout.agents.navigation.search import (
    LATER,
    THRESHOLDS,
    Cover,
    NonmyopicSearch,
    Novelty,
    Search,
    kinds,
    threshold_by,
)

SPOTS = np.array([[-4.5, -7.0], [-4.0, 5.5], [-0.5, -1.0], [0.5, 7.0], [4.0, -6.0], [4.5, 2.5]])


def spots(y, x):
    """Six like bumps of σ = 0.9 nm."""
    return np.exp(-((SPOTS - [y, x]) ** 2).sum(axis=1) / (2 * 0.9**2)).max()


def wall(y, x):
    """A wall along x, 1.2 nm wide, that bends."""
    return float(np.exp(-((y - 2.0 * np.sin(x / 4.0)) ** 2) / (2 * 0.6**2)))


def found(centres):
    return sum(
        (np.exp(-((centres - spot) ** 2).sum(axis=1) / (2 * 0.9**2)) >= 0.5).any() for spot in SPOTS
    )


def test_it_finds_more_spots_than_optimisation_and_a_grid(ready, run):
    """The mean of 5 runs of 45 frames each, noise 0.05 of the peak."""
    scores = {}
    for name, make in {
        "search": lambda: Search(counts="spots", threshold="half"),
        "ens": lambda: NonmyopicSearch(counts="spots", threshold="half", closely=12),
        "bo": Bayesian,
        "grid": Grid,
    }.items():
        runs = [
            run(ready(make(), frames=45, seed=s), spots, 45, noise=0.05, seed=s)[0]
            for s in range(5)
        ]
        scores[name] = np.mean([found(centres) for centres in runs])
    assert scores["search"] > scores["bo"] + 0.3
    assert scores["search"] >= scores["grid"]
    assert scores["ens"] > scores["bo"]


def test_counting_area_it_follows_a_wall_that_a_grid_crosses(ready, run):
    """Frames (of 60) whose middle lies on the wall; new area only, so they are spread along it."""
    on = {}
    for name, make in {"search": Search, "grid": Grid}.items():
        centres, _ = run(ready(make(), frames=60), wall, 60, noise=0.03)
        hits = centres[[wall(*c) > 0.5 for c in centres]]
        on[name] = len(np.unique(hits[:, 1].round(1)))
    assert on["search"] > 1.7 * on["grid"]


def test_with_a_budget_it_looks_around_first_and_gathers_at_the_end(ready, situation, measured):
    """The same knowledge, much and little left: the less is left, the likelier its choice."""
    likely = {2: 0.0, 60: 0.0}
    for left in likely:
        for seed in range(6):
            navigator = ready(NonmyopicSearch(closely=40), frames=80)
            decision = navigator.decide(situation(*measured(navigator, 25, spots, seed), left))
            at = navigator.candidates.nearest(np.array([decision.centre_yx_nm]))[0]
            likely[left] += (navigator.likely * navigator.fresh)[at]
    assert likely[2] > likely[60]
    navigator = ready(NonmyopicSearch(), frames=80)
    navigator.decide(situation(*measured(navigator, 25, spots, seed=4), 1))
    greedy = ready(Search(), frames=80)
    last = greedy.decide(situation(*measured(greedy, 25, spots, seed=4), 1))
    again = navigator.decide(situation(*measured(navigator, 25, spots, seed=4), 1))
    assert last.centre_yx_nm == again.centre_yx_nm, "with one frame left there is no later"


def test_expected_hits_of_what_is_left_are_those_of_simulated_readings(ready, situation, measured):
    """ENS's expectation, against the mean over 400 drawn readings followed to the end."""
    navigator = ready(NonmyopicSearch(closely=4), frames=60)
    asked = situation(*measured(navigator, 20, spots, seed=1), 10)
    navigator.decide(asked)
    belief = navigator.gp.update(asked.measured_yx_nm, asked.targets, asked.dose)
    free = navigator.candidates.free(navigator.context, asked)
    chosen = np.flatnonzero(free)[[10, 150]]
    expected = navigator._to_come(chosen, belief, free, 2, 9)
    rng = np.random.default_rng(0)
    for index, told in zip(chosen, expected, strict=True):
        across = navigator.gp.covariance(np.array([index]))[0]
        own = belief.sigma[index] ** 2 + navigator.gp.noise_at_reference()
        sums = []
        for _ in range(400):
            mean = belief.mean + across / own * rng.normal(0, np.sqrt(own))
            sigma = np.sqrt(np.maximum(belief.sigma**2 - across**2 / own, 1e-18))
            worth = norm.cdf((mean - navigator.threshold) / sigma) * navigator.fresh * free
            worth[index] = 0.0
            field = np.zeros((16, 24))  # squares of two by two, the last ones less
            field[:15, :23] = worth.reshape(15, 23)
            best = field.reshape(8, 2, 12, 2).max(axis=(1, 3)).ravel()
            sums.append(np.sort(best)[-9:].sum())
        assert told == pytest.approx(np.mean(sums), rel=0.1)


def test_novelty_sees_every_kind_sooner_than_chance(ready, situation, context):
    """Five kinds, four of them in patches: frames until all were seen, mean of 12 fields."""
    candidates = Candidates.of(context())
    centres = candidates.centres_yx_nm

    def frames(navigator, seed):
        rng = np.random.default_rng([seed, 5])
        of = np.full(len(centres), 4)
        for k, patch in enumerate(rng.uniform([-5.0, -8.0], [5.0, 8.0], (4, 2))):
            of[np.hypot(*(centres - patch).T) < 1.2] = k
        measured, described = np.empty((0, 2)), np.empty((0, 5))
        for count in range(1, len(centres)):
            decision = navigator.decide(situation(measured, described[:, 0], descriptors=described))
            measured = np.vstack([measured, decision.centre_yx_nm])
            code = np.eye(5)[of[candidates.nearest(measured[-1:])[0]]]
            described = np.vstack([described, code + 0.05 * rng.normal(size=5)])
            if len(set(described.argmax(axis=1))) == len(set(of.tolist())):
                return count
        return len(centres)

    novelty = [frames(ready(Novelty(), seed=s), s) for s in range(12)]
    chance = [frames(ready(Random(), seed=s), s) for s in range(12)]
    assert np.mean(novelty) < 0.85 * np.mean(chance)


def test_a_frame_tells_of_what_lies_in_it_with_its_surroundings(context):
    """Those a quarter of a frame wide; a frame side by side with another tells of more."""
    candidates = Candidates.of(context())
    cover = Cover(context(), candidates)
    assert set(cover.new(np.empty((0, 2)))) == {0.25}, "half a frame squared"
    at = 7 * 23 + 11
    new = cover.new(candidates.centres_yx_nm[[at]])
    assert new[at] == 0.0
    assert new[at + 1] == new[at - 1] == new[at + 23] == 0.25, "half a frame further"
    assert new[at + 2] == new[at + 46] == 0.5, "side by side, with what lies across the border"
    assert new[at + 3] == 0.25, "half a frame between them, of which nothing is told"
    both = cover.new(candidates.centres_yx_nm[[at, at + 4]])
    assert both[at + 2] == 0.75, "the frame between two"
    assert np.array_equal(cover.new(candidates.centres_yx_nm[[at]]), new), "fewer than before"


def test_a_frame_that_has_left_the_field_tells_of_nothing_in_it(context):
    candidates = Candidates.of(context())
    cover = Cover(context(), candidates)
    away = np.array([[-100.0, 0.0], [0.0, 50.0], [30.0, 30.0]])
    assert (cover.new(away) == 0.25).all()
    beside = cover.new(np.array([[-6.0, 0.0]]))  # half of it is in the field, to y = -5.25 nm
    assert beside[1 * 23 + 11] == 0.5, "the frame from there on"
    assert beside[3 * 23 + 11] == 0.25


@given(count=st.integers(1, 40), seed=st.integers(0, 2**32))
def test_what_frames_tell_of_adds_up(context, count, seed):
    """One by one, what each tells of beyond those before is what all tell of."""
    candidates = Candidates.of(context())
    chosen = np.random.default_rng(seed).choice(len(candidates.centres_yx_nm), count, replace=False)
    cover, total = Cover(context(), candidates), 0.0
    for n, k in enumerate(chosen):
        total += cover.new(candidates.centres_yx_nm[chosen[:n]])[k]
    cover.new(candidates.centres_yx_nm[chosen])
    inside = cover.scanned
    whole = binary_erosion(inside, np.ones((5, 5)))
    assert total == pytest.approx(whole.sum() / 64)


def test_counting_spots_what_lies_near_a_hit_comes_last(ready, situation):
    """Nothing within a length scale of it, all beyond three; a little for its own area."""
    navigator = ready(Search(counts="spots", threshold=0.5, length_scale_nm=[1.0, 1.001]))
    centres = np.array([[0.0, 0.0], [-4.5, -7.5], [4.5, 7.5], [-4.5, 7.5], [4.5, -7.5]])
    navigator.decide(situation(centres, [1.0, 0.0, 0.0, 0.0, 0.0]))
    away = np.hypot(*navigator.candidates.centres_yx_nm.T)
    assert navigator.fresh[away < 0.1] == 0.0, "no frame is taken twice"
    near = (away > 0.1) & (away < 1.0)
    assert (navigator.fresh[near] > 0.0).all()
    assert navigator.fresh[near].max() <= LATER
    assert (navigator.fresh[away > 3.01] == 1.0).all()


@pytest.mark.parametrize("rule", THRESHOLDS)
def test_the_threshold_lies_between_the_usual_and_the_greatest(rule, ready, situation, measured):
    navigator = ready(Search(threshold=rule))
    centres, targets = measured(navigator, 60, spots)
    noisy = targets + 0.02 * np.random.default_rng(0).normal(size=60)
    belief = navigator.gp.update(centres, noisy, np.ones(60))
    threshold = threshold_by(rule, noisy, belief)
    usual = np.median(belief.mean)
    assert usual < threshold <= usual + 0.5 * (belief.best - usual) + 1e-9
    if rule == "outlier":
        assert (noisy[targets < 0.01] > threshold).mean() < 0.05, "noise is seldom a hit"


def test_a_threshold_that_noise_would_push_below_the_usual_is_the_usual():
    flat = np.zeros(345)
    belief = Belief(flat + 1.0, flat, flat, 0.5, 1.0, 1.0, 4)
    for rule in THRESHOLDS:
        assert threshold_by(rule, np.array([1.0, 0.5]), belief) == 1.0


def test_frames_that_are_alike_are_of_one_kind():
    described = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [0.0, 0.1], [5.2, 0.1], [0.0, 9.0]])
    assert kinds(described, 0.3).tolist() == [0, 0, 1, 0, 1, 2]
    assert kinds(np.ones((4, 2)), 0.3).tolist() == [0, 0, 0, 0], "nothing varies"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Search(threshold=np.inf), "threshold is inf; it must be a finite number, or"),
        (lambda: Search(threshold="half way"), "threshold is 'half way'; it must be"),
        (lambda: Search(counts="sheep"), "unknown counts 'sheep'; there are: area, spots"),
        (lambda: Novelty(alike=1.0), "alike is 1.0; it must lie between 0 and 1"),
        (lambda: NonmyopicSearch(closely=0), "closely is 0; it must be an integer, at least 1"),
    ],
)
def test_bad_settings_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
