"""Simulated microscopes side by side: what each would do alone, to the bit, in compiled loops."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.costs import CostModel
from .evolution import Evolution
from .imperfections import Imperfections
from .imperfections.contamination import deposit
from .imperfections.damage import strike
from .imperfections.detector import respond
from .imperfections.scanning import TURN, Distortions, displace
from .noise import ziggurat
from .scan import Displacements, Slots, Worlds, scan_batch
from .simulated import SimulatedMicroscope

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
F32 = NDArray[np.float32]
WORDS = 240  # raw words of a generator that are drawn at once; whole frames of 1 to 4


@dataclass(frozen=True)
class Taken:
    """Upright frames of several microscopes, as they came out.

    Attributes:
        readings: (m, rows, columns); valid until the next frames.
        off: where the probes were, off what was asked for.
        destroyed: by microscope, the features that the beam destroyed.
    """

    readings: F32
    off: Displacements
    destroyed: dict[int, tuple[int, ...]]


class Microscopes:
    """Up to ``n`` microscopes that differ in their worlds and draws alone.

    Args:
        n: how many.
        imperfections: of all of them; electrons are counted.
        shape_yx: of their frames.
        detector: that is read.
        costs: say when lines begin.
    """

    def __init__(
        self,
        n: int,
        imperfections: Imperfections,
        shape_yx: tuple[int, int],
        detector: str,
        costs: CostModel,
    ) -> None:
        counting = imperfections.counting
        assert counting is not None
        self.n, self.imperfections = n, imperfections
        self.detector, self.costs = detector, costs
        self.efficiency = counting.efficiency
        self.distortions = Distortions.of(imperfections)
        self.worlds = Worlds(n)
        self.memory = np.zeros((n, TURN + 1))
        self.per_nm = np.zeros(n)
        self._evolutions: list[Evolution | None] = [None] * n
        self._points, self._barn, self._fate = Slots(n), Slots(n), Slots(n)
        self._generators: list[np.random.BitGenerator | None] = [None] * n
        self._words, self._used = np.zeros((n, WORDS), dtype=np.uint64), np.full(n, WORDS)
        self._readings = np.zeros((n, *shape_yx), dtype=np.float32)
        response = imperfections.detector
        self._dark = response is not None and response.dark_noise > 0
        self._strikes = imperfections.damage is not None
        # The order in which one alone draws them.
        self._per_frame = imperfections.distorts + 1 + self._dark + self._strikes

    def begin(self, k: int, microscope: SimulatedMicroscope) -> None:
        """Take over a microscope as it stands; its own changes from here on."""
        own = None
        if self.imperfections.evolves:
            evolution = microscope.evolution
            self._evolutions[k] = evolution
            own = evolution.own()[self.detector]
            self.per_nm[k] = evolution.per_nm(self.detector)
            self._points.put(k, evolution.fragile_yx_nm)
            self._barn.put(k, evolution.barn)
            self._fate.put(k, evolution.fate)
        self.worlds.put(k, microscope.world, self.detector, own)
        if microscope.scanner is not None:
            self.memory[k] = microscope.scanner.memory
        self._generators[k] = microscope.rng.bit_generator
        self._used[k] = WORDS

    def acquire(
        self, which: Ints, centre: Floats, fov: Floats, dwell_us: Floats, dose: Floats
    ) -> Taken:
        """A frame of each of several microscopes.

        Args:
            which: (m,) of them.
            centre, fov: (m, 2) in nm; the frames lie inside the fields.
            dwell_us: (m,).
            dose: (m,) in e/Å².
        """
        keys = list(np.ascontiguousarray(self._keys(which).T))
        off = self._displaced(which, centre, dwell_us, keys)
        readings = self._readings[: len(which)]
        scan_batch(
            self.worlds, which, centre, fov, dwell_us, keys.pop(0), self.efficiency, readings, off
        )
        response = self.imperfections.detector
        if response is not None:
            dark = keys.pop(0) if self._dark else np.zeros(len(which), dtype=np.uint64)
            _respond_all(readings, response.numbers, dark, ziggurat())
        destroyed: dict[int, tuple[int, ...]] = {}
        if self.imperfections.evolves:
            destroyed = self._evolved(which, centre, fov, dose, off, keys)
        return Taken(readings, off, destroyed)

    def _displaced(
        self, which: Ints, centre: Floats, dwell_us: Floats, keys: list[NDArray[np.uint64]]
    ) -> Displacements:
        m, costs = len(which), self.costs
        if not self.imperfections.distorts:
            return Displacements.none(m)
        rows, columns = self._readings.shape[1:]
        off = Displacements(
            np.empty((m, 2)),
            self.memory[which, TURN],
            np.empty((m, rows, 2)),
            np.empty((m, columns, 2)),
        )
        _displace_all(
            which,
            self.memory,
            self.distortions,
            centre,
            dwell_us,
            (costs.offset_settle_us, costs.flyback_us, costs.travel_us_per_nm),
            costs.time_s_of((rows, columns), dwell_us, np.zeros(m)),
            keys.pop(0),
            ziggurat(),
            off.by_row_nm,
            off.by_column_nm,
            off.mean_yx_nm,
        )
        return off

    def _evolved(
        self,
        which: Ints,
        centre: Floats,
        fov: Floats,
        dose: Floats,
        off: Displacements,
        keys: list[NDArray[np.uint64]],
    ) -> dict[int, tuple[int, ...]]:
        growth = self.imperfections.growth
        amount, spread = np.zeros(len(which)), 1.0
        if growth is not None:
            amount = growth.nm_per_e_per_a2 * dose * self.per_nm[which]
            spread = growth.spread_nm
        leaving = np.zeros(len(which), dtype=np.int64)
        _evolve_all(
            which,
            self.worlds.coefficients.typed,
            self.worlds.origin_yx_nm,
            self.worlds.sampling_nm,
            centre,
            fov,
            off.rotation_rad,
            off.mean_yx_nm,
            dose,
            amount,
            spread,
            self._strikes,
            self._points.typed,
            self._barn.typed,
            keys.pop(0) if self._strikes else np.zeros(len(which), dtype=np.uint64),
            self._fate.typed,
            leaving,
        )
        destroyed = {}
        for k in which[leaving > 0]:  # seldom
            evolution = self._evolutions[k]
            assert evolution is not None
            destroyed[int(k)] = evolution.leave()
        return destroyed

    def _keys(self, which: Ints) -> NDArray[np.uint64]:
        """The raw words (m, of a frame) of each microscope's own generator."""
        for k in which[self._used[which] == WORDS]:  # once in many frames
            generator = self._generators[k]
            assert generator is not None
            self._words[k] = generator.random_raw(WORDS)
            self._used[k] = 0
        place = self._used[which, None] + np.arange(self._per_frame)
        self._used[which] += self._per_frame
        return np.asarray(self._words[which[:, None], place])


