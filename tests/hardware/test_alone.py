"""One process on this machine drives an instrument at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from stemscout.envs.addresses import connect
from stemscout.hardware import ConnectionLost, alone
from stemscout.hardware.adapter import Adapter
from stemscout.hardware.errors import LeaseError

DRIVES = """
import sys, time
from stemscout.hardware.adapter import Adapter

options = {"log": sys.argv[1], "mood": sys.argv[2], "seconds": 600.0}
own = Adapter("moody_driver:Driver", options, instrument="tem1")
own.open()
print("drives", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    """Locks of these tests, and of the processes that they start, are kept to themselves."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@pytest.fixture
def held():
    """Takes an instrument, until the test ends."""
    handles = []

    def hold(instrument):
        handles.append(alone.hold(instrument, os.getpid()))

    yield hold
    for handle in handles:
        os.close(handle)


@pytest.fixture
def adapter(drivers):
    made = []

    def make(instrument, **options):
        made.append(Adapter("moody_driver:Driver", options, instrument=instrument))
        return made[-1]

    yield make
    for each in made:
        each.leave()


@pytest.fixture
def driving(drivers, tmp_path):
    """Another process that drives ``tem1``."""
    begun = []

    def begin(mood=""):
        command = [sys.executable, "-c", DRIVES, str(tmp_path / "log"), mood]
        begun.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout.readline() == "drives\n"
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_second_process_is_refused_and_told_of_the_first(adapter, driving, tmp_path):
    first = driving()
    with pytest.raises(LeaseError, match=f"tem1 is driven by process {first.pid} on this machine"):
        adapter("tem1").open()
    assert not (tmp_path / "log").exists()  # nothing was sent
    other = adapter("tem2")
    other.open()
    other.close()


def test_whoever_was_killed_keeps_nobody_out(adapter, driving):
    first = driving()
    first.send_signal(signal.SIGKILL)
    first.wait()
    adapter("tem1").open()


def test_the_next_one_begins_after_the_last_blanking_of_the_one_before(adapter, driving, tmp_path):
    first = driving(mood="aborts for ever")
    first.send_signal(signal.SIGKILL)
    first.wait()
    adapter("tem1").open()
    assert "blank True" in (tmp_path / "log").read_text()


def test_it_is_let_go_with_the_driver_and_may_be_opened_again(adapter):
    first, second = adapter("tem1"), adapter("tem1")
    first.open()
    first.close()
    second.open()
    second.close()
    first.open()


@pytest.mark.parametrize(
    ("address", "instrument"),
    [
        ("autoscript://TEM1:9090", "autoscript://tem1:9090"),
        ("temscript://TEM1:8080?field_at_1x_m=0.1", "temscript://tem1:8080"),
        ("temscript://tem1:8080?field_at_1x_m=0.2", "temscript://tem1:8080"),
        ("pyjem:?nm_per_count=1,0,0,1&field_at_1x_nm=5", "pyjem:"),
        ("moody_driver:Driver", "moody_driver:Driver"),
    ],
)
def test_real_instruments_are_driven_by_one_at_a_time(address, instrument, drivers, held):
    held(instrument)
    sys.path.append(str(drivers))
    try:
        own = connect(address)
    finally:
        sys.path.remove(str(drivers))
    with pytest.raises(LeaseError, match=f"is driven by process {os.getpid()} on this machine"):
        own.open()


@pytest.mark.parametrize("address", ["temscript:", "nion:"])
def test_what_is_made_for_each_run_is_not_locked(address):
    assert connect(address).instrument is None


def test_without_a_place_for_the_lock_nothing_is_driven(adapter, own_folder):
    (own_folder / f"stemscout-{os.getuid()}").write_text("no folder")
    with pytest.raises(ConnectionLost, match="drives tem1 cannot be known"):
        adapter("tem1").open()
