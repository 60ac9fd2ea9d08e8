"""Every agent by its name: the one table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from .agent import Agent
from .navigation.bayesian import SkoptGP
from .navigation.oracle import Oracle
from .navigation.scripted import Grid, Random, Raster
from .perception.linear import LinearPerception
from .workflow import Component, Navigated, Workflow


def _linear_bo(
    component: int | None = None,
    decomposition: str = "pca",
    seed_frames: int | None = None,
    exploration: float = 0.01,
) -> Agent:
    perception = LinearPerception(decomposition)
    if component is not None and component >= perception.n_components:
        raise ValueError(
            f"component {component}; linear-bo has components 0 to {perception.n_components - 1}"
        )
    return Workflow(
        perception, Component(component), SkoptGP(seed_frames, exploration), "linear-bo"
    )


@dataclass(frozen=True)
class Entry:
    """How an agent is made, and a line about it."""

    make: Callable[..., Agent]
    about: str
    options: tuple[str, ...] = ()


AGENTS: dict[str, Entry] = {
    "raster": Entry(lambda: Navigated(Raster()), "contiguous frames, row by row"),
    "grid": Entry(lambda: Navigated(Grid()), "a coarse grid over the whole field, spread first"),
    "random": Entry(lambda: Navigated(Random()), "random frames, none twice"),
    "oracle": Entry(
        lambda: Navigated(Oracle(), privileged=True),
        "knows the truth and plans by it; an upper bound, not a competitor",
    ),
    "linear-bo": Entry(
        _linear_bo,
        "Creange et al. 2022, linear: windowed FFT, linear components, GP expected improvement",
        ("component", "decomposition", "seed_frames", "exploration"),
    ),
}


def make_agent(name: str, **options: Any) -> Agent:
    """An agent by its name, or one's own as ``module:Class``.

    Modules are looked for where Python looks, and in the working folder.

    Raises:
        ValueError: an unknown name or option; the message lists the known ones.
    """
    if ":" in name:
        return _own(name, options)
    if name not in AGENTS:
        raise ValueError(
            f"unknown agent {name!r}; there are: {', '.join(AGENTS)}; or name a class of your own "
            "as module:Class"
        )
    entry = AGENTS[name]
    unknown = set(options) - set(entry.options)
    if unknown:
        known = ", ".join(entry.options) or "none"
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; it has: {known}")
    return entry.make(**options)


def _own(name: str, options: dict[str, Any]) -> Agent:
    """An agent of a class that somebody else wrote."""
    module, _, kind = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(import_module(module), kind)
    except Exception as error:  # whatever a module of somebody else's raises
        raise ValueError(f"no agent {name!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ValueError(f"{name!r} is no agent; it must be a class that extends stemscout.Agent")
    try:
        return found(**options)
    except Exception as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error
