"""What changed from one folder of results to another, and which changes are real.

Episodes of A and B are paired: the same agent, by its label, on the same specimen of the same
condition, under the same settings.  All else is left out, and said.  For every agent and score
there is the difference B - A with its interval, how often B scores higher on the same specimen,
and the p-value of a swap test.  Many agents are many tests, so p-values are adjusted over the
agents, for each score by itself (Holm).  A difference is called real where its interval leaves
out 0 and its adjusted p-value is at most 0.05.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log2
from pathlib import Path
from typing import Any

import numpy as np

from . import statistics
from .leaderboard import Condition
from .pairs import SIDES, Pair, condition_of, counted, held_in, paired
from .statistics import Interval, Strata
from .suite import Suite
from .tables import Rows, markdown

LEVEL = 0.05
HASHED = tuple(f for f in Suite.__dataclass_fields__ if f not in ("name", "about"))
ROUNDING = 1e-12  # of a score
# Name, column of the table of results, what is made of many, and the difference of that.
SCORES: tuple[tuple[str, str, Callable[..., Any], Callable[..., Any]], ...] = (
    ("area", "seen_area", statistics.interquartile_mean, statistics.difference),
    ("in time", "seen_area_in_time", statistics.interquartile_mean, statistics.difference),
    ("seen", "seen", statistics.interquartile_mean, statistics.difference),
    ("found", "found_area", statistics.interquartile_mean, statistics.difference),
    ("flagged", "flagged_average_precision", statistics.mean, statistics.difference_of_means),
)
NO_CLAIM = "no claim"  # where specimens are no sample
VERDICTS = (
    "better",
    "worse",
    "perhaps better",
    "perhaps worse",
    "no difference shown",
    "identical",
    NO_CLAIM,
)


@dataclass(frozen=True)
class Change:
    """What became of a score of an agent.

    Attributes:
        agent, score: whose, and which.
        specimens: pairs that were compared.
        a, b: interquartile means, or the mean for ``flagged``.
        difference: of these, B - A, with its interval.
        improvement: how often B scores higher on the same specimen, ties counting half.
        p: that nothing changed, by swapping A and B on every specimen, adjusted over the
            agents; None where every pair is identical.
        verdict: one of ``VERDICTS``.
    """

    agent: str
    score: str
    specimens: int
    a: float
    b: float
    difference: Interval
    improvement: Interval
    p: float | None
    verdict: str


@dataclass(frozen=True)
class Pace:
    """Time to decide and failures of an agent in A and in B, over the same specimens.

    Attributes:
        agent: whose.
        median_ms, p95_ms: of a decision, means over episodes.
        failed: episodes.
    """

    agent: str
    median_ms: tuple[float, float]
    p95_ms: tuple[float, float]
    failed: tuple[int, int]


@dataclass(frozen=True)
class Comparison:
    """What ``compare`` finds.

    Attributes:
        folders: A and B.
        suites: name, version and hash of each.
        settings: of the suites that differ.
        conditions, specimens: how many are compared, of any agent.
        changes: by agent and score.
        paces: by agent.
        only: agents that are in A or B alone.
        apart: versions and machine where they differ: all values in A, and in B.
        notes: what is left out and why, a sentence each.
    """

    folders: tuple[str, str]
    suites: tuple[dict[str, Any], dict[str, Any]]
    settings: list[str]
    conditions: int
    specimens: int
    changes: list[Change]
    paces: list[Pace]
    only: dict[str, list[str]]
    apart: dict[str, tuple[list[str], list[str]]]
    notes: list[str]


def compare(first: str | Path, second: str | Path, seed: int = 0) -> Comparison:
    """Compare what two folders of results share.

    Args:
        first, second: A and B.
        seed: of the bootstrap and the swaps.

    Raises:
        ValueError: a folder without results, or two that share no episode; the message says why.
    """
    a, b = held_in(first), held_in(second)
    pairs, notes = paired(a, b)
    only = {
        side: [label for label in own.labels if label not in other.labels]
        for side, own, other in zip(SIDES, (a, b), (b, a), strict=True)
    }
    if not pairs:
        agents = f"A has the agents {', '.join(a.labels)}, B {', '.join(b.labels)}."
        why = notes[0] if set(a.labels) & set(b.labels) else agents
        raise ValueError(f"{str(first)!r} and {str(second)!r} share no episode. {why}")
    population = all(side.suite.get("population", True) for side in (a, b))
    changes = _changes(pairs, seed)
    if not population:
        changes = [_without_claims(c) for c in changes]
        notes = [*notes, "The specimens are no sample of others: nothing is claimed about them."]
    rows = [x["row"] for of in pairs.values() for x, _ in of]
    places = {(condition_of(row), row["specimen"]) for row in rows}
    names = ("name", "version", "digest")
    return Comparison(
        folders=(str(first), str(second)),
        suites=({k: a.suite[k] for k in names}, {k: b.suite[k] for k in names}),
        settings=[f for f in HASHED if a.suite.get(f) != b.suite.get(f)],
        conditions=len({c for c, _ in places}),
        specimens=len(places),
        changes=changes,
        paces=[_pace(agent, of) for agent, of in pairs.items()],
        only=only,
        apart={
            name: (a.made.get(name, []), b.made.get(name, []))
            for name in dict.fromkeys([*a.made, *b.made])
            if a.made.get(name) != b.made.get(name)
        },
        notes=[*notes, *_scored_once(pairs), *(_too_few(pairs) if population else ())],
    )


def _changes(pairs: Mapping[str, Sequence[Pair]], seed: int) -> list[Change]:
    found: dict[tuple[str, str], Change] = {}
    for name, column, statistic, difference in SCORES:
        values = {agent: _strata(of, column) for agent, of in pairs.items()}
        told = {agent: of for agent, of in values.items() if of is not None}
        # An agent whose pairs are all identical is no test: no swap could change anything.
        tests = {k: of for k, of in told.items() if not _identical(*of)}
        # Of the means, which all pairs have a part in; of the middle half few would.
        means = statistics.difference_of_means
        p = statistics.holm([statistics.swap_test(means, y, x, seed) for x, y in tests.values()])
        adjusted = dict(zip(tests, p, strict=True))
        for agent, (x, y) in told.items():
            gain = _plain(statistics.interval(difference, y, x, seed=seed))
            chance = statistics.interval(statistics.probability_of_improvement, y, x, seed=seed)
            found[agent, name] = Change(
                agent,
                name,
                sum(len(s) for s in x),
                float(statistic(x)),
                float(statistic(y)),
                gain,
                _plain(chance),
                adjusted.get(agent),
                verdict_of(gain, adjusted.get(agent), float(means(y, x))),
            )
    return [found[a, s] for a in pairs for s, *_ in SCORES if (a, s) in found]


def _without_claims(of: Change) -> Change:
    """The difference alone: specimens that are no sample say nothing about others."""
    nothing = float("nan")
    return replace(
        of,
        difference=Interval(of.difference.value, nothing, nothing),
        improvement=Interval(of.improvement.value, nothing, nothing),
        p=None,
        verdict="identical" if of.p is None else NO_CLAIM,
    )


def verdict_of(difference: Interval, p: float | None, of_means: float | None = None) -> str:
    """A difference B - A in words, by its interval and its adjusted p-value.

    The p-value is that of the difference of the means.  Where that has the other sign, as when
    a few specimens fare much worse and all others a little better, it supports nothing.
    """
    if p is None:
        return "identical"
    if difference.low <= ROUNDING and difference.high >= -ROUNDING:
        return "no difference shown"
    word = "better" if difference.low > 0 else "worse"
    agree = of_means is None or (of_means > 0) == (difference.low > 0)
    return word if p <= LEVEL and agree else f"perhaps {word}"


def _strata(pairs: Sequence[Pair], column: str) -> tuple[Strata, Strata] | None:
    """A score in A and in B, an array for each condition; None where it is not applicable.

    An agent that claims findings, but failed before it could, has found nothing; a target is
    compared on the specimens where both have a score.
    """
    both = [(condition_of(x["row"]), x["row"].get(column), y["row"].get(column)) for x, y in pairs]
    if any(all(pair[side] is None for pair in both) for side in (1, 2)):
        return None
    if column == "found_area":
        both = [(c, v or 0.0, w or 0.0) for c, v, w in both]
    by: dict[Condition, list[tuple[float, float]]] = {}
    for condition, v, w in both:
        if v is not None and w is not None:
            by.setdefault(condition, []).append((v, w))
    if not by:
        return None
    arrays = [np.array(of, dtype=np.float64) for of in by.values()]
    return [of[:, 0] for of in arrays], [of[:, 1] for of in arrays]


def _identical(x: Strata, y: Strata) -> bool:
    return all(np.array_equal(v, w) for v, w in zip(x, y, strict=True))


def _plain(of: Interval) -> Interval:
    return Interval(float(of.value), float(of.low), float(of.high))


def _pace(agent: str, pairs: Sequence[Pair]) -> Pace:
    def over(column: str) -> tuple[float, float]:
        a, b = (float(np.mean([pair[side]["row"][column] for pair in pairs])) for side in (0, 1))
        return a, b

    failed = [sum(bool(pair[side]["row"]["failed"]) for pair in pairs) for side in (0, 1)]
    return Pace(agent, over("latency_ms_median"), over("latency_ms_p95"), (failed[0], failed[1]))


def _scored_once(pairs: Mapping[str, Sequence[Pair]]) -> list[str]:
    """Agents that have a score in one folder alone, because they claim or flag nothing there."""
    notes = []
    for agent, of in pairs.items():
        for name, column, *_ in SCORES:
            there = [any(pair[k]["row"].get(column) is not None for pair in of) for k in (0, 1)]
            if there[0] != there[1]:
                notes.append(f"{agent} has the score {name} in {SIDES[there[1]]} only.")
    return notes


def _too_few(pairs: Mapping[str, Sequence[Pair]]) -> list[str]:
    """A sentence where not even the clearest difference could be called real."""
    tests = [_strata(of, "seen_area") for of in pairs.values()]
    count = sum(of is not None and not _identical(*of) for of in tests)
    most = max(len(of) for of in pairs.values())
    # Of the 2^n ways to swap, none and all give as much even when every pair says the same.
    least = ceil(1 - log2(LEVEL / count)) if count else 0
    if most >= least:
        return []
    return [
        f"With {counted(most, 'specimen')} no difference can be called real, however large: "
        f"of {counted(count, 'agent')} that takes at least {least}."
    ]


def rows_of(found: Comparison) -> Rows:
    """The changes as text, a row for each agent and score."""
    return [
        {
            "agent": c.agent,
            "score": c.score,
            "specimens": c.specimens,
            "A": f"{c.a:.3f}",
            "B": f"{c.b:.3f}",
            "B - A": _signed(c.difference.value),
            "95 % interval": _range(c.difference, _signed),
            "B higher": f"{c.improvement.value:.2f}"
            + (f" ({told})" if (told := _range(c.improvement, "{:.2f}".format)) else ""),
            "p": "" if c.p is None else f"{c.p:.2g}",
            "verdict": c.verdict,
        }
        for c in found.changes
    ]


def paces_of(found: Comparison) -> Rows:
    """Time to decide and failures as text, a row for each agent."""
    return [
        {
            "agent": p.agent,
            "median in A": f"{p.median_ms[0]:.3g} ms",
            "median in B": f"{p.median_ms[1]:.3g} ms",
            "p95 in A": f"{p.p95_ms[0]:.3g} ms",
            "p95 in B": f"{p.p95_ms[1]:.3g} ms",
            "failed in A": p.failed[0],
            "failed in B": p.failed[1],
        }
        for p in found.paces
    ]


def sentences(found: Comparison) -> list[str]:
    """What is compared, and what is not and why."""
    a, b = (
        f"{folder}, suite {of['name']}, version {of['version']}, hash {of['digest']}"
        for folder, of in zip(found.folders, found.suites, strict=True)
    )
    said = [f"A is {a}.", f"B is {b}."]
    if found.suites[0]["digest"] != found.suites[1]["digest"]:
        said.append(
            f"The suites differ in {', '.join(found.settings)}; compared is what they share."
        )
    said += found.notes
    said += [f"In {side} only: {', '.join(who)}." for side, who in found.only.items() if who]
    if found.apart:
        told = (
            f"{name} {_some(of[0])} in A and {_some(of[1])} in B"
            for name, of in found.apart.items()
        )
        said.append(f"Made with {'; '.join(told)}.")
    else:
        said.append("Made with the same versions on the same kind of machine.")
    return said


def conclusion(found: Comparison) -> list[str]:
    """Which differences are real, in the first of the scores, and what that means."""
    name = SCORES[0][0]
    by: dict[str, list[str]] = {}
    for change in found.changes:
        if change.score == name:
            by.setdefault(change.verdict, []).append(change.agent)
    told = "; ".join(
        f"{verdict}: {', '.join(by[verdict])}" for verdict in VERDICTS if verdict in by
    )
    return [
        f"On {counted(found.specimens, 'specimen')} in "
        f"{counted(found.conditions, 'condition')}, by {name}: {told}.",
        "Better and worse are of B, and real: the 95 % interval of the difference (bootstrap over "
        "specimens, stratified by condition) leaves out 0, and p, that nothing changed, is at "
        "most 0.05 (swaps of A and B on every specimen; adjusted over the agents by Holm's method, "
        "for each score by itself). Perhaps: the "
        "interval alone says so. Identical: to the bit on every specimen. Interquartile means, "
        "of flagged the mean.",
    ]


def markdown_of(found: Comparison) -> str:
    """All of it as a page in Markdown."""
    parts = [
        "# What changed from A to B",
        " ".join(conclusion(found)),
        markdown(rows_of(found)).rstrip(),
        "## Time to decide, and failures",
        markdown(paces_of(found)).rstrip(),
        "## What is compared",
        "\n".join(f"- {said}" for said in sentences(found)),
    ]
    return "\n\n".join(parts) + "\n"


def _range(of: Interval, shown: Callable[[float], str]) -> str:
    """From where to where; nothing where there is no interval."""
    return "" if np.isnan(of.low) else f"{shown(of.low)} to {shown(of.high)}"


def _signed(value: float) -> str:
    """Three digits with their sign, and none before nothing."""
    return f"{value:+.3f}" if abs(value) >= 0.0005 else "0.000"


def _some(values: Sequence[str]) -> str:
    return " and ".join(values) if values else "unknown"
