"""Every agent by its name: the one table.

A navigator alone goes by its own name, ``grid``; with a perception it is
``<perception>-<navigator>``, any of the one with any of the other: ``linear-bo``,
``true-grid``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import Any

from .agent import Agent
from .navigation.navigator import Navigator
from .navigation.oracle import Oracle
from .navigation.scripted import Grid, Random, Raster
from .navigation.skopt_engine import SkoptGP
from .perception.linear import LinearPerception
from .perception.perception import Perception
from .perception.true import TruePerception
from .workflow import Component, Finder, Navigated, Workflow


@dataclass(frozen=True)
class Entry:
    """How an agent, or a part of one, is made, and a line about it."""

    make: Callable[..., Any]
    about: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: Callable[..., Any], about: str) -> Entry:
        """Its options are the arguments it is made with."""
        return cls(kind, about, tuple(signature(kind).parameters))


PERCEPTIONS: dict[str, Entry] = {
    "linear": Entry.of(LinearPerception, "windowed FFT, linear components"),
    "true": Entry.of(TruePerception, "told what a frame shows"),
}
NAVIGATORS: dict[str, Entry] = {
    "raster": Entry.of(Raster, "contiguous frames, row by row"),
    "grid": Entry.of(Grid, "a coarse grid over the whole field, spread first"),
    "random": Entry.of(Random, "random frames, none twice"),
    "oracle": Entry.of(Oracle, "knows the truth and plans by it; an upper bound, not a competitor"),
    "bo": Entry.of(SkoptGP, "Gaussian process, expected improvement (scikit-optimize)"),
}
NEEDS_TARGET = ("bo",)  # navigators that are nothing without a perception
ABOUT = {
    "linear-bo": "Creange et al. 2022, linear: windowed FFT, linear components, GP expected "
    "improvement",
    "true-bo": "told what a frame shows; GP expected improvement: the bound of linear-bo",
}


def _workflow(perception: str, navigator: str) -> Entry:
    """A perception, a component of what it says, and a navigator after it."""
    sees, goes = PERCEPTIONS[perception], NAVIGATORS[navigator]
    name = f"{perception}-{navigator}"

    def make(component: int | None = None, **options: Any) -> Agent:
        saw: Perception = sees.make(**{k: v for k, v in options.items() if k in sees.options})
        went: Navigator = goes.make(**{k: v for k, v in options.items() if k in goes.options})
        most = getattr(saw, "n_components", None)
        if component is not None and most is not None and component >= most:
            raise ValueError(f"component {component}; {name} has components 0 to {most - 1}")
        kind = Finder if hasattr(saw, "findings") else Workflow
        return kind(saw, Component(component), went, name)

    about = ABOUT.get(name, f"{sees.about}; then as {navigator}")
    return Entry(make, about, ("component", *sees.options, *goes.options))


def _navigated(navigator: str) -> Entry:
    goes = NAVIGATORS[navigator]
    return Entry(lambda **options: Navigated(goes.make(**options)), goes.about, goes.options)


AGENTS: dict[str, Entry] = {n: _navigated(n) for n in NAVIGATORS if n not in NEEDS_TARGET} | {
    f"{p}-{n}": _workflow(p, n) for p in PERCEPTIONS for n in NAVIGATORS
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
    agent: Agent = make(name, AGENTS[name], options)
    return agent


def make_navigator(name: str, **options: Any) -> Navigator:
    """A navigator alone, by its name, as those who give it targets themselves need it.

    Raises:
        ValueError: an unknown name or option; the message lists the known ones.
    """
    if name not in NAVIGATORS:
        raise ValueError(f"unknown navigator {name!r}; there are: {', '.join(NAVIGATORS)}")
    navigator: Navigator = make(name, NAVIGATORS[name], options)
    return navigator


def make(name: str, entry: Entry, options: Mapping[str, Any]) -> Any:
    """What an entry of a table stands for; ValueError where an option is unknown or wrong."""
    unknown = set(options) - set(entry.options)
    if unknown:
        known = ", ".join(entry.options) or "none"
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; it has: {known}")
    try:
        return entry.make(**options)
    except TypeError as error:  # an option of the wrong kind
        raise ValueError(f"{name}: {error}") from error


def _own(name: str, options: dict[str, Any]) -> Agent:
    """An agent of a class that somebody else wrote."""
    module, _, kind = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        found = getattr(import_module(module), kind)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        raise ValueError(f"no agent {name!r}: {type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ValueError(f"{name!r} is no agent; it must be a class that extends stemscout.Agent")
    try:
        return found(**options)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error
