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

GONE_MS = 2000  # after which a page that is closed has no control any more
UNUSED_S = 20  # for which what was made for a page is kept without it: lines may be slow
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
            context, there = pn.state.curdoc.session_context, False

            def look() -> None:
                nonlocal there
                line = context.session  # None until the page is made
                before, there = there, line is not None and line.connection_count > 0
                if there and not before:  # it came late, or again
                    one.take_control(quietly=True)
                if there or line is None or line.milliseconds_since_last_unsubscribe < GONE_MS:
                    one.update()
                else:
                    one.leave()

            pn.state.add_periodic_callback(look, period=EVERY_MS)
            pn.state.on_session_destroyed(lambda _: one.leave())
            return one.view()

        pn.extension(raw_css=[STYLE])
        options = door.options | {
            "title": {"/": "StemScout"},
            "unused_session_lifetime_milliseconds": 1000 * UNUSED_S,
            "check_unused_sessions_milliseconds": 250 * UNUSED_S,
            # What is made anew for a browser that comes later asks for files from elsewhere.
            "session_token_expiration": UNUSED_S,
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
