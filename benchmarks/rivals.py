"""Optimisers of others, as navigators: what a user would have reached for instead.

None is tuned, and none is a dependency but scikit-optimize: each is imported when it begins.
They see the same targets in the same order, and take one candidate at a time.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..agents.agent import Context, Needs
from ..agents.catalogue import NAVIGATORS, Entry, make, make_navigator
from ..agents.navigation.navigator import Bools, Candidates, Decision, Floats, Navigator, Situation
from ..agents.navigation.seeding import Seeds

RETRAINED = (10, 20, 50, 100, 200)  # observations after which gpCAM trains, by its own default


class Rival:
    """Gives an optimiser all that is new, and takes its choice among the free candidates."""

    name = "rival"
    package = ""  # by the name it is imported with
    privileged = False
    needs = Needs()
    settings: Mapping[str, Any] = {}

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        self.context, self.rng = context, rng
        self.candidates = Candidates.of(context)
        low, high = self.candidates.centres_yx_nm.min(axis=0), self.candidates.centres_yx_nm.max(0)
        self.unit = (self.candidates.centres_yx_nm - low) / (high - low)  # (n, 2), from 0 to 1
        self.told = 0
        self.begin()

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        taken = self.candidates.nearest(situation.measured_yx_nm)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of others' numerics
            index = self.choose(self.unit[taken], situation.targets, free, situation)
        centre = self.candidates.centres_yx_nm[index]
        return Decision.at(self.context, centre, f"{self.package or self.name} chose it")

    @abstractmethod
    def begin(self) -> None:
        """Import what is needed, and start over."""

    @abstractmethod
    def choose(self, points: Floats, targets: Floats, free: Bools, situation: Situation) -> int:
        """The index of a free candidate.

        Args:
            points: (k, 2) that were measured, from 0 to 1.
            targets: (k,) of them.
            free: (n,) of the candidates.
            situation: the same as it came.
        """

    def steer(self, exploration: float) -> None:
        raise ValueError(f"{self.name} is as its library makes it; it cannot be steered")

    def save(self) -> dict[str, Any]:
        raise ValueError(f"{self.name} cannot be saved in mid-run")

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        raise ValueError(f"{self.name} cannot go on from a saved run")


class SkoptDefault(Rival):
    """Plain ``skopt.Optimizer`` with its defaults, by ask and tell.

    It asks in its own continuous space; the free candidate nearest to what it asked for is taken.
    """

    name = "skopt-default"
    package = "skopt"

    def begin(self) -> None:
        from skopt import Optimizer

        seed = int(self.rng.integers(2**31))
        self.optimizer = Optimizer([(0.0, 1.0), (0.0, 1.0)], random_state=seed)

    def choose(self, points: Floats, targets: Floats, free: Bools, situation: Situation) -> int:
        new = slice(self.told, len(targets))
        if len(targets) > self.told:  # it minimises
            self.optimizer.tell(points[new].tolist(), (-targets[new]).tolist())
        self.told = len(targets)
        asked = np.asarray(self.optimizer.ask(), dtype=np.float64)
        away = np.hypot(*(self.unit - asked).T)
        return int(np.where(free, away, np.inf).argmin())


class Seeded(Rival):
    """One that begins with the seed frames of the house, for it cannot begin by itself."""

    def begin(self) -> None:
        self.seeds = Seeds()
        self.seeds.reset(self.context, self.candidates, self.rng)
        self.load()

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        return self.seeds.next(situation, free) or super().decide(situation)

    @abstractmethod
    def load(self) -> None:
        """Import what is needed."""


class BoTorch(Seeded):
    """BoTorch's ``SingleTaskGP``, fitted anew at each decision; log expected improvement.

    The acquisition is evaluated on every free candidate, and the greatest is taken.
    """

    name = "botorch"
    package = "botorch"
    CHUNK = 512  # candidates at once, which bounds the memory

    def load(self) -> None:
        import torch
        from botorch.acquisition import LogExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.set_num_threads(1)
        torch.manual_seed(int(self.rng.integers(2**31)))
        self.torch, self.model, self.likelihood = torch, SingleTaskGP, ExactMarginalLogLikelihood
        self.fit, self.improvement = fit_gpytorch_mll, LogExpectedImprovement

    def choose(self, points: Floats, targets: Floats, free: Bools, situation: Situation) -> int:
        torch = self.torch
        x, y = torch.from_numpy(points), torch.from_numpy(targets)[:, None]
        model = self.model(x, y)
        self.fit(self.likelihood(model.likelihood, model))
        gain = self.improvement(model, best_f=y.max())
        there = np.flatnonzero(free)
        with torch.no_grad():
            chunks = torch.from_numpy(self.unit[there])[:, None].split(self.CHUNK)
            values = torch.cat([gain(chunk) for chunk in chunks])
        return int(there[int(values.argmax())])


class GpCam(Seeded):
    """gpCAM's ``GPOptimizer``, by ask and tell, over a list of the free candidates.

    It trains where its own loop does, after 10, 20, 50, 100 and 200 observations, and when
    it begins; expected improvement is asked for.
    """

    name = "gpcam"
    package = "gpcam"
    CHUNK = 256  # candidates at once

    def load(self) -> None:
        import gpcam

        self.GPOptimizer = gpcam.GPOptimizer
        self.optimizer: Any = None
        self.seed = int(self.rng.integers(2**31))

    def choose(self, points: Floats, targets: Floats, free: Bools, situation: Situation) -> int:
        new = slice(self.told, len(targets))
        if self.optimizer is None:
            np.random.seed(self.seed)  # noqa: NPY002  fvgp draws from NumPy's global state
            self.optimizer = self.GPOptimizer(points, targets)
            self.optimizer.train()
        elif len(targets) > self.told:
            self.optimizer.tell(points[new], targets[new])
            if any(self.told < count <= len(targets) for count in RETRAINED):
                self.optimizer.train()
        self.told = len(targets)
        there = self.unit[free]
        # Of all candidates at once it would make the whole covariance matrix.
        chunks = np.array_split(there, -(-len(there) // self.CHUNK))
        best = [
            self.optimizer.ask(list(chunk), acquisition_function="expected improvement")
            for chunk in chunks
        ]
        # The values are those that it minimises.
        asked = min(best, key=lambda found: float(found["f_a(x)"][0]))
        away = np.hypot(*(self.unit - np.asarray(asked["x"]).reshape(-1)).T)
        return int(np.where(free, away, np.inf).argmin())


RIVALS: dict[str, Entry] = {
    "skopt-default": Entry.of(SkoptDefault, "scikit-optimize as it comes, ask and tell"),
    "botorch": Entry.of(BoTorch, "BoTorch: SingleTaskGP, log expected improvement on the grid"),
    "gpcam": Entry.of(GpCam, "gpCAM: GPOptimizer, expected improvement on the grid"),
}


def contestant(name: str, **options: Any) -> Navigator:
    """A navigator of the suite or a rival, by its name.

    Raises:
        ValueError: an unknown name or option; the message lists the known ones.
    """
    if name in RIVALS:
        rival: Navigator = make(name, RIVALS[name], options)
        return rival
    if name not in NAVIGATORS:
        known = ", ".join([*NAVIGATORS, *RIVALS])
        raise ValueError(f"unknown navigator {name!r}; there are: {known}")
    return make_navigator(name, **options)


def not_installed(name: str) -> bool:
    """Whether a rival's library is missing here."""
    return name in RIVALS and find_spec(RIVALS[name].make.package) is None  # type: ignore[attr-defined]
