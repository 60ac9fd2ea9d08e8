"""Curves over all specimens of a condition, and what the raster would have paid for as much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .episode import environment_of
from .grades import allowed_s
from .leaderboard import Condition, Scores
from .scores import Curve
from .suite import Job

Floats = NDArray[np.float64]
Place = tuple[str, Condition, int]
POINTS = 101  # of an average curve


class Runs:
    """The curves of seen recall in the records of a suite.

    Args:
        records: of the suite, its yardsticks among them.
        scores: which specimens are counted.
    """

    def __init__(self, records: Sequence[Mapping[str, Any]], scores: Scores) -> None:
        self.scores = scores
        self._curves: dict[Place, Curve] = {}
        self._clocks: dict[Place, Floats] = {}
        self._jobs: dict[Condition, Job] = {}
        self._rasters: dict[tuple[Condition, int], Curve] = {}
        self.budget = 0.0
        for record in records:
            job, curve = record["job"], record["scores"]["curve"]
            condition = Job.of(job).condition
            own = Curve(np.array(curve["charge"]), np.array(curve["seen"]), job["budget"])
            if job["yardstick"]:
                self._rasters[condition, job["specimen"]] = own
            else:
                place = (job["label"], condition, job["specimen"])
                self._curves[place], self._clocks[place] = own, np.array(curve["time_s"])
                self._jobs[condition] = Job.of(job)
                self.budget = job["budget"]

    def average(self, agent: str, condition: Condition) -> tuple[Floats, Floats]:
        """Charge (101,) and the mean share seen by then, over the specimens counted."""
        at = np.linspace(0.0, self.budget, POINTS)
        shares = [
            reached(self._curves[agent, condition, s], at) for s in self.scores.specimens[condition]
        ]
        return at, np.mean(shares, axis=0)

    def allowed_s(self, condition: Condition) -> float:
        """Instrument time of the budget: what the area in time is over.

        It is the same for all specimens of a condition, and follows from the environment.
        """
        job = self._jobs[condition]
        env = environment_of(job, None)
        env.reset(seed=job.specimen)
        allowed = allowed_s(env.episode, job.budget)
        env.close()
        return allowed

    def in_time(self, agent: str, condition: Condition, allowed: float) -> tuple[Floats, Floats]:
        """Seconds (101,) up to ``allowed`` and the mean share seen by then."""
        at = np.linspace(0.0, allowed, POINTS)
        places = [(agent, condition, s) for s in self.scores.specimens[condition]]
        shares = [
            reached(Curve(self._clocks[p], self._curves[p].recall, allowed), at) for p in places
        ]
        return at, np.mean(shares, axis=0)

    def acceleration(self, agent: str) -> Floats:
        """How many times the agent's charge a raster would have paid for as much, by specimen.

        For each specimen, the raster's charge at the agent's final share over the agent's
        charge when it had come to it; NaN where the agent saw nothing.
        """
        found = []
        for condition in self.scores.conditions:
            for specimen in self.scores.specimens[condition]:
                own = self._curves[agent, condition, specimen]
                raster = self._rasters.get((condition, specimen))
                share = float(own.recall[-1]) if len(own.recall) else 0.0
                if raster is None or share <= 0.0:
                    found.append(np.nan)
                    continue
                paid, would = own.charge_to(share), raster.charge_to(share)
                found.append(np.nan if would is None or not paid else would / paid)
        return np.array(found)


def reached(curve: Curve, at: Floats) -> Floats:
    """Recall (n,) by charges (n,); it changes when a frame is complete."""
    if not len(curve.charge):
        return np.zeros(len(at))
    index = np.searchsorted(curve.charge, at * (1 + 1e-9), side="right") - 1
    return np.asarray(np.where(index >= 0, curve.recall[np.maximum(index, 0)], 0.0))
