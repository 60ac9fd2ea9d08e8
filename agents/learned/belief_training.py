"""Training of a belief: what there is in each cell, from what a navigator would have seen of it.

Episodes are rehearsed side by side (``rehearsal.py``).  Of every state that a frame leads
to the network is asked what there is everywhere, seen and unseen; the cross-entropy with
what there truly is makes its answers calibrated.  Where the frames lie is decided by the network
as it is at the time, by chance, or by a mixture of both, from episode to episode another one
(``GREEDY``): so it knows the states that it will come into, and others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from ..perception.sightings import Layers
from .detector import Detector
from .evidence import F32, Cells
from .grounds import Ground
from .network import BeliefNet, encoded, weighed
from .rehearsal import Rehearsal, frame_sums

SIDE_BY_SIDE = 32
STEPS = 2000
RATE = 2e-3
WARM = 50
LONGEST = 0.5  # of the frames of a raster: how long episodes last at most
GREEDY = (0.0, 0.5, 0.9, 0.9, 1.0)  # shares of an episode's frames that the network chooses


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    steps: int
    loss: float


class Rollouts:
    """Rehearsed episodes each with a way of its own to choose frames, and of different age.

    Args:
        rehearsal: the episodes, as they begin.
    """

    def __init__(self, rehearsal: Rehearsal) -> None:
        self.rehearsal = rehearsal
        self.longest = max(2, int(LONGEST * rehearsal.raster))
        # Shares of the frames that the network chooses, and frames that are left: not all end
        # at once.
        self.greedy = rehearsal.rng.choice(GREEDY, rehearsal.n)
        self.left = rehearsal.rng.integers(1, self.longest, rehearsal.n)

    def step(self, likely: F32) -> None:
        """One frame in each, by chance or where most can be expected."""
        own = self.rehearsal
        value = frame_sums(weighed(likely, own.layers) * (1.0 - own.told.shares))
        value += 1e-9 * own.rng.random(value.shape, dtype=np.float32)
        value[own.taken] = -1.0
        best = value.reshape(own.n, -1).argmax(axis=1)
        by_chance = own.rng.integers(value[0].size, size=own.n)
        own.take(np.where(own.rng.random(own.n) < self.greedy, best, by_chance))
        self.left -= 1
        over = np.flatnonzero(self.left <= 0)
        if len(over):
            own.begin(over)
            self.left[over] = self.longest
            self.greedy[over] = own.rng.choice(GREEDY, len(over))


def train(
    pool: Sequence[Ground],
    layers: Layers,
    cells: Cells,
    detector: Detector,
    seed: int,
    steps: int = STEPS,
    n: int = SIDE_BY_SIDE,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BeliefNet:
    """A belief, from scratch; what it is follows from the seed."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 1])
    rehearsal = Rehearsal(pool, layers, cells, detector, rng, n)
    rollouts = Rollouts(rehearsal)
    network = BeliefNet(2 + len(layers.names), len(layers.classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    losses: list[float] = []
    for step in range(steps):
        rate = RATE * min(1.0, (step + 1) / WARM) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = network(torch.from_numpy(encoded(rehearsal.evidence)))
        there = torch.from_numpy(np.minimum(rehearsal.there[:, : len(layers.classes)], 1.0))
        loss = functional.binary_cross_entropy_with_logits(logits, there)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        rollouts.step(torch.sigmoid(logits.detach()).numpy())
        if (step + 1) % 50 == 0 or step + 1 == steps:
            report(Progress(step + 1, steps, float(np.mean(losses[-50:]))))
    network.eval()
    return network
