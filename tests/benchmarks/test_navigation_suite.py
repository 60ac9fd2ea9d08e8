"""Suites of navigators: run by the one runner, finished after a kill, and printed as one table."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import yaml

from stemscout.benchmarks import navigation
from stemscout.benchmarks.compare import compare
from stemscout.benchmarks.contest import COUNTS
from stemscout.benchmarks.navigation import SUITES, at_hand, lines, remarks, standings
from stemscout.benchmarks.replay import verify_folder
from stemscout.benchmarks.report import write_report
from stemscout.benchmarks.results import Results, read_table
from stemscout.benchmarks.runner import run_suite
from stemscout.benchmarks.suite import load_suite, suite_of
from stemscout.benchmarks.targets import TARGETS
from stemscout.commands import bench

SUITE = {
    "version": 1,
    "about": "a test",
    "environments": ["navigation/bumps", "navigation/flat"],
    "difficulties": ["as is"],
    "specimens": 3,
    "variants": [{"name": "to 100", "observations": 100}],
    "agents": [{"name": "grid"}, {"name": "random"}],
}
TIMED = {
    **SUITE,
    "environments": ["navigation/bumps"],
    "specimens": 1,
    "variants": [
        {"name": f"after {n}", "observations": 600, "told": n, "decisions": 5} for n in COUNTS
    ],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folders of a suite of hunts and of one of times."""
    folders = []
    for name, data in (("hunts", SUITE), ("times", TIMED)):
        suite = suite_of(name, data)
        results = Results(tmp_path_factory.mktemp("navigation") / name, suite)
        run_suite(suite, results, "1")
        results.write_table()
        folders.append(results.folder)
    return folders


def test_every_navigator_hunts_on_every_target_and_none_is_a_yardstick(finished):
    rows = read_table(finished[0])
    assert len(rows) == 2 * 3 * 2
    assert not any(r["yardstick"] or r["failed"] for r in rows)
    assert {r["agent"] for r in rows} == {"grid", "random"}
    assert {r["repeats"] for r in rows} == {0}


def test_all_of_it_is_scored_again_to_the_bit(finished):
    for folder, count in zip(finished, (12, 8), strict=True):
        found = verify_folder(folder)
        assert (found.replayed, found.to_the_bit, found.differ) == (count, count, [])


def test_a_score_that_was_changed_is_found_out(finished, tmp_path):
    results = Results(tmp_path / "forged", suite_of("hunts", SUITE))
    record, job = next(_with_jobs(finished[0]))
    results.keep(job.key, {**record, "scores": {**record["scores"], "repeats": 7}})
    assert "repeats is 0, and was 7" in verify_folder(results.folder).differ[0]


def test_the_table_has_a_line_for_every_group_and_navigator(finished):
    found = standings([finished[0]])
    assert [(s.group, s.navigator, s.runs) for s in found] == [
        ("bumps", "grid", 3),
        ("bumps", "random", 3),
        ("flat", "grid", 3),
        ("flat", "random", 3),
    ]
    grid, random, flat, _ = found
    assert set(grid.found) == set(grid.regret) == {50, 100}
    assert 0 < grid.found[50].value < grid.found[100].value < 1
    assert grid.over_grid is None
    assert 0 < random.area.value < grid.area.value
    assert flat.found == {50: None, 100: None}
    assert flat.area is None
    assert flat.covered[100].value == pytest.approx(0.68, abs=0.01)


def test_a_line_is_what_its_rows_say(finished):
    rows = [r for r in read_table(finished[0]) if r["environment"] == "navigation/bumps"]
    grid = sorted(r["share_100"] for r in rows if r["agent"] == "grid")
    found = standings([finished[0]])
    assert found[0].found[100].value == pytest.approx(np.mean(grid))
    area = {(r["agent"], r["specimen"]): r["area"] for r in rows}
    won = [
        (area["random", n] > area["grid", n]) + 0.5 * (area["random", n] == area["grid", n])
        for n in range(3)
    ]
    assert found[1].over_grid.value == pytest.approx(np.mean(won))


