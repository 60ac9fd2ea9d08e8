"""Sending with care: what a guard has allowed goes to the instrument, and comes back or does not.

Every call is recorded, waited for no longer than allowed, held against what reads back, and where
it fails the beam is blanked.  Who may send what is the guard's to say (``guard.py``).
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from typing import Any

from .costs import CostModel
from .driver import Driver, Shut, Unsent
from .emergency import UNBLANK, UNTOUCHED, Emergency, Stopped
from .errors import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    JournalError,
    LimitError,
    MicroscopeError,
)
from .ledger import Ledger
from .limits import narrowed
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
from .notes import Notes
from .wire import error_data, frame_data, named

OPEN_S, STATE_S, SHIFT_S, BLANK_S, CLOSE_S = 60.0, 5.0, 10.0, 5.0, 15.0  # time-outs
RETURNS_S = 2.0  # for which closing waits for a call that it has aborted
PATIENCE = 2.0  # times what a scan costs, that it may take


class Careful:
    """Sends, records, and makes safe.

    Args:
        microscope: nobody else drives it.
        notes: where everything is recorded.
        dry_run: everything is recorded, and nothing is sent but ``open`` and the first question
            for the state.
        costs: what frames cost; by default the microscope's own.

    Attributes:
        capabilities: while it is open.
        state: of the instrument, as far as it is known.
        ledger: what was sent so far.
        secured: why the beam was blanked without being asked; None while it was not.
        parting: what was known of the beam when it was closed.
    """

    def __init__(
        self, microscope: Microscope, notes: Notes, dry_run: bool, costs: CostModel | None
    ) -> None:
        self.microscope, self.notes, self.dry_run = microscope, notes, dry_run
        self._own_costs = costs
        self.capabilities: Capabilities | None = None
        self.state = State()
        self.ledger = Ledger()
        self.secured: str | None = None
        self.parting = Stopped(UNTOUCHED, 0.0)
        self.driver = Driver(self._came_late)
        self._emergency: Emergency | None = None
        self._securing = threading.Lock()  # of ``secured``

    def open(self, limits: Limits | Mapping[str, Any] | None) -> Capabilities:
        """Connect; what is allowed is what the instrument allows and what is given."""
        try:
            told: Capabilities = self.driver.ask("open", self.microscope.open, OPEN_S)
            further = limits or told.limits
            if isinstance(further, Mapping):
                known = [f.name for f in fields(Limits)]
                unknown = [str(name) for name in further if name not in known]
                if unknown:
                    raise LimitError(
                        f"no limit is called {', '.join(unknown)}; there are: {', '.join(known)}"
                    )
                further = replace(told.limits, **further)
            both = narrowed(told.limits, further)
            told = replace(told, limits=both, detectors=both.detectors)
            self.state = self.driver.ask("state", self.microscope.state, STATE_S)
            costs = self._own_costs or getattr(self.microscope, "costs", None) or CostModel()
            self.ledger.begin(both, costs)
            opened = {"capabilities": asdict(told), "state": asdict(self.state)}
            self.notes.write("open", {**opened, "costs": asdict(costs), "dry_run": self.dry_run})
        except BaseException:
            self._let_go()
            raise
        self.secured, self.capabilities = None, told
        return told

    def ask_state(self) -> State:
        """What the instrument says of itself; in a dry run, what it would say."""
        if not self.dry_run:
            self.state = self._twice("state", self.microscope.state, STATE_S)
        return self.state

    def move(self, request: StageMove | BeamShift, timeout_s: float) -> State:
        """Move or shift, and hold the read-back against what was asked; blank where it is off."""
        assert self.capabilities is not None
        microscope, to = self.microscope, request.yx_nm
        if isinstance(request, StageMove):
            verb, name, wait_s = "move_stage", "stage", timeout_s + 1.0
            tolerance = self.capabilities.stage_tolerance_nm
        else:
            verb, name, wait_s = "set_beam_shift", "beam_shift", SHIFT_S
            tolerance = self.capabilities.shift_tolerance_nm

        def call() -> State:
            if verb == "move_stage":
                return microscope.move_stage(to, timeout_s)
            return microscope.set_beam_shift(to)

        number = self.notes.write("command", {"verb": verb, "yx_nm": list(to)})
        state = replace(self.state, **{f"{name}_yx_nm": to})  # type: ignore[arg-type]
        if not self.dry_run:
            with self._looked_after(verb, number):
                try:
                    state = self._twice(verb, call, wait_s)
                    _check_there(name, to, getattr(state, f"{name}_yx_nm"), tolerance)
                except (Shut, Unsent):
                    raise
                except BaseException:  # where has that led to?
                    with suppress(Exception):
                        self.state = self.driver.ask("state", microscope.state, STATE_S, True)
                    raise
                finally:
                    if name == "stage":
                        self.ledger.moved()
        self.notes.write("state", {"to": number, **asdict(state)})
        self.state = state
        return state

    def scan(self, request: ScanRequest, timeout_s: float, darkened: int) -> Frame:
        """A frame, which is on the disk before anybody sees it.

        Args:
            request: what was allowed.
            timeout_s: the instrument's own.
            darkened: of the driver, when it was.
        """
        number = self.notes.write("command", {"verb": "acquire", "request": asdict(request)})
        if self.dry_run:
            frame = self._imagined(request)
        else:
            with self._looked_after("acquire", number, request):
                frame = self._scanned(request, timeout_s, darkened)
        self.ledger.count(frame)
        data, arrays = frame_data(frame)
        try:
            self.notes.write("frame", {"to": number, **data}, arrays)
        except JournalError as error:
            error.sent = not self.dry_run
            raise
        self.state = frame.state
        return frame

    def blank(self) -> State:
        """Blank, whatever else was stopped, and hold it against what reads back."""
        number = self.notes.soon("command", {"verb": "blank", "on": True})
        state = replace(self.state, blanked=True)
        if not self.dry_run:
            blank = self.microscope.blank
            state = self._twice("blank", lambda: blank(True), BLANK_S, always=True)
        self.state = state
        self.notes.soon("state", {"to": number, **asdict(state)})
        if not state.blanked:
            raise AcquisitionError("the beam was told to be blanked, and reads that it is not")
        return state

    def unblank(self, darkened: int) -> State:
        """The beam on again, unless it was darkened since."""
        number = self.notes.write("command", {"verb": "blank", "on": False})
        state, blank = replace(self.state, blanked=False), self.microscope.blank
        if not self.dry_run:
            with self._looked_after(UNBLANK, number):
                state = self._twice(UNBLANK, lambda: blank(False), BLANK_S, darkened=darkened)
                if state.blanked:
                    raise AcquisitionError("the beam was to come on, and reads blanked")
        self.notes.write("state", {"to": number, **asdict(state)})
        with self._securing:
            if self.driver.darkened != darkened:
                raise AbortedError(f"the beam was blanked meanwhile ({self.secured})")
            self.state, self.secured = state, None
        return state

    def secure(self, kind: str, reason: str, more: Mapping[str, Any] | None = None) -> Stopped:
        """Abort and blank, record it, and say in time whether it is confirmed."""
        told = self.capabilities
        if told is None or self.dry_run:
            stopped = self.parting  # nothing is driven, or nothing was ever sent
            self.notes.soon(kind, {"reason": reason, **asdict(stopped), **(more or {})})
            return stopped
        with self._securing:
            self.secured = reason
            self.driver.darken()
        emergency = self._begun(told)
        stopped = emergency.answer()
        if stopped.confirmed:
            self.state = replace(self.state, blanked=True)

        def tell() -> None:
            if not stopped.confirmed and emergency.afterwards():
                self.state = replace(self.state, blanked=True)
                with suppress(JournalError):
                    self.notes.write("blanked", {"after_s": emergency.seconds})

        self.notes.soon(kind, {"reason": reason, **asdict(stopped), **(more or {})}, tell)
        return stopped

    def close(self) -> None:
        """Abort what is under way, blank, and let go.

        Raises:
            ConnectionLost: its beam can be blanked, and is NOT confirmed to be.
        """
        told = self.capabilities
        assert told is not None
        self.driver.shut("it is being closed")
        self.driver.darken()
        if not self.dry_run:
            self.parting = self._dark_for_good(told)
        trouble = self._let_go()
        self.capabilities = None
        wrong = {} if trouble is None else {"trouble": named(trouble)}
        self.notes.soon("close", {"beam": self.parting.answer, **wrong})
        lit = told.can_blank and not self.dry_run and not self.parting.confirmed
        if lit or trouble is not None:
            why = "it does not read blanked" if trouble is None else named(trouble)
            raise ConnectionLost(f"closed, and the {self.parting}: {why}") from trouble

    def abandoned(self) -> None:
        """Nobody holds the guard any more: blanked and let go, as far as it goes."""
        with suppress(Exception):
            self.close()

    # How.

    def _scanned(self, request: ScanRequest, timeout_s: float, darkened: int) -> Frame:
        """A frame from the instrument, and one of what was asked for."""
        assert self.capabilities is not None
        sent, microscope = request, self.microscope
        remembers = self.capabilities.remembers_requests
        if remembers and not request.request_id:
            sent = replace(request, request_id=uuid.uuid4().hex)
        wait = max(timeout_s, PATIENCE * self.ledger.costs.time_s(request))
        ask = self._twice if remembers else self.driver.ask
        frame: Frame = ask(
            "acquire", lambda: microscope.acquire(sent, timeout_s), wait, darkened=darkened
        )
        for name in request.detectors:
            image = frame.data.get(name)
            if image is None or image.shape != tuple(request.shape_yx):
                there = {k: v.shape for k, v in frame.data.items()}
                raise AcquisitionError(
                    f"{name} in {request.shape_yx} pixels was asked for, and {there} came back"
                )
        return replace(frame, request=request)

    def _imagined(self, request: ScanRequest) -> Frame:
        """What a scan would cost, and no picture."""
        costs, state, note = self.ledger.costs, self.state, {"dry_run": True}
        current = state.beam_current_pa
        charge = None if current is None else costs.charge_e(request, current)
        rows, time_s = request.shape_yx[0], costs.time_s(request)
        return Frame(request, request.region, request.dark(), rows, charge, time_s, state, note)

    def _twice(
        self,
        verb: str,
        function: Callable[[], Any],
        timeout_s: float,
        always: bool = False,
        darkened: int | None = None,
    ) -> Any:
        """Once more after an error, where doing it again does nothing else than doing it."""
        try:
            return self.driver.ask(verb, function, timeout_s, always, darkened)
        except (AcquisitionError, ConnectionLost) as error:
            if self.driver.busy is not None:  # it does not answer at all
                raise
            self.notes.soon("error", {"verb": verb, "again": True, **error_data(error)})
            return self.driver.ask(verb, function, timeout_s, always, darkened)

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
            self.notes.soon("error", {"to": number, "sent": False, **error_data(error)})
            raise
        except BaseException as error:
            if scan is not None:
                self.ledger.count_whole(scan, self.state)  # nobody knows how much was sent
                if isinstance(error, MicroscopeError):
                    error.sent = True
            data = {"to": number, **error_data(error)}
            if self.driver.closed or isinstance(error, AbortedError):
                self.notes.soon("error", data)  # somebody wished for it
            else:
                error.add_note(str(self.secure("error", f"{verb}: {named(error)}", data)))
            raise

    def _came_late(self, verb: str, result: Any, error: BaseException | None) -> None:
        """What a call brought that was given up: its electrons were sent all the same."""
        told, arrays = frame_data(result) if isinstance(result, Frame) else ({}, {})
        wrong = {} if error is None else error_data(error)
        with suppress(JournalError):
            self.notes.write("late", {"verb": verb, **told, **wrong}, arrays)

    def _begun(self, told: Capabilities, aborts: bool = True) -> Emergency:
        """An emergency, in the place of the one before."""
        before = self._emergency
        if before is not None:
            before.end()
        driver = self.driver
        self._emergency = Emergency(
            self.microscope,
            told.can_blank,
            told.can_blank_while_busy,
            lambda: driver.busy,
            aborts,
            before,
        )
        return self._emergency

    def _dark_for_good(self, told: Capabilities) -> Stopped:
        """Blanked on the channels of an emergency: a scan may be under way."""
        emergency = self._begun(told, aborts=self.driver.busy is not None)
        while self.driver.busy is not None and emergency.seconds < RETURNS_S:
            time.sleep(0.005)
        answer = emergency.answer(BLANK_S if self.driver.busy is None else 0.0)
        emergency.end()
        return answer

    def _let_go(self) -> BaseException | None:
        """The microscope is closed, in a dry run left as it is; what went wrong with that."""
        trouble: BaseException | None = None
        try:
            if not self.dry_run:
                wait_s = CLOSE_S if self.driver.busy is None else 0.1
                self.driver.ask("close", self.microscope.close, wait_s, always=True)
            else:
                getattr(self.microscope, "leave", lambda: None)()
        except Exception as error:
            trouble = error
            # A process of its own must not outlive this; without its owner it blanks by itself.
            getattr(self.microscope, "kill", lambda: None)()
        self.driver.end()
        return trouble


def _check_there(name: str, asked: YX, there: YX, tolerance_nm: float) -> None:
    off = max(abs(a - b) for a, b in zip(asked, there, strict=True))
    if not off <= tolerance_nm:
        what = name.replace("_", " ")
        raise AcquisitionError(
            f"the {what} was sent to ({asked[0]:g}, {asked[1]:g}) nm and reads "
            f"({there[0]:g}, {there[1]:g}): {off:g} nm off, and {tolerance_nm:g} are allowed"
        )
