"""Potential-based shaping: a hint for learners that leaves the best policy what it is.

Ng, Harada & Russell, "Policy invariance under reward transformations", ICML 1999:
a reward of γ Φ(s') - Φ(s) besides the task's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .numbers import is_number
from .tasks import See

if TYPE_CHECKING:
    from .episode import Episode


@dataclass(frozen=True)
class Shaping:
    """A potential of minus the distance, in fields, to the nearest feature yet to be seen.

    It knows the truth, as rewards do, and is for training alone.

    Attributes:
        weight: of the bonus.
        discount: the learner's own, in (0, 1].
        task: whose features count, by name.

    Raises:
        ValueError: a weight or discount that makes no sense, or a task without features.
    """

    weight: float
    discount: float
    task: Any

    def __post_init__(self) -> None:
        given: tuple[tuple[str, Any], ...] = (("shaping", self.weight), ("discount", self.discount))
        for name, value in given:
            if not is_number(value):
                raise ValueError(f"a {name} of {value!r}; it must be a number")
        if not (np.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"a shaping of {self.weight}; it must be at least 0, which is off")
        if not 0 < self.discount <= 1:
            raise ValueError(f"a discount of {self.discount}; it must be above 0 and at most 1")
        if self.weight and (callable(self.task) or self.task in ("map", "explore")):
            raise ValueError(f"the task {self.task!r} has no features to shape the reward by")

    def potential(self, episode: Episode) -> float:
        """Φ of an episode as it stands; 0 where nothing is left to see."""
        task = episode.task
        assert isinstance(task, See)
        tally = task.tally
        low, high = tally.wanted.bounds_yx_nm
        wanted = ~tally.seen & ~tally.destroyed & (task.goal.group >= 0)
        # A group that has one needs no other.
        had = np.zeros(len(task.goal.weight) + 1, dtype=bool)
        had[task.goal.group[tally.seen]] = True
        wanted &= ~had[task.goal.group]
        if not wanted.any():
            return 0.0
        middle = 0.5 * (low[wanted] + high[wanted])
        off = middle - np.asarray(episode.at_yx_nm)
        return -float(np.sqrt((off**2).sum(axis=1)).min()) / max(episode.field_yx_nm)

    def bonus(self, before: float, after: float) -> float:
        return self.weight * (self.discount * after - before)
