"""The exact Gaussian process over a lattice: right, incremental, and indifferent to units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern, RationalQuadratic

from stemscout.agents.navigation.gp import LatticeGP
from stemscout.agents.navigation.kernels import KERNELS, squared_distances
from stemscout.agents.navigation.likelihood import Data, Hyper, fit, negative_log_likelihood
from stemscout.agents.navigation.navigator import Candidates

BOUNDS = (0.75, 15.0)
THEIRS = {
    "rbf": lambda h: RBF(h.length_nm),
    "matern32": lambda h: Matern(h.length_nm, nu=1.5),
    "matern52": lambda h: Matern(h.length_nm, nu=2.5),
    "rational-quadratic": lambda h: RationalQuadratic(h.length_nm, h.shape),
}


@pytest.fixture(scope="module")
def candidates(context):
    return Candidates.of(context())


@pytest.fixture(scope="module")
def points(candidates, bump):
    """Some candidates, noisy targets there and doses."""

    def make(count, seed=0, noise=0.05):
        rng = np.random.default_rng(seed)
        chosen = candidates.centres_yx_nm[
            rng.choice(len(candidates.centres_yx_nm), count, replace=False)
        ]
        targets = np.array([bump(*c) for c in chosen]) + noise * rng.normal(size=count)
        return chosen, targets, rng.uniform(0.5, 2.0, count)

    return make


def made(candidates, kernel="matern52", covariates=None, **options):
    gp = LatticeGP(kernel, BOUNDS, **options)
    gp.reset(candidates, covariates)
    return gp


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("count", [2, 40])
def test_it_agrees_with_scikit_learn(candidates, points, kernel, count):
    """Mean, sigma and the place of the greatest, point by point, noise by dose and all."""
    hyper = Hyper(2.3, 0.05, shape=0.8)
    centres, targets, dose = points(count)
    gp = made(candidates, kernel, hyper=hyper)
    for k in range(2, count + 1):
        belief = gp.update(centres[:k], targets[:k], dose[:k])
    theirs = GaussianProcessRegressor(
        ConstantKernel(gp.scale**2) * THEIRS[kernel](hyper),
        alpha=hyper.noise / dose * gp.scale**2,
        optimizer=None,
    ).fit(centres, targets - gp.constant)
    mean, sigma = theirs.predict(candidates.centres_yx_nm, return_std=True)
    mean = mean + gp.constant
    assert belief.mean == pytest.approx(mean, abs=1e-6)
    assert belief.sigma == pytest.approx(sigma, abs=1e-6)
    assert (belief.mean + 2 * belief.sigma).argmax() == (mean + 2 * sigma).argmax()
    there = theirs.predict(centres) + gp.constant
    assert belief.best == pytest.approx(there.max(), abs=1e-6)


def test_the_constant_and_the_scale_are_the_likeliest(candidates, points):
    """Any other constant or scale makes the data less likely."""
    centres, targets, dose = points(25)
    hyper = Hyper(2.0, 0.1)
    gp = made(candidates, hyper=hyper)
    gp.update(centres, targets, dose)
    shape = KERNELS["matern52"](squared_distances(centres, centres), 2.0) + np.diag(0.1 / dose)

    def likelihood(constant, scale):
        away = targets - constant
        covariance = scale**2 * shape
        return -0.5 * (away @ np.linalg.solve(covariance, away) + np.linalg.slogdet(covariance)[1])

    best = likelihood(gp.constant, gp.scale)
    for constant, scale in ((0.02, 1.0), (-0.02, 1.0), (0.0, 1.05), (0.0, 0.95)):
        assert likelihood(gp.constant + constant, gp.scale * scale) < best


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_gradients_of_the_likelihood_are_those_of_its_values(points, kernel):
    centres, targets, dose = points(30)
    covariates = np.random.default_rng(1).normal(size=(30, 2))
    data = Data(centres, targets, dose, covariates)
    squared = squared_distances(centres, centres)
    hyper = Hyper(2.0, 0.05, 1.3, 0.2)
    _, slopes = negative_log_likelihood(KERNELS[kernel], data, hyper, squared)
    for name, slope in slopes.items():
        values = [
            negative_log_likelihood(
                KERNELS[kernel],
                data,
                replace(hyper, **{name: getattr(hyper, name) * np.exp(step)}),
                squared,
            )[0]
            for step in (1e-5, -1e-5)
        ]
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-4)


def test_a_fit_finds_the_length_and_the_noise_of_a_sample(candidates):
    """Of the process itself, within the scatter that a sample of this size has."""
    truth = Hyper(2.0, 0.1)
    found = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        centres = candidates.centres_yx_nm[rng.choice(345, 120, replace=False)]
        matrix = KERNELS["matern52"](squared_distances(centres, centres), truth.length_nm)
        factor = np.linalg.cholesky(matrix + truth.noise * np.eye(120))
        data = Data(
            centres, 3.0 + 7.0 * factor @ rng.normal(size=120), np.ones(120), np.zeros((120, 0))
        )
        found.append(fit(KERNELS["matern52"], data, Hyper(5.0), BOUNDS))
    assert np.median([h.length_nm for h in found]) == pytest.approx(2.0, rel=0.3)
    assert np.median([h.noise for h in found]) == pytest.approx(0.1, rel=0.7)


@settings(max_examples=10)
@given(order=st.permutations(range(12)), chunks=st.integers(1, 5))
def test_in_whatever_portions_it_learns_it_believes_the_same(candidates, points, order, chunks):
    centres, targets, dose = points(12)
    order = np.array(order)
    hyper = Hyper(2.0, 0.05)
    whole = made(candidates, hyper=hyper)
    at_once = whole.update(centres, targets, dose)
    parts = made(candidates, hyper=hyper)
    for k in range(2, 13, chunks):
        parts.update(centres[order[:k]], targets[order[:k]], dose[order[:k]])
    belief = parts.update(centres[order], targets[order], dose[order])
    assert belief.mean == pytest.approx(at_once.mean, abs=1e-9)
    assert belief.sigma == pytest.approx(at_once.sigma, abs=1e-9)


def test_targets_may_all_change_from_one_call_to_the_next(candidates, points):
    """A perception that has learned more gives all earlier frames other targets."""
    centres, targets, dose = points(20)
    hyper = Hyper(2.0, 0.05)
    gp = made(candidates, hyper=hyper)
    gp.update(centres[:19], targets[:19], dose[:19])
    changed = gp.update(centres, -3 * targets, dose)
    fresh = made(candidates, hyper=hyper).update(centres, -3 * targets, dose)
    assert changed.mean == pytest.approx(fresh.mean, abs=1e-9)
    assert changed.sigma == pytest.approx(fresh.sigma, abs=1e-9)


@settings(max_examples=10)
@given(scale=st.sampled_from([1e-6, 1.0, 1e6]), offset=st.sampled_from([0.0, -100.0, 1e4]))
def test_units_of_the_target_do_not_matter(candidates, points, scale, offset):
    centres, targets, dose = points(25)
    plain = made(candidates).update(centres, targets, dose)
    other = made(candidates).update(centres, scale * (targets + offset), dose)
    assert other.mean / scale - offset == pytest.approx(plain.mean, abs=1e-4)
    assert other.sigma / scale == pytest.approx(plain.sigma, rel=1e-3, abs=1e-6)


def test_coinciding_points_and_constant_targets_break_nothing(candidates, points):
    centres, targets, dose = points(10)
    twice = np.vstack([centres, centres]), np.tile(targets, 2), np.tile(dose, 2)
    assert np.isfinite(made(candidates, noise=1e-6).update(*twice).mean).all()
    flat = made(candidates).update(centres, np.full(10, 3.7), dose)
    assert flat.mean == pytest.approx(np.full(345, 3.7))
    assert flat.scale == 0.0
    assert np.ptp(flat.relative) > 0.1, "it still knows where it knows little"


def test_coinciding_points_of_any_dose_are_believed(candidates, points):
    gp = LatticeGP("rbf", (1.0, 10.0), noise=1e-6)
    gp.reset(candidates)
    centres, targets, _ = points(12)
    twice, both = np.vstack([centres, centres]), np.append(targets, targets)
    belief = gp.update(twice, both, np.full(24, 1e9))
    at = candidates.nearest(centres)
    assert belief.mean[at] == pytest.approx(targets, abs=0.05)
    assert np.isfinite(belief.sigma).all()


def test_more_dose_is_less_noise(candidates, points):
    """A frame of twice the dose counts as two frames there."""
    centres, targets, _ = points(10)
    hyper = Hyper(2.0, 0.3)
    double = made(candidates, hyper=hyper)
    double.update(centres, targets, np.full(10, 2.0))
    twice = made(candidates, hyper=hyper)
    twice.update(np.repeat(centres, 2, axis=0), np.repeat(targets, 2), np.ones(20))
    assert double._left == pytest.approx(twice._left, abs=1e-9)
    assert double.constant == pytest.approx(twice.constant, abs=1e-9)


def test_between_candidates_it_believes_what_it_does_at_them(candidates, points):
    gp = made(candidates)
    belief = gp.update(*points(30))
    mean, sigma = gp.at(candidates.centres_yx_nm[40:60])
    assert mean == pytest.approx(belief.mean[40:60], abs=1e-9)
    assert sigma == pytest.approx(belief.sigma[40:60], abs=1e-9)


def test_covariances_are_those_that_a_further_reading_shows(candidates, points):
    """What a reading at j teaches of i: cov(i, j)² / (var(j) + noise), its variance's loss."""
    centres, targets, dose = points(20)
    gp = made(candidates, hyper=Hyper(2.0, 0.05))
    before = gp.update(centres, targets, dose)
    j = 100
    across = gp.covariance(np.array([j]))[0]
    assert across[j] == pytest.approx(before.sigma[j] ** 2, rel=1e-6)
    loss = across**2 / (before.sigma[j] ** 2 + gp.noise_at_reference())
    point = candidates.centres_yx_nm[[j]]
    after = gp.update(np.vstack([centres, point]), np.append(targets, 0.0), np.append(dose, 1.0))
    assert after.relative**2 == pytest.approx(before.relative**2 - loss / before.scale**2, abs=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_samples_scatter_as_it_believes(candidates, points, kernel):
    """200 of them: their mean within 5 standard errors, their spread within 15 %."""
    gp = made(candidates, kernel)
    belief = gp.update(*points(30))
    drawn = np.array([gp.sample(np.random.default_rng(k)) for k in range(200)])
    error = np.abs(drawn.mean(axis=0) - belief.mean) / (belief.sigma / np.sqrt(200))
    assert np.quantile(error, 0.99) < 5.0
    assert np.median(drawn.std(axis=0) / belief.sigma) == pytest.approx(1.0, abs=0.15)


def test_it_follows_a_survey_as_far_as_the_survey_tells(candidates):
    """The field is what the survey shows, or has nothing to do with it."""
    rng = np.random.default_rng(3)
    shown = rng.normal(size=(345, 1))
    centres = candidates.centres_yx_nm[:40]
    ones = np.ones(40)
    for field, likeness in ((2.0 * shown[:, 0], 0.9), (rng.normal(size=345), 0.0)):
        gp = made(candidates, covariates=shown)
        belief = gp.update(centres, field[:40], ones)
        alike = np.corrcoef(belief.mean[60:], field[60:])[0, 1]
        assert alike > 0.9 if likeness else gp.hyper.drift < 0.3


def test_fits_become_rarer_but_not_too_rare(candidates, points):
    centres, targets, dose = points(130)
    gp = made(candidates)
    fitted = []
    for k in range(2, 131):
        gp.update(centres[:k], targets[:k], dose[:k])
        fitted.append(gp.fitted)
    at = np.unique(fitted)
    assert at[:5].tolist() == [2, 3, 4, 6, 9]
    assert np.diff(at[at >= 20]).max() <= 11
    assert np.diff(at[at >= 20]).min() >= 10


def test_restored_it_believes_the_same(candidates, points):
    centres, targets, dose = points(33)
    gp = made(candidates)
    for k in range(2, 33):
        gp.update(centres[:k], targets[:k], dose[:k])
    twin = made(candidates)
    twin.restore(gp.save())
    ours, theirs = gp.update(centres, targets, dose), twin.update(centres, targets, dose)
    assert theirs.mean == pytest.approx(ours.mean, rel=1e-9, abs=1e-12)
    assert twin.save() == gp.save()


def test_unknown_kernels_are_refused():
    with pytest.raises(ValueError, match="unknown kernel 'cubic'; there are: rbf, matern32"):
        LatticeGP("cubic", BOUNDS)
