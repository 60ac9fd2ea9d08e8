"""What stands in front of every microscope that a run, a server or the console drives.

It refuses what its limits do not allow before anything is sent, keeps a journal of all that is,
waits for nothing for ever, and blanks the beam whenever nobody is there to look after it.
``stop`` ends it all, from any thread: within 200 ms nothing more is sent, and whoever stopped it
knows whether the beam is blanked.

The guard says who may send what; how it is sent, and made safe, is in ``careful.py``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from .careful import BLANK_S, SHIFT_S, Careful
from .costs import CostModel
from .driver import Unsent
from .emergency import UNBLANK, Stopped
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
from .limits import Request, check
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
    Unblank,
)
from .notes import Notes
from .watch import Watch
from .wire import error_data

Approve = Callable[[Request | Unblank], bool]
Wanted = Callable[[], bool]
LONGEST_S = 86_400.0  # that a time-out may be


class Guard:
    """A microscope like any other, with another behind it; see the module.

    Every verb takes the ``key`` of the lease besides, where somebody holds one (``lease``).  What
    waits for its turn is not sent where ``wanted``, asked when its turn has come, says no.

    Args:
        microscope: that is guarded; nobody else may drive it.
        limits: what is allowed besides what the instrument allows; all of them, or some by name.
        journal: where everything is recorded; whoever made it closes it.
        costs: what frames cost, for limits on totals; by default the microscope's own.
        approve: asked before every scan and move and before the beam comes on again, and waited
            for; False refuses.
        dry_run: everything is checked and recorded, and nothing is sent but ``open`` and the
            first question for the state.
        heartbeat_s: without a call for so long, whoever drives it is held to be lost.

    Attributes:
        stopped: why nothing is sent any more; None while it is.
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
        self.microscope, self.limits = microscope, limits
        self.approve, self.heartbeat_s = approve, heartbeat_s
        self.lease = Lease()
        self.stopped: str | None = None
        self._notes = Notes(journal)
        self._sends = Careful(microscope, self._notes, dry_run, costs)
        self._signed = time.monotonic()
        self._approving = False
        self._one = threading.RLock()  # request at a time, from its check to its record
        self._watch: Watch | None = None

    # What the contract has.

    def open(self, key: str | None = None) -> Capabilities:
        """Connect, and watch from now on; limits are those of the instrument and those given."""
        told = self._sends.capabilities
        if told is not None:
            return told
        self.lease.check(key)
        self._sends.driver.shut(self._why)
        told = self._sends.open(self.limits)
        self._signed = time.monotonic()
        self._watch = Watch(self)
        return told

    def state(self, key: str | None = None) -> State:
        """What the instrument says of itself; in a dry run, what it would say."""
        self._begin("state", key)
        return self._sends.ask_state()

    def move_stage(
        self,
        yx_nm: YX,
        timeout_s: float = 30.0,
        key: str | None = None,
        wanted: Wanted | None = None,
    ) -> State:
        """Move, and hold the read-back against what was asked; blank where it is off."""
        with self._turn("move_stage", key, timeout_s, wanted):
            move = StageMove(yx_nm)
            self._check(move)
            self._begin("move_stage", key)  # a person may have thought for long
            return self._sends.move(move, timeout_s)

    def set_beam_shift(
        self, yx_nm: YX, key: str | None = None, wanted: Wanted | None = None
    ) -> State:
        """Shift, and hold the read-back against what was asked; blank where it is off."""
        with self._turn("set_beam_shift", key, SHIFT_S, wanted):
            shift = BeamShift(yx_nm)
            self._check(shift)
            self._begin("set_beam_shift", key)
            return self._sends.move(shift, SHIFT_S)

    def acquire(
        self,
        request: ScanRequest,
        timeout_s: float = 60.0,
        key: str | None = None,
        wanted: Wanted | None = None,
    ) -> Frame:
        """Scan once; what comes back is on the disk before anybody sees it."""
        with self._turn("acquire", key, timeout_s, wanted):
            self._check(request)
            darkened = self._sends.driver.darkened
            self._begin("acquire", key)
            if self.secured is not None:
                raise AcquisitionError(
                    f"the beam was blanked ({self.secured}); unblank it, blank(False), to go on"
                )
            try:
                return self._sends.scan(request, timeout_s, darkened)
            except JournalError as error:
                self.stop(str(error))  # what cannot be recorded is not shown, and is the last
                raise

    def blank(self, on: bool, key: str | None = None) -> State:
        """Blank, also when it was stopped and where it cannot be recorded; or unblank."""
        if on:
            self._begin("blank", key, always=True)
            return self._sends.blank()
        with self._turn(UNBLANK, key, BLANK_S):
            if self.approve is not None and not self._approved(Unblank()):
                raise RefusedError("a person did not approve of the beam coming on")
            darkened = self._sends.driver.darkened
            self._begin(UNBLANK, key)
            return self._sends.unblank(darkened)

    def abort(self) -> None:
        """Stop the scan under way; anybody may, whoever has the lease."""
        if not self._sends.dry_run:
            self.microscope.abort()
        self._notes.soon("abort", {})

    def close(self, key: str | None = None) -> None:
        """Abort what is under way, blank, and let go.

        Raises:
            ConnectionLost: its beam can be blanked, and is NOT confirmed to be.
        """
        if self._sends.capabilities is None:
            return
        self.lease.check(key)
        if self._watch is not None:
            self._watch.end()
        self._sends.close()

    # What it adds.

    def stop(self, reason: str = "a person stopped it") -> Stopped:
        """Send nothing more, abort, and blank; from any thread, whoever has the lease.

        Within 200 ms it answers whether the beam is blanked; where it is not yet, blanking is
        tried on.  ``rearm`` lets it be driven again.  Where nothing was sent, before ``open`` and
        in a dry run, it says so.
        """
        self.stopped = reason
        self._sends.driver.shut(self._why)
        return self._sends.secure("stop", reason)

    def rearm(self, key: str | None = None) -> None:
        """It may be driven again, says whoever has control; the beam stays as it is."""
        self.lease.check(key)
        self._notes.write("rearm", {})
        self.stopped = None
        self._sends.driver.shut(None)

    def seen(self) -> State:
        """What is known of the instrument's state; nothing is sent, and anybody may look."""
        if self._sends.capabilities is None:
            raise ConnectionLost("the microscope is closed")
        return self._sends.state

    def alive(self, key: str | None = None) -> None:
        """A sign of life from whoever drives it; LeaseError where that is somebody else."""
        self.lease.check(key)
        self._signed = time.monotonic()

    def look(self) -> None:
        """Is whoever drives it still there?  A watch asks, again and again."""
        owner = self.lease.ran_out
        if owner is not None:
            self._sends.secure("lost", f"no sign of life from {owner}, whose lease has run out")
            self.lease.end()  # not before: who takes it next must find a dark beam
        elif self._sends.driver.waited_for or self._approving:
            self._signed = time.monotonic()  # whoever drives it waits for it
        elif self.heartbeat_s is not None and self.secured is None:
            silent = time.monotonic() - self._signed
            if silent > self.heartbeat_s:
                self._sends.secure("lost", f"no call for {silent:.1f} s")

    def leave(self) -> None:
        """The process ends, whoever has the lease."""
        self.lease = Lease()
        self.close()

    @property
    def secured(self) -> str | None:
        """Why the beam was blanked without being asked; None while it was not."""
        return self._sends.secured

    @property
    def parting(self) -> Stopped:
        """What was known of the beam when it was closed; before, that nothing was sent."""
        return self._sends.parting

    @property
    def ledger(self) -> Ledger:
        """What was sent so far."""
        return self._sends.ledger

    @property
    def costs(self) -> CostModel:
        """What frames and moves cost, as it is known since it was opened."""
        return self._sends.ledger.costs

    @property
    def last_exposure(self) -> Any:
        """Where electrons truly went, of a simulated microscope, as it has it."""
        return getattr(self.microscope, "last_exposure", None)

    # What goes before a call.

    @property
    def _why(self) -> str | None:
        return None if self.stopped is None else f"it was stopped ({self.stopped})"

    def _begin(self, verb: str, key: str | None, always: bool = False) -> None:
        """Whoever calls may, and the microscope is there."""
        if self._sends.capabilities is None:
            raise ConnectionLost("the microscope is closed; call open() first")
        self.alive(key)
        if self.stopped is not None and not always:
            # The driver would refuse it too; here it is refused before it is recorded as sent.
            raise AbortedError(f"{verb} was not sent: {self._why}")

    @contextmanager
    def _turn(
        self, verb: str, key: str | None, timeout_s: float, wanted: Wanted | None = None
    ) -> Iterator[None]:
        """One request at a time; whoever waited may have been stopped, or lost, meanwhile."""
        if not 0 < timeout_s <= LONGEST_S:
            raise LimitError(
                f"a time-out of {timeout_s} s; it must be above 0 and at most {LONGEST_S:g}"
            )
        self._begin(verb, key)
        if not self._one.acquire(timeout=timeout_s):
            raise Unsent(
                f"{verb} was not sent: another request is under way for longer than {timeout_s:g} s"
            )
        try:
            self._begin(verb, key)
            if wanted is not None and not wanted():
                raise AbortedError(f"{verb} was not sent: nobody waits for it any more")
            yield
        finally:
            self._one.release()

    def _check(self, request: Request) -> None:
        """Limits first, then whoever has to approve."""
        told, state = self._sends.capabilities, self._sends.state
        assert told is not None
        try:
            sent = self.ledger.sent(state)
            check(request, told.limits, state.beam_current_pa, sent)
            if self.approve is not None and not self._approved(request):
                refused = RefusedError("a person did not approve of it; nothing was sent")
                refused.request = request
                raise refused
        except (LimitError, Unsupported, RefusedError) as error:
            of = {"request": type(request).__name__, **asdict(request)}
            self._notes.write("refused", {**of, **error_data(error)})
            raise

    def _approved(self, request: Request | Unblank) -> bool:
        assert self.approve is not None
        self._approving = True
        try:
            return self.approve(request)
        finally:
            self._approving = False

    def __del__(self) -> None:
        """Nobody holds it any more and nobody closed it: so nobody looks after the beam."""
        sends = getattr(self, "_sends", None)
        if sends is not None and sends.capabilities is not None:
            threading.Thread(target=sends.abandoned, name="close", daemon=True).start()

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
