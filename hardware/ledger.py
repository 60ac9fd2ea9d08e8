"""What was sent so far: charge, time, and where on the specimen it went."""

from __future__ import annotations

import time

from .costs import CostModel
from .dose import DoseMap, dose_of
from .limits import Sent
from .microscope import Frame, Limits, State


class Ledger:
    """Counts frames, for the limits on totals.

    Attributes:
        costs: prices of what is to be sent.
        charge_e, time_s: of all frames.
        dose: where it went; None before ``begin``.
    """

    def __init__(self) -> None:
        self.costs = CostModel()
        self.charge_e, self.time_s = 0.0, 0.0
        self.dose: DoseMap | None = None
        self._moved = float("-inf")

    def begin(self, limits: Limits, costs: CostModel) -> None:
        """Over an instrument; what was counted before stays."""
        self.costs = costs
        self.dose = self.dose or DoseMap.over(limits)

    def sent(self, state: State) -> Sent:
        """What ``check`` looks at, with the instrument in a state."""
        dose = self.dose if state.beam_current_pa is not None else None
        since = time.monotonic() - self._moved
        return Sent(state, self.costs, self.charge_e, self.time_s, dose, since)

    def count(self, frame: Frame) -> None:
        """A frame was taken, or may have been."""
        self.time_s += frame.time_s
        current = frame.state.beam_current_pa
        if current is not None and not frame.state.blanked and self.dose is not None:
            self.charge_e += frame.charge_e or 0.0
            self.dose.add(frame.region, frame.state, dose_of(frame.request, current))

    def moved(self) -> None:
        """The stage has moved now."""
        self._moved = time.monotonic()
