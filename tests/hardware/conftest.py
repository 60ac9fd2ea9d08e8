"""An instrument whose moods tests decide."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import replace

import pytest

from stemscout.hardware import AbortedError
from stemscout.hardware.errors import MicroscopeError
from stemscout.hardware.guard import guarded
from stemscout.simulators.recorded import RecordedMicroscope


class Moody(RecordedMicroscope):
    """A recorded microscope that can be slow, hang, fail, or do less than it was told.

    Attributes:
        calls: every verb that reached it, in order.
        scanning: set while a scan that ``holds`` is under way.
        holds: scans wait for ``go`` or an abort.
        hangs: verbs that wait for ``go`` and heed nothing else.
        fails: verbs that raise what is named here, once for each entry.
        clamps: moves go nowhere, silently.
    """

    def __init__(self, image, while_busy=True, **told):
        super().__init__(image, 0.05)
        self.capabilities = replace(self.capabilities, can_blank_while_busy=while_busy, **told)
        self.calls, self.fails = [], {}
        self.holds, self.hangs, self.clamps = False, set(), False
        self.scanning, self.go, self.aborted = (threading.Event() for _ in range(3))

    def _called(self, verb):
        self.calls.append(verb)
        if verb in self.hangs:
            self.go.wait(30)
        for error in self.fails.get(verb, [])[:1]:
            self.fails[verb].remove(error)
            raise error

    def state(self):
        self._called("state")
        return super().state()

    def acquire(self, request, timeout_s=60.0):
        self.scanning.set()
        self._called("acquire")
        if self.holds:
            self.aborted.clear()
            while not self.go.wait(0.001):
                if self.aborted.is_set():
                    raise AbortedError("the scan was aborted")
        return super().acquire(request, timeout_s)

    def move_stage(self, yx_nm, timeout_s=30.0):
        self._called("move_stage")
        return super().state() if self.clamps else super().move_stage(yx_nm, timeout_s)

    def set_beam_shift(self, yx_nm):
        self._called("set_beam_shift")
        return super().state() if self.clamps else super().set_beam_shift(yx_nm)

    def blank(self, on):
        self._called("blank")
        return super().blank(on)

    def abort(self):
        self.calls.append("abort")
        self.aborted.set()

    def close(self):
        self.calls.append("close")
        super().close()


@pytest.fixture
def moody(lattice_image):
    """Makes them; whatever hangs is let go in the end."""
    made = []

    def make(**options):
        made.append(Moody(lattice_image, **options))
        return made[-1]

    yield make
    for microscope in made:
        microscope.go.set()


@pytest.fixture
def served(moody):
    """Makes servers of moody microscopes, and clients of them."""
    pytest.importorskip("grpc")
    from stemscout.hardware.remote import RemoteMicroscope
    from stemscout.hardware.server import Server

    servers, clients = [], []

    def make(microscope=None, **options):
        microscope = microscope or moody()
        servers.append(Server(guarded(microscope), **options))
        return microscope, servers[-1]

    def client(server, port=None, **options):
        clients.append(RemoteMicroscope(f"grpc://127.0.0.1:{port or server.port}", **options))
        return clients[-1]

    make.client = client
    yield make
    for each in servers:
        each.guard.microscope.go.set()
    for each in clients:
        with suppress(MicroscopeError):
            each.close()
    for each in servers:
        each.close()


DRIVER = '''
import ctypes, os, time
from dataclasses import replace
from pathlib import Path
import numpy as np
from stemscout.hardware import AbortedError
from stemscout.hardware.errors import MicroscopeError
from stemscout.hardware.guard import guarded
from stemscout.simulators.recorded import RecordedMicroscope


class Driver(RecordedMicroscope):
    """Scans that last, a log of what reached it, and moods."""

    def __init__(self, log="/dev/null", seconds=0.0, mood="", while_busy=True):
        image = np.random.default_rng(0).random((192, 192))
        super().__init__(image, 0.05)
        self.capabilities = replace(self.capabilities, can_blank_while_busy=while_busy)
        self.log, self.seconds, self.mood, self.aborted = Path(log), seconds, mood, False
        if mood == "crashes at once":
            print("no licence found", flush=True)
            os._exit(3)

    def _note(self, text):
        with self.log.open("a") as file:
            file.write(text + "\\n")

    def acquire(self, request, timeout_s=60.0):
        self._note("acquire")
        if self.mood == "crashes":
            print("segmentation fault, says the driver", flush=True)
            os._exit(139)
        if self.mood == "hangs":
            time.sleep(600)
        if self.mood == "hangs in C":  # and lets no other thread run
            ctypes.PyDLL(None).sleep(600)
        if self.mood == "fails":
            raise OSError("0x80004005")
        if self.mood == "exits":
            raise SystemExit("no more licences")
        until = time.monotonic() + self.seconds
        self.aborted = False
        while time.monotonic() < until:
            time.sleep(0.001)
            if self.aborted:
                raise AbortedError("the scan was aborted")
        frame = super().acquire(request, timeout_s)
        return replace(frame, metadata={(0, 1): 2}) if self.mood == "tells in tuples" else frame

    def blank(self, on):
        if self.mood == "prints":
            print("blanks", flush=True)
        self._note(f"blank {on}")
        return super().blank(on)

    def abort(self):
        self._note("abort")
        if self.mood == "aborts for ever":
            time.sleep(600)
        self.aborted = True

    def close(self):
        super().close()
        self._note("close")
'''


@pytest.fixture(scope="session")
def drivers(tmp_path_factory):
    """The folder that other processes find the driver in."""
    folder = tmp_path_factory.mktemp("drivers")
    (folder / "moody_driver.py").write_text(DRIVER)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([before] if before else [])])
    yield folder
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before
