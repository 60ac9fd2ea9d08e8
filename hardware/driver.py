"""The calls of one microscope: one at a time, each with a time-out, and none once it is stopped."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from .errors import AbortedError, AcquisitionError, ConnectionLost, MicroscopeError
from .wire import named


class Shut(AbortedError):
    """Nothing was sent: it was stopped before."""


class Unsent(ConnectionLost):
    """Nothing was sent: an earlier call is under way."""


@dataclass(eq=False)
class _Call:
    verb: str
    function: Callable[[], Any]
    since: float = field(default_factory=time.monotonic)
    done: threading.Event = field(default_factory=threading.Event)
    late: bool = False
    result: Any = None
    error: BaseException | None = None


class Driver:
    """Makes calls in a thread of its own, so that a driver that hangs holds nobody else up.

    Args:
        late: a method, told what a call that was given up brought after all: the verb, what it
            gave, and what it raised.
    """

    def __init__(self, late: Callable[[str, Any, BaseException | None], None]) -> None:
        # A thread that waits for calls must not keep their owner alive.
        self._late = weakref.WeakMethod(late)
        self._turn = threading.Lock()  # of the callers
        self._gate = threading.Lock()  # of what is sent and what is stopped
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._now: _Call | None = None
        self._shut: str | None = None
        self._darkened = 0
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> str | None:
        """The verb under way, if any."""
        now = self._now
        return None if now is None else now.verb

    @property
    def waited_for(self) -> bool:
        """Whether a call is under way that was not given up."""
        now = self._now
        return now is not None and not now.late

    def shut(self, reason: str | None) -> None:
        """From here on nothing is sent; None opens it again."""
        with self._gate:
            self._shut = reason

    @property
    def closed(self) -> bool:
        """Whether it is shut."""
        return self._shut is not None

    @property
    def darkened(self) -> int:
        """How often ``darken`` was called."""
        return self._darkened

    def darken(self) -> None:
        """The beam is to be dark: what was decided before and needs the beam is not sent.

        A call is then either under way already, or refused.
        """
        with self._gate:
            self._darkened += 1

    def ask(
        self,
        verb: str,
        function: Callable[[], Any],
        timeout_s: float,
        always: bool = False,
        darkened: int | None = None,
    ) -> Any:
        """Call, wait, and give what it gives or raise what it raises.

        Args:
            verb: for messages.
            function: what is called.
            timeout_s: for its turn, and for the call.
            always: also when it is shut.
            darkened: as it was when this was decided, of what needs the beam.

        Raises:
            Shut: it is stopped, or the beam was darkened since; nothing was sent.
            Unsent: an earlier call has not come back yet; nothing was sent.
            ConnectionLost: it took too long.
            MicroscopeError: what the driver raised, in its own words.
        """
        if not self._turn.acquire(timeout=timeout_s):
            raise Unsent(
                f"{verb} was not sent: another call, {self.busy}, is under way for longer than "
                f"{timeout_s:g} s"
            )
        try:
            now = self._now
            if now is not None:  # it was given up, and nobody knows what it does
                waited = time.monotonic() - now.since
                raise Unsent(
                    f"{verb} was not sent: the driver has not answered {now.verb} for "
                    f"{waited:.1f} s; close the microscope and look after it"
                )
            call = _Call(verb, function)
            with self._gate:
                if self._shut is not None and not always:
                    raise Shut(f"{verb} was not sent: {self._shut}")
                if darkened is not None and darkened != self._darkened:
                    raise Shut(f"{verb} was not sent: the beam was blanked meanwhile")
                self._now = call
                self._started()
                self._calls.put(call)
            try:
                call.done.wait(timeout_s)
            finally:  # also where whoever waits is interrupted
                with self._gate:
                    call.late = not call.done.is_set()
            if call.late:
                raise ConnectionLost(
                    f"the driver has not answered {verb} within {timeout_s:g} s; nothing "
                    "more is sent until it does"
                )
        finally:
            self._turn.release()
        if isinstance(call.error, Exception) and not isinstance(call.error, MicroscopeError):
            raise AcquisitionError(
                f"{verb} failed in the driver: {named(call.error)}"
            ) from call.error
        if call.error is not None:
            raise call.error
        return call.result

    def end(self) -> None:
        """The thread ends after the call under way, if that ever does."""
        if self._thread is not None:
            self._calls.put(None)
            self._thread = None

    def _started(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="driver", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.result = call.function()
            except BaseException as error:  # whatever it is, it is the caller's
                call.error = error
            with self._gate:
                self._now = None
                call.done.set()
            late = self._late()
            if call.late and late is not None:
                late(call.verb, call.result, call.error)
            del call, late
