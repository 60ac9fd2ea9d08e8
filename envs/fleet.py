"""Episodes side by side: the compiled hot path of the vectorised environment.

What a step of ``ScanEnv`` does over a simulated microscope is done here for many
episodes at once, by the same kernels and in the same order of
arithmetic, so that the results are the same to the bit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.costs import ELECTRONS_PER_PA_US
from ..simulators.microscopes import Microscopes
from ..simulators.scan import Displacements, Slots
from ..simulators.simulated import SimulatedMicroscope
from . import seen, tasks
from .actions import ACTIONS, Requests
from .budget import ROUNDING
from .mosaic import Looks
from .observations import Observations, as_picture, is_stock, observations
from .scan_env import ScanEnv
from .shaping import nearest
from .sources import SpecimenSource

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
STOCK = ("step", "reset", "begin", "_begin", "_info", "_new_budget", "action_masks")


def flies(env: ScanEnv) -> bool:
    """Whether an environment has nothing that only the single one can do."""
    source = env.source
    # A source of one's own may make a microscope of one's own.
    if type(source) is not SpecimenSource:
        return False
    if callable(env.task) or env.render_mode is not None:
        return False
    # What a subclass does its own way it does alone.
    if any(getattr(type(env), name) is not getattr(ScanEnv, name) for name in STOCK):
        return False
    named = observations(env.observation, source.field_yx_nm, 1, env.survey is not None)
    if type(env.actions) is not ACTIONS.get(env.action) or not is_stock(env.observations, named):
        return False
    return source.imperfections.counting is not None


@dataclass
class Outcome:
    """Of one step, (n,) each; all is 0 where an episode was not stepped."""

    requests: Requests
    rewards: Floats
    taken: Bools


@dataclass(frozen=True)
class Exposures:
    """Where the electrons of one frame went, in each of ``m`` episodes.

    Attributes:
        own: (m,) the episodes.
        pixel_nm: (m,) of the coarser axis.
        centre_yx_nm, fov_yx_nm: (m, 2) as asked for.
        dose_e_per_a2: (m,).
        off: how far from there they went.
    """

    own: Ints
    pixel_nm: Floats
    centre_yx_nm: Floats
    fov_yx_nm: Floats
    dose_e_per_a2: Floats
    off: Displacements

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """As the compiled loops take them."""
        return (
            self.own,
            self.pixel_nm,
            self.centre_yx_nm,
            self.fov_yx_nm,
            self.dose_e_per_a2,
            self.off.rotation_rad,
            self.off.mean_yx_nm,
        )


class Fleet:
    """The state of ``n`` episodes of one kind of environment.

    Args:
        env: one of them; says costs, reference frame and observation.
        n: how many.

    Attributes:
        shown: their observations.
        at_yx_nm: (n, 2) centres of the latest frames.
        spent_e, spent_s, frames: (n,) so far.
    """

    def __init__(self, env: ScanEnv, n: int) -> None:
        assert isinstance(env.source, SpecimenSource)
        self.n = n
        self.reference, self.costs, self.actions = (
            env.source.reference,
            env.source.costs,
            env.actions,
        )
        field = env.source.field_yx_nm
        self.shown: Observations = observations(env.observation, field, n, env.survey is not None)
        self.detector = self.reference.detectors[0]
        self.microscopes = Microscopes(
            n, env.source.imperfections, self.reference.shape_yx, self.detector, self.costs
        )
        goals: dict[str, type[_Goals]] = {"map": _Reconstructions, "explore": _Nothing}
        self.goals = goals.get(str(env.task), _Tallies)(n)
        self.shaping, self.field_nm = env.shaping, max(field)
        self.at_yx_nm = np.zeros((n, 2))
        self.current_pa, self.raster_e = np.zeros(n), np.ones(n)
        self.black, self.span = np.zeros(n, np.float32), np.ones(n, np.float32)
        self.total_e, self.total_s = np.ones(n), np.full(n, np.inf)
        self.spent_e, self.spent_s = np.zeros(n), np.zeros(n)
        self.frames, self.began = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        self.least_e, self.least_s = np.zeros(n), np.zeros(n)

    def begin(self, k: int, env: ScanEnv) -> None:
        """Take over the episode that an environment has just begun."""
        episode = env.episode
        microscope = episode.microscope
        assert type(microscope) is SimulatedMicroscope
        self.microscopes.begin(k, microscope)
        self.goals.put(k, episode.task)
        budget = episode.budget
        self.current_pa[k] = episode.beam_current_pa or 0.0
        self.raster_e[k] = budget.raster_charge_e
        self.total_e[k] = budget.charge_e
        self.total_s[k] = np.inf if budget.time_s is None else budget.time_s
        self.spent_e[k], self.spent_s[k] = budget.spent_charge_e, budget.spent_time_s
        self.least_e[k] = self.costs.charge_e(episode.cheapest, self.current_pa[k])
        self.least_s[k] = self.costs.time_s(episode.cheapest)
        black, white = episode.capabilities.full_scale[self.detector]
        self.black[k], self.span[k] = black, white - black
        self.at_yx_nm[k], self.frames[k] = 0.0, 0
        self.began[k] = episode.survey is not None
        survey = episode.survey
        self.shown.clear(k, None if survey is None else as_picture(episode.display(survey)))

    def step(self, which: Ints, actions: NDArray[Any]) -> Outcome:
        """One step of the episodes ``which`` (m,), by checked actions (m, ...)."""
        requests = self.actions.decode_all(actions, self.at_yx_nm[which])
        way = requests.centre_yx_nm - self.at_yx_nm[which]
        travel = np.sqrt(way[:, 0] * way[:, 0] + way[:, 1] * way[:, 1]) * self.began[which]
        shape = self.reference.shape_yx
        beam_on = self.costs.beam_on_us_of(shape, requests.dwell_us)
        charge = beam_on * self.current_pa[which] * ELECTRONS_PER_PA_US
        time = self.costs.time_s_of(shape, requests.dwell_us, travel)
        taken = self._affords(which, charge, time)
        rewards = np.zeros(len(which))
        if taken.any():
            own = which[taken]
            self.spent_e[own] += charge[taken]
            self.spent_s[own] += time[taken]
            self.frames[own] += 1
            self.began[own] = True
            centre, fov = requests.centre_yx_nm[taken], requests.fov_yx_nm[taken]
            shaping = self.shaping
            before = None if shaping is None else self._potentials(own)
            self.at_yx_nm[own] = centre
            gains = self._take(own, centre, fov, requests.dwell_us[taken])
            if shaping is not None and before is not None:
                gains = gains + shaping.bonus(before, self._potentials(own))
            rewards[taken] = gains
        return Outcome(requests, rewards, taken)

    def _potentials(self, own: Ints) -> Floats:
        return -self.goals.nearest(own, self.at_yx_nm) / self.field_nm

    def _affords(self, which: Ints, charge_e: Floats, time_s: Floats) -> Bools:
        fits = self.spent_e[which] + charge_e <= self.total_e[which] * (1 + ROUNDING)
        return fits & (self.spent_s[which] + time_s <= self.total_s[which] * (1 + ROUNDING))

    @property
    def exhausted(self) -> Bools:
        """(n,) What is left no longer pays for the cheapest frame."""
        return ~self._affords(np.arange(self.n), self.least_e, self.least_s)

    @property
    def left(self) -> Floats:
        """(n, 2) shares of charge and time left."""
        share = np.empty((self.n, 2))
        share[:, 0] = np.maximum(0.0, 1.0 - self.spent_e / self.total_e)
        share[:, 1] = np.maximum(0.0, 1.0 - self.spent_s / self.total_s)
        return share

    def _take(self, own: Ints, centre: Floats, fov: Floats, dwell_us: Floats) -> Floats:
        """Scan, show and score frames; the rewards (m,)."""
        rows, columns = self.reference.shape_yx
        pitch = fov / np.array([rows, columns])
        dose = self.current_pa[own] * ELECTRONS_PER_PA_US * dwell_us
        dose = dose / (pitch[:, 0] * pitch[:, 1] * 100.0)
        taken = self.microscopes.acquire(own, centre, fov, dwell_us, dose)
        ratio = (self.reference.dwell_us / dwell_us).astype(np.float32)[:, None, None]
        black, span = self.black[own][:, None, None], self.span[own][:, None, None]
        values = (taken.readings * ratio - black) / span
        # What is shown lies where the instrument reports it, whatever the truth.
        still = np.zeros((len(own), 2))
        self.shown.add(Looks(own, values, np.full(len(own), rows), centre, fov, still[:, 0], still))
        given = Exposures(own, pitch.max(axis=1), centre, fov, dose, taken.off)
        gains = self.goals.update(given)
        for k, features in taken.destroyed.items():
            self.goals.destroy(k, features)
        return gains


class _Goals(ABC):
    """The tasks of several episodes, side by side.

    Attributes:
        finished: (n,) those of which nothing more can be gained.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.fraction = np.zeros(n)
        self.finished = np.zeros(n, dtype=bool)
        self.slots: list[Slots] = []

    @abstractmethod
    def put(self, k: int, task: tasks.Task) -> None:
        """Take over the fresh task of episode ``k``, its arrays included."""

    @abstractmethod
    def update(self, given: Exposures) -> Floats:
        """The gains (m,) of one frame in each of some episodes."""

    def destroy(self, k: int, features: tuple[int, ...]) -> None:
        """Features of episode ``k`` are there no more."""
        return

    def nearest(self, own: Ints, at_yx_nm: Floats) -> Floats:
        """How far (m,) each of the episodes ``own`` is from what is yet to be seen, in nm."""
        # ``Shaping`` refuses every other task when an environment is made.
        raise NotImplementedError("only tasks of seeing are shaped")

    def _hold(self, k: int, arrays: tuple[NDArray[Any], ...]) -> None:
        self.slots = self.slots or [Slots(self.n) for _ in arrays]
        for slots, array in zip(self.slots, arrays, strict=True):
            slots.put(k, array)

    @property
    def _lists(self) -> list[Any]:
        return [s.typed for s in self.slots]


