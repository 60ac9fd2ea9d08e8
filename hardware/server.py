"""A microscope over gRPC: agents, notebooks and other programs drive it as if it were theirs.

Every call is unary, under ``/stemscout.Microscope/``, and every message is one of ``wire.py``:
JSON, and arrays as bytes.  Nothing is unpickled, and what cannot be understood is refused with a
sentence.  Every reply, a refusal too, says in its trailing metadata whether the microscope is
simulated.  On the loopback anybody may; on any other address both ends show certificates, and a
token says whether its bearer may observe or control.  One has control, for as long as there are
signs of life; abort and stop are open to all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from . import wire
from .credentials import Credentials, check_reach
from .errors import AcquisitionError, LeaseError, MicroscopeError
from .guard import Guard
from .microscope import Frame, ScanRequest

if TYPE_CHECKING:
    import grpc

SERVICE = "stemscout.Microscope"
LARGEST = 2**20  # bytes of what is asked
WORKERS, WAITING = 16, 8  # threads, and of these how many may wait for the instrument
REMEMBERED, REMEMBERED_BYTES = 64, 2**28  # answers by their request's id
LEASE_S = (1.0, 120.0)  # that may be asked for
WAIT_S = 86_400.0  # for which anything is waited for at most
TOKEN, SIMULATED = "token", "simulated"  # keys of metadata: of a call, and of a reply
OBSERVES = ("describe", "state", "latest", "abort", "stop")
CONTROLS = (
    "take", "alive", "release", "move_stage", "set_beam_shift", "acquire", "blank", "rearm",
)  # fmt: skip


class Refused(Exception):
    """A call that is not answered: a gRPC status and a sentence."""

    def __init__(self, status: str, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(eq=False)
class _Known:
    """A scan that was asked for, and its answer when that is there."""

    request: ScanRequest
    answer: futures.Future[bytes] = field(default_factory=futures.Future)

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.answer.result()) if self.answer.done() else 0


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
        check_reach(host, credentials)
        self.guard, self.credentials = guard, credentials
        self.simulated = guard.open().simulated
        self._latest: Frame | None = None
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()  # by lease and id
        self._knowing = threading.Lock()
        self._places = threading.Semaphore(WAITING)
        options = [
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._workers = futures.ThreadPoolExecutor(WORKERS)
        self._server = grpc.server(self._workers, options=options)
        self._server.add_generic_rpc_handlers((_Calls(lambda verb: self._handler(grpc, verb)),))
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
        """Blank, let go, and answer nobody any more; repeated calls are harmless."""
        try:
            self.guard.leave()  # first: a scan may be under way
        finally:
            self._server.stop(0.2).wait()
            self._workers.shutdown(wait=False)  # they are ours, and gRPC leaves them running

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _handler(self, grpc: Any, verb: str) -> Any:
        def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
            context.set_trailing_metadata(((SIMULATED, str(self.simulated).lower()),))
            try:
                self._admit(verb, dict(context.invocation_metadata()).get(TOKEN, ""))
                if not verb:
                    raise Refused("UNIMPLEMENTED", "there is no such call")
                told = _understood(message)
                return self._answered(verb, told, context)
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

    def _answered(self, verb: str, told: dict[str, Any], context: grpc.ServicerContext) -> bytes:
        """What a call gives, or the microscope's own error, as a message."""
        try:
            key = _key(told)
            if verb in CONTROLS and verb != "take":
                if key is None:
                    self.guard.lease.check(None)  # somebody else may have it
                    raise LeaseError(f"{verb} needs control; take it first")
                self.guard.alive(key)
            if verb == "acquire":
                return self._once(told, context)
            return self._reply(*self._called(verb, told, context))
        except MicroscopeError as error:
            return self._wrong(error)

    def _reply(self, data: Mapping[str, Any], arrays: Mapping[str, Any]) -> bytes:
        return wire.pack({"answer": data, "simulated": self.simulated}, arrays)

    def _wrong(self, error: MicroscopeError) -> bytes:
        return wire.pack({"error": wire.error_data(error), "simulated": self.simulated})

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Among those that wait for the instrument: threads are left for abort and stop."""
        if not self._places.acquire(blocking=False):
            raise Refused("RESOURCE_EXHAUSTED", "too many wait for the instrument already")
        try:
            yield
        finally:
            self._places.release()

    def _once(self, told: dict[str, Any], context: grpc.ServicerContext) -> bytes:
        """A frame; what was sent for an id that is known is not sent again."""
        request = _given(lambda: wire.request_of(told["request"]))
        timeout, left_s = _given(lambda: _seconds(told.get("timeout_s", 60.0))), _left(context)
        name, key = request.request_id, str(_key(told))
        with self._place():
            if not name:
                return self._taken(request, min(timeout, left_s), key, context)[0]
            own = _Known(request)
            with self._knowing:
                known = self._known.setdefault((key, name), own)
                self._forget()
            if known.request != request:
                raise Refused("INVALID_ARGUMENT", "another request had this id")
            if known is not own:
                try:
                    return known.answer.result(left_s)
                except futures.TimeoutError:
                    raise Refused("DEADLINE_EXCEEDED", "the frame is still being taken") from None
            reply, sent = self._taken(request, min(timeout, left_s), key, context)
            own.answer.set_result(reply)
            if not sent:
                with self._knowing:
                    self._known.pop((key, name), None)
            return reply

    def _forget(self) -> None:
        """The oldest answers, where there are too many; never what is being taken."""
        size = sum(k.size for k in self._known.values())
        for name, known in list(self._known.items()):
            if len(self._known) <= REMEMBERED and size <= REMEMBERED_BYTES:
                return
            if known.answer.done():
                size -= known.size
                del self._known[name]

    def _taken(
        self, request: ScanRequest, wait: float, key: str, context: grpc.ServicerContext
    ) -> tuple[bytes, bool]:
        """An answer, and whether electrons may have been sent for it."""
        try:
            frame = self.guard.acquire(request, wait, key=key, wanted=context.is_active)
            self._latest = frame
            return self._reply(*wire.frame_data(frame)), True
        except MicroscopeError as error:
            return self._wrong(error), error.sent
        except Exception as error:  # ours to mend; and nobody knows what was sent
            return self._wrong(AcquisitionError(f"unexpected {type(error).__name__}")), True

    def _called(
        self, verb: str, told: dict[str, Any], context: grpc.ServicerContext
    ) -> tuple[dict[str, Any], Mapping[str, Any]]:
        guard, key, wanted = self.guard, _key(told), context.is_active
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
        at_once: dict[str, Callable[[], Any]] = {
            "alive": lambda: guard.alive(key),
            "release": lambda: guard.lease.release(key or ""),
            "abort": guard.abort,
            "rearm": lambda: guard.rearm(key),
        }
        waiting: dict[str, Callable[[], Any]] = {
            "state": lambda: guard.seen() if key is None else guard.state(key=key),
            "blank": lambda: guard.blank(bool(told["on"]), key=key),
            "move_stage": lambda: guard.move_stage(
                _yx(told),
                min(_seconds(told.get("timeout_s", 30.0)), _left(context)),
                key=key,
                wanted=wanted,
            ),
            "set_beam_shift": lambda: guard.set_beam_shift(_yx(told), key=key, wanted=wanted),
        }
        if verb in at_once:
            answer = _given(at_once[verb])
        else:
            with self._place():
                answer = _given(waiting[verb])
        return ({} if answer is None else asdict(answer)), {}


class _Calls:
    """What answers each call, as gRPC looks for it; one that there is not is answered too."""

    def __init__(self, handler: Callable[[str], Any]) -> None:
        self._known = {f"/{SERVICE}/{verb}": handler(verb) for verb in (*OBSERVES, *CONTROLS)}
        self._unknown = handler("")

    def service(self, call: Any) -> Any:
        """The handler of a call."""
        return self._known.get(call.method, self._unknown)


def _left(context: grpc.ServicerContext) -> float:
    """Seconds for which whoever called will wait."""
    left: float | None = context.time_remaining()
    return WAIT_S if left is None else max(min(left, WAIT_S), 1e-3)


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
