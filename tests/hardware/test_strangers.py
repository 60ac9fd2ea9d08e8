"""Whoever comes over the wire: those who send rubbish, and those who are not let in."""

from __future__ import annotations

import os
import random
import socket
import threading
from dataclasses import asdict, replace

import numpy as np
import pytest

from stemscout.hardware import ConnectionLost, ScanRequest, wire
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.errors import LeaseError
from stemscout.hardware.guard import guarded

grpc = pytest.importorskip("grpc")
from stemscout.hardware import credentials  # noqa: E402
from stemscout.hardware import server as serving  # noqa: E402
from stemscout.hardware.server import CONTROLS, OBSERVES, SERVICE, SIMULATED, Server  # noqa: E402

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


class TestRubbish:
    VERBS = (*OBSERVES, *CONTROLS, "nonsense")
    FIELDS = ("request", "yx_nm", "on", "seconds", "key", "timeout_s", "owner", "reason")

    def usual(self, guard, key):
        """What makes sense to every verb; whatever rubbish has ended before is begun anew."""
        if guard.lease.owner is None:
            key = guard.lease.take("who sends rubbish", 600)
        if guard.stopped is not None:
            guard.rearm(key)
        return {
            "key": key, "request": asdict(REQUEST), "yx_nm": [0, 0], "on": False, "seconds": 10,
        }  # fmt: skip

    def fuzzed(self, server, times, seed):
        """Rubbish of many kinds to every verb; what is answered, by status."""
        rng, statuses, answered, key = random.Random(seed), {}, set(), None
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for _ in range(times):
                usual = self.usual(server.guard, key)
                key, sound = usual["key"], wire.pack(usual)
                message = bytearray(sound)
                kind = rng.randrange(4)
                if kind == 0:
                    message = bytearray(rng.randbytes(rng.randrange(300)))
                elif kind == 1:
                    for _ in range(rng.randrange(1, 5)):
                        message[rng.randrange(len(message))] = rng.randrange(256)
                elif kind == 2:
                    message = message[: rng.randrange(len(message))]
                else:
                    odd = rng.choice([None, [], {}, "x", -1, 1e308, float("nan"), [[[]]], "9" * 50])
                    message = bytearray(wire.pack({**usual, rng.choice(self.FIELDS): odd}))
                verb = rng.choice(self.VERBS)
                try:
                    answer = channel.unary_unary(f"/{SERVICE}/{verb}")(bytes(message), timeout=10)
                    said, status = str(wire.unpack(answer)[0].get("error", "")), "answered"
                    answered |= set() if said else {verb}
                except grpc.RpcError as error:
                    said, status = error.details(), error.code().name
                assert "Traceback" not in said
                assert 'File "' not in said
                if status in ("INTERNAL", "UNKNOWN"):
                    status = f"{status}: {said}"
                statuses[status] = statuses.get(status, 0) + 1
        assert {*OBSERVES, *CONTROLS} - answered <= {"take"}  # which is given while nobody has it
        return statuses

    def test_rubbish_never_kills_it_nor_reveals_a_traceback(self, served):
        _, server = served()
        statuses = self.fuzzed(server, 300, 0)
        assert not [s for s in statuses if s.startswith(("INTERNAL", "UNKNOWN"))], statuses
        server.guard.lease.end()
        own = served.client(server)
        own.open()
        own.rearm()
        own.blank(False)
        assert own.acquire(REQUEST).image.any()

    @pytest.mark.slow
    def test_rubbish_ten_thousand_times(self, served):
        _, server = served()
        statuses = self.fuzzed(server, 10_000, 1)
        print(statuses)
        assert not [s for s in statuses if s.startswith(("INTERNAL", "UNKNOWN"))], statuses

    def test_bytes_that_are_no_http_harm_nobody(self, served):
        _, server = served()
        for rubbish in (b"", b"GET / HTTP/1.1\r\n\r\n", os.urandom(2000)):
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(rubbish)
        own = served.client(server)
        assert own.open().simulated

    def test_messages_are_bounded(self, served):
        _, server = served()
        large = wire.pack({"key": None}, {"x": np.zeros(300_000)})
        with (
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel,
            pytest.raises(grpc.RpcError) as raised,
        ):
            channel.unary_unary(f"/{SERVICE}/state")(large, timeout=10)
        assert raised.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


