"""Statistics of scores: definitions, intervals, pairs, and agreement with rliable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import CensoredData, ecdf, permutation_test

from stemscout.benchmarks import statistics as ours

THRESHOLDS = np.linspace(0.0, 1.0, 11)


def scores(seed=0, shape=(3, 30), shift=0.0):
    drawn = np.random.default_rng(seed).beta(2, 3, shape) + shift
    return [np.array(row) for row in np.clip(drawn, 0, 1)]


def test_interquartile_mean_is_the_mean_of_the_middle_half():
    assert ours.interquartile_mean([np.array([0.0, 1, 2, 3]), np.array([4.0, 5, 6, 70])]) == 3.5


def test_median_is_of_the_strata():
    assert ours.median([np.array([0.0, 2.0]), np.array([4.0]), np.array([9.0])]) == 4.0


def test_the_optimality_gap_gives_nothing_for_more_than_enough():
    assert ours.optimality_gap([np.array([0.5, 1.5])]) == pytest.approx(0.25)


def test_profile_falls_from_all_to_none():
    shares = ours.profile(np.array([-1.0, 0.25, 0.5, 2.0]))([np.array([0.0, 0.5, 1.0, 0.5])])
    assert shares.tolist() == [1.0, 0.75, 0.25, 0.0]


def test_improvement_compares_the_same_specimens():
    """Always better by little, though the specimens differ by much."""
    first = [np.arange(30.0) + 0.1]
    assert ours.probability_of_improvement(first, [np.arange(30.0)]) == 1.0
    assert ours.probability_of_improvement(first, first) == 0.5
    # Strata count alike, whatever their size.
    pairs = [np.ones(10), np.zeros(90)], [np.zeros(10), np.ones(90)]
    assert ours.probability_of_improvement(*pairs) == 0.5


def test_position_is_0_for_random_and_1_for_the_oracle():
    random, oracle = scores(1), scores(2, shift=0.4)
    assert ours.position(random, random, oracle) == pytest.approx(0.0)
    assert ours.position(oracle, random, oracle) == pytest.approx(1.0)
    middle = [(a + b) / 2 for a, b in zip(random, oracle, strict=True)]
    assert 0 < ours.position(middle, random, oracle) < 1


def test_a_position_between_equals_says_nothing():
    same = [np.full(30, 0.5)]
    assert np.isnan(ours.position(same, same, [np.full(30, 0.519)]))
    found = ours.interval(ours.position, same, same, same)
    assert np.isnan([found.value, found.low, found.high]).all()
    # It is left out where others say something.
    mixed = [*same, np.zeros(30)], [*same, np.zeros(30)], [*same, np.ones(30)]
    assert ours.position(*mixed) == 0.0


@settings(max_examples=50, deadline=None)
@given(
    charges=st.lists(st.integers(1, 8), min_size=1, max_size=20),
    data=st.data(),
    share=st.sampled_from([0.25, 0.5, 0.9]),
)
def test_charges_follow_kaplan_and_meier(charges, data, share):
    reached = data.draw(
        st.lists(st.booleans(), min_size=len(charges), max_size=len(charges)).filter(any)
    )
    at, hit = np.array(charges, float), np.array(reached)
    curve = ecdf(CensoredData.right_censored(at, ~hit)).cdf
    there = curve.probabilities >= share - 1e-12
    expected = curve.quantiles[there][0] if there.any() else np.inf
    assert ours.charge_to(share)([at], [hit.astype(float)]) == expected


def test_a_charge_that_is_seldom_reached_has_no_end():
    charges, reached = [np.full(10, 0.4)], [np.array([1.0] * 3 + [0.0] * 7)]
    assert ours.charge_to(0.5)(charges, reached) == np.inf
    found = ours.interval(ours.charge_to(0.25), charges, reached)
    assert (found.value, found.low, found.high) == (0.4, 0.4, np.inf)


STATISTICS = {
    "mean": (ours.mean, 1),
    "iqm": (ours.interquartile_mean, 1),
    "median": (ours.median, 1),
    "gap": (ours.optimality_gap, 1),
    "profile": (ours.profile(THRESHOLDS), 1),
    "improvement": (ours.probability_of_improvement, 2),
    "difference": (ours.difference, 2),
    "position": (ours.position, 3),
}


@pytest.mark.parametrize("name", STATISTICS)
def test_replicates_are_the_statistic_of_each_draw(name):
    """Vectorised over replicates: the same as one after the other."""
    statistic, agents = STATISTICS[name]
    given_ = [scores(k, shift=0.2 * k) for k in range(agents)]
    draws = np.random.default_rng(5).integers(30, size=(4, 30))
    together = statistic(*([s[draws] for s in strata] for strata in given_))
    alone = [statistic(*([s[i] for s in strata] for strata in given_)) for i in draws]
    assert together == pytest.approx(np.array(alone), abs=1e-12)


@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_hold_the_value_and_are_the_same_again(name):
    statistic, agents = STATISTICS[name]
    given_ = [scores(k, shift=0.2 * k) for k in range(agents)]
    first, again = (ours.interval(statistic, *given_) for _ in range(2))
    assert np.all(first.low <= first.value)
    assert np.all(first.value <= first.high)
    assert np.array_equal(first.low, again.low)
    assert np.array_equal(first.high, again.high)
    wide = ours.interval(statistic, *given_, level=0.99)
    assert np.all(wide.low <= first.low)
    assert np.all(wide.high >= first.high)


def test_another_seed_draws_others():
    first, other = (ours.interval(ours.mean, scores(), seed=s) for s in (0, 1))
    assert first.value == other.value
    assert (first.low, first.high) != (other.low, other.high)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """The mean of 30 draws of a known distribution, 400 times: 95 %, a little less by theory."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        found = ours.interval(ours.mean, [rng.uniform(0, 1, 30)], replicates=400)
        inside += found.low <= 0.5 <= found.high
    assert 0.90 <= inside / 400 <= 0.98


