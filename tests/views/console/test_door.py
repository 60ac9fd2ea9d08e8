"""Who comes in to the console's pages."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

import pytest

pytest.importorskip("panel")
pytest.importorskip("cryptography")

from bokeh.util.token import generate_jwt_token, generate_session_id
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from stemscout.hardware import credentials
from stemscout.views.console import serving
from stemscout.views.console import session as of
from stemscout.views.console.door import Door
from stemscout.views.console.serving import Console

TIMEOUT_S = 30


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """Credentials, as `serve --init-credentials` makes them."""
    folder = tmp_path_factory.mktemp("credentials") / "mine"
    credentials.make(folder, ["127.0.0.1"])
    return folder


@pytest.fixture(scope="module")
def tokens(mine):
    return json.loads((mine / "server" / "tokens.json").read_text())


@pytest.fixture
def served(sessions):
    """Makes consoles, and closes them."""
    made = []

    def make(session=None, **options):
        made.append(Console(session or sessions(), "graphene", Door(**options)))
        return made[-1]

    yield make
    for console in made:
        console.close()


class Visitor:
    """Somebody with cookies, who trusts the console's own authority and no other."""

    def __init__(self, console, mine=None):
        self.address, self.cookies = console.address, CookieJar()
        handlers = [urllib.request.HTTPCookieProcessor(self.cookies)]
        if mine is not None:
            trusted = ssl.create_default_context(cafile=mine / "observe" / "authority.crt")
            handlers.append(urllib.request.HTTPSHandler(context=trusted))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, path="/", form=None, **headers):
        data = None if form is None else urllib.parse.urlencode(form).encode()
        asked = urllib.request.Request(self.address + path, data, headers)
        try:
            with self._opener.open(asked, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def come_in(self, token, **more):
        _, form = self.ask("/login")
        before, _, rest = form.partition('name="_xsrf" value="')
        assert before
        return self.ask("/login", {"token": token, "_xsrf": rest.partition('"')[0], **more})


def connects(address, origin, age_s=0, **headers):
    """Whether the page's line is opened, to one who was given it so long ago."""
    good_s = serving.UNUSED_S - age_s
    token = generate_jwt_token(generate_session_id(), expiration=good_s)
    url = address.replace("http", "ws", 1) + "/ws"
    asked = HTTPRequest(url, headers={"Origin": origin, **headers}, validate_cert=False)

    async def tried():
        try:
            line = await websocket_connect(asked, subprotocols=["bokeh", token])
        except Exception:  # refused, in whatever words
            return False
        return await line.read_message() is not None

    return asyncio.run(asyncio.wait_for(tried(), TIMEOUT_S))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"host": "0.0.0.0"}, "certificates and tokens are needed"),
        ({"host": "0.0.0.0", "origins": ["tem1:5006"]}, "certificates and tokens are needed"),
        ({"origins": ["*"]}, r"must be HOST:PORT, such as tem1:5006"),
        ({"origins": ["*:5006"]}, "must be HOST:PORT"),
        ({"origins": ["tem1"]}, "must be HOST:PORT"),
        ({"origins": ["https://tem1:5006"]}, "must be HOST:PORT"),
        ({"origins": ["me@tem1:5006"]}, "must be HOST:PORT"),
        ({"origins": ["tem1:soon"]}, "must be HOST:PORT"),
        ({"origins": [""]}, "must be HOST:PORT"),
    ],
)
def test_a_door_that_stands_open_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Door(**options)


def test_beyond_this_machine_names_are_needed_and_credentials_of_a_server(mine):
    with pytest.raises(ValueError, match="by --allow-origin HOST:PORT"):
        Door("0.0.0.0", folder=mine / "server")
    with pytest.raises(ValueError, match="holds no credentials of a server"):
        Door(folder=mine / "control")
    door = Door("0.0.0.0", 5006, ["TEM1:5006"], mine / "server")
    assert door.address == "https://tem1:5006"
    assert door.allowed == ["tem1:5006"]


