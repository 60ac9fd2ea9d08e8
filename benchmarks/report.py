"""The report of a suite: one self-contained page, and its figures and tables for a paper."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import figures, statistics
from .curves import Runs
from .episode_figure import caption_of, episode
from .examples import (
    Example,
    NotShown,
    best_and_worst,
    explained,
    finding_rows,
    frame_rows,
    scores_of,
    taken_again,
    title_of,
)
from .facts import facts, sureness, warnings
from .leaderboard import Entry, Scores, leaderboard
from .results import Results, row_of
from .statistics import Interval

TEMPLATE = Path(__file__).parent / "report.html.j2"
PAGE, PARTS = "report.html", "report"  # of a folder of results
LARGEST = 300_000  # bytes of a figure on the page,
RESOLUTIONS = (140, 90, 60, 40, 20)  # and what of it is no vector is made coarser until it is
THRESHOLDS = np.linspace(0.0, 1.0, 101)
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("area", "area", "area under the share seen against charge, over the budget"),
    ("area_in_time", "in time", "the same against time, with the agent's own thinking"),
    ("seen", "seen", "final share of what there is"),
    ("position", "position", "of the area, from random (0) to the oracle (1)"),
    ("found", "found", "area under the F1 of what was claimed"),
    ("flagged", "flagged", "average precision of its target on 64 frames"),
    ("half", "half at", "rasters after which half of the specimens had half of it seen"),
)
NEVER = 1e9  # sorts behind every charge
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Plate:
    """A figure on the page.

    Attributes:
        name: of its files.
        title, caption: in words.
        svg: the picture.
        data: what it shows, as rows.
    """

    name: str
    title: str
    caption: str
    svg: str
    data: Rows

    @property
    def csv_uri(self) -> str:
        return csv_uri(self.data)


@dataclass(frozen=True)
class Portrait:
    """One episode on the page.

    Attributes:
        plate: its picture; the caption alone, and no svg, where there is none.
        facts: the list below it.
        sentences: what else is said of it.
        findings: what it claimed, as rows.
    """

    plate: Plate
    facts: dict[str, str]
    sentences: list[str]
    findings: Rows

    @property
    def findings_uri(self) -> str:
        return csv_uri(self.findings)


@dataclass(frozen=True)
class Cell:
    """A number of a table as people read it, as it is sorted, and its interval."""

    text: str
    key: float
    range: str = ""

    @classmethod
    def of(cls, found: Interval | None) -> Cell:
        """Of a statistic; what is not applicable is sorted last, what never came first."""
        if found is None or np.isnan(found.value):
            return cls("n/a", -1.0)
        if np.isnan(found.low):  # it was never asked how sure it is
            sure = np.isfinite(found.value)
            return cls(_two(found.value), float(found.value)) if sure else cls("never", NEVER)
        low, high = (_two(v) if np.isfinite(v) else "never" for v in (found.low, found.high))
        if not np.isfinite(found.value):
            return cls("never", NEVER, f"{low} to never" if low != "never" else "")
        return cls(_two(found.value), float(found.value), f"{low} to {high}")

    @property
    def whole(self) -> str:
        """Value and interval in one line."""
        return self.text + (f" ({self.range})" if self.range else "")


def write_report(folder: str | Path, command: str) -> Path:
    """Make ``report.html`` and the folder ``report`` beside the results; where the page is.

    Args:
        folder: of results.
        command: what repeats them.

    Raises:
        ValueError: no results, or none that all agents have.
    """
    from jinja2 import Environment, select_autoescape

    results = Results(folder)
    records = results.records()
    rows = [row_of(r) for r in records]
    scores = Scores(rows, results.suite.get("population", True))
    entries = leaderboard(scores)
    parts = results.folder / PARTS
    parts.mkdir(exist_ok=True)
    portraits = _portraits(records, scores, results.suite, parts)
    plates = list(_plates(scores, entries, Runs(records, scores), parts))
    table = leaderboard_table(entries)
    said = sureness(scores)
    (parts / "leaderboard.md").write_text(markdown(table) + f"\n{said}\n" * bool(said), "utf-8")
    (parts / "leaderboard.tex").write_text(f"% {said}\n" * bool(said) + latex(table), "utf-8")
    (parts / "leaderboard.csv").write_text(csv_of(table), encoding="utf-8")
    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        suite=results.suite,
        facts=facts(results.suite, records, scores),
        warnings=warnings(records),
        population=scores.population,
        sureness=said,
        few=bool(scores.few),
        columns=COLUMNS,
        lines=[_line(e) for e in entries],
        plates=plates,
        portraits=portraits,
        conditions=_by_condition(scores, entries),
        failures=[r for r in rows if r["failed"]],
        command=command,
    )
    path = results.folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def _saved(figure: Any, path: Path) -> str:
    """The figure as SVG for the page; it is written to an SVG and a PDF file besides."""
    for dpi in RESOLUTIONS:  # of what is no vector
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=dpi)
        svg = buffer.getvalue()
        if len(svg) <= LARGEST:
            break
    path.with_suffix(".svg").write_text(svg, encoding="utf-8")
    figure.savefig(path.with_suffix(".pdf"), dpi=dpi)
    return svg[svg.index("<svg") :]


def _portraits(
    records: Sequence[Mapping[str, Any]], scores: Scores, suite: Mapping[str, Any], parts: Path
) -> dict[str, list[Portrait]]:
    """The best and the worst episode of each id, by its name; none of them costs the page."""
    found: dict[str, list[Portrait]] = {}
    for example in best_and_worst(records, scores, suite):
        environment = figures.name_of(example.environment)
        name = f"{environment.lower()}-{example.rank}"
        try:
            portrait = _portrait(example, name, parts)
        except Exception as error:  # an agent's maps, another version, a full disk
            why = f"It cannot be shown here: {type(error).__name__}: {error}"
            portrait = Portrait(Plate(name, title_of(example), why, "", []), {}, [], [])
        found.setdefault(environment, []).append(portrait)
    return found


def _portrait(example: Example, name: str, parts: Path) -> Portrait:
    again = taken_again(example.record)
    explanation, sentences = None, []
    try:
        explanation = explained(example.record, again.frames)
        sentences.append(f"Its last decision: {explanation.sentence}.")
    except NotShown as why:
        sentences.append(f"What it believed is not shown: {why}.")
    try:
        svg = _saved(episode(again, explanation), parts / name)
    except Exception as error:
        if explanation is None:
            raise
        svg = _saved(episode(again, None), parts / name)  # somebody else's maps may be anything
        sentences.append(f"Its maps cannot be drawn: {type(error).__name__}: {error}.")
        explanation = None
    frames, findings = frame_rows(again), finding_rows(again)
    (parts / f"{name}.csv").write_text(csv_of(frames), encoding="utf-8")
    if again.claims is not None:
        (parts / f"{name}-findings.csv").write_text(csv_of(findings), encoding="utf-8")
    caption = caption_of(again, explanation)
    return Portrait(
        Plate(name, title_of(example), caption, svg, frames),
        scores_of(example.record),
        sentences,
        findings,
    )


def _plates(scores: Scores, entries: Sequence[Entry], runs: Runs, parts: Path) -> Iterator[Plate]:
    """The figures, each written to its files as well."""
    agents = scores.agents
    ordered = [e.agent for e in entries]

    def plate(name: str, title: str, caption: str, figure: Any, data: Rows) -> Plate:
        (parts / f"{name}.csv").write_text(csv_of(data), encoding="utf-8")
        return Plate(name, title, caption, _saved(figure, parts / name), data)

    placed = [e for e in entries if e.position is not None and np.isfinite(e.position.value)]
    if placed:
        yield plate(
            "positions",
            "Between random and oracle",
            "Areas under the discovery curve, from that of random frames (0) to the oracle's (1), "
            "means over the conditions"
            + (
                "; bars hold 95 % of the bootstrap replicates, which draw the same specimens for "
                "all agents."
                if scores.population
                else "."
            ),
            figures.positions(placed, agents),
            [{"agent": e.agent, **_parts(e.position)} for e in placed],
        )
    curves = {c: {a: runs.average(a, c) for a in ordered} for c in scores.conditions}
    yield plate(
        "discovery",
        "Discovery",
        "Share of all features that received the dose they need, against charge: means over the "
        "specimens of a condition.",
        figures.discovery(curves, agents),
        [
            {"condition": figures.title_of(c), "agent": a, "charge": x, "seen": y}
            for c, of in curves.items()
            for a, (at, share) in of.items()
            for x, y in zip(at, share, strict=True)
        ],
    )
    areas = {a: scores.strata(a, "seen_area") for a in ordered}
    shares = {a: scores.interval(statistics.profile(THRESHOLDS), s) for a, s in areas.items()}
    yield plate(
        "profiles",
        "Performance profiles",
        "How many of all runs score more than a threshold"
        + (", with 95 % intervals" if scores.population else "")
        + ". One agent is better than another throughout where its line lies above.",
        figures.profiles(THRESHOLDS, shares, agents),
        [
            {"agent": a, "threshold": t, **_parts(Interval(*of))}
            for a, shown in shares.items()
            for t, *of in zip(THRESHOLDS, shown.value, shown.low, shown.high, strict=True)
        ],
    )
    if scores.population:
        chance = {
            (a, b): scores.interval(statistics.probability_of_improvement, areas[a], areas[b])
            for a in ordered
            for b in ordered
            if a != b
        }
        table = np.array(
            [[chance[a, b].value if a != b else 0.5 for b in ordered] for a in ordered]
        )
        yield plate(
            "improvement",
            "Who beats whom",
            "How often the agent of a row scores higher than that of a column on the same "
            "specimen; ties count half. The data holds the intervals.",
            figures.improvement(table, ordered),
            [{"agent": a, "than": b, **_parts(of)} for (a, b), of in chance.items()],
        )
    faster = {a: runs.acceleration(a) for a in ordered}
    if any(np.isfinite(v).any() for v in faster.values()):
        yield plate(
            "acceleration",
            "Acceleration over the raster",
            "For each specimen: the charge at which a raster of the whole field has seen as much "
            "as the agent had at its end, over the agent's charge when it had.",
            figures.accelerations(faster, agents),
            [{"agent": a, "acceleration": x} for a, v in faster.items() for x in v],
        )
    yield plate(
        "latency",
        "Time to decide",
        "The agent's own time for a decision, taking in the frame included, on one core.",
        figures.latencies(entries, agents),
        [
            {"agent": e.agent, "median_ms": e.latency_ms[0], "p95_ms": e.latency_ms[1]}
            for e in entries
        ],
    )


def _by_condition(scores: Scores, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The interquartile mean of the area, a row for each condition."""
    found = []
    for n, condition in enumerate(scores.conditions):
        cells = []
        for entry in entries:
            own = [scores.strata(entry.agent, "seen_area")[n]]
            of = scores.interval(statistics.interquartile_mean, own)
            cells.append(Cell.of(of))
        count = len(scores.specimens[condition])
        found.append(
            {
                "name": figures.title_of(condition),
                "specimens": count,
                "few": condition in scores.few,
                "cells": cells,
            }
        )
    return found


