"""Poisson noise is Poisson's, for any mean and mixture of means."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stemscout.simulators.noise import (
    MOST,
    MULTIPLES,
    STEP,
    TOP,
    key_of,
    ladder,
    normal,
    poisson,
    uniform,
    ziggurat,
)

COUNT = 400_000
FAR = TOP * MULTIPLES
# The five that are promised; a step of the ladder and between two; where one way of drawing
# ends and the next begins; and a bright field's.
MEANS = (
    *(0.1, 1.0, 5.0, 20.0, 200.0),
    *(3e-4, (30 * STEP) ** 2, (30.5 * STEP) ** 2),
    *(0.999 * TOP, TOP, 1.001 * TOP, 2.5 * TOP, 0.999 * FAR, 1.001 * FAR, 12_000.0),
)


def draws(mean, seed=0, count=COUNT):
    return poisson(np.full(count, mean), np.random.default_rng(seed)).astype(np.int64)


@pytest.mark.parametrize("mean", MEANS)
def test_mean_and_variance(mean):
    """Within five standard errors."""
    found = draws(mean)
    assert found.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / COUNT))
    error = np.sqrt((mean + 2 * mean**2) / COUNT)
    assert found.var() == pytest.approx(mean, abs=5 * error)


@pytest.mark.parametrize("mean", MEANS)
def test_chi_square(mean):
    """Three independent sets: their p-values together are no accident (Fisher)."""
    values = []
    for seed in range(3):
        found = draws(mean, seed)
        low, high = (int(stats.poisson.ppf(q, mean)) for q in (1e-4, 1 - 1e-4))
        edges = np.arange(low, high + 1)
        expected = stats.poisson.pmf(edges, mean)
        counts = np.bincount(found, minlength=high + 1)[low : high + 1].astype(float)
        below, above = stats.poisson.cdf(low - 1, mean), stats.poisson.sf(high, mean)
        expected = np.concatenate([[below], expected, [above]]) * COUNT
        counts = np.concatenate([[(found < low).sum()], counts, [(found > high).sum()]])
        keep = expected > 5
        rest = (counts[~keep].sum(), expected[~keep].sum())
        if rest[1] > 1:
            counts, expected = np.append(counts[keep], rest[0]), np.append(expected[keep], rest[1])
        else:
            counts, expected = counts[keep], expected[keep]
        expected *= counts.sum() / expected.sum()
        values.append(stats.chisquare(counts, expected).pvalue)
    assert stats.combine_pvalues(values).pvalue > 1e-4


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32), mean=st.floats(0.0, 300.0))
def test_any_mean_has_its_mean(seed, mean):
    found = draws(mean, seed, 20_000)
    assert found.mean() == pytest.approx(mean, abs=6 * np.sqrt(mean / 20_000) + 1e-9)


def test_tables_hold_the_distribution():
    """Entry by entry, what is drawn from a table has Poisson's probabilities."""
    means, starts, bits, tables = ladder()
    multiples = TOP * np.arange(1, MULTIPLES + 1)
    ends = [*starts[1:].tolist(), len(tables)]
    for mean, start, end, pick in zip([*means, *multiples], starts, ends, bits, strict=True):
        entries = tables[int(start) : end]
        assert len(entries) == 1 << int(pick)
        own = (entries >> np.uint64(24)) / 2.0**40
        found = np.zeros(4096)
        np.add.at(found, (entries & np.uint64(0xFFF)).astype(int), own / len(entries))
        other = ((entries >> np.uint64(12)) & np.uint64(0xFFF)).astype(int)
        np.add.at(found, other, (1 - own) / len(entries))
        assert np.abs(found - stats.poisson.pmf(np.arange(4096), mean)).max() < 2e-12


