"""What was sent so far: charge, time, and where on the specimen it went."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .costs import CostModel
from .dose import DoseMap, dose_of
from .limits import Sent
from .microscope import Frame, Limits, ScanRegion, ScanRequest, State


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
        self._sent(frame.request, frame.region, frame.state, frame.charge_e)

    def count_whole(self, request: ScanRequest, state: State) -> None:
        """A scan began whose end nobody knows: it counts as whole."""
        self.time_s += self.costs.time_s(request)
        self._sent(request, request.region, state, None)

    def _sent(
        self, request: ScanRequest, region: ScanRegion, state: State, charge_e: float | None
    ) -> None:
        current = state.beam_current_pa
        if current is None or state.blanked or self.dose is None:
            return
        self.charge_e += self.costs.charge_e(request, current) if charge_e is None else charge_e
        self.dose.add(region, state, dose_of(request, current))

    def resume(
        self, frames: Iterable[Frame], unanswered: Iterable[tuple[ScanRequest, State]]
    ) -> None:
        """What an earlier session over the same instrument has sent (``replayed.Told``)."""
        for frame in frames:
            self.count(frame)
        for request, state in unanswered:
            self.count_whole(request, state)

    def moved(self) -> None:
        """The stage has moved now."""
        self._moved = time.monotonic()
