"""The figures of a suite's report, one function each: what it shows, in picture, words and rows."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import figures, statistics
from .curves import Runs
from .leaderboard import Condition, Entry, Scores
from .matrix import matrix_of
from .statistics import Interval, Strata
from .suite import label_of
from .tables import Rows, csv_of, csv_uri

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[Condition, Mapping[str, tuple[figures.Floats, figures.Floats]]]
THRESHOLDS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class Told:
    """What the figures are made of.

    Attributes:
        scores: of the specimens that are counted.
        entries: the leaderboard, best first.
        runs: the curves of the same specimens.
        suite: what was compared, as plain data.
    """

    scores: Scores
    entries: list[Entry]
    runs: Runs
    suite: Mapping[str, Any]

    @property
    def agents(self) -> tuple[str, ...]:
        """In the suite's order, by which they have their colours."""
        return self.scores.agents

    @property
    def ordered(self) -> list[str]:
        """Best first."""
        return [e.agent for e in self.entries]

    @cached_property
    def areas(self) -> dict[str, Strata]:
        return {a: self.scores.strata(a, "seen_area") for a in self.ordered}


@dataclass(frozen=True)
class Plate:
    """A figure of the report.

    Attributes:
        title, caption: in words.
        figure: the picture.
        data: what it shows, as rows.
    """

    title: str
    caption: str
    figure: Figure
    data: Rows

    @cached_property
    def svg(self) -> str:
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    @property
    def inline(self) -> str:
        """The picture as a part of a page."""
        return self.svg[self.svg.index("<svg") :]

    @property
    def csv_uri(self) -> str:
        return csv_uri(self.data)

    def write(self, folder: Path, name: str) -> list[Path]:
        """Its files: picture as PDF and SVG, data as CSV."""
        pdf, svg, rows = (folder / f"{name}.{kind}" for kind in ("pdf", "svg", "csv"))
        self.figure.savefig(pdf)
        svg.write_text(self.svg, encoding="utf-8")
        rows.write_text(csv_of(self.data), encoding="utf-8")
        return [pdf, svg, rows]


def positions(told: Told) -> Plate | str:
    placed = [e for e in told.entries if e.position is not None and np.isfinite(e.position.value)]
    if not placed:
        return "there is no random and oracle between which an agent could stand"
    return Plate(
        "Between random and oracle",
        "Areas under the discovery curve, from that of random frames (0) to the oracle's (1), "
        "means over the conditions"
        + (
            "; bars hold 95 % of the bootstrap replicates, which draw the same specimens for "
            "all agents."
            if told.scores.population
            else "."
        ),
        figures.positions(placed, told.agents),
        [{"agent": e.agent, **_parts(e.position)} for e in placed],
    )


def discovery(told: Told) -> Plate:
    curves = {c: {a: told.runs.average(a, c) for a in told.ordered} for c in told.scores.conditions}
    return Plate(
        "Discovery",
        "Share of all features that received the dose they need, against charge: means over the "
        "specimens of a condition.",
        figures.discovery(curves, told.agents, "charge (rasters)", same=True),
        _points(curves, "charge"),
    )


def discovery_in_time(told: Told) -> Plate:
    allowed = {c: told.runs.allowed_s(c) for c in told.scores.conditions}
    curves = {c: {a: told.runs.in_time(a, c, s) for a in told.ordered} for c, s in allowed.items()}
    return Plate(
        "Discovery in time",
        "The same shares against time, the instrument's and the agent's own thinking. Time ends "
        "when a contiguous scan would have spent the budget: who thinks long comes less far.",
        figures.discovery(curves, told.agents, "time (s)", same=False),
        _points(curves, "time_s"),
    )


def _points(curves: Curves, against: str) -> Rows:
    return [
        {"condition": figures.title_of(c), "agent": a, against: x, "seen": y}
        for c, of in curves.items()
        for a, (at, share) in of.items()
        for x, y in zip(at, share, strict=True)
    ]


def profiles(told: Told) -> Plate:
    shares = {
        a: told.scores.interval(statistics.profile(THRESHOLDS), s) for a, s in told.areas.items()
    }
    return Plate(
        "Performance profiles",
        "How many of all runs score more than a threshold"
        + (", with 95 % intervals" if told.scores.population else "")
        + ". One agent is better than another throughout where its line lies above.",
        figures.profiles(THRESHOLDS, shares, told.agents),
        [
            {"agent": a, "threshold": t, **_parts(Interval(*of))}
            for a, shown in shares.items()
            for t, *of in zip(THRESHOLDS, shown.value, shown.low, shown.high, strict=True)
        ],
    )


