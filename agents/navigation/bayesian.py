"""Bayesian optimisation: towards the greatest target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any

from ...envs.numbers import is_number
from .acquisition import ACQUISITIONS
from .believer import Believer
from .gp import Belief
from .navigator import Bools, Floats, Situation


class Bayesian(Believer):
    """The exact Gaussian process over all candidates, and an acquisition evaluated on each.

    Args:
        acquisition: what is maximised: ``EI`` and ``PI``, the expected and the probable
            improvement; ``UCB``, a bound that grows as GP-UCB's does; ``mean+sigma``;
            ``sigma`` alone; ``Thompson``, a sample of the process.
        exploration: ξ of ``EI`` and ``PI`` in standard deviations of the process, κ of
            ``mean+sigma``, a factor of ``UCB``; None for 0.01, 4 and 1.
        options: of every ``Believer``; ``Thompson`` has values of candidates alone, and no
            continuum.
    """

    name = "bo"

    def __init__(
        self, acquisition: str = "EI", exploration: float | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        if not isinstance(acquisition, str) or acquisition not in ACQUISITIONS:
            known = ", ".join(ACQUISITIONS)
            raise ValueError(f"unknown acquisition {acquisition!r}; there are: {known}")
        self.acquisition = acquisition
        self.of = ACQUISITIONS[acquisition]
        self.unit = self.of.words
        if self.continuum and self.of.value is None:
            raise ValueError(f"{acquisition} is sampled at candidates alone, and no continuum")
        self.steer(self.of.exploration if exploration is None else exploration)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "engine": "grid",
            "acquisition": self.acquisition,
            "exploration": self.exploration,
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

    def value_at(self, mean: Floats, sigma: Floats, belief: Belief) -> Floats:
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
