"""A journal played again: the microscope as it was, and then, if there is one, as it goes on.

``Replayed`` gives its frames in the order in which they came, for the run itself to go on;
``Recorded`` gives each wherever it is asked for, so that another agent may be tried on what an
instrument showed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .costs import CostModel
from .errors import AcquisitionError, JournalError
from .guard import Guard
from .journal import Record
from .microscope import YX, Capabilities, Frame, ScanRequest, State
from .wire import capabilities_of, frame_of, request_of, state_of


@dataclass(frozen=True)
class Told:
    """What a journal tells of an experiment.

    Attributes:
        configuration: as it was begun; empty where it was not by a command.
        capabilities, costs, origin: the instrument, and its state before the first frame.
        frames: in order.
        unanswered: scans that were sent and brought no frame, with the state they were sent in:
            all of them may have reached the specimen.
        wishes: of a person, by the step before which they took effect.
        state: of the instrument at the end.
        ended: the experiment came to its end.
    """

    configuration: dict[str, Any]
    capabilities: Capabilities
    costs: CostModel
    origin: State
    frames: tuple[Frame, ...]
    unanswered: tuple[tuple[ScanRequest, State], ...]
    wishes: dict[int, list[dict[str, Any]]]
    state: State
    ended: bool

    @classmethod
    def of(cls, records: Iterable[Record]) -> Told:
        """From a journal's records; JournalError where no microscope was ever opened."""
        begun: dict[str, Any] = {}
        opened: dict[str, Any] | None = None
        frames: list[Frame] = []
        sent: dict[int, tuple[ScanRequest, State]] = {}  # and not answered, by their record
        wishes: dict[int, list[dict[str, Any]]] = {}
        state, ended = State(), False
        for record in records:
            data = record.data
            if record.kind == "begin":
                begun = begun or data
            elif record.kind == "open" and opened is None:
                opened = data
                state = state_of(data["state"])
            elif record.kind == "command" and data["verb"] == "acquire":
                sent[record.number] = request_of(data["request"]), state
            elif record.kind == "error" and not data.get("sent", True):
                sent.pop(data["to"], None)
            elif record.kind == "state":
                state = state_of({k: v for k, v in data.items() if k != "to"})
            elif record.kind == "frame":
                frames.append(frame_of(data, record.arrays))
                sent.pop(data["to"], None)
                state = frames[-1].state
            elif record.kind == "steer":
                wishes.setdefault(int(data["step"]), []).append(dict(data["wish"]))
            if record.kind in ("end", "decision"):
                ended = record.kind == "end"  # blanking and closing may follow
        if opened is None:
            raise JournalError("the journal tells of no microscope that was opened")
        return cls(
            begun,
            capabilities_of(opened["capabilities"]),
            CostModel(**opened["costs"]),
            state_of(opened["state"]),
            tuple(frames),
            tuple(sent.values()),
            wishes,
            state,
            ended,
        )


