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
UNTOUCHED = "nothing was sent; the beam is as it was"
UNBLANK = "unblank"  # the verb of a call after which the beam is on
ANSWER_S = 0.15  # within which there is an answer, of the 0.2 that ``stop`` promises
REPEATED_S = 0.01  # between two attempts, until the answer
SLOWLY_S = 0.25  # and after it
AFTERWARDS_S = 30.0  # for which both are tried


@dataclass(frozen=True)
class Stopped:
    """What ``stop`` answers.

    Attributes:
        answer: ``blanked (confirmed)``, ``beam NOT confirmed blanked``, or that nothing was sent.
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

    Neither ends with one attempt that fails.  What was blanked in the middle of a call is looked
    at once more when that is over, for the call may have been to unblank.

    Args:
        microscope: it.
        can_blank, while_busy: whether its beam can be blanked, and in the middle of a scan.
        under_way: the verb of the call under way, if any.
        aborts: whether there may be a scan to abort.
        before: one that this takes the place of; whoever waits for it hears of this one.
    """

    def __init__(
        self,
        microscope: Microscope,
        can_blank: bool,
        while_busy: bool,
        under_way: Callable[[], str | None],
        aborts: bool = True,
        before: Emergency | None = None,
    ) -> None:
        self._microscope, self._under_way = microscope, under_way
        self._can_blank, self._while_busy, self._before = can_blank, while_busy, before
        self._began = time.monotonic()
        self._blanked, self._over = threading.Event(), threading.Event()
        if aborts:
            threading.Thread(target=self._abort, name="abort", daemon=True).start()
        if can_blank:
            threading.Thread(target=self._blank, name="blank", daemon=True).start()

    def answer(self, within_s: float = ANSWER_S) -> Stopped:
        """Whether the beam is blanked, as soon as it is known."""
        if self._can_blank:
            self._blanked.wait(within_s)
        return Stopped(CONFIRMED if self._blanked.is_set() else NOT_CONFIRMED, self.seconds)

    def afterwards(self) -> bool:
        """Whether it is blanked in the end; waits for it."""
        return self._can_blank and self._blanked.wait(AFTERWARDS_S)

    def end(self) -> None:
        """Try no more."""
        self._over.set()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    @property
    def _goes_on(self) -> bool:
        return self.seconds < AFTERWARDS_S and not self._over.is_set()

    def _abort(self) -> None:
        # The first may have come just before the scan began.
        while self._goes_on:
            with suppress(Exception):
                self._microscope.abort()
            if self._under_way() is None:
                return
            self._over.wait(REPEATED_S)

    def _blank(self) -> None:
        while self._goes_on:
            verb = self._under_way()
            if verb is not None and (self._blanked.is_set() or not self._while_busy):
                time.sleep(REPEATED_S / 2)
                continue
            if self._dark():
                if self._under_way() != UNBLANK:
                    self._confirm()
                if verb is None and self._under_way() is None:
                    self._over.set()
                    return
            else:
                self._blanked.clear()
            self._over.wait(REPEATED_S if self.seconds < ANSWER_S else SLOWLY_S)

    def _confirm(self) -> None:
        """To whoever waits for the one before as well: it was ended, and what is dark is dark."""
        self._blanked.set()
        before, self._before = self._before, None
        if before is not None:
            before._confirm()

    def _dark(self) -> bool:
        """Told to blank, and it reads back that it has."""
        with suppress(Exception):
            return self._microscope.blank(True).blanked and self._microscope.state().blanked
        return False
