"""A driver in a process of its own: it may hang, crash, or lose whoever drives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from stemscout.hardware import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    LimitError,
    ScanRequest,
)
from stemscout.hardware import adapter as adapters
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
        each.leave()


@pytest.fixture
def scanning(log, eventually):
    """Begins a scan that lasts, in a thread; gives what it will raise."""

    def begin(own):
        raised = []
        thread = threading.Thread(
            target=lambda: raised.append(_raised(own.acquire, REQUEST)), daemon=True
        )
        thread.start()
        eventually(lambda: "acquire" in lines(log))

        def error():
            thread.join(10)
            assert raised, "it still waits"
            return raised[0]

        return error

    return begin


def lines(log):
    return log.read_text().split("\n") if log.exists() else []


def left_in_order(log):
    """The last words of a driver that was left: aborted, blanked, closed."""
    told = lines(log)
    return "abort" in told and "blank True" in told[told.index("abort") :] and "close" in told


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
    with pytest.raises(ConnectionLost, match="unexpected keyword argument 'colour'"):
        adapter(colour="red").open()


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("nowhere:nothing", "nowhere cannot be imported: .*No module named 'nowhere'"),
        ("moody_driver:nothing", "moody_driver has no nothing"),
        ("moody_driver:__doc__", "moody_driver has no __doc__"),
        ("moody_driver:__name__", "has a str, which is no callable, as __name__"),
        ("moody_driver:AbortedError", "gave a AbortedError, which is no microscope: it lacks open"),
        ("os:getpid", "os:getpid gave a int, which is no microscope: it lacks open, state"),
        ("os:listdir", "os:listdir gave a list, which is no microscope"),
        ("os:abs", "os has no abs"),
        ("os:fspath", "os:fspath failed: TypeError: .*path"),
        ("sys:exit", "sys:exit failed: SystemExit"),
    ],
)
def test_what_makes_no_microscope_is_told_of_in_one_sentence(drivers, factory, sentence):
    with pytest.raises(ConnectionLost, match=sentence) as raised:
        Adapter(factory).open()
    assert "\n" not in str(raised.value)


def test_what_the_driver_itself_raises_of_ours_is_left_as_it_is(drivers):
    pytest.importorskip("temscript")
    nobody = {"host": "127.0.0.1", "port": 9, "field_at_1x_m": 0.1}
    with pytest.raises(ConnectionLost, match=r"^no temscript server at 127\.0\.0\.1:9: "):
        Adapter("stemscout.hardware.temscript:remote", nobody).open()


def test_a_driver_that_crashes_takes_nobody_with_it(adapter):
    own = adapter(mood="crashes")
    own.open()
    with pytest.raises(ConnectionLost, match="is gone; it said last:\nsegmentation fault"):
        own.acquire(REQUEST)


def test_after_a_crash_it_can_be_opened_again(adapter):
    own = adapter(mood="crashes")
    own.open()
    with pytest.raises(ConnectionLost):
        own.acquire(REQUEST)
    assert own._process is None
    with pytest.raises(ConnectionLost, match="closed; call open"):
        own.state()
    own.open()
    assert own.state().stage_yx_nm == (0.0, 0.0)
    os.kill(own._process.pid, signal.SIGKILL)
    own._child.process.wait()  # and nobody has noticed it yet
    own.open()
    assert own.state().stage_yx_nm == (0.0, 0.0)


@pytest.mark.parametrize(
    ("mood", "words"), [("tells in tuples", "keys must be str"), ("exits", "no more licences")]
)
def test_what_it_cannot_answer_is_an_error_and_it_lives_on(adapter, log, mood, words):
    own = adapter(mood=mood)
    own.open()
    pid = own._process.pid
    with pytest.raises(AcquisitionError, match=words):
        own.acquire(REQUEST)
    assert own.blank(True).blanked
    assert own._process.pid == pid
    assert "close" not in lines(log)


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


def test_an_abort_that_hangs_delays_no_blanking(adapter, log, scanning, eventually):
    own = adapter(mood="aborts for ever", seconds=60.0)
    own.open()
    scanning(own)
    threading.Thread(target=_raised, args=(own.abort,), daemon=True).start()
    eventually(lambda: "abort" in lines(log))
    began = time.perf_counter()
    assert own.blank(True).blanked
    assert own.state().blanked
    assert time.perf_counter() - began < 3 * 0.2
    own.kill()
    assert lines(log).count("blank True") > 1
    assert "close" in lines(log)


def test_a_question_asked_as_a_scan_begins_does_not_wait_for_it(adapter):
    own = adapter(seconds=2.0)
    own.open()
    for _ in range(30):
        ready = threading.Barrier(2)

        def scan(ready=ready):
            ready.wait()
            _raised(own.acquire, REQUEST)

        thread = threading.Thread(target=scan)
        thread.start()
        ready.wait()
        began = time.perf_counter()
        own.state()
        assert time.perf_counter() - began < 1.0
        while thread.is_alive():
            own.abort()
            thread.join(0.01)


@pytest.mark.parametrize("mood", ["", "hangs"])
def test_told_to_end_it_blanks_first(adapter, log, scanning, mood, eventually):
    own = adapter(mood=mood, seconds=60.0)
    own.open()
    raised = scanning(own)
    process = own._process
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(10) == 0
    assert left_in_order(log)
    assert isinstance(raised(), AbortedError | ConnectionLost)
    assert not own._process


def test_no_thread_of_it_dies_of_being_told_to_end(adapter, monkeypatch):
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)  # libraries begin threads of their own
    own = adapter()
    own.open()
    folder = Path(f"/proc/{own._process.pid}/task")
    if not folder.exists():
        pytest.skip("there is no /proc")
    masks = [(thread / "status").read_text().split("SigBlk:")[1] for thread in folder.iterdir()]
    open_to_it = [m for m in masks if not int(m.split()[0], 16) & 1 << signal.SIGTERM - 1]
    assert len(masks) >= 5
    assert len(open_to_it) <= 1  # which waits for it
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_left_it_sends_nothing_more(adapter, log, scanning):
    own = adapter(seconds=60.0)
    own.leave()
    own.open()
    raised = scanning(own)
    process = own._process
    own.leave()
    own.leave()
    assert isinstance(raised(), ConnectionLost)
    assert process.returncode is not None
    assert lines(log) == ["acquire", ""]
    with pytest.raises(ConnectionLost, match="is closed"):
        own.state()
    own.open()
    assert not own.state().blanked  # nor is it blanked now


def test_killed_it_may_blank_first(adapter, log, scanning):
    own = adapter(mood="hangs")
    own.kill()
    own.open()
    raised = scanning(own)
    process, began = own._process, time.perf_counter()
    own.kill()
    own.kill()
    assert time.perf_counter() - began < adapters.END_S
    assert left_in_order(log)
    assert isinstance(raised(), ConnectionLost)
    assert process.returncode == 0
    own.open()
    assert own.state().blanked


def test_killed_it_ends_whatever_it_does(adapter, scanning, monkeypatch):
    monkeypatch.setattr(adapters, "END_S", 0.3)
    own = adapter(mood="hangs in C")
    own.open()
    raised = scanning(own)
    process = own._process
    own.kill()
    assert process.returncode == -signal.SIGKILL
    assert isinstance(raised(), ConnectionLost)


def test_another_process_that_holds_its_lines_does_not_keep_it(adapter, log):
    own = adapter()
    own.open()
    held = [os.dup(line.fileno()) for line in own._child._lines]  # as after a fork
    began = time.perf_counter()
    own.close()
    assert time.perf_counter() - began < adapters.END_S / 2
    assert "close" in lines(log)
    for handle in held:
        os.close(handle)


def test_where_nobody_holds_it_any_more_it_ends(drivers, log, eventually):
    own = Adapter("moody_driver:Driver", {"log": str(log)})
    own.open()
    process = own._process
    del own
    eventually(lambda: process.poll() is not None)
    assert left_in_order(log)


def _raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error


OWNER = """
    import os, sys, threading, time
    from stemscout.hardware import ScanRequest
    from stemscout.hardware.adapter import Adapter
    from stemscout.hardware.guard import guarded
    request = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
    mood = {"log": sys.argv[1], "seconds": 60.0, "mood": sys.argv[2]}
    own = guarded(Adapter("moody_driver:Driver", mood))
    own.open()
    other = os.fork() if sys.argv[2] == "forked" else 1
    if other == 0:
        time.sleep(60)
        os._exit(0)
    if sys.argv[2] == "scanning":
        threading.Thread(target=own.acquire, args=(request,), daemon=True).start()
    print("ready", own.microscope._process.pid, other, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("doing", ["nothing", "scanning", "forked", "prints", "aborts for ever"])
def test_where_whoever_drives_it_is_killed_it_blanks_by_itself(drivers, log, doing, eventually):
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(log), doing],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    ready, pid, other = owner.stdout.readline().split()
    assert ready == "ready"
    if doing == "scanning":
        eventually(lambda: "acquire" in lines(log))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    try:
        eventually(lambda: not _runs(int(pid)), 10)
    finally:
        if doing == "forked":
            os.kill(int(other), signal.SIGKILL)
        owner.communicate()
    assert left_in_order(log)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
