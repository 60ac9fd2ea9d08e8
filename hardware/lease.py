"""One owner at a time: a lock that runs out unless its owner gives a sign of life."""

from __future__ import annotations

import secrets
import threading
import time

from .errors import LeaseError


def _same(key: str, other: str) -> bool:
    """In a time that tells nothing; keys from elsewhere may hold anything."""
    return secrets.compare_digest(key.encode(errors="replace"), other.encode())


class Lease:
    """Who has the microscope.

    Clocks that are set, forwards or backwards, change nothing: time is monotonic.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: str | None = None
        self._owner, self._seconds, self._until = "", 0.0, 0.0

    def take(self, owner: str, seconds: float) -> str:
        """A key, without which others are refused for so many seconds, and again at every sign.

        Raises:
            LeaseError: somebody else has it.
            ValueError: a time that is no time.
        """
        if not 0 < seconds < float("inf"):
            raise ValueError(f"a lease of {seconds} s; it must be above 0 and finite")
        with self._lock:
            if self._key is not None:
                if time.monotonic() >= self._until:
                    raise LeaseError(
                        f"the lease of {self._owner} has run out, and the instrument is being made "
                        "safe; ask again"
                    )
                raise LeaseError(self._held())
            self._key, self._owner, self._seconds = secrets.token_hex(16), owner, seconds
            self._until = time.monotonic() + seconds
            return self._key

    def check(self, key: str | None) -> None:
        """Whoever has the key gives a sign of life; without a lease nobody needs one.

        Raises:
            LeaseError: somebody else has it, or the key's lease has run out.
        """
        with self._lock:
            if key is None:
                if self._key is not None:
                    raise LeaseError(self._held())
                return
            if self._key is None or not _same(key, self._key):
                raise LeaseError("this lease has run out or was given back; take another")
            if time.monotonic() >= self._until:
                raise LeaseError(f"the lease of {self._owner} has run out; take another")
            self._until = time.monotonic() + self._seconds

    def release(self, key: str) -> None:
        """Give it back; LeaseError where the key is none."""
        with self._lock:
            if self._key is None or not _same(key, self._key):
                raise LeaseError("this lease has run out or was given back already")
            self._key = None

    @property
    def ran_out(self) -> str | None:
        """The owner whose lease has run out, and who has it until ``end``; None for nobody."""
        with self._lock:
            late = self._key is not None and time.monotonic() >= self._until
            return self._owner if late else None

    def end(self) -> None:
        """Nobody has it any more."""
        with self._lock:
            self._key = None

    @property
    def owner(self) -> str | None:
        """Who has it now."""
        with self._lock:
            return None if self._key is None else self._owner

    def _held(self) -> str:
        left = max(0.0, self._until - time.monotonic())
        return f"{self._owner} has the microscope, for another {left:.0f} s at least"
