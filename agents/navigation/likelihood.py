"""How well hyper-parameters explain what was measured, and which explain it best.

The model is y = c + s (f + e): f a Gaussian process of unit variance, e independent noise
whose variance is ``noise`` over the dose of a frame.  The constant c and the scale s that
suit any other parameters best are known in closed form (Rasmussen & Williams 2006, section
2.7; Santner, Williams & Notz, *The Design and Analysis of Computer Experiments*, section
3.3), so that only lengths and ratios are searched for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .kernels import Kernel, squared_distances

Floats = NDArray[np.float64]
NOISE = (1e-6, 10.0)  # bounds of the noise, in variances of the process
USUAL_NOISE = 0.03
JITTER = 1e-10  # least noise of any frame, so that points that coincide can be told by rounding
SHAPE = (0.05, 50.0)
DRIFT = (1e-3, 10.0)
VAGUE = 2.0  # standard deviation of the prior logarithms of noise, shape and drift
MOST = 300  # points that a fit goes by; more tell little more of a handful of numbers
ITERATIONS = 25
FEW = 60  # points up to which a fit begins from several lengths


@dataclass(frozen=True)
class Hyper:
    """What a Gaussian process supposes of its field.

    Attributes:
        length_nm: of the kernel.
        noise: variance of the noise of a reference frame's target, in variances of the
            process.
        shape: of the kernel, where it has one.
        drift: variance by which the field follows the survey, in variances of the process.
    """

    length_nm: float
    noise: float = USUAL_NOISE
    shape: float = 1.0
    drift: float = 0.1


def noise_of(hyper: Hyper, dose: Floats | float) -> Floats:
    """Variance of the noise of targets, in those of the process, by dose (k,) or one dose."""
    return np.maximum(hyper.noise / np.asarray(dose), JITTER)


@dataclass(frozen=True, eq=False)
class Data:
    """What was measured.

    Attributes:
        yx_nm: (k, 2) positions.
        targets: (k,).
        dose: (k,) relative to the reference frame.
        covariates: (k, p) what the survey shows there; p may be 0.
    """

    yx_nm: Floats
    targets: Floats
    dose: Floats
    covariates: Floats

    def some(self, most: int) -> Data:
        """At most so many of the points, spread over their order."""
        if len(self.targets) <= most:
            return self
        of = np.linspace(0, len(self.targets) - 1, most).round().astype(np.int64)
        return Data(self.yx_nm[of], self.targets[of], self.dose[of], self.covariates[of])


def fit(
    kernel: Kernel,
    data: Data,
    start: Hyper,
    length_nm: tuple[float, float],
    noise: float | None = None,
) -> Hyper:
    """The hyper-parameters of the greatest posterior density.

    A weak prior, log-normal about the middle of the bounds, decides where a few points say
    nothing.  Searched for by L-BFGS-B with gradients, from ``start`` and, as long as points
    are few enough for the density to have several peaks, from a short and a long length.

    Args:
        kernel: of the process.
        data: at least two different targets.
        start: the latest ones.
        length_nm: bounds of the length.
        noise: known noise; None fits it.
    """
    from scipy.optimize import minimize

    data = data.some(MOST)
    names = ["length_nm"] if noise is not None else ["length_nm", "noise"]
    names += ["shape"] * kernel.has_shape + ["drift"] * (data.covariates.shape[1] > 0)
    limits = {"length_nm": length_nm, "noise": NOISE, "shape": SHAPE, "drift": DRIFT}
    bounds = np.log([limits[n] for n in names])
    middle = {"length_nm": bounds[0].mean(), "noise": np.log(USUAL_NOISE)}
    centre = np.array([middle.get(n, np.log(getattr(Hyper(1.0), n))) for n in names])
    spread = np.array([np.ptp(bounds[0]) / 2 if n == "length_nm" else VAGUE for n in names])
    squared = squared_distances(data.yx_nm, data.yx_nm)
    fixed = start if noise is None else replace(start, noise=noise)

    def cost(logs: Floats) -> tuple[float, Floats]:
        hyper = replace(fixed, **dict(zip(names, np.exp(logs).tolist(), strict=True)))
        value, slopes = negative_log_likelihood(kernel, data, hyper, squared)
        away = (logs - centre) / spread
        return value + 0.5 * away @ away, np.array([slopes[n] for n in names]) + away / spread

    begins = [np.log([getattr(fixed, n) for n in names])]
    if len(data.targets) <= FEW:
        steps = np.array([-0.25, 0.125]) * np.ptp(bounds[0])
        begins += [centre + step * np.eye(len(names))[0] for step in steps]
    found = [
        minimize(
            cost,
            np.clip(begin, *bounds.T),
            jac=True,
            bounds=bounds,
            method="L-BFGS-B",
            options={"maxiter": ITERATIONS, "ftol": 1e-6},
        )
        for begin in begins
    ]
    best = min(found, key=lambda f: float(f.fun))
    return replace(fixed, **dict(zip(names, np.exp(best.x).tolist(), strict=True)))


def negative_log_likelihood(
    kernel: Kernel, data: Data, hyper: Hyper, squared: Floats
) -> tuple[float, dict[str, float]]:
    """Of the data, but for a constant, and its derivatives by the parameters' logarithms.

    Args:
        squared: (k, k) squared distances of the points.
    """
    from scipy.linalg import lapack

    k = len(data.targets)
    diagonal = noise_of(hyper, data.dose)
    plain = kernel(squared, hyper.length_nm, hyper.shape)
    outer = data.covariates @ data.covariates.T if data.covariates.shape[1] else None
    matrix = plain if outer is None else plain + hyper.drift * outer
    matrix = matrix + np.diag(diagonal)
    factor, failed = lapack.dpotrf(matrix, lower=1, clean=0)
    if failed:  # by rounding, where points coincide and noise is least
        return 1e25, dict.fromkeys(("length_nm", "noise", "shape", "drift"), 0.0)
    inverse, _ = lapack.dpotri(factor, lower=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    ones = inverse.sum(axis=1)
    constant = ones @ data.targets / ones.sum()
    weights = inverse @ (data.targets - constant)
    scale = max(float(weights @ (data.targets - constant)) / k, 1e-300)
    value = 0.5 * k * np.log(scale) + float(np.log(np.diag(factor)).sum())
    bend = 0.5 * (inverse - np.outer(weights, weights) / scale)
    slopes = {
        "length_nm": float(
            (bend * kernel.by_log_length(squared, hyper.length_nm, hyper.shape)).sum()
        ),
        "noise": float(np.diag(bend) @ diagonal),
        "shape": 0.0,
        "drift": 0.0 if outer is None else float((bend * outer).sum() * hyper.drift),
    }
    if kernel.has_shape:
        by_shape = kernel.by_log_shape(squared, hyper.length_nm, hyper.shape)
        slopes["shape"] = float((bend * by_shape).sum())
    return value, slopes