def _line(entry: Entry) -> dict[str, Any]:
    """A row of the leaderboard on the page."""
    cells = [Cell.of(getattr(entry, name)) for name, _, _ in COLUMNS]
    cells.append(Cell(f"{entry.latency_ms[0]:.3g}", entry.latency_ms[0]))
    cells.append(Cell(str(entry.failed), float(entry.failed)))
    return {"agent": entry.agent, "privileged": entry.privileged, "cells": cells}


def leaderboard_table(entries: Sequence[Entry]) -> Rows:
    """The leaderboard as text, for Markdown, LaTeX and CSV."""
    found = []
    for entry in entries:
        line = _line(entry)
        names = [*(title for _, title, _ in COLUMNS), "ms", "failed"]
        agent = entry.agent + (" (knows the truth)" if entry.privileged else "")
        cells = (c.whole for c in line["cells"])
        found.append({"agent": agent, **dict(zip(names, cells, strict=True))})
    return found


def markdown(rows: Rows) -> str:
    """A table in Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(v) for v in r.values()] for r in rows)]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in of) + " |\n" for of in lines)


def latex(rows: Rows) -> str:
    """A table in LaTeX, with booktabs' rules."""
    special = str.maketrans({c: f"\\{c}" for c in "&%$#_{}"})
    head = list(rows[0])
    lines = [
        " & ".join(str(v).translate(special) for v in r) for r in (head, *map(dict.values, rows))
    ]
    body = " \\\\\n".join(lines[1:])
    columns = "l" + "r" * (len(head) - 1)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{lines[0]} \\\\\n\\midrule\n{body} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def csv_of(rows: Rows) -> str:
    """Rows as CSV."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def csv_uri(rows: Rows) -> str:
    """Rows as a file to download."""
    return "data:text/csv;base64," + base64.b64encode(csv_of(rows).encode()).decode()


def _two(value: float) -> str:
    """Two digits, and no minus before nothing."""
    return f"{round(float(value), 2) + 0.0:.2f}"


def _parts(of: Interval | None) -> dict[str, float]:
    assert of is not None
    value = {"value": float(of.value)}
    return value if np.isnan(of.low) else {**value, "low": float(of.low), "high": float(of.high)}
