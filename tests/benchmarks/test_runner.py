"""A suite is finished whatever is killed, and nothing of it is lost, repeated or mixed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
import yaml

from stemscout.benchmarks import results as results_module
from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.replay import verify_folder
from stemscout.benchmarks.results import Results, row_of
from stemscout.benchmarks.runner import run_suite
from stemscout.benchmarks.suite import Job, suite_of

SUITE = {
    "version": 1,
    "about": "a test",
    "environments": ["StemScout/GrapheneDefects-v0"],
    "difficulties": ["easy"],
    "specimens": 3,
    "budget": 0.1,
    "readings": [0.05],
    "agents": [{"name": "random"}, {"name": "grid"}, {"name": "oracle"}],
}
SMALL = suite_of("small", SUITE)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of results, and how its run went along."""
    results, progress = Results(tmp_path_factory.mktemp("runs") / "small", SMALL), []
    run_suite(SMALL, results, "1", on_progress=progress.append)
    return results, progress


def test_every_episode_of_a_suite_is_run_once(finished):
    results, progress = finished
    assert not results.missing(SMALL.jobs())
    assert len(results.records()) == progress[-1].total == len(SMALL.jobs()) == 12
    assert [p.done for p in progress] == list(range(13))
    assert progress[0].dashboard.startswith("http://127.0.0.1:")
    assert not progress[-1].failed


def test_records_say_what_made_them(finished):
    for record in finished[0].records():
        assert record["suite"] == SMALL.digest
        assert {"stemscout", "numpy", "numba"} <= set(record["made"]["versions"])
        assert record["wall_s"] > 0
        assert record["cpu_s"] > 0


def test_the_table_has_a_row_for_every_episode(finished):
    table = pq.read_table(finished[0].write_table())
    assert table.num_rows == 12
    rows = table.to_pylist()
    assert {r["agent"] for r in rows} == {"random", "grid", "oracle", "raster"}
    assert all(0.0 <= r["seen_area_at_0.05"] <= 1.0 for r in rows if not r["yardstick"])
    assert json.loads(table.schema.metadata[b"suite"])["digest"] == SMALL.digest


def test_all_of_it_replays_to_the_bit(finished):
    found = verify_folder(finished[0].folder)
    assert (found.replayed, found.to_the_bit, found.differ) == (12, 12, [])
    assert verify_folder(finished[0].folder, sample=2).replayed == 2
    with pytest.raises(ValueError, match="it must be at least 1"):
        verify_folder(finished[0].folder, sample=0)


def test_a_score_that_was_changed_is_found_out(finished, tmp_path):
    results = Results(tmp_path / "forged", SMALL)
    record = next(r for r in finished[0].records() if r["job"]["label"] == "grid")
    forged = {**record, "scores": {**record["scores"], "seen": 0.99}}
    results.keep(Job.of(record["job"]).key, forged)
    results.keep("0" * 16, forged)
    assert len(results.records()) == 1, "a record under another's name is none"
    found = verify_folder(tmp_path / "forged")
    assert found.to_the_bit == found.close == 0
    assert "grid on specimen" in found.differ[0]
    assert "seen is" in found.differ[0]


def test_the_oracle_leads_and_random_is_at_0(finished):
    entries = leaderboard(Scores([row_of(r) for r in finished[0].records()]))
    assert entries[0].agent == "oracle"
    at = {e.agent: e.position.value for e in entries}
    assert (at["oracle"], at["random"]) == (pytest.approx(1.0), pytest.approx(0.0))
    assert [e.episodes for e in entries] == [3, 3, 3]
    for entry in entries:
        assert entry.area.low <= entry.area.value <= entry.area.high
        assert entry.found is None


def test_only_specimens_that_all_agents_have_are_compared(finished):
    rows = [row_of(r) for r in finished[0].records()]
    kept = [r for r in rows if not (r["agent"] == "grid" and r["specimen"] == 1)]
    assert [e.episodes for e in leaderboard(Scores(kept))] == [2, 2, 2]
    with pytest.raises(ValueError, match="no specimen has results of all agents yet"):
        Scores([r for r in rows if r["agent"] == "grid" or r["specimen"] == 9][:0])


