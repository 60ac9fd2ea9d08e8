"""Stop from another process: whoever may read a run's folder may stop what it drives."""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from typing import Any

from .emergency import Stopped
from .errors import ConnectionLost

NAME = "stop.json"
REASON = 200  # characters of a reason at most
ANSWER_S = 2.0  # for which an answer is waited for; it is promised within 0.2


class StopButton:
    """Listens in a folder for as long as something is driven; ``press`` is the other end.

    Args:
        folder: in which ``stop.json`` says where; its owner alone may read it.
        stop: what is called with the reason, in a thread of its own.
    """

    def __init__(self, folder: Path, stop: Callable[[str], Stopped]) -> None:
        self._stop, self._path = stop, folder / NAME
        key = secrets.token_bytes(32)
        self._listener = Listener(None, authkey=key)
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{NAME}"
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump({"address": self._listener.address, "key": key.hex()}, file)
        part.replace(self._path)
        self._over = False
        self._answering: list[threading.Thread] = []
        threading.Thread(target=self._listen, name="stop button", daemon=True).start()

    def close(self) -> None:
        """Listen no more, when whoever pressed has an answer; repeated calls are harmless."""
        if self._over:
            return
        self._over = True
        for answering in self._answering:
            answering.join(ANSWER_S)
        self._path.unlink(missing_ok=True)
        with suppress(OSError, EOFError, ConnectionError):
            # ``accept`` wakes up only for a caller, whom it need not know.
            Client(self._listener.address).close()
        self._listener.close()

    def _listen(self) -> None:
        while not self._over:
            try:
                caller = self._listener.accept()
            except Exception:  # a caller without the key, or one that has gone
                continue
            answering = threading.Thread(target=self._answer, args=(caller,), daemon=True)
            self._answering = [*(a for a in self._answering if a.is_alive()), answering]
            answering.start()

    def _answer(self, caller: Connection[Any, Any]) -> None:
        with suppress(OSError, EOFError, KeyError, ValueError, TypeError), caller:
            told = json.loads(caller.recv_bytes(4096))
            stopped = self._stop(str(told["reason"])[:REASON])
            caller.send_bytes(
                json.dumps({"answer": stopped.answer, "seconds": stopped.seconds}).encode()
            )


def press(folder: Path, reason: str = "a person stopped it") -> Stopped:
    """Stop what a run in another process drives, and hear whether the beam is blanked.

    Raises:
        ConnectionLost: nothing is driven from there, or it does not answer; then the beam is NOT
            confirmed blanked.
    """
    try:
        told = json.loads((folder / NAME).read_text())
        address, key = told["address"], bytes.fromhex(told["key"])
    except FileNotFoundError as error:
        raise ConnectionLost(f"nothing is driven from {folder}: it has no {NAME}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConnectionLost(f"{folder / NAME} cannot be read: {error}") from error
    try:
        with Client(address, authkey=key) as line:
            line.send_bytes(json.dumps({"reason": reason}).encode())
            if not line.poll(ANSWER_S):
                raise ConnectionLost(
                    f"the process that drives it does not answer within {ANSWER_S:g} s; "
                    "beam NOT confirmed blanked"
                )
            answer = json.loads(line.recv_bytes())
    except AuthenticationError as error:
        raise ConnectionLost(f"{folder / NAME} has another key than the run; {error}") from error
    except (OSError, EOFError) as error:
        raise ConnectionLost(
            f"the process that drove it from {folder} is gone; beam NOT confirmed blanked"
        ) from error
    return Stopped(str(answer["answer"]), float(answer["seconds"]))
