"""The page of the paper's protocol, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import facts
from .paper import (
    Runs,
    differences,
    lines,
    remarks,
    rows_of,
    rows_of_differences,
    runs_of,
)
from .paper_figures import curves_of, picture_figure, rows_of_curves
from .paper_verdicts import verdicts
from .plates import Plate
from .protocol import picture_of
from .report import template
from .results import Results
from .suite import Job, label_of
from .tables import csv_of, markdown
from .workflows import Setting

PAGE, PARTS = "paper.html", "paper"  # of a folder of results


def write_page(results: Results, runs: Runs, command: str) -> Path:
    """Make ``paper.html`` and the folder ``paper`` beside the results; where the page is.

    Args:
        results: of the suite.
        runs: those that are there (``runs_of``).
        command: what repeats them.
    """
    found, apart = lines(results, runs), differences(results, runs)
    parts = results.folder / PARTS
    parts.mkdir(exist_ok=True)
    plates = {name: plate_of(results, runs, name) for name in pictures_of(runs)}
    for name, plate in plates.items():
        plate.write(parts, name)
    tables = {"workflows": rows_of(found), "differences": rows_of_differences(apart)}
    for name, rows in tables.items():
        if rows:
            (parts / f"{name}.csv").write_text(csv_of(rows), encoding="utf-8")
            (parts / f"{name}.md").write_text(markdown(rows), encoding="utf-8")
    page = template("paper.html.j2").render(
        suite=results.suite,
        facts=_facts(results, runs),
        remarks=remarks(results, runs),
        verdicts=verdicts(found, apart),
        plates=plates,
        tables={k: v for k, v in tables.items() if v},
        command=command,
    )
    path = results.folder / PAGE
    path.write_text(page, encoding="utf-8")
    return path


def write_figure(results: Results, name: str) -> list[Path]:
    """Make the figure of one picture and nothing else; where its files are.

    Raises:
        ValueError: no such picture, or no run on it has ended.
    """
    runs = runs_of(results)
    there = pictures_of(runs)
    if name not in there:
        raise ValueError(f"unknown figure {name!r}; there are: {', '.join(there)}")
    parts = results.folder / PARTS
    parts.mkdir(exist_ok=True)
    return plate_of(results, runs, name).write(parts, name)


def pictures_of(runs: Runs) -> list[str]:
    """Those on which a run has ended, in the suite's order."""
    return list(dict.fromkeys(picture for picture, _ in runs))


def plate_of(results: Results, runs: Runs, name: str) -> Plate:
    """The figure of a picture, with its words and data."""
    settings = {label_of(a): Setting.of(a) for a in results.suite["agents"]}
    own = {label: of for (picture, label), of in runs.items() if picture == name}
    sound = {k: [s for s, r in of.items() if r["trace"]["means"]] for k, of in own.items()}
    seed = min((s for of in sound.values() for s in of), default=0)
    shown = {label: own[label][seed] for label, of in sound.items() if seed in of}
    picture = picture_of(Job.of(next(iter(next(iter(own.values())).values()))["job"]))
    if shown:
        picture = picture_of(Job.of(next(iter(shown.values()))["job"]))
    curves = curves_of(runs, name)
    caption = (
        f"Above, the run of seed {seed}: each workflow's true map, fitted on all windows, and its "
        "belief and uncertainty by which the batch of a step was chosen; dots are the windows "
        "measured by then, the first dark. Below, the picture"
        + (", true features marked" if picture.truth is not None else "")
        + ", and medians over the seeds with their quartiles; broken lines: descriptors fitted "
        "online."
    )
    figure = picture_figure(picture, shown, curves, settings)
    return Plate(name, caption, figure, rows_of_curves(curves))


def _facts(results: Results, runs: Runs) -> dict[str, str]:
    """The box at the top of the page, in order."""
    records = [r for of in runs.values() for r in of.values()]
    made = facts.made_with(records)
    packages = dict.fromkeys(n for r in records for n in r["made"]["versions"])
    suite: dict[str, Any] = results.suite
    return {
        "suite": f"{suite['name']}, version {suite['version']}",
        "hash": suite["digest"],
        "runs": f"{len(records)}, {sum(r['failed'] for r in records)} failed",
        "seeds": str(len(suite["specimens"])),
        "processor time": f"{sum(r['cpu_s'] for r in records) / 60:.1f} min",
        "versions": ", ".join(f"{n} {' and '.join(made[n])}" for n in packages),
    }