def test_what_is_there_is_not_run_again(finished):
    results, _ = finished
    before = {p.name: p.stat().st_mtime_ns for p in (results.folder / "episodes").iterdir()}
    progress = []
    run_suite(SMALL, results, "1", on_progress=progress.append)
    assert [(p.done, p.latest) for p in progress] == [(12, None)]
    assert before == {p.name: p.stat().st_mtime_ns for p in (results.folder / "episodes").iterdir()}


def test_what_is_damaged_is_run_again(finished):
    results, _ = finished
    torn, emptied, *_ = sorted((results.folder / "episodes").iterdir())
    torn.write_text(torn.read_text()[:200])
    emptied.write_text("")
    progress = []
    run_suite(SMALL, results, "1", on_progress=progress.append)
    assert [p.done for p in progress] == [10, 11, 12]
    assert len(results.records()) == 12


def test_folders_of_others_are_refused(finished, tmp_path):
    other = suite_of("small", {**SUITE, "version": 2})
    with pytest.raises(ValueError, match="holds results of suite 'small', version 1, hash"):
        Results(finished[0].folder, other)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="holds other things"):
        Results(tmp_path, SMALL)
    with pytest.raises(ValueError, match="holds no results of a suite"):
        Results(tmp_path)
    (tmp_path / "suite.json").write_text("[]")
    with pytest.raises(ValueError, match="is no suite's"):
        Results(tmp_path, SMALL)


def test_a_folder_that_was_only_begun_is_gone_on_with(tmp_path):
    (tmp_path / "suite.json.0123abcd.part").write_text("{")
    assert len(Results(tmp_path, SMALL).missing(SMALL.jobs())) == 12


def test_readings_are_in_the_table_whatever_row_comes_first(finished, tmp_path):
    """Yardsticks have none, and rows are sorted by their hash."""
    results = Results(tmp_path / "few", SMALL)
    for record in finished[0].records():
        if record["job"]["yardstick"] or record["job"]["label"] == "oracle":
            results.keep(Job.of(record["job"]).key, record)
    rows = pq.read_table(results.write_table()).to_pylist()
    assert {r["agent"] for r in rows if r["seen_at_0.05"] is not None} == {"oracle"}


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    results, whole = Results(tmp_path / "full", SMALL), results_module.write

    def write(path, data):
        if len(list((tmp_path / "full" / "episodes").glob("*.json"))) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, data)

    monkeypatch.setattr(results_module, "write", write)
    with pytest.raises(OSError, match="No space left"):
        run_suite(SMALL, results, "1")
    assert len(results.records()) == 4
    monkeypatch.setattr(results_module, "write", whole)
    progress = []
    run_suite(SMALL, results, "1", on_progress=progress.append)
    assert progress[0].done == 4
    assert len(results.records()) == 12


def test_a_worker_that_is_killed_is_replaced(tmp_path):
    from distributed import Client, LocalCluster

    results = Results(tmp_path / "worker", SMALL)
    killed = []
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):

        def kill(progress):
            if progress.done == 2 and not killed:
                killed.extend(client.run(os.getpid).values())
                os.kill(killed[0], signal.SIGKILL)

        run_suite(SMALL, results, cluster.scheduler_address, on_progress=kill)
    assert killed
    assert len(results.records()) == 12
    assert not any(r["failed"] for r in results.records())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path):
    """SIGKILL, to all of its processes, in mid-run; then the same command."""
    path, out = tmp_path / "mine.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump({**SUITE, "specimens": 8}))
    command = [sys.executable, "-m", "stemscout", "bench", "run", str(path), "--out", str(out)]
    command += ["--scheduler", "1", "--json"]
    run = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    episodes = out / "episodes"
    until = time.monotonic() + 120.0
    while len(list(episodes.glob("*.json"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    there = {p.name: p.stat().st_mtime_ns for p in episodes.glob("*.json")}
    assert 3 <= len(there) < 32, "it was killed in mid-run"
    again = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    assert f"{len(there)} of 32 episodes were there" in again.stderr
    assert json.loads(again.stdout)
    after = {p.name: p.stat().st_mtime_ns for p in episodes.glob("*.json")}
    assert len(after) == 32
    assert {k: v for k, v in after.items() if k in there} == there, "none was run twice"
    assert verify_folder(out, sample=8).to_the_bit == 8
