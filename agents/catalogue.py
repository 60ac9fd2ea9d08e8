"""Every agent by its name: the one table.

A navigator alone goes by its own name, ``grid``, and one that looks has a perception
that it goes with then: ``lawnmower``.  With another it is ``<perception>-<navigator>``, any
of the one with any of the other: ``linear-bo``, ``true-grid``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from .agent import Agent
from .named import named
from .navigation.adaptive import Lawnmower, Operator
from .navigation.bayesian import Bayesian
from .navigation.deep import DeepBayesian
from .navigation.navigator import Navigator
from .navigation.oracle import Oracle
from .navigation.paper import Paper
from .navigation.scripted import (
    Grid,
    Hierarchical,
    LatinHypercube,
    Random,
    Raster,
    Sobol,
    Spiral,
)
from .navigation.search import NonmyopicSearch, Novelty, Search
from .navigation.skopt_engine import SkoptBO
from .perception.contrast import ContrastPerception
from .perception.dcnn.perception import DcnnPerception
from .perception.dcnn_rvae import DcnnRvaePerception
from .perception.linear import LinearPerception
from .perception.perception import Perception
from .perception.rvae import RvaePerception
from .perception.true import TruePerception
from .scalarizers import scalarizer_of
from .workflow import Finder, Navigated, Workflow


@dataclass(frozen=True)
class Entry:
    """How an agent, or a part of one, is made, and a line about it."""

    make: Callable[..., Any]
    about: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, kind: type[Any], about: str) -> Entry:
        """Its options are the arguments it is made with."""
        return cls(kind, about, options_of(kind))


def options_of(kind: type[Any]) -> tuple[str, ...]:
    """The arguments that a class is made with; those passed on to a base are the base's."""
    names: dict[str, None] = {}
    for base in kind.__mro__[:-1]:  # object takes none
        if "__init__" not in vars(base):
            continue
        taken = list(signature(vars(base)["__init__"]).parameters.values())[1:]
        names |= dict.fromkeys(p.name for p in taken if p.kind is not p.VAR_KEYWORD)
        if not any(p.kind is p.VAR_KEYWORD for p in taken):
            break
    return tuple(names)


ENGINES: dict[str, type[Any]] = {"grid": Bayesian, "skopt": SkoptBO, "deep": DeepBayesian}


def bayesian(engine: str = "grid", **options: Any) -> Navigator:
    """Bayesian optimisation by an engine: ``grid``, the exact one, ``skopt`` or ``deep``."""
    if not isinstance(engine, str) or engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r}; there are: {', '.join(ENGINES)}")
    known = options_of(ENGINES[engine])
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"engine {engine!r} has no option {', '.join(unknown)}; it has: {', '.join(known)}"
        )
    made: Navigator = ENGINES[engine](**options)
    return made


PERCEPTIONS: dict[str, Entry] = {
    "linear": Entry.of(LinearPerception, "windowed FFT, linear components"),
    "rvae": Entry.of(RvaePerception, "windowed FFT, latents of a rotationally invariant VAE"),
    "dcnn": Entry.of(DcnnPerception, "what a segmentation network finds, counted"),
    "dcnn-rvae": Entry.of(
        DcnnRvaePerception, "columns found by a network, latents of their surroundings"
    ),
    "contrast": Entry.of(ContrastPerception, "brightness and contrast, and how odd they are"),
    "true": Entry.of(TruePerception, "told what a frame shows"),
}
NAVIGATORS: dict[str, Entry] = {
    "raster": Entry.of(Raster, "contiguous frames, row by row"),
    "grid": Entry.of(Grid, "a coarse grid over the whole field, spread first"),
    "random": Entry.of(Random, "random frames, none twice"),
    "sobol": Entry.of(Sobol, "a scrambled Sobol sequence: spread, and in step with nothing"),
    "latin": Entry.of(LatinHypercube, "a Latin hypercube: even along either axis"),
    "spiral": Entry.of(Spiral, "outwards from the middle, as far apart as the budget demands"),
    "hierarchical": Entry.of(Hierarchical, "coarse to fine: each level halves the pitch"),
    "lawnmower": Entry.of(Lawnmower, "lines to and fro; follows up what stands out"),
    "operator": Entry.of(Operator, "surveys, thresholds and zooms, as a person would"),
    "oracle": Entry.of(Oracle, "knows the truth and plans by it; an upper bound, not a competitor"),
    "bo": Entry(
        bayesian,
        "Bayesian optimisation: exact Gaussian process, expected improvement",
        tuple(dict.fromkeys(["engine", *(o for e in ENGINES.values() for o in options_of(e))])),
    ),
    "search": Entry.of(Search, "active search: where something new is likeliest"),
    "ens": Entry.of(NonmyopicSearch, "active search that minds the rest of the budget"),
    "novelty": Entry.of(Novelty, "hunts for distinct kinds, where descriptors are least known"),
    "paper": Entry.of(
        Paper, "Creange et al. 2022: batches of ten by the probability of improvement"
    ),
}
# Navigators that go by what frames show, and the perception that is meant by their own name.
LOOKS_WITH: dict[str, str | None] = {
    "lawnmower": "contrast",
    "operator": "contrast",
    "bo": None,
    "search": None,
    "ens": None,
    "novelty": None,
    "paper": None,
}
SB3 = "sb3:"  # before the path of a model that Stable-Baselines3 saved
ABOUT = {
    "linear-bo": "Creange et al. 2022, linear: windowed FFT, linear components, GP expected "
    "improvement",
    "linear-paper": "Creange et al. 2022, linear, as its notebooks are set: batches of ten by the "
    "probability of improvement",
    "rvae-bo": "Creange et al. 2022, unsupervised: windowed FFT, latents of a rotationally "
    "invariant VAE, GP expected improvement",
    "dcnn-bo": "Creange et al. 2022, supervised: what a segmentation network finds, GP expected "
    "improvement",
    "dcnn-rvae-bo": "Creange et al. 2022, the third workflow as far as it is published: columns by "
    "a network, latents of their surroundings, GP expected improvement",
    "true-bo": "told what a frame shows; GP expected improvement: the bound of linear-bo",
}


