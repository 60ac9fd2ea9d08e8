"""An episode: one microscope, one task, one budget, and everything taken so far."""

from __future__ import annotations

from math import nan
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..hardware.costs import CostModel, travel_nm
from ..hardware.limits import check
from ..hardware.microscope import YX, Capabilities, Frame, Microscope, ScanRequest
from ..simulators.exposure import Exposure
from .budget import Budget, BudgetError
from .reference import ReferenceFrame
from .tasks import Task


@runtime_checkable
class KnowsExposure(Protocol):
    """A microscope that knows where its electrons truly went."""

    last_exposure: Exposure | None


@runtime_checkable
class LooksBesides(Protocol):
    """A microscope that takes a patch before every so many frames, and charges it to them."""

    patch: ScanRequest
    every: int

    @property
    def due(self) -> ScanRequest | None:
        """The patch, where the next frame is charged for it."""
        ...


class Episode:
    """Takes frames, pays for them, and keeps them.

    Args:
        microscope: opened here.
        task: what is rewarded.
        budget: what may be spent; it belongs to this episode alone.
        reference: the reference frame.
        costs: prices, known before a frame is taken.
        cheapest: the frame that costs least; the reference frame by default.

    Attributes:
        survey: the overview taken before the first frame, where one is granted.
        history: the frames, in order.
        exposures: where the electrons truly went, where the microscope knows.
        gains: the task's gain at each frame.
    """

    def __init__(
        self,
        microscope: Microscope,
        task: Task,
        budget: Budget,
        reference: ReferenceFrame,
        costs: CostModel,
        cheapest: ScanRequest | None = None,
    ) -> None:
        self.microscope = microscope
        self.capabilities: Capabilities = microscope.open()
        self.task = task
        self.budget = budget
        self.reference = reference
        self.costs = costs
        self._knows = microscope if isinstance(microscope, KnowsExposure) else None
        self._besides = microscope if isinstance(microscope, LooksBesides) else None
        self.beam_current_pa = microscope.state().beam_current_pa
        self.survey: Frame | None = None
        self.cheapest = cheapest or reference.at((0.0, 0.0))
        self.history: list[Frame] = []
        self.exposures: list[Exposure] = []
        self.gains: list[float] = []

    @property
    def cheapest(self) -> ScanRequest:
        """The frame that costs least; what ends the episode when it is too dear."""
        return self._cheapest

    @cheapest.setter
    def cheapest(self, request: ScanRequest) -> None:
        self._cheapest = request
        charge = self.costs.charge_e(request, self.beam_current_pa or 0.0)
        self._least = charge, self.costs.time_s(request)

    @property
    def field_yx_nm(self) -> YX:
        return self.capabilities.limits.field_yx_nm

    def take(self, request: ScanRequest) -> Frame:
        """Acquire a frame and pay for it; every frame of an experiment comes this way.

        Raises:
            LimitError, Unsupported: the request is not allowed; nothing is charged.
            BudgetError: it costs more than is left; nothing is charged.
        """
        check(request, self.capabilities.limits, self.beam_current_pa)
        if not self.affords(request):
            raise BudgetError(
                f"this frame costs {self.price(request):.3g} rasters and "
                f"{self.budget.total - self.budget.spent:.3g} are left"
            )
        frame = self.microscope.acquire(request)
        self._pay(frame)
        exposure = None if self._knows is None else self._knows.last_exposure
        if exposure is not None:
            self.exposures.append(exposure)
        self.history.append(frame)
        self.gains.append(self.task.update(exposure))
        return frame

    def look_over(self, request: ScanRequest) -> Frame:
        """Take the survey: before anything else, and paid for like any other frame.

        It shows nothing to the task: its pixels are coarser than any class allows.

        Raises:
            LimitError, Unsupported, BudgetError: as for ``take``.
        """
        check(request, self.capabilities.limits, self.beam_current_pa)
        if not self.affords(request):
            raise BudgetError("the budget does not pay for the survey")
        self.survey = self.microscope.acquire(request)
        self._pay(self.survey)
        return self.survey

    def _pay(self, frame: Frame) -> None:
        charge, current = frame.charge_e, self.beam_current_pa
        if charge is None:  # the instrument does not know it, which does not make it nothing
            charge = nan if current is None else self.costs.charge_e(frame.request, current)
        self.budget.spend(charge, frame.time_s, self.costs.beam_on_us(frame.request))

    @property
    def at_yx_nm(self) -> YX:
        """The centre of the latest frame; the middle of the field before the first."""
        return self.history[-1].request.centre_yx_nm if self.history else (0.0, 0.0)

    def affords(self, request: ScanRequest) -> bool:
        """Whether what is left pays for a request."""
        began = bool(self.history) or self.survey is not None
        way = travel_nm(self.at_yx_nm, request.centre_yx_nm) if began else 0.0
        charge = self.costs.charge_e(request, self.beam_current_pa or 0.0)
        return self._pays_for(charge, self.costs.time_s(request, way))

    def _pays_for(self, charge_e: float, time_s: float) -> bool:
        """Whether what is left pays for a frame, and for what is taken before it."""
        due = None if self._besides is None else self._besides.due
        if due is not None:
            charge_e += self.costs.charge_e(due, self.beam_current_pa or 0.0)
            time_s += self.costs.time_s(due)
        return self.budget.affords(charge_e, time_s)

    @property
    def upkeep(self) -> float:
        """Charge of what is taken besides, in rasters a frame, in the mean."""
        own = self._besides
        return 0.0 if own is None else self.price(own.patch) / own.every

    def price(self, request: ScanRequest) -> float:
        """Charge of a request, in rasters."""
        charge = self.costs.charge_e(request, self.beam_current_pa or 0.0)
        return self.budget.rasters(charge, self.costs.beam_on_us(request))

    @property
    def exhausted(self) -> bool:
        """What is left no longer pays for the cheapest allowed frame."""
        return not self._pays_for(*self._least)

    def display(self, frame: Frame) -> NDArray[np.float32]:
        """The first detector's readings, 0 at black and 1 at full scale of the reference dwell."""
        black, white = self.capabilities.full_scale[frame.request.detectors[0]]
        dwell = self.reference.dwell_us / frame.request.dwell_us
        return (frame.image * np.float32(dwell) - np.float32(black)) / np.float32(white - black)
