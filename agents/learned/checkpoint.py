"""Where a training by reinforcement stands, in a file from which it goes on exactly.

It holds the networks and their optimisers, the episodes as they are, what was replayed from, and
every random generator.  Nothing in it is code: torch reads it with ``weights_only``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .rehearsal_env import RehearsalEnv

# Of a rehearsal: all that changes.
ARRAYS = ("there", "weight", "taken", "_hit", "_false")
COUNTERS = ("num_timesteps", "_n_updates", "_n_calls", "_episode_num", "exploration_rate")
REPLAYED = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")


def save(
    path: Path,
    model: Any,
    env: RehearsalEnv,
    about: dict[str, Any],
    best: dict[str, torch.Tensor],
) -> None:
    """Write where a model of Stable-Baselines3 stands; the file appears complete or not at all.

    Args:
        path: of the file.
        model: it, between two rollouts.
        env: that it is trained in.
        about: whatever else is to come back; plain data.
        best: parameters, the best so far.
    """
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {
            "about": json.dumps(about),
            "parameters": model.get_parameters(),
            "best": best,
            "variables": {k: getattr(model, k).detach() for k in model._get_torch_save_params()[1]},
            "counters": {k: getattr(model, k) for k in COUNTERS if hasattr(model, k)},
            "actions": json.dumps(env.action_space.np_random.bit_generator.state),
            "starts": torch.from_numpy(np.asarray(model._last_episode_starts)),
            "torch": torch.get_rng_state(),
            "numpy": _global_state(),
            "episodes": _episodes(env),
            "replayed": _replayed(model),
        },
        part,
    )
    os.replace(part, path)


def load(path: Path) -> dict[str, Any]:
    """What a file holds.

    Raises:
        ValueError: it is cut short, damaged or something else.
    """
    try:
        held = torch.load(path, weights_only=True)
        held["about"] = json.loads(held["about"])
    except Exception as error:  # torch raises whatever it stumbles over
        raise ValueError(
            f"{path} is no checkpoint, or a damaged one: remove it to begin anew"
        ) from error
    return dict(held)


def restore(held: dict[str, Any], model: Any, env: RehearsalEnv) -> None:
    """Put a model and its environment where they were.

    Raises:
        ValueError: the checkpoint is of another kind of model.
    """
    try:
        model.set_parameters(held["parameters"], exact_match=True)
        for name, value in held["counters"].items():
            setattr(model, name, value)
        for name, value in held["variables"].items():
            getattr(model, name).data.copy_(value)
        _set_episodes(env, held["episodes"])
        _set_replayed(model, held["replayed"])
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"the checkpoint is of another training: {error}") from error
    env.action_space.np_random.bit_generator.state = json.loads(held["actions"])
    model._last_obs = env.observed()
    model._last_episode_starts = held["starts"].numpy()
    torch.set_rng_state(held["torch"])
    _set_global_state(held["numpy"])


def _global_state() -> dict[str, Any]:
    """Of NumPy's global generator, which Stable-Baselines3 shuffles with."""
    name, keys, at, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002
    told = torch.from_numpy(np.asarray(keys, dtype=np.int64))
    return {"name": str(name), "keys": told, "at": at, "has": has_gauss, "gauss": float(gauss)}


def _set_global_state(held: dict[str, Any]) -> None:
    keys = held["keys"].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002
        (held["name"], keys, held["at"], held["has"], held["gauss"])
    )


def _changing(env: RehearsalEnv) -> dict[str, NDArray[Any]]:
    """The arrays of its episodes, by name; they change in place."""
    own = env.rehearsal
    return {name: getattr(own, name) for name in ARRAYS} | {
        "looks": own.evidence.looks,
        "sums": own.evidence.sums,
        "map": own.told.map,
        "scanned": own.told.scanned,
        "earned": env.earned,
    }


def _episodes(env: RehearsalEnv) -> dict[str, Any]:
    own = env.rehearsal
    return {
        "arrays": {k: torch.from_numpy(v) for k, v in _changing(env).items()},
        "rng": json.dumps(own.rng.bit_generator.state),
        "left": env.left,
        "levels": None if own.levels is None else list(own.levels),
    }


def _set_episodes(env: RehearsalEnv, held: dict[str, Any]) -> None:
    arrays = {k: v.numpy() for k, v in held["arrays"].items()}
    for name, array in _changing(env).items():
        if array.shape != arrays[name].shape:
            raise ValueError(f"{name} of {arrays[name].shape}, and not of {array.shape}")
        array[:] = arrays[name]
    env.rehearsal.rng.bit_generator.state = json.loads(held["rng"])
    env.rehearsal.levels = held["levels"]
    env.left = held["left"]


def _replayed(model: Any) -> dict[str, Any] | None:
    buffer = getattr(model, "replay_buffer", None)
    if buffer is None:
        return None
    filled = buffer.buffer_size if buffer.full else buffer.pos
    arrays = {k: torch.from_numpy(getattr(buffer, k)[:filled]) for k in REPLAYED}
    return {"arrays": arrays, "pos": int(buffer.pos), "full": bool(buffer.full)}


def _set_replayed(model: Any, held: dict[str, Any] | None) -> None:
    buffer: Any = getattr(model, "replay_buffer", None)
    if (buffer is None) != (held is None):
        raise ValueError("one of them replays and the other does not")
    if held is None:
        return
    for name, value in held["arrays"].items():
        getattr(buffer, name)[: len(value)] = value.numpy()
    buffer.pos, buffer.full = held["pos"], held["full"]