class _Nothing(_Goals):
    """Tasks without a reward."""

    def put(self, k: int, task: tasks.Task) -> None:
        pass

    def update(self, given: Exposures) -> Floats:
        return np.zeros(len(given.own))


class _Tallies(_Goals):
    """Tasks of seeing; the arrays are those of the tasks themselves."""

    def put(self, k: int, task: tasks.Task) -> None:
        assert isinstance(task, tasks.See)
        wanted, tally, goal = task.tally.wanted, task.tally, task.goal
        arrays = (
            wanted.points_yx_nm,
            *wanted.bounds_yx_nm,
            wanted.max_pixel_nm,
            wanted.need_e_per_a2,
            wanted.least,
            goal.group,
            goal.weight,
            tally.received,
            tally.seen,
            tally.destroyed,
        )
        self._hold(k, arrays)
        self.fraction[k], self.finished[k] = 0.0, task.done

    def update(self, given: Exposures) -> Floats:
        gains = np.empty(len(given.own))
        # mypy counts unpacked lists as one argument.
        _see_all(*given.arrays, *self._lists, self.fraction, self.finished, gains)  # type: ignore[call-arg]
        return gains

    def nearest(self, own: Ints, at_yx_nm: Floats) -> Floats:
        off = np.empty(len(own))
        low, high = self._lists[1:3]
        group, weight, _, seen_, destroyed = self._lists[6:]
        _nearest_all(own, at_yx_nm, low, high, group, weight, seen_, destroyed, off)
        return off

    def destroy(self, k: int, features: tuple[int, ...]) -> None:
        group, weight, _, seen_, destroyed = (s.typed[k] for s in self.slots[6:])
        destroyed[list(features)] = True
        self.finished[k] = tasks.over(group, weight, seen_, destroyed)