def test_pairs_stay_pairs():
    """That specimens differ does not widen the interval of a constant difference."""
    first = scores(0)
    second = [s - 0.1 for s in first]
    found = ours.interval(ours.difference, first, second)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)


class TestTrainings:
    """An agent that was trained several times is scored by the mean, and is as sure as they are."""

    @staticmethod
    def trained(rng, between, n=30, m=5):
        """Two strata of scores, of trainings that differ by so much."""
        own = rng.normal(0.0, between, m)
        return [0.5 + rng.normal(0.0, 0.1, (n, 1)) + own for _ in range(2)]

    def test_a_score_is_the_mean_over_them(self):
        strata = self.trained(np.random.default_rng(0), 0.1)
        found = ours.interval(ours.mean, strata)
        assert found.value == pytest.approx(np.concatenate(strata).mean())
        means = [s.mean(axis=1) for s in strata]
        assert ours.swap_test(ours.difference, strata, scores(shape=(2, 30))) == ours.swap_test(
            ours.difference, means, scores(shape=(2, 30))
        )

    def test_trainings_that_are_all_alike_change_nothing(self):
        once = scores(shape=(2, 30))
        alike = [np.repeat(s[:, None], 5, axis=1) for s in once]
        found, same = (ours.interval(ours.mean, s) for s in (alike, once))
        assert [found.value, found.low, found.high] == pytest.approx(
            [same.value, same.low, same.high]
        )

    def test_intervals_cover_what_would_be_scored_with_other_trainings_too(self):
        """As often as they say, but for five trainings being few."""
        rng, within, as_one = np.random.default_rng(3), 0, 0
        for _ in range(200):
            strata = self.trained(rng, 0.05)
            found = ours.interval(ours.mean, strata, replicates=400)
            within += found.low <= 0.5 <= found.high
            means = ours.averaged(strata)
            blind = ours.interval(ours.mean, means, replicates=400)
            as_one += blind.low <= 0.5 <= blind.high
        assert within / 200 > 0.85
        assert as_one / 200 < 0.75

    @pytest.mark.parametrize(
        "strata",
        [
            [np.ones((5, 2)), np.ones((5, 3))],
            [np.ones((5, 2)), np.ones(5)],
            [np.ones((5, 0))],
            [np.ones((5, 2, 2))],
        ],
    )
    def test_they_are_as_many_everywhere(self, strata):
        with pytest.raises(ValueError, match="trained equally often in all strata"):
            ours.interval(ours.mean, strata)


def test_differences_are_of_the_first_over_the_second():
    first, second = [np.array([0.0, 1.0, 2.0, 3.0])], [np.array([0.0, 0.0, 1.0, 7.0])]
    assert ours.difference(first, second) == 1.0
    assert ours.difference_of_means(first, second) == -0.5


