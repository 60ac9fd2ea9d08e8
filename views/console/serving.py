"""The console as pages on a port of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import panel as pn
from panel.io.server import get_server
from tornado.ioloop import IOLoop

from .page import EVERY_MS, STYLE, Page
from .session import Session

LOST_MS = 2000  # after which a browser that is gone has no control any more


class Console:
    """Serves a session's page.

    Args:
        session: begun or not; a page that is closed never stops it.
        title: of what runs.
        host, port: where to listen; port 0 takes a free one.
        origins: hosts, with their ports, whose pages may connect; by default this one's.
        export: for the page's button.

    Raises:
        ValueError: it cannot listen there.
    """

    def __init__(
        self,
        session: Session,
        title: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
        origins: Sequence[str] = (),
        export: Callable[[], str] | None = None,
    ) -> None:
        numbers = count(1)

        def page() -> Any:
            one = Page(session, title, f"page {next(numbers)}", export)
            pn.state.add_periodic_callback(one.update, period=EVERY_MS)
            pn.state.on_session_destroyed(lambda _: one.leave())
            return one.view()

        pn.extension(raw_css=[STYLE])
        options = {
            "address": host,
            "port": port,
            "websocket_origin": list(origins) or None,
            "title": {"/": "StemScout"},
            "unused_session_lifetime_milliseconds": LOST_MS,
            "check_unused_sessions_milliseconds": LOST_MS // 2,
        }
        self.host, self.port = host, 0
        self._begun, self._trouble = threading.Event(), ""
        self._thread = threading.Thread(
            target=self._listen, args=({"/": page}, options), name="console", daemon=True
        )
        self._thread.start()
        self._begun.wait()
        if self._trouble:
            raise ValueError(f"the console cannot listen on {host}:{port}: {self._trouble}")

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{self.host}:{self.port}"

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
            self.port = int(self._server.port)
        except (OSError, ValueError) as error:
            self._trouble = str(error)
            return
        finally:
            self._begun.set()
        self._loop.start()
