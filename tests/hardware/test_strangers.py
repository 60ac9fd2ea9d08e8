"""Whoever comes over the wire: those who send rubbish, and those who are not let in."""

from __future__ import annotations

import os
import random
import socket
from dataclasses import asdict, replace

import numpy as np
import pytest

from stemscout.hardware import ConnectionLost, ScanRequest, wire
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.errors import LeaseError
from stemscout.hardware.guard import guarded

grpc = pytest.importorskip("grpc")
from stemscout.hardware import credentials  # noqa: E402
from stemscout.hardware.server import SERVICE, Server  # noqa: E402

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


class TestRubbish:
    VERBS = ("describe", "state", "take", "acquire", "blank", "move_stage", "stop", "nonsense")

    def fuzzed(self, server, times, seed):
        """Rubbish of many kinds; what is answered, by status."""
        rng, statuses = random.Random(seed), {}
        key = server.guard.lease.take("who sends rubbish", 600)
        usual = {"key": key, "request": asdict(REQUEST), "yx_nm": [0, 0], "on": True}
        sound = wire.pack(usual)
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            for _ in range(times):
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
                    field = rng.choice(["request", "yx_nm", "on", "seconds", "key", "timeout_s"])
                    message = bytearray(wire.pack({**usual, field: odd}))
                verb = rng.choice([v for v in self.VERBS if v != "stop"])
                try:
                    answer = channel.unary_unary(f"/{SERVICE}/{verb}")(bytes(message), timeout=10)
                    said, status = str(wire.unpack(answer)[0].get("error", "")), "answered"
                except grpc.RpcError as error:
                    said, status = error.details(), error.code().name
                assert "Traceback" not in said
                assert 'File "' not in said
                if status in ("INTERNAL", "UNKNOWN"):
                    status = f"{status}: {said}"
                statuses[status] = statuses.get(status, 0) + 1
        return statuses

    def test_rubbish_never_kills_it_nor_reveals_a_traceback(self, served):
        _, server = served()
        statuses = self.fuzzed(server, 300, 0)
        assert not [s for s in statuses if s.startswith(("INTERNAL", "UNKNOWN"))], statuses
        server.guard.lease.end()
        own = served.client(server)
        own.open()
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
