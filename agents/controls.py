"""What a person may do while an experiment runs.

All of it may be called from any thread, and takes effect before the next frame.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..hardware.microscope import YX
from .agent import Rectangle

AUTOMATIC, APPROVE, MANUAL = MODES = ("automatic", "approve", "manual")
WORDS = 60  # characters of a target, at most


class Controls:
    """Pause, stop, modes, and wishes, which whoever runs the experiment looks at.

    Args:
        mode: one of ``MODES``.
        rest_s: after waiting for a person for so long it rests; None is never.

    Attributes:
        stopped: no further frame is taken.
    """

    def __init__(self, mode: str = AUTOMATIC, rest_s: float | None = None) -> None:
        self.stopped, self.rest_s = False, rest_s
        self._changed = threading.Condition()
        self._paused = self._stepping = self._waiting = False
        self._mode = _known_mode(mode)
        self._verdict: bool | None = None
        self._wishes: list[dict[str, Any]] = []
        self._asked: list[YX] = []  # centres of frames

    def pause(self) -> None:
        """After the frame under way, wait."""
        self._change(_paused=True)

    def resume(self) -> None:
        """Go on."""
        self._change(_paused=False, _stepping=False)

    def step(self) -> None:
        """One more frame, and wait again."""
        self._change(_paused=True, _stepping=True)

    def stop(self) -> None:
        """Take no further frame."""
        self._change(stopped=True)

    @property
    def paused(self) -> bool:
        """Whether it waits for ``resume`` or ``step``."""
        return self._paused and not self._stepping

    @property
    def waiting(self) -> bool:
        """Whether nothing is done until a person does something."""
        return self._waiting

    @property
    def pending(self) -> tuple[str, ...]:
        """What was asked for and has not taken effect yet, in words."""
        with self._changed:
            asked = [{"ask": yx_nm} for yx_nm in self._asked]
            return tuple(in_words(wish) for wish in (*asked, *self._wishes))

    @property
    def mode(self) -> str:
        """``automatic``; ``approve``: each decision of the agent waits for ``answer``; or
        ``manual``: the agent is not asked, and frames are taken where ``ask`` says."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        self._change(_mode=_known_mode(mode))

    def answer(self, approved: bool) -> None:
        """Of the proposal that waits for it: carry it out, or let the agent find another."""
        self._change(_verdict=approved)

    def steer(
        self,
        target: Any = None,
        forbid: Sequence[Rectangle] | None = None,
        exploration: float | None = None,
    ) -> None:
        """Pass a person's wish to the agent before its next decision (``Agent.steer``)."""
        self._wish({"target": target, "forbid": forbid, "exploration": exploration})

    def ask(self, centre_yx_nm: YX) -> None:
        """A reference frame there next, in scan coordinates; the agent takes note of it."""
        y, x = centre_yx_nm
        self._wish({"ask": [float(y), float(x)]})

    def switch(self, name: str, **options: Any) -> None:
        """Another agent goes on, by its name, and takes over the history."""
        self._wish({"agent": name, "options": options})

    def allow(self, budget: float) -> None:
        """Another budget, in rasters, with what was spent so far."""
        self._wish({"budget": float(budget)})

    # For whoever runs it.

    @property
    def _idle(self) -> bool:
        """Whether there is nothing to do until a person says what."""
        return self._mode == MANUAL and not self._asked and not self._wishes

    def _change(self, **values: Any) -> None:
        with self._changed:
            for name, value in values.items():
                setattr(self, name, value)
            self._changed.notify_all()

    def _wish(self, wish: dict[str, Any]) -> None:
        with self._changed:
            self._wishes.append(wish)
            self._changed.notify_all()

    def _answered(self) -> bool | None:
        """What is said of a proposal; None where a wish, another mode or a stop came first."""
        with self._changed:
            self._verdict = None
        self._wait(lambda: self._verdict is not None or self._mode != APPROVE or bool(self._wishes))
        return self._verdict

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until it is so, or it is stopped; after ``rest_s`` it rests meanwhile."""
        with self._changed:
            if self.stopped or ready():
                return
            self._waiting = True
            done = self._changed.wait_for(lambda: self.stopped or ready(), self.rest_s)
        try:
            if not done:
                self._rest()
                with self._changed:
                    self._changed.wait_for(lambda: self.stopped or ready())
        finally:
            self._waiting = False

    def dwell(self, seconds: float) -> None:
        """Wait so long, or until it is stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self.stopped, seconds)

    def _rest(self) -> None:
        """Nothing is needed until a person does something."""


def in_words(wish: Mapping[str, Any]) -> str:
    """A wish, as a person says it."""
    if "ask" in wish:
        y, x = wish["ask"]
        return f"a frame at ({y:.2f}, {x:.2f}) nm"
    if "agent" in wish:
        return f"{wish['agent']} takes over"
    if "budget" in wish:
        return f"a budget of {wish['budget']:g} rasters"
    said = []
    if wish.get("target") is not None:
        said.append(f"pursue {json.dumps(wish['target'])[:WORDS]}")
    if (forbid := wish.get("forbid")) is not None:
        regions = "region" if len(forbid) == 1 else "regions"
        said.append(f"{len(forbid)} {regions} forbidden" if forbid else "all regions allowed")
    if wish.get("exploration") is not None:
        said.append(f"exploration {wish['exploration']:g}")
    return ", ".join(said) or "nothing"


def _known_mode(mode: str) -> str:
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; there are: {', '.join(MODES)}")
    return mode
