"""A microscope that a server elsewhere drives (``server.py``), like any other."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from . import wire
from .costs import CostModel
from .credentials import Credentials
from .emergency import Stopped
from .errors import AbortedError, ConnectionLost, LeaseError, MicroscopeError, Unsupported
from .microscope import YX, Capabilities, Frame, ScanRequest, State
from .server import SERVICE, SIMULATED, TOKEN

LEASE_S = 10.0  # that is asked for; a third of it lies between two signs of life
CALL_S = 10.0  # deadline of what has none of its own
BEYOND_S = 5.0  # that a deadline exceeds the time-out of what is waited for
AGAIN_S = 5.0  # for which a frame is asked for again where the line was cut
LARGEST = 2**29  # bytes of an answer


class Unreachable(ConnectionLost):
    """Nobody answers there now."""


class RemoteMicroscope:
    """Satisfies the contract over gRPC.

    ``open`` takes control, and signs of life are given until ``close``, which blanks and gives
    control back; the server keeps the instrument open.  A frame whose answer was lost is asked for
    again by the id of its request, and never taken twice.

    Args:
        address: ``grpc://host:port``.
        credentials: of the client, where the server asks for them.
        right: ``control``, or ``observe`` to look on.
        owner: as others are told of who has control.

    Raises:
        ValueError: an address that is none.
        ImportError: grpcio is not installed.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials | None = None,
        right: str = "control",
        owner: str = "a remote client",
    ) -> None:
        scheme, _, where = address.partition("://")
        host, _, port = where.rpartition(":")
        if scheme != "grpc" or not host or not port.isdigit():
            raise ValueError(f"{address!r} must be grpc://host:port")
        if right not in ("observe", "control"):
            raise ValueError(f"unknown right {right!r}; there are: observe, control")
        try:
            import grpc
        except ImportError as error:
            raise ImportError("grpc:// needs grpcio: pip install 'stemscout[live]'") from error
        self._grpc: Any = grpc
        self.address, self._where = address, where
        self._credentials, self._right, self._owner = credentials, right, owner
        self._channel: Any = None
        self._key: str | None = None
        self._over = threading.Event()
        self._ended = 0  # times that whatever is under way was to end
        self.costs = CostModel()
        self.simulated: bool | None = None

    def open(self) -> Capabilities:
        """Connect, take control, and give signs of life from then on."""
        if self._channel is None:
            self._channel = self._connected()
            try:
                if self._right == "control":
                    told = {"owner": self._owner, "seconds": LEASE_S}
                    self._key = self._ask("take", told)[0]["key"]
                    self._over = threading.Event()
                    lives = threading.Thread(
                        target=self._live, args=(self._over,), name="signs of life", daemon=True
                    )
                    lives.start()
            except BaseException:
                self._hang_up()
                raise
        data, _ = self._ask("describe")
        self.costs = CostModel(**data["costs"])
        return wire.capabilities_of(data["capabilities"])

    def state(self) -> State:
        return wire.state_of(self._ask("state")[0])

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        told = {"yx_nm": list(yx_nm), "timeout_s": timeout_s}
        return wire.state_of(self._ask("move_stage", told, timeout_s + BEYOND_S)[0])

    def set_beam_shift(self, yx_nm: YX) -> State:
        return wire.state_of(self._ask("set_beam_shift", {"yx_nm": list(yx_nm)})[0])

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        sent = request if request.request_id else replace(request, request_id=uuid.uuid4().hex)
        told = {"request": asdict(sent), "timeout_s": timeout_s}
        wait = max(timeout_s, 2.0 * self.costs.time_s(request)) + BEYOND_S
        lost: float | None = None
        ended = self._ended
        while True:
            try:
                data, arrays = self._ask("acquire", told, wait)
                return replace(wire.frame_of(data, arrays), request=request)
            except Unreachable as error:  # perhaps the answer alone was lost
                lost = lost or time.monotonic()
                if time.monotonic() - lost > AGAIN_S:
                    raise
                time.sleep(AGAIN_S / 25)
                if ended != self._ended:
                    raise AbortedError(
                        f"the scan was ended while {self.address} could not be reached; nobody "
                        "knows whether it was taken"
                    ) from error

    def blank(self, on: bool) -> State:
        if on:
            self._ended += 1
        return wire.state_of(self._ask("blank", {"on": on})[0])

    def abort(self) -> None:
        self._ended += 1
        self._ask("abort")

    def stop(self, reason: str = "a client stopped it") -> Stopped:
        """Stop whatever is driven there, whoever has control."""
        self._ended += 1
        return Stopped(**self._ask("stop", {"reason": reason})[0])

    def latest(self) -> Frame | None:
        """The latest frame that anybody took, without taking another."""
        data, arrays = self._ask("latest")
        return wire.frame_of(data, arrays) if data else None

    def rearm(self) -> None:
        """After a stop: it may be driven again, says whoever has control."""
        self._ask("rearm")

    def close(self) -> None:
        """Blank, give control back, and hang up."""
        try:
            if self._channel is not None and self._key is not None:
                with suppress(Unsupported):
                    self.blank(True)
        finally:
            self.leave()

    def leave(self) -> None:
        """Give control back and hang up, with the beam as it is; repeated calls are harmless."""
        if self._channel is None:
            return
        self._over.set()
        try:
            if self._key is not None:
                with suppress(LeaseError):
                    self._ask("release")
        finally:
            self._hang_up()

    def _connected(self) -> Any:
        grpc = self._grpc
        options = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.enable_http_proxy", 0),
        ]
        own = self._credentials
        if own is None:
            return grpc.insecure_channel(self._where, options)
        both = grpc.ssl_channel_credentials(own.authority, own.key, own.certificate)
        return grpc.secure_channel(self._where, both, options)

    def _hang_up(self) -> None:
        self._over.set()
        channel, self._channel, self._key = self._channel, None, None
        if channel is not None:
            channel.close()

    def _ask(
        self, verb: str, told: Mapping[str, Any] | None = None, deadline_s: float | None = None
    ) -> tuple[dict[str, Any], Any]:
        deadline_s = CALL_S if deadline_s is None else deadline_s
        if self._channel is None:
            raise ConnectionLost(f"{self.address} is closed; call open() first")
        grpc = self._grpc
        own = self._credentials
        token = () if own is None else ((TOKEN, own.tokens.get(self._right, "")),)
        message = wire.pack({"key": self._key, **(told or {})})
        call = self._channel.unary_unary(f"/{SERVICE}/{verb}")
        try:
            data, arrays = wire.unpack(call(message, timeout=deadline_s, metadata=token))
        except grpc.RpcError as error:
            raise self._lost(verb, error, deadline_s) from error
        except ValueError as error:
            if self._channel is None:
                raise ConnectionLost(f"{self.address} was closed meanwhile") from error
            raise ConnectionLost(f"{self.address} answers {verb} with rubbish: {error}") from error
        self.simulated = bool(data.get("simulated"))
        if "error" in data:
            raise wire.error_of(data["error"])
        return data["answer"], arrays

    def _lost(self, verb: str, error: Any, deadline_s: float) -> MicroscopeError:
        """What a call that failed means."""
        code, said = error.code(), error.details()
        simulated = dict(error.trailing_metadata() or ()).get(SIMULATED)
        if simulated is not None:
            self.simulated = simulated == "true"
        names = self._grpc.StatusCode
        if code == names.DEADLINE_EXCEEDED:
            return ConnectionLost(f"{self.address} has not answered {verb} in {deadline_s:g} s")
        if code in (names.UNAUTHENTICATED, names.PERMISSION_DENIED):
            return LeaseError(f"{self.address} refuses {verb}: {said}")
        if code == names.INVALID_ARGUMENT:
            return Unsupported(f"{self.address} does not understand {verb}: {said}")
        if code == names.UNAVAILABLE:
            return Unreachable(f"{self.address} cannot be reached for {verb}: {said}")
        return ConnectionLost(f"{self.address} does not do {verb}: {said}")

    def _live(self, over: threading.Event) -> None:
        """Give signs of life; where they are refused or lost, the next call says so."""
        while not over.wait(LEASE_S / 3):
            with suppress(MicroscopeError):
                self._ask("alive", deadline_s=LEASE_S / 3)