class TestOnThisMachine:
    def test_anybody_comes_in(self, served):
        status, page = Visitor(served()).ask()
        assert status == 200
        assert "StemScout" in page

    def test_no_other_name_leads_here(self, served):
        """A site whose name is made to lead to this machine shows no page of it."""
        console = served()
        port = console.door.port
        assert Visitor(console).ask(Host=f"evil.example:{port}")[0] == 403
        assert Visitor(console).ask(Host=f"localhost:{port}")[0] == 200
        own, evil = f"127.0.0.1:{port}", f"evil.example:{port}"
        assert connects(console.address, f"http://{own}")
        assert not connects(console.address, f"http://{evil}")
        assert not connects(console.address, f"http://{evil}", Host=evil)
        assert not connects(console.address, f"http://{evil}", Host=own)

    def test_a_name_that_is_allowed_does(self, served):
        console = served(origins=["tem1:8080"])
        assert Visitor(console).ask(Host="tem1:8080")[0] == 200
        assert Visitor(console).ask(Host="tem1:8081")[0] == 403
        assert connects(console.address, "http://tem1:8080", Host="tem1:8080")

    def test_whoever_comes_late_is_given_no_other_page(self, served):
        """One that is made for the line alone asks for files from elsewhere."""
        console = served()
        origin = f"http://127.0.0.1:{console.door.port}"
        assert connects(console.address, origin)
        assert not connects(console.address, origin, age_s=serving.UNUSED_S + 1)

    def test_a_line_that_nobody_answers_is_closed(self, served, monkeypatch):
        """A machine that is switched off says nothing more, and closes nothing."""
        monkeypatch.setattr(serving, "ANSWERS_S", 0.3)
        port = served().door.port
        token = generate_jwt_token(generate_session_id())
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as line:
            line.sendall(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bokeh, {token}\r\n"
                f"Origin: http://127.0.0.1:{port}\r\n\r\n".encode()
            )
            assert b"101 Switching" in line.recv(4096)
            while line.recv(4096):  # which ends when it is closed
                pass


class TestWithCredentials:
    def test_nobody_without_a_token_comes_in(self, served, mine):
        console = served(folder=mine / "server")
        status, page = Visitor(console, mine).ask()
        assert (status, "Come in" in page) == (200, True)
        assert "bokeh" not in page.lower()
        for path in ("/autoload.js?bokeh-autoload-element=1", "/metadata"):
            assert "Come in" in Visitor(console, mine).ask(path)[1]
        assert not connects(console.address, console.address)

    def test_it_is_shown_by_the_certificate_that_clients_trust(self, served, mine):
        console = served(folder=mine / "server")
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            Visitor(console).ask()

    @pytest.mark.parametrize("token", ["", "rubbish", "é\x00", "x" * 10_000])
    def test_a_token_that_is_none_is_refused(self, served, mine, token):
        visitor = Visitor(served(folder=mine / "server"), mine)
        status, page = visitor.come_in(token)
        assert (status, "No such token is known here." in page) == (403, True)
        assert "Come in" in visitor.ask()[1]
        assert {c.name for c in visitor.cookies} == {"_xsrf"}

    @pytest.mark.parametrize("right", ["control", "observe"])
    def test_one_that_is_known_is_kept_in_no_cookie(self, served, mine, tokens, right):
        console = served(folder=mine / "server")
        visitor = Visitor(console, mine)
        status, page = visitor.come_in(tokens[right])
        assert (status, "Come in" in page) == (200, False)
        (kept,) = (c for c in visitor.cookies if c.name == console.door.cookie)
        assert tokens[right] not in kept.value
        assert kept.secure
        assert kept.has_nonstandard_attr("HttpOnly")
        shown = kept.value.strip('"')
        assert console.door.right({kept.name: shown}) == right
        assert console.door.right({kept.name: f"{shown}x"}) is None

    def test_a_form_of_another_site_is_refused(self, served, mine, tokens):
        console = served(folder=mine / "server")
        visitor = Visitor(console, mine)
        assert visitor.ask("/login", {"token": tokens["control"]})[0] == 403
        assert visitor.come_in(tokens["control"], _xsrf="rubbish")[0] == 403

    def test_a_cookie_of_another_console_is_worth_nothing(self, served, mine, tokens):
        one, other = served(folder=mine / "server"), served(folder=mine / "server")
        visitor = Visitor(one, mine)
        visitor.come_in(tokens["control"])
        kept = {c.name: c.value.strip('"') for c in visitor.cookies}
        assert one.door.right(kept) == "control"
        assert other.door.right({other.door.cookie: kept[one.door.cookie]}) is None


class TestRights:
    """In a browser."""

    def test_whoever_may_control_does(self, sessions, seats, mine, tokens, eventually):
        session = sessions(budget=0.4)
        seat = seats(session, Door(folder=mine / "server"), tokens["control"])
        seat.button("Start").click()
        seat.reads(re.compile(r"frame \d+ at"))
        eventually(lambda: session.shown().frames > 2)

    def test_whoever_may_observe_looks_on_and_stops(
        self, sessions, seats, mine, tokens, eventually
    ):
        session = sessions(budget=0.4)
        door = Door(folder=mine / "server")
        seat = seats(session, door, tokens["observe"])
        seat.reads("looking on")
        assert session.lease.owner is None
        for name in ("Start", "Take control", "Step", "Pursue"):
            assert seat.button(name).is_disabled()
        session.start()
        seat.reads(re.compile(r"frame \d+ at"))
        seat.button("STOP (Esc)").click()
        seat.reads("blanked (confirmed)")
        assert session.wait(30)
        assert session.shown().phase == of.STOPPED
