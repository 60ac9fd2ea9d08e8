"""The report of a suite: one self-contained page, and its figures and tables for a paper."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import figures, statistics
from .curves import Runs
from .details import about, details
from .facts import facts, sureness, unfinished, warnings
from .leaderboard import Entry, Scores, leaderboard
from .plates import PLATES, Plate, Told
from .portraits import portrait_of, portraits
from .results import Results, row_of
from .tables import Cell, Rows, csv_of, latex, markdown

PAGE, PARTS = "report.html", "report"  # of a folder of results
RANKS = ("-best", "-worst", "-only")  # of episodes, at the end of their names
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("area", "area", "area under the share seen against charge, over the budget"),
    ("area_in_time", "in time", "the same against time, with the agent's own thinking"),
    ("seen", "seen", "final share of what there is"),
    ("position", "position", "of the area, from random (0) to the oracle (1)"),
    ("found", "found", "area under the F1 of what was claimed"),
    ("flagged", "flagged", "average precision of its target on 64 frames"),
    ("half", "half at", "rasters after which half of the specimens had half of it seen"),
)


def write_report(folder: str | Path, command: str) -> Path:
    """Make ``report.html`` and the folder ``report`` beside the results; where the page is.

    Args:
        folder: of results.
        command: what repeats them.

    Raises:
        ValueError: no results, or none that all agents have.
    """
    results = _of_agents(folder)
    records = results.records()
    rows = [row_of(r) for r in records]
    scores = Scores(rows, results.suite.get("population", True))
    entries = leaderboard(scores)
    parts = results.folder / PARTS
    parts.mkdir(exist_ok=True)
    told = Told(scores, entries, Runs(records, scores), results.suite)
    drawn = {name: plate_of(told) for name, plate_of in PLATES.items()}
    plates = {name: plate for name, plate in drawn.items() if isinstance(plate, Plate)}
    for name, plate in plates.items():
        plate.write(parts, name)
    table = leaderboard_table(entries)
    said = sureness(scores)
    (parts / "leaderboard.md").write_text(markdown(table) + f"\n{said}\n" * bool(said), "utf-8")
    (parts / "leaderboard.tex").write_text(f"% {said}\n" * bool(said) + latex(table), "utf-8")
    (parts / "leaderboard.csv").write_text(csv_of(table), encoding="utf-8")
    readings = results.suite["readings"]
    further = details(scores, entries, readings)
    plain = [{k: v if k == "agent" else v.whole for k, v in row.items()} for row in further]
    (parts / "details.csv").write_text(csv_of(plain), encoding="utf-8")
    (parts / "details.md").write_text(markdown(plain), encoding="utf-8")
    (parts / "details.tex").write_text(latex(plain), encoding="utf-8")
    page = template("report.html.j2").render(
        suite=results.suite,
        facts=facts(results.suite, records, scores),
        warnings=[*unfinished(records, len(results.jobs())), *warnings(records)],
        population=scores.population,
        sureness=said,
        few=bool(scores.few),
        columns=COLUMNS,
        lines=[_line(e) for e in entries],
        further=further,
        further_about=about(readings),
        plates=plates,
        portraits=portraits(records, scores, results.suite, parts),
        again=lambda name: f"stemscout bench report {shlex.quote(str(folder))} --only {name}",
        conditions=_by_condition(scores, entries),
        failures=[r for r in rows if r["failed"]],
        command=command,
    )
    path = results.folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def template(name: str) -> Any:
    """A page of this folder; what it is given is escaped."""
    from jinja2 import Environment, FileSystemLoader, select_autoescape

    folder = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=folder, autoescape=select_autoescape(default=True))
    return environment.get_template(name)


def write_figure(folder: str | Path, name: str) -> list[Path]:
    """Make one figure of the report and nothing else; where its files are.

    Args:
        folder: of results.
        name: of the figure: a key of ``PLATES``, or of an episode, such as
            ``graphenedefects-best``.

    Raises:
        ValueError: an unknown figure, one that says nothing about this suite, no results, or
            none that all agents have.
    """
    episode = name.endswith(RANKS)
    if name not in PLATES and not episode:
        raise ValueError(
            f"unknown figure {name!r}; there are: {', '.join(PLATES)}, and those of episodes, "
            "such as graphenedefects-best"
        )
    results = _of_agents(folder)
    records = results.records()
    rows = [row_of(r) for r in records]
    scores = Scores(rows, results.suite.get("population", True))
    parts = results.folder / PARTS
    parts.mkdir(exist_ok=True)
    if episode:
        return portrait_of(name, records, scores, results.suite, parts)
    plate = PLATES[name](Told(scores, leaderboard(scores), Runs(records, scores), results.suite))
    if not isinstance(plate, Plate):
        raise ValueError(f"{str(folder)!r} has no figure {name}: {plate}")
    return plate.write(parts, name)


def _of_agents(folder: str | Path) -> Results:
    """Results that a page can show."""
    results = Results(folder)
    if results.kind == "hunt":
        raise ValueError(
            f"{str(folder)!r} holds hunts of navigators, which have a table and no page; "
            "`stemscout bench navigation` prints it"
        )
    if results.kind == "protocol":
        raise ValueError(
            f"{str(folder)!r} holds runs of the paper's protocol, which have a page of their own; "
            "`stemscout paper --out` makes it"
        )
    return results


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
