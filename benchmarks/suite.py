"""Suites: small declarative files that say what is compared, and with what.

A suite is a YAML file with these keys (those with a default may be left out):

| key            | meaning                                                         | default       |
|----------------|-----------------------------------------------------------------|---------------|
| `version`      | raised when what it compares changes                            |               |
| `about`        | one line                                                        |               |
| `environments` | ids                                                             |               |
| `difficulties` | levels that every one of them has                               |               |
| `specimens`    | a number of them, from 0 on, or a list; all agents get the same |               |
| `agents`       | `name`, the agent's options, and `label`, its name in tables    |               |
| `split`        | which specimens: `train`, `validation`, `test`                  | `test`        |
| `budget`       | charge, in rasters                                              | 0.4           |
| `readings`     | smaller budgets at which the same runs are read                 | none          |
| `track`        | `fixed-frame` or `free-frame`; never ranked together            | `fixed-frame` |
| `survey`       | `none` or `low`, for all agents                                 | `none`        |
| `variants`     | named sets of environment options, each its own condition       | one, `as is`  |
| `population`   | specimens are a sample of others; if not, no intervals are told | `true`        |

Where the environments are targets, such as `navigation/bumps`, navigators alone are compared;
the head of `contest.py` tells what such a suite holds.  Where they are pictures, such as
`paper/nio`, the paper's protocol is run; the head of `workflows.py` tells what that takes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from ..agents.agent import Needs
from ..agents.catalogue import make_agent
from ..envs.numbers import is_number
from ..envs.registration import ENVIRONMENTS, make_env
from ..simulators.world import split_index
from . import contest, workflows

FOLDER = Path(__file__).parent / "suites"
TRACKS = ("fixed-frame", "free-frame")
Kind = Literal["episode", "hunt", "protocol"]
LARGEST = 2**63 - 1  # number of a specimen that the table of results holds
FREE = "operator"  # the action of the free-frame track
RASTER = "raster"  # run to budget 1.0 besides: what acceleration is over
RANDOM, ORACLE = "random", "oracle"  # by these labels: from 0 to 1 of a position
RESERVED = {"difficulty", "split", "budget", "survey", "action", "observation", "task"} | {
    "terminate_when_done",
    "privileged",
    "max_episode_steps",
    "time_budget_s",
    "render_mode",
}  # options of the environment that no variant may set
NEEDED = ("version", "about", "environments", "difficulties", "specimens", "agents")


@dataclass(frozen=True)
class Job:
    """One episode, hunt or run of the protocol, as plain data: all that decides what happens in it.

    Attributes:
        environment, difficulty, variant: the condition.
        options: of the environment, by the variant.
        agent: its name and options.
        label: its name in tables.
        specimen: of the split; it seeds the agent too.
        split, budget, readings, survey: as in the suite.
        yardstick: no contestant, but the raster that acceleration is over.
        track: as in the suite; in ``fixed-frame`` every frame is a reference frame.
    """

    environment: str
    difficulty: str
    variant: str
    options: Mapping[str, Any]
    agent: Mapping[str, Any]
    label: str
    specimen: int
    split: str
    budget: float
    readings: tuple[float, ...]
    survey: str
    yardstick: bool = False
    track: str = TRACKS[0]

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Job:
        """A job from its plain data, lists for tuples included."""
        return cls(**{**data, "readings": tuple(data["readings"])})

    @property
    def key(self) -> str:
        """A name for its file, by content."""
        return _digest(asdict(self))

    @property
    def condition(self) -> tuple[str, str, str]:
        """What is averaged over separately: a stratum."""
        return self.environment, self.difficulty, self.variant

    @property
    def kind(self) -> Kind:
        """What is run."""
        return kind_of(self.environment)


@dataclass(frozen=True)
class Suite:
    """What is compared; the module's table tells what each entry means."""

    name: str
    version: int
    about: str
    environments: tuple[str, ...]
    difficulties: tuple[str, ...]
    specimens: tuple[int, ...]
    agents: tuple[dict[str, Any], ...]
    split: str = "test"
    budget: float = 0.4
    readings: tuple[float, ...] = ()
    track: str = TRACKS[0]
    survey: str = "none"
    variants: tuple[tuple[str, dict[str, Any]], ...] = field(default=(("as is", {}),))
    population: bool = True

    @property
    def digest(self) -> str:
        """A hash of what it compares; results of different ones are never mixed."""
        # What most suites leave as it is stays out: their hashes are older than it.
        without = {"name", "about"} | ({"population"} if self.population else set())
        return _digest({k: v for k, v in asdict(self).items() if k not in without})

    @property
    def kind(self) -> Kind:
        """What its jobs are."""
        return kind_of(self.environments[0])

    @property
    def labels(self) -> tuple[str, ...]:
        """The agents' names in tables, in order."""
        return tuple(label_of(a) for a in self.agents)

    def jobs(self) -> list[Job]:
        """Every episode of it, each condition's yardstick first where there is one."""
        raster: dict[str, Any] = {"name": RASTER}
        yardsticks = [(raster, RASTER, True)] if self.kind == "episode" else []
        contestants = [(a, label_of(a), False) for a in self.agents]
        jobs = [
            Job(
                environment,
                difficulty,
                variant,
                options,
                {k: v for k, v in agent.items() if k != "label"},
                label,
                specimen,
                self.split,
                1.0 if yardstick else self.budget,
                () if yardstick else self.readings,
                "none" if yardstick else self.survey,
                yardstick,
                TRACKS[0] if yardstick else self.track,
            )
            for environment in self.environments
            for difficulty in self.difficulties
            for variant, options in self.variants
            for agent, label, yardstick in [*yardsticks, *contestants]
            if self.kind != "protocol" or workflows.Setting.of(agent).runs_on(environment)
            for specimen in self.specimens
        ]
        if self.kind == "protocol":
            # What is kept of a picture then serves one workflow after another.
            jobs.sort(key=lambda job: (self.environments.index(job.environment), job.specimen))
        return jobs


