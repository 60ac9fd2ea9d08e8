"""Stop from another process: whoever owns a run may stop what it drives.

The run listens at a UNIX socket in a directory of its own, which ``mkdtemp`` lets nobody else
enter: whoever reaches the socket is the owner of the run (or root), so that no key is asked for.
One line of JSON is said there, and one comes back.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .emergency import NOT_CONFIRMED, Stopped
from .errors import ConnectionLost

NAME = "stop.json"
REASON = 200  # characters of a reason at most
LINE = 4096  # bytes of a line at most
WAITING = 128  # callers that may wait to be let in
ANSWER_S = 2.0  # from the call to the answer, which is promised within 0.2
LOOK_S = 0.5  # between two looks at whether it is over
AGAIN_S = 0.01  # before what could not be done for want of room is tried again


class StopButton:
    """Listens in a folder for as long as something is driven; ``press`` is the other end.

    Each caller is heard in a thread of its own, and for ``ANSWER_S`` at most: one who says nothing
    delays nobody.

    Args:
        folder: in which ``stop.json`` says where; its owner alone may read it.
        stop: what is called with the reason, in a thread of its own.

    Raises:
        OSError: the folder or the socket cannot be made.
    """

    def __init__(self, folder: Path, stop: Callable[[str], Stopped]) -> None:
        self._stop, self._path = stop, folder / NAME
        self._over = False
        self._answering: list[tuple[threading.Thread, socket.socket]] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._room = Path(tempfile.mkdtemp(prefix="stemscout-"))  # 0700
        self._door = socket.socket(socket.AF_UNIX)
        try:
            self._open(str(self._room / "stop"))
        except BaseException:
            self._door.close()
            shutil.rmtree(self._room, ignore_errors=True)
            raise
        self._listening = threading.Thread(target=self._listen, name="stop button", daemon=True)
        self._listening.start()

    def _open(self, address: str) -> None:
        self._door.settimeout(LOOK_S)
        try:
            self._door.bind(address)
        except OSError as error:
            raise OSError(
                f"{address} cannot be listened at ({error}); set TMPDIR to a short path"
            ) from error
        self._door.listen(WAITING)
        part = self._path.with_name(f".{NAME}")
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"address": address}, file)
        part.replace(self._path)

    def close(self) -> None:
        """Listen no more, when whoever pressed has an answer; repeated calls are harmless."""
        if self._over:
            return
        self._over = True
        self._path.unlink(missing_ok=True)
        with suppress(OSError):  # wakes up whoever listens
            self._door.shutdown(socket.SHUT_RDWR)
        self._listening.join()
        self._door.close()
        for _, caller in self._answering:
            with suppress(OSError):  # who has said nothing is not waited for
                caller.shutdown(socket.SHUT_RD)
        until = time.monotonic() + ANSWER_S
        for answering, _ in self._answering:
            answering.join(max(0.0, until - time.monotonic()))
        shutil.rmtree(self._room, ignore_errors=True)

    def _listen(self) -> None:
        while not self._over:
            try:
                caller, _ = self._door.accept()
            except TimeoutError:
                continue
            except OSError:  # it is over, or there are too many open files
                time.sleep(AGAIN_S)
                continue
            answering = threading.Thread(target=self._answer, args=(caller,), daemon=True)
            self._answering = [a for a in self._answering if a[0].is_alive()]
            try:
                answering.start()
            except RuntimeError:  # there are too many threads
                caller.close()
                continue
            self._answering.append((answering, caller))

    def _answer(self, caller: socket.socket) -> None:
        with caller:
            try:
                reason = str(_heard(caller, time.monotonic() + ANSWER_S)["reason"])[:REASON]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                return  # rubbish, or nothing
            stopped = self._stop(reason)
            with suppress(OSError):  # who has gone meanwhile has stopped it all the same
                caller.settimeout(ANSWER_S)
                caller.sendall(_line({"answer": stopped.answer, "seconds": stopped.seconds}))


def press(folder: Path, reason: str = "a person stopped it") -> Stopped:
    """Stop what a run in another process drives, and hear whether the beam is blanked.

    Raises:
        ConnectionLost: nothing is driven from there, or there is no answer within ``ANSWER_S``;
            then the beam is NOT confirmed blanked.
    """
    until = time.monotonic() + ANSWER_S
    address = _address(folder)
    try:
        with socket.socket(socket.AF_UNIX) as line:
            _connect(line, address, until)
            line.settimeout(_left(until))
            line.sendall(_line({"reason": reason[:REASON]}))
            told = _heard(line, until)
        return Stopped(str(told["answer"]), float(told["seconds"]))
    except TimeoutError as error:
        raise ConnectionLost(
            f"the process that drives it does not answer within {ANSWER_S:g} s; {NOT_CONFIRMED}"
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ConnectionLost(
            f"the process that drove it from {folder} is gone; {NOT_CONFIRMED}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConnectionLost(
            f"the process that drives it from {folder} gave no answer ({error}); {NOT_CONFIRMED}"
        ) from error


def _address(folder: Path) -> str:
    """Where the run of a folder listens."""
    try:
        address = json.loads((folder / NAME).read_text())["address"]
        if not isinstance(address, str):
            raise TypeError(f"the address is {address!r}")
    except FileNotFoundError as error:
        raise ConnectionLost(f"nothing is driven from {folder}: it has no {NAME}") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConnectionLost(f"{folder / NAME} cannot be read: {error}") from error
    return address


def _connect(line: socket.socket, address: str, until: float) -> None:
    """Connect; where as many wait already as may, until there is room."""
    while True:
        line.settimeout(_left(until))
        try:
            line.connect(address)
            return
        except BlockingIOError:
            time.sleep(AGAIN_S)


def _line(told: dict[str, Any]) -> bytes:
    return json.dumps(told).encode() + b"\n"


def _heard(line: socket.socket, until: float) -> Any:
    """The line that comes; TimeoutError where it has not by then, ConnectionError for none."""
    said = b""
    while b"\n" not in said and len(said) < LINE:
        line.settimeout(_left(until))
        part = line.recv(LINE - len(said))
        if not part:
            raise ConnectionAbortedError("it hung up")
        said += part
    return json.loads(said)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0.0:
        raise TimeoutError
    return left
