"""The contract's objects as plain data: what a journal keeps and what processes tell each other.

A message is JSON with arrays beside it, as bytes.  Nothing in it is code, so it can be read from
a file or a socket that nobody vouches for.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, replace
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .errors import AcquisitionError, MicroscopeError
from .microscope import Capabilities, Frame, Limits, ScanRegion, ScanRequest, State

Arrays = Mapping[str, NDArray[Any]]
LENGTH = struct.Struct("<I")  # of the JSON that begins a message
KINDS = "biuf"  # of arrays: numbers
DIMENSIONS = 4  # of an array at most
ERRORS: dict[str, type[MicroscopeError]] = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, MicroscopeError)
}


def pack(data: Mapping[str, Any], arrays: Arrays | None = None) -> bytes:
    """A message: what JSON can hold, and arrays of numbers by name."""
    given = {k: np.ascontiguousarray(v) for k, v in (arrays or {}).items()}
    for name, array in given.items():
        if array.dtype.kind not in KINDS:
            raise ValueError(f"the array {name!r} holds {array.dtype}; it must hold numbers")
        if array.ndim > DIMENSIONS:
            raise ValueError(f"the array {name!r} has {array.ndim} dimensions, not {DIMENSIONS}")
    # Little endian, whatever the machine.
    given = {k: v.astype(v.dtype.newbyteorder("<"), copy=False) for k, v in given.items()}
    told = {
        "data": data,
        "arrays": [[name, a.dtype.str, list(a.shape)] for name, a in given.items()],
    }
    head = json.dumps(told, default=_plain, separators=(",", ":")).encode()
    return b"".join([LENGTH.pack(len(head)), head, *(a.tobytes() for a in given.values())])


def unpack(message: bytes | memoryview) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What ``pack`` was given.

    Raises:
        ValueError: it is no such message, or more or less than one.
    """
    view = memoryview(message)
    try:
        (length,) = LENGTH.unpack_from(view)
        at = LENGTH.size + length
        told = json.loads(bytes(view[LENGTH.size : at]))
        data, arrays = dict(told["data"]), {}
        for name, kind, shape in told["arrays"]:
            dtype = np.dtype(str(kind))
            if dtype.kind not in KINDS or len(shape) > DIMENSIONS:
                raise ValueError(f"an array of {dtype} in {len(shape)} dimensions")
            if not all(isinstance(n, int) and n >= 0 for n in shape):
                raise ValueError(f"an array of shape {shape}")
            size = dtype.itemsize * int(np.prod(shape, dtype=object))
            if at + size > len(view):
                raise ValueError("it is cut short")
            arrays[str(name)] = np.frombuffer(view[at : at + size], dtype).reshape(shape).copy()
            at += size
    except (struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this is no message: {error}") from error
    if at != len(view):
        raise ValueError(f"this is no message: {len(view) - at} bytes follow it")
    return data, arrays


def _plain(value: Any) -> Any:
    """What drivers put into metadata, as JSON has it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


def frame_data(frame: Frame) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """A frame as JSON and its readings."""
    data = {
        "request": asdict(frame.request),
        "region": asdict(frame.region),
        "valid_rows": frame.valid_rows,
        "charge_e": frame.charge_e,
        "time_s": frame.time_s,
        "state": asdict(frame.state),
        "metadata": dict(frame.metadata),
    }
    return data, dict(frame.data)


def frame_of(data: Mapping[str, Any], arrays: Arrays) -> Frame:
    """A frame from JSON and its readings; ValueError where it is none."""
    try:
        return Frame(
            request_of(data["request"]),
            ScanRegion(**_tupled(data["region"])),
            {name: np.asarray(a, dtype=np.float32) for name, a in arrays.items()},
            int(data["valid_rows"]),
            data["charge_e"],
            float(data["time_s"]),
            state_of(data["state"]),
            dict(data["metadata"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no frame: {error}") from error


def request_of(data: Mapping[str, Any]) -> ScanRequest:
    """A scan request from JSON; ValueError where it is none."""
    try:
        given = ScanRequest(**_tupled(data))
        rows, columns = given.shape_yx
        if not all(isinstance(d, str) for d in (*given.detectors, given.request_id)):
            raise TypeError("detectors and request_id are names")
        return replace(
            given,
            centre_yx_nm=_pair(given.centre_yx_nm),
            fov_yx_nm=_pair(given.fov_yx_nm),
            shape_yx=(index(rows), index(columns)),
            dwell_us=float(given.dwell_us),
            rotation_rad=float(given.rotation_rad),
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(f"this is no scan request: {error}") from error


def state_of(data: Mapping[str, Any]) -> State:
    """A state from JSON; ValueError where it is none."""
    try:
        return State(**_tupled(data))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"this is no state: {error}") from error


def capabilities_of(data: Mapping[str, Any]) -> Capabilities:
    """Capabilities from JSON; ValueError where it is none."""
    try:
        given = _tupled(data)
        given["limits"] = Limits(**_tupled(data["limits"]))
        given["full_scale"] = _tupled(data["full_scale"])
        return Capabilities(**given)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"these are no capabilities: {error}") from error


def error_data(error: BaseException) -> dict[str, str]:
    """An error as JSON: the contract's kind, and its own text."""
    kinds = [k.__name__ for k in type(error).__mro__ if k.__name__ in ERRORS]
    text = str(error) or type(error).__name__
    return {"kind": kinds[0], "text": text} if kinds else {"kind": "", "text": named(error)}


def error_of(data: Mapping[str, Any]) -> MicroscopeError:
    """An error from JSON; what is none of the contract's is one of acquisition."""
    return ERRORS.get(str(data.get("kind")), AcquisitionError)(str(data.get("text")))


def named(error: BaseException) -> str:
    """A driver's error in its own words, with the name it has there."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _pair(given: Any) -> tuple[float, float]:
    y, x = given
    return float(y), float(x)


def _tupled(data: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, which JSON has for tuples, as tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