def _workflow(perception: str, navigator: str, name: str) -> Entry:
    """A perception, a component of what it says, and a navigator after it."""
    sees, goes = PERCEPTIONS[perception], NAVIGATORS[navigator]

    def make(component: Any = None, scalarizer: Any = None, **options: Any) -> Agent:
        saw: Perception = sees.make(**{k: v for k, v in options.items() if k in sees.options})
        went: Navigator = goes.make(**{k: v for k, v in options.items() if k in goes.options})
        if component is not None and scalarizer is not None:
            raise ValueError("give a component or a scalarizer, and not both")
        chosen = next(c for c in (component, scalarizer, saw.pursued) if c is not None)
        pursued = scalarizer_of(chosen)
        if saw.names:
            pursued.check(saw.names)
        kind = Finder if hasattr(saw, "findings") else Workflow
        return kind(saw, pursued, went, name)

    about = ABOUT.get(name, f"{sees.about}; then as {navigator}")
    return Entry(make, about, ("component", "scalarizer", *sees.options, *goes.options))


def _navigated(navigator: str) -> Entry:
    goes = NAVIGATORS[navigator]
    return Entry(lambda **options: Navigated(goes.make(**options)), goes.about, goes.options)


AGENTS: dict[str, Entry] = (
    {n: _navigated(n) for n in NAVIGATORS if n not in LOOKS_WITH}
    | {
        n: replace(_workflow(p, n, n), about=NAVIGATORS[n].about)
        for n, p in LOOKS_WITH.items()
        if p is not None
    }
    | {f"{p}-{n}": _workflow(p, n, f"{p}-{n}") for p in PERCEPTIONS for n in NAVIGATORS}
)
_linear_bo = _workflow("linear", "bo", "dkl-bo")
AGENTS["dkl-bo"] = Entry(
    lambda **options: _linear_bo.make(engine="deep", **options),
    "deep kernel learning on the surroundings, towards a linear component",
    tuple(o for o in _linear_bo.options if o != "engine"),
)


def make_agent(name: str, **options: Any) -> Agent:
    """An agent by its name, one's own as ``module:Class``, or a saved model as ``sb3:path.zip``.

    Modules are looked for where Python looks, and in the working folder.

    Raises:
        ValueError: an unknown name or option; the message lists the known ones.
    """
    if name.startswith(SB3):
        return _saved(name, options)
    if ":" in name:
        return _own(name, options)
    if name not in AGENTS:
        raise ValueError(
            f"unknown agent {name!r}; there are: {', '.join(AGENTS)}; or name a class of your own "
            "as module:Class"
        )
    agent: Agent = make(name, AGENTS[name], options)
    return agent


def _saved(name: str, options: dict[str, Any]) -> Agent:
    """A model that Stable-Baselines3 saved."""
    from .learned.policy import from_zip

    try:
        return from_zip(name.removeprefix(SB3), **options)
    except TypeError as error:
        known = ", ".join(list(signature(from_zip).parameters)[1:])
        raise ValueError(f"{name}: {error}; its options are: {known}") from error


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
    found = named(name, "agent")
    if not (isinstance(found, type) and issubclass(found, Agent)):
        raise ValueError(f"{name!r} is no agent; it must be a class that extends stemscout.Agent")
    try:
        return found(**options)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error
