"""Bayesian optimisation: towards the greatest target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from .acquisition import ACQUISITIONS
from .believer import Believer
from .gp import Belief
from .kernels import squared_distances
from .navigator import Bools, Candidates, Floats, Situation, greatest

FINER = 4  # points to either side of a candidate, where its neighbourhood is searched
ZOOMS = 3


class Bayesian(Believer):
    """The exact Gaussian process over all candidates, and an acquisition evaluated on each.

    Args:
        acquisition: what is maximised: ``EI`` and ``PI``, the expected and the probable
            improvement; ``UCB``, a bound that grows as GP-UCB's does; ``mean+sigma``;
            ``sigma`` alone; ``Thompson``, a sample of the process.
        exploration: ξ of ``EI`` and ``PI`` in standard deviations of the process, κ of
            ``mean+sigma``, a factor of ``UCB``; None for 0.01, 4 and 1.
        continuum: frames may lie anywhere, not on candidates alone: near the best one the
            value is maximised on ever finer lattices.  ``Thompson`` has values of candidates
            alone.
        options: of every ``Believer``.
    """

    name = "bo"

    def __init__(
        self,
        acquisition: str = "EI",
        exploration: float | None = None,
        continuum: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if not isinstance(acquisition, str) or acquisition not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS)
            raise ValueError(f"unknown acquisition {acquisition!r}; there are: {known}")
        self.acquisition = acquisition
        self.of = ACQUISITIONS[acquisition]
        self.unit = self.of.words
        if not isinstance(continuum, bool):
            raise ValueError(f"continuum is {continuum!r}; it must be true or false")
        self.continuum = continuum
        if continuum and self.of.value is None:
            raise ValueError(f"{acquisition} is sampled at candidates alone, and no continuum")
        self.steer(self.of.exploration if exploration is None else exploration)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "engine": "grid",
            "acquisition": self.acquisition,
            "exploration": self.exploration,
            "continuum": self.continuum,
            **super().settings,
        }

    def value(self, belief: Belief, free: Bools, situation: Situation) -> Floats:
        self.hopeless = False
        if self.of.value is None:
            return self.gp.sample(self.rng)
        values = self.of.value(belief, self.exploration)
        if self.of.gain and float(values[free].max()) <= 0.0:
            self.hopeless = True
            return belief.sigma
        return values

    def placed(self, chosen: Sequence[int], belief: Belief, situation: Situation) -> Floats:
        """As of every ``Believer``, or about the candidates where values are greatest."""
        centres = super().placed(chosen, belief, situation)
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
            values = self._value_at(mean, sigma, belief)
            if not free.any():
                return np.asarray(best)
            best = points[greatest(values, free)]
            width /= FINER
        return np.asarray(best)

    def _value_at(self, mean: Floats, sigma: Floats, belief: Belief) -> Floats:
        """Of points between candidates (m,)."""
        if self.of.value is None or self.hopeless:
            return sigma
        return self.of.value(replace(belief, mean=mean, sigma=sigma), self.exploration)

    def why(self, index: int, belief: Belief, values: Floats) -> str:
        if self.hopeless:
            return "no improvement is expected anywhere, so it goes where it knows least"
        told = f"mean {belief.mean[index]:.3g} ± {belief.sigma[index]:.2g}"
        if self.of.value is None:
            return f"{self.of.words} has its greatest value there, {values[index]:.3g} ({told})"
        return f"{self.of.words} is highest there ({told}, best mean so far {belief.best:.3g})"

    def steer(self, exploration: float) -> None:
        if not (is_number(exploration) and 0 <= exploration < inf):
            raise ValueError(f"an exploration of {exploration}; it must be at least 0")
        self.exploration = float(exploration)

    def save(self) -> dict[str, Any]:
        return {**super().save(), "exploration": self.exploration}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        super().restore(state, situation)
        self.exploration = float(state["exploration"])
