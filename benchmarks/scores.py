"""Scores of one run: seen, its area under the curve, flagged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Agent
from ..envs import seen
from ..envs.episode import Episode
from ..envs.reference import ReferenceFrame
from ..hardware.microscope import YX, Frame
from ..simulators.exposure import Exposure
from ..simulators.simulated import SimulatedMicroscope
from ..simulators.specimens import Specimen

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FLAGGED_EACH = 32  # reference frames with a feature, and as many without
FLAGGED_LEAST = 4  # of either kind, or the score is not applicable


@dataclass(frozen=True, eq=False)
class Curve:
    """Seen recall against charge.

    Attributes:
        charge: (n,) rasters spent after each frame.
        recall: (n,) shares of the features seen by then.
        budget: rasters that might have been spent; beyond the end of the run
            the curve stays flat.
    """

    charge: Floats
    recall: Floats
    budget: float

    def area(self, budget: float | None = None) -> float:
        """Area under the curve up to ``budget``, divided by it: in [0, 1].

        Recall is a step function: it changes when a frame is complete.
        """
        limit = self.budget if budget is None else budget
        within = self.charge < limit
        edges = np.concatenate([self.charge[within], [limit]])
        return float((np.diff(edges) * self.recall[within]).sum() / limit)

    def charge_to(self, share: float) -> float | None:
        """Charge at which recall reached ``share``; None if it never did."""
        reached = np.flatnonzero(self.recall >= share - 1e-9)
        return float(self.charge[reached[0]]) if len(reached) else None


def seen_curve(episode: Episode, specimen: Specimen) -> Curve:
    """The discovery curve of an episode, from the truth and the true exposures."""
    tally = seen.Tally(seen.targets(specimen, episode.reference.side_nm))
    recall = []
    for exposure in episode.exposures:
        tally.add(exposure)
        recall.append(tally.recall)
    spent = np.cumsum([frame.charge_e or 0.0 for frame in episode.history])
    budget = episode.budget
    return Curve(
        spent / budget.raster_charge_e, np.array(recall), budget.charge_e / budget.raster_charge_e
    )


@dataclass(frozen=True)
class Flagged:
    """How well an agent's target tells frames that show a feature from frames that do not.

    Attributes:
        average_precision: of the target.
        prevalence: share of the frames that show one: what a coin would reach.
        frames: how many.
        target: the agent's, of each of them.
    """

    average_precision: float
    prevalence: float
    frames: int
    target: tuple[float, ...] = ()


def flagged(
    agent: Agent,
    microscope: SimulatedMicroscope,
    reference: ReferenceFrame,
    seed: int = 0,
) -> Flagged | None:
    """Average precision of ``agent.target`` on 32 frames of either kind, with fresh noise.

    None for an agent without a target, and where fewer than 4 frames of either
    kind exist.  The frames depend on the specimen and the seed alone.
    """
    centres, labels = flagged_frames(microscope.world.specimen, reference, seed)
    if len(centres) == 0:
        return None
    noise = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9, 1)))
    fresh = SimulatedMicroscope(
        microscope.world,
        noise,
        reference.dwell_us,
        microscope.costs,
        microscope.imperfections,
    )
    fresh.open()
    frames: list[Frame] = [fresh.acquire(reference.at(c)) for c in centres]
    target = agent.target(frames)
    if target is None:
        return None
    return graded(np.asarray(target, dtype=np.float64), labels)


def graded(target: Floats, labels: Bools) -> Flagged:
    """The score of a target (n,) for frames that show a feature (n,), or none.

    Frames that have no target, NaN, come after all others.

    Raises:
        ValueError: not one number for each frame, or an infinite one.
    """
    from sklearn.metrics import average_precision_score

    if target.shape != labels.shape:
        raise ValueError(f"a target of shape {target.shape}; it must be {len(labels)} numbers")
    if np.isinf(target).any():
        raise ValueError("a target is infinite; it must be a number, or NaN where there is none")
    told = np.isfinite(target)
    lowest = target[told].min() - 1.0 if told.any() else 0.0
    target = np.where(told, target, lowest)
    precision = float(average_precision_score(labels, target))
    return Flagged(precision, float(np.mean(labels)), len(labels), tuple(target.tolist()))


def flagged_frames(
    specimen: Specimen, reference: ReferenceFrame, seed: int
) -> tuple[Sequence[YX], NDArray[np.bool_]]:
    """Centres of reference frames, and whether each shows a whole feature.

    Empty where fewer than 4 of either kind exist on the half-frame lattice.  A
    frame that shows part of a context disc is neither and is left out.
    """
    centres, _ = reference.lattice(specimen.field_yx_nm, pitch=0.5)
    wanted = seen.targets(specimen, reference.side_nm)
    inside: Bools = np.array(
        [
            Exposure(reference.at((float(y), float(x))).region, (0.0, 0.0), 0.0, 1.0).covers(
                wanted.points_yx_nm
            )
            for y, x in centres
        ]
    )
    shows = np.any(inside.sum(axis=2) >= wanted.least, axis=1)
    empty = ~inside.any(axis=(1, 2))
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(9, 0)))
    chosen = [rng.permutation(np.flatnonzero(kind))[:FLAGGED_EACH] for kind in (shows, empty)]
    if min(len(c) for c in chosen) < FLAGGED_LEAST:
        return [], np.zeros(0, dtype=bool)
    index = np.concatenate(chosen)
    labels = np.repeat([True, False], [len(chosen[0]), len(chosen[1])])
    return [(float(y), float(x)) for y, x in centres[index]], labels
