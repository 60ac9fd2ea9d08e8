"""Reference scores: what the scripted agents and the oracle reach on every id.

    python -m stemscout.benchmarks.reference

runs what ``reference_scores.json`` lacks and writes it there, row by row, so that
it may be interrupted.  A test runs the same again and compares: a task that was
changed by accident fails it, and one that is changed on purpose gets a new
version number, which is a new id here, and its rows are run anew.  ``--overwrite``
replaces rows, which is right only as long as nobody can have quoted them.

Random, raster and grid tell how hard a task is without looking, and the oracle how
much the budget can buy.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numba
import numpy as np
import scipy

from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment
from ..envs import seen
from ..envs.registration import ENVIRONMENTS, make_env
from ..envs.scan_env import ScanEnv
from ..envs.sources import SpecimenSource
from ..envs.tasks import can_be_followed, task
from ..simulators.specimens import specimen_module
from .scores import seen_curve
from .threads import one_thread

PATH = Path(__file__).parent / "reference_scores.json"
COMMAND = "python -m stemscout.benchmarks.reference"
OTHER_TASKS = ("classes", "follow", "target", "map")
AGENTS = ("random", "raster", "grid", "lawnmower", "sobol", "oracle")
SPECIMENS = (0, 1, 2)  # of the test split; each is also the seed of noise and agent
BUDGET = 0.4
WITHOUT_TRUTH = ("StemScout/Recorded-v0", "StemScout/Live-v0")
SAME_PLATFORM = 1e-9
# The last digits of sines and exponentials differ between processors and versions.  A score
# moves by them only where a sample point lies on the edge of a frame, and one feature counts
# or not; so one feature, the heaviest of its specimen, is what may differ elsewhere.
ELSEWHERE = "the weight of the heaviest feature of the specimen"


@dataclass(frozen=True)
class Case:
    """An id at a difficulty."""

    environment: str
    difficulty: str


@dataclass(frozen=True)
class Score:
    """What one agent reached on one specimen.

    Attributes:
        specimen: of the test split.
        frames: taken until the budget was spent or nothing was left to do.
        seen: final share of what there is to discover.
        seen_area: area under the curve of it against charge, over the budget.
        heaviest: weight of the heaviest feature.
        fractions: of the other tasks, had they been what is rewarded; by name.
    """

    environment: str
    difficulty: str
    agent: str
    specimen: int
    frames: int
    seen: float
    seen_area: float
    heaviest: float
    fractions: dict[str, float]

    @property
    def case(self) -> Case:
        return Case(self.environment, self.difficulty)

    @property
    def key(self) -> tuple[str, str, str, int]:
        return self.environment, self.difficulty, self.agent, self.specimen


@dataclass(frozen=True)
class Mean:
    """Over the specimens."""

    seen: float
    seen_area: float


@dataclass(frozen=True)
class Reference:
    """The stored scores, and the platform that they were made on."""

    platform: dict[str, str]
    scores: tuple[Score, ...]

    def of(self, case: Case, agent: str, specimen: int) -> Score:
        """One of them; KeyError where it was never run."""
        key = (case.environment, case.difficulty, agent, specimen)
        return {s.key: s for s in self.scores}[key]

    def mean(self, case: Case, agent: str) -> Mean:
        chosen = [s for s in self.scores if s.case == case and s.agent == agent]
        return Mean(
            float(np.mean([s.seen for s in chosen])), float(np.mean([s.seen_area for s in chosen]))
        )

    def tolerance(self, score: Score) -> float:
        """How far a repetition on this machine may lie from a stored score."""
        return SAME_PLATFORM if self.platform == this_platform() else score.heaviest


def cases() -> Iterator[Case]:
    """Every id that has truth, at each of its difficulties."""
    for name in ENVIRONMENTS:
        if name not in WITHOUT_TRUTH:
            source = make_env(name).source
            assert isinstance(source, SpecimenSource)
            yield from (Case(name, level) for level in specimen_module(source.specimen).LEVELS)


def run(case: Case, agent: str, specimen: int) -> Score:
    """One episode."""
    decider = make_agent(agent)
    env = make_env(
        case.environment,
        difficulty=case.difficulty,
        split="test",
        budget=BUDGET,
        action=decider.needs.action,
        observation=decider.needs.observation,
        terminate_when_done=False,
    )
    with one_thread():
        steps = Experiment(env, decider, seed=specimen).run()
    assert env.truth is not None
    wanted = seen.targets(env.truth, env.source.reference.side_nm)
    return Score(
        case.environment,
        case.difficulty,
        agent,
        specimen,
        len(steps),
        env.episode.task.fraction,
        seen_curve(env.episode, env.truth).area(),
        float(wanted.weight.max()),
        _fractions(env),
    )


def _fractions(env: ScanEnv) -> dict[str, float]:
    """What the same frames are worth in every other task that the specimen has."""
    assert env.truth is not None
    found = {}
    for name in OTHER_TASKS:
        if name == "follow" and not can_be_followed(env.truth):
            continue  # the task itself shows another specimen
        other = task(name, env.truth, env.source.reference)
        for exposure in env.episode.exposures:
            other.update(exposure)
        found[name] = other.fraction
    return found


def run_all(
    known: Iterable[Score] = (),
    wanted: Sequence[Case] | None = None,
    on_score: Callable[[list[Score]], None] = lambda scores: None,
) -> list[Score]:
    """Everything there is, of which ``known`` need not be run again.

    Args:
        known: scores that stay as they are.
        wanted: run only these cases; all by default.
        on_score: called with all scores so far after each that was run.

    Returns:
        One score for each case, agent and specimen, in that order; none for cases
        that are neither known nor wanted.
    """
    have = {s.key: s for s in known}
    found: list[Score] = []
    for case, agent, specimen in product(cases(), AGENTS, SPECIMENS):
        score = have.pop((case.environment, case.difficulty, agent, specimen), None)
        if score is not None:
            found.append(score)
        elif wanted is None or case in wanted:
            found.append(run(case, agent, specimen))
            on_score([*found, *have.values()])  # an interruption loses none that come later
    return found


def this_platform() -> dict[str, str]:
    """What the last digits of a score may depend on."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "numba": numba.__version__,
    }


