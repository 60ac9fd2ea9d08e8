"""The reference results that the package holds.

    python -m stemscout.benchmarks.published standard [FOLDER]

runs the suite in FOLDER (by default ``results/standard``; it finishes what is missing), and
writes ``published/standard`` beside this file: a folder of results like any other, with
the table of all episodes, but with the records of a few specimens only, of every agent
and condition, for those who want to replay some.  ``python docs/leaderboard.py`` makes
the page from all of them.  They are made again whenever agents are added.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from .results import TABLE, Results
from .runner import run_suite
from .suite import Job, load_suite

SUITES = ("standard", "slow", "matrix")
FOLDER = Path(__file__).parent / "published"
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
    for record in results.records():
        if record["job"]["specimen"] in kept:
            path = results.path(Job.of(record["job"]).key)
            shutil.copy(path, folder / "episodes")
    return folder


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
