"""What an episode is rewarded for.

| task       | fraction                                                | done                  |
|------------|---------------------------------------------------------|-----------------------|
| `discover` | weight of the features seen; points and extended halved | all seen or destroyed |
| `classes`  | share of the classes present of which one was seen      | one of each           |
| `follow`   | share of the segments, or cells, seen                   | all seen or destroyed |
| `target`   | 1 once a feature of the rarest class is seen            | then                  |
| `map`      | fall of the error of a map (see ``Reconstruct``)        | never                 |
| `explore`  | 0: nothing is known, nothing rewarded                   | never                 |

The reward is the gain in the fraction.  All but ``map`` follow from one rule:
groups of features, each with a weight, of which one has to be seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin
from typing import Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from ..simulators.exposure import EDGE_NM, Exposure, within
from ..simulators.specimens import FeatureClass, Map, Specimen
from . import seen as rule
from .reference import ReferenceFrame
from .seen import ROUNDING, Bools, Floats, Ints

TASKS = ("discover", "map", "classes", "follow", "target", "explore")


class Task(Protocol):
    """Progress towards a goal."""

    @property
    def name(self) -> str: ...

    @property
    def fraction(self) -> float:
        """How much of the task is done; at most 1."""
        ...

    @property
    def done(self) -> bool:
        """Nothing more can be gained."""
        ...

    def update(self, exposure: Exposure | None) -> float:
        """Take note of one more frame; the gain in ``fraction``."""
        ...


@dataclass(frozen=True, eq=False)
class Goal:
    """Which features count together.

    Attributes:
        group: (n,) the group of each feature; -1 counts for nothing.
        weight: (g,) of each group; they add up to 1.  Where there are none the task is
            done with the first frame, and all of it.
    """

    group: Ints
    weight: Floats


class See:
    """See one feature of each group.

    Args:
        name: of the task.
        targets: the features.
        goal: their groups.
    """

    def __init__(self, name: str, targets: rule.Targets, goal: Goal) -> None:
        self.name = name
        self.tally = rule.Tally(targets)
        self.goal = goal
        self.fraction = 0.0

    @property
    def done(self) -> bool:
        """One of each group was seen, or all of it destroyed."""
        return bool(over(*self._goal, self.tally.seen, self.tally.destroyed))

    def update(self, exposure: Exposure | None) -> float:
        if exposure is None:
            raise ValueError(f"the task {self.name!r} needs to know where the electrons went")
        self.tally.add(exposure)
        before, self.fraction = self.fraction, float(won(*self._goal, self.tally.seen))
        return self.fraction - before

    @property
    def _goal(self) -> tuple[Ints, Floats]:
        return self.goal.group, self.goal.weight


class Reconstruct:
    """Know a property of the specimen everywhere.

    The reconstruction is the environment's own and always the same: where
    nothing was measured the value of the nearest place that was, the earlier one
    where two are as near; before the first frame the mean.  A place is
    measured by any frame over it that is as fine as the reference frame.  The
    fraction is one minus the r.m.s. error over that before the first frame; it may
    fall, and below 0.

    Args:
        wanted: the property.
        finest_nm: pixels coarser than this measure nothing.
    """

    name = "map"
    done = False

    def __init__(self, wanted: Map, finest_nm: float) -> None:
        shape = wanted.values.shape
        self.values = np.ascontiguousarray(wanted.values.reshape(shape[0], shape[1], -1))
        self.pitch_nm, self.finest_nm = wanted.pitch_nm, finest_nm
        self.known = np.broadcast_to(self.values.mean(axis=(0, 1)), self.values.shape).copy()
        self.distance = np.full(shape[:2], np.inf)
        self.before = float(error(self.values, self.known))
        self.fraction = 0.0

    def update(self, exposure: Exposure | None) -> float:
        if exposure is None:
            raise ValueError("the task 'map' needs to know where the electrons went")
        region = exposure.region
        before = self.fraction
        self.fraction = float(
            measure(
                self.values,
                self.pitch_nm,
                self.finest_nm,
                self.before,
                before,
                exposure.pixel_nm,
                region.centre_yx_nm,
                region.fov_yx_nm,
                region.rotation_rad,
                exposure.shift_yx_nm,
                exposure.dose_e_per_a2,
                self.known,
                self.distance,
            )
        )
        return self.fraction - before


class Explore:
    """Where there is no truth there is no reward, and no end but the budget's."""

    name = "explore"
    fraction = 0.0
    done = False

    def update(self, exposure: Exposure | None) -> float:
        return 0.0


def check_task(name: str, classes: tuple[FeatureClass, ...] | None) -> None:
    """Refuse a task that is none, or that a specimen with these classes cannot have.

    Raises:
        ValueError: with the reason; ``classes`` is None where nothing is known.
    """
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; there are: {', '.join(TASKS)}")
    if name == "explore":
        return
    if classes is None:
        raise ValueError(f"the task {name!r} needs the truth; for this microscope: explore")
    if name == "follow" and all(c.shape == "point" for c in classes):
        raise ValueError(
            "the task 'follow' needs walls, boundaries or pillars; this specimen has only "
            f"{', '.join(c.name for c in classes)}"
        )


def task(name: str, specimen: Specimen | None, reference: ReferenceFrame) -> Task:
    """A fresh task of a name (one of ``TASKS``) over a specimen."""
    if name == "explore" or specimen is None:
        return Explore()
    if name == "map":
        finest = max(f / s for f, s in zip(reference.fov_yx_nm, reference.shape_yx, strict=True))
        return Reconstruct(mapped(specimen), finest)
    targets = rule.targets(specimen, reference.side_nm)
    return See(name, targets, goal(name, specimen, targets.weight))


