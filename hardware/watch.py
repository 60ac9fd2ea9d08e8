"""Somebody who looks, again and again, whether all is well; and once more when the process ends."""

from __future__ import annotations

import atexit
import threading
import weakref
from contextlib import suppress
from typing import Protocol

EVERY_S = 0.05


class Watched(Protocol):
    """What is looked after."""

    def look(self) -> None:
        """Is whoever drives it still there?"""
        ...

    def leave(self) -> None:
        """The process ends."""
        ...


class Watch:
    """Looks after something for as long as anybody else holds it, or until ``end``."""

    def __init__(self, watched: Watched) -> None:
        self._watched = weakref.ref(watched)
        self._over = threading.Event()
        atexit.register(self._leave)
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    def end(self) -> None:
        """Look no more; repeated calls are harmless."""
        self._over.set()
        atexit.unregister(self._leave)

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            watched = self._watched()
            if watched is None:
                atexit.unregister(self._leave)
                return
            watched.look()
            del watched

    def _leave(self) -> None:
        watched = self._watched()
        if watched is not None:
            with suppress(Exception):
                watched.leave()
