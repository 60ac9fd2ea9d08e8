"""Arrays in a file that nobody can hide code in: safetensors, with strings about them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
OTHER_KINDS = (TypeError, KeyError, AttributeError)  # raised of numbers that NumPy has not


def to_bytes(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays of any shapes, as a file would hold them."""
    from safetensors.numpy import save

    return save({k: np.asarray(v, order="C") for k, v in arrays.items()})


def from_bytes(data: bytes, what: str = "the data") -> Arrays:
    """What ``to_bytes`` made.

    Args:
        data: all of it.
        what: it is called in a sentence.

    Raises:
        ValueError: damaged, cut short, or with numbers that NumPy has not.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(data))
    except (SafetensorError, *OTHER_KINDS) as error:
        raise ValueError(f"{what} is no safetensors file, or a damaged one: {error}") from error


def write(
    path: str | Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]
) -> None:
    """Arrays and strings about them into a file; its folder is made."""
    from safetensors.numpy import save

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    held = {k: np.asarray(v, order="C") for k, v in arrays.items()}
    # Not save_file, whose files only their owner may read.
    Path(path).write_bytes(save(held, metadata=dict(metadata)))


def read(path: str | Path) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file, and the strings about them.

    Raises:
        ValueError: no such file, a damaged one, or one with numbers that NumPy has not.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ValueError(f"{path} cannot be read: there is no such file")
    try:
        with safe_open(str(path), framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except (SafetensorError, OSError, *OTHER_KINDS) as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error