def goal(name: str, specimen: Specimen, recall: Floats) -> Goal:
    """What counts in a task; ``recall`` (n,) is the weight of each feature in the recall."""
    own = np.arange(len(recall))
    if name == "discover":
        return Goal(own, recall)
    of_class = np.asarray(specimen.feature_class)
    if name == "classes":
        return _even(np.searchsorted(np.unique(of_class), of_class))
    if name == "follow":
        extended = _extended(specimen)
        return _even(np.where(extended, np.cumsum(extended) - 1, -1))
    present, counts = np.unique(of_class, return_counts=True)
    rarest = present[counts.argmin()] if len(present) else -1
    return _even(np.where(of_class == rarest, 0, -1))


def can_be_followed(specimen: Specimen) -> bool:
    """Whether it has a wall, a boundary or an area."""
    return bool(_extended(specimen).any())


def _extended(specimen: Specimen) -> Bools:
    """Which features (n,) are segments or cells."""
    shapes = np.array([c.shape != "point" for c in specimen.classes])
    return np.asarray(shapes[np.asarray(specimen.feature_class, dtype=np.int64)])


def _even(group: NDArray[np.int64]) -> Goal:
    count = int(group.max(initial=-1)) + 1
    return Goal(group.astype(np.int64), np.full(count, 1.0 / max(1, count)))


def mapped(specimen: Specimen) -> Map:
    """The property that ``map`` is about: phase, polarisation, coverage or thickness.

    The first of these that is not the same everywhere.
    """
    names = ("polarisation", "phase", "coverage", "material", "contamination", "orientation")
    there = [specimen.maps[n] for n in names if n in specimen.maps]
    varied = [m for m in there if m.values.size and np.ptp(m.values) > 0]
    if not there:
        raise ValueError(f"{specimen.name} has no map; there are: {', '.join(specimen.maps)}")
    return (varied or there)[0]


@numba.njit(cache=True, fastmath=False, nogil=True)
def won(group: Ints, weight: Floats, seen: Bools) -> float:
    """The weight of the groups of which a feature was seen; 1 where there are none to see."""
    if weight.shape[0] == 0:
        return 1.0
    total = 0.0
    counted = np.zeros(weight.shape[0], np.bool_)
    for n in range(group.shape[0]):
        if seen[n] and group[n] >= 0 and not counted[group[n]]:
            counted[group[n]] = True
            total += weight[group[n]]
    return total


@numba.njit(cache=True, fastmath=False, nogil=True)
def over(group: Ints, weight: Floats, seen: Bools, destroyed: Bools) -> bool:
    """Whether of each group one was seen or all are destroyed."""
    open_ones = np.zeros(weight.shape[0], np.bool_)
    for n in range(group.shape[0]):
        if group[n] >= 0 and not destroyed[n]:
            open_ones[group[n]] = True
    for n in range(group.shape[0]):
        if group[n] >= 0 and seen[n]:
            open_ones[group[n]] = False
    return not open_ones.any()


@numba.njit(cache=True, fastmath=False, nogil=True)
def error(values: Floats, known: Floats) -> float:
    """Root of the mean square distance of two maps (rows, columns, components)."""
    total = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            for k in range(values.shape[2]):
                off = values[i, j, k] - known[i, j, k]
                total += off * off
    return float(np.sqrt(total / (values.shape[0] * values.shape[1])))


@numba.njit(cache=True, fastmath=False, nogil=True)
def measure(
    values: Floats,
    pitch: float,
    finest: float,
    at_first: float,
    fraction: float,
    pixel: float,
    centre: tuple[float, float],
    fov: tuple[float, float],
    rotation: float,
    shift: tuple[float, float],
    given: float,
    known: Floats,
    distance: Floats,
) -> float:
    """Take one frame into a reconstruction, in place; the fraction after it.

    ``distance`` is the square of that to the place a value comes from, in cells.
    """
    if given <= 0.0 or pixel > finest * (1 + ROUNDING):
        return fraction
    rows, columns = distance.shape
    c, s = cos(rotation), sin(rotation)
    half_y, half_x = fov[0] / 2 + EDGE_NM, fov[1] / 2 + EDGE_NM
    fresh = False
    new = np.zeros((rows, columns), np.bool_)
    for i in range(rows):
        y = (i - (rows - 1) / 2) * pitch - shift[0]
        for j in range(columns):
            x = (j - (columns - 1) / 2) * pitch - shift[1]
            inside = within(y, x, centre, half_y, half_x, c, s)
            if inside and distance[i, j] > 0.0:
                new[i, j] = True
                fresh = True
    if not fresh:
        return fraction
    for i in range(rows):
        for j in range(columns):
            if not new[i, j]:
                continue
            # Only the rim of what is new is nearest to anything beyond it.
            distance[i, j] = 0.0
            known[i, j] = values[i, j]
    for i in range(rows):
        for j in range(columns):
            if not new[i, j]:
                continue
            inner = (
                0 < i < rows - 1
                and 0 < j < columns - 1
                and new[i - 1, j]
                and new[i + 1, j]
                and new[i, j - 1]
                and new[i, j + 1]
            )
            if inner:
                continue
            for a in range(rows):
                for b in range(columns):
                    off = float((a - i) * (a - i) + (b - j) * (b - j))
                    if off < distance[a, b]:
                        distance[a, b] = off
                        known[a, b] = values[i, j]
    if at_first == 0.0:
        return 1.0
    return 1.0 - error(values, known) / at_first
