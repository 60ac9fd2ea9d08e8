"""Stop, from another process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from stemscout.hardware import ConnectionLost, stopping
from stemscout.hardware.emergency import CONFIRMED, Stopped
from stemscout.hardware.stopping import NAME, StopButton, press

RUN = """
    import sys, time
    from pathlib import Path
    import numpy as np
    from stemscout.hardware import AbortedError, ScanRequest
    from stemscout.hardware.guard import guarded
    from stemscout.hardware.stopping import StopButton
    from stemscout.simulators.recorded import RecordedMicroscope
    request = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
    with guarded(RecordedMicroscope(np.random.default_rng(0).random((64, 64)), 0.05)) as own:
        button = StopButton(Path(sys.argv[1]), own.stop)
        print("ready", flush=True)
        try:
            while True:
                own.acquire(request)
                time.sleep(0.001)
        except AbortedError as error:
            print(error, flush=True)
        button.close()
"""


@pytest.fixture
def running(tmp_path):
    """A process that scans on and on."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(RUN), str(tmp_path)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_stops_a_run_and_hears_of_the_beam(running, tmp_path):
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0
    began = time.perf_counter()
    told = press(tmp_path, "the door was opened")
    assert time.perf_counter() - began < 3 * 0.2
    assert told.answer == CONFIRMED
    assert "the door was opened" in running.stdout.readline()
    assert running.wait(10) == 0
    with pytest.raises(ConnectionLost, match="nothing is driven from"):
        press(tmp_path)


def test_a_process_that_was_killed_confirms_nothing(running, tmp_path):
    running.send_signal(signal.SIGKILL)
    running.wait(10)
    with pytest.raises(ConnectionLost, match="is gone; beam NOT confirmed blanked"):
        press(tmp_path)


def test_a_process_that_is_suspended_confirms_nothing_and_stops_when_it_goes_on(running, tmp_path):
    running.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(
        ConnectionLost, match="does not answer within 2 s; beam NOT confirmed blanked"
    ):
        press(tmp_path, "the door was opened")
    assert time.monotonic() - began < 3.0
    running.send_signal(signal.SIGCONT)
    assert "the door was opened" in running.stdout.readline()
    assert running.wait(10) == 0


