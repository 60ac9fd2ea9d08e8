"""A microscope over the wire: the same contract, and what wires do to it."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from stemscout.hardware import AbortedError, ConnectionLost, LimitError, ScanRequest
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.errors import LeaseError, MicroscopeError
from stemscout.hardware.remote import RemoteMicroscope

grpc = pytest.importorskip("grpc")

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


def test_every_answer_says_that_it_is_simulated(served):
    _, server = served()
    own = served.client(server)
    own.open()
    for verb in (own.state, lambda: own.acquire(REQUEST), own.latest):
        own.simulated = None
        verb()
        assert own.simulated is True
    own.simulated = None
    with pytest.raises(LimitError, match="reaches beyond the field"):
        own.acquire(replace(REQUEST, centre_yx_nm=(1e3, 0.0)))
    assert own.simulated is True


class TestOwners:
    def test_one_controls_and_others_look_on(self, served):
        _, server = served()
        first = served.client(server, owner="alice")
        first.open()
        second = served.client(server, owner="bob")
        with pytest.raises(LeaseError, match="alice has the microscope"):
            second.open()
        watcher = served.client(server, right="observe")
        watcher.open()
        frame = first.acquire(REQUEST)
        assert np.array_equal(watcher.latest().image, frame.image)
        assert watcher.state() == first.state()
        with pytest.raises(LeaseError, match="alice has the microscope"):
            watcher.acquire(REQUEST)
        first.close()
        second.open()
        second.blank(False)
        assert second.acquire(REQUEST).image.any()

    def test_anybody_stops_it_in_mid_frame(self, served):
        microscope, server = served()
        microscope.holds = True
        own, watcher = served.client(server), served.client(server, right="observe")
        own.open()
        watcher.open()
        failed = []
        thread = threading.Thread(target=lambda: failed.append(_raised(own.acquire, REQUEST)))
        thread.start()
        assert microscope.scanning.wait(5)
        began = time.perf_counter()
        told = watcher.stop("smoke")
        assert time.perf_counter() - began < 3 * 0.2
        assert told.answer == CONFIRMED
        thread.join(10)
        assert isinstance(failed[0], AbortedError)
        with pytest.raises(AbortedError, match="smoke"):
            own.acquire(REQUEST)
        own.rearm()
        own.blank(False)
        microscope.holds = False
        assert own.acquire(REQUEST).image.any()

    @pytest.mark.parametrize(
        "waits",
        [
            lambda own: own.acquire(REQUEST),
            lambda own: own.acquire(replace(REQUEST, request_id="the one")),
            lambda own: own.move_stage((0.1, 0.0)),
            lambda own: own.set_beam_shift((0.1, 0.0)),
            lambda own: own.state(),
            lambda own: own.blank(True),
        ],
        ids=["acquire", "the same frame", "move_stage", "set_beam_shift", "state", "blank"],
    )
    def test_a_stop_is_heard_while_many_wait(self, served, waits):
        microscope, server = served()
        microscope.holds = True
        own = served.client(server)
        own.open()
        first = threading.Thread(target=_raised, args=(own.acquire, REQUEST), daemon=True)
        first.start()
        assert microscope.scanning.wait(5)
        threads = [
            threading.Thread(target=_raised, args=(waits, own), daemon=True) for _ in range(40)
        ]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        began = time.perf_counter()
        told = own.stop()
        assert time.perf_counter() - began < 3 * 0.2
        assert told.answer == CONFIRMED

    @pytest.mark.parametrize(
        "call",
        [
            lambda own: own.acquire(REQUEST),
            lambda own: own.blank(False),
            lambda own: own.move_stage((0.1, 0.0)),
            lambda own: own.set_beam_shift((0.1, 0.0)),
            lambda own: own.rearm(),
        ],
    )
    def test_nothing_is_driven_without_control(self, served, call):
        microscope, server = served()
        watcher = served.client(server, right="observe")
        watcher.open()
        with pytest.raises(LeaseError, match="needs control; take it first"):
            call(watcher)
        assert microscope.calls == ["state"]

    def test_closing_the_server_in_mid_frame_aborts_and_blanks(self, served):
        microscope, server = served()
        microscope.holds = True
        own = served.client(server)
        own.open()
        failed = []
        thread = threading.Thread(target=lambda: failed.append(_raised(own.acquire, REQUEST)))
        thread.start()
        assert microscope.scanning.wait(5)
        server.close()
        thread.join(20)
        assert failed
        assert microscope._state.blanked


class TestTheWire:
    def test_a_retry_never_doses_twice(self, served):
        microscope, server = served()
        own = served.client(server)
        own.open()
        named = replace(REQUEST, request_id="the one")
        first, again = own.acquire(named), own.acquire(named)
        assert np.array_equal(first.image, again.image)
        assert microscope.calls.count("acquire") == 1

    def test_the_same_frame_asked_for_twice_at_once_is_taken_once(self, served):
        microscope, server = served()
        microscope.holds = True
        own = served.client(server)
        own.open()
        named, brought = replace(REQUEST, request_id="the one"), []
        threads = [
            threading.Thread(target=lambda: brought.append(own.acquire(named))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        assert microscope.scanning.wait(5)
        time.sleep(0.2)
        microscope.go.set()
        for thread in threads:
            thread.join(10)
        assert len(brought) == 3
        assert microscope.calls.count("acquire") == 1

    def test_a_socket_that_is_cut_is_told_of_and_the_frame_is_not_lost(self, served):
        microscope, server = served()
        microscope.holds = True
        with Cable(server.port) as cable:
            own = served.client(server, cable.port)
            own.open()
            brought = []
            thread = threading.Thread(target=lambda: brought.append(own.acquire(REQUEST)))
            thread.start()
            assert microscope.scanning.wait(5)
            cable.cut()  # what the client asks again goes over a new connection
            time.sleep(0.1)
            microscope.go.set()
            thread.join(20)
        assert brought[0].image.any()
        assert microscope.calls.count("acquire") == 1

    def test_an_id_belongs_to_one_request_of_one_owner(self, served):
        microscope, server = served()
        own = served.client(server)
        own.open()
        named = replace(REQUEST, request_id="the one")
        own.acquire(named)
        with pytest.raises(MicroscopeError, match="another request had this id"):
            own.acquire(replace(named, centre_yx_nm=(2.0, 0.0)))
        own.close()
        other = served.client(server)
        other.open()
        other.blank(False)
        other.acquire(named)
        assert microscope.calls.count("acquire") == 2

    def test_what_was_refused_is_not_remembered_and_drives_nothing_out(self, served):
        microscope, server = served()
        own = served.client(server)
        own.open()
        named = replace(REQUEST, request_id="the one")
        first = own.acquire(named)
        beyond = replace(REQUEST, centre_yx_nm=(1e3, 0.0))
        for k in range(100):
            with pytest.raises(LimitError):
                own.acquire(replace(beyond, request_id=f"refused {k}"))
        assert np.array_equal(own.acquire(named).image, first.image)
        assert microscope.calls.count("acquire") == 1
        own.stop()
        with pytest.raises(AbortedError):
            own.acquire(replace(REQUEST, request_id="another"))
        own.rearm()
        own.blank(False)
        assert own.acquire(replace(REQUEST, request_id="another")).image.any()

    def test_a_frame_that_cannot_be_told_doses_once(self, served, monkeypatch):
        """Metadata that no message can hold: nobody asks for it again and again."""
        microscope, server = served()
        acquire = microscope.acquire
        told = {("a", "key"): 1}
        monkeypatch.setattr(
            microscope, "acquire", lambda r, timeout_s: replace(acquire(r), metadata=told)
        )
        own = served.client(server)
        own.open()
        with pytest.raises(MicroscopeError):
            own.acquire(REQUEST)
        assert microscope.calls.count("acquire") == 1

    def test_what_nobody_waits_for_any_more_is_not_sent(self, served, monkeypatch):
        monkeypatch.setattr("stemscout.hardware.remote.BEYOND_S", 0.1)
        microscope, server = served()
        microscope.holds = True
        own = served.client(server)
        own.open()
        first = threading.Thread(target=_raised, args=(own.acquire, REQUEST), daemon=True)
        first.start()
        assert microscope.scanning.wait(5)
        with pytest.raises(ConnectionLost):
            own.acquire(replace(REQUEST, dwell_us=5.0), timeout_s=0.2)
        microscope.go.set()
        first.join(10)
        time.sleep(0.3)
        assert microscope.calls.count("acquire") == 1

    def test_a_frame_is_not_asked_for_again_after_a_stop(self, served):
        microscope, server = served()
        with Cable(server.port) as cable:
            own = served.client(server, cable.port)
            own.open()
            cable.refuses = True
            cable.cut()
            failed = []
            thread = threading.Thread(target=lambda: failed.append(_raised(own.acquire, REQUEST)))
            thread.start()
            time.sleep(0.2)
            with suppress(MicroscopeError):
                own.abort()
            cable.refuses = False
            thread.join(20)
        assert isinstance(failed[0], AbortedError)
        assert "acquire" not in microscope.calls

    def test_a_connection_that_is_half_open_loses_control_and_the_beam_is_blanked(
        self, served, monkeypatch, eventually
    ):
        monkeypatch.setattr("stemscout.hardware.remote.LEASE_S", 1.0)
        monkeypatch.setattr("stemscout.hardware.remote.CALL_S", 1.0)
        microscope, server = served()
        with Cable(server.port) as cable:
            own = served.client(server, cable.port)
            own.open()
            cable.hold()  # nothing passes any more, and nobody is told
            eventually(lambda: microscope._state.blanked)
            with pytest.raises(ConnectionLost, match="has not answered state in 1 s"):
                own.state()
            with pytest.raises(ConnectionLost):
                own.close()
        other = served.client(server)
        other.open()

    def test_a_server_that_is_gone_is_told_of(self, served):
        _, server = served()
        own = served.client(server)
        own.open()
        server.close()
        with pytest.raises(ConnectionLost, match="cannot be reached for state"):
            own.state()

    def test_deadlines_are_kept(self, served):
        microscope, server = served()
        microscope.hangs = {"move_stage"}
        own = served.client(server)
        own.open()
        began = time.monotonic()
        with pytest.raises(ConnectionLost, match="not answered move_stage"):
            own.move_stage((0.1, 0.0), timeout_s=0.2)
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize(
        "address", ["grpc://", "grpc://host", "http://host:1", "grpc://host:port"]
    )
    def test_addresses_that_are_none(self, address):
        with pytest.raises(ValueError, match="must be grpc://host:port"):
            RemoteMicroscope(address)

    def test_nobody_there(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(ConnectionLost, match="cannot be reached for take"):
            RemoteMicroscope(f"grpc://127.0.0.1:{port}").open()


class Cable:
    """A connection to a server that can be cut, or hold everything back."""

    def __init__(self, port):
        self.to = port
        self.lines, self.held, self.over = [], threading.Event(), False
        self.refuses = False
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over = True
        self.listener.close()
        self.cut()

    def cut(self):
        for line in self.lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        self.lines = []

    def hold(self):
        self.held.set()

    def _accept(self):
        while not self.over:
            try:
                near, _ = self.listener.accept()
                if self.refuses:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self.to))
            except OSError:
                return
            self.lines += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(a, b), daemon=True).start()

    def _carry(self, a, b):
        try:
            while data := a.recv(65536):
                if not self.held.is_set():
                    b.sendall(data)
        except OSError:
            pass


def _raised(function, *arguments):
    try:
        function(*arguments)
    except Exception as error:
        return error
