"""A driver in a process of its own: it may hang, crash, or lose whoever drives it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from stemscout.hardware import AcquisitionError, ConnectionLost, LimitError, ScanRequest
from stemscout.hardware.adapter import Adapter
from stemscout.hardware.emergency import CONFIRMED, NOT_CONFIRMED
from stemscout.hardware.guard import guarded

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def adapter(drivers, log):
    made = []

    def make(**options):
        made.append(Adapter("moody_driver:Driver", {"log": str(log), **options}))
        return made[-1]

    yield make
    for each in made:
        if each._process is not None:
            each._process.kill()
            each._end()


def lines(log):
    return log.read_text().split("\n") if log.exists() else []


def test_it_is_a_microscope_like_any_other(adapter):
    own = adapter()
    told = own.open()
    assert told.detectors == ("recorded",)
    frame = own.acquire(REQUEST)
    assert frame.image.shape == (20, 20)
    assert own.move_stage((0.1, 0.0)).stage_yx_nm == (0.1, 0.0)
    with pytest.raises(LimitError, match="stage position 1e"):
        own.move_stage((1e9, 0.0))
    own.close()
    own.close()
    with pytest.raises(ConnectionLost, match="is closed"):
        own.state()


def test_a_driver_that_cannot_be_made_is_told_of_in_its_own_words(adapter):
    with pytest.raises(ConnectionLost, match="no licence found"):
        adapter(mood="crashes at once").open()
    with pytest.raises(AcquisitionError, match="unexpected keyword argument 'colour'"):
        adapter(colour="red").open()
    with pytest.raises(AcquisitionError, match="No module named 'nowhere'"):
        Adapter("nowhere:nothing").open()


def test_a_driver_that_crashes_takes_nobody_with_it(adapter):
    own = adapter(mood="crashes")
    own.open()
    with pytest.raises(ConnectionLost, match="is gone; it said last:\nsegmentation fault"):
        own.acquire(REQUEST)


def test_a_frame_is_aborted_and_the_beam_blanked_while_it_scans(adapter, log, eventually):
    own = guarded(adapter(seconds=30.0))
    own.open()
    failed = []
    thread = threading.Thread(target=lambda: failed.append(_raised(own.acquire, REQUEST)))
    thread.start()
    eventually(lambda: "acquire" in lines(log))
    told = own.stop()
    assert told.answer == CONFIRMED
    assert told.seconds < 3 * 0.2
    thread.join(10)
    assert "aborted" in str(failed[0])
    own.close()


@pytest.mark.parametrize("mood", ["hangs", "hangs in C"])
def test_a_driver_that_hangs_hangs_nobody_else(adapter, log, mood, eventually):
    own = guarded(adapter(mood=mood, while_busy=mood == "hangs in C"))
    own.open()
    thread = threading.Thread(target=_raised, args=(own.acquire, REQUEST), daemon=True)
    thread.start()
    eventually(lambda: "acquire" in lines(log))
    began = time.perf_counter()
    told = own.stop()
    assert time.perf_counter() - began < 3 * 0.2
    assert told.answer == NOT_CONFIRMED
    own.microscope._process.kill()
    thread.join(10)
    assert not thread.is_alive()


def test_a_driver_that_hangs_may_still_blank(adapter, log, eventually):
    own = guarded(adapter(mood="hangs"))
    own.open()
    threading.Thread(target=_raised, args=(own.acquire, REQUEST), daemon=True).start()
    eventually(lambda: "acquire" in lines(log))
    assert own.stop().answer == CONFIRMED
    assert "blank True" in lines(log)


def _raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error


OWNER = """
    import sys, threading
    from stemscout.hardware import ScanRequest
    from stemscout.hardware.adapter import Adapter
    from stemscout.hardware.guard import guarded
    request = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
    own = guarded(Adapter("moody_driver:Driver", {"log": sys.argv[1], "seconds": 60.0}))
    own.open()
    if sys.argv[2] == "scanning":
        threading.Thread(target=own.acquire, args=(request,), daemon=True).start()
    print("ready", own.microscope._process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("doing", ["nothing", "scanning"])
def test_where_whoever_drives_it_is_killed_it_blanks_by_itself(drivers, log, doing, eventually):
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(log), doing],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ready, pid = owner.stdout.readline().split()
    assert ready == "ready"
    if doing == "scanning":
        eventually(lambda: "acquire" in lines(log))
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    eventually(lambda: "close" in lines(log))
    told = lines(log)
    assert "blank True" in told[: told.index("close")]
    eventually(lambda: not _runs(int(pid)))


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
