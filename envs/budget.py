"""What an experiment may spend.

Charge, in electrons, is the currency; time is the second.  A budget of 1.0 is
the charge of one contiguous raster of the whole field in reference frames.
Where nobody knows the beam current there is no charge to count, and time or a
number of frames stands in for it; rasters are then those of beam-on time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isinf, isnan, nan
from numbers import Integral
from typing import Any

import numpy as np

from ..hardware.costs import CostModel
from ..hardware.microscope import YX, ScanRequest
from .numbers import is_number
from .reference import ReferenceFrame

ROUNDING = 1e-9  # relative; sums of equal charges must not miss the last frame by it


class BudgetError(ValueError):
    """A budget that makes no sense, or a frame that it no longer pays for."""


@dataclass
class Budget:
    """Charge, time and frames: how much there is, and how much is spent.

    Attributes:
        charge_e: electrons allowed; infinite is without limit.
        time_s: seconds allowed; None is without limit.
        raster_charge_e: electrons of one full raster, the unit of budgets; NaN
            where nobody knows the beam current, and so is what was spent.
        frames: how many may be taken, the survey among them; None is without limit.
        raster_us: beam-on time of one full raster.
        pays_for: rasters of reference frames that time or frames suffice for,
            where charge is without limit.
    """

    charge_e: float
    time_s: float | None
    raster_charge_e: float
    spent_charge_e: float = 0.0
    spent_time_s: float = 0.0
    frames: int | None = None
    spent_frames: int = 0
    raster_us: float = nan
    spent_us: float = 0.0
    pays_for: float = inf

    @classmethod
    def relative(
        cls,
        fraction: float | None,
        field_yx_nm: YX,
        reference: ReferenceFrame,
        costs: CostModel,
        beam_current_pa: float | None,
        time_s: float | None = None,
        frames: int | None = None,
        cheapest: ScanRequest | None = None,
    ) -> Budget:
        """A budget in rasters of the field, in time, in frames, or in several of them.

        Args:
            fraction: charge, in rasters; None is without limit.
            field_yx_nm, reference, costs: say what a raster is.
            beam_current_pa: None where nobody knows it.
            time_s, frames: further limits; None is without.
            cheapest: the frame that must be paid for at least; the reference frame by
                default.

        Raises:
            BudgetError: a fraction outside (0, 1], a time or number of frames that
                is not above 0, less than the cheapest frame, no limit at all, or one of
                charge without a known beam current.
        """
        if fraction is None and time_s is None and frames is None:
            raise BudgetError("no budget; set one of charge, time or frames")
        if fraction is not None and beam_current_pa is None:
            raise BudgetError(
                "the beam current is unknown, so charge cannot be counted; declare the current, "
                "or set a budget of time or frames"
            )
        given: tuple[tuple[str, Any], ...] = (("budget", fraction), ("time budget", time_s))
        for name, value in given:
            if value is not None and not is_number(value):
                raise BudgetError(f"a {name} of {value!r}; it must be a number")
        if fraction is not None and not (np.isfinite(fraction) and 0 < fraction <= 1):
            raise BudgetError(
                f"a budget of {fraction}; it must be above 0 and at most 1, which is one "
                "contiguous raster of the whole field"
            )
        if time_s is not None and not 0 < time_s < inf:
            raise BudgetError(f"a time budget of {time_s} s; it must be above 0, and finite")
        if frames is not None and (not is_number(frames, Integral) or frames < 1):
            raise BudgetError(f"a budget of {frames!r} frames; it must be an integer, at least 1")
        one = reference.at((0.0, 0.0))
        charge = nan if beam_current_pa is None else costs.charge_e(one, beam_current_pa)
        raster = len(reference.lattice(field_yx_nm)[0])
        smallest = cheapest or one
        part = costs.beam_on_us(smallest) / costs.beam_on_us(one)
        if fraction is not None and fraction * raster < part:
            raise BudgetError(
                f"a budget of {fraction:g} does not pay for one frame; with {raster} frames to the "
                f"raster it must be at least {part / raster:.2g}"
            )
        least = costs.time_s(smallest)
        if time_s is not None and time_s < least:
            raise BudgetError(f"a time budget of {time_s} s; one frame takes {least:.3g} s")
        whole = costs.time_s(one)
        counts = [inf if frames is None else frames, inf if time_s is None else time_s / whole]
        return cls(
            inf if fraction is None else fraction * raster * charge,
            time_s,
            raster * charge,
            frames=None if frames is None else int(frames),
            raster_us=raster * costs.beam_on_us(one),
            pays_for=min(counts) / raster,
        )

    @property
    def charge_left(self) -> float:
        """The share of the charge that is left, or of the frames where those end sooner."""
        left = 1.0 if isinf(self.charge_e) else 1.0 - self.spent_charge_e / self.charge_e
        if self.frames is not None:
            left = min(left, 1.0 - self.spent_frames / self.frames)
        return max(0.0, left)

    @property
    def time_left(self) -> float:
        """The share of the time that is left; 1 where it is without limit."""
        return 1.0 if self.time_s is None else max(0.0, 1.0 - self.spent_time_s / self.time_s)

    @property
    def spent(self) -> float:
        """Charge spent, in rasters."""
        return self.rasters(self.spent_charge_e, self.spent_us)

    @property
    def total(self) -> float:
        """The whole budget, in rasters."""
        return self.pays_for if isinf(self.charge_e) else self.charge_e / self.raster_charge_e

    def rasters(self, charge_e: float, beam_on_us: float) -> float:
        """A charge in rasters; by its beam-on time where nobody knows the beam current."""
        if isnan(self.raster_charge_e):
            return beam_on_us / self.raster_us
        return charge_e / self.raster_charge_e

    def affords(self, charge_e: float, time_s: float, frames: int = 1) -> bool:
        """Whether what is left pays for one more frame, or for several together."""
        if self.frames is not None and self.spent_frames + frames > self.frames:
            return False
        if self.spent_charge_e + charge_e > self.charge_e * (1 + ROUNDING):
            return False
        return self.time_s is None or self.spent_time_s + time_s <= self.time_s * (1 + ROUNDING)

    def change(self, rasters: float) -> None:
        """Another limit on charge, in rasters; what was spent stays.

        Raises:
            BudgetError: charge was never limited, or less than is spent, or more than a raster.
        """
        if isinf(self.charge_e):
            raise BudgetError(
                "this experiment has a budget of frames or of time, and none of charge"
            )
        if not (is_number(rasters) and self.spent < rasters <= 1):
            raise BudgetError(
                f"a budget of {rasters!r} rasters; it must be above {self.spent:.3g}, which is "
                "spent, and at most 1"
            )
        self.charge_e = rasters * self.raster_charge_e

    def spend(self, charge_e: float, time_s: float, beam_on_us: float = 0.0) -> None:
        """Pay for one frame; its charge is NaN where nobody knows the beam current."""
        self.spent_charge_e += charge_e
        self.spent_time_s += time_s
        self.spent_us += beam_on_us
        self.spent_frames += 1
