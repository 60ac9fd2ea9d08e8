"""Bayesian optimisation on scikit-optimize."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agent import Context
from .navigator import PITCH, Candidates, Decision, Floats

SEED_FRAMES, FEW_SEED_FRAMES = 5, 2
WIDE_FRAMES = 16  # reference frames side by side in a field of default size
LENGTH_STEPS = (1.0, 20.0)  # bounds of the length scale in candidate steps, as the paper has them


def seed_frames_for(context: Context) -> int:
    """How many frames a run starts from: 5, or 2 in a field too small to spend that many.

    Every id's default field and every recorded image hold 16 x 16 reference
    frames; the shipped abtem worlds are smaller, their whole raster some dozens.
    """
    field, frame = context.field_yx_nm, context.reference.fov_yx_nm
    across = min(f / side for f, side in zip(field, frame, strict=True))
    return SEED_FRAMES if across > WIDE_FRAMES * (1 - 1e-9) else FEW_SEED_FRAMES


class SkoptGP:
    """A Gaussian process on the targets so far; expected improvement picks the next frame.

    A new ``skopt.Optimizer`` is made at each decision, because a perception that
    has learned more gives all earlier frames other targets.  It is told the
    negative target, since it minimises.  Its acquisition is evaluated on every
    candidate, so that no spot is taken twice and the belief can be shown.

    The first frames are seeds: the points of a scrambled Sobol sequence, snapped
    to candidates.

    Args:
        seed_frames: frames taken before the first fit; None for what suits the
            field (``seed_frames_for``).
        exploration: ξ of the expected improvement, in standard deviations of
            the targets.
    """

    name = "bo"

    def __init__(self, seed_frames: int | None = None, exploration: float = 0.01) -> None:
        if seed_frames is not None and seed_frames < 2:
            raise ValueError(f"{seed_frames} seed frames; a fit needs at least 2")
        if not exploration >= 0:
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.chosen = seed_frames
        self.seed_frames = SEED_FRAMES if seed_frames is None else seed_frames
        self.exploration = exploration

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "engine": "scikit-optimize",
            "acquisition": "EI",
            "exploration": self.exploration,
            "seed_frames": self.seed_frames,
            "kernel": "Matern 5/2",
            "length_steps": LENGTH_STEPS,
            "pitch_frames": PITCH,
        }

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        from scipy.stats import qmc

        self.candidates = Candidates.of(context)
        if self.chosen is None:
            self.seed_frames = seed_frames_for(context)
        self.step_nm = PITCH * min(context.reference.fov_yx_nm)
        half = np.asarray(context.reference.half_range_yx_nm(context.field_yx_nm))
        sobol = qmc.Sobol(2, rng=rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a seed count that is no power of two is fine here
            points = sobol.random(4 * self.seed_frames)
        order = self.candidates.nearest((points * 2 - 1) * half)
        _, first = np.unique(order, return_index=True)
        self.seeds = [int(k) for k in order[np.sort(first)]]
        self.rng = rng

    def decide(
        self, measured_yx_nm: Floats, targets: Floats, allowed: NDArray[np.bool_]
    ) -> Decision | None:
        free = allowed.copy()
        if len(measured_yx_nm):
            free[self.candidates.nearest(measured_yx_nm)] = False
        if not free.any():
            return None
        if len(measured_yx_nm) < self.seed_frames:
            seeds = [k for k in self.seeds if free[k]] or list(np.flatnonzero(free))
            number = len(measured_yx_nm) + 1
            return Decision(int(seeds[0]), f"seed frame {number} of {self.seed_frames}", {})
        known = np.isfinite(targets)
        if known.sum() < 2 or np.ptp(targets[known]) == 0:
            index = int(self.rng.choice(np.flatnonzero(free)))
            return Decision(index, "all targets are equal so far, so it goes anywhere new", {})
        mean, sigma, gain, best = self._belief(measured_yx_nm[known], targets[known])
        gain = np.where(free, gain, np.nan)
        index = int(np.nanargmax(gain))
        if gain[index] <= 0.0:
            index = int(np.where(free, sigma, -np.inf).argmax())
            reason = "no improvement is expected anywhere, so it goes where it knows least"
        else:
            reason = (
                f"expected improvement is highest there (mean {mean[index]:.3g} ± "
                f"{sigma[index]:.2g}, best mean so far {best:.3g})"
            )
        maps = {
            "posterior mean": (mean, "target"),
            "uncertainty": (sigma, "target"),
            "acquisition": (gain, "expected improvement"),
        }
        return Decision(index, reason, maps)

    def _belief(
        self, measured_yx_nm: Floats, targets: Floats
    ) -> tuple[Floats, Floats, Floats, float]:
        """Mean, standard deviation, expected improvement at the candidates; the incumbent."""
        from skopt import Optimizer
        from skopt.acquisition import gaussian_ei
        from skopt.learning import GaussianProcessRegressor
        from skopt.learning.gaussian_process.kernels import ConstantKernel, Matern
        from skopt.space import Real

        low = self.candidates.centres_yx_nm.min(axis=0)
        # A square space keeps nm alike along y and x, and with it one length scale.
        span = float(np.ptp(self.candidates.centres_yx_nm, axis=0).max()) or 1.0
        step = self.step_nm / span
        least, most = (n * step for n in LENGTH_STEPS)
        kernel = ConstantKernel(1.0, (0.01, 100.0)) * Matern(
            length_scale=float(np.sqrt(least * most)), length_scale_bounds=(least, most), nu=2.5
        )
        seed = int(self.rng.integers(2**31))
        optimizer = Optimizer(
            [Real(float(low[a]), float(low[a]) + span) for a in (0, 1)],
            base_estimator=GaussianProcessRegressor(
                kernel=kernel,
                normalize_y=True,
                noise="gaussian",
                n_restarts_optimizer=1,
                random_state=seed,  # skopt seeds only estimators that it makes itself
            ),
            n_initial_points=min(self.seed_frames, len(targets)),
            acq_func="EI",
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
            gain = gaussian_ei(points, model, incumbent, xi=self.exploration)
        return -mean * scale, sigma * scale, np.asarray(gain) * scale, -incumbent * scale

    def steer(self, exploration: float) -> None:
        if not exploration >= 0:
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.exploration = exploration

    def save(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "seeds": self.seeds,
            "exploration": self.exploration,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.seeds = list(state["seeds"])
        self.exploration = float(state["exploration"])
