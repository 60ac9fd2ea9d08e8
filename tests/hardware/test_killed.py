"""Kill -9 at either end of the wire: the beam goes dark, and who is left knows it."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from stemscout.hardware import ConnectionLost, ScanRequest
from stemscout.hardware.journal import read
from stemscout.hardware.remote import RemoteMicroscope

pytest.importorskip("grpc")

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
BOUND_S = 15.0  # a frame is asked for again for five; machines that test are busy


def python(program, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


CLIENT = """
    import sys, time
    from stemscout.hardware import ScanRequest
    from stemscout.hardware import remote
    remote.LEASE_S = 1.0
    request = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
    own = remote.RemoteMicroscope(sys.argv[1])
    own.open()
    own.acquire(request)
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_client_that_is_killed_loses_control_and_the_beam_is_blanked(served, eventually):
    microscope, server = served()
    process = python(CLIENT, f"grpc://127.0.0.1:{server.port}")
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)  # signs of life are given while it lives
    assert not microscope._state.blanked
    process.send_signal(signal.SIGKILL)
    process.communicate()
    eventually(lambda: microscope._state.blanked)
    own = served.client(server)
    own.open()
    own.blank(False)
    assert own.acquire(REQUEST).image.any()


# ``stemscout serve``, of a driver in a process of its own whose log can be read.
SERVER = """
    import sys
    from stemscout.__main__ import main
    from stemscout.envs import addresses
    from stemscout.hardware.adapter import Adapter
    log, folder = sys.argv[1:]
    options = {"log": log, "seconds": 600.0}
    addresses.SCHEMES["moody"] = "moody:", lambda *_: Adapter("moody_driver:Driver", options)
    sys.argv = ["stemscout", "serve", "--microscope", "moody:", "--port", "0", "--out", folder]
    main()
"""


def running():
    """All processes that have not ended, and which began each."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")
def test_a_server_that_is_killed_in_mid_frame_leaves_a_dark_beam(drivers, tmp_path, eventually):
    log, folder = tmp_path / "log", tmp_path / "served"
    log.touch()
    server = python(SERVER, log, folder)
    own, raised = RemoteMicroscope(server.stdout.readline().split()[-1]), []

    def scan():
        try:
            own.acquire(REQUEST)
        except Exception as error:
            raised.append(error)

    try:
        own.open()
        scanning = threading.Thread(target=scan, daemon=True)
        scanning.start()
        eventually(lambda: "acquire" in log.read_text())
        (driver,) = (pid for pid, parent in running().items() if parent == server.pid)
        server.send_signal(signal.SIGKILL)
        scanning.join(BOUND_S)
        assert isinstance(raised[0], ConnectionLost)
        with pytest.raises(ConnectionLost, match="cannot be reached for state"):
            own.state()
        with pytest.raises(ConnectionLost):
            own.close()
    finally:
        server.kill()
        server.communicate()
    eventually(lambda: driver not in running(), BOUND_S)
    said = log.read_text().split()
    assert said[-4:] == ["abort", "blank", "True", "close"]
    assert said.count("acquire") == 1
    # What was sent is on the disk, and that nothing is known of how it ended.
    kinds = [record.kind for record in read(folder)]
    assert kinds[-1] == "command"
    assert "frame" not in kinds
