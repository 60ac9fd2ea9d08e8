"""How much a candidate is worth, by what is believed of it.

Each function takes the mean and standard deviation (n,) of a maximised target and gives a
value (n,), the greatest being the best.  Formulas: Jones, Schonlau & Welch 1998 (expected
improvement); Kushner 1964 (probability of improvement); Srinivas et al. 2010 (GP-UCB).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from .gp import Belief

Floats = NDArray[np.float64]
DELTA = 0.1  # of GP-UCB: how likely its bound may fail
TAMED = 5.0  # Srinivas et al. divide their bound by it in practice


def normal_density(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z * z) / sqrt(2.0 * pi))


def normal_share(z: Floats) -> Floats:
    """The cumulative distribution of a standard normal variable."""
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def expected_improvement(belief: Belief, exploration: float) -> Floats:
    """E[max(f - best - ξs, 0)], with ξ in standard deviations s of the process."""
    gain = belief.mean - belief.best - exploration * belief.scale
    sigma = np.maximum(belief.sigma, 1e-12 * max(belief.scale, 1e-300))
    z = gain / sigma
    return np.asarray(np.maximum(gain * normal_share(z) + sigma * normal_density(z), 0.0))


def probability_of_improvement(belief: Belief, exploration: float) -> Floats:
    """P(f > best + ξs)."""
    gain = belief.mean - belief.best - exploration * belief.scale
    return normal_share(gain / np.maximum(belief.sigma, 1e-12 * max(belief.scale, 1e-300)))


def upper_confidence_bound(belief: Belief, exploration: float) -> Floats:
    """mean + κ √(β/5) sigma with GP-UCB's β, which grows with the number of points."""
    n, t = len(belief.relative), max(belief.count, 1)  # of candidates, wherever it is asked
    beta = 2.0 * log(n * t * t * pi * pi / (6.0 * DELTA))
    return belief.mean + exploration * sqrt(beta / TAMED) * belief.sigma


def mean_and_sigma(belief: Belief, exploration: float) -> Floats:
    """mean + κ sigma: the custom acquisition of Creange et al. 2022, there with κ = 4."""
    return belief.mean + exploration * belief.sigma


def uncertainty(belief: Belief, exploration: float) -> Floats:
    """sigma alone: the field is mapped, and nothing pursued."""
    return belief.sigma


@dataclass(frozen=True)
class Acquisition:
    """A way to value candidates.

    Attributes:
        words: its name in sentences.
        exploration: how curious it is by default; what that is, its function tells.
        value: of the candidates; None where it is drawn from the process itself.
        gain: a value of 0 is worth nothing.
    """

    words: str
    exploration: float
    value: Callable[[Belief, float], Floats] | None
    gain: bool = False


ACQUISITIONS: dict[str, Acquisition] = {
    "EI": Acquisition("expected improvement", 0.01, expected_improvement, gain=True),
    "PI": Acquisition("probability of improvement", 0.01, probability_of_improvement, gain=True),
    "UCB": Acquisition("upper confidence bound", 1.0, upper_confidence_bound),
    "mean+sigma": Acquisition("mean and uncertainty together", 4.0, mean_and_sigma),
    "sigma": Acquisition("uncertainty", 1.0, uncertainty),
    "Thompson": Acquisition("a field that could be the true one", 1.0, None),
}
