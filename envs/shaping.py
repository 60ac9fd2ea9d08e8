"""Potential-based shaping: a hint for learners that leaves the best policy what it is.

Ng, Harada & Russell, "Policy invariance under reward transformations", ICML 1999:
a reward of γ Φ(s') - Φ(s) besides the task's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

from .numbers import is_number
from .tasks import See

if TYPE_CHECKING:
    from .episode import Episode

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Number = TypeVar("Number", float, NDArray[np.float64])


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
        tally, goal = task.tally, task.goal
        y, x = episode.at_yx_nm
        bounds = tally.wanted.bounds_yx_nm
        off = nearest(y, x, *bounds, goal.group, goal.weight, tally.seen, tally.destroyed)
        return -float(off) / max(episode.field_yx_nm)

    def bonus(self, before: Number, after: Number) -> Number:
        return self.weight * (self.discount * after - before)


@numba.njit(cache=True, fastmath=False, nogil=True)
def nearest(
    y: float,
    x: float,
    low: Floats,
    high: Floats,
    group: NDArray[np.int64],
    weight: Floats,
    seen: Bools,
    destroyed: Bools,
) -> float:
    """Distance in nm to the middle of the nearest feature that is yet to be seen; 0: none is."""
    had = np.zeros(weight.shape[0], np.bool_)
    for n in range(group.shape[0]):
        if seen[n] and group[n] >= 0:
            had[group[n]] = True
    least = np.inf
    for n in range(group.shape[0]):
        # A group that has one needs no other.
        if group[n] < 0 or destroyed[n] or had[group[n]]:
            continue
        off_y = 0.5 * (low[n, 0] + high[n, 0]) - y
        off_x = 0.5 * (low[n, 1] + high[n, 1]) - x
        least = min(least, off_y * off_y + off_x * off_x)
    return float(np.sqrt(least)) if least < np.inf else 0.0
