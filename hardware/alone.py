"""An instrument that one process on this machine drives at a time.

The lock is the operating system's, on a file in a folder of the user's among the temporary ones.
The process of the driver takes it and never gives it back: it ends with that process, however that
ends, and so not before its last blanking.  Nobody else is known of: neither other machines, nor
other users, nor who goes another way than through here.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

from .errors import ConnectionLost, LeaseError

WAIT_S = 2.0  # for one whose owner was killed: it blanks first
AGAIN_S = 0.05
DIGITS = 20  # of a process's number at most


def hold(instrument: str, owner: int) -> int:
    """Take an instrument for as long as this process lives.

    Args:
        instrument: its address, the same for everybody.
        owner: number of the process that another one is told of.

    Returns:
        The handle that holds it.  It is an integer, which nothing closes unless it is told to.

    Raises:
        LeaseError: another process drives it, and has not ended within ``WAIT_S``.
        ConnectionLost: nobody can tell, since there is no place for the lock.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"stemscout-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / f"{quote(instrument, safe='')}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        _lock(handle, instrument)
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(owner).encode(), 0)
    except LeaseError:
        raise
    except OSError as error:
        raise ConnectionLost(
            f"whether another process drives {instrument} cannot be known ({error}); nothing was "
            "sent"
        ) from error
    return handle


def _lock(handle: int, instrument: str) -> None:
    until = time.monotonic() + WAIT_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > until:
                number = os.pread(handle, DIGITS, 0).decode(errors="replace")
                os.close(handle)
                raise LeaseError(
                    f"{instrument} is driven by process {number} on this machine already; nothing "
                    "was sent: end that one first, or wait until it ends"
                ) from None
        time.sleep(AGAIN_S)
