"""Arrays in a file that nobody can hide code in: the safetensors format.

Eight bytes with the length of a header, the header in JSON, and the plain numbers after it
(https://github.com/huggingface/safetensors, "Format").  Here all arrays are float32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
DTYPE = "F32"
METADATA = "__metadata__"
ALIGNED = 8  # bytes, where the numbers begin; the header is filled up with spaces


def to_bytes(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Arrays of any shapes, and strings about them, as a file would hold them."""
    header: dict[str, Any] = {METADATA: dict(metadata)}
    parts, begin = [], 0
    for name, array in arrays.items():
        part = np.asarray(array, dtype="<f4").tobytes()
        header[name] = {
            "dtype": DTYPE,
            "shape": list(np.shape(array)),
            "data_offsets": [begin, begin + len(part)],
        }
        parts.append(part)
        begin += len(part)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % ALIGNED)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def from_bytes(data: bytes, what: str = "the data") -> tuple[Arrays, dict[str, str]]:
    """What ``to_bytes`` made, or anybody else in this format.

    Args:
        data: all of it.
        what: it is called in a sentence.

    Raises:
        ValueError: damaged, cut short, or with arrays of other kinds.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        if len(data) < 8 or length > len(data) - 8:
            raise ValueError("it is too short")
        header = json.loads(data[8 : 8 + length])
        metadata = header.pop(METADATA, {})
        if not all(isinstance(v, str) for v in metadata.values()):
            raise ValueError("its metadata are no strings")
        numbers = data[8 + length :]
        arrays = {name: _array(entry, numbers) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{what} is no safetensors file, or a damaged one: {error}") from error
    return arrays, metadata


def write(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Arrays and strings about them into a file."""
    Path(path).write_bytes(to_bytes(arrays, metadata))


def read(path: str | Path) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file, and the strings about them.

    Raises:
        ValueError: no such file, or one that ``from_bytes`` refuses.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    return from_bytes(data, str(path))


def _array(entry: Mapping[str, Any], numbers: bytes) -> NDArray[np.float32]:
    """One of the arrays that the numbers hold."""
    if entry["dtype"] != DTYPE:
        raise ValueError(f"an array of {entry['dtype']}; all must be {DTYPE}")
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    if not 0 <= begin <= end <= len(numbers):
        raise ValueError("an array reaches beyond its end")
    return np.frombuffer(numbers[begin:end], dtype="<f4").reshape(shape).astype(np.float32)
