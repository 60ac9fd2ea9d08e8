"""Samples as sums of components."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.decomposition import PCA

from stemscout.agents.perception.decompositions import (
    DECOMPOSITIONS,
    POSITIVE,
    abundances,
    decomposition,
)


def mixed(seed=0, count=3, samples=200, noise=0.0):
    """Samples of known endmembers, one of each pure, and their shares."""
    rng = np.random.default_rng(seed)
    endmembers = rng.random((count, 20))
    shares = rng.dirichlet(np.ones(count), samples)
    shares[:count] = np.eye(count)
    return shares @ endmembers + rng.normal(0, noise, (samples, 20)), endmembers, shares


@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_amounts_of_patterns_make_the_samples(name):
    samples, _, _ = mixed(noise=0.001)
    made = decomposition(name, 3, seed=0)
    made.fit(samples)
    amounts = made.transform(samples)
    assert amounts.shape == (200, 3)
    patterns = made.patterns
    if name != "nfindr":
        patterns = patterns / np.linalg.norm(patterns, axis=1)[:, None]
    left = samples - amounts @ patterns
    left -= left.mean(axis=0)  # PCA and ICA take the mean away first
    assert np.sqrt((left**2).mean()) < 0.02
    if name in POSITIVE:
        assert amounts.min() >= 0.0


def test_pca_is_scikit_learns():
    samples, _, _ = mixed(noise=0.1)
    ours, theirs = decomposition("pca", 3, 0), PCA(3, svd_solver="full").fit(samples)
    ours.fit(samples)
    assert np.allclose(ours.transform(samples), theirs.transform(samples))


@pytest.mark.parametrize("name", ["pca", "nmf"])
def test_the_incremental_form_comes_to_the_same_space(name):
    samples, _, _ = mixed(noise=0.001, samples=600)
    made = decomposition(name, 3, 0, incremental=True)
    for part in np.split(samples, 30):
        made.fit(part)
    _, _, rows = np.linalg.svd(samples - samples.mean(axis=0) * (name == "pca"))
    wanted = 2 if name == "pca" else 3  # three endmembers lie in a plane
    inside = made.patterns[:wanted] @ rows[:3].T
    inside = np.linalg.norm(inside, axis=1) / np.linalg.norm(made.patterns[:wanted], axis=1)
    assert inside.min() > 0.95


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_nfindr_finds_the_pure_samples(count):
    samples, endmembers, shares = mixed(seed=count, count=count)
    made = decomposition("nfindr", count, 0)
    made.fit(samples)
    apart = np.linalg.norm(made.patterns[:, None] - endmembers, axis=2)
    assert sorted(apart.argmin(axis=1)) == list(range(count))
    assert apart.min(axis=1).max() < 1e-9
    assert np.allclose(made.transform(samples)[:, apart.argmin(axis=0)], shares, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20), count=st.integers(1, 5))
def test_abundances_are_the_least_squares_of_the_simplex(seed, count):
    """Against a general optimiser, and so that no other mixture is nearer."""
    rng = np.random.default_rng(seed)
    endmembers, sample = rng.random((count, 8)), rng.normal(0.5, 1.0, 8)
    (found,) = abundances(sample[None], endmembers)
    assert found.min() >= 0.0
    assert found.sum() == pytest.approx(1.0)

    def left(shares):
        return float(((sample - shares @ endmembers) ** 2).sum())

    other = minimize(
        left,
        np.full(count, 1 / count),
        method="SLSQP",
        bounds=[(0, 1)] * count,
        constraints={"type": "eq", "fun": lambda s: s.sum() - 1},
        options={"ftol": 1e-12},
    )
    assert left(found) <= other.fun + 1e-6


def test_equal_endmembers_share_what_there_is():
    endmembers = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = abundances(np.array([[0.7, 0.3]]), endmembers)
    assert found[0, :2].sum() == pytest.approx(0.7)
    assert found[0, 2] == pytest.approx(0.3)


def test_where_fast_singular_values_do_not_converge_others_are_taken(monkeypatch):
    """LAPACK's gesdd fails on a few harmless matrices of few long samples."""
    samples = np.random.default_rng(0).normal(size=(40, 1100))
    expected = decomposition("pca", 3, seed=0)
    expected.fit(samples)
    fit, failed = PCA.fit, []

    def once(self, given, y=None):
        if self.svd_solver == "full":
            failed.append(True)
            raise np.linalg.LinAlgError("SVD did not converge")
        return fit(self, given, y)

    monkeypatch.setattr(PCA, "fit", once)
    made = decomposition("pca", 3, seed=0)
    made.fit(samples)
    assert failed
    assert np.abs(made.patterns) == pytest.approx(np.abs(expected.patterns), abs=1e-6)
