"""Training of a network on scenes without end.

The rate falls and rises again in cycles; at the end of each a snapshot is kept, and the
snapshots are the members of an ensemble (Huang et al., ICLR 2017).  The last is the
best single one.  Weights are averaged exponentially over steps, and so are the norms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset

from .checkpoint import keep, restored
from .legend import F32
from .network import WIDTHS, UNet
from .scenes import Scenes

BATCH = 16
STEPS = 12_000
TUNING = 600  # the same on labelled images
CYCLES = (0.55, 0.15, 0.15, 0.15)  # of the steps: the first is the longest
RATE = 2e-3
WARM = 200  # steps
AVERAGE = 0.998
SOUGHT = 4.0  # a blob counts so many times more than where there is none, and once besides
RARE = -4.0  # bias of the logits at the beginning: most pixels show nothing
EVERY = 50  # steps between reports
KEEP = 600  # steps between checkpoints: whole specimens, so that the next begins with a new one


@dataclass(frozen=True)
class Progress:
    """Where a training stands: steps taken of all, and the loss averaged over the latest."""

    step: int
    steps: int
    loss: float


Shown = tuple[F32, F32]  # an image, and what should be said of it; NaN where nobody knows


class _Stream(IterableDataset[Shown]):
    """What the loader's one worker iterates over."""

    def __init__(self, shown: Iterable[Shown]) -> None:
        self.shown = shown

    def __iter__(self) -> Iterator[Shown]:
        torch.set_num_threads(1)
        return iter(self.shown)


def train(
    scenes: Scenes,
    steps: int = STEPS,
    seed: int = 0,
    widths: tuple[int, ...] = WIDTHS,
    start: UNet | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    checkpoint: Path | None = None,
    beside: Iterable[Shown] | None = None,
    rate: float = RATE,
) -> list[UNet]:
    """Train, and return the snapshots, the last of them last.

    Args:
        scenes: what it sees.
        steps: batches of ``BATCH`` scenes.
        seed: of the first weights.
        widths: of the network's levels.
        start: a network to go on from; a new one by default.
        report: told every ``EVERY`` steps.
        checkpoint: a file that is written every ``KEEP`` steps, and gone on from where it is
            there already, to the same end but for labelled images.
        beside: what it sees every other time, of labelled images say.
        rate: the greatest, of Adam.

    Raises:
        ValueError: too few steps for the cycles, or a checkpoint of another training.
    """
    if steps < 20:
        raise ValueError(f"{steps} steps; there must be at least 20")
    torch.manual_seed(seed)
    network = start or _new(len(scenes.legend.channels), widths)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    average = deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-4)
    ends = [round(steps * share) for share in np.cumsum(CYCLES)]
    snapshots: list[UNet] = []
    begin = 0
    of = {"specimen": scenes.specimen, "seed": [seed, scenes.seed], "steps": ends, "rate": rate}
    if checkpoint is not None and checkpoint.exists():
        begin, snapshots = restored(checkpoint, of, network, average, optimizer)
        scenes = replace(scenes, first=scenes.first + begin * BATCH // scenes.per_world)
    network.train()
    blobs = torch.tensor(scenes.legend.blobs, dtype=torch.float32)
    losses: list[float] = []
    shown = scenes if beside is None else _InTurn(scenes, beside)
    for step, (image, truth) in zip(range(begin, steps), batches(shown), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_at(step, ends)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(image)
        loss = cost(logits.float(), truth, blobs)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        _follow(average, network, min(AVERAGE, (1 + step) / (10 + step)))
        losses.append(loss.item())
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            report(Progress(step + 1, steps, float(np.mean(losses[-EVERY:]))))
        if step + 1 in ends:
            snapshots.append(deepcopy(average).eval())
        if checkpoint is not None and (step + 1) % KEEP == 0:
            keep(checkpoint, step + 1, of, network, average, optimizer, snapshots)
    return snapshots


@dataclass(frozen=True)
class _InTurn:
    """One of the first, one of the second, and so on."""

    first: Iterable[Shown]
    second: Iterable[Shown]

    def __iter__(self) -> Iterator[Shown]:
        return chain.from_iterable(zip(self.first, self.second, strict=False))


def batches(shown: Iterable[Shown]) -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of images (BATCH, 1, rows, columns) and the rest, made by a process of their own."""
    loader = DataLoader(_Stream(shown), batch_size=BATCH, num_workers=1, prefetch_factor=8)
    for image, truth in loader:
        yield image[:, None].to(memory_format=torch.channels_last), truth


def cost(logits: torch.Tensor, truth: torch.Tensor, blobs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of what is known, in which the few pixels of blobs have the greater weight.

    Args:
        logits, truth: (n, channels, rows, columns); the truth is NaN where it is not known.
        blobs: (channels,) 1 for columns and points, which fill a hundredth of a picture; of lines
            and areas the probability is to be right as it is.
    """
    known = torch.isfinite(truth)
    truth = truth.nan_to_num()
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    weight = 1.0 + SOUGHT * truth * blobs[:, None, None]
    return (each * weight * known).mean()


def rate_at(step: int, ends: list[int]) -> float:
    """The rate at a step, in those of the beginning: cosine cycles, each lower than the first."""
    cycle = next(k for k, end in enumerate(ends) if step < end)
    begin = ends[cycle - 1] if cycle else 0
    along = (step - begin) / (ends[cycle] - begin)
    warm = min(1.0, (step + 1) / WARM)
    return warm * (0.5 if cycle else 1.0) * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * along)))


def _new(channels: int, widths: tuple[int, ...]) -> UNet:
    network = UNet(channels, widths)
    torch.nn.init.constant_(network.head.bias, RARE)  # type: ignore[arg-type]
    return network


def _follow(average: UNet, network: UNet, share: float) -> None:
    with torch.no_grad():
        own = network.state_dict()
        for name, value in average.state_dict().items():
            if value.dtype.is_floating_point:
                value.lerp_(own[name], 1.0 - share)
            else:
                value.copy_(own[name])