@numba.njit(cache=True, fastmath=False, nogil=True)
def _displace_all(
    which, memory, on, centre, dwell_us, costs, time_s, keys, layers, by_row, by_column, mean
):
    settle, flyback, travel = costs
    for m in range(which.shape[0]):
        mean[m, 0], mean[m, 1] = displace(
            memory[which[m]],
            on,
            centre[m, 0],
            centre[m, 1],
            0.0,
            dwell_us[m],
            settle,
            flyback,
            time_s[m],
            travel,
            keys[m],
            layers,
            by_row[m],
            by_column[m],
        )


@numba.njit(cache=True, fastmath=False, nogil=True)
def _respond_all(readings, numbers, keys, layers):
    for m in range(readings.shape[0]):
        respond(readings[m].ravel(), numbers, keys[m], layers)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _evolve_all(
    which, images, origin, sampling, centre, fov, rotation, shift, dose, amount, spread, strikes,
    points, barn, keys, fate, leaving,
):  # fmt: skip
    for m in range(which.shape[0]):
        n = which[m]
        frame = (
            (centre[m, 0], centre[m, 1]),
            (fov[m, 0], fov[m, 1]),
            rotation[m],
            (shift[m, 0], shift[m, 1]),
        )
        if dose[m] > 0.0 and amount[m] > 0.0:
            deposit(images[n], (origin[n, 0], origin[n, 1]), sampling[n], *frame, amount[m], spread)
        if strikes:
            leaving[m] = strike(points[n], *frame, dose[m], barn[n], keys[m], fate[n])
