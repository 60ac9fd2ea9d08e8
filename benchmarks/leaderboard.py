"""From rows of results to what is said of every agent, with intervals over specimens.

Only specimens that every agent has a result for are counted, so that all are compared
on the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import statistics
from .statistics import Interval
from .suite import ORACLE, RANDOM

Floats = NDArray[np.float64]
Row = Mapping[str, Any]
Condition = tuple[str, str, str]
FEW = 10  # specimens of a condition, below which an interval claims more than it can
LOWEST, HIGHEST = RANDOM, ORACLE  # from 0 to 1 of a position


@dataclass(frozen=True)
class Entry:
    """What is said of an agent over all conditions.

    Attributes:
        agent: its label.
        privileged: it knows the truth.
        episodes: counted.
        failed: episodes in which it failed; they score what it had by then.
        area: interquartile mean of the area under seen recall against charge.
        area_in_time: the same against time, with the agent's own thinking.
        seen: interquartile mean of the final share seen.
        position: between random and oracle; None where the suite lacks one of them, NaN
            where they do not differ.
        found: interquartile mean of the area under the F1 of its findings; None where it
            claims nothing.
        flagged: mean average precision, over the specimens where it is applicable.
        half: charge by which half of the specimens had half of their features seen.
        latency_ms: median, and 95th percentile, of its decisions: means over episodes.
    """

    agent: str
    privileged: bool
    episodes: int
    failed: int
    area: Interval
    area_in_time: Interval
    seen: Interval
    position: Interval | None
    found: Interval | None
    flagged: Interval | None
    half: Interval
    latency_ms: tuple[float, float]


class Scores:
    """The rows of a suite, by agent and condition, on the specimens that all agents have.

    Args:
        rows: as ``results.row_of`` makes them.
        population: specimens are a sample of others, and scores have intervals.

    Raises:
        ValueError: no specimen has results of all agents.
    """

    def __init__(self, rows: Sequence[Row], population: bool = True) -> None:
        self.population = population
        contest = [r for r in rows if not r["yardstick"]]
        self.agents = tuple(dict.fromkeys(str(r["agent"]) for r in contest))
        self._by = {
            (r["agent"], (r["environment"], r["difficulty"], r["variant"]), r["specimen"]): r
            for r in contest
        }
        places = sorted({(c, s) for _, c, s in self._by})
        whole = [p for p in places if all((a, *p) in self._by for a in self.agents)]
        self.conditions = tuple(dict.fromkeys(c for c, _ in whole))
        self.specimens = {c: [s for d, s in whole if d == c] for c in self.conditions}
        if not whole:
            raise ValueError("no specimen has results of all agents yet; run the suite further")

    def rows_of(self, agent: str) -> list[Row]:
        """Those counted of an agent, by condition and specimen."""
        return [self._by[agent, c, s] for c in self.conditions for s in self.specimens[c]]

    def strata(self, agent: str, score: str) -> list[Floats]:
        """A score of an agent, an array (n,) for each condition."""
        return [
            np.array([self._by[agent, c, s][score] for s in self.specimens[c]], dtype=np.float64)
            for c in self.conditions
        ]

    def found(self, agent: str) -> list[Floats] | None:
        """Areas under the F1 of an agent's findings, as ``strata``; None if it claims nothing."""
        strata = self.strata(agent, "found_area")
        if not any(np.isfinite(s).any() for s in strata):
            return None
        # One that failed before it could claim anything has found nothing.
        return [np.where(np.isfinite(s), s, 0.0) for s in strata]

    def flagged(self, agent: str) -> list[Floats]:
        """Average precision of an agent's target, as ``strata``; NaN where it is not applicable.

        Where the agent failed before it was asked, it is what a coin would have reached, the
        prevalence: nobody gains by failing.
        """
        found = []
        for condition, own in zip(
            self.conditions, self.strata(agent, "flagged_average_precision"), strict=True
        ):
            for n, specimen in enumerate(self.specimens[condition]):
                if np.isnan(own[n]) and self._by[agent, condition, specimen]["failed"]:
                    told = [
                        self._by[a, condition, specimen]["flagged_prevalence"] for a in self.agents
                    ]
                    own[n] = next((p for p in told if p is not None), np.nan)
            found.append(own)
        return found

    def interval(
        self, statistic: Callable[..., Any], *agents: Sequence[Floats], seed: int = 0
    ) -> Interval:
        """A statistic with its interval, as ``statistics.interval``; NaN where there is none."""
        if self.population:
            return statistics.interval(statistic, *agents, seed=seed)
        value = statistic(*map(statistics.averaged, agents))
        nothing = np.full(np.shape(value), np.nan)
        return Interval(value, nothing, nothing)

    def charge_to(self, agent: str, share: float, seed: int = 0) -> Interval:
        """By which half of the specimens had so much of their features seen (Kaplan-Meier)."""
        at = self.strata(agent, f"charge_to_{share:g}")  # NaN where it never came to that
        # A curve stays flat beyond its run's end: what was not reached was not until the budget.
        budget = self.strata(agent, "budget")
        charges = [np.where(np.isfinite(a), a, b) for a, b in zip(at, budget, strict=True)]
        reached = [np.isfinite(a).astype(np.float64) for a in at]
        return self.interval(statistics.charge_to(), charges, reached, seed=seed)

    @property
    def few(self) -> list[Condition]:
        """Conditions in which intervals over specimens claim more than they can."""
        if not self.population:
            return []
        return [c for c in self.conditions if len(self.specimens[c]) < FEW]


def leaderboard(scores: Scores, seed: int = 0) -> list[Entry]:
    """An entry for every agent, best area first."""
    entries = [_entry(scores, agent, seed) for agent in scores.agents]
    return sorted(entries, key=lambda e: -float(e.area.value))


def _entry(scores: Scores, agent: str, seed: int) -> Entry:
    rows = scores.rows_of(agent)

    def middle(values: Sequence[Floats]) -> Interval:
        return scores.interval(statistics.interquartile_mean, values, seed=seed)

    position = None
    if {LOWEST, HIGHEST} <= set(scores.agents):
        three = [scores.strata(a, "seen_area") for a in (agent, LOWEST, HIGHEST)]
        position = scores.interval(statistics.position, *three, seed=seed)
    found = scores.found(agent)
    return Entry(
        agent=agent,
        privileged=any(r["privileged"] for r in rows),
        episodes=len(rows),
        failed=sum(bool(r["failed"]) for r in rows),
        area=middle(scores.strata(agent, "seen_area")),
        area_in_time=middle(scores.strata(agent, "seen_area_in_time")),
        seen=middle(scores.strata(agent, "seen")),
        position=position,
        found=None if found is None else middle(found),
        flagged=_flagged(scores, agent, seed),
        half=scores.charge_to(agent, 0.5, seed),
        latency_ms=(
            float(np.mean([r["latency_ms_median"] for r in rows])),
            float(np.mean([r["latency_ms_p95"] for r in rows])),
        ),
    )


def _flagged(scores: Scores, agent: str, seed: int) -> Interval | None:
    """Over the specimens where the score is applicable; None where it is on none."""
    strata = scores.flagged(agent)
    if not any(np.isfinite(s).any() for s in scores.strata(agent, "flagged_average_precision")):
        return None
    strata = [s[np.isfinite(s)] for s in strata]
    told = [s for s in strata if len(s)]
    return scores.interval(statistics.mean, told, seed=seed) if told else None