def test_times_beyond_a_hunts_end_are_those_after_what_was_told(finished):
    alone = standings([finished[0]])[0]
    assert set(alone.median_ms) == {50, 100}
    both = standings(finished)
    assert set(both[0].median_ms) == set(COUNTS)
    assert both[0].median_ms[100] == alone.median_ms[100]
    timed = [s for s in both if s.group == "told first"]
    assert [s.navigator for s in timed] == ["grid", "random"]
    assert both[0].median_ms[500] == timed[0].median_ms[500]
    assert set(both[0].p95_ms) == {50, 100}, "five decisions have no 95th percentile"


def test_what_is_printed(finished):
    printed = lines(standings(finished))
    assert [r["target"] for r in printed[:4]] == ["bumps, to 100"] * 2 + ["flat, to 100"] * 2
    assert printed[0]["over grid"] == ""
    assert re.fullmatch(r"0\.\d\d \(.* to .*\)", printed[1]["over grid"])
    assert len(printed[0]["found"].split()) == 2
    assert len(printed[0]["ms"].split()) == 4
    said = remarks(standings(finished))
    assert len(said) == 1
    again = [replace(s, repeats=2) for s in standings(finished)[:1]]
    assert remarks(again)[0] == "grid observed 2 candidates again on bumps to 100"


def test_only_what_all_navigators_have_is_counted(finished, tmp_path):
    results = Results(tmp_path / "part", suite_of("hunts", SUITE))
    for record, job in _with_jobs(finished[0]):
        if not (job.label == "random" and job.specimen == 1):
            results.keep(job.key, record)
    assert {s.runs for s in standings([results.folder])} == {2}


def _with_jobs(folder):
    results = Results(folder)
    jobs = {(j.environment, j.label, j.specimen): j for j in results.jobs()}
    for record in results.records():
        of = record["job"]
        yield record, jobs[of["environment"], of["label"], of["specimen"]]


def test_comparing_folders_is_refused_and_says_where(finished):
    with pytest.raises(ValueError, match="bench navigation"):
        compare(finished[0], finished[0])


def test_results_of_agents_have_no_such_table(tmp_path):
    suite = load_suite("smoke")
    with pytest.raises(ValueError, match="holds results of agents, and not of navigators"):
        standings([Results(tmp_path / "agents", suite).folder])


