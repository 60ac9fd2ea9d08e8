"""Suites: small declarative files that say what is compared."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment
from ..envs.registration import ENVIRONMENTS, make_env
from ..simulators.simulated import SimulatedMicroscope
from .scores import flagged, seen_curve
from .threads import one_thread

FOLDER = Path(__file__).parent / "suites"
KEYS = {"environment", "difficulty", "split", "budget", "seeds", "agents"}


@dataclass(frozen=True)
class Suite:
    """What is compared: every agent gets the same specimens."""

    environment: str
    difficulty: str
    split: str
    budget: float
    seeds: tuple[int, ...]
    agents: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class Row:
    """One episode's scores; charges in rasters, None where it never happened."""

    agent: str
    seed: int
    frames: int
    seen: float
    seen_area: float
    charge_to_half: float | None
    flagged: float | None
    latency_ms_median: float
    seconds: float


def load_suite(name: str) -> Suite:
    """A suite of the package by its name, or a YAML file by its path.

    Raises:
        ValueError: an unknown suite, key, environment or agent, or a name twice.
    """
    import yaml

    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yaml")))
        raise ValueError(f"unknown suite {name!r}; there are: {known}; or name a YAML file")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"suite {name!r} is not readable YAML: {error}") from error
    if not isinstance(data, dict) or set(data) != KEYS:
        given = sorted(data) if isinstance(data, dict) else type(data).__name__
        raise ValueError(f"suite {name!r} holds {given}; it must hold {sorted(KEYS)}")
    if not isinstance(data["agents"], list) or not all(
        isinstance(a, dict) and isinstance(a.get("name"), str) for a in data["agents"]
    ):
        raise ValueError(f"suite {name!r}: agents must be a list of entries with a name")
    if not data["agents"] or not isinstance(data["seeds"], list) or not data["seeds"]:
        raise ValueError(f"suite {name!r}: there must be at least one agent and one seed, in lists")
    if not all(isinstance(s, int) and s >= 0 for s in data["seeds"]):
        raise ValueError(f"suite {name!r}: seeds {data['seeds']}; they must be integers >= 0")
    if data["environment"] not in list(ENVIRONMENTS):
        known = ", ".join(ENVIRONMENTS)
        raise ValueError(f"unknown environment {data['environment']!r}; there are: {known}")
    agents = tuple(dict(a) for a in data["agents"])
    names = [_label(a) for a in agents]
    if len(set(names)) != len(names):
        raise ValueError(f"suite {name!r} names an agent twice: {', '.join(names)}")
    for agent in agents:
        make_agent(**agent)
    return Suite(**{**data, "agents": agents, "seeds": tuple(data["seeds"])})


def run_suite(suite: Suite, on_row: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """Every agent on every seed, one after the other, with one thread for BLAS."""
    rows = []
    with one_thread():
        for agent in suite.agents:
            for seed in suite.seeds:
                rows.append(_episode(suite, agent, seed))
                on_row(rows[-1])
    return rows


def _episode(suite: Suite, agent_spec: dict[str, Any], seed: int) -> Row:
    agent = make_agent(**agent_spec)
    env = make_env(
        suite.environment,
        difficulty=suite.difficulty,
        split=suite.split,
        budget=suite.budget,
        action=agent.needs.action,
        observation=agent.needs.observation,
        terminate_when_done=False,
    )
    began = time.perf_counter()
    experiment = Experiment(env, agent, seed)
    steps = experiment.run()
    seconds = time.perf_counter() - began
    if env.truth is None or not isinstance(env.episode.microscope, SimulatedMicroscope):
        raise ValueError(f"{suite.environment} has no truth to score by")
    curve = seen_curve(env.episode, env.truth)
    marks = flagged(agent, env.episode.microscope, env.episode.reference)
    return Row(
        agent=_label(agent_spec),
        seed=seed,
        frames=len(steps),
        seen=float(curve.recall[-1]) if len(steps) else 0.0,
        seen_area=curve.area(),
        charge_to_half=curve.charge_to(0.5),
        flagged=None if marks is None else marks.average_precision,
        latency_ms_median=float(np.median([s.latency_s * 1e3 for s in steps] or [0.0])),
        seconds=seconds,
    )


def _label(agent: dict[str, Any]) -> str:
    options = ",".join(f"{k}={v}" for k, v in sorted(agent.items()) if k != "name")
    return str(agent["name"]) + (f"({options})" if options else "")
