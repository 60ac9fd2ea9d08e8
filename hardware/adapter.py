"""A driver in a process of its own, so that one that hangs or crashes holds nothing else up.

The process makes the microscope and does what it is told over one line.  Over a second line come
blanking and questions in the middle of a scan, over a third one aborts, each heeded by a thread of
its own: an abort that hangs delays no blanking.  When a line ends, when whoever drives it is gone,
or when it is told to end (SIGTERM), it aborts, blanks and ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from . import alone, wire
from .costs import CostModel
from .errors import ConnectionLost
from .making import made as made_by
from .microscope import YX, Capabilities, Frame, Microscope, ScanRequest, State

CALLS, ASIDE, ABORT = range(3)  # the lines
SAID = 20  # lines of what the driver said last, that are told when its process ends
SAID_S = 0.2  # for which they may take to arrive
END_S = 5.0  # for which the process may take to end
ABORT_S = 0.5  # for which an abort may delay the last blanking
OWNER_S = 0.1  # between two looks at whether the owner is there
Line = Connection  # of bytes; nothing is pickled


class Adapter:
    """A microscope whose driver is in another process.

    Time-outs are the guard's, behind which it belongs: a call that is waited for no longer
    brings its frame all the same, late.

    Args:
        factory: ``module:function``, which makes the microscope in the other process.
        options: keyword arguments of the function, as JSON has them.
        python: the interpreter itself; another environment's where the driver needs one.
        instrument: its address, where one process on this machine may drive it at a time.

    Attributes:
        costs: the microscope's own, once it is open.

    Raises:
        ConnectionLost: the process ends before it is ready; with what the driver said last.  Any
            verb raises it where the process has ended; ``open`` then begins another.
        LeaseError: another process drives the instrument already.
    """

    def __init__(
        self,
        factory: str,
        options: Mapping[str, Any] | None = None,
        python: str = sys.executable,
        instrument: str | None = None,
    ) -> None:
        self.factory, self.instrument = factory, instrument
        self._options = dict(options or {})
        self._python = python
        self._child: _Child | None = None
        self._left = False  # blanked, by an earlier ``close`` or ``kill``
        self.costs = CostModel()

    def open(self) -> Capabilities:
        """Start the process if it does not run, and open the microscope in it."""
        if self._process is None:
            self._start()
        data, _ = self._ask("open")
        told = wire.capabilities_of(data["capabilities"])
        self.costs = CostModel(**data["costs"])
        if self._left and told.can_blank:
            self.blank(True)  # an instrument is still; a simulated one has forgotten it
        self._left = False
        return told

    def state(self) -> State:
        return wire.state_of(self._ask("state", aside=True)[0])

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        told = {"yx_nm": list(yx_nm), "timeout_s": timeout_s}
        return wire.state_of(self._ask("move_stage", told)[0])

    def set_beam_shift(self, yx_nm: YX) -> State:
        return wire.state_of(self._ask("set_beam_shift", {"yx_nm": list(yx_nm)})[0])

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        told = {"request": asdict(request), "timeout_s": timeout_s}
        return wire.frame_of(*self._ask("acquire", told))

    def blank(self, on: bool) -> State:
        """Over the second line where a call is under way: only where the driver allows it."""
        return wire.state_of(self._ask("blank", {"on": on}, aside=True)[0])

    def abort(self) -> None:
        if self._process is not None:
            self._over(ABORT, "abort", {})

    def close(self) -> None:
        child = self._child
        if child is None or child.gone:
            return
        self._left = True
        try:
            self._ask("close")
        finally:
            child.end()

    def leave(self) -> None:
        """Let go without touching the beam: the process ends at once, and sends nothing more.

        From any thread; harmless where it is closed.  A call under way raises ConnectionLost.
        """
        if self._child is not None:
            self._child.drop()

    def kill(self) -> None:
        """End the process, whatever it does; first it may abort, blank and end by itself.

        From any thread, within ``END_S`` and a second; harmless where it is closed.  A call under
        way raises ConnectionLost.
        """
        child = self._child
        if child is not None:
            self._left = self._left or not child.gone
            child.end()

    @property
    def _process(self) -> subprocess.Popen[bytes] | None:
        """That runs, if any."""
        child = self._child
        if child is None or child.gone or child.process.poll() is not None:
            return None
        return child.process

    def _start(self) -> None:
        if self._child is not None:
            self._child.end()  # two at once would drive one instrument
        self._child = child = _Child(self._python)
        try:
            given = {"factory": self.factory, "options": self._options}
            self._ask("make", {**given, "instrument": self.instrument})
        except BaseException:
            child.end()
            raise

    def _ask(
        self, verb: str, told: Mapping[str, Any] | None = None, aside: bool = False
    ) -> tuple[dict[str, Any], Any]:
        """Over the line of calls; what goes aside, over the second one where that is taken."""
        return self._over(ASIDE if aside else CALLS, verb, told or {})

    def _over(self, which: int, verb: str, told: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        child = self._child
        if child is None or child.gone:
            raise ConnectionLost(f"the adapter of {self.factory} is closed; call open() first")
        try:
            data, arrays = wire.unpack(child.tell(which, wire.pack({"verb": verb, **told})))
        except (OSError, EOFError) as error:
            if not child.gone:  # else somebody ends it already
                child.end()
            raise ConnectionLost(f"the adapter of {self.factory} is gone{child.last()}") from error
        if "error" in data:
            raise wire.error_of(data["error"])
        return data["answer"], arrays


class _Child:
    """The process, as it is seen from whoever drives it.

    Attributes:
        process: it.
        gone: nothing more is told to it.
    """

    def __init__(self, python: str) -> None:
        pairs = [Pipe() for _ in (CALLS, ASIDE, ABORT)]
        ends = [its.fileno() for _, its in pairs]
        self._turns = [threading.Lock() for _ in pairs]
        self._lines: list[Any] = [ours for ours, _ in pairs]
        self._said: deque[str] = deque(maxlen=SAID)
        self.gone = False
        # It begins with SIGTERM blocked, and so do threads that libraries start on import.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            self.process = subprocess.Popen(
                [python, "-m", "stemscout.hardware.adapter", *map(str, (os.getpid(), *ends))],
                pass_fds=ends,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for whoever drives it, who then blanks
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for _, its in pairs:
                its.close()
        # It must not keep the lines: where nobody holds them any more, the process is to end.
        self._listens = threading.Thread(
            target=_listen, args=(self.process, self._said), daemon=True
        )
        self._listens.start()

    def tell(self, which: int, message: bytes) -> bytes:
        """Its answer; OSError or EOFError where it is gone.

        What goes aside takes the line of calls where that is free, and never waits for it.
        """
        if which == ASIDE and self._turns[CALLS].acquire(blocking=False):
            which = CALLS
        else:
            self._turns[which].acquire()
        try:
            lines = self._lines
            if not lines:
                raise EOFError
            lines[which].send_bytes(message)
            return bytes(lines[which].recv_bytes())
        finally:
            self._turns[which].release()

    def end(self) -> None:
        """Hang up; it ends by itself, or is ended.  Harmless where it has ended."""
        self.gone = True
        for line in self._lines:
            _hang_up(line)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_S)
        self.drop()

    def drop(self) -> None:
        """End it where it stands."""
        self.gone = True
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it is stuck in the kernel
            self.process.wait(1.0)
        for line in self._lines:
            _hang_up(line)
        self._lines = []  # each is closed when nobody waits at it any more

    def last(self) -> str:
        """What it said last."""
        self._listens.join(SAID_S)
        said = "\n".join(self._said)
        return f"; it said last:\n{said}" if said else ""


def _listen(process: subprocess.Popen[bytes], to: deque[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for said in process.stdout:
            to.append(said.decode(errors="replace").rstrip())


def _hang_up(line: Line) -> None:
    """For both ends, whoever waits at this one and whichever other process holds a copy of it."""
    with socket.socket(fileno=os.dup(line.fileno())) as end, contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


# The process itself.

_leaving = threading.Lock()  # taken by the thread that leaves, and not given back


def _serve(owner: int, lines: list[Any]) -> None:
    """Heed all that may come; whichever ends first, it leaves."""
    made: list[Microscope] = []

    def until(ends: Callable[[], object]) -> None:
        try:
            ends()
        finally:
            _leave(made)

    for ends in (
        lambda: _heed(lines[ASIDE], made),
        lambda: _heed(lines[ABORT], made),
        lambda: signal.sigwait({signal.SIGTERM}),
        lambda: _watch(owner),
    ):
        threading.Thread(target=until, args=(ends,), daemon=True).start()
    until(lambda: _heed(lines[CALLS], made))  # here, since some drivers want the main thread


def _watch(owner: int) -> None:
    """As long as it is there.  Its lines may outlive it: whatever it forked holds them too."""
    while os.getppid() == owner:
        time.sleep(OWNER_S)


def _leave(made: list[Microscope]) -> None:
    """Abort, blank and let go, whatever fails of it; and end, whatever threads a driver has."""
    _leaving.acquire()
    lasts: list[Callable[[], object]] = [_fall_silent]
    for microscope in made:
        lasts += [partial(_abort, microscope), partial(microscope.blank, True), microscope.close]
    for last in lasts:
        with contextlib.suppress(BaseException):
            last()
    os._exit(0)


def _abort(microscope: Microscope) -> None:
    """It may hang, and blanking waits for it no longer than that."""
    thread = threading.Thread(target=microscope.abort, daemon=True)
    thread.start()
    thread.join(ABORT_S)


def _fall_silent() -> None:
    """Nobody listens any more, and in a driver that prints to nobody, blanking would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for told in (1, 2):
        os.dup2(nowhere, told)


