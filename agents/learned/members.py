"""Several beliefs of one kind, one for each seed of training, and which of them is to be taken.

What differs by the seed is no merit of the method, so all are kept, and the one that is the median
on validation specimens stands for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...simulators.specimens import specimen_module
from ..perception.dcnn.perception import DcnnPerception
from ..perception.sightings import Layers
from ..scalarizers import scalarizer_of
from ..workflow import Finder
from . import belief_training
from .belief import Belief
from .belief_training import SIDE_BY_SIDE, Progress, Rollouts
from .detector import Detector
from .evidence import Cells
from .grounds import Ground, grounds
from .kept import median
from .network import BeliefNet, probabilities
from .rehearsal import Rehearsal
from .validation import areas
from .weights import Held, load, save

SEEDS = 5
GROUNDS = 2000  # specimens of a training; each is turned and mirrored besides
GROUNDS_SEED = 1_000_000  # of them: the same for all members, who differ by what they draw
VALIDATED = 10  # specimens of each difficulty
LEVELS = ("medium", "hard")  # that are validated, as they are scored
JUDGED = 60  # validation specimens by which it is told how right the probabilities are
JUDGED_STEPS = 60  # frames of each
BINS = 10  # of probabilities


@lru_cache(maxsize=2)  # all trainings of a kind have the same
def pool(specimen: str, count: int, split: str = "train") -> tuple[Ground, ...]:
    """So many specimens of a split, of all difficulties as often."""
    levels = tuple(specimen_module(specimen).LEVELS)
    return tuple(islice(grounds(specimen, levels, GROUNDS_SEED, split), count))


def cells_of(specimen: str) -> Cells:
    """Of the default field of a kind of specimen."""
    module = specimen_module(specimen)
    return Cells.of((module.FIELD_NM,) * 2, (module.FRAME_NM,) * 2)


def train(
    specimen: str,
    seeds: Sequence[int],
    steps: int,
    shown: Sequence[Ground],
    kept: Path,
    report: Callable[[int, Progress], None] = lambda seed, progress: None,
) -> Held:
    """One belief after another; those that a file holds already are not trained again.

    Args:
        specimen: the kind.
        seeds: of the members.
        steps: of each.
        shown: specimens that they are trained on.
        kept: the file; written after each member.
        report: told of each seed how far it is.

    Raises:
        ValueError: the file is of another training, or damaged.
    """
    layers, cells = Layers.of(specimen), cells_of(specimen)
    detector = Detector.of(specimen)
    made = {"steps": steps, "specimens": len(shown)}
    members = _begun(kept, specimen, made, seeds) if kept.exists() else []
    for seed in seeds[len(members) :]:

        def told(progress: Progress, seed: int = seed) -> None:
            report(seed, progress)

        members.append(
            belief_training.train(shown, layers, cells, detector, seed, steps, report=told)
        )
        card = {**made, "seeds": list(seeds[: len(members)])}
        save(kept, Held(specimen, tuple(members), card))
    return load(kept)


def _begun(
    kept: Path, specimen: str, made: dict[str, Any], seeds: Sequence[int]
) -> list[BeliefNet]:
    """The members that a file holds of such a training."""
    held = load(kept)
    same = held.specimen == specimen and all(held.card.get(k) == v for k, v in made.items())
    done = held.card.get("seeds", [])
    if not same or done != list(seeds[: len(done)]) or len(done) != len(held.members):
        raise ValueError(f"{kept} is of another training; name another file, or remove it")
    return list(held.members)


def validated(held: Held, count: int = VALIDATED) -> Held:
    """With what each member reaches on validation specimens in the card, and the median's number.

    What is reached is the area under the curve of discovery, with the real detector; besides, it
    is told how right the probabilities are (``calibration``).
    """
    each: list[dict[str, float]] = []
    for k in range(len(held.members)):

        def finder(k: int = k) -> Finder:
            sees = DcnnPerception(held.specimen)
            return Finder(sees, scalarizer_of("features"), Belief(held, k))

        each.append(areas(finder, held.specimen, LEVELS, count))
    best = median([sum(own.values()) for own in each])
    shown = pool(held.specimen, JUDGED, "validation")
    card = {
        **held.card,
        "validation": {"specimens": count, "area": each},
        "median": best,
        "calibration": calibration(held.members[best], held.specimen, shown),
    }
    return Held(held.specimen, held.members, card)


def calibration(network: BeliefNet, specimen: str, shown: Sequence[Ground]) -> dict[str, Any]:
    """How right its probabilities are of cells that nobody has looked at.

    Returns:
        By bins of what it says: ``said``, ``there`` (means) and ``cells``; and ``error``, the mean
        distance between both, weighted by cells (expected calibration error).
    """
    layers = Layers.of(specimen)
    rng = np.random.default_rng(0)
    detector = Detector.of(specimen)
    rehearsal = Rehearsal(shown, layers, cells_of(specimen), detector, rng, SIDE_BY_SIDE)
    rollouts = Rollouts(rehearsal)
    sums = np.zeros((3, BINS))
    for _ in range(JUDGED_STEPS):
        likely = probabilities(network, rehearsal.evidence)
        unlooked = np.broadcast_to(rehearsal.evidence.looks[:, None] == 0, likely.shape)
        said = likely[unlooked]
        there = np.minimum(rehearsal.there[:, : len(layers.classes)], 1.0)[unlooked]
        into = np.minimum((said * BINS).astype(np.int64), BINS - 1)
        for row, of in enumerate((said, there, np.ones_like(said))):
            sums[row] += np.bincount(into, of, BINS)
        rollouts.step(likely)
    cells = np.maximum(sums[2], 1.0)
    apart = np.abs(sums[0] - sums[1]).sum() / sums[2].sum()
    return {
        "said": np.round(sums[0] / cells, 4).tolist(),
        "there": np.round(sums[1] / cells, 4).tolist(),
        "cells": sums[2].astype(int).tolist(),
        "error": round(float(apart), 5),
    }
