"""The reference results that the package holds.

    python -m stemscout.benchmarks.published standard [FOLDER]

runs the suite in FOLDER (by default ``results/standard``; it finishes what is missing), and
writes ``published/standard`` beside this file: a folder of results like any other, with
the table of all episodes and the curves of discovery, means over specimens, but with the
records of a few specimens only, of every agent and condition, for those who want to replay
some.  ``python docs/leaderboard.py`` makes the page from all of them.  They are made again
whenever agents are added.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .curves import Runs
from .leaderboard import Condition, Floats, Scores
from .results import TABLE, Results, row_of
from .runner import run_suite
from .suite import Job, load_suite

SUITES = ("standard", "slow", "matrix")
CURVES = "curves.parquet"
FOLDER = Path(__file__).parent / "published"
Curve = tuple[Floats, Floats]
KEPT = (0,)  # specimens whose episodes can be replayed


def publish(results: Results, folder: Path, kept: tuple[int, ...] = KEPT) -> Path:
    """Put the table of results, and the records of some specimens, into a new folder.

    Args:
        results: of a suite that was run to its end.
        folder: is made anew.
        kept: specimens whose records go with it.
    """
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "episodes").mkdir(parents=True)
    shutil.copy(results.folder / "suite.json", folder)
    shutil.copy(results.write_table(), folder / TABLE)
    records = results.records()
    for record in records:
        if record["job"]["specimen"] in kept:
            path = results.path(Job.of(record["job"]).key)
            shutil.copy(path, folder / "episodes")
    pq.write_table(pa.table(_curves(records)), folder / CURVES)
    return folder


def _curves(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Columns: of every agent and condition, the mean share seen by each of 101 charges."""
    scores = Scores([row_of(r) for r in records])
    runs = Runs(records, scores)
    names = ("agent", "environment", "difficulty", "variant", "charge", "seen")
    rows = [
        (agent, *condition, *point)
        for agent in scores.agents
        for condition in scores.conditions
        for point in np.round(np.transpose(runs.average(agent, condition)), 4).tolist()
    ]
    return dict(zip(names, zip(*rows, strict=True), strict=True))


def curves(folder: Path) -> dict[Condition, dict[str, Curve]]:
    """The mean curves of a published folder, by condition and agent: charge and share (101,)."""
    found: dict[Condition, dict[str, list[tuple[float, float]]]] = {}
    for row in pq.read_table(folder / CURVES).to_pylist():
        condition = (row["environment"], row["difficulty"], row["variant"])
        own = found.setdefault(condition, {}).setdefault(row["agent"], [])
        own.append((row["charge"], row["seen"]))
    return {c: {a: _points(v) for a, v in of.items()} for c, of in found.items()}


def _points(rows: list[tuple[float, float]]) -> Curve:
    charge, seen = np.transpose(rows)
    return charge, seen


def published(suite: str) -> Path:
    """The folder of a suite's reference results in the package."""
    return FOLDER / suite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("folder", nargs="?", type=Path)
    given = parser.parse_args()
    suite = load_suite(given.suite)
    results = Results(given.folder or Path("results") / suite.name, suite)
    run_suite(suite, results)
    print(publish(results, published(suite.name)))


if __name__ == "__main__":
    main()