def test_one_command_runs_the_suites_into_a_folder_each_and_prints_one_table(
    tmp_path, monkeypatch, capsys
):
    few = suite_of("few", {**SUITE, "specimens": 1})
    times = suite_of("times", {**TIMED, "variants": TIMED["variants"][-1:]})
    wanted = [(few, ["gpcam is left out: not installed"]), (times, [])]
    monkeypatch.setattr(navigation, "suites", lambda seeds: wanted)
    bench.navigation(out=tmp_path / "all", scheduler="1", seeds=None, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["left_out"] == ["gpcam is left out: not installed"]
    assert [(r["group"], r["navigator"]) for r in told["rows"]] == [
        (group, navigator)
        for group in ("bumps", "flat", "told first")
        for navigator in ("grid", "random")
    ]
    assert told["rows"][0]["found"]["100"]["value"] > 0
    assert set(told["rows"][0]["median_ms"]) == {"50", "100", "500"}
    assert Results(tmp_path / "all" / "few").records()
    before = sorted(p.stat().st_mtime_ns for p in (tmp_path / "all").rglob("*.json.gz"))
    bench.navigation(out=tmp_path / "all", scheduler="1", seeds=None, as_json=False)
    printed = capsys.readouterr().out
    assert "over grid" in printed
    assert "Figures stand side by side at 50, 100, 200, 500 observations" in printed
    assert before == sorted(p.stat().st_mtime_ns for p in (tmp_path / "all").rglob("*.json.gz"))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_run_that_is_killed_is_finished_by_the_same_command(tmp_path):
    path, out = tmp_path / "mine.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({**SUITE, "specimens": 20}))
    command = [sys.executable, "-m", "stemscout", "bench", "run", str(path), "--out", str(out)]
    command += ["--scheduler", "1", "--json"]
    run = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until = time.monotonic() + 300.0
    while len(list(out.glob("episodes/*.json.gz"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    there = {p.name: p.stat().st_mtime_ns for p in out.glob("episodes/*.json.gz")}
    assert 3 <= len(there) < 80, "it was killed in mid-run"
    again = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert again.returncode == 0, again.stderr
    told = json.loads(again.stdout)
    assert {r["navigator"] for r in told["rows"]} == {"grid", "random"}
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("episodes/*.json.gz")}
    assert len(after) == 80
    assert {k: v for k, v in after.items() if k in there} == there, "none was run twice"


def test_the_three_suites_are_what_is_asked_for():
    whole, rivals, times = (load_suite(name) for name in SUITES)
    assert set(whole.environments) == {f"navigation/{t}" for t in TARGETS}
    assert len(whole.specimens) >= 20
    assert dict(whole.variants)["to 500"] == {"observations": 500}
    assert set(rivals.environments) == set(whole.environments)
    assert rivals.specimens == whole.specimens[:5]
    assert [o["observations"] for _, o in rivals.variants] == [100]
    assert times.environments == ("navigation/bumps",)
    assert [o["told"] for _, o in times.variants] == list(COUNTS)
    assert {o["decisions"] for _, o in times.variants} == {5}
    # Of the forests the time of five decisions is enough: a hunt by them takes half a minute.
    assert set(times.labels) == {*whole.labels, *rivals.labels, "bo skopt forest"}
    assert "grid" in whole.labels
    assert "grid" in rivals.labels


def test_what_is_not_there_is_left_out_with_a_sentence(monkeypatch):
    monkeypatch.delenv("STEMSCOUT_IMAGES", raising=False)
    monkeypatch.setattr(navigation, "not_installed", lambda name: name == "gpcam")
    suite, said = at_hand(load_suite("navigation_rivals"))
    assert "navigation/bumps" in suite.environments
    assert "navigation/nio" not in suite.environments
    assert "gpcam" not in suite.labels
    left_out = "navigation/nio is left out: STEMSCOUT_IMAGES names no folder of recorded images"
    assert left_out in said
    assert "gpcam is left out: not installed" in said
    only = replace(suite, environments=("navigation/nio",))
    with pytest.raises(ValueError, match="nothing is left"):
        at_hand(only)
    smoke = load_suite("smoke")
    assert at_hand(smoke) == (smoke, [])


def test_fewer_seeds_are_the_first_ones():
    assert [s.specimens for s, _ in navigation.suites(2)] == [(0, 1), (0, 1), (0,)]
    with pytest.raises(ValueError, match="0 seeds; there must be at least 1"):
        navigation.suites(0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"environments": ["navigation/moon"]}, "unknown target 'navigation/moon'; there are: "),
        (
            {"environments": ["navigation/bumps", "StemScout/GrapheneDefects-v0"]},
            "unknown target 'StemScout/GrapheneDefects-v0'",
        ),
        (
            {"environments": ["StemScout/GrapheneDefects-v0", "navigation/bumps"]},
            "unknown environment 'navigation/bumps'",
        ),
        ({"difficulties": ["hard"]}, r"difficulties is \('hard',\); where navigators are compared"),
        ({"budget": 0.2}, "budget is 0.2; where navigators are compared it must be 0.4"),
        ({"readings": [0.1]}, "readings is"),
        ({"survey": "low"}, "survey is 'low'"),
        ({"agents": [{"name": "linear-bo"}]}, "unknown navigator 'linear-bo'; there are: raster"),
        ({"agents": [{"name": "oracle"}]}, "oracle needs the truth of a specimen"),
        ({"agents": [{"name": "bo", "acquisition": "luck"}]}, "unknown acquisition 'luck'"),
        ({"variants": [{"name": "a", "dose": 2}]}, "variant a: unknown option dose"),
        ({"variants": [{"name": "a", "observations": -1}]}, "variant a: observations is -1"),
    ],
)
def test_what_cannot_be_run_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        suite_of("x", {**SUITE, **change})


def test_a_page_of_them_is_refused_and_says_where_the_table_is(finished):
    with pytest.raises(ValueError, match="bench navigation"):
        write_report(finished[0], "as before")