@contextmanager
def calling(folder):
    """Somebody who has called and says nothing."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(10)
        line.connect(json.loads((folder / NAME).read_text())["address"])
        yield line


class TestButton:
    @pytest.fixture
    def pressed(self, tmp_path):
        """The reasons for which it was pressed; it takes a tenth of a second."""
        reasons = []

        def stop(reason):
            reasons.append(reason)
            time.sleep(0.1)
            return Stopped(CONFIRMED, 0.1)

        self.button = StopButton(tmp_path, stop)
        yield reasons
        self.button.close()
        self.button.close()

    @pytest.fixture
    def room(self, pressed, tmp_path):
        """The directory of the socket."""
        return Path(json.loads((tmp_path / NAME).read_text())["address"]).parent

    def test_nobody_else_may_enter_where_it_listens(self, room):
        assert room.stat().st_mode & 0o777 == 0o700
        assert room.parent == Path(tempfile.gettempdir())

    def test_a_caller_who_says_nothing_delays_nobody(self, pressed, tmp_path):
        with calling(tmp_path), calling(tmp_path) as another:
            another.sendall(b'{"rea')
            began = time.monotonic()
            assert press(tmp_path, "now").confirmed
            assert time.monotonic() - began < 3 * 0.2
            began = time.monotonic()
            self.button.close()
            assert time.monotonic() - began < 1.0
        assert pressed == ["now"]

    def test_a_caller_who_says_nothing_is_not_listened_to_for_ever(
        self, pressed, tmp_path, monkeypatch
    ):
        monkeypatch.setattr(stopping, "ANSWER_S", 0.2)
        with calling(tmp_path) as line:
            assert line.recv(1) == b""

    def test_many_may_press_at_once(self, pressed, tmp_path):
        told = []

        def caller(k):
            told.append(press(tmp_path, str(k)))

        callers = [threading.Thread(target=caller, args=(k,)) for k in range(40)]
        began = time.monotonic()
        for each in callers:
            each.start()
        for each in callers:
            each.join()
        assert time.monotonic() - began < 1.5
        assert len(told) == 40
        assert all(t.confirmed for t in told)
        assert sorted(pressed, key=int) == [str(k) for k in range(40)]

    def test_whoever_has_pressed_is_answered_before_it_closes(self, pressed, tmp_path, eventually):
        told = []
        caller = threading.Thread(target=lambda: told.append(press(tmp_path)))
        caller.start()
        eventually(lambda: pressed)
        self.button.close()
        caller.join()
        assert told[0].confirmed

    def test_closed_it_leaves_nothing_behind(self, pressed, room, tmp_path):
        assert press(tmp_path).confirmed
        self.button.close()
        assert not room.exists()
        assert list(tmp_path.iterdir()) == []
        assert not any(t.name == "stop button" for t in threading.enumerate())

    @pytest.mark.parametrize(
        "rubbish", [b"", b"{}", b"[1]", b"\xff" * 300, b'{"reason": 1', b"[" * 5000, b"x" * 9000]
    )
    def test_rubbish_presses_nothing_and_breaks_nothing(self, pressed, tmp_path, rubbish):
        with calling(tmp_path) as line, suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(rubbish + b"\n")
            assert line.recv(100) == b""
        assert pressed == []
        assert press(tmp_path).confirmed

    def test_a_reason_may_be_long_but_not_endless(self, pressed, tmp_path):
        press(tmp_path, "é" * 1000)
        assert pressed == ["é" * 200]


class TestSomethingElse:
    """What a stale ``stop.json`` leads to, or one that is none."""

    @pytest.fixture
    def listener(self, tmp_path, monkeypatch):
        """A socket at which nobody answers, in the name of a run."""
        monkeypatch.setattr(stopping, "ANSWER_S", 0.2)
        made = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        with made as room, socket.socket(socket.AF_UNIX) as door:
            door.bind(f"{room}/stop")
            door.listen(0)
            (tmp_path / NAME).write_text(json.dumps({"address": f"{room}/stop"}))
            yield door

    @pytest.mark.parametrize("left", ["a socket", "a directory", "nothing"])
    def test_of_a_run_that_is_gone_nothing_is_confirmed(self, listener, tmp_path, left):
        room = Path(json.loads((tmp_path / NAME).read_text())["address"])
        listener.close()
        if left != "a socket":
            room.unlink()
        if left == "nothing":
            room.parent.rmdir()
        with pytest.raises(ConnectionLost, match="is gone; beam NOT confirmed blanked"):
            press(tmp_path)

    def test_a_new_run_takes_its_place(self, listener, tmp_path):
        button = StopButton(tmp_path, lambda reason: Stopped(CONFIRMED, 0.0))
        assert press(tmp_path).confirmed
        button.close()

    def test_where_as_many_wait_as_may_the_deadline_is_the_same(self, listener, tmp_path):
        with suppress(BlockingIOError):
            while True:
                with calling(tmp_path):
                    pass
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match=r"within 0\.2 s; beam NOT confirmed blanked"):
            press(tmp_path)
        assert time.monotonic() - began < 1.0

    @pytest.mark.parametrize("answer", [b"", b"\n", b"[]\n", b'{"answer": "x"}\n', b"[" * 4096])
    def test_an_answer_that_is_none_confirms_nothing(self, listener, tmp_path, answer):
        def answers():
            caller, _ = listener.accept()
            with caller:
                caller.recv(100)
                caller.sendall(answer)

        answering = threading.Thread(target=answers)
        answering.start()
        with pytest.raises(ConnectionLost, match=r"gave no answer .*beam NOT confirmed blanked"):
            press(tmp_path)
        answering.join()


def test_where_it_cannot_listen_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 100)))
    Path(tempfile.tempdir).mkdir()
    with pytest.raises(OSError, match="set TMPDIR to a short path"):
        StopButton(tmp_path / "run", lambda reason: Stopped(CONFIRMED, 0.0))
    assert list(Path(tempfile.tempdir).iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"address": 5}', "{}"])
def test_a_file_of_something_else_is_told_of(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ConnectionLost, match="cannot be read"):
        press(tmp_path)
