"""Who comes in to the console's pages: under which names they are served, and to whom.

On this machine alone anybody may.  On any other address the pages are served over TLS with the
live server's certificate, and whoever opens one gives a token of its credentials; the token's
right, and not the token, is then kept in a cookie that only this console can sign.  A page that
was asked for under any other name than those allowed is not given, so that no other site's page
can lead a browser here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler, decode_signed_value

from ...hardware.credentials import CONTROL, SERVER, Credentials, check_reach, is_loopback
from .plots import BRIGHT, INK, LINE, PAPER

HERE = ("127.0.0.1", "localhost", "[::1]")
LOGIN = "/login"
OBSERVES = "your token lets you look on and stop, and not take control"
FORM = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>StemScout</title>
<meta name="viewport" content="width=device-width">
<body style="background:{PAPER};color:{INK};font:15px/1.5 system-ui,sans-serif;margin:18vh auto;
width:26rem"><h1 style="font-size:20px">StemScout</h1><form method="post">%s
<label for="token">Token, as it stands in control/tokens.json or observe/tokens.json</label>
<input id="token" name="token" type="password" autofocus autocomplete="off" required
style="width:100%%;box-sizing:border-box;margin:8px 0;padding:8px;background:#20252d;color:{INK};
border:1px solid {LINE};font:inherit"><button style="padding:6px 18px;font:inherit;
background:#2a313b;color:{INK};border:1px solid {LINE}">Come in</button>
<p role="alert" style="color:{BRIGHT}">%s</p></form></body></html>
"""


class Door(AuthProvider):  # type: ignore[misc]  # Bokeh's types are not followed
    """Where the pages are, and who may open one.

    Args:
        host, port: where to listen; port 0 takes a free one, and ``port`` has it then.
        origins: HOST:PORT, as a browser writes them, under which the pages are served; on this
            machine its own names are among them.
        folder: credentials of a server, ``DIR/server``; needed on any address but the loopback.

    Raises:
        ValueError: an address that others reach without credentials or without origins, an origin
            that is none, or a folder that holds no credentials of a server.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        origins: Sequence[str] = (),
        folder: Path | None = None,
    ) -> None:
        self.host, self.port, self.folder = host, port, folder
        self.credentials = None if folder is None else Credentials.of_server(folder)
        check_reach(host, self.credentials)
        self.origins = [_checked(origin) for origin in origins]
        if not self.origins and not is_loopback(host):
            raise ValueError(
                f"{host} can be reached from elsewhere: say under which names its pages are "
                "served, by --allow-origin HOST:PORT"
            )
        self.secret = secrets.token_urlsafe(32)
        super().__init__()

    @property
    def allowed(self) -> list[str]:
        """HOST:PORT under which pages are served."""
        own = [f"{name}:{self.port}" for name in HERE] if is_loopback(self.host) else []
        return [*self.origins, *own]

    @property
    def address(self) -> str:
        """Where a person finds the page."""
        name = f"[{self.host}]" if ":" in self.host else self.host
        at = f"{name}:{self.port}" if is_loopback(self.host) else self.origins[0]
        return f"{'http' if self.folder is None else 'https'}://{at}"

    @property
    def options(self) -> dict[str, Any]:
        """Of the server that stands behind it."""
        options: dict[str, Any] = {
            "address": self.host,
            "port": self.port,
            "websocket_origin": self.origins or None,
            "auth_provider": self,
        }
        if self.folder is None:
            return options
        return options | {
            "ssl_certfile": str(self.folder / f"{SERVER}.crt"),
            "ssl_keyfile": str(self.folder / f"{SERVER}.key"),
            "cookie_secret": self.secret,
            "secret_key": self.secret.encode(),
            "sign_sessions": True,
            "xsrf_cookies": True,
            "xsrf_cookie_kwargs": {"secure": True, "httponly": True, "samesite": "Strict"},
        }

    @property
    def cookie(self) -> str:
        """Its name; browsers do not keep those of two ports apart."""
        return f"stemscout-{self.port}"

    def right(self, cookies: Mapping[str, str]) -> str | None:
        """What whoever shows these may do: ``observe``, ``control``; None for nothing."""
        if self.credentials is None:
            return CONTROL
        shown = cookies.get(self.cookie)
        right = None if shown is None else decode_signed_value(self.secret, self.cookie, shown)
        return None if right is None else right.decode()

    def check(self, handler: RequestHandler) -> None:
        """HTTPError where a page is asked for under a name that is not allowed."""
        asked = handler.request
        origin = asked.headers.get("Origin")
        names = [asked.host, *([] if origin is None else [urlsplit(origin).netloc])]
        for name in names:
            if name.lower() not in self.allowed:
                raise HTTPError(403, reason="not served under this name; see --allow-origin")

    # For Bokeh.

    @property
    def get_user(self) -> Callable[[RequestHandler], str | None]:
        return self._user

    def _user(self, handler: RequestHandler) -> str | None:
        self.check(handler)
        return self.right({name: morsel.value for name, morsel in handler.cookies.items()})

    @property
    def login_url(self) -> str:
        return LOGIN

    @property
    def login_handler(self) -> type[RequestHandler] | None:
        return None if self.credentials is None else Login


class Login(RequestHandler):
    """Asks for a token, and gives a cookie for it."""

    def prepare(self) -> None:
        self.door.check(self)

    @property
    def door(self) -> Door:
        """That it belongs to."""
        door: Door = self.application.auth_provider  # type: ignore[attr-defined]  # Bokeh's own
        return door

    def get(self) -> None:
        """The form."""
        self._ask("")

    def post(self) -> None:
        """Whoever gives a token that is known comes in."""
        credentials = self.door.credentials
        assert credentials is not None
        right = credentials.right_of(self.get_body_argument("token", ""))
        if right is None:
            self.set_status(403)
            self._ask("No such token is known here.")
            return
        self.set_signed_cookie(
            self.door.cookie,
            right,
            expires_days=None,
            httponly=True,
            secure=True,
            samesite="Strict",
        )
        self.redirect("/")

    def _ask(self, said: str) -> None:
        self.write(FORM % (self.xsrf_form_html(), said))


def _checked(origin: str) -> str:
    """An origin in lower case; ValueError where it is none."""
    try:
        parts = urlsplit(f"//{origin}")
        sound = bool(parts.hostname and parts.port and parts.netloc == origin)
    except ValueError:
        sound = False
    if not sound or "*" in origin or "@" in origin:
        raise ValueError(f"--allow-origin {origin!r}; it must be HOST:PORT, such as tem1:5006")
    return origin.lower()
