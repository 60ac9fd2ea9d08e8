"""The reference results that the package holds can be read, and replayed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.published import KEPT, SUITES, curves, publish, published
from stemscout.benchmarks.replay import verify_folder
from stemscout.benchmarks.results import Results, read_table, row_of
from stemscout.benchmarks.runner import run_suite
from stemscout.benchmarks.suite import load_suite, suite_of

THERE = [s for s in SUITES if published(s).exists()]
SMALL = {
    "version": 1,
    "about": "small",
    "environments": ["StemScout/NiOPillars-v0"],
    "difficulties": ["easy"],
    "specimens": 2,
    "agents": [{"name": "random"}, {"name": "oracle"}],
    "budget": 0.05,
}


def test_what_is_published_has_all_rows_and_the_records_of_some_specimens(tmp_path):
    suite = suite_of("small", SMALL)
    results = Results(tmp_path / "run", suite)
    run_suite(suite, results, scheduler="1")
    folder = publish(results, tmp_path / "published", kept=(1,))
    assert read_table(folder) == read_table(results.folder)
    kept = Results(folder).records()
    assert {r["job"]["specimen"] for r in kept} == {1}
    assert len(kept) == 3  # two agents and the yardstick
    assert verify_folder(folder).to_the_bit == 3
    told = curves(folder)["StemScout/NiOPillars-v0", "easy", "as is"]
    assert set(told) == {"random", "oracle"}
    charge, seen = told["oracle"]
    assert (charge[0], charge[-1], seen[0]) == (0.0, 0.05, 0.0)
    assert (np.diff(seen) >= 0).all()
    last = np.mean([r["seen"] for r in read_table(folder) if r["agent"] == "oracle"])
    assert seen[-1] == pytest.approx(last, abs=1e-4)
    publish(results, folder, kept=(0, 1))
    assert len(Results(folder).records()) == 6


def test_a_folder_without_a_table_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"has no results\.parquet"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", THERE)
def test_the_reference_results_are_of_the_suite_as_it_is_and_complete(name):
    suite = load_suite(name)
    held = Results(published(name))
    assert held.suite["digest"] == suite.digest
    rows = read_table(held.folder)
    assert Counter(r["agent"] for r in rows if not r["yardstick"]) == dict.fromkeys(
        suite.labels,
        len(suite.specimens)
        * len(suite.environments)
        * len(suite.difficulties)
        * len(suite.variants),
    )
    assert not any(r["failed"] for r in rows)
    order = [e.agent for e in leaderboard(Scores(rows))]
    assert order[0].endswith("oracle")


@pytest.mark.parametrize("name", THERE)
def test_the_records_beside_the_reference_results_are_those_of_its_table(name):
    told = ("environment", "difficulty", "variant", "agent", "specimen", "yardstick")
    rows = {tuple(r[k] for k in told): r for r in read_table(published(name))}
    records = Results(published(name)).records()
    assert {r["job"]["specimen"] for r in records} == set(KEPT)
    for record in records:
        row = row_of(record)
        held = rows[tuple(row[k] for k in told)]
        assert {k: held[k] for k in row} == row


@pytest.mark.parametrize("name", THERE)
def test_a_sample_of_the_reference_results_can_be_replayed(name):
    found = verify_folder(published(name), sample=6, seed=1)
    assert found.differ == []
    assert found.to_the_bit + found.close == 6


@pytest.mark.slow
@pytest.mark.parametrize("name", THERE)
def test_all_of_the_reference_results_that_are_kept_can_be_replayed(name):
    assert verify_folder(published(name)).differ == []
