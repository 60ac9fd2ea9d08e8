"""A warm start: a policy learns to prefer the frames that a teacher would take.

The states are those that the policy comes into by itself as well as those that the teacher does
(Ross, Gordon & Bagnell, *A Reduction of Imitation Learning ... to No-Regret Online Learning*,
AISTATS 2011): each episode follows the one or the other, drawn at every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

from .actor import Preference
from .evidence import Ints
from .rehearsal import Rehearsal, frame_sums
from .rehearsal_env import RehearsalEnv

RATE = 1e-3
TAUGHT = 0.5  # of the frames: how many the teacher takes


def oracle(rehearsal: Rehearsal) -> Ints:
    """The frames (n,) that truly show most of what was not seen, each by itself."""
    gain = frame_sums(rehearsal.weight * (1.0 - rehearsal.told.shares))
    gain += 1e-9 * frame_sums(1.0 - rehearsal.told.shares)
    gain[rehearsal.taken] = -1.0
    return np.asarray(gain.reshape(rehearsal.n, -1).argmax(axis=1))


def grid(rehearsal: Rehearsal) -> Ints:
    """The frames (n,) furthest from all that were taken: a grid that is refined, spread first."""
    from scipy.ndimage import distance_transform_edt

    out = np.empty(rehearsal.n, dtype=np.int64)
    for k, taken in enumerate(rehearsal.taken):
        away = distance_transform_edt(~taken) if taken.any() else np.zeros(taken.shape)
        out[k] = away.argmax() if taken.any() else taken.size // 2
    return out


TEACHERS: Mapping[str, Callable[[Rehearsal], Ints]] = {"oracle": oracle, "grid": grid}


def clone(
    actor: Preference,
    env: RehearsalEnv,
    teacher: str,
    steps: int,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train an actor, in place, to choose as a teacher does.

    Args:
        actor: the network.
        env: with the action ``frame``.
        teacher: one of ``TEACHERS``.
        steps: frames of each episode side by side.
        report: told of each step the cross-entropy.

    Raises:
        ValueError: no such teacher.
    """
    if teacher not in TEACHERS:
        raise ValueError(f"unknown teacher {teacher!r}; there are: {', '.join(TEACHERS)}")
    optimizer = torch.optim.Adam(actor.parameters(), lr=RATE)
    maps = env.reset()
    for step in range(steps):
        taught = TEACHERS[teacher](env.rehearsal)
        closed = torch.from_numpy(~env.action_masks())
        logits = actor(torch.from_numpy(maps)).masked_fill(closed, -1e9)
        loss = functional.cross_entropy(logits, torch.from_numpy(taught))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
        optimizer.step()
        own = logits.detach().argmax(dim=1).numpy()
        by_teacher = env.rehearsal.rng.random(env.num_envs) < TAUGHT
        env.step_async(np.where(by_teacher, taught, own))
        maps, _, _, _ = env.step_wait()
        report(step + 1, loss.item())
