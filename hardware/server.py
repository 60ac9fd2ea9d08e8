"""A microscope over gRPC: agents, notebooks and other programs drive it as if it were theirs.

Every call is unary, under ``/stemscout.Microscope/``, and every message is one of ``wire.py``:
JSON, and arrays as bytes.  Nothing is unpickled, and what cannot be understood is refused with a
sentence.  On the loopback anybody may; on any other address both ends show certificates, and a
token says whether its bearer may observe or control.  One has control, for as long as there are
signs of life; abort and stop are open to all.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent import futures
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import wire
from .credentials import Credentials
from .errors import LeaseError, MicroscopeError
from .guard import Guard
from .microscope import Frame, ScanRequest

if TYPE_CHECKING:
    import grpc

SERVICE = "stemscout.Microscope"
LARGEST = 2**20  # bytes of what is asked
WORKERS, WAITING = 16, 8  # threads, and of these how many may wait for the instrument
REMEMBERED = 64  # frames by their request's id
LEASE_S = (1.0, 120.0)  # that may be asked for
WAIT_S = 86_400.0  # for which anything is waited for at most
TOKEN = "token"  # the metadata's key
OBSERVES = ("describe", "state", "latest", "abort", "stop")
CONTROLS = (
    "take", "alive", "release", "move_stage", "set_beam_shift", "acquire", "blank", "rearm",
)  # fmt: skip


class Refused(Exception):
    """A call that is not answered: a gRPC status and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Server:
    """Serves one guarded microscope until it is closed.

    Args:
        guard: opened here, and closed, with its beam blanked, by ``close``.
        host, port: where; port 0 takes a free one (``port`` has it then).
        credentials: of the server; needed on any address but the loopback.

    Raises:
        ValueError: an address beyond the loopback without credentials, or one that is taken.
        ImportError: grpcio is not installed.
    """

    def __init__(
        self,
        guard: Guard,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: Credentials | None = None,
    ) -> None:
        try:
            import grpc
        except ImportError as error:
            raise ImportError("a server needs grpcio: pip install 'stemscout[live]'") from error
        if credentials is None and not _is_loopback(host):
            raise ValueError(
                f"{host} can be reached from elsewhere: certificates and tokens are needed "
                "(--credentials; --init-credentials makes them)"
            )
        self.guard, self.credentials = guard, credentials
        self.simulated = guard.open().simulated
        self._latest: Frame | None = None
        self._known: OrderedDict[str, futures.Future[bytes]] = OrderedDict()
        self._knowing = threading.Lock()
        self._places = threading.Semaphore(WAITING)
        options = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._workers = futures.ThreadPoolExecutor(WORKERS)
        self._server = grpc.server(self._workers, options=options)
        handlers = {verb: self._handler(grpc, verb) for verb in (*OBSERVES, *CONTROLS)}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(where)
            else:
                pair = ((credentials.key, credentials.certificate),)
                both = grpc.ssl_server_credentials(pair, credentials.authority, True)
                self.port = self._server.add_secure_port(where, both)
        except RuntimeError as error:
            raise ValueError(f"{where} cannot be served: {error}") from error
        self._server.start()

    def wait(self) -> None:
        """Until it is closed."""
        self._server.wait_for_termination()

    def close(self) -> None:
        """Answer nobody any more, blank, and let go; repeated calls are harmless."""
        self._server.stop(0.2).wait()
        self._workers.shutdown(wait=False)  # they are ours, and gRPC leaves them running
        self.guard.leave()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handler(self, grpc: Any, verb: str) -> Any:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            try:
                self._admit(verb, dict(context.invocation_metadata()).get(TOKEN, ""))
                told = _understood(message)
                return self._answered(verb, told, context.time_remaining())
            except Refused as error:
                context.abort(getattr(grpc.StatusCode, error.status), str(error))
            except Exception as error:  # ours to mend; no page of code leaves the machine
                context.abort(grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}")
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(answer)

    def _admit(self, verb: str, token: str) -> None:
        if self.credentials is None:
            return
        right = self.credentials.right_of(token)
        if right is None:
            raise Refused("UNAUTHENTICATED", "a token that is known is needed")
        if verb in CONTROLS and right != "control":
            raise Refused("PERMISSION_DENIED", f"{verb} needs the right to control")

    def _answered(self, verb: str, told: dict[str, Any], left_s: float | None) -> bytes:
        """What a call gives, or the microscope's own error, as a message."""
        if verb == "acquire":
            return self._once(told, left_s)
        try:
            return self._reply(*self._called(verb, told, left_s))
        except MicroscopeError as error:
            return self._wrong(error)

    def _reply(self, data: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
        return wire.pack({"answer": data, "simulated": self.simulated}, arrays)

    def _wrong(self, error: MicroscopeError) -> bytes:
        return wire.pack({"error": wire.error_data(error), "simulated": self.simulated})

    def _once(self, told: dict[str, Any], left_s: float | None) -> bytes:
        """A frame; one whose request's id is known is not taken again."""
        request = _given(lambda: wire.request_of(told["request"]))
        timeout = _given(lambda: _seconds(told.get("timeout_s", 60.0)))
        wait = timeout if left_s is None else min(timeout, left_s)
        name = request.request_id
        with self._knowing:
            known = self._known.get(name) if name else None
            if known is None:
                coming: futures.Future[bytes] = futures.Future()
                if name:
                    self._known[name] = coming
                    while len(self._known) > REMEMBERED:
                        self._known.popitem(last=False)
        if known is not None:
            # The lease is looked at all the same.
            try:
                self.guard.alive(_key(told))
            except LeaseError as error:
                raise Refused("PERMISSION_DENIED", str(error)) from error
            try:
                return known.result(left_s)
            except futures.TimeoutError:
                raise Refused("DEADLINE_EXCEEDED", "the frame is still being taken") from None
        try:
            reply = self._taken(request, wait, _key(told))
        except BaseException as error:
            with self._knowing:
                self._known.pop(name, None)
            coming.set_exception(error)
            raise
        coming.set_result(reply)
        return reply

    def _taken(self, request: ScanRequest, wait: float, key: str | None) -> bytes:
        if not self._places.acquire(blocking=False):
            raise Refused("RESOURCE_EXHAUSTED", "too many wait for the instrument already")
        try:
            frame = self.guard.acquire(request, wait, key=key)
        except MicroscopeError as error:
            return self._wrong(error)
        finally:
            self._places.release()
        self._latest = frame
        return self._reply(*wire.frame_data(frame))

    def _called(
        self, verb: str, told: dict[str, Any], left_s: float | None
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        guard, key = self.guard, _key(told)
        if verb == "describe":
            told_of = {**asdict(guard.open()), "remembers_requests": True}
            return {"capabilities": told_of, "costs": asdict(guard.costs)}, {}
        if verb == "latest":
            return ({}, {}) if self._latest is None else wire.frame_data(self._latest)
        if verb == "stop":
            reason = str(told.get("reason", "a client"))[:200]
            return asdict(guard.stop(reason)), {}
        if verb == "take":
            seconds = _given(lambda: float(told["seconds"]))
            if not LEASE_S[0] <= seconds <= LEASE_S[1]:
                raise LeaseError(f"a lease of {seconds:g} s; {LEASE_S[0]:g} to {LEASE_S[1]:g} s")
            return {"key": guard.lease.take(str(told.get("owner", "a client"))[:80], seconds)}, {}
        if verb == "state":
            return asdict(guard.seen() if key is None else guard.state(key=key)), {}
        verbs: dict[str, Callable[[], Any]] = {
            "alive": lambda: guard.alive(key),
            "release": lambda: guard.lease.release(key or ""),
            "abort": guard.abort,
            "rearm": lambda: guard.rearm(key),
            "blank": lambda: guard.blank(bool(told["on"]), key=key),
            "move_stage": lambda: guard.move_stage(
                _yx(told), min(_seconds(told.get("timeout_s", 30.0)), left_s or WAIT_S), key=key
            ),
            "set_beam_shift": lambda: guard.set_beam_shift(_yx(told), key=key),
        }
        answer = _given(verbs[verb])
        return ({} if answer is None else asdict(answer)), {}


def _understood(message: bytes) -> dict[str, Any]:
    told: dict[str, Any] = _given(lambda: wire.unpack(message)[0])
    return told


def _given(call: Callable[[], Any]) -> Any:
    """What a call gives; what was given to it and makes no sense is the caller's fault."""
    try:
        return call()
    except MicroscopeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Refused("INVALID_ARGUMENT", f"this call makes no sense: {error!r:.200}") from error


def _key(told: Mapping[str, Any]) -> str | None:
    key = told.get("key")
    return None if key is None else str(key)


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds <= WAIT_S:
        raise ValueError(f"a time-out of {seconds} s; it must be above 0 and at most {WAIT_S:g}")
    return seconds


def _yx(told: Mapping[str, Any]) -> tuple[float, float]:
    y, x = told["yx_nm"]
    return float(y), float(x)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
