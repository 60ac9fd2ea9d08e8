"""What most values are like, and which stand out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.outliers import deviations, location_and_scale, otsu

values_of = st.lists(st.integers(-50, 50), min_size=2, max_size=40).map(
    lambda values: np.array(values, dtype=float)
)


@given(values=values_of)
def test_with_equal_weights_it_is_the_median_and_the_mad(values):
    middle, spread = location_and_scale(values[:, None], np.ones(len(values)))
    lower = np.sort(values)[(len(values) - 1) // 2]
    away = np.sort(np.abs(values - lower))
    mad = away[(len(values) - 1) // 2]
    assert middle[0] == lower
    assert spread[0] == pytest.approx(1.4826 * mad if mad > 0 else away.mean())


@given(values=values_of, seed=st.integers(0, 100))
def test_whole_weights_count_as_repetitions(values, seed):
    times = np.random.default_rng(seed).integers(1, 5, len(values))
    weighted = location_and_scale(values[:, None], times.astype(float))
    repeated = np.repeat(values, times)[:, None]
    expected = location_and_scale(repeated, np.ones(len(repeated)))
    assert np.concatenate(weighted) == pytest.approx(np.concatenate(expected))


def test_deviations_are_in_mads_of_either_side_or_of_one():
    values = np.array([1.0, 2.0, 3.0, 4.0, 9.0])
    expected = np.array([2, 1, 0, 1, 6]) / 1.4826
    assert deviations(values, np.ones(5)) == pytest.approx(expected)
    assert deviations(values, np.ones(5), above=True) == pytest.approx([0, 0, *expected[2:]])


def test_of_values_that_are_all_equal_none_stands_out():
    assert deviations(np.full(7, 3.0), np.ones(7)).tolist() == [0.0] * 7
    assert otsu(np.full(7, 3.0)) is None
    assert otsu(np.array([3.0])) is None


def test_what_differs_from_equals_stands_out_by_a_finite_number():
    values = np.array([0.0] * 9 + [1.0])
    assert deviations(values, np.ones(10)) == pytest.approx([0.0] * 9 + [10.0])


@given(values=values_of)
def test_otsus_threshold_makes_the_variance_between_both_classes_greatest(values):
    threshold = otsu(values)
    if len(set(values)) == 1:
        assert threshold is None
        return

    def between(at):
        low, high = values[values <= at], values[values > at]
        return len(low) * len(high) * (low.mean() - high.mean()) ** 2

    best = max(between(v) for v in np.unique(values)[:-1])
    assert between(threshold) == pytest.approx(best)


def test_otsu_divides_two_groups_between_them():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 1, 200), rng.normal(10, 1, 50)])
    assert 3 < otsu(values) < 7
