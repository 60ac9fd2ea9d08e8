"""What a guard writes into a journal, if there is one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from .errors import JournalError
from .journal import Journal

NOTED_S = 0.03  # for which what must not be delayed waits for its record


class Notes:
    """Records, at once or as soon as can be.

    Args:
        journal: None for none.
    """

    def __init__(self, journal: Journal | None) -> None:
        self.journal = journal

    def write(
        self, kind: str, data: Mapping[str, Any], arrays: Mapping[str, Any] | None = None
    ) -> int | None:
        """On the disk before it returns: the record's number; JournalError where it cannot be."""
        return None if self.journal is None else self.journal.write(kind, data, arrays)

    def soon(
        self, kind: str, data: Mapping[str, Any], then: Callable[[], None] | None = None
    ) -> int | None:
        """Written as soon as can be; a disk that is slow, full or gone delays nobody.

        Args:
            kind, data: of the record.
            then: is called in the same thread after it.

        Returns:
            The record's number, where it is known already.
        """
        numbers: list[int | None] = []

        def work() -> None:
            with suppress(JournalError):
                numbers.append(self.write(kind, data))
            if then is not None:
                then()

        writes = threading.Thread(target=work, name="note", daemon=True)
        writes.start()
        writes.join(NOTED_S)
        return numbers[0] if numbers else None
