"""Where the probe really is while it scans.

What follows shifts the probe; none of it is told by the instrument.  Typical
sizes are those that distortion-correction papers report for corrected
instruments (Jones & Nellist, Microsc. Microanal. 19 (2013) 1050; Ophus et al.,
Ultramicroscopy 162 (2016) 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...hardware.coordinates import deflection
from ...hardware.costs import CostModel
from ...hardware.microscope import YX, ScanRequest

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

    def offsets(self, rows: int, rng: np.random.Generator) -> Floats:
        """Displacement (rows, 2) of each line."""
        return np.asarray(self.sigma_nm * np.clip(rng.standard_normal((rows, 2)), -4.0, 4.0))


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
        if not self.decay_us > 0:
            raise ValueError(f"Flyback: decay_us is {self.decay_us}; it must be above 0")

    @property
    def reach_nm(self) -> float:
        return self.amplitude_nm

    def offsets(self, columns: int, dwell_us: float) -> Floats:
        """Displacement (columns, 2): back towards the end of the line before."""
        out = np.zeros((columns, 2))
        out[:, 1] = self.amplitude_nm * np.exp(-np.arange(columns) * dwell_us / self.decay_us)
        return out


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
        if not self.max_nm > 0:
            raise ValueError(f"Drift: max_nm is {self.max_nm}; it must be above 0")

    @property
    def reach_nm(self) -> float:
        return self.max_nm

    def distance_nm(self, time_s: Floats | float) -> Floats:
        """How far it has come after ``time_s``."""
        rate = self.speed_nm_per_min / 60.0 / self.max_nm
        return np.asarray(self.max_nm * -np.expm1(-rate * np.asarray(time_s)))


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
        if not self.decay_s > 0:
            raise ValueError(f"Hysteresis: decay_s is {self.decay_s}; it must be above 0")

    @property
    def reach_nm(self) -> float:
        return self.max_nm

    def moved(self, lag_yx_nm: Floats, move_yx_nm: Floats) -> Floats:
        """The lag (2,) right after a move, of a probe that still lagged from those before."""
        lag = lag_yx_nm - self.share * move_yx_nm
        size = float(np.hypot(*lag))
        return lag if size <= self.max_nm else lag * (self.max_nm / size)

    def left(self, time_s: Floats | float) -> Floats:
        """The share of a lag that is left after ``time_s``."""
        return np.asarray(np.exp(-np.asarray(time_s) / self.decay_s))


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
    """

    def __init__(self, imperfections: Imperfections, rng: np.random.Generator) -> None:
        self.imperfections = imperfections
        self.rng = rng
        angle = rng.uniform(0, 2 * np.pi)
        self.direction = np.array([np.sin(angle), np.cos(angle)])
        turn = float(np.clip(rng.standard_normal(), -3.0, 3.0))
        error = imperfections.rotation
        self.rotation_rad = 0.0 if error is None else error.sigma_rad * turn
        self.time_s = 0.0
        self.lag_yx_nm: Floats = np.zeros(2)
        self._offset_yx_nm: Floats | None = None  # of the scan; nobody knows it at first

    def move(self, by_yx_nm: YX, time_s: float) -> None:
        """Beam shift or stage bring the probe elsewhere on the specimen; their time passes."""
        self._lag(np.asarray(by_yx_nm))
        self._pass(time_s)

    def displacement(self, request: ScanRequest, costs: CostModel) -> Displacement:
        """Of the next frame; its time passes."""
        on = self.imperfections
        rows, columns = request.shape_yx
        line_s = (columns * request.dwell_us + costs.flyback_us) * 1e-6
        since: Floats = costs.offset_settle_us * 1e-6 + np.arange(rows, dtype=np.float64) * line_s
        by_row = np.zeros((rows, 2))
        if on.jitter is not None:
            by_row += on.jitter.offsets(rows, self.rng)
        if on.drift is not None:
            by_row += np.outer(on.drift.distance_nm(self.time_s + since), self.direction)
        # Moves are those of the probe, whatever the rotation of the scans before and after.
        centre = deflection(request.centre_yx_nm, request.rotation_rad)
        way = 0.0
        if self._offset_yx_nm is not None:
            self._lag(centre - self._offset_yx_nm)
            way = float(np.hypot(*(centre - self._offset_yx_nm)))
        self._offset_yx_nm = centre
        if on.hysteresis is not None:
            by_row += np.outer(on.hysteresis.left(since), self.lag_yx_nm)
        by_column = np.zeros((columns, 2))
        if on.flyback is not None:
            by_column = on.flyback.offsets(columns, request.dwell_us)
        if request.rotation_rad:
            by_column = deflection(by_column, request.rotation_rad)
        self._pass(costs.time_s(request, way))
        of_rows, of_columns = by_row.mean(axis=0), by_column.mean(axis=0)
        mean = of_rows + of_columns
        return Displacement(
            (float(mean[0]), float(mean[1])),
            self.rotation_rad,
            by_row - of_rows,
            by_column - of_columns,
        )

    def _lag(self, move_yx_nm: Floats) -> None:
        if self.imperfections.hysteresis is not None:
            self.lag_yx_nm = self.imperfections.hysteresis.moved(self.lag_yx_nm, move_yx_nm)

    def _pass(self, time_s: float) -> None:
        self.time_s += time_s
        if self.imperfections.hysteresis is not None:
            self.lag_yx_nm = self.lag_yx_nm * self.imperfections.hysteresis.left(time_s)
