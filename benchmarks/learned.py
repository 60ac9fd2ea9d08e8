"""Learned navigators held against those that nobody trained: does navigation matter, and where?

A learned navigator is run with all its trainings, which differ by their seed alone; a specimen's
score is the mean over them, and intervals draw trainings as well as specimens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import statistics
from .leaderboard import Condition, Floats, Row, Scores
from .results import Results, read_table
from .statistics import Interval
from .suite import ORACLE, RANDOM, label_of
from .tables import Cell, Rows

MEMBER = "member"  # the option that tells which training
AIM = 1.3  # times the best that nobody trained, where the specimen has structure
CLOSED = 0.5  # of what lies between random and oracle
STRUCTURED = ("GrapheneDefects-v0", "FerroelectricDomains-v0", "Nanoparticles-v0")


@dataclass(frozen=True)
class Standing:
    """A navigator on the specimens of one environment, in one variant of it.

    Attributes:
        environment: without its namespace.
        variant: ``as is``, or what is changed.
        navigator: its label, without the training.
        trainings: how many of it; 0 of one that nobody trained.
        privileged: it knows the truth.
        specimens: of each difficulty.
        area: interquartile mean of the area under seen recall against charge.
        at: the same by smaller budgets.
        closed: where it stands from random (0) to oracle (1).
        best: the one with the largest area of those that nobody trained, which it is held
            against; empty of those themselves.
        over: its area over the best one's; None of those that nobody trained.
        apart: the intervals of both areas do not meet.
        p: that both are alike, by swapping them on every specimen, adjusted over the learned
            ones of this environment (Holm).
    """

    environment: str
    variant: str
    navigator: str
    trainings: int
    privileged: bool
    specimens: int
    area: Interval
    at: Mapping[str, Interval]
    closed: Interval
    best: str = ""
    over: Interval | None = None
    apart: bool = False
    p: float | None = None

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def families(agents: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The labels of a suite's agents by navigator: of one with several trainings, theirs in order.

    Raises:
        ValueError: two trainings of one navigator have the same number.
    """
    found: dict[str, dict[int, str]] = {}
    for agent in agents:
        alike = {k: v for k, v in agent.items() if k not in (MEMBER, "label")}
        number = agent.get(MEMBER)
        name = label_of(agent) if number is None else label_of(alike)
        own = found.setdefault(name, {})
        if (number or 0) in own:
            raise ValueError(f"{name} is there twice")
        own[number or 0] = label_of(agent)
    return {name: [own[k] for k in sorted(own)] for name, own in found.items()}


def standings(folders: Sequence[str | Path]) -> list[Standing]:
    """All lines of the table, by environment and variant, the largest area first.

    Those of several folders together are of the specimens that all of them have.

    Raises:
        ValueError: a folder without a table, or without a random navigator and an oracle.
    """
    agents: list[Mapping[str, Any]] = []
    rows: list[Row] = []
    population = True
    for folder in folders:
        results = Results(folder)
        agents += results.suite["agents"]
        population = population and results.suite.get("population", True)
        rows += read_table(results.folder)
    if not rows:
        raise ValueError("there are no results yet; run the suite")
    scores, of = Scores(rows, population), families(agents)
    if not {RANDOM, ORACLE} <= set(scores.agents):
        raise ValueError(f"without {RANDOM} and {ORACLE} nothing can be told between them")
    found: list[Standing] = []
    for place in dict.fromkeys((c[0], c[2]) for c in scores.conditions):
        found += _section(scores, of, *place)
    return found


def _section(
    scores: Scores, of: Mapping[str, list[str]], environment: str, variant: str
) -> list[Standing]:
    conditions = [c for c in scores.conditions if (c[0], c[2]) == (environment, variant)]
    held = {n: _Held(scores, labels, conditions) for n, labels in of.items()}
    lines = {n: own.standing(n, held) for n, own in held.items()}
    untrained = [s for s in lines.values() if not s.trainings and not s.privileged]
    best = max(untrained, key=lambda s: float(s.area.value))
    learned = [n for n, s in lines.items() if s.trainings]
    sure = [
        statistics.swap_test(statistics.difference, held[n].area, held[best.navigator].area)
        for n in learned
    ]
    for name, p in zip(learned, statistics.holm(sure), strict=True):
        own = lines[name]
        lines[name] = replace(
            own,
            best=best.navigator,
            over=scores.interval(_ratio, held[name].area, held[best.navigator].area),
            apart=bool(own.area.low > best.area.high or own.area.high < best.area.low),
            p=p,
        )
    return sorted(lines.values(), key=lambda s: -float(s.area.value))


