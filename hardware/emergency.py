"""Making an instrument safe: the scan aborted, the beam blanked, and an honest answer in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from .microscope import Microscope

CONFIRMED = "blanked (confirmed)"
NOT_CONFIRMED = "beam NOT confirmed blanked"
ANSWER_S = 0.15  # within which there is an answer, of the 0.2 that ``stop`` promises
REPEATED_S = 0.01  # between two aborts of a scan that goes on
AFTERWARDS_S = 30.0  # for which blanking is tried after the answer


@dataclass(frozen=True)
class Stopped:
    """What ``stop`` answers.

    Attributes:
        answer: ``blanked (confirmed)`` or ``beam NOT confirmed blanked``.
        seconds: that it took.
    """

    answer: str
    seconds: float

    @property
    def confirmed(self) -> bool:
        return self.answer == CONFIRMED

    def __str__(self) -> str:
        return self.answer


class Emergency:
    """Begins at once: aborts and blanks in threads of their own, so that no driver holds it up.

    Args:
        microscope: it.
        can_blank, while_busy: whether its beam can be blanked, and in the middle of a scan.
        busy: whether a call is under way.
    """

    def __init__(
        self, microscope: Microscope, can_blank: bool, while_busy: bool, busy: Callable[[], bool]
    ) -> None:
        self._microscope, self._busy, self._while_busy = microscope, busy, while_busy
        self._began = time.monotonic()
        self._blanked, self._over = threading.Event(), threading.Event()
        threading.Thread(target=self._abort, name="abort", daemon=True).start()
        self._can_blank = can_blank
        if can_blank:
            threading.Thread(target=self._blank, name="blank", daemon=True).start()

    def answer(self) -> Stopped:
        """Whether the beam is blanked, as soon as it is known, within ``ANSWER_S``."""
        if self._can_blank:
            self._blanked.wait(ANSWER_S)
        return Stopped(CONFIRMED if self._blanked.is_set() else NOT_CONFIRMED, self.seconds)

    def afterwards(self) -> bool:
        """Whether it is blanked in the end; waits for it."""
        return self._can_blank and self._blanked.wait(AFTERWARDS_S)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def _abort(self) -> None:
        with suppress(Exception):
            self._microscope.abort()
            # The first may have come just before the scan began.
            while self._busy() and self.seconds < AFTERWARDS_S and not self._over.wait(REPEATED_S):
                self._microscope.abort()

    def _blank(self) -> None:
        while not self._while_busy and self._busy() and self.seconds < AFTERWARDS_S:
            time.sleep(REPEATED_S / 2)
        with suppress(Exception):
            if self._microscope.blank(True).blanked and self._microscope.state().blanked:
                self._blanked.set()
        if not self._busy():
            self._over.set()
