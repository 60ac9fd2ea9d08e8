"""Stop, from another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import time
from multiprocessing.connection import Client

import pytest

from stemscout.hardware import ConnectionLost
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


class TestButton:
    @pytest.fixture
    def pressed(self, tmp_path):
        reasons = []
        button = StopButton(tmp_path, lambda r: (reasons.append(r), Stopped(CONFIRMED, 0.0))[1])
        yield reasons
        button.close()
        button.close()

    def test_without_the_key_nobody_presses_it(self, pressed, tmp_path):
        told = json.loads((tmp_path / NAME).read_text())
        told["key"] = "00" * 32
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / NAME).write_text(json.dumps(told))
        with pytest.raises(ConnectionLost, match="has another key than the run"):
            press(tmp_path / "elsewhere")
        assert pressed == []
        assert press(tmp_path, "now").confirmed
        assert pressed == ["now"]

    @pytest.mark.parametrize("rubbish", [b"", b"{}", b"[1]", b"\xff" * 300, b'{"reason": 1'])
    def test_rubbish_presses_nothing_and_breaks_nothing(self, pressed, tmp_path, rubbish):
        told = json.loads((tmp_path / NAME).read_text())
        with Client(told["address"], authkey=bytes.fromhex(told["key"])) as line:
            line.send_bytes(rubbish)
            with pytest.raises(EOFError):
                line.recv_bytes()
        assert pressed == []
        assert press(tmp_path).confirmed

    def test_a_reason_may_be_long_but_not_endless(self, pressed, tmp_path):
        press(tmp_path, "x" * 1000)
        assert len(pressed[0]) == 200


@pytest.mark.parametrize("text", ["", "[]", '{"address": 5}', "{}"])
def test_a_file_of_something_else_is_told_of(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ConnectionLost, match="cannot be read"):
        press(tmp_path)
