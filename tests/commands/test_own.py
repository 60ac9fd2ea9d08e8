"""A microscope of one's own, by the name of what makes it, at the command line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stemscout.commands import console
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.journal import read

OWN = """
import time
from dataclasses import replace

import numpy as np
from stemscout.simulators.recorded import RecordedMicroscope


def make():
    return RecordedMicroscope(np.random.default_rng(0).random((192, 192)), 0.05)


class Slow(RecordedMicroscope):
    def acquire(self, request, timeout_s=60.0):
        time.sleep(0.1)
        return super().acquire(request, timeout_s)


def slow():
    return Slow(np.random.default_rng(0).random((192, 192)), 0.05)


def verified():
    microscope = make()
    microscope.capabilities = replace(microscope.capabilities, units_verified=True)
    return microscope


def fails():
    raise RuntimeError("no licence")


def number():
    return 3


def needs(host):
    return make()


constant = 3
"""
RUN = ("run", "--agent", "raster", "--budget-frames", "2")
UNVERIFIED = "its units are unverified; no distance was held against a known specimen"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("import no_such_driver")
    return tmp_path


@pytest.fixture
def begun(folder):
    """Commands that go on until somebody ends them."""
    processes = []

    def begin(*arguments):
        command = [sys.executable, "-m", "stemscout", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen(command, cwd=folder, text=True, **pipes))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def said(done):
    return " ".join(done.stderr.split())


def test_an_experiment_runs_on_it_and_says_that_its_units_are_unverified(stemscout, folder):
    done = stemscout(*RUN, "--microscope", "mine:make", "--out", "out", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spent"]["frames"] == 2
    assert UNVERIFIED in said(done)
    assert UNVERIFIED in (folder / "out" / "report.html").read_text()


def test_of_verified_units_nothing_is_said(stemscout, folder):
    done = stemscout(*RUN, "--microscope", "mine:verified", "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "unverified" not in done.stdout + done.stderr
    assert "unverified" not in (folder / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("theirs:make", "'theirs' is neither a scheme nor a module that Python finds from"),
        ("broken:make", "broken cannot be imported: ModuleNotFoundError: No module named 'no_such"),
        ("mine:made", "mine:made: mine has no made"),
        ("mine:constant", "mine has a int, which is no callable, as constant"),
        ("mine:fails", "mine:fails failed: RuntimeError: no licence"),
        ("mine:needs", "mine:needs failed: TypeError: needs() missing 1 required"),
        ("mine:number", "mine:number gave a int, which is no microscope: it lacks open, state"),
    ],
)
def test_what_gives_none_is_told_of_in_one_sentence(stemscout, folder, refused, address, sentence):
    done = stemscout(*RUN, "--microscope", address, "--out", "out", cwd=folder)
    refused(done, sentence)


def test_a_second_run_on_it_is_refused_and_told_of_the_first(
    stemscout, folder, begun, eventually, refused
):
    whole = ("--microscope", "mine:slow", "--agent", "random", "--budget-time", "1000")
    first = begun("run", *whole, "--out", "first")
    log = folder / "first" / "journal.log"
    eventually(lambda: log.exists() and any(r.kind == "frame" for r in read(folder / "first")))
    done = stemscout(*RUN, "--microscope", "mine:slow", "--out", "second", cwd=folder)
    assert done.returncode == 1
    assert f"mine:slow is driven by process {first.pid} on this machine already" in said(done)
    assert not any(r.kind in ("command", "frame") for r in read(folder / "second"))
    first.send_signal(signal.SIGKILL)
    first.wait()
    done = stemscout(*RUN, "--microscope", "mine:slow", "--out", "third", cwd=folder)
    assert done.returncode == 0, done.stderr
    taken = len(list(read(folder / "first")))
    again = begun("resume", "first")
    eventually(lambda: len(list(read(folder / "first"))) > taken + 5)
    again.terminate()
    _, told = again.communicate(timeout=60)
    assert UNVERIFIED in " ".join(told.split())


def test_it_is_served_and_the_server_says_that_its_units_are_unverified(stemscout, folder, begun):
    pytest.importorskip("grpc")
    server = begun("serve", "--microscope", "mine:make", "--port", "0", "--out", "served")
    address = server.stdout.readline().split()[-1]
    done = stemscout(*RUN, "--microscope", address, "--out", "out", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert UNVERIFIED in said(done)  # known over the wire, too
    assert stemscout("stop", folder / "served").stdout.strip() == CONFIRMED
    server.terminate()
    _, told = server.communicate(timeout=60)
    assert UNVERIFIED in " ".join(told.split())


def test_a_console_says_that_its_units_are_unverified(folder, begun):
    pytest.importorskip("panel")
    console = begun(
        "console", "--microscope", "mine:make", "--port", "0", "--no-browser", "--out", "out",
        "--budget-frames", "2",
    )  # fmt: skip
    assert console.stdout.readline().startswith("http")
    console.send_signal(signal.SIGINT)
    _, told = console.communicate(timeout=60)
    assert UNVERIFIED in " ".join(told.split())


@pytest.mark.parametrize(("name", "doubt"), [("make", ", units unverified"), ("verified", "")])
def test_the_head_of_the_consoles_page_says_so_too(folder, monkeypatch, name, doubt):
    pytest.importorskip("panel")
    titles = []
    monkeypatch.setattr(console, "_serve", lambda session, title, *_: titles.append(title))
    monkeypatch.chdir(folder)
    console.console(microscope=f"mine:{name}", budget_frames=2, out=Path("out"), port=0)
    assert titles == [f"mine, out{doubt}"]


@pytest.mark.parametrize("command", ["run", "serve", "console"])
def test_the_help_says_which_addresses_are_unverified_on_hardware(stemscout, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    told = " ".join(stemscout(command, "--help").stdout.split())
    assert "unverified on hardware, temscript:, autoscript:, pyjem:" in told
    assert "module:callable" in told
