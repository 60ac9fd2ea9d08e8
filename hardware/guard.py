"""What stands in front of every microscope that a run, a server or the console drives.

It refuses what its limits do not allow before anything is sent, keeps a journal of all that is,
waits for nothing for ever, and blanks the beam whenever nobody is there to look after it.
``stop`` ends it all, from any thread: within 200 ms nothing more is sent, and whoever stopped it
knows whether the beam is blanked.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import Any

from .costs import CostModel
from .driver import Driver, Shut, Unsent
from .emergency import CONFIRMED, NOT_CONFIRMED, Emergency, Stopped
from .errors import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    JournalError,
    LimitError,
    RefusedError,
    Unsupported,
)
from .journal import Journal
from .lease import Lease
from .ledger import Ledger
from .limits import Request, check, narrowed
from .microscope import (
    YX,
    BeamShift,
    Capabilities,
    Frame,
    Limits,
    Microscope,
    ScanRequest,
    StageMove,
    State,
)
from .watch import Watch
from .wire import error_data, frame_data, named

OPEN_S, STATE_S, SHIFT_S, BLANK_S, CLOSE_S = 60.0, 5.0, 10.0, 5.0, 15.0  # time-outs
NOTED_S = 0.03  # for which an answer waits for its record
PATIENCE = 2.0  # times what a scan costs, that it may take

Approve = Callable[[Request], bool]


class Guard:
    """A microscope like any other, with another behind it; see the module.

    Every verb takes the ``key`` of the lease besides, where somebody holds one (``lease``).

    Args:
        microscope: that is guarded; nobody else may drive it.
        limits: what is allowed besides what the instrument allows; all of them, or some by name.
        journal: where everything is recorded; whoever made it closes it.
        costs: what frames cost, for limits on totals; by default the microscope's own.
        approve: asked before every scan and move, and waited for; False refuses.
        dry_run: everything is checked and recorded, and nothing is sent but ``open`` and the
            first question for the state.
        heartbeat_s: without a call for so long, whoever drives it is held to be lost.

    Attributes:
        ledger: what was sent so far.
        stopped: why nothing is sent any more; None while it is.
        secured: why the beam was blanked without being asked; None while it was not.
    """

    def __init__(
        self,
        microscope: Microscope,
        limits: Limits | Mapping[str, Any] | None = None,
        journal: Journal | None = None,
        *,
        costs: CostModel | None = None,
        approve: Approve | None = None,
        dry_run: bool = False,
        heartbeat_s: float | None = None,
    ) -> None:
        self.microscope, self.limits, self.journal = microscope, limits, journal
        self._own_costs = costs
        self.ledger = Ledger()
        self.approve, self.dry_run, self.heartbeat_s = approve, dry_run, heartbeat_s
        self.lease = Lease()
        self.stopped: str | None = None
        self.secured: str | None = None
        self._driver = Driver(self._came_late)
        self._capabilities: Capabilities | None = None
        self._state = State()
        self._signed = time.monotonic()
        self._approving = False
        self._one = threading.RLock()  # request at a time, from its check to its record
        self._watch: Watch | None = None

    # What the contract has.

    def open(self, key: str | None = None) -> Capabilities:
        """Connect, and watch from now on; limits are those of the instrument and those given."""
        if self._capabilities is not None:
            return self._capabilities
        self.lease.check(key)
        told: Capabilities = self._driver.ask("open", self.microscope.open, OPEN_S)
        further = self.limits or told.limits
        if isinstance(further, Mapping):
            further = replace(told.limits, **further)
        limits = narrowed(told.limits, further)
        self._state = self._driver.ask("state", self.microscope.state, STATE_S)
        costs = self._own_costs or getattr(self.microscope, "costs", None) or CostModel()
        self.ledger.begin(limits, costs)
        told = replace(told, limits=limits, detectors=limits.detectors)
        opened = {"capabilities": asdict(told), "state": asdict(self._state)}
        self._note("open", {**opened, "costs": asdict(costs), "dry_run": self.dry_run})
        self._capabilities = told
        self._signed = time.monotonic()
        self._watch = Watch(self)
        return told

    def state(self, key: str | None = None) -> State:
        """What the instrument says of itself; in a dry run, what it would say."""
        self._begin("state", key)
        if not self.dry_run:
            self._state = self._twice("state", self.microscope.state, STATE_S)
        return self._state

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0, key: str | None = None) -> State:
        """Move, and hold the read-back against what was asked; blank where it is off."""
        move = StageMove(yx_nm)
        state = self._moved_to(
            move, key, lambda: self.microscope.move_stage(yx_nm, timeout_s), timeout_s + 1.0
        )
        self.ledger.moved()
        return state

    def set_beam_shift(self, yx_nm: YX, key: str | None = None) -> State:
        """Shift, and hold the read-back against what was asked; blank where it is off."""
        shift = BeamShift(yx_nm)
        return self._moved_to(shift, key, lambda: self.microscope.set_beam_shift(yx_nm), SHIFT_S)

    def acquire(
        self, request: ScanRequest, timeout_s: float = 60.0, key: str | None = None
    ) -> Frame:
        """Scan once; what comes back is on the disk before anybody sees it."""
        told = self._begin("acquire", key)
        if self.secured is not None:
            raise AcquisitionError(
                f"the beam was blanked ({self.secured}); unblank it, blank(False), to go on"
            )
        with self._one:
            self._check(request)
            number = self._note("command", {"verb": "acquire", "request": asdict(request)})
            if self.dry_run:
                frame = self._imagined(request)
            else:
                with self._looked_after("acquire", number, request):
                    frame = self._scanned(request, timeout_s, told.remembers_requests)
            self.ledger.count(frame)
            self._keep(number, frame)
            self._state = frame.state
            return frame

    def blank(self, on: bool, key: str | None = None) -> State:
        """Blank, also when it was stopped; or unblank."""
        self._begin("blank", key, always=on)
        number = self._note("command", {"verb": "blank", "on": on})
        state = replace(self._state, blanked=on)
        if not self.dry_run:
            state = self._twice("blank", lambda: self.microscope.blank(on), BLANK_S, always=on)
        self._note("state", {"to": number, **asdict(state)})
        self._state = state
        if not on:
            self.secured = None
        return state

    def abort(self) -> None:
        """Stop the scan under way; anybody may, whoever has the lease."""
        self._note("abort", {})
        if not self.dry_run:
            self.microscope.abort()

    def close(self, key: str | None = None) -> None:
        """Blank, and let go.

        Raises:
            ConnectionLost: the driver does not answer, and the beam is NOT confirmed blanked.
        """
        if self._capabilities is None:
            return
        self.lease.check(key)
        if self._watch is not None:
            self._watch.end()
        trouble: BaseException | None = None
        try:
            if not self.dry_run:
                ask, microscope = self._driver.ask, self.microscope
                if self._capabilities.can_blank:
                    ask("blank", lambda: microscope.blank(True), BLANK_S, always=True)
                ask("close", microscope.close, CLOSE_S, always=True)
        except Exception as error:
            trouble = error
        self._capabilities = None
        self._driver.end()
        with suppress(JournalError):
            self._note("close", {} if trouble is None else {"trouble": named(trouble)})
        if trouble is not None:
            raise ConnectionLost(f"closed, and the {NOT_CONFIRMED}: {named(trouble)}") from trouble

    # What it adds.

    def stop(self, reason: str = "a person stopped it") -> Stopped:
        """Send nothing more, abort, and blank; from any thread, whoever has the lease.

        Within 200 ms it answers whether the beam is blanked; where it is not yet, blanking is
        tried on.  ``rearm`` lets it be driven again.
        """
        self.stopped = reason
        self._driver.shut(f"it was stopped ({reason})")
        return self._secure("stop", reason)

    def rearm(self, key: str | None = None) -> None:
        """A person allows it to be driven again; the beam stays as it is."""
        self.lease.check(key)
        self._note("rearm", {})
        self.stopped = None
        self._driver.shut(None)

    def seen(self) -> State:
        """What is known of the instrument's state; nothing is sent, and anybody may look."""
        if self._capabilities is None:
            raise ConnectionLost("the microscope is closed")
        return self._state

    def alive(self, key: str | None = None) -> None:
        """A sign of life from whoever drives it; LeaseError where that is somebody else."""
        self.lease.check(key)
        self._signed = time.monotonic()

    def look(self) -> None:
        """Is whoever drives it still there?  A watch asks, again and again."""
        owner = self.lease.ran_out()
        if owner is not None:
            self._secure("lost", f"no sign of life from {owner}, whose lease has run out")
        elif self._driver.busy or self._approving:
            self._signed = time.monotonic()  # whoever drives it waits for it
        elif self.heartbeat_s is not None and self.secured is None:
            silent = time.monotonic() - self._signed
            if silent > self.heartbeat_s:
                self._secure("lost", f"no call for {silent:.1f} s")

    def leave(self) -> None:
        """The process ends, whoever has the lease."""
        self.lease = Lease()
        self.close()

    @property
    def costs(self) -> CostModel:
        """What frames and moves cost, as it is known since it was opened."""
        return self.ledger.costs

    @property
    def last_exposure(self) -> Any:
        """Where electrons truly went, of a simulated microscope, as it has it."""
        return getattr(self.microscope, "last_exposure", None)

    # What goes before a call.

    def _begin(self, verb: str, key: str | None, always: bool = False) -> Capabilities:
        """Whoever calls may, and the microscope is there."""
        if self._capabilities is None:
            raise ConnectionLost("the microscope is closed; call open() first")
        self.alive(key)
        if self.stopped is not None and not always:
            # The driver would refuse it too; here it is refused before it is recorded as sent.
            raise AbortedError(f"{verb} was not sent: it was stopped ({self.stopped})")
        return self._capabilities

    def _check(self, request: Request) -> None:
        """Limits first, then whoever has to approve."""
        assert self._capabilities is not None
        state = self._state
        try:
            limits, sent = self._capabilities.limits, self.ledger.sent(state)
            check(request, limits, state.beam_current_pa, sent)
            if self.approve is not None and not self._approved(request):
                refused = RefusedError("a person did not approve of it; nothing was sent")
                refused.request = request
                raise refused
        except (LimitError, Unsupported, RefusedError) as error:
            told = {"request": type(request).__name__, **asdict(request)}
            self._note("refused", {**told, **error_data(error)})
            raise

    def _approved(self, request: Request) -> bool:
        assert self.approve is not None
        self._approving = True
        try:
            return self.approve(request)
        finally:
            self._approving = False

    # Calls.

    def _scanned(self, request: ScanRequest, timeout_s: float, remembers: bool) -> Frame:
        """A frame from the instrument, and one of what was asked for."""
        sent = request
        if remembers and not request.request_id:
            sent = replace(request, request_id=uuid.uuid4().hex)
        wait = max(timeout_s, PATIENCE * self.costs.time_s(request))
        ask = self._twice if remembers else self._driver.ask
        frame: Frame = ask("acquire", lambda: self.microscope.acquire(sent, timeout_s), wait)
        for name in request.detectors:
            image = frame.data.get(name)
            if image is None or image.shape != tuple(request.shape_yx):
                there = {k: v.shape for k, v in frame.data.items()}
                raise AcquisitionError(
                    f"{name} in {request.shape_yx} pixels was asked for, and {there} came back"
                )
        return replace(frame, request=request)

    def _moved_to(
        self,
        request: StageMove | BeamShift,
        key: str | None,
        move: Callable[[], State],
        timeout_s: float,
    ) -> State:
        stage = isinstance(request, StageMove)
        verb, name = ("move_stage", "stage") if stage else ("set_beam_shift", "beam_shift")
        told = self._begin(verb, key)
        with self._one:
            self._check(request)
            number = self._note("command", {"verb": verb, "yx_nm": list(request.yx_nm)})
            state = replace(self._state, **{f"{name}_yx_nm": request.yx_nm})  # type: ignore[arg-type]
            if not self.dry_run:
                tolerance = told.stage_tolerance_nm if stage else told.shift_tolerance_nm
                with self._looked_after(verb, number):
                    state = self._twice(verb, move, timeout_s)
                    there = state.stage_yx_nm if stage else state.beam_shift_yx_nm
                    _check_there(name.replace("_", " "), request.yx_nm, there, tolerance)
            self._note("state", {"to": number, **asdict(state)})
            self._state = state
            return state

    def _twice(
        self, verb: str, function: Callable[[], Any], timeout_s: float, always: bool = False
    ) -> Any:
        """Once more after an error, where doing it again does nothing else than doing it."""
        try:
            return self._driver.ask(verb, function, timeout_s, always)
        except (AcquisitionError, ConnectionLost) as error:
            if self._driver.busy is not None:  # it does not answer at all
                raise
            self._note("error", {"verb": verb, "again": True, **error_data(error)})
            return self._driver.ask(verb, function, timeout_s, always)

    def _imagined(self, request: ScanRequest) -> Frame:
        """What a scan would cost, and no picture."""
        current, state = self._state.beam_current_pa, self._state
        charge = None if current is None else self.costs.charge_e(request, current)
        rows, time_s, note = request.shape_yx[0], self.costs.time_s(request), {"dry_run": True}
        return Frame(request, request.region, request.dark(), rows, charge, time_s, state, note)

    # When something goes wrong.

    @contextmanager
    def _looked_after(
        self, verb: str, number: int | None, scan: ScanRequest | None = None
    ) -> Iterator[None]:
        """A call: where it fails that is recorded, and the beam is blanked.

        Args:
            verb: the call.
            number: of its record.
            scan: that may have been sent, all of it, until it failed.
        """
        try:
            yield
        except (Shut, Unsent) as error:
            self._note("error", {"to": number, "sent": False, **error_data(error)})
            raise
        except BaseException as error:
            if scan is not None:
                self.ledger.count(self._imagined(scan))  # nobody knows how much of it was sent
            data = {"to": number, **error_data(error)}
            if self.stopped is not None or isinstance(error, AbortedError):
                self._note("error", data)  # somebody wished for it
            else:
                self._secure("error", f"{verb}: {named(error)}", data)
            raise

    def _came_late(self, verb: str, result: Any, error: BaseException | None) -> None:
        """What a call brought that was given up: its electrons were sent all the same."""
        told, arrays = frame_data(result) if isinstance(result, Frame) else ({}, {})
        wrong = {} if error is None else error_data(error)
        with suppress(JournalError):
            self._note("late", {"verb": verb, **told, **wrong}, arrays)

    def _secure(self, kind: str, reason: str, more: Mapping[str, Any] | None = None) -> Stopped:
        """Abort and blank, record it, and say in time whether it is confirmed."""
        self.secured = reason
        told = self._capabilities
        if told is None or self.dry_run:
            emergency, stopped = None, Stopped(CONFIRMED, 0.0)  # nothing was ever sent
        else:
            busy, while_busy = lambda: self._driver.busy is not None, told.can_blank_while_busy
            emergency = Emergency(self.microscope, told.can_blank, while_busy, busy)
            stopped = emergency.answer()
        if stopped.confirmed:
            self._state = replace(self._state, blanked=True)

        def note() -> None:
            with suppress(JournalError):
                self._note(kind, {"reason": reason, **asdict(stopped), **(more or {})})
                if emergency is not None and not stopped.confirmed and emergency.afterwards():
                    self._state = replace(self._state, blanked=True)
                    self._note("blanked", {"after_s": emergency.seconds})

        writes = threading.Thread(target=note, name="note", daemon=True)
        writes.start()
        writes.join(NOTED_S)  # a disk that is slow must not delay the answer
        return stopped

    # The journal.

    def _note(
        self, kind: str, data: Mapping[str, Any], arrays: Mapping[str, Any] | None = None
    ) -> int | None:
        return None if self.journal is None else self.journal.write(kind, data, arrays)

    def _keep(self, number: int | None, frame: Frame) -> None:
        """Record a frame; where that fails nobody sees it, and nothing more is sent."""
        if self.journal is None:
            return
        data, arrays = frame_data(frame)
        try:
            self._note("frame", {"to": number, **data}, arrays)
        except JournalError as error:
            self.stop(str(error))
            raise

    def __del__(self) -> None:
        """Nobody holds it any more and nobody closed it: so nobody looks after the beam."""
        if getattr(self, "_capabilities", None) is not None and not self.dry_run:
            threading.Thread(target=self.microscope.close, name="close", daemon=True).start()
            self._driver.end()

    def __enter__(self) -> Guard:
        self.open()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self.close()
        except ConnectionLost as trouble:
            if error is None:
                raise
            error.add_note(str(trouble))


def guarded(
    microscope: Microscope,
    limits: Limits | Mapping[str, Any] | None = None,
    journal: Journal | None = None,
    **options: Any,
) -> Guard:
    """A microscope with a guard in front of it; see ``Guard``, which has the options."""
    return Guard(microscope, limits, journal, **options)


def _check_there(what: str, asked: YX, there: YX, tolerance_nm: float) -> None:
    off = max(abs(a - b) for a, b in zip(asked, there, strict=True))
    if not off <= tolerance_nm:
        raise AcquisitionError(
            f"the {what} was sent to ({asked[0]:g}, {asked[1]:g}) nm and reads "
            f"({there[0]:g}, {there[1]:g}): {off:g} nm off, and {tolerance_nm:g} are allowed"
        )
