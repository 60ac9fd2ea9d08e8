"""Where a training stands, as a file: what was learned, and how far it got.

Tensors in safetensors and the rest in its header as JSON: nobody can hide code in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from .. import array_files
from .network import UNet

KIND = "stemscout dcnn training"


def keep(
    path: Path,
    step: int,
    of: Mapping[str, Any],
    network: UNet,
    average: UNet,
    optimizer: Any,
    snapshots: Sequence[UNet],
) -> None:
    """Write a checkpoint in the place of the last.

    Args:
        path: of the file.
        step: steps that were taken.
        of: which training it is, as JSON; another is refused.
        network, average: with their norms.
        optimizer: Adam.
        snapshots: so far.
    """
    states = {"network": network, "average": average}
    states |= {f"snapshot {k}": own for k, own in enumerate(snapshots)}
    arrays = {
        f"{name}/{k}": value.numpy()
        for name, module in states.items()
        for k, value in module.state_dict().items()
    }
    for k, moments in optimizer.state_dict()["state"].items():
        arrays |= {f"adam/{k}/{name}": value.numpy() for name, value in moments.items()}
    said = {"step": step, "snapshots": len(snapshots), "of": dict(of)}
    part = path.with_suffix(".part")
    array_files.write(part, arrays, {"kind": KIND, "said": json.dumps(said)})
    part.replace(path)


def restored(
    path: Path, of: Mapping[str, Any], network: UNet, average: UNet, optimizer: Any
) -> tuple[int, list[UNet]]:
    """Steps that were taken, and the snapshots; the others are as they were then.

    Raises:
        ValueError: damaged, no checkpoint, or one of another training.
    """
    advice = "remove it to begin anew"
    try:
        arrays, metadata = array_files.read(path)
        if metadata.get("kind") != KIND:
            raise ValueError(f"{path} holds something else")
    except ValueError as error:
        raise ValueError(
            f"cannot go on from {path}: it is damaged, or no checkpoint; {advice}"
        ) from error
    try:
        said = json.loads(metadata["said"])
        differs = [k for k in of if said["of"].get(k) != of[k]]
        if differs:
            told = ", ".join(f"{k} {said['of'].get(k)}" for k in differs)
            raise ValueError(f"it is of a training with another {' and '.join(differs)}: {told}")
        states: dict[str, dict[str, Any]] = {}
        for key, array in arrays.items():
            name, _, rest = key.partition("/")
            states.setdefault(name, {})[rest] = torch.from_numpy(array.copy())
        network.load_state_dict(states["network"])
        average.load_state_dict(states["average"])
        moments: dict[int, dict[str, Any]] = {}
        for key, value in states["adam"].items():
            k, _, name = key.partition("/")
            moments.setdefault(int(k), {})[name] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        snapshots = []
        for number in range(said["snapshots"]):
            snapshots.append(deepcopy(average).eval())
            snapshots[-1].load_state_dict(states[f"snapshot {number}"])
        return int(said["step"]), snapshots
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ValueError(f"cannot go on from {path}: {error}; {advice}") from error
