"""What files of several trained networks have in common: members that differ by their seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from ..perception.array_files import Arrays

State = Mapping[str, torch.Tensor]
T = TypeVar("T")


def path_of(what: str, folder: Path, name: str | Path) -> Path:
    """A file, or that of the specimen in a folder of the package.

    Raises:
        ValueError: there is none.
    """
    shipped = folder / f"{name}.safetensors"
    if shipped.is_file():
        return shipped
    if name and Path(name).is_file():
        return Path(name)
    known = ", ".join(sorted(p.stem for p in folder.glob("*.safetensors"))) or "none"
    raise ValueError(
        f"no {what} {str(name)!r}; in the package there are those for: {known}; or give the "
        "path of a file"
    )


def packed(states: Sequence[State]) -> Arrays:
    """The parameters of all members; half precision is enough for a network's numbers."""
    return {
        f"{k}.{name}": value.detach().half().numpy()
        for k, state in enumerate(states)
        for name, value in state.items()
    }


def unpacked(arrays: Arrays) -> list[dict[str, torch.Tensor]]:
    """What ``packed`` was given; ValueError where the names are others."""
    states: list[dict[str, torch.Tensor]] = []
    for k in range(1 + max(int(name.partition(".")[0]) for name in arrays)):
        own = {n.partition(".")[2]: v for n, v in arrays.items() if n.startswith(f"{k}.")}
        states.append({name: torch.from_numpy(value).float() for name, value in own.items()})
    return states


def chosen(members: Sequence[T], card: Mapping[str, Any], number: int | None) -> T:
    """One of the members; by default that which the card calls the median."""
    number = int(card.get("median", 0)) if number is None else number
    if not 0 <= number < len(members):
        raise ValueError(f"member {number}; the file has {len(members)}, from 0 on")
    return members[number]


def median(reached: Sequence[float]) -> int:
    """The number of the member that reached the median; of two the lesser."""
    order = sorted(range(len(reached)), key=lambda k: reached[k])
    return order[(len(order) - 1) // 2]
