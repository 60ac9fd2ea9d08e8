"""Where the probe really is while it scans.

What follows shifts the probe; none of it is told by the instrument.  Typical
sizes are those that distortion-correction papers report for corrected
instruments (Jones & Nellist, Microsc. Microanal. 19 (2013) 1050; Ophus et al.,
Ultramicroscopy 162 (2016) 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, exp, expm1, sin, sqrt
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from ...hardware.costs import CostModel
from ...hardware.microscope import YX, ScanRequest
from ..noise import key_of, normal, ziggurat

if TYPE_CHECKING:
    from . import Imperfections

Floats = NDArray[np.float64]


def _at_least_zero(what: object, **values: float) -> None:
    for name, value in values.items():
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{type(what).__name__}: {name} is {value}; it must be at least 0")


@dataclass(frozen=True)
class LineJitter:
    """Every line starts a little elsewhere.

    Attributes:
        sigma_nm: standard deviation along and across the lines; four of them at most.
    """

    sigma_nm: float = 0.005

    def __post_init__(self) -> None:
        _at_least_zero(self, sigma_nm=self.sigma_nm)

    @property
    def reach_nm(self) -> float:
        return 4.0 * self.sigma_nm


@dataclass(frozen=True)
class Flyback:
    """The beam has not quite arrived when a line begins.

    Attributes:
        amplitude_nm: lag along the line at its first pixel.
        decay_us: after which it has fallen to 1/e.
    """

    amplitude_nm: float = 0.03
    decay_us: float = 60.0

    def __post_init__(self) -> None:
        _at_least_zero(self, amplitude_nm=self.amplitude_nm)
        if not 0 < self.decay_us < np.inf:
            raise ValueError(f"Flyback: decay_us is {self.decay_us}; it must be above 0, finite")

    @property
    def reach_nm(self) -> float:
        return self.amplitude_nm


@dataclass(frozen=True)
class Drift:
    """The specimen creeps in one direction and settles, as a holder does after insertion.

    Attributes:
        speed_nm_per_min: at the start of the episode.
        max_nm: where it settles; the displacement approaches it exponentially.
    """

    speed_nm_per_min: float = 0.3
    max_nm: float = 0.6

    def __post_init__(self) -> None:
        _at_least_zero(self, speed_nm_per_min=self.speed_nm_per_min)
        if not 0 < self.max_nm < np.inf:
            raise ValueError(f"Drift: max_nm is {self.max_nm}; it must be above 0, finite")

    @property
    def reach_nm(self) -> float:
        return self.max_nm

    def distance_nm(self, time_s: float) -> float:
        """How far it has come after ``time_s``."""
        return float(_drifted(self.speed_nm_per_min / 60.0, self.max_nm, time_s))


@dataclass(frozen=True)
class ScanRotationError:
    """The scan is turned by a little, the same for a whole episode.

    Attributes:
        sigma_rad: standard deviation; three of them at most.
    """

    sigma_rad: float = 0.004

    def __post_init__(self) -> None:
        _at_least_zero(self, sigma_rad=self.sigma_rad)

    @property
    def most_rad(self) -> float:
        return 3.0 * self.sigma_rad


@dataclass(frozen=True)
class Hysteresis:
    """After a move the beam lags behind, and catches up.

    Attributes:
        share: of the move that it lags by at first.
        max_nm: it never lags by more, whatever the moves before.
        decay_s: after which the lag has fallen to 1/e.
    """

    share: float = 0.01
    max_nm: float = 0.15
    decay_s: float = 0.15

    def __post_init__(self) -> None:
        _at_least_zero(self, share=self.share, max_nm=self.max_nm)
        if not 0 < self.decay_s < np.inf:
            raise ValueError(f"Hysteresis: decay_s is {self.decay_s}; it must be above 0, finite")

    @property
    def reach_nm(self) -> float:
        return self.max_nm

    def moved(self, lag_yx_nm: YX, move_yx_nm: YX) -> YX:
        """The lag right after a move, of a probe that still lagged from those before."""
        y, x = _lagging(self.share, self.max_nm, *lag_yx_nm, *move_yx_nm)
        return float(y), float(x)


class Distortions(NamedTuple):
    """All of them as numbers, for compiled loops; what is off has no size."""

    jitter_nm: float = 0.0
    flyback_nm: float = 0.0
    flyback_us: float = 1.0
    drift_nm_per_s: float = 0.0
    drift_nm: float = 1.0
    lag_share: float = 0.0
    lag_nm: float = 0.0
    lag_s: float = 1.0

    @classmethod
    def of(cls, on: Imperfections) -> Distortions:
        """Those of an instrument."""
        values: dict[str, float] = {}
        if on.jitter is not None:
            values |= {"jitter_nm": on.jitter.sigma_nm}
        if on.flyback is not None:
            values |= {"flyback_nm": on.flyback.amplitude_nm, "flyback_us": on.flyback.decay_us}
        if on.drift is not None:
            speed = on.drift.speed_nm_per_min / 60.0
            values |= {"drift_nm_per_s": speed, "drift_nm": on.drift.max_nm}
        if on.hysteresis is not None:
            lag = on.hysteresis
            values |= {"lag_share": lag.share, "lag_nm": lag.max_nm, "lag_s": lag.decay_s}
        return cls(**values)


# What a scanner remembers, as places in an array: its time, how the probe lags, where the scan
# offset is and whether anybody knows it, where the specimen drifts, and the turn of the scan.
TIME, LAG_Y, LAG_X, AT_Y, AT_X, KNOWN, DRIFT_Y, DRIFT_X, TURN = range(9)


@dataclass(frozen=True)
class Displacement:
    """Where the probe was, off what was asked for.

    Attributes:
        mean_yx_nm: of the whole frame.
        rotation_rad: of the scan, besides the requested one.
        by_row_nm, by_column_nm: (rows, 2) and (columns, 2), off the mean.
    """

    mean_yx_nm: YX
    rotation_rad: float
    by_row_nm: Floats
    by_column_nm: Floats


class Scanner:
    """The state of the scan system over an episode: time, drift, and how the probe lags.

    Only the probe's place on the specimen counts: it lags alike after a move of
    scan offset, beam shift or stage, and the time that each takes passes.

    Args:
        imperfections: what is switched on.
        rng: where the draws of this episode come from.

    Attributes:
        memory: (9,) what it remembers; ``TIME`` to ``TURN`` are the places.
    """

    def __init__(self, imperfections: Imperfections, rng: np.random.Generator) -> None:
        self.distortions = Distortions.of(imperfections)
        self.rng = rng
        self.memory = np.zeros(9)
        angle = rng.uniform(0, 2 * np.pi)
        self.memory[DRIFT_Y], self.memory[DRIFT_X] = np.sin(angle), np.cos(angle)
        turn = float(np.clip(rng.standard_normal(), -3.0, 3.0))
        error = imperfections.rotation
        self.memory[TURN] = 0.0 if error is None else error.sigma_rad * turn

    @property
    def rotation_rad(self) -> float:
        """By how much every scan of the episode is turned."""
        return float(self.memory[TURN])

    @property
    def direction(self) -> Floats:
        """(2,) of the drift."""
        return self.memory[DRIFT_Y : DRIFT_X + 1].copy()

    def move(self, by_yx_nm: YX, time_s: float) -> None:
        """Beam shift or stage bring the probe elsewhere on the specimen; their time passes."""
        _move(self.memory, self.distortions, by_yx_nm[0], by_yx_nm[1])
        _pass(self.memory, self.distortions, time_s)

    def displacement(self, request: ScanRequest, costs: CostModel) -> Displacement:
        """Of the next frame; its time passes."""
        rows, columns = request.shape_yx
        by_row, by_column = np.empty((rows, 2)), np.empty((columns, 2))
        mean = displace(
            self.memory,
            self.distortions,
            request.centre_yx_nm[0],
            request.centre_yx_nm[1],
            request.rotation_rad,
            request.dwell_us,
            costs.offset_settle_us,
            costs.flyback_us,
            costs.time_s(request),
            costs.travel_us_per_nm,
            key_of(self.rng),
            ziggurat(),
            by_row,
            by_column,
        )
        return Displacement(mean, self.rotation_rad, by_row, by_column)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _drifted(speed, most, time_s):
    return most * -expm1(-speed / most * time_s)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _lagging(share, most, lag_y, lag_x, by_y, by_x):
    y, x = lag_y - share * by_y, lag_x - share * by_x
    size = sqrt(y * y + x * x)
    if size > most:
        y, x = y * (most / size), x * (most / size)
    return y, x


@numba.njit(cache=True, fastmath=False, nogil=True)
def _move(memory, on, by_y, by_x):
    memory[LAG_Y], memory[LAG_X] = _lagging(
        on.lag_share, on.lag_nm, memory[LAG_Y], memory[LAG_X], by_y, by_x
    )


@numba.njit(cache=True, fastmath=False, nogil=True)
def _pass(memory, on, time_s):
    memory[TIME] += time_s
    left = exp(-time_s / on.lag_s)
    memory[LAG_Y] *= left
    memory[LAG_X] *= left


@numba.njit(cache=True, fastmath=False, nogil=True)
def displace(
    memory,
    on,
    centre_y,
    centre_x,
    rotation,
    dwell_us,
    settle_us,
    flyback_us,
    time_s,
    travel_us,
    key,
    layers,
    by_row,
    by_column,
):
    """Fill in where the lines and columns (rows, 2), (columns, 2) of a frame lie off their mean.

    ``time_s`` is that of the frame, ``travel_us`` that of each nanometre on the way there.

    Returns:
        The mean (y, x); ``memory`` knows that the frame was taken, and its time has passed.
    """
    rows, columns = by_row.shape[0], by_column.shape[0]
    # Moves are those of the probe, whatever the rotation of the scans before and after.
    c, s = cos(rotation), sin(rotation)
    y, x = c * centre_y + s * centre_x, c * centre_x - s * centre_y
    way = 0.0
    if memory[KNOWN]:
        by_y, by_x = y - memory[AT_Y], x - memory[AT_X]
        _move(memory, on, by_y, by_x)
        way = sqrt(by_y * by_y + by_x * by_x)
    memory[AT_Y], memory[AT_X], memory[KNOWN] = y, x, 1.0
    line_s = (columns * dwell_us + flyback_us) * 1e-6
    state = key
    mean_y = mean_x = 0.0
    for i in range(rows):
        since = settle_us * 1e-6 + i * line_s
        drift = _drifted(on.drift_nm_per_s, on.drift_nm, memory[TIME] + since)
        left = exp(-since / on.lag_s)
        along = drift * memory[DRIFT_Y] + left * memory[LAG_Y]
        across = drift * memory[DRIFT_X] + left * memory[LAG_X]
        if on.jitter_nm > 0.0:
            first, state = normal(state, layers)
            second, state = normal(state, layers)
            along += on.jitter_nm * min(max(first, -4.0), 4.0)
            across += on.jitter_nm * min(max(second, -4.0), 4.0)
        by_row[i, 0], by_row[i, 1] = along, across
        mean_y += along / rows
        mean_x += across / rows
    back = 0.0
    for j in range(columns):
        # Back towards the end of the line before.
        lag = on.flyback_nm * exp(-j * dwell_us / on.flyback_us)
        by_column[j, 0], by_column[j, 1] = s * lag, c * lag
        back += lag / columns
    for i in range(rows):
        by_row[i, 0] -= mean_y
        by_row[i, 1] -= mean_x
    for j in range(columns):
        by_column[j, 0] -= s * back
        by_column[j, 1] -= c * back
    _pass(memory, on, time_s + travel_us * way * 1e-6)
    return mean_y + s * back, mean_x + c * back
