"""One run at a time in a folder."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "run.lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[bool]:
    """Keep other runs out of a folder; False where its file system has no locks.

    The lock is the operating system's, on a file that stays.  It ends with the process that
    holds it, however that ends, so that nothing has to be cleaned up.  Some network folders
    know no locks, or none between machines; there, nobody is kept out.

    Raises:
        ValueError: another run is under way there.
    """
    path = folder / LOCK
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = path.read_text(encoding="utf-8") or "another process"
            raise ValueError(
                f"a run is under way in {str(folder)!r}, by {holder}; wait until it ends, or name "
                "another folder"
            ) from error
        except OSError:
            locked = False
        else:
            locked = True
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()
        yield locked
