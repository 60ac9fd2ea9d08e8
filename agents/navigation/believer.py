"""What navigators share that believe in a Gaussian process: seeds, belief, choice, maps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from numbers import Integral
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from ...hardware.coordinates import origin_in_scan
from ...hardware.microscope import State
from ..agent import Context, Needs
from .batches import SPREADS, spread
from .gp import REFIT, Belief, LatticeGP
from .kernels import KERNELS, squared_distances
from .likelihood import NOISE
from .navigator import PITCH, Bools, Candidates, Decision, Floats, Situation, greatest
from .seeding import Seeds
from .survey import covariates

LENGTH_STEPS = (1.0, 20.0)  # bounds of the length scale in candidate steps, as the paper has them
SECOND = {"charge": "", "time": ", above the least, per s"}  # what a value is priced by
FINER = 4  # points to either side of a candidate, where its neighbourhood is searched
ZOOMS = 3


class Believer(ABC):
    """Seed frames first, then the most valuable candidate by what a Gaussian process believes.

    Args:
        seed_frames: frames taken before the first belief; None for what suits the field
            (``seed_frames_for``).
        seeding: where they lie: ``sobol``, ``random``, ``corner``, ``middle`` or ``survey``
            (``Seeds``).
        kernel: of the process: ``rbf``, ``matern32``, ``matern52`` or ``rational-quadratic``.
        length_scale_nm: bounds of its length; None for 1 and 20 steps between candidates.
        noise: variance of the noise of a reference frame's target, in variances of the
            process; None fits it.  That of a frame of another dose is inverse to the dose.
        refit: frames between fits of the hyper-parameters.
        survey: let the field follow the survey's brightness and texture, as far as it is
            found to; where there is no survey it does nothing.
        batch: frames asked for at once.
        spread: how those of a batch are kept apart: ``penalty`` or ``distance`` (``batches``).
        per: value is divided by what a frame costs: ``charge``, which is the same for all
            reference frames, or ``time``, the way there included.
        continuum: frames may lie anywhere, not on candidates alone: about the best one its
            value is maximised on ever finer lattices.

    Raises:
        ValueError: no such name or number.
    """

    name = "believer"
    privileged = False
    needs = Needs()
    unit = "value"
    pursues = "target"
    candidates: Candidates

    def __init__(
        self,
        seed_frames: int | None = None,
        seeding: str = "sobol",
        kernel: str = "matern52",
        length_scale_nm: Sequence[float] | None = None,
        noise: float | None = None,
        refit: int = REFIT,
        survey: bool = True,
        batch: int = 1,
        spread: str = "penalty",
        per: str = "charge",
        continuum: bool = False,
    ) -> None:
        for what, value, known in (
            ("kernel", kernel, tuple(KERNELS)),
            ("spread", spread, SPREADS),
            ("per", per, tuple(SECOND)),
        ):
            if value not in known:
                raise ValueError(f"unknown {what} {value!r}; there are: {', '.join(known)}")
        for what, count in (("refit", refit), ("batch", batch)):
            if not (is_number(count, Integral) and count >= 1):
                raise ValueError(f"{what} is {count!r}; it must be an integer, at least 1")
        for what, wish in (("survey", survey), ("continuum", continuum)):
            if not isinstance(wish, bool):
                raise ValueError(f"{what} is {wish!r}; it must be true or false")
        if noise is not None and not (is_number(noise) and NOISE[0] <= noise < inf):
            raise ValueError(
                f"a noise of {noise!r}; it must be at least {NOISE[0]:g} and finite, or left out"
            )
        self.seeds = Seeds(seed_frames, seeding)
        self.kernel, self.noise, self.refit, self.survey = kernel, noise, refit, survey
        self.length_scale_nm = None if length_scale_nm is None else bounds(length_scale_nm)
        self.batch, self.spread, self.per, self.continuum = batch, spread, per, continuum

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "seed_frames": self.seeds.count,
            "seeding": self.seeds.seeding,
            "kernel": self.kernel,
            "length_steps": LENGTH_STEPS if self.length_scale_nm is None else None,
            "length_scale_nm": self.length_scale_nm,
            "noise": self.noise,
            "refit": self.refit,
            "survey": self.survey,
            "batch": self.batch,
            "spread": self.spread,
            "per": self.per,
            "continuum": self.continuum,
            "pitch_frames": PITCH,
        }

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context, self.rng = context, rng
        self.candidates = Candidates.of(context)
        self.seeds.reset(context, self.candidates, rng)
        self.step_nm = PITCH * min(context.reference.fov_yx_nm)
        self.gp = self.model()
        self.gp.reset(self.candidates, self.look(None))
        self.looked = None if context.survey is None else origin_in_scan(context.survey.state)

    def look(self, now: State | None) -> Floats | None:
        """What a survey shows of the candidates (n, p), by the state of the instrument."""
        return covariates(self.context, self.candidates, now) if self.survey else None

    def _follow(self, now: State | None) -> None:
        """The survey lies elsewhere under the candidates once the stage has moved."""
        if now is None or self.context.survey is None:
            return
        if origin_in_scan(now) != self.looked:
            self.looked = origin_in_scan(now)
            self.gp.look(self.look(now))

    def model(self) -> LatticeGP:
        """What believes."""
        return LatticeGP(self.kernel, self.lengths_nm, self.noise, self.refit)

    @property
    def lengths_nm(self) -> tuple[float, float]:
        """Bounds of the length scale."""
        least, most = (self.step_nm * n for n in LENGTH_STEPS)
        return self.length_scale_nm or (least, most)

    def pursued(self, situation: Situation) -> Floats:
        """What the Gaussian process is told (k,); NaN where there is nothing to tell."""
        return np.where(situation.known, situation.targets, np.nan)

    @abstractmethod
    def value(self, belief: Belief, free: Bools, situation: Situation) -> Floats:
        """Of the candidates (n,), the greatest being the best; what is not free counts not."""

    @abstractmethod
    def why(self, index: int, belief: Belief, values: Floats) -> str:
        """One plain sentence, without its subject, for the choice of a candidate."""

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        seed = self.seeds.next(situation, free)
        if seed is not None:
            return seed
        self._follow(situation.state)
        pursued = self.pursued(situation)
        known = np.isfinite(pursued)
        if known.sum() < 2:
            return self._unguided(situation, free)
        belief = self.gp.update(
            situation.measured_yx_nm[known], pursued[known], situation.dose[known]
        )
        tells = belief.scale > 0.0  # else all targets are equal
        values = self.value(belief, free, situation) if tells else belief.relative
        priced = self._priced(values, free, situation)
        wanted = min(self.batch, max(1, situation.left))
        chosen = spread(priced, free, wanted, self.spread, self.candidates, belief)
        if tells:
            reason = self.why(chosen[0], belief, values)
        else:
            reason = "all targets are equal so far, so it goes where it knows least"
        if len(chosen) > 1:
            reason += f"; one of {len(chosen)} at once"
        centres = self._placed(chosen, belief, situation)
        maps = {
            "posterior mean": (belief.mean, self.pursues),
            "uncertainty": (belief.sigma, self.pursues),
            "acquisition": (
                np.where(free, priced, np.nan),
                (self.unit if tells else "uncertainty") + SECOND[self.per],
            ),
        }
        return Decision.at(self.context, centres, reason, maps)

    def _unguided(self, situation: Situation, free: Bools) -> Decision:
        """No belief without targets: as far as can be from all that was measured."""
        centres = self.candidates.centres_yx_nm
        away = np.full(len(centres), inf)
        for point in situation.measured_yx_nm:
            away = np.minimum(away, np.hypot(*(centres - point).T))
        reason = "no targets are known yet, so it goes where nothing was measured"
        return Decision.at(self.context, centres[greatest(away, free)], reason)

    def _priced(self, values: Floats, free: Bools, situation: Situation) -> Floats:
        """Value for what it costs; values are taken from the least of the free ones."""
        if self.per == "charge":
            return values
        centres, measured = self.candidates.centres_yx_nm, situation.measured_yx_nm
        at = measured[-1] if len(measured) else np.zeros(2)
        reference = self.context.reference
        seconds = self.context.costs.time_s_of(
            reference.shape_yx, reference.dwell_us, np.hypot(*(centres - at).T)
        )
        return np.asarray((values - values[free].min()) / seconds)

    def _placed(self, chosen: Sequence[int], belief: Belief, situation: Situation) -> Floats:
        """Where the frames (q, 2) lie that were chosen: on their candidates, or about them."""
        centres = self.candidates.centres_yx_nm[chosen]
        if self.continuum and belief.scale > 0.0:
            taken = situation.measured_yx_nm
            for n, k in enumerate(chosen):
                centres[n] = self._refined(k, belief, situation, taken)
                taken = np.vstack([taken, centres[n]])
        return centres

    def _refined(self, index: int, belief: Belief, situation: Situation, taken: Floats) -> Floats:
        """The most valuable point about a candidate that is allowed and inside the field.

        It is nearer to this candidate than to any other, and half a step at least from what
        was taken, so that nothing is taken twice here either.
        """
        best = self.candidates.centres_yx_nm[index]
        half = np.asarray(self.context.reference.half_range_yx_nm(self.context.field_yx_nm))
        width = self.step_nm / 2
        for _ in range(ZOOMS):
            side = np.linspace(-width, width, 2 * FINER + 1)
            around = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
            points = np.clip(best + around, -half, half)
            points = np.vstack([best, points])  # the candidate itself wins ties
            free = Candidates(points, (len(points), 1)).allowed(self.context, situation)
            free &= self.candidates.nearest(points) == index
            if len(taken):
                away = np.sqrt(squared_distances(points, taken).min(axis=1))
                free &= away >= self.step_nm / 2 - 1e-9
            mean, sigma = self.gp.at(points)
            values = self.value_at(mean, sigma, belief)
            if not free.any():
                return np.asarray(best)
            best = points[greatest(values, free)]
            width /= FINER
        return np.asarray(best)

    @abstractmethod
    def value_at(self, mean: Floats, sigma: Floats, belief: Belief) -> Floats:
        """Of points about a candidate (m,), where the field is believed to be mean ± sigma."""

    def steer(self, exploration: float) -> None:
        raise ValueError(f"{self.name} has no curiosity to set")

    def save(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "seeds": self.seeds.save(),
            "gp": self.gp.save(),
        }

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.seeds.restore(state["seeds"])
        self.gp.restore(state["gp"])


def bounds(length_scale_nm: Sequence[float]) -> tuple[float, float]:
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
