"""Bayesian optimisation on scikit-optimize."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from ..agent import Context, Needs
from .believer import LENGTH_STEPS, bounds
from .navigator import (
    PITCH,
    TIE,
    Bools,
    Candidates,
    Decision,
    Floats,
    Situation,
    inside_field,
    standardised,
)
from .seeding import Seeds

XI = 0.01
ACQUISITIONS = {  # by scikit-optimize's name: in words, and how curious it is by default
    "EI": ("expected improvement", XI),
    "PI": ("probability of improvement", XI),
    "LCB": ("upper confidence bound", 1.96),
    "gp_hedge": ("a hedge of these three", 1.96),
}
SURROGATES = {"GP": "Gaussian process", "RF": "random forest", "ET": "extra trees"}
STRATEGIES = ("cl_min", "cl_mean", "cl_max")


class SkoptBO:
    """Bayesian optimisation with what ``skopt.Optimizer`` has.

    scikit-optimize's are the surrogates, their fit inside ``tell``, the values of the
    acquisitions, the hedge's gains, and the lies: each is told, and the surrogate fitted
    to it, before the batch's next frame is asked for.  Ours are three things.  A new
    optimizer is made at each decision, because a perception that has learned more gives
    all earlier frames other targets; the hedge's gains and its latest proposals are
    handed on to it.  The acquisition is evaluated on every candidate, where skopt's
    ``ask`` draws samples of a continuum, so that no spot is taken twice and the belief
    can be shown; of equal candidates, which forests have many of, one is taken at
    random.  And the incumbent is the best posterior mean where something was measured,
    not the luckiest reading, since targets are noisy (Wang & de Freitas, arXiv
    1406.7758).

    skopt minimises, so it is told the negative target, standardised: ``LCB`` is an upper
    bound of the target, and ``cl_min`` lies that a frame of the batch was as good as the
    best so far.

    Args:
        seed_frames: frames taken before the first fit; None for what suits the
            field (``seed_frames_for``).
        exploration: ξ of ``EI`` and ``PI``, κ of ``LCB``, in standard deviations of the
            targets; None for 0.01 and 1.96, scikit-optimize's own.  Of ``gp_hedge`` it
            is κ, and ξ stays 0.01.
        acquisition: what is maximised, by scikit-optimize's names: ``EI``, ``PI``,
            ``LCB``, or ``gp_hedge``, which draws one of their three proposals, the
            likelier the better the earlier ones of its kind turned out (Hoffman, Brochu
            & de Freitas, UAI 2011).
        seeding: where they lie (``Seeds``).
        length_scale_nm: bounds of the kernel's length scale; None for 1 and 20 steps
            between candidates.  Only for ``GP``.
        noise: variance of the targets' noise, as a share of their own; None fits it.
            Only for ``GP``.
        surrogate: ``GP`` (Matérn 5/2), ``RF`` (random forest) or ``ET`` (extra trees).
        batch: frames of one decision; fewer where fewer are left.
        strategy: the constant liar's, for batches: ``cl_min``, ``cl_mean``, ``cl_max``
            (Ginsbourger, Le Riche & Carraro 2010).

    Raises:
        ValueError: what scikit-optimize or the surrogate does not have, or no such number.
    """

    name = "bo"
    privileged = False
    needs = Needs()

    def __init__(
        self,
        seed_frames: int | None = None,
        exploration: float | None = None,
        acquisition: str = "EI",
        seeding: str = "sobol",
        length_scale_nm: Sequence[float] | None = None,
        noise: float | None = None,
        surrogate: str = "GP",
        batch: int = 1,
        strategy: str = "cl_min",
    ) -> None:
        if acquisition not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS)
            raise ValueError(f"unknown acquisition {acquisition!r}; there are: {known}")
        if str(surrogate).upper() == "GBRT":
            raise ValueError(
                "surrogate GBRT: scikit-optimize's gradient boosting cannot be fitted with the "
                f"scikit-learn of today; take one of: {', '.join(SURROGATES)}"
            )
        if surrogate not in SURROGATES:
            known = ", ".join(SURROGATES)
            raise ValueError(f"unknown surrogate {surrogate!r}; there are: {known}")
        if noise is not None and not (is_number(noise) and 0 < noise < inf):
            raise ValueError(f"a noise of {noise!r}; it must be above 0 and finite, or left out")
        if surrogate != "GP" and not (noise is None and length_scale_nm is None):
            raise ValueError(
                f"surrogate {surrogate} has neither noise nor length_scale_nm; leave them out, or "
                "take GP"
            )
        if not (is_number(batch, Integral) and 1 <= batch < inf):
            raise ValueError(f"a batch of {batch!r} frames; it must be at least 1")
        if strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ValueError(f"unknown strategy {strategy!r}; there are: {known}")
        self.seeds = Seeds(seed_frames, seeding)
        self.acquisition, self.noise = acquisition, noise
        self.surrogate, self.batch, self.strategy = surrogate, int(batch), strategy
        self.length_scale_nm = None if length_scale_nm is None else bounds(length_scale_nm)
        self.steer(ACQUISITIONS[acquisition][1] if exploration is None else exploration)

    @property
    def settings(self) -> dict[str, Any]:
        by_steps = self.surrogate == "GP" and self.length_scale_nm is None
        return {
            "engine": "scikit-optimize",
            "surrogate": self.surrogate,
            "acquisition": self.acquisition,
            "exploration": self.exploration,
            "batch": self.batch,
            "strategy": self.strategy,
            "seed_frames": self.seeds.count,
            "seeding": self.seeds.seeding,
            "kernel": "Matern 5/2" if self.surrogate == "GP" else None,
            "length_steps": LENGTH_STEPS if by_steps else None,
            "length_scale_nm": self.length_scale_nm,
            "noise": self.noise,
            "pitch_frames": PITCH,
        }

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context = context
        self.candidates = Candidates.of(context)
        self.step_nm = PITCH * min(context.reference.fov_yx_nm)
        self.seeds.reset(context, self.candidates, rng)
        self.rng = rng
        self.hedge = Hedge()

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        seed = self.seeds.next(situation, free)
        if seed is not None:
            return seed
        centres = self.candidates.centres_yx_nm
        # skopt takes no point from beyond its space.
        known = situation.known & inside_field(self.context, situation.measured_yx_nm)
        count = min(self.batch, max(1, situation.left), int(free.sum()))
        standard = standardised(situation.targets[known])
        if standard is None:
            chosen = self.rng.choice(np.flatnonzero(free), count, replace=False)
            said = "all targets are equal so far" if known.any() else "no target is known so far"
            reason = f"{said}, so it goes anywhere new"
            return Decision.at(self.context, centres[chosen], reason)
        values, middle, scale = standard
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kernels at their bounds; duplicates of a person's
            optimizer = self._told(situation.measured_yx_nm[known], -values)
            pick = self._ask(optimizer, free)
            self.hedge = pick.hedge
            rest = self._lied(optimizer, free, pick, count - 1)
        mean, sigma = -pick.mean * scale + middle, pick.sigma * scale
        gain = np.where(free, pick.gain if pick.function == "PI" else pick.gain * scale, np.nan)
        if pick.function == "LCB":
            gain += middle
        words, at = ACQUISITIONS[pick.function][0], pick.index
        if pick.hopeless:
            reason = "no improvement is expected anywhere, so it goes where it knows least"
        else:
            highest = "the hedge drew {}, highest" if pick.hedge.gains else "{} is highest"
            best = -pick.incumbent * scale + middle
            reason = (
                f"{highest.format(words)} there (mean {mean[at]:.3g} ± {sigma[at]:.2g}, best mean "
                f"so far {best:.3g})"
            )
        if rest:  # one reason, true of each of its frames
            reason = (
                f"a batch of {1 + len(rest)} by constant liar ({self.strategy}): at first, {reason}"
            )
        maps = {
            "posterior mean": (mean, "target"),
            "uncertainty": (sigma, "target"),
            "acquisition": (gain, words),
        }
        return Decision.at(self.context, centres[[at, *rest]], reason, maps)

    def _told(self, measured_yx_nm: Floats, values: Floats) -> Any:
        """skopt's optimizer, fitted to what was measured; values are minimised."""
        from skopt import Optimizer
        from skopt.space import Real

        low = self.candidates.centres_yx_nm.min(axis=0)
        # A square space keeps nm alike along y and x, and with it one length scale.
        span = float(np.ptp(self.candidates.centres_yx_nm, axis=0).max()) or 1.0
        seed = int(self.rng.integers(2**31))
        optimizer = Optimizer(
            [Real(float(low[a]), float(low[a]) + span) for a in (0, 1)],
            base_estimator=self._gp(span, seed) if self.surrogate == "GP" else self.surrogate,
            n_initial_points=1,
            acq_func=self.acquisition,
            acq_optimizer="sampling",
            acq_optimizer_kwargs={"n_points": 1},  # we look at every candidate instead
            random_state=seed,
        )
        if self.hedge.gains:  # tell takes the new belief of the proposals off them
            optimizer.gains_ = np.array(self.hedge.gains)
            proposed = self.candidates.centres_yx_nm[list(self.hedge.proposals)]
            optimizer.next_xs_ = list(optimizer.space.transform(proposed.tolist()))
        inside = np.clip(measured_yx_nm, low, low + span)  # rounding
        optimizer.tell(inside.tolist(), values.tolist())
        return optimizer

    def _gp(self, span_nm: float, seed: int) -> Any:
        from skopt.learning import GaussianProcessRegressor
        from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern

        bounds_nm = self.length_scale_nm or tuple(n * self.step_nm for n in LENGTH_STEPS)
        least, most = (nm / span_nm for nm in bounds_nm)
        kernel = ConstantKernel(1.0, (0.01, 100.0)) * Matern(
            length_scale=float(np.sqrt(least * most)), length_scale_bounds=(least, most), nu=2.5
        )
        return GaussianProcessRegressor(
            kernel=kernel,
            normalize_y=True,
            noise="gaussian" if self.noise is None else self.noise,
            n_restarts_optimizer=1,
            random_state=seed,  # skopt seeds only estimators that it makes itself
        )

    def _ask(self, optimizer: Any, free: Bools) -> Pick:
        """The best free candidate by the surrogate that the optimizer has fitted last."""
        from skopt import acquisition

        model = optimizer.models[-1]
        points = optimizer.space.transform(self.candidates.centres_yx_nm.tolist())
        mean, sigma = model.predict(points, return_std=True)
        incumbent = float(model.predict(optimizer.space.transform(optimizer.Xi)).min())
        believed = SimpleNamespace(predict=lambda _, return_std: (mean, sigma))  # not anew for each
        xi = XI if self.acquisition == "gp_hedge" else self.exploration
        by = {
            "EI": lambda: acquisition.gaussian_ei(points, believed, incumbent, xi),
            "PI": lambda: acquisition.gaussian_pi(points, believed, incumbent, xi),
            "LCB": lambda: -acquisition.gaussian_lcb(points, believed, self.exploration),
        }
        functions = optimizer.cand_acq_funcs_
        gains = [np.asarray(by[f]()) for f in functions]
        hopeless = [
            f != "LCB" and g[free].max() <= 0.0 for f, g in zip(functions, gains, strict=True)
        ]
        chosen = [
            self._best(sigma if no else g, free) for g, no in zip(gains, hopeless, strict=True)
        ]
        hedge, k = Hedge(), 0
        if self.acquisition == "gp_hedge":
            hedge = Hedge(tuple(optimizer.gains_.tolist()), tuple(chosen))
            optimizer.next_xs_ = list(points[chosen])
            weights = np.exp(optimizer.eta * (optimizer.gains_ - optimizer.gains_.max()))
            k = int(self.rng.choice(len(functions), p=weights / weights.sum()))
        return Pick(
            chosen[k], functions[k], mean, sigma, gains[k], incumbent, bool(hopeless[k]), hedge
        )

    def _lied(self, optimizer: Any, free: Bools, first: Pick, count: int) -> list[int]:
        """The ``count`` candidates after the first, each chosen after a lie about the last."""
        left, last, rest = free.copy(), first.index, list[int]()
        for _ in range(count):
            left[last] = False
            told = optimizer.yi
            lies = {"cl_min": min(told), "cl_mean": np.mean(told), "cl_max": max(told)}
            place = self.candidates.centres_yx_nm[last].tolist()
            optimizer.tell(place, float(lies[self.strategy]))
            last = self._ask(optimizer, left).index
            rest.append(last)
        return rest

    def _best(self, values: Floats, free: Bools) -> int:
        there = np.flatnonzero(free)
        of = values[there]
        equal = there[of >= of.max() - TIE * np.ptp(of)]
        return int(equal[0] if len(equal) == 1 else self.rng.choice(equal))

    def steer(self, exploration: float) -> None:
        if not (is_number(exploration) and 0 <= exploration < inf):
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.exploration = exploration

    def save(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "seeds": self.seeds.save(),
            "exploration": self.exploration,
            "gains": list(self.hedge.gains),
            "proposals": list(self.hedge.proposals),
        }

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.seeds.restore(state["seeds"])
        self.exploration = float(state["exploration"])
        self.hedge = Hedge(tuple(state["gains"]), tuple(state["proposals"]))


@dataclass(frozen=True)
class Hedge:
    """What skopt's hedge carries from one decision to the next.

    Attributes:
        gains: of EI, LCB and PI, in skopt's order; the softmax of them is the
            probability of each.  Empty where nothing is hedged.
        proposals: the candidate that each has proposed last.
    """

    gains: tuple[float, ...] = ()
    proposals: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Pick:
    """One choice, and the belief behind it, in units of the values that skopt was told.

    Attributes:
        index: of the candidate.
        function: the acquisition that has chosen it.
        mean, sigma, gain: (n,) of the surrogate, and the acquisition, larger is better.
        incumbent: the least mean where something was measured.
        hopeless: the acquisition is 0 everywhere, so that sigma has chosen.
        hedge: for the next decision.
    """

    index: int
    function: str
    mean: Floats
    sigma: Floats
    gain: Floats
    incumbent: float
    hopeless: bool
    hedge: Hedge
