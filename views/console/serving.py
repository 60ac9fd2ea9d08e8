"""The console as pages on a port."""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import count
from typing import Any

import panel as pn
from panel.io.server import get_server
from tornado.ioloop import IOLoop

from ...hardware.credentials import CONTROL
from .door import OBSERVES, Door
from .page import EVERY_MS, STYLE, Page
from .session import Session

LOST_MS = 2000  # after which a browser that is gone has no control any more
ANSWERS_S = 10  # within which a browser answers, and between two questions; else it is gone


class Console:
    """Serves a session's page.

    Args:
        session: begun or not; a page that is closed never stops it.
        title: of what runs.
        door: where, and who may come in; by default anybody on this machine, at a free port.
        export: for the page's button.

    Raises:
        ValueError: it cannot listen there.
    """

    def __init__(
        self,
        session: Session,
        title: str = "",
        door: Door | None = None,
        export: Callable[[], str] | None = None,
    ) -> None:
        self.door = door = Door() if door is None else door
        numbers = count(1)

        def page() -> Any:
            controls = door.right(pn.state.cookies) == CONTROL
            owner, observes = f"page {next(numbers)}", "" if controls else OBSERVES
            one = Page(session, title, owner, export, observes)
            pn.state.add_periodic_callback(one.update, period=EVERY_MS)
            pn.state.on_session_destroyed(lambda _: one.leave())
            return one.view()

        pn.extension(raw_css=[STYLE])
        options = door.options | {
            "title": {"/": "StemScout"},
            "unused_session_lifetime_milliseconds": LOST_MS,
            "check_unused_sessions_milliseconds": LOST_MS // 2,
            # A browser whose machine or line is gone closes nothing.
            "websocket_ping_interval": ANSWERS_S,
            "websocket_ping_timeout": ANSWERS_S,
        }
        self._begun, self._trouble = threading.Event(), ""
        self._thread = threading.Thread(
            target=self._listen, args=({"/": page}, options), name="console", daemon=True
        )
        self._thread.start()
        self._begun.wait()
        if self._trouble:
            raise ValueError(
                f"the console cannot listen on {door.host}:{door.port}: {self._trouble}"
            )

    @property
    def address(self) -> str:
        """Where the page is."""
        return self.door.address

    def close(self) -> None:
        """No more pages; the session is left as it is."""
        self._loop.add_callback(self._server.stop)
        self._loop.add_callback(self._loop.stop)
        self._thread.join(5.0)

    def _listen(self, pages: dict[str, Any], options: dict[str, Any]) -> None:
        self._loop = IOLoop()
        try:
            self._server = get_server(pages, loop=self._loop, start=False, **options)
            self._server.start()
            self.door.port = int(self._server.port)
        except (OSError, ValueError) as error:
            self._trouble = str(error)
            return
        finally:
            self._begun.set()
        self._loop.start()