def kind_of(environment: str) -> Kind:
    """Whether an environment holds episodes, is hunted on, or is a picture of the protocol."""
    if environment.startswith(contest.PREFIX):
        return "hunt"
    return "protocol" if environment.startswith(workflows.PREFIX) else "episode"


def label_of(agent: Mapping[str, Any]) -> str:
    """An agent's name in tables: its label, or its name with the options given."""
    if "label" in agent:
        return str(agent["label"])
    options = ",".join(f"{k}={v}" for k, v in sorted(agent.items()) if k != "name")
    return str(agent["name"]) + (f"({options})" if options else "")


def suites() -> list[str]:
    """Those of the package, by name."""
    return sorted(p.stem for p in FOLDER.glob("*.yaml"))


def load_suite(name: str) -> Suite:
    """A suite of the package by its name, or a YAML file by its path.

    Raises:
        ValueError: an unknown suite, key, environment, difficulty or agent, a name or key
            twice, or anything else that could not be run; the message says what is allowed.
    """
    from ..agents.strict_yaml import read_yaml

    path = FOLDER / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"unknown suite {name!r}; there are: {', '.join(suites())}; or name a YAML file"
        )
    try:
        return suite_of(path.stem, read_yaml(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise ValueError(f"suite {name!r}: {error}") from error


def suite_of(name: str, data: Any) -> Suite:
    """A suite from the content of its file; ValueError tells what is wrong with it."""
    known = [k for k in Suite.__dataclass_fields__ if k != "name"]
    if not isinstance(data, dict):
        raise ValueError(f"it holds a {type(data).__name__}; it must hold {', '.join(known)}")
    for wrong, what in (
        ([str(k) for k in data if k not in known], "unknown"),
        ([k for k in NEEDED if k not in data], "missing"),
    ):
        if wrong:
            raise ValueError(f"{what}: {', '.join(wrong)}; it must hold {', '.join(known)}")
    given = dict(data)
    given["specimens"] = _specimens(given["specimens"])
    given["agents"] = _agents(given["agents"])
    given["variants"] = _variants(given.get("variants", [{"name": "as is"}]))
    given["readings"] = _listed("readings", given.get("readings", ()), is_number)
    for key in ("environments", "difficulties"):
        given[key] = _listed(key, given[key], lambda v: isinstance(v, str))
        if not given[key] or len(set(given[key])) != len(given[key]):
            raise ValueError(f"{key} {list(given[key])}; there must be at least one, none twice")
    suite = Suite(name, **given)
    _check(suite)
    return suite


def _listed(key: str, values: Any, fits: Any) -> tuple[Any, ...]:
    if not isinstance(values, (list, tuple)) or not all(fits(v) for v in values):
        raise ValueError(f"{key} is {values!r}; it must be a list, each entry as described")
    return tuple(values)


def _specimens(value: Any) -> tuple[int, ...]:
    numbers = list(range(value)) if is_number(value, Integral) and value > 0 else value
    sound = isinstance(numbers, list) and numbers and len(set(map(str, numbers))) == len(numbers)
    if not sound or not all(is_number(n, Integral) and 0 <= n <= LARGEST for n in numbers):
        raise ValueError(
            f"specimens is {value!r}; it must be a number above 0, or a list of integers from 0 "
            f"to {LARGEST}"
        )
    return tuple(int(n) for n in numbers)


def _agents(entries: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(entries, list) or not entries:
        raise ValueError("there must be at least one agent, in a list")
    if not all(isinstance(a, dict) and isinstance(a.get("name"), str) for a in entries):
        raise ValueError("agents must be a list of entries with a name")
    for agent in entries:
        _check_plain(f"agent {agent['name']}", agent)
    for agent in entries:
        if not isinstance(agent.get("label", ""), str):
            raise ValueError(f"label {agent['label']!r} of {agent['name']}; it must be text")
        _check_words("the label of an agent", label_of(agent))
    for label in (RANDOM, ORACLE):
        if any(label_of(a) == label and a["name"] != label for a in entries):
            raise ValueError(f"another agent is labelled {label!r}, by which positions go")
    labels = [label_of(a) for a in entries]
    twice = sorted({n for n in labels if labels.count(n) > 1})
    if twice:
        raise ValueError(f"agents named twice: {', '.join(twice)}; give them a label")
    return tuple(dict(a) for a in entries)


def _variants(entries: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    if not isinstance(entries, list) or not all(
        isinstance(v, dict) and isinstance(v.get("name"), str) for v in entries
    ):
        raise ValueError("variants must be a list of entries with a name")
    for entry in entries:
        _check_plain(f"variant {entry['name']}", entry)
        _check_words("the name of a variant", entry["name"])
        taken = sorted(RESERVED & set(entry))
        if taken:
            raise ValueError(
                f"variant {entry['name']} sets {', '.join(taken)}; the suite itself or the agent "
                "decides that"
            )
    names = [v["name"] for v in entries]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"variants {names}; there must be at least one, and none twice")
    return tuple((v["name"], {k: o for k, o in v.items() if k != "name"}) for v in entries)


def _check_words(what: str, text: str) -> None:
    """Refuse what tables and figures cannot show as it is: it would be missing, or set as maths."""
    if not text.strip() or len(text.splitlines()) > 1 or text.startswith("_") or "$" in text:
        raise ValueError(
            f"{what} is {text!r}; it must be one line of text, without $ and not begin with _"
        )


def _check_plain(what: str, entry: dict[Any, Any]) -> None:
    """Refuse keys that are no words, and values that JSON does not hold."""
    try:
        json.dumps(entry, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what}: {error}") from error
    if not all(isinstance(k, str) for k in entry):
        raise ValueError(f"{what} has keys {list(entry)}; each must be a word")


def _check(suite: Suite) -> None:
    """Refuse what could not be run, before anything is: environments and agents are made once."""
    if suite.track not in TRACKS:
        raise ValueError(f"unknown track {suite.track!r}; there are: {', '.join(TRACKS)}")
    if not is_number(suite.version, Integral) or suite.version < 1:
        raise ValueError(f"version is {suite.version!r}; it must be an integer, at least 1")
    if not isinstance(suite.about, str) or len(suite.about.splitlines()) != 1:
        raise ValueError(f"about is {suite.about!r}; it must be one line of text")
    if not isinstance(suite.population, bool):
        raise ValueError(f"population is {suite.population!r}; it must be true or false")
    if not is_number(suite.budget):
        raise ValueError(f"budget is {suite.budget!r}; it must be a number in (0, 1]")
    once = len(set(suite.readings)) == len(suite.readings)
    if not once or not all(0 < r < suite.budget for r in suite.readings):
        raise ValueError(
            f"readings {list(suite.readings)}; each must lie between 0 and the budget, "
            f"{suite.budget:g}, and stand there once"
        )
    split_index(suite.split)
    plain = {k: f.default for k, f in Suite.__dataclass_fields__.items()}
    if suite.kind == "hunt":
        contest.check(suite, plain)
    elif suite.kind == "protocol":
        workflows.check(suite, plain)
    else:
        _check_episodes(suite)


def _check_episodes(suite: Suite) -> None:
    unknown = [e for e in suite.environments if e not in list(ENVIRONMENTS)]
    if unknown:
        raise ValueError(
            f"unknown environment {unknown[0]!r}; there are: {', '.join(ENVIRONMENTS)}"
        )
    for agent in suite.agents:
        made = make_agent(**{k: v for k, v in agent.items() if k != "label"})
        if not isinstance(made.needs, Needs):
            raise ValueError(f"{made.name} needs {made.needs!r}; it must be an instance of Needs")
        if made.needs.action == FREE and suite.track != "free-frame":
            raise ValueError(f"{made.name} chooses its own frames, and the track is {suite.track}")
        make_env(  # what it needs there is
            suite.environments[0],
            action=made.needs.action,
            observation=made.needs.observation,
        ).close()
    for environment in suite.environments:
        for difficulty in suite.difficulties:
            for _, options in suite.variants:
                env = make_env(
                    environment,
                    difficulty=difficulty,
                    split=suite.split,
                    budget=suite.budget,
                    survey=suite.survey,
                    **options,
                )
                env.close()


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
