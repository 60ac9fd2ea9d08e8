"""Bayesian optimisation on scikit-optimize."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from ..agent import Context, Needs
from .navigator import PITCH, Candidates, Decision, Floats, Situation
from .seeding import Seeds

LENGTH_STEPS = (1.0, 20.0)  # bounds of the length scale in candidate steps, as the paper has them
ACQUISITIONS = {  # by scikit-optimize's name: in words, and how curious it is by default
    "EI": ("expected improvement", 0.01),
    "PI": ("probability of improvement", 0.01),
    "LCB": ("upper confidence bound", 1.96),
}


class SkoptGP:
    """A Gaussian process on the targets so far; expected improvement picks the next frame.

    A new ``skopt.Optimizer`` is made at each decision, because a perception that
    has learned more gives all earlier frames other targets.  It is told the
    negative target, since it minimises.  Its acquisition is evaluated on every
    candidate, so that no spot is taken twice and the belief can be shown.

    Args:
        seed_frames: frames taken before the first fit; None for what suits the
            field (``seed_frames_for``).
        exploration: ξ of ``EI`` and ``PI``, κ of ``LCB``, in standard deviations of the
            targets; None for 0.01 and 1.96, scikit-optimize's own.
        acquisition: what is maximised: ``EI``, ``PI`` or ``LCB``, by scikit-optimize's
            names; a lower bound of the negative target is an upper one of the target.
        seeding: where the seed frames lie: at the points of a scrambled ``sobol``
            sequence, snapped to candidates, at ``random`` ones, or as near as can be to
            the first ``corner`` or to the ``middle`` of the field.
        length_scale_nm: bounds of the kernel's length scale; None for 1 and 20 steps
            between candidates.
        noise: variance of the targets' noise, as a share of their own; None fits it.
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
    ) -> None:
        if acquisition not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS)
            raise ValueError(f"unknown acquisition {acquisition!r}; there are: {known}")
        if noise is not None and not (is_number(noise) and 0 < noise < inf):
            raise ValueError(f"a noise of {noise!r}; it must be above 0 and finite, or left out")
        self.seeds = Seeds(seed_frames, seeding)
        self.acquisition, self.noise = acquisition, noise
        self.length_scale_nm = None if length_scale_nm is None else _bounds(length_scale_nm)
        self.steer(ACQUISITIONS[acquisition][1] if exploration is None else exploration)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "engine": "scikit-optimize",
            "acquisition": self.acquisition,
            "exploration": self.exploration,
            "seed_frames": self.seeds.count,
            "seeding": self.seeds.seeding,
            "kernel": "Matern 5/2",
            "length_steps": LENGTH_STEPS if self.length_scale_nm is None else None,
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

    def decide(self, situation: Situation) -> Decision | None:
        measured, targets, known = situation.measured_yx_nm, situation.targets, situation.known
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        centres = self.candidates.centres_yx_nm
        seed = self.seeds.next(situation, free)
        if seed is not None:
            return seed
        if known.sum() < 2 or np.ptp(targets[known]) == 0:
            index = int(self.rng.choice(np.flatnonzero(free)))
            reason = "all targets are equal so far, so it goes anywhere new"
            return Decision.at(self.context, centres[index], reason)
        mean, sigma, gain, best = self._belief(measured[known], targets[known])
        gain = np.where(free, gain, np.nan)
        index = int(np.nanargmax(gain))
        if self.acquisition != "LCB" and gain[index] <= 0.0:
            index = int(np.where(free, sigma, -np.inf).argmax())
            reason = "no improvement is expected anywhere, so it goes where it knows least"
        else:
            reason = (
                f"{ACQUISITIONS[self.acquisition][0]} is highest there (mean {mean[index]:.3g} ± "
                f"{sigma[index]:.2g}, best mean so far {best:.3g})"
            )
        maps = {
            "posterior mean": (mean, "target"),
            "uncertainty": (sigma, "target"),
            "acquisition": (gain, ACQUISITIONS[self.acquisition][0]),
        }
        return Decision.at(self.context, centres[index], reason, maps)

    def _belief(
        self, measured_yx_nm: Floats, targets: Floats
    ) -> tuple[Floats, Floats, Floats, float]:
        """Mean, standard deviation and acquisition at the candidates; the incumbent."""
        from skopt import Optimizer, acquisition
        from skopt.learning import GaussianProcessRegressor
        from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
        from skopt.space import Real

        low = self.candidates.centres_yx_nm.min(axis=0)
        # A square space keeps nm alike along y and x, and with it one length scale.
        span = float(np.ptp(self.candidates.centres_yx_nm, axis=0).max()) or 1.0
        bounds_nm = self.length_scale_nm or tuple(n * self.step_nm for n in LENGTH_STEPS)
        least, most = (nm / span for nm in bounds_nm)
        kernel = ConstantKernel(1.0, (0.01, 100.0)) * Matern(
            length_scale=float(np.sqrt(least * most)), length_scale_bounds=(least, most), nu=2.5
        )
        seed = int(self.rng.integers(2**31))
        optimizer = Optimizer(
            [Real(float(low[a]), float(low[a]) + span) for a in (0, 1)],
            base_estimator=GaussianProcessRegressor(
                kernel=kernel,
                normalize_y=True,
                noise="gaussian" if self.noise is None else self.noise,
                n_restarts_optimizer=1,
                random_state=seed,  # skopt seeds only estimators that it makes itself
            ),
            n_initial_points=min(self.seeds.count, len(targets)),
            acq_func=self.acquisition,
            acq_optimizer="sampling",
            acq_optimizer_kwargs={"n_points": 1},
            random_state=seed,
        )
        scale = float(np.std(targets))
        inside = np.clip(measured_yx_nm, low, low + span)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # kernels at their bounds; duplicates of a person's
            optimizer.tell(inside.tolist(), (-targets / scale).tolist())
            model = optimizer.models[-1]
            points = optimizer.space.transform(self.candidates.centres_yx_nm.tolist())
            mean, sigma = model.predict(points, return_std=True)
            # Targets are noisy: the incumbent is the best posterior mean where
            # something was measured, not the luckiest reading (Wang & de Freitas,
            # arXiv 1406.7758).
            measured = optimizer.space.transform(inside.tolist())
            incumbent = float(model.predict(measured).min())
            if self.acquisition == "EI":
                gain = acquisition.gaussian_ei(points, model, incumbent, self.exploration) * scale
            elif self.acquisition == "PI":
                gain = acquisition.gaussian_pi(points, model, incumbent, self.exploration)
            else:
                gain = -acquisition.gaussian_lcb(points, model, self.exploration) * scale
        return -mean * scale, sigma * scale, np.asarray(gain), -incumbent * scale

    def steer(self, exploration: float) -> None:
        if not (is_number(exploration) and 0 <= exploration < inf):
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.exploration = exploration

    def save(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "seeds": self.seeds.save(),
            "exploration": self.exploration,
        }

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.seeds.restore(state["seeds"])
        self.exploration = float(state["exploration"])


def _bounds(length_scale_nm: Sequence[float]) -> tuple[float, float]:
    """The two bounds of a length scale; ValueError where they are none."""
    try:
        least, most = length_scale_nm
        sound = is_number(least) and is_number(most) and 0 < least < most < inf
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(
            f"length_scale_nm is {length_scale_nm!r}; it must be two lengths in nm above 0, the "
            "smaller one first"
        )
    return float(least), float(most)
