"""Deep kernel learning: picture to embedding to Gaussian process.

Candidates are alike where they are near to each other, and where what is seen about them is
alike.  What counts as alike a small network learns, together with the kernel's parameters,
by the marginal likelihood of the targets so far (Wilson et al., *Deep Kernel Learning*,
AISTATS 2016; on microscopes Roccapriore, Kalinin & Ziatdinov, *Advanced Science* 9, 2022,
2203422).  It is trained online, a few steps for each decision, from where it was at the one
before.

The picture of a candidate is what the survey shows about it, where there is a survey;
without one, what the frames so far show about it, itself left out (``patches``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from ...envs.numbers import is_number
from ...hardware.microscope import State
from ..agent import Context
from .bayesian import Bayesian
from .gp import Belief, LatticeGP
from .kernels import squared_distances
from .likelihood import NOISE, Hyper
from .navigator import Floats, Situation, standardised
from .patches import of_frames, of_survey

EMBEDDING = 2
RATE = 0.01
FIRST_STEPS = 60


class DeepLatticeGP(LatticeGP):
    """A lattice's Gaussian process whose kernel is a sum: of positions, and of embeddings.

    ``hyper.drift`` is the embeddings' share of the variance.

    Args:
        kernel: of the positions; training knows ``matern52`` alone.
        length_scale_nm: bounds of the positions' length scale.
        noise: as of ``LatticeGP``.
        steps: of training for each update; the first has ``FIRST_STEPS``.
    """

    def __init__(
        self, kernel: str, length_scale_nm: tuple[float, float], noise: float | None, steps: int
    ) -> None:
        super().__init__(kernel, length_scale_nm, noise)
        self.steps = steps

    pictures: Floats  # (n, channels, rows, columns) of the candidates, set before an update

    def begin(self, channels: int, seed: int) -> None:
        """With a new network for pictures of so many channels."""
        import torch
        from torch import nn

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Conv2d(channels, 8, 3, padding=1),
                nn.ReLU(),
                nn.AvgPool2d(2),
                nn.Conv2d(8, 16, 3, padding=1),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(2),
                nn.Flatten(),
                nn.Linear(64, EMBEDDING),
            )
        self.hyper = replace(self.hyper, drift=0.5)

    def update(self, yx_nm: Floats, targets: Floats, dose: Floats) -> Belief:
        """As of ``LatticeGP``, trained a little further on what the pictures are now."""
        standard = standardised(targets)
        if standard is not None:
            self._train(yx_nm, standard[0], dose, self.candidates.nearest(yx_nm))
        self.covariates = self._embedded()
        self._forget()
        self._learn_all(yx_nm, dose)
        self._solve(targets)
        return self._belief(standard is not None)

    def _embedded(self) -> Floats:
        import torch

        with torch.no_grad():
            shown = torch.as_tensor(self.pictures, dtype=torch.float32)
            return np.asarray(self.network(shown).numpy(), dtype=np.float64)

    def _train(self, yx_nm: Floats, targets: Floats, dose: Floats, at: Any) -> None:
        """Some steps of Adam up the marginal likelihood."""
        import torch

        shown = torch.as_tensor(self.pictures[at], dtype=torch.float32)
        squared = torch.as_tensor(squared_distances(yx_nm, yx_nm))
        y, doses = torch.as_tensor(targets), torch.as_tensor(dose)
        low, high = np.log(self.length_scale_nm)
        start = [np.log(self.hyper.length_nm), np.log(self.hyper.noise)]
        start.append(np.log(self.hyper.drift / (1.0 - self.hyper.drift)))
        free = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([free, *self.network.parameters()], lr=RATE)
        count, ones = len(targets), torch.ones(len(targets), dtype=torch.float64)
        for _ in range(self.steps if self.fitted else FIRST_STEPS):
            length = torch.exp(free[0].clamp(low, high))
            noise = torch.exp(free[1].clamp(*np.log(NOISE)))
            if self.noise is not None:
                noise = torch.tensor(self.noise, dtype=torch.float64)
            share = torch.sigmoid(free[2].clamp(-4.0, 4.0))
            embedded = self.network(shown).double()
            apart = ((embedded[:, None] - embedded) ** 2).sum(dim=2)
            near = _matern52(squared, length)
            matrix = (1.0 - share) * near + share * torch.exp(-0.5 * apart)
            factor = torch.linalg.cholesky(matrix + torch.diag(noise / doses + 1e-8))
            both = torch.linalg.solve_triangular(factor, torch.stack([y, ones], dim=1), upper=False)
            solved, one = both[:, 0], both[:, 1]
            away = solved - (one @ solved) / (one @ one) * one
            scale = (away @ away) / count + 1e-12
            cost = 0.5 * count * torch.log(scale) + torch.log(torch.diagonal(factor)).sum()
            # The same weak priors on the kernel's parameters as without a network.
            middle = 0.5 * (low + high)
            cost = cost + 0.5 * (((free[0] - middle) / ((high - low) / 2)) ** 2)
            cost = cost + 0.5 * (((free[1] - np.log(0.03)) / 2.0) ** 2) + 0.125 * free[2] ** 2
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
        found = free.detach().numpy()
        noise_found = float(np.exp(np.clip(found[1], *np.log(NOISE))))
        self.hyper = Hyper(
            float(np.exp(np.clip(found[0], low, high))),
            noise_found if self.noise is None else self.noise,
            drift=float(1.0 / (1.0 + np.exp(-np.clip(found[2], -4.0, 4.0)))),
        )
        self.fitted = count

    def _correlate(self, a: Floats, a_cov: Floats, b: Floats, b_cov: Floats) -> Floats:
        near = self.kernel(squared_distances(a, b), self.hyper.length_nm)
        alike = np.exp(-0.5 * squared_distances(a_cov, b_cov))
        return np.asarray((1.0 - self.hyper.drift) * near + self.hyper.drift * alike)

    def _own(self, cov: Floats) -> Floats:
        return np.ones(len(cov))

    def save(self) -> dict[str, Any]:
        weights = {k: v.tolist() for k, v in self.network.state_dict().items()}
        return {**super().save(), "weights": weights}

    def restore(self, state: Mapping[str, Any]) -> None:
        import torch

        weights = {k: torch.tensor(v) for k, v in state["weights"].items()}
        self.network.load_state_dict(weights)
        super().restore(state)


def _matern52(squared: Any, length: Any) -> Any:
    import torch

    a = torch.sqrt(5.0 * squared + 1e-18) / length
    return (1.0 + a + a * a / 3.0) * torch.exp(-a)


class DeepBayesian(Bayesian):
    """Bayesian optimisation by deep kernel learning.

    Args:
        steps: of training for each decision.
        options: of ``Bayesian``, but for ``refit``, since it learns at every decision, and
            the kernel, which is Matérn 5/2 of positions and the network's; ``Thompson`` has
            no samples of it.
    """

    def __init__(self, steps: int = 10, **options: Any) -> None:
        if "refit" in options:
            raise ValueError("refit: a deep kernel learns at every decision; leave it out")
        super().__init__(**options)
        if not (is_number(steps, Integral) and steps >= 1):
            raise ValueError(f"steps is {steps!r}; it must be an integer, at least 1")
        if self.kernel != "matern52":
            raise ValueError(f"kernel {self.kernel!r}; a deep kernel's positions have matern52")
        if self.of.value is None:
            raise ValueError("a deep kernel has no samples; take another acquisition than Thompson")
        self.steps = steps

    @property
    def settings(self) -> dict[str, Any]:
        return {**super().settings, "engine": "deep", "steps": self.steps, "refit": None}

    def model(self) -> DeepLatticeGP:
        return DeepLatticeGP(self.kernel, self.lengths_nm, self.noise, self.steps)

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        super().reset(context, rng)
        channels = 3 if self.shown is None else 1
        assert isinstance(self.gp, DeepLatticeGP)
        self.gp.begin(channels, int(rng.integers(2**31)))

    def look(self, now: State | None) -> None:
        """The survey is seen as pictures, and by nothing else."""
        self.shown = of_survey(self.context, self.candidates, now) if self.survey else None

    def pursued(self, situation: Situation) -> Floats:
        """The targets; the model sees the pictures besides."""
        assert isinstance(self.gp, DeepLatticeGP)
        if self.shown is not None:
            self.gp.pictures = self.shown
        else:
            self.gp.pictures = of_frames(self.context, self.candidates, situation.frames)
        return super().pursued(situation)
