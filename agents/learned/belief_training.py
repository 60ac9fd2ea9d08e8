"""Training of a belief: what there is in each cell, from what a navigator would have seen of it.

Episodes run side by side on specimens without end (``grounds.py``), nothing is imaged, and a
detector that errs as the real one does says what frames show.  Of every state that a frame leads
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

from ..perception.sightings import BLOCKS, Layers
from .belief import weighed
from .detector import Detector, Rates, sighted
from .evidence import F32, Cells, Evidence, Ints
from .grounds import Ground
from .network import BeliefNet, encoded

SIDE_BY_SIDE = 32
STEPS = 2000
RATE = 2e-3
WARM = 50
LONGEST = 0.5  # of the frames of a raster: how long episodes last at most
STRIDE = BLOCKS // 2  # cells between candidates
GREEDY = (0.0, 0.5, 0.9, 0.9, 1.0)  # shares of an episode's frames that the network chooses


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    step: int
    steps: int
    loss: float


class Rollouts:
    """Episodes side by side, each with a way of its own to choose frames.

    Args:
        pool: specimens; each episode begins with one of them.
        layers, cells: of these.
        detector: says what frames show.
        rng: of everything.
    """

    def __init__(
        self,
        pool: Sequence[Ground],
        layers: Layers,
        cells: Cells,
        detector: Detector,
        rng: np.random.Generator,
        n: int = SIDE_BY_SIDE,
    ) -> None:
        self.pool, self.layers, self.cells, self.detector, self.rng = (
            pool, layers, cells, detector, rng,
        )  # fmt: skip
        self.n = n
        self.shape = tuple((s - BLOCKS) // STRIDE + 1 for s in cells.shape)
        self.frames = cells.shape[0] * cells.shape[1] // BLOCKS**2  # of a raster
        self.evidence = Evidence(cells, len(layers.names), n)
        self.truth = np.zeros((n, len(layers.names), *cells.shape), dtype=np.float32)
        self.hit = np.zeros((n, len(layers.names)), dtype=np.float32)
        self.false = np.zeros_like(self.hit)
        self.left = np.zeros(n, dtype=np.int64)
        self.greedy = np.zeros(n)  # share of the frames that the network chooses
        self.taken = np.zeros((n, *self.shape), dtype=bool)
        self.begin(np.arange(n))
        self.left = rng.integers(1, int(LONGEST * self.frames), n)  # not all end at once

    def begin(self, which: Ints) -> None:
        self.evidence.clear(which)
        self.taken[which] = False
        for k in which.tolist():
            ground = self.pool[int(self.rng.integers(len(self.pool)))]
            rates = self.detector.drawn(ground.difficulty, self.rng)
            self.hit[k], self.false[k] = rates.hit, rates.false
            turned = np.rot90(ground.amounts, int(self.rng.integers(4)), axes=(1, 2))
            self.truth[k] = turned[:, :, ::-1] if self.rng.random() < 0.5 else turned
        self.left[which] = int(LONGEST * self.frames)
        self.greedy[which] = self.rng.choice(GREEDY, len(which))

    def step(self, likely: F32) -> None:
        """One frame in each, by chance or where most can be expected."""
        unlooked = (self.evidence.looks == 0).astype(np.float32)
        value = frame_sums(weighed(likely, self.layers) * unlooked)
        value += 1e-9 * self.rng.random(value.shape, dtype=np.float32)
        value[self.taken] = -1.0
        best = value.reshape(self.n, -1).argmax(axis=1)
        by_chance = self.rng.integers(value[0].size, size=self.n)
        choice = np.where(self.rng.random(self.n) < self.greedy, best, by_chance)
        row, column = np.divmod(choice, self.shape[1])
        every = np.arange(self.n)
        self.taken[every, row, column] = True
        side = np.arange(BLOCKS)
        rows = (STRIDE * row)[:, None, None] + side[None, :, None]
        columns = (STRIDE * column)[:, None, None] + side[None, None, :]
        under = np.stack(np.broadcast_arrays(rows, columns), axis=-1)
        there = self.truth[every[:, None, None], :, under[..., 0], under[..., 1]]
        told = sighted(
            np.moveaxis(there, 3, 1),
            self.detector.points,
            Rates(self.hit, self.false),
            self.rng,
        )
        self.evidence.add(every, under, told)
        self.left -= 1
        over = np.flatnonzero(self.left <= 0)
        if len(over):
            self.begin(over)


def frame_sums(values: F32) -> F32:
    """Of cells (n, rows, columns), the sum in each frame on the candidates' lattice."""
    given = torch.from_numpy(np.ascontiguousarray(values))[:, None]
    return functional.avg_pool2d(given, BLOCKS, STRIDE)[:, 0].numpy() * BLOCKS**2


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
    rollouts = Rollouts(pool, layers, cells, detector, np.random.default_rng([seed, 1]), n)
    network = BeliefNet(2 + len(layers.names), len(layers.classes))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    losses: list[float] = []
    for step in range(steps):
        rate = RATE * min(1.0, (step + 1) / WARM) * 0.5 * (1.0 + np.cos(np.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = network(torch.from_numpy(encoded(rollouts.evidence)))
        there = torch.from_numpy(np.minimum(rollouts.truth[:, : len(layers.classes)], 1.0))
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