@pytest.mark.parametrize("mean", [1e5, 1e7])
def test_very_large_means_are_normal(mean):
    """Mean, variance and, by Kolmogorov and Smirnov, the whole distribution."""
    found = poisson(np.full(COUNT, mean), np.random.default_rng(3)).astype(float)
    z = (found - mean) / np.sqrt(mean)
    assert z.mean() == pytest.approx(0.0, abs=5 / np.sqrt(COUNT))
    assert z.var() == pytest.approx(1.0, abs=5 * np.sqrt(2 / COUNT))
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_pixels_of_an_image_are_independent():
    """Each pixel follows its own mean, and neighbours do not know of each other."""
    rng = np.random.default_rng(1)
    means = rng.gamma(1.5, 6.0, (64, 64))
    frames = np.stack([poisson(means, rng) for _ in range(400)])
    pull = (frames.mean(axis=0) - means) / np.sqrt(means / 400)
    assert np.abs(pull).max() < 6
    assert pull.std() == pytest.approx(1.0, abs=0.05)
    normal = (frames - means) / np.sqrt(means)
    for axis in (1, 2):
        a, b = (np.take(normal, range(s, 63 + s), axis) for s in (0, 1))
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)


def test_the_generator_decides():
    means = np.full((8, 8), 3.0)
    a, b = (poisson(means, np.random.default_rng(7)) for _ in range(2))
    rng = np.random.default_rng(7)
    first, second = poisson(means, rng), poisson(means, rng)
    assert np.array_equal(a, b)
    assert np.array_equal(a, first)
    assert not np.array_equal(first, second)
    assert a.dtype == np.float32
    assert a.shape == (8, 8)


def test_nothing_comes_of_nothing():
    assert not poisson(np.zeros((4, 4)), np.random.default_rng(0)).any()


@pytest.mark.parametrize("bad", [-1e-9, float("nan"), float("inf"), 1.01 * MOST])
def test_means_that_are_none(bad):
    with pytest.raises(ValueError, match=r"negative, above 1e9 or not a number; .* from 0 to 1e9"):
        poisson(np.array([1.0, bad]), np.random.default_rng(0))


@numba.njit
def fill(draw, key, layers, out):
    state = key
    for n in range(out.shape[0]):
        out[n], state = normal(state, layers) if draw else uniform(state)


def normals():
    out = np.empty(2_000_000)
    fill(True, np.uint64(11), ziggurat(), out)
    return out


def test_moments_of_normal_numbers():
    """Within four standard errors."""
    numbers = normals()
    n = len(numbers)
    assert abs(numbers.mean()) < 4 / np.sqrt(n)
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2 / n)
    assert abs(stats.skew(numbers)) < 4 * np.sqrt(6 / n)
    assert abs(stats.kurtosis(numbers)) < 4 * np.sqrt(24 / n)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 4 / np.sqrt(n)


def test_distribution_of_normal_numbers():
    """By chi-square over 200 classes of equal chance, and beyond the last layer."""
    numbers, edges = normals(), stats.norm.ppf(np.linspace(0, 1, 201))
    assert stats.chisquare(np.histogram(numbers, edges)[0]).pvalue > 1e-3
    far = (np.abs(numbers) > ziggurat()[0, 1]).sum()
    expected = 2 * stats.norm.sf(ziggurat()[0, 1]) * len(numbers)
    assert abs(far - expected) < 4 * np.sqrt(expected)


def test_the_layers_under_the_normal_distribution_are_of_one_area():
    x, f = ziggurat()
    tail = np.sqrt(2 * np.pi) * stats.norm.sf(x[1])
    areas = [x[1] * f[1] + tail, *(x[1:-1] * np.diff(f[1:]))]
    assert areas == pytest.approx([areas[0]] * len(areas), rel=1e-9)


def test_uniform_numbers():
    out = np.empty(200_000)
    fill(False, key_of(np.random.default_rng(0)), ziggurat(), out)
    assert ((out >= 0) & (out < 1)).all()
    assert stats.kstest(out, "uniform").pvalue > 1e-3
