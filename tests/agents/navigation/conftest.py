"""A small field, a bump in it, and navigators that are ready to begin."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.agent import Context
from stemscout.agents.navigation.navigator import Situation
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.hardware import Limits

FIELD = (12.0, 18.0)
REFERENCE = ReferenceFrame((1.5, 1.5), (32, 32), 10.0)
LIMITS = Limits(FIELD, (0.1, 20), (0.001, 20), (1, 500), (1, 100), ("haadf",))


@pytest.fixture(scope="session")
def context():
    """Makes contexts of a field of 12 x 18 nm: 15 x 23 candidates 0.75 nm apart."""

    def make(frames=30, **options):
        return Context(
            field_yx_nm=FIELD,
            reference=REFERENCE,
            limits=LIMITS,
            actions=PositionAction(FIELD, REFERENCE),
            full_scale={"haadf": (0.0, 1.0)},
            budget=0.4,
            frames=frames,
            **options,
        )

    return make


@pytest.fixture(scope="session")
def ready(context):
    """Resets a navigator, and gives it back."""

    def make(navigator, frames=30, seed=0, **options):
        navigator.reset(context(frames, **options), np.random.default_rng(seed))
        return navigator

    return make


@pytest.fixture(scope="session")
def situation():
    """Makes what a navigator decides upon."""

    def make(centres=(), targets=None, left=30, dose=None, **options):
        centres = np.asarray(centres, dtype=float).reshape(-1, 2)
        targets = np.full(len(centres), np.nan) if targets is None else np.asarray(targets)
        dose = np.ones(len(centres)) if dose is None else np.asarray(dose)
        return Situation(centres, targets, dose, left, **options)

    return make


@pytest.fixture(scope="session")
def measured():
    """Targets at random candidates: (centres, targets)."""

    def make(navigator, count, function, seed=0):
        rng = np.random.default_rng(seed)
        centres = navigator.candidates.centres_yx_nm
        chosen = centres[rng.choice(len(centres), count, replace=False)]
        return chosen, np.array([function(y, x) for y, x in chosen])

    return make


@pytest.fixture(scope="session")
def bump():
    """A smooth bump, 1 at (2, -4) nm."""
    return lambda y, x: np.exp(-((y - 2) ** 2 + (x + 4) ** 2) / 8)


@pytest.fixture(scope="session")
def run(situation):
    """Lets a navigator take some frames of a function; centres (n, 2) and targets (n,)."""

    def go(navigator, function, frames, centres=(), noise=0.0, seed=0, **options):
        centres = np.asarray(centres, dtype=float).reshape(-1, 2)
        rng = np.random.default_rng(seed)
        targets = np.array([function(*c) for c in centres])
        while len(centres) < frames:
            decision = navigator.decide(
                situation(centres, targets, frames - len(centres), **options)
            )
            if decision is None:
                break
            for request in decision.requests[: frames - len(centres)]:
                value = function(*request.centre_yx_nm) + noise * rng.normal()
                centres = np.vstack([centres, request.centre_yx_nm])
                targets = np.append(targets, value)
        return centres, targets

    return go
