"""A suite is finished whatever is killed, and nothing of it is lost, repeated or mixed."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
import yaml

from stemscout.agents import catalogue
from stemscout.agents.agent import Agent
from stemscout.benchmarks import results as results_module
from stemscout.benchmarks import runner
from stemscout.benchmarks.facts import unfinished
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


def test_what_is_damaged_foreign_or_missing_is_said(finished, tmp_path):
    shutil.copytree(finished[0].folder, tmp_path / "forged")
    results = Results(tmp_path / "forged")
    record = results.records()[0]
    foreign = {**record, "job": {**record["job"], "label": "nobody knows"}}
    results.keep(Job.of(foreign["job"]).key, foreign)
    first, second = sorted((results.folder / "episodes").iterdir())[:2]
    before = len(results.records())
    own = f"{Job.of(foreign['job']).key}.json.gz"
    for path in (p for p in (first, second) if p.name != own):
        path.write_bytes(path.read_bytes()[:100])
    found = verify_folder(results.folder)
    assert found.missing == before - len(results.records()) > 0
    assert len(found.differ) == 1 + found.missing
    assert all("damaged, or no episode of this suite" in said for said in found.differ)
    assert "nobody knows" not in {r["job"]["label"] for r in results.records()}
    assert "Unfinished" in unfinished(results.records(), before)[0]
    assert not unfinished(results.records(), len(results.records()))


@pytest.mark.parametrize(
    ("forge", "sentence"),
    [
        (lambda r: {**r, "privileged": not r["privileged"]}, "is privileged: "),
        (lambda r: {**r, "failed": True}, "and failed is True"),
        (lambda r: _with(r, latency_s=[-1.0] * len(r["trace"]["latency_s"])), "less than no time"),
        (
            lambda r: _with(r, requests=[{**q, "dwell_us": 4.0} for q in r["trace"]["requests"]]),
            "a frame that is no reference frame, and the track is fixed-frame",
        ),
    ],
)
def test_what_cannot_be_is_said(finished, tmp_path, forge, sentence):
    shutil.copytree(finished[0].folder, tmp_path / "forged")
    results = Results(tmp_path / "forged")
    for record in results.records():
        results.keep(Job.of(record["job"]).key, forge(record))
    found = verify_folder(results.folder)
    assert len(found.differ) == found.replayed == len(results.records())
    assert all(sentence in said for said in found.differ)


def _with(record, **changed):
    return {**record, "trace": {**record["trace"], **changed}}


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
    torn.write_bytes(torn.read_bytes()[:200])
    emptied.write_bytes(b"")
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
    for content in ("[]", "{", "\xff"):
        (tmp_path / "suite.json").write_text(content, encoding="latin-1")
        with pytest.raises(ValueError, match="is no suite's"):
            Results(tmp_path, SMALL)


@pytest.mark.parametrize(
    "edit",
    [
        {"budget": 0.2},
        {"specimens": [0, 1]},
        {"agents": [{"name": "random"}]},
        {"digest": "0" * 16},
        {"environments": None},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_a_suite_that_was_edited_in_its_folder_is_refused(tmp_path, edit):
    mark = Results(tmp_path / "edited", SMALL).folder / "suite.json"
    held = {**json.loads(mark.read_text()), **edit}
    mark.write_text(json.dumps({k: v for k, v in held.items() if v is not None}))
    for suite in (SMALL, None):
        with pytest.raises(ValueError, match=r"suite\.json' was edited: its hash, "):
            Results(mark.parent, suite)


def test_words_about_a_suite_may_be_edited(tmp_path):
    mark = Results(tmp_path / "words", SMALL).folder / "suite.json"
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "about": "said otherwise"}))
    assert Results(mark.parent).suite["about"] == "said otherwise"


def test_a_folder_in_another_format_is_refused(tmp_path):
    mark = Results(tmp_path / "old", SMALL).folder / "suite.json"
    old = {k: v for k, v in json.loads(mark.read_text()).items() if k != "format"}
    mark.write_text(json.dumps(old))
    with pytest.raises(ValueError, match="holds records in format 1, and this version of"):
        Results(mark.parent)


def test_a_folder_with_records_of_another_version_is_not_gone_on_with(finished, tmp_path):
    results = Results(tmp_path / "mixed", SMALL)
    first, *rest = finished[0].records()
    elder = {**first["made"], "versions": {**first["made"]["versions"], "stemscout": "0.0.9"}}
    results.keep(Job.of(first["job"]).key, {**first, "made": elder})
    with pytest.raises(ValueError, match=r"holds episodes by stemscout 0\.0\.9.*add --mixed"):
        run_suite(SMALL, results, "1")
    assert len(results.missing(SMALL.jobs(), mixed=True)) == 11
    for record in rest:
        results.keep(Job.of(record["job"]).key, record)
    assert not results.missing(SMALL.jobs()), "where nothing is missing, nothing is mixed"


def test_workers_of_another_version_are_refused(tmp_path, monkeypatch):
    here = runner.made()
    elder = {**here, "versions": {**here["versions"], "stemscout": "0.0.9"}}
    monkeypatch.setattr(runner, "made", lambda: elder)  # here, and not on workers
    with pytest.raises(ValueError, match=r"a worker has stemscout .*, and here it is 0\.0\.9"):
        run_suite(SMALL, Results(tmp_path / "elder", SMALL), "1")


def test_two_runs_in_one_folder_are_refused(tmp_path):
    results, said = Results(tmp_path / "two", SMALL), []

    def again(progress):
        if not said:
            with pytest.raises(ValueError, match="a run is under way in") as caught:
                run_suite(SMALL, results, "1")
            said.append(str(caught.value))

    assert run_suite(SMALL, results, "1", on_progress=again).alone
    assert str(os.getpid()) in said[0]
    assert len(results.records()) == 12


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

    def write(path, data, **options):
        if len(list((tmp_path / "full" / "episodes").glob("*.json.gz"))) == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(path, data, **options)

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
    assert not [r["ended"] for r in results.records() if r["failed"]]


class Sleeps(Agent):
    """Never decides."""

    name = "sleeps"

    def reset(self, context, seed):
        pass

    def act(self, observation):
        time.sleep(600.0)

    def observe(self, frame):
        pass


@pytest.fixture
def sleepy(monkeypatch):
    """A suite with an agent that never decides; only workers of this process know it."""
    entry = catalogue.Entry(Sleeps, "a test's own")
    monkeypatch.setitem(catalogue.AGENTS, "sleeps", entry)
    agents = [{"name": "random"}, {"name": "sleeps"}, {"name": "grid"}]
    return suite_of("sleepy", {**SUITE, "specimens": 1, "agents": agents})


@contextmanager
def without_nannies(workers):
    from distributed import LocalCluster

    settings = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(n_workers=workers, protocol="tcp", **settings) as cluster:
        yield cluster


def test_a_worker_that_nobody_restarts_leaves_when_an_agent_hangs_in_it(tmp_path, sleepy):
    results = Results(tmp_path / "hangs", sleepy)
    with without_nannies(2) as cluster:
        run_suite(sleepy, results, cluster.scheduler_address, patience_s=1.0)
        assert len(cluster.scheduler.workers) == 1
    ended = {r["job"]["label"]: r["ended"] for r in results.records() if not r["job"]["yardstick"]}
    assert ended == {
        "random": "the budget was spent",
        "sleeps": "failed: no decision within 1 s",
        "grid": "the budget was spent",
    }


def test_without_any_worker_a_run_ends_and_keeps_what_it_has(tmp_path, sleepy, monkeypatch):
    monkeypatch.setattr(runner, "JOIN_S", 1.0)
    monkeypatch.setattr(runner, "LOOK_S", 0.2)
    monkeypatch.setattr(runner, "AHEAD", 1)
    results = Results(tmp_path / "none", sleepy)
    with (
        without_nannies(1) as cluster,
        pytest.raises(ConnectionError, match="no worker is left, and none has joined within 1 s"),
    ):
        run_suite(sleepy, results, cluster.scheduler_address, patience_s=1.0)
    assert [j.label for j in results.missing(sleepy.jobs())] == ["grid"]
    run_suite(sleepy, results, "1")
    assert not results.missing(sleepy.jobs())


CLUSTER = """
import time
from distributed import LocalCluster
with LocalCluster(n_workers=1, processes=False, protocol="tcp", dashboard_address=None) as cluster:
    print(cluster.scheduler_address, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
def test_without_its_scheduler_a_run_ends_and_fails_no_episode(tmp_path):
    results = Results(tmp_path / "gone", SMALL)
    cluster = subprocess.Popen([sys.executable, "-c", CLUSTER], stdout=subprocess.PIPE, text=True)
    address = cluster.stdout.readline().strip()

    def kill(progress):
        if progress.done == 2:
            cluster.kill()
            cluster.wait()
            cluster.stdout.close()

    with pytest.raises(ConnectionError, match="the scheduler is gone; what was done is written"):
        run_suite(SMALL, results, address, on_progress=kill)
    assert 2 <= len(results.records()) < 12
    assert not [r["ended"] for r in results.records() if r["failed"]]


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
    while len(list(episodes.glob("*.json.gz"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    there = {p.name: p.stat().st_mtime_ns for p in episodes.glob("*.json.gz")}
    assert 3 <= len(there) < 32, "it was killed in mid-run"
    again = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert again.returncode == 0, again.stderr
    assert f"{len(there)} of 32 episodes were there" in again.stderr
    assert json.loads(again.stdout)
    after = {p.name: p.stat().st_mtime_ns for p in episodes.glob("*.json.gz")}
    assert len(after) == 32
    assert {k: v for k, v in after.items() if k in there} == there, "none was run twice"
    assert verify_folder(out, sample=8).to_the_bit == 8
