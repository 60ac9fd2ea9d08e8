"""Statistics of scores: how sure is it, and which differences are real.

Specimens are the unit.  Scores come in strata, one array (n,) for each id and
difficulty, in the order of the specimens, so that the same place in two agents' scores
is the same specimen.  Every statistic takes the strata of one or more agents, and
works on arrays (..., n): the leading axes are bootstrap replicates.  ``interval``
draws specimens anew within each stratum, the same ones for all agents, and so keeps
them paired.  Of an agent that was trained several times, a stratum is (n, trainings); a
specimen's score is the mean over the trainings, and these are drawn anew too.

Definitions are those of rliable (Agarwal et al., NeurIPS 34 (2021) 29304), but that
probability of improvement compares the same specimens and not all pairs, and that
every draw follows from a seed.  Charges that were never reached are censored, and
kept (Kaplan & Meier, J. Am. Stat. Assoc. 53 (1958) 457).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

Floats = NDArray[np.float64]
Strata = Sequence[Floats]
REPLICATES = 2000
SWAPS = 4999
ROUNDING = 1e-12  # of a score
LEAST_SPAN = 0.02  # from random to oracle, below which a position says nothing


@dataclass(frozen=True)
class Interval:
    """A statistic and its interval: floats, or arrays where it has several values."""

    value: Any
    low: Any
    high: Any


def interval(
    statistic: Callable[..., Any],
    *agents: Strata,
    seed: int = 0,
    replicates: int = REPLICATES,
    level: float = 0.95,
) -> Interval:
    """A statistic with its stratified percentile bootstrap interval.

    Args:
        statistic: of the strata of as many agents as are given.
        agents: strata of each, (n,) or (n, trainings); in every stratum all have the same
            specimens, and the same training has the same place in all strata of an agent.
        seed: of the draws; they depend on it and on the strata's shapes alone.
        replicates: how many draws.
        level: share of the replicates that lie inside.

    Raises:
        ValueError: no agent, no stratum, an empty one, sizes that differ, a score that
            is not finite, or a level outside (0, 1).
    """
    sizes = _sizes(agents)
    if not 0 < level < 1 or replicates < 1:
        raise ValueError(
            f"a level of {level} and {replicates} replicates; the one must lie between 0 and 1, "
            "the other be at least 1"
        )
    rng = np.random.default_rng(seed)
    chosen = [rng.integers(n, size=(replicates, n)) for n in sizes]
    draws = []
    for agent in agents:
        m = _trainings(agent)
        trained = None if m is None else rng.integers(m, size=(replicates, m))
        draws.append([_drawn(s, i, trained) for s, i in zip(agent, chosen, strict=True)])
    value = statistic(*(averaged(a) for a in agents))
    found = np.asarray(statistic(*draws), dtype=np.float64)
    tails = (50 * (1 - level), 50 * (1 + level))
    with warnings.catch_warnings():
        # Replicates in which the statistic says nothing are left out; it may say nothing in all.
        warnings.filterwarnings("ignore", "All-NaN")
        # No interpolation: a replicate may be infinite.
        low, high = np.nanpercentile(found, tails, axis=0, method="inverted_cdf")
    return Interval(value, low, high)


def _sizes(agents: Sequence[Strata]) -> list[int]:
    if not agents or not agents[0] or any(len(a) != len(agents[0]) for a in agents):
        raise ValueError("every agent must have the same strata, and at least one")
    sizes = [len(s) for s in agents[0]]
    if not all(sizes):
        raise ValueError(f"strata of {sizes} specimens; each must have at least one")
    for strata in agents:
        if [len(s) for s in strata] != sizes:
            raise ValueError(f"strata of {[len(s) for s in strata]} specimens beside {sizes}")
        if not all(np.isfinite(s).all() for s in strata):
            raise ValueError("scores must be finite numbers; leave out what is not applicable")
    return sizes


def averaged(strata: Strata) -> list[Floats]:
    """Scores (n,) of specimens: of an agent that was trained several times, the means."""
    arrays = [np.asarray(s, dtype=np.float64) for s in strata]
    return [s if s.ndim == 1 else s.mean(axis=1) for s in arrays]


def _trainings(strata: Strata) -> int | None:
    """How often an agent was trained; None of one that is not."""
    shapes = {np.shape(s)[1:] for s in strata}
    if len(shapes) != 1 or len(shape := shapes.pop()) > 1 or 0 in shape:
        raise ValueError("an agent was trained equally often in all strata, and at least once")
    return shape[0] if shape else None


def _drawn(scores: Floats, specimens: NDArray[Any], trained: NDArray[Any] | None) -> Floats:
    """Scores (replicates, n) of the specimens drawn, over the trainings (replicates, m) drawn."""
    of = np.asarray(scores, dtype=np.float64)
    if trained is None:
        return np.asarray(of[specimens])
    return np.asarray(of[specimens[..., None], trained[:, None, :]].mean(axis=-1))


def mean(strata: Strata) -> Any:
    """Over all specimens."""
    return np.concatenate(strata, axis=-1).mean(axis=-1)


def interquartile_mean(strata: Strata) -> Any:
    """The mean of the middle half of all scores, whatever their stratum."""
    return trim_mean(np.concatenate(strata, axis=-1), 0.25, axis=-1)


def median(strata: Strata) -> Any:
    """The median of the strata's means."""
    return np.median(np.stack([s.mean(axis=-1) for s in strata]), axis=0)


