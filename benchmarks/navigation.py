"""Navigators held against each other: the suites, and one table of what came of them.

Three suites of the one runner: `navigation` for whatever decides in 20 ms, `navigation_rivals` for
the slower ones on fewer seeds, and `navigation_latency` for the time of a decision.  A line of
the table is a navigator on a group of targets; what is compared with the plain grid is paired:
the same target of the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import statistics
from .contest import COUNTS, PREFIX
from .leaderboard import Row, Scores
from .results import Results, row_of
from .rivals import not_installed
from .statistics import Interval
from .suite import Suite, label_of, load_suite
from .tables import Cell, Rows
from .targets import ANALYTIC, IMAGES, missing

SUITES = ("navigation", "navigation_rivals", "navigation_latency")
GRID = "grid"  # by this label: what the others must beat
RECORDED, FIRST = "recorded", "told first"
By = dict[int, float | None]


@dataclass(frozen=True)
class Standing:
    """A navigator on a group of targets.

    Attributes:
        group: a target, or `recorded` for those of recorded images together; `told first`
            where only decisions were timed, after observations that were told.
        variant: of the suite: how many observations were made.
        navigator: its label.
        runs, failed: hunts, and how many of them failed; they score what they had by then.
        repeats: observations of candidates that had been observed before; there should be none.
        regret: interquartile mean by count; None where all values are alike.
        found: share of the features, the same; None where there are none.
        covered: share of the candidates near an observed one, the same.
        area: interquartile mean of the area under the share found against observations.
        over_grid: how often that area is larger than the grid's on the same target.
        median_ms, p95_ms: of the decisions at a count: medians over the hunts.
        grown_mb: the largest growth of memory from 100 to 500 observations.
    """

    group: str
    variant: str
    navigator: str
    runs: int
    failed: int
    repeats: int
    regret: Mapping[int, Interval | None]
    found: Mapping[int, Interval | None]
    covered: Mapping[int, Interval | None]
    area: Interval | None
    over_grid: Interval | None
    median_ms: By
    p95_ms: By
    grown_mb: float | None

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)


def at_hand(suite: Suite) -> tuple[Suite, list[str]]:
    """A suite of navigators without what is not there, and a sentence for each thing left out.

    Raises:
        ValueError: nothing is left.
    """
    if suite.kind != "hunt":
        return suite, []
    why = {e: missing(e.removeprefix(PREFIX)) for e in suite.environments}
    environments = tuple(e for e in suite.environments if why[e] is None)
    agents = tuple(a for a in suite.agents if not not_installed(a["name"]))
    said = [f"{e} is left out: {of}" for e, of in why.items() if of is not None]
    said += [
        f"{a['name']} is left out: not installed" for a in suite.agents if a not in list(agents)
    ]
    if not environments or not agents:
        raise ValueError(f"suite {suite.name!r}: nothing is left; {'; '.join(said)}")
    return replace(suite, environments=environments, agents=agents), said


def suites(seeds: int | None = None) -> list[tuple[Suite, list[str]]]:
    """The three suites with what is at hand, on their first so many seeds.

    Raises:
        ValueError: no seeds.
    """
    if seeds is not None and seeds < 1:
        raise ValueError(f"{seeds} seeds; there must be at least 1")
    wanted = [load_suite(name) for name in SUITES]
    return [at_hand(replace(s, specimens=s.specimens[:seeds])) for s in wanted]


def standings(folders: Sequence[Path]) -> list[Standing]:
    """All lines of the table, group by group, the largest area first.

    Times that no hunt has, since it ended before, are those after observations that were
    told, where a folder has them.

    Raises:
        ValueError: a folder holds no results, or not of navigators.
    """
    found: list[Standing] = []
    told: dict[str, By] = {}
    for folder in folders:
        results = Results(folder)
        if results.kind != "hunt":
            raise ValueError(f"{str(folder)!r} holds results of agents, and not of navigators")
        labels = [label_of(a) for a in results.suite["agents"]]
        rows = [row_of(r) for r in results.records()]
        rows.sort(key=lambda r: labels.index(r["agent"]))  # as the suite has them, not their files
        first = [name for name, options in results.suite["variants"] if options.get("told")]
        for variant, _ in results.suite["variants"]:
            if variant not in first:
                found += _section([r for r in rows if r["variant"] == variant], variant)
        timed = [r for r in rows if r["variant"] in first]
        for navigator in dict.fromkeys(r["agent"] for r in timed):
            own = [r for r in timed if r["agent"] == navigator]
            told[navigator] = _typical(own, "median_ms")
            found.append(_told(own, told[navigator]))
    return [replace(s, median_ms=_filled(s.median_ms, told.get(s.navigator, {}))) for s in found]


def _section(rows: Sequence[Row], variant: str) -> list[Standing]:
    """Of one variant; only what all navigators have is counted."""
    if not rows:
        return []
    scores = Scores(rows)
    found = []
    for group in (*ANALYTIC, RECORDED):
        members = [PREFIX + n for n in (IMAGES if group == RECORDED else (group,))]
        strata = [n for n, (e, _, _) in enumerate(scores.conditions) if e in members]
        if strata:
            of = [_standing(scores, strata, group, variant, a) for a in scores.agents]
            found += sorted(of, key=lambda s: -float(s.area.value) if s.area else 0.0)
    return found


def _standing(
    scores: Scores, strata: Sequence[int], group: str, variant: str, navigator: str
) -> Standing:
    def of(column: str, agent: str = navigator) -> list[Any]:
        every = scores.strata(agent, column)
        return [every[n] for n in strata]

    def told(statistic: Callable[..., Any], *values: list[Any]) -> Interval | None:
        sound = all(np.isfinite(v).all() for agent in values for v in agent)
        return scores.interval(statistic, *values) if sound else None

    rows = [r for r in scores.rows_of(navigator) if _within(r, scores, strata)]
    counts = [n for n in COUNTS if f"regret_{n}" in rows[0]]
    middle = statistics.interquartile_mean
    grown = [r["grown_mb"] for r in rows if r["grown_mb"] is not None]
    against = navigator != GRID and GRID in scores.agents
    return Standing(
        group,
        variant,
        navigator,
        len(rows),
        sum(bool(r["failed"]) for r in rows),
        sum(r["repeats"] for r in rows),
        regret={n: told(middle, of(f"regret_{n}")) for n in counts},
        found={n: told(middle, of(f"share_{n}")) for n in counts},
        covered={n: told(middle, of(f"covered_{n}")) for n in counts},
        area=told(middle, of("area")),
        over_grid=told(statistics.probability_of_improvement, of("area"), of("area", GRID))
        if against
        else None,
        median_ms=_typical(rows, "median_ms"),
        p95_ms=_typical(rows, "p95_ms"),
        grown_mb=max(grown) if grown else None,
    )


def _within(row: Row, scores: Scores, strata: Sequence[int]) -> bool:
    condition = row["environment"], row["difficulty"], row["variant"]
    return scores.conditions.index(condition) in strata


def _told(rows: Sequence[Row], median_ms: By) -> Standing:
    """Of hunts in which only decisions were timed."""
    failed, repeats = sum(bool(r["failed"]) for r in rows), sum(r["repeats"] for r in rows)
    name = rows[0]["agent"]
    return Standing(
        FIRST, "", name, len(rows), failed, repeats, {}, {}, {}, None, None, median_ms, {}, None
    )


def _typical(rows: Sequence[Row], column: str) -> By:
    """Medians over rows of what they have at each count."""
    found: By = {}
    for n in COUNTS:
        values = [r[f"{column}_{n}"] for r in rows if r.get(f"{column}_{n}") is not None]
        if values:
            found[n] = float(np.median(values))
    return found


def _filled(own: By, told: By) -> By:
    return {n: own.get(n, told.get(n)) for n in COUNTS if n in own or n in told}


def lines(found: Sequence[Standing]) -> Rows:
    """The table as people read it: figures at 50, 100, 200 and 500 observations side by side."""
    return [
        {
            "target": f"{s.group}, {s.variant}" if s.variant else s.group,
            "navigator": s.navigator,
            "runs": str(s.runs) + (f", {s.failed} failed" if s.failed else ""),
            "regret": _of(s.regret),
            "found": _of(s.found),
            "over grid": "" if s.navigator == GRID else Cell.of(s.over_grid).whole,
            "covered": _of(s.covered),
            "ms": " ".join(_ms(v) for v in s.median_ms.values()),
            "p95 ms": " ".join(_ms(v) for v in s.p95_ms.values()),
            "repeats": s.repeats,
            "grown MB": "" if s.grown_mb is None else f"{s.grown_mb:.0f}",
        }
        for s in found
    ]


def remarks(found: Sequence[Standing]) -> list[str]:
    """What has to be known of the table, in sentences; what went wrong comes first."""
    said = [
        f"{s.navigator} observed {s.repeats} candidates again on {s.group} {s.variant}".rstrip()
        for s in found
        if s.repeats and s.group != FIRST
    ]
    counts = ", ".join(map(str, COUNTS))
    return [
        *said,
        f"Figures stand side by side at {counts} observations, as far as a hunt went; regret, "
        "found and covered are interquartile means over the seeds. over grid: how often the area "
        "under found exceeds the grid's on the same target, ties counting half, with its 95 % "
        "interval. Times beyond a hunt's end are medians of five decisions after observations "
        "that were told. grown MB: by how much a process's highest memory grew from 100 to 500 "
        "observations, at most.",
    ]


def _of(by: Mapping[int, Interval | None]) -> str:
    return " ".join("n/a" if v is None else f"{float(v.value):.2f}" for v in by.values())


def _ms(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.2g}" if value < 100 else f"{value:.0f}"