def write(scores: Sequence[Score], path: Path = PATH) -> None:
    """As JSON, a line for each row, so that a change shows as one."""
    stored = Reference(this_platform(), tuple(scores))
    order = list(dict.fromkeys((s.case, s.agent) for s in scores))
    means = [
        {**asdict(case), "agent": agent, **asdict(stored.mean(case, agent))}
        for case, agent in order
    ]
    head = {
        "command": COMMAND,
        "settings": {
            "split": "test",
            "budget": BUDGET,
            "task": "discover",
            "action": "position",
            "terminate_when_done": False,
        },
        "platform": stored.platform,
        "tolerance": {"same platform": SAME_PLATFORM, "elsewhere": ELSEWHERE},
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for key, rows in (("means", means), ("scores", [asdict(s) for s in scores])):
        lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    partial = path.with_suffix(".partial")
    partial.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    partial.replace(path)


def load(path: Path = PATH) -> Reference:
    """What ``write`` wrote."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Reference(data["platform"], tuple(Score(**row) for row in data["scores"]))


def table(reference: Reference, wanted: Iterable[Case]) -> str:
    """Means of final share and of area, as Markdown."""
    lines = [
        "| id | difficulty | " + " | ".join(AGENTS) + " |",
        "|---|---|" + "---|" * len(AGENTS),
    ]
    for case in wanted:
        means = [reference.mean(case, agent) for agent in AGENTS]
        cells = [f"{m.seen:.2f} ({m.seen_area:.2f})" for m in means]
        name = case.environment.split("/")[1]
        lines.append(f"| {name} | {case.difficulty} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help="ids; all by default")
    parser.add_argument("--overwrite", action="store_true", help="run again what is stored")
    arguments = parser.parse_args()
    every = list(cases())
    unknown = set(arguments.only or ()) - {c.environment for c in every}
    if unknown:
        known = ", ".join(dict.fromkeys(c.environment for c in every))
        parser.error(f"unknown environment {', '.join(sorted(unknown))}; there are: {known}")
    wanted = [c for c in every if not arguments.only or c.environment in arguments.only]
    kept = load().scores if PATH.exists() else ()
    if arguments.overwrite:
        kept = tuple(s for s in kept if s.case not in wanted)
    if kept and load().platform != this_platform():
        parser.error(f"the stored scores are of {load().platform}; add --overwrite, for all ids")
    began = time.perf_counter()

    def keep(scores: list[Score]) -> None:
        write(scores)
        print(f"{len(scores)} scores, {time.perf_counter() - began:.0f} s", file=sys.stderr)

    write(run_all(kept, wanted, keep))  # without the rows of ids that there are no longer
    print(table(load(), every if not arguments.only else wanted))


if __name__ == "__main__":
    main()