def optimality_gap(strata: Strata, gamma: float = 1.0) -> Any:
    """By how much scores fall short of ``gamma`` on the average."""
    return gamma - np.minimum(np.concatenate(strata, axis=-1), gamma).mean(axis=-1)


def profile(thresholds: Floats) -> Callable[[Strata], Any]:
    """The performance profile: the share of scores above each of the thresholds (t,)."""

    def shares(strata: Strata) -> Any:
        scores = np.concatenate(strata, axis=-1)
        return np.stack([(scores > t).mean(axis=-1) for t in thresholds], axis=-1)

    return shares


def probability_of_improvement(first: Strata, second: Strata) -> Any:
    """How often the first agent scores higher on the same specimen; ties count half.

    The mean over the strata, which count alike.
    """
    won = [
        (a > b).mean(axis=-1) + 0.5 * (a == b).mean(axis=-1)
        for a, b in zip(first, second, strict=True)
    ]
    return np.mean(np.stack(won), axis=0)


def difference(first: Strata, second: Strata) -> Any:
    """Of the interquartile means."""
    return interquartile_mean(first) - interquartile_mean(second)


def difference_of_means(first: Strata, second: Strata) -> Any:
    """Of all scores, whatever their stratum."""
    return mean(first) - mean(second)


def swap_test(
    statistic: Callable[[Strata, Strata], Any],
    first: Strata,
    second: Strata,
    seed: int = 0,
    swaps: int = SWAPS,
) -> float:
    """The p-value of a difference between two agents on the same specimens, two-sided.

    If both were alike, either's score on a specimen might as well be the other's.  So the
    scores of every pair are swapped or not, by chance, and the p-value is how often the
    difference is then at least as large as it is; what was measured counts as one of the
    draws (Phipson & Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39).

    Args:
        statistic: the difference; it changes its sign when the agents change places.
        first, second: strata of each; of trainings, their mean is swapped.
        seed: of the swaps.
        swaps: how often; the p-value is at least 1 / (swaps + 1).

    Raises:
        ValueError: as ``interval``, or no swap.
    """
    sizes = _sizes((first, second))
    first, second = averaged(first), averaged(second)
    if swaps < 1:
        raise ValueError(f"{swaps} swaps; there must be at least 1")
    rng = np.random.default_rng(seed)
    ones: list[Floats] = []
    others: list[Floats] = []
    for a, b, n in zip(first, second, sizes, strict=True):
        swapped = rng.integers(2, size=(swaps, n)).astype(bool)
        ones.append(np.where(swapped, b, a))
        others.append(np.where(swapped, a, b))
    measured = abs(float(statistic(first, second)))
    by_chance = np.abs(np.asarray(statistic(ones, others)))
    # The same difference, summed in another order, is as large.
    return float(((by_chance >= measured - ROUNDING).sum() + 1) / (swaps + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values of several tests, adjusted for there being several.

    Calling real what is then at most 0.05 is wrong about any of them in at most 5 % of all
    comparisons, however the tests depend on each other (Holm, Scand. J. Stat. 6 (1979) 65).
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return [float(v) for v in adjusted]


def position(agent: Strata, random: Strata, oracle: Strata) -> Any:
    """Where an agent stands from random (0) to oracle (1), by interquartile means.

    The mean over the strata in which the oracle is at least 0.02 above random; NaN where
    there is none.  It may exceed 1.
    """
    own, low, high = (
        np.stack([interquartile_mean([s]) for s in strata]) for strata in (agent, random, oracle)
    )
    span = high - low
    tells = span >= LEAST_SPAN
    share = np.divide(own - low, span, out=np.zeros_like(span), where=tells)
    count = tells.sum(axis=0)
    total = share.sum(axis=0)
    return np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)[()]


def charge_to(share: float = 0.5) -> Callable[[Strata, Strata], Any]:
    """The charge by which a share of the specimens have come to what was asked for.

    The statistic takes charges, and 1 where it was reached there and 0 where the run ended
    there without it (censored); infinite where too few of them reached it.
    """

    def quantile(charges: Strata, reached: Strata) -> Any:
        at, hit = (np.concatenate(s, axis=-1) for s in (charges, reached))
        # What is reached counts before what is censored at the same charge.
        order = np.lexsort((1 - hit, at), axis=-1)
        at, hit = (np.take_along_axis(a, order, axis=-1) for a in (at, hit))
        left = at.shape[-1] - np.arange(at.shape[-1])
        remaining = np.cumprod(1.0 - hit / left, axis=-1)
        there = remaining <= 1.0 - share + 1e-12
        first = np.take_along_axis(at, there.argmax(axis=-1)[..., None], axis=-1)[..., 0]
        return np.where(there.any(axis=-1), first, np.inf)[()]

    return quantile