def _heed(line: Any, made: list[Microscope]) -> None:
    """Hear, do and answer, as long as the line is there."""
    while True:
        told, _ = wire.unpack(line.recv_bytes())
        try:
            if _leaving.locked():
                raise ConnectionLost("the process is ending")
            answer, arrays = _called(told.pop("verb"), told, made)
            message = wire.pack({"answer": answer}, arrays)
        except BaseException as error:  # a driver's exit() too, and what cannot be packed
            message = wire.pack({"error": wire.error_data(error)})
        line.send_bytes(message)


def _called(
    verb: str, told: dict[str, Any], made: list[Microscope]
) -> tuple[Any, Mapping[str, Any]]:
    """What a verb gives, as JSON and arrays."""
    if verb == "make":
        if told["instrument"] is not None:
            alone.hold(told["instrument"], os.getppid())
        made.append(made_by(told["factory"], told["options"]))
        return {}, {}
    if not made:
        raise ConnectionLost("no microscope was made")
    microscope = made[0]
    if verb == "open":
        costs = getattr(microscope, "costs", CostModel())
        return {"capabilities": asdict(microscope.open()), "costs": asdict(costs)}, {}
    if "request" in told:
        told["request"] = wire.request_of(told["request"])
    if "yx_nm" in told:
        told["yx_nm"] = tuple(told["yx_nm"])
    answer = getattr(microscope, verb)(**told)
    if isinstance(answer, Frame):
        return wire.frame_data(answer)
    return ({} if answer is None else asdict(answer)), {}


def main() -> None:
    """``python -m stemscout.hardware.adapter OWNER CALLS ASIDE ABORT``: a pid, and open handles."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # one thread waits for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    owner, *ends = map(int, sys.argv[1:5])
    _serve(owner, [Connection(end) for end in ends])


if __name__ == "__main__":
    main()