class _Reconstructions(_Goals):
    """Tasks of mapping."""

    def __init__(self, n: int) -> None:
        super().__init__(n)
        self.numbers = np.zeros((n, 3))

    def put(self, k: int, task: tasks.Task) -> None:
        assert isinstance(task, tasks.Reconstruct)
        arrays = (task.values, task.known, task.distance)
        self._hold(k, arrays)
        self.numbers[k] = task.pitch_nm, task.finest_nm, task.before
        self.fraction[k] = 0.0

    def update(self, given: Exposures) -> Floats:
        gains = np.empty(len(given.own))
        # mypy counts unpacked lists as one argument.
        _map_all(*given.arrays, *self._lists, self.numbers, self.fraction, gains)  # type: ignore[call-arg]
        return gains


@numba.njit(cache=True, fastmath=False, nogil=True)
def _see_all(
    own, pixel, centre, fov, dose, rotation, shift, points, low, high, coarsest, need, least,
    group, weight, received, seen_, destroyed, fraction, finished, gains,
):  # fmt: skip
    for m in range(own.shape[0]):
        n = own[m]
        seen.expose(
            points[n],
            low[n],
            high[n],
            coarsest[n],
            need[n],
            least[n],
            pixel[m],
            (centre[m, 0], centre[m, 1]),
            (fov[m, 0], fov[m, 1]),
            rotation[m],
            (shift[m, 0], shift[m, 1]),
            dose[m],
            received[n],
            seen_[n],
            destroyed[n],
        )
        after = tasks.won(group[n], weight[n], seen_[n])
        gains[m] = after - fraction[n]
        fraction[n] = after
        finished[n] = tasks.over(group[n], weight[n], seen_[n], destroyed[n])


@numba.njit(cache=True, fastmath=False, nogil=True)
def _nearest_all(own, at, low, high, group, weight, seen_, destroyed, off):
    for m in range(own.shape[0]):
        n = own[m]
        off[m] = nearest(
            at[n, 0], at[n, 1], low[n], high[n], group[n], weight[n], seen_[n], destroyed[n]
        )


@numba.njit(cache=True, fastmath=False, nogil=True)
def _map_all(
    own, pixel, centre, fov, dose, rotation, shift, values, known, distance, numbers, fraction,
    gains,
):  # fmt: skip
    for m in range(own.shape[0]):
        n = own[m]
        after = tasks.measure(
            values[n],
            numbers[n, 0],
            numbers[n, 1],
            numbers[n, 2],
            fraction[n],
            pixel[m],
            (centre[m, 0], centre[m, 1]),
            (fov[m, 0], fov[m, 1]),
            rotation[m],
            (shift[m, 0], shift[m, 1]),
            dose[m],
            known[n],
            distance[n],
        )
        gains[m] = after - fraction[n]
        fraction[n] = after