def _ratio(first: Any, second: Any) -> Any:
    """Of interquartile means; infinite over nothing."""
    one, other = (statistics.interquartile_mean(s) for s in (first, second))
    return np.divide(one, other, out=np.full(np.shape(one), np.inf), where=other > 0)[()]


class _Held:
    """The scores of one navigator in one environment."""

    def __init__(self, scores: Scores, labels: list[str], conditions: list[Condition]) -> None:
        self.scores, self.labels, self.conditions = scores, labels, conditions
        self.trainings = len(labels) if len(labels) > 1 else 0
        self.area = self.strata("seen_area")

    def strata(self, score: str) -> list[Floats]:
        """Arrays (specimens,), or (specimens, trainings), one for each condition."""
        places = [self.scores.conditions.index(c) for c in self.conditions]
        each = [self.scores.strata(label, score) for label in self.labels]
        if not self.trainings:
            return [each[0][k] for k in places]
        return [np.stack([own[k] for own in each], axis=1) for k in places]

    def standing(self, name: str, held: Mapping[str, _Held]) -> Standing:
        """What is said of it, but for how it compares."""
        middle = statistics.interquartile_mean
        row = next(r for r in self.scores.rows_of(self.labels[0]))
        read = sorted((k for k in row if k.startswith("seen_area_at_")), key=_budget)
        ends = held[RANDOM].area, held[ORACLE].area
        return Standing(
            environment=self.conditions[0][0].rpartition("/")[2],
            variant=self.conditions[0][2],
            navigator=name,
            trainings=self.trainings,
            privileged=bool(row["privileged"]),
            specimens=min(len(self.scores.specimens[c]) for c in self.conditions),
            area=self.scores.interval(middle, self.area),
            at={f"{_budget(k):g}": self.scores.interval(middle, self.strata(k)) for k in read},
            closed=self.scores.interval(statistics.position, self.area, *ends),
        )


def _budget(column: str) -> float:
    return float(column.rpartition("_")[2])


def lines(found: Sequence[Standing]) -> Rows:
    """The table, as a person reads it."""
    several = len({s.variant for s in found}) > 1
    return [
        {
            "environment": s.environment,
            **({"variant": s.variant} if several else {}),
            "navigator": s.navigator + " (knows the truth)" * s.privileged,
            "trainings": s.trainings or "",
            "area": Cell.of(s.area).whole,
            **{f"at {budget}": Cell.of(of).whole for budget, of in s.at.items()},
            "closed": Cell.of(s.closed).whole,
            "over the best": "" if s.over is None else Cell.of(s.over).whole,
            "p": "" if s.p is None else f"{s.p:.2g}",
        }
        for s in found
    ]


def conclusions(found: Sequence[Standing]) -> list[str]:
    """Of each environment one sentence: whether training a navigator was worth it there."""
    said = []
    for environment in dict.fromkeys(s.environment for s in found):
        own = [s for s in found if s.environment == environment and s.over is not None]
        if own:
            said.append(_conclusion(max(own, key=lambda s: float(s.area.value))))
    return said


def _conclusion(s: Standing) -> str:
    assert s.over is not None
    structured = s.environment in STRUCTURED
    if structured:
        reached = s.over.value >= AIM and s.apart and s.closed.value >= CLOSED
        asked = f"{AIM:g} times, intervals apart, and {CLOSED:.0%} of what lies between"
    else:
        reached = not (s.apart and s.over.value < 1.0)
        asked = "no worse"
    return (
        f"{s.environment}: {s.navigator}, the best of the learned, sees {Cell.of(s.over).whole} "
        f"times as much as {s.best}, the best that nobody trained, intervals "
        f"{'apart' if s.apart else 'meet'}, and closes {Cell.of(s.closed).whole} of what lies "
        f"between random and oracle; asked for were {asked}: {'reached' if reached else 'missed'}."
    )