def test_five_pairs_that_all_win_do_so_by_chance_in_two_of_thirty_two_cases():
    second = [np.arange(3.0), np.arange(2.0)]
    first = [s + 0.1 for s in second]
    p = ours.swap_test(ours.difference_of_means, first, second, swaps=20000)
    assert p == pytest.approx(2 / 32, abs=0.01)
    assert p == ours.swap_test(ours.difference_of_means, second, first, swaps=20000)
    assert p == ours.swap_test(ours.difference_of_means, first, second, swaps=20000)
    assert p != ours.swap_test(ours.difference_of_means, first, second, seed=1, swaps=20000)


def test_a_swap_test_is_that_of_scipy():
    first, second = scores(1)[0], scores(2, shift=0.1)[0]
    theirs = permutation_test(
        (first, second),
        lambda a, b, axis: np.mean(a, axis=axis) - np.mean(b, axis=axis),
        permutation_type="samples",
        n_resamples=20000,
        rng=np.random.default_rng(0),
    )
    p = ours.swap_test(ours.difference_of_means, [first], [second], swaps=20000)
    assert p == pytest.approx(theirs.pvalue, abs=0.02)


def test_equals_are_called_different_as_seldom_as_they_should_be():
    """Pairs of equals, 400 times: a p-value below 0.05 in 5 % of them."""
    rng = np.random.default_rng(0)
    p = [
        ours.swap_test(ours.difference, [a], [b], seed=n, swaps=199)
        for n, (a, b) in enumerate(rng.beta(2, 3, (400, 2, 30)))
    ]
    assert 0.02 <= np.mean(np.array(p) <= 0.05) <= 0.08


def test_no_swap_of_identical_scores_gives_less():
    assert ours.swap_test(ours.difference, scores(), scores()) == 1.0


def test_holm_adjusts_the_smallest_most():
    """By hand: 4 × 0.01, 3 × 0.02, then never less than those before."""
    assert ours.holm([0.02, 0.01, 0.9, 0.021]) == pytest.approx([0.06, 0.04, 0.9, 0.06])
    assert ours.holm([0.6, 0.7]) == [1.0, 1.0]
    assert ours.holm([]) == []


def test_a_swap_test_without_swaps_or_pairs_is_refused():
    with pytest.raises(ValueError, match="0 swaps"):
        ours.swap_test(ours.difference, scores(), scores(), swaps=0)
    with pytest.raises(ValueError, match="beside"):
        ours.swap_test(ours.difference, [np.ones(3)], [np.ones(4)])


@pytest.mark.parametrize(
    ("agents", "options", "sentence"),
    [
        ((), {}, "at least one"),
        (([],), {}, "at least one"),
        (([np.ones(3)], [np.ones(3), np.ones(3)]), {}, "the same strata"),
        (([np.ones(3)], [np.ones(4)]), {}, r"strata of \[4\] specimens beside \[3\]"),
        (([np.ones(0)],), {}, "at least one"),
        (([np.array([np.nan])],), {}, "finite"),
        (([np.ones(3)],), {"level": 1.0}, "a level of 1.0"),
        (([np.ones(3)],), {"replicates": 0}, "0 replicates"),
    ],
)
def test_bad_input(agents, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ours.interval(ours.mean, *agents, **options)


class TestAgainstRliable:
    """Where both define a quantity they agree; rliable is no part of the project."""

    def test_aggregates(self):
        metrics = pytest.importorskip("rliable.metrics")
        table = np.stack(scores(3), axis=1)  # runs x tasks
        strata = list(table.T)
        assert ours.interquartile_mean(strata) == pytest.approx(metrics.aggregate_iqm(table))
        assert ours.mean(strata) == pytest.approx(metrics.aggregate_mean(table))
        assert ours.median(strata) == pytest.approx(metrics.aggregate_median(table))
        assert ours.optimality_gap(strata) == pytest.approx(metrics.aggregate_optimality_gap(table))

    def test_profiles(self):
        library = pytest.importorskip("rliable.library")
        table = np.stack(scores(3), axis=1)
        theirs = [library.run_score_deviation(table, t) for t in THRESHOLDS]
        assert ours.profile(THRESHOLDS)(list(table.T)) == pytest.approx(theirs)

    def test_intervals(self):
        library = pytest.importorskip("rliable.library")
        metrics = pytest.importorskip("rliable.metrics")
        table = np.stack(scores(3), axis=1)
        _, bounds = library.get_interval_estimates(
            {"a": table}, lambda t: np.array([metrics.aggregate_iqm(t)]), reps=4000
        )
        found = ours.interval(ours.interquartile_mean, list(table.T), replicates=4000)
        assert (found.low, found.high) == pytest.approx(tuple(bounds["a"][:, 0]), abs=0.005)
