"""A thousand frames: nothing grows, and nothing is left behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from stemscout.hardware import ScanRequest
from stemscout.hardware.adapter import Adapter
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read

REQUEST = ScanRequest((0.0, 0.0), (3.2, 3.2), (64, 64), 10.0, detectors=("recorded",))
FRAMES = 1000
SETTLED = 200  # frames after which nothing has a reason to grow
FLAT_MB = 4.0  # less than 300 of the frames


def resident_mb(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def opened(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def children():
    """Processes that this one began."""
    return set(Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split())


def soak(microscope, pids):
    """What a thousand frames leave behind: MB by process, and open files."""
    for _ in range(SETTLED):
        microscope.acquire(REQUEST)
    before = {pid: (resident_mb(pid), opened(pid)) for pid in pids}
    for _ in range(FRAMES - SETTLED):
        microscope.acquire(REQUEST)
    for pid, (mb, files) in before.items():
        assert resident_mb(pid) - mb < FLAT_MB
        assert opened(pid) <= files


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
@pytest.mark.parametrize("wire", [False, True], ids=["here", "over the wire"])
def test_a_thousand_frames_leave_nothing_behind(wire, drivers, tmp_path, eventually):
    threads, processes = threading.active_count(), children()
    with Journal(tmp_path) as journal:
        adapter = Adapter("moody_driver:Driver")
        guard = guarded(adapter, journal=journal)
        if wire:
            pytest.importorskip("grpc")
            from stemscout.hardware.remote import RemoteMicroscope
            from stemscout.hardware.server import Server

            with Server(guard) as server:
                own = RemoteMicroscope(f"grpc://127.0.0.1:{server.port}")
                own.open()
                soak(own, [os.getpid(), adapter._process.pid])
                own.close()
        else:
            with guard:
                soak(guard, [os.getpid(), adapter._process.pid])
    eventually(lambda: threading.active_count() <= threads and children() <= processes, 20)
    assert sum(r.kind == "frame" for r in read(tmp_path)) == FRAMES
