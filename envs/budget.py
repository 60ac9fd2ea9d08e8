"""What an experiment may spend.

Charge, in electrons, is the currency; time is the second.  A budget of 1.0 is
the charge of one contiguous raster of the whole field in reference frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..hardware.costs import CostModel
from ..hardware.microscope import YX, ScanRequest
from .reference import ReferenceFrame

ROUNDING = 1e-9  # relative; sums of equal charges must not miss the last frame by it


class BudgetError(ValueError):
    """A budget that makes no sense, or a frame that it no longer pays for."""


@dataclass
class Budget:
    """Charge and time: how much there is, and how much is spent.

    Attributes:
        charge_e: electrons allowed.
        time_s: seconds allowed; None is without limit.
        raster_charge_e: electrons of one full raster, the unit of budgets.
    """

    charge_e: float
    time_s: float | None
    raster_charge_e: float
    spent_charge_e: float = 0.0
    spent_time_s: float = 0.0

    @classmethod
    def relative(
        cls,
        fraction: float,
        field_yx_nm: YX,
        reference: ReferenceFrame,
        costs: CostModel,
        beam_current_pa: float | None,
        time_s: float | None = None,
    ) -> Budget:
        """A budget in rasters of the field.

        Raises:
            BudgetError: a fraction outside (0, 1], a time that is not above 0,
                less than one frame, or no known beam current.
        """
        if beam_current_pa is None:
            raise BudgetError(
                "the beam current is unknown, so charge cannot be counted; declare the current, "
                "or set a budget of time or frames"
            )
        if not (np.isfinite(fraction) and 0 < fraction <= 1):
            raise BudgetError(
                f"a budget of {fraction}; it must be above 0 and at most 1, which is one "
                "contiguous raster of the whole field"
            )
        if time_s is not None and not time_s > 0:
            raise BudgetError(f"a time budget of {time_s} s; it must be above 0")
        frame = costs.charge_e(reference.at((0.0, 0.0)), beam_current_pa)
        frames = len(reference.lattice(field_yx_nm)[0])
        if fraction * frames < 1:
            raise BudgetError(
                f"a budget of {fraction:g} does not pay for one frame; with {frames} frames to the "
                f"raster it must be at least {1 / frames:.4f}"
            )
        least = costs.time_s(reference.at((0.0, 0.0)))
        if time_s is not None and time_s < least:
            raise BudgetError(f"a time budget of {time_s} s; one frame takes {least:.3g} s")
        return cls(fraction * frames * frame, time_s, frames * frame)

    @property
    def charge_left(self) -> float:
        """The share of the charge that is left, in [0, 1]."""
        return max(0.0, 1.0 - self.spent_charge_e / self.charge_e)

    @property
    def time_left(self) -> float:
        """The share of the time that is left; 1 where it is without limit."""
        return 1.0 if self.time_s is None else max(0.0, 1.0 - self.spent_time_s / self.time_s)

    @property
    def spent(self) -> float:
        """Charge spent, in rasters."""
        return self.spent_charge_e / self.raster_charge_e

    @property
    def total(self) -> float:
        """The whole budget, in rasters."""
        return self.charge_e / self.raster_charge_e

    def affords(self, charge_e: float, time_s: float) -> bool:
        if self.spent_charge_e + charge_e > self.charge_e * (1 + ROUNDING):
            return False
        return self.time_s is None or self.spent_time_s + time_s <= self.time_s * (1 + ROUNDING)

    def affords_request(
        self, request: ScanRequest, costs: CostModel, beam_current_pa: float
    ) -> bool:
        return self.affords(costs.charge_e(request, beam_current_pa), costs.time_s(request))

    def spend(self, charge_e: float, time_s: float) -> None:
        self.spent_charge_e += charge_e
        self.spent_time_s += time_s