class TestEveryReplySaysThatItIsSimulated:
    """In its trailing metadata, whatever its status; answers and errors in their text besides."""

    def told(self, channel, path, message=None, token=""):
        """The status of a reply, and what it says of the microscope."""
        call = channel.unary_unary(path if "/" in path else f"/{SERVICE}/{path}")
        given = wire.pack({"key": None}) if message is None else message
        reply = call.future(given, timeout=20, metadata=((serving.TOKEN, token),))
        return reply.code().name, dict(reply.trailing_metadata()).get(SIMULATED)

    @pytest.fixture
    def near(self, served):
        """A server, and a channel to it."""
        _, server = served()
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield server, channel

    @pytest.mark.parametrize("verb", OBSERVES)
    def test_an_answer(self, near, verb):
        assert self.told(near[1], verb) == ("OK", "true")

    @pytest.mark.parametrize("verb", CONTROLS)
    def test_a_call_that_makes_no_sense(self, near, verb):
        assert self.told(near[1], verb, b"rubbish") == ("INVALID_ARGUMENT", "true")

    @pytest.mark.parametrize("path", ["nonsense", "/other.Service/state", "/stemscout.Microscope"])
    def test_a_call_that_there_is_not(self, near, path):
        assert self.told(near[1], path) == ("UNIMPLEMENTED", "true")

    def test_too_many_that_wait(self, near, monkeypatch):
        monkeypatch.setattr(near[0], "_places", threading.Semaphore(0))
        assert self.told(near[1], "state") == ("RESOURCE_EXHAUSTED", "true")

    def test_a_frame_that_is_still_being_taken(self, near, monkeypatch):
        server, channel = near
        microscope = server.guard.microscope
        microscope.holds = True
        monkeypatch.setattr(serving, "_left", lambda context: 0.2)
        key = server.guard.lease.take("alice", 60)
        request = asdict(replace(REQUEST, request_id="the one"))
        message = wire.pack({"key": key, "request": request})
        call = channel.unary_unary(f"/{SERVICE}/acquire").future(message)
        assert microscope.scanning.wait(5)
        assert self.told(channel, "acquire", message) == ("DEADLINE_EXCEEDED", "true")
        microscope.go.set()
        assert dict(call.trailing_metadata())[SIMULATED] == "true"

    def test_a_mistake_of_ours(self, near, monkeypatch):
        monkeypatch.setattr(near[0].guard, "seen", lambda: 1 / 0)
        assert self.told(near[1], "state") == ("INTERNAL", "true")

    def test_whoever_is_not_let_in(self, served, folder):
        _, server = served(credentials=credentials.Credentials.of_server(folder / "server"))
        own = credentials.Credentials.of_client(folder / "observe")
        both = grpc.ssl_channel_credentials(own.authority, own.key, own.certificate)
        with grpc.secure_channel(f"127.0.0.1:{server.port}", both) as channel:
            assert self.told(channel, "state", token="guess") == ("UNAUTHENTICATED", "true")
            observes = own.tokens["observe"]
            assert self.told(channel, "take", token=observes) == ("PERMISSION_DENIED", "true")

    def test_of_a_real_one_it_says_that_too(self, near):
        near[0].simulated = False
        assert self.told(near[1], "state") == ("OK", "false")
        assert self.told(near[1], "nonsense") == ("UNIMPLEMENTED", "false")

    def test_whoever_drives_it_hears_it(self, served):
        _, server = served()
        own = served.client(server)
        own.open()
        own.simulated = None
        with pytest.raises(ConnectionLost, match="does not do nonsense: there is no such call"):
            own._ask("nonsense")
        assert own.simulated is True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of credentials of a server on the loopback, and of its clients."""
    made = tmp_path_factory.mktemp("credentials") / "mine"
    credentials.make(made, ["127.0.0.1", "localhost"])
    return made


class TestCredentials:
    def test_nobody_else_may_read_them(self, folder):
        assert len(list(folder.rglob("*"))) == 3 + 3 * 4
        assert all(p.stat().st_mode & 0o077 == 0 for p in (folder, *folder.rglob("*")))
        with pytest.raises(ValueError, match="holds something"):
            credentials.make(folder, ["127.0.0.1"])

    def test_beyond_the_loopback_they_are_needed(self, moody):
        with pytest.raises(ValueError, match="certificates and tokens are needed"):
            Server(guarded(moody()), host="0.0.0.0")

    def test_each_folder_holds_what_its_end_needs_and_no_more(self, folder):
        ends = {"server": "server", "control": "client", "observe": "client"}
        assert {p.name for p in folder.iterdir()} == set(ends)
        for end, named in ends.items():
            names = {p.name for p in (folder / end).iterdir()}
            assert names == {"authority.crt", f"{named}.crt", f"{named}.key", "tokens.json"}
        server = credentials.Credentials.of_server(folder / "server")
        control, observe = (
            credentials.Credentials.of_client(folder / end) for end in ("control", "observe")
        )
        assert control.tokens == {"control": server.tokens["control"]}
        assert observe.tokens == {"observe": server.tokens["observe"]}
        assert server.tokens["observe"] != server.tokens["control"]
        assert len({server.key, control.key, observe.key}) == 3
        whole = b"".join(p.read_bytes() for p in (folder / "observe").iterdir())
        assert control.tokens["control"].encode() not in whole

    def test_what_they_hold_is_not_shown(self, folder):
        mine = credentials.Credentials.of_client(folder / "control")
        assert mine.tokens["control"] not in repr(mine)
        assert "PRIVATE KEY" not in repr(mine)

    def test_with_them_it_is_driven(self, served, folder):
        _, server = served(credentials=credentials.Credentials.of_server(folder / "server"))
        mine = credentials.Credentials.of_client(folder / "control")
        own = served.client(server, credentials=mine)
        own.open()
        assert own.acquire(REQUEST).image.any()

    def test_the_right_to_observe_is_none_to_control(self, served, folder):
        _, server = served(credentials=credentials.Credentials.of_server(folder / "server"))
        mine = credentials.Credentials.of_client(folder / "observe")
        observer = replace(mine, tokens={"control": mine.tokens["observe"]})
        own = served.client(server, credentials=observer)
        with pytest.raises(LeaseError, match="take needs the right to control"):
            own.open()
        watcher = served.client(server, credentials=mine, right="observe")
        watcher.open()
        assert watcher.stop().answer == CONFIRMED

    def test_without_a_known_token_nothing_is_answered(self, served, folder):
        _, server = served(credentials=credentials.Credentials.of_server(folder / "server"))
        mine = credentials.Credentials.of_client(folder / "control")
        for tokens in ({"control": "guess"}, {}):
            own = served.client(server, credentials=replace(mine, tokens=tokens))
            with pytest.raises(LeaseError, match="a token that is known is needed"):
                own.open()

    def test_without_a_certificate_of_the_authority_nobody_gets_in(self, served, folder, tmp_path):
        _, server = served(credentials=credentials.Credentials.of_server(folder / "server"))
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            served.client(server).open()
        credentials.make(tmp_path / "other", ["127.0.0.1"])
        stranger = credentials.Credentials.of_client(tmp_path / "other" / "control")
        with pytest.raises(ConnectionLost, match="cannot be reached"):
            served.client(server, credentials=stranger).open()

    @pytest.mark.parametrize("missing", ["tokens.json", "server.key", "authority.crt"])
    def test_what_is_missing_is_told(self, folder, tmp_path, missing):
        part = tmp_path / "part"
        part.mkdir()
        for path in (folder / "server").iterdir():
            if path.name != missing:
                (part / path.name).write_bytes(path.read_bytes())
        with pytest.raises(ValueError, match=f"holds no credentials of a server .*{missing}"):
            credentials.Credentials.of_server(part)

    def test_the_folder_of_another_end_is_none(self, folder):
        for end in ("control", "observe"):
            with pytest.raises(ValueError, match="holds no credentials of a server"):
                credentials.Credentials.of_server(folder / end)
        for other in (folder, folder / "server"):
            with pytest.raises(ValueError, match="in folders server, control and observe"):
                credentials.Credentials.of_client(other)

    def test_a_client_has_one_token(self, folder, tmp_path):
        for path in (folder / "control").iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "tokens.json").write_text((folder / "server" / "tokens.json").read_text())
        with pytest.raises(ValueError, match="holds 2 tokens, and a client has one"):
            credentials.Credentials.of_client(tmp_path)