def improvement(told: Told) -> Plate | str:
    if not told.scores.population:
        return "its specimens are no sample, from which nothing follows about others"
    chance = {
        (a, b): statistics.interval(
            statistics.probability_of_improvement, told.areas[a], told.areas[b]
        )
        for a in told.ordered
        for b in told.ordered
        if a != b
    }
    table = np.array(
        [[chance[a, b].value if a != b else 0.5 for b in told.ordered] for a in told.ordered]
    )
    return Plate(
        "Who beats whom",
        "How often the agent of a row scores higher than that of a column on the same specimen; "
        "ties count half. The data holds the intervals.",
        figures.improvement(table, told.ordered),
        [{"agent": a, "than": b, **_parts(of)} for (a, b), of in chance.items()],
    )


def perception_and_navigation(told: Told) -> Plate | str:
    matrix = matrix_of([a for a in told.suite["agents"] if label_of(a) in told.agents])
    if matrix is None:
        return "its agents are not two navigators with two perceptions each"
    cells = [(n, p) for n in matrix.navigators for p in matrix.perceptions]
    rows: Rows = []
    panels = {}
    for title, score in (
        ("seen, area", "area"),
        ("flagged", "flagged"),
        ("found, area", "found"),
    ):
        of = {e.agent: getattr(e, score) for e in told.entries}
        # What frames hold follows from the way alone.
        stands = matrix.on_the_way_of if score == "area" else matrix.alone
        agents = [stands(*cell) for cell in cells]
        held = [of.get(agent) for agent in agents]
        panels[title] = np.array([np.nan if h is None else h.value for h in held]).reshape(
            len(matrix.navigators), -1
        )
        rows += [
            {"score": score, "navigator": n, "perception": p}
            | {"agent": agent}
            | (_parts(h) if h is not None else dict.fromkeys(("value", "low", "high"), ""))
            for (n, p), agent, h in zip(cells, agents, held, strict=True)
        ]
    return Plate(
        "Perception and navigation",
        "Interquartile means over all specimens. Left, what the frames hold, whoever looks at "
        "them: who does not look goes the same way with every perception; in the middle, how well "
        "the agent tells frames with a feature from others after the run (the mean); right, what "
        "was found. The column true holds agents that are told "
        "what a frame shows, and claim what has had all the dose that it needs; dcnn claims what "
        "it makes out, with less, and at the edges of frames. The row oracle holds those that know "
        "where everything lies. n/a: no such agent, or it has no target, or claims nothing. "
        "Colours go with the square root. The data holds the intervals.",
        figures.matrix(panels, matrix.navigators, matrix.perceptions),
        rows,
    )


def acceleration(told: Told) -> Plate | str:
    faster = {a: told.runs.acceleration(a) for a in told.ordered}
    if not any(np.isfinite(v).any() for v in faster.values()):
        return "no agent saw anything on a specimen whose raster is there"
    return Plate(
        "Acceleration over the raster",
        "For each specimen: the charge at which a raster of the whole field has seen as much "
        "as the agent had at its end, over the agent's charge when it had.",
        figures.accelerations(faster, told.agents),
        [{"agent": a, "acceleration": x} for a, v in faster.items() for x in v],
    )


def latency(told: Told) -> Plate:
    return Plate(
        "Time to decide",
        "The agent's own time for a decision, taking in the frame included, on one core.",
        figures.latencies(told.entries, told.agents),
        [
            {"agent": e.agent, "median_ms": e.latency_ms[0], "p95_ms": e.latency_ms[1]}
            for e in told.entries
        ],
    )


# By the names of their files, in the order of the page.  One that says nothing about a suite
# gives a sentence why instead.
PLATES: Mapping[str, Callable[[Told], Plate | str]] = {
    "positions": positions,
    "discovery": discovery,
    "discovery-in-time": discovery_in_time,
    "profiles": profiles,
    "improvement": improvement,
    "matrix": perception_and_navigation,
    "acceleration": acceleration,
    "latency": latency,
}


def _parts(of: Interval | None) -> dict[str, Any]:
    assert of is not None
    value = {"value": float(of.value)}
    return value if np.isnan(of.low) else {**value, "low": float(of.low), "high": float(of.high)}
