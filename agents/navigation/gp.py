"""A Gaussian process over a lattice of candidates, exact and incremental.

What is believed of all n candidates follows from k measured points.  With K = L L' their
covariance and V = L⁻¹ K(measured, candidates), the mean is c + V' L⁻¹ (y - c) and the
variance 1 - ΣV², in units of the process (Rasmussen & Williams 2006, algorithm 2.1).  A new
point appends a row to L and to V, for O(kn) instead of O(k²n); all that is kept is k (k + n)
numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .kernels import KERNELS, squared_distances
from .likelihood import Data, Hyper, fit, noise_of
from .navigator import Candidates, standardised

Floats = NDArray[np.float64]
REFIT = 10  # points between fits of the hyper-parameters
FEATURES = 512  # of a sample from the prior
BLOCK = 512  # candidates that are reckoned at once
LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Belief:
    """What is believed of the candidates.

    Attributes:
        mean, sigma: (n,) of the target without noise, in its unit.
        relative: (n,) sigma in units of the process; it tells where little is known even
            while all targets are equal.
        best: the greatest mean where something was measured: readings are noisy, and the
            luckiest of them is not what is best (Wang & de Freitas, arXiv 1406.7758).
        scale: standard deviation of the process, in the target's unit.
        length_nm: of the kernel.
        count: points that it goes by.
    """

    mean: Floats
    sigma: Floats
    relative: Floats
    best: float
    scale: float
    length_nm: float
    count: int


class LatticeGP:
    """The posterior of a Gaussian process at all candidates, point after point.

    Hyper-parameters are those of the greatest posterior density (``likelihood``), fitted anew
    after every half as many points again, but at least every ``refit``-th of the first hundred
    points, and every tenth part of more.

    Args:
        kernel: ``rbf``, ``matern32``, ``matern52`` or ``rational-quadratic``.
        length_scale_nm: bounds of its length.
        noise: variance of the noise of a reference frame's target, in variances of the
            process; None fits it.
        refit: points between fits.
        hyper: fixed hyper-parameters; None fits them.
    """

    def __init__(
        self,
        kernel: str,
        length_scale_nm: tuple[float, float],
        noise: float | None = None,
        refit: int = REFIT,
        hyper: Hyper | None = None,
    ) -> None:
        if kernel not in KERNELS:
            raise ValueError(f"unknown kernel {kernel!r}; there are: {', '.join(KERNELS)}")
        self.kernel = KERNELS[kernel]
        self.length_scale_nm, self.noise, self.refit = length_scale_nm, noise, refit
        self.fixed = hyper

    def reset(self, candidates: Candidates, covariates: Floats | None = None) -> None:
        """Know nothing.

        Args:
            candidates: n of them.
            covariates: (n, p) of them, by which the field may drift; None without any.
        """
        self.candidates = candidates
        self.hyper = self.fixed or Hyper(sqrt(self.length_scale_nm[0] * self.length_scale_nm[1]))
        if self.noise is not None and self.fixed is None:
            self.hyper = Hyper(self.hyper.length_nm, self.noise)
        self.fitted = 0  # points that the hyper-parameters go by
        self.look(covariates)

    def look(self, covariates: Floats | None) -> None:
        """Go by other covariates (n, p) from now on; nothing that was measured is forgotten."""
        n = len(self.candidates.centres_yx_nm)
        self.covariates = np.zeros((n, 0)) if covariates is None else covariates
        self._forget()

    def _forget(self) -> None:
        self._count = 0
        n = len(self.candidates.centres_yx_nm)
        self._yx, self._dose = np.empty((0, 2)), np.empty(0)
        self._cov = np.empty((0, self.covariates.shape[1]))
        self._factor: Floats = np.empty((0, 0))
        self._rows = np.empty((0, n))  # V
        self._left = self._own(self.covariates)  # variances
        self._targets = np.empty(0)
        self._solved = self._ones = np.empty(0)  # L⁻¹ y and L⁻¹ 1
        self._of_solved, self._of_ones = np.zeros(n), np.zeros(n)  # V' of them

    def update(self, yx_nm: Floats, targets: Floats, dose: Floats) -> Belief:
        """What is believed once all this was measured.

        Args:
            yx_nm: (k, 2) points, of which the first are mostly those of the call before.
            targets: (k,) finite; all of them may have changed.
            dose: (k,) relative to the reference frame.
        """
        k = len(targets)
        standard = standardised(targets)
        if self._due(k) and standard is not None:
            data = Data(yx_nm, standard[0], dose, self._covariates_at(yx_nm))
            self.hyper = fit(self.kernel, data, self.hyper, self.length_scale_nm, self.noise)
            self.fitted = k
            self._forget()
        self._learn(yx_nm, dose)
        self._solve(targets)
        return self._belief(standard is not None)

    def _due(self, k: int) -> bool:
        if self.fixed is not None:
            return False
        every = max(1, min(self.fitted // 2, max(self.refit, self.fitted // 10)))
        return k >= 2 and (self.fitted == 0 or k >= self.fitted + every or k < self.fitted)

    def _learn(self, yx_nm: Floats, dose: Floats) -> None:
        """Have the rows of all points, those that are there as they are."""
        known = self._count
        same = known <= len(dose) and np.array_equal(yx_nm[:known], self._yx)
        if not (same and np.array_equal(dose[:known], self._dose)):
            self._forget()
            known = 0
        if len(dose) - known > 3:
            self._forget()
            self._learn_all(yx_nm, dose)
            return
        for point, of in zip(yx_nm[known:], dose[known:], strict=True):
            self._append(point[None], float(of))

    def _learn_all(self, yx_nm: Floats, dose: Floats) -> None:
        from scipy.linalg import solve_triangular

        k = len(dose)
        self._yx, self._dose, self._count = yx_nm.copy(), dose.copy(), k
        self._cov = self._covariates_at(yx_nm)
        matrix = self._correlate(yx_nm, self._cov, yx_nm, self._cov)
        matrix += np.diag(noise_of(self.hyper, dose))
        factor = np.asarray(np.linalg.cholesky(matrix), dtype=np.float64)
        centres = self.candidates.centres_yx_nm
        rows = np.empty((k, len(centres)))
        for start in range(0, len(centres), BLOCK):  # or temporaries would be many times as large
            of = slice(start, start + BLOCK)
            across = self._correlate(yx_nm, self._cov, centres[of], self.covariates[of])
            rows[:, of] = solve_triangular(factor, across, lower=True, check_finite=False)
        self._factor, self._rows = factor, rows
        self._left = self._own(self.covariates) - np.einsum("kn,kn->n", rows, rows)
        self._targets = np.empty(0)

    def _append(self, point: Floats, dose: float) -> None:
        from scipy.linalg import solve_triangular

        k = self._count
        self._room(k + 1)
        cov = self._covariates_at(point)
        to_known = self._correlate(point, cov, self._yx, self._cov)[0]
        own = float(self._own(cov)[0]) + float(noise_of(self.hyper, dose))
        across = np.empty(0)
        if k:
            across = solve_triangular(
                self._factor[:k, :k], to_known, lower=True, check_finite=False
            )
        pivot = sqrt(max(own - float(across @ across), LEAST))
        row = self._correlate(point, cov, self.candidates.centres_yx_nm, self.covariates)[0]
        row -= across @ self._rows[:k]
        row /= pivot
        self._factor[k, :k], self._factor[k, k] = across, pivot
        self._rows[k] = row
        self._left -= row * row
        self._yx = np.vstack([self._yx, point])
        self._cov = np.vstack([self._cov, cov])
        self._dose = np.append(self._dose, dose)
        self._count = k + 1

    def _room(self, count: int) -> None:
        """For so many points; arrays grow by half, so that few are copied."""
        have = len(self._factor)
        if count <= have:
            return
        size = max(16, count, have + have // 2)
        factor = np.zeros((size, size))
        factor[:have, :have] = self._factor
        rows = np.empty((size, self._rows.shape[1]))
        rows[: self._count] = self._rows[: self._count]
        self._factor, self._rows = factor, rows

    def _solve(self, targets: Floats) -> None:
        """L⁻¹ of the targets; where the earlier ones are as they were, only of the new."""
        from scipy.linalg import solve_triangular

        k, done = self._count, len(self._targets)
        factor = self._factor[:k, :k]
        if 0 < done <= k and np.array_equal(targets[:done], self._targets):
            for i in range(done, k):
                before = factor[i, :i]
                solved = (targets[i] - before @ self._solved) / factor[i, i]
                one = (1.0 - before @ self._ones) / factor[i, i]
                self._solved = np.append(self._solved, solved)
                self._ones = np.append(self._ones, one)
                self._of_solved = self._of_solved + solved * self._rows[i]
                self._of_ones = self._of_ones + one * self._rows[i]
        else:
            both = np.column_stack([targets, np.ones(k)])
            both = solve_triangular(factor, both, lower=True, check_finite=False)
            self._solved, self._ones = both.T.copy()
            self._of_solved, self._of_ones = both.T @ self._rows[:k]
        self._targets = targets.copy()

    def _belief(self, varies: bool) -> Belief:
        k = self._count
        self.constant = float(self._ones @ self._solved / (self._ones @ self._ones))
        self._weights = self._solved - self.constant * self._ones
        variance = float(self._weights @ self._weights) / k if varies else 0.0
        self.scale = sqrt(variance)
        mean = self.constant + self._of_solved - self.constant * self._of_ones
        relative = np.sqrt(np.maximum(self._left, 0.0))
        at_points = self._targets - self._factor_noise()
        return Belief(
            mean,
            relative * self.scale,
            relative,
            float(at_points.max()),
            self.scale,
            self.hyper.length_nm,
            k,
        )

    def _factor_noise(self) -> Floats:
        """What of each reading (k,) is taken for noise: the rest is the mean there."""
        from scipy.linalg import solve_triangular

        k = self._count
        weights = solve_triangular(
            self._factor[:k, :k], self._weights, lower=True, trans=1, check_finite=False
        )
        return np.asarray(weights * noise_of(self.hyper, self._dose))

    def at(self, yx_nm: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation (m,) at any (m, 2) points, by the latest update."""
        from scipy.linalg import solve_triangular

        k, cov = self._count, self._covariates_at(yx_nm)
        rows = solve_triangular(
            self._factor[:k, :k],
            self._correlate(self._yx, self._cov, yx_nm, cov),
            lower=True,
            check_finite=False,
        )
        left = self._own(cov) - (rows**2).sum(axis=0)
        return self.constant + self._weights @ rows, self.scale * np.sqrt(np.maximum(left, 0.0))

    @property
    def own(self) -> Floats:
        """Variances (n,) of the candidates before anything was measured, in squared scales."""
        return self._own(self.covariates)

    def covariance(self, some: NDArray[np.int64]) -> Floats:
        """Between some candidates (m,) and all: (m, n), in squared units of the target."""
        rows, centres = self._rows[: self._count], self.candidates.centres_yx_nm
        prior = self._correlate(centres[some], self.covariates[some], centres, self.covariates)
        return self.scale**2 * (prior - rows[:, some].T @ rows)

    def noise_at_reference(self) -> float:
        """Variance of the noise of a reference frame's target, in its squared unit."""
        return self.hyper.noise * self.scale**2

    def sample(self, rng: np.random.Generator) -> Floats:
        """A field (n,) that could be the true one.

        A sample of the prior by random Fourier features, set right by what was measured
        (pathwise conditioning: Wilson et al., ICML 2020, eq. 12).
        """
        from scipy.linalg import solve_triangular

        k, length = self._count, self.hyper.length_nm
        wave = rng.normal(size=(FEATURES, 2)) / length
        wave *= self.kernel.widths(FEATURES, self.hyper.shape, rng)[:, None]
        phase = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
        weights = rng.normal(size=FEATURES) * sqrt(2.0 / FEATURES)
        slopes = rng.normal(size=self.covariates.shape[1]) * sqrt(self.hyper.drift)
        y, x = self.candidates.axes_nm
        # cos(a + b) = cos a cos b - sin a sin b: over a lattice, two products of matrices.  In
        # single precision sines take a fraction of the time, and are off by 1e-5 of the process.
        down, across = (
            np.float32(v) for v in (np.outer(y, wave[:, 0]) + phase, np.outer(x, wave[:, 1]))
        )
        prior = (np.cos(down) * np.float32(weights)) @ np.cos(across).T
        prior -= (np.sin(down) * np.float32(weights)) @ np.sin(across).T
        everywhere = prior.ravel() + self.covariates @ slopes
        there = np.cos(np.float32(self._yx @ wave.T + phase)) @ weights + self._cov @ slopes
        there += rng.normal(size=k) * np.sqrt(noise_of(self.hyper, self._dose))
        solved = solve_triangular(self._factor[:k, :k], there, lower=True, check_finite=False)
        amiss = self._weights - self.scale * solved
        return np.asarray(self.constant + self.scale * everywhere + amiss @ self._rows[:k])

    def _correlate(self, a: Floats, a_cov: Floats, b: Floats, b_cov: Floats) -> Floats:
        plain = self.kernel(squared_distances(a, b), self.hyper.length_nm, self.hyper.shape)
        return plain + self.hyper.drift * (a_cov @ b_cov.T) if a_cov.shape[1] else plain

    def _own(self, cov: Floats) -> Floats:
        """Variances (m,) of the process where the covariates are (m, p)."""
        return np.asarray(1.0 + self.hyper.drift * (cov**2).sum(axis=1))

    def _covariates_at(self, yx_nm: Floats) -> Floats:
        """Of the nearest candidates."""
        if not self.covariates.shape[1]:
            return np.zeros((len(yx_nm), 0))
        return self.covariates[self.candidates.nearest(yx_nm)]

    def save(self) -> dict[str, Any]:
        return {"hyper": asdict(self.hyper), "fitted": self.fitted}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.hyper, self.fitted = Hyper(**state["hyper"]), int(state["fitted"])
        self._forget()
