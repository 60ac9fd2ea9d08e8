"""A driver in a process of its own, so that one that hangs or crashes holds nothing else up.

The process makes the microscope and does what it is told over one line; over a second line, which
another thread of it heeds, come aborts, and blanking in the middle of a scan.  When that line
ends, whoever drove it is gone: then it aborts, blanks and ends by itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from . import wire
from .costs import CostModel
from .errors import ConnectionLost
from .microscope import YX, Capabilities, Frame, Microscope, ScanRequest, State

LINES = 20  # of what the driver said last, that are told when its process ends
END_S = 5.0  # for which the process may take to end
Line = Connection  # of bytes; nothing is pickled


class Adapter:
    """A microscope whose driver is in another process.

    Time-outs are the guard's, behind which it belongs: a call that is waited for no longer
    brings its frame all the same, late.

    Args:
        factory: ``module:function``, which makes the microscope in the other process.
        options: keyword arguments of the function, as JSON has them.
        python: the interpreter; another environment's where the driver needs one.

    Attributes:
        costs: the microscope's own, once it is open.

    Raises:
        ConnectionLost: the process ends before it is ready; with what the driver said last.
    """

    def __init__(
        self, factory: str, options: Mapping[str, Any] | None = None, python: str = sys.executable
    ) -> None:
        self.factory = factory
        self._options = dict(options or {})
        self._python = python
        self._turns = threading.Lock(), threading.Lock()  # of the line of calls, and the other
        self._lines: tuple[Any, Any] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=LINES)
        self._left = False  # blanked, by an earlier ``close``
        self.costs = CostModel()

    def open(self) -> Capabilities:
        """Start the process if it does not run, and open the microscope in it."""
        if self._lines is None:
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
        if self._lines is not None:
            self._over(1, "abort", {})

    def close(self) -> None:
        if self._lines is None:
            return
        self._left = True
        try:
            self._ask("close")
        finally:
            self._end()

    def _ask(
        self, verb: str, told: Mapping[str, Any] | None = None, aside: bool = False
    ) -> tuple[dict[str, Any], Any]:
        if self._lines is None:
            raise ConnectionLost(f"the adapter of {self.factory} is closed; call open() first")
        if aside and self._turns[0].locked():
            return self._over(1, verb, told or {})
        return self._over(0, verb, told or {})

    def _over(self, which: int, verb: str, told: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
        lines = self._lines
        if lines is None:
            raise ConnectionLost(f"the adapter of {self.factory} is closed")
        line = lines[which]
        with self._turns[which]:
            try:
                line.send_bytes(wire.pack({"verb": verb, **told}))
                data, arrays = wire.unpack(line.recv_bytes())
            except (OSError, EOFError) as error:
                raise ConnectionLost(f"the adapter of {self.factory} is gone{self._last()}") from (
                    error
                )
        if "error" in data:
            raise wire.error_of(data["error"])
        return data["answer"], arrays

    def _start(self) -> None:
        (calls, its_calls), (aside, its_aside) = Pipe(), Pipe()
        ends = its_calls.fileno(), its_aside.fileno()
        self._process = subprocess.Popen(
            [self._python, "-m", "stemscout.hardware.adapter", *map(str, ends)],
            pass_fds=ends,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for whoever drives it, who then blanks
        )
        its_calls.close()
        its_aside.close()
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._lines = calls, aside
        try:
            self._over(0, "make", {"factory": self.factory, "options": self._options})
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Hang up; the process ends by itself, or is ended."""
        lines, process = self._lines, self._process
        self._lines = self._process = None
        for line in lines or ():
            line.close()
        if process is None:
            return
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for said in process.stdout:
                self._said.append(said.decode(errors="replace").rstrip())

    def _last(self) -> str:
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(0.2)
        said = "\n".join(self._said)
        return f"; it said last:\n{said}" if said else ""


def _serve(calls: Any, aside: Any) -> None:
    """What the process does."""
    made: list[Microscope] = []
    over = threading.Event()

    def heed() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                _answer(aside, made)
        if not over.is_set():  # whoever drove it is gone
            _leave(made)
            os._exit(0)

    threading.Thread(target=heed, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            _answer(calls, made)
    over.set()
    _leave(made)
    os._exit(0)  # threads of a driver would keep the process


def _leave(made: list[Microscope]) -> None:
    """Abort, blank and let go, whatever fails of it."""
    for microscope in made:
        for last in (microscope.abort, lambda m=microscope: m.blank(True), microscope.close):
            with contextlib.suppress(Exception):
                last()


def _answer(line: Any, made: list[Microscope]) -> None:
    """One call: heard, made and answered."""
    told, _ = wire.unpack(line.recv_bytes())
    arrays: Mapping[str, Any] = {}
    try:
        answer, arrays = _called(told.pop("verb"), told, made)
        data = {"answer": answer}
    except Exception as error:
        data = {"error": wire.error_data(error)}
    line.send_bytes(wire.pack(data, arrays))


def _called(
    verb: str, told: dict[str, Any], made: list[Microscope]
) -> tuple[Any, Mapping[str, Any]]:
    """What a verb gives, as JSON and arrays."""
    if verb == "make":
        module, _, function = str(told["factory"]).partition(":")
        made.append(getattr(import_module(module), function)(**told["options"]))
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
    """The process: ``python -m stemscout.hardware.adapter CALLS ASIDE``, two open handles."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    calls, aside = (Connection(int(end)) for end in sys.argv[1:3])
    _serve(calls, aside)


if __name__ == "__main__":
    main()