class Replayed:
    """Gives the frames of a journal one after the other, whatever is asked; then asks on.

    Args:
        told: what the journal tells.
        live: the instrument itself, which goes on after the last frame; None for none.

    Attributes:
        strayed: the frames, by number, that were asked for otherwise than recorded.
    """

    def __init__(self, told: Told, live: Guard | None = None) -> None:
        self.told, self.live = told, live
        self.costs = told.costs
        self.at = 0
        self.strayed: list[int] = []

    @property
    def replaying(self) -> bool:
        """Whether the next frame is a recorded one."""
        return self.at < len(self.told.frames)

    def open(self) -> Capabilities:
        return self.told.capabilities if self.live is None else self.live.open()

    def state(self) -> State:
        if not self.at:
            return replace(self.told.origin, blanked=False)
        if self.replaying or self.live is None:
            return self.told.frames[self.at - 1].state
        return self.live.state()

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        if self.replaying:  # it was moved then
            return replace(self.state(), stage_yx_nm=yx_nm)
        return self._now().move_stage(yx_nm, timeout_s)

    def set_beam_shift(self, yx_nm: YX) -> State:
        if self.replaying:
            return replace(self.state(), beam_shift_yx_nm=yx_nm)
        return self._now().set_beam_shift(yx_nm)

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        if not self.replaying:
            return self._now().acquire(request, timeout_s)
        frame = self.told.frames[self.at]
        if frame.request != request:
            self.strayed.append(self.at)
        self.at += 1
        if self.at == len(self.told.frames) and self.live is not None:
            self._go_on(self.live)
        return frame

    def blank(self, on: bool) -> State:
        if self.replaying or self.live is None:
            return self.state()
        return self.live.blank(on)

    def abort(self) -> None:
        if self.live is not None:
            self.live.abort()

    def close(self) -> None:
        if self.live is not None:
            self.live.close()

    def _now(self) -> Guard:
        if self.live is None:
            raise AcquisitionError(
                f"the journal ends here, after {len(self.told.frames)} frames, and there is no "
                "instrument behind it"
            )
        return self.live

    def _go_on(self, live: Guard) -> None:
        """From here on it is the instrument: it must stand where it stood.

        The beam shift is brought back, since a driver that begins anew may have forgotten it; the
        stage is not, since nobody knows what happened to the specimen meanwhile.
        """
        told, now = self.told.state, live.state()
        there = np.subtract(told.beam_shift_yx_nm, now.beam_shift_yx_nm)
        if np.abs(there).max() > live.open().shift_tolerance_nm:
            now = live.set_beam_shift(told.beam_shift_yx_nm)
        allowed = live.open().stage_tolerance_nm, live.open().shift_tolerance_nm
        for what, name, tolerance in (
            ("stage", "stage_yx_nm", allowed[0]),
            ("beam shift", "beam_shift_yx_nm", allowed[1]),
        ):
            then, there = getattr(told, name), getattr(now, name)
            off = max(abs(a - b) for a, b in zip(then, there, strict=True))
            if off > tolerance:
                raise AcquisitionError(
                    f"the {what} was left at {then} nm and reads {there}; bring it back to go on"
                )
        if now.blanked:
            live.blank(False)


class Recorded:
    """A microscope that has the frames of a journal, and no others.

    A frame is given for what it was asked by, its place and pixels, dwell and detectors, with the
    stage and the beam shift where they were. One that was taken several times there is given in
    that order, and the last of them again and again.

    Args:
        told: what the journal tells.

    Raises:
        JournalError: it tells of no frame.
    """

    def __init__(self, told: Told) -> None:
        if not told.frames:
            raise JournalError("the journal holds no frame")
        self.told, self.costs = told, told.costs
        self._state = replace(told.origin, blanked=False)
        self._frames: dict[ScanRequest, list[Frame]] = {}
        for frame in told.frames:
            self._frames.setdefault(_asked(frame.request), []).append(frame)
        self._given: Counter[int] = Counter()  # how often, by the identity of the first there

    def open(self) -> Capabilities:
        return replace(self.told.capabilities, name=f"{self.told.capabilities.name}, recorded")

    def state(self) -> State:
        return self._state

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        self._state = replace(self._state, stage_yx_nm=yx_nm)
        return self._state

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._state = replace(self._state, beam_shift_yx_nm=yx_nm)
        return self._state

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        if self._state.blanked:
            raise AcquisitionError("the beam is blanked")
        here = [f for f in self._frames.get(_asked(request), ()) if self._stood(f.state)]
        if not here:
            y, x = request.centre_yx_nm
            raise AcquisitionError(
                f"no such frame about ({y:.3f}, {x:.3f}) nm is in the journal; it holds "
                f"{len(self.told.frames)}, at {len(self._frames)} places"
            )
        times = self._given[id(here[0])]
        self._given[id(here[0])] += 1
        frame = here[min(times, len(here) - 1)]
        return replace(frame, request=request, state=self._state)

    def blank(self, on: bool) -> State:
        self._state = replace(self._state, blanked=on)
        return self._state

    def abort(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        self.blank(True)

    def _stood(self, then: State) -> bool:
        """Whether the stage and the beam shift are where they were."""
        told = self.told.capabilities
        pairs = (
            (then.stage_yx_nm, self._state.stage_yx_nm, told.stage_tolerance_nm),
            (then.beam_shift_yx_nm, self._state.beam_shift_yx_nm, told.shift_tolerance_nm),
        )
        return all(
            abs(a - b) <= off for one, other, off in pairs for a, b in zip(one, other, strict=True)
        )


def _asked(request: ScanRequest) -> ScanRequest:
    """What two requests for the same frame have in common."""
    return replace(request, request_id="")
