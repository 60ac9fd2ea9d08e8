"""What the frames of a run sighted and told of, laid on its field as they come."""

from __future__ import annotations

import numpy as np

from ..navigation.navigator import Situation
from .evidence import Cells, Evidence
from .told import Told

ONE = np.zeros(1, dtype=np.int64)  # the one episode


class Laid:
    """Of one run.

    Args:
        cells: of its field.
        layers: of every sighting.

    Attributes:
        evidence: what was sighted.
        told: what frames told of.
        of: (k, 2) centres of the frames that are laid.
    """

    def __init__(self, cells: Cells, layers: int) -> None:
        self.cells, self.layers = cells, layers
        self._forget()

    def _forget(self) -> None:
        self.evidence = Evidence(self.cells, self.layers)
        self.told = Told(self.cells)
        self.of = np.empty((0, 2))

    def follow(self, situation: Situation) -> None:
        """Lay the frames that are new; all of them where the stage has moved."""
        measured, sighted = situation.measured_yx_nm, situation.sightings
        known = len(self.of)
        if not np.array_equal(measured[:known], self.of):
            self._forget()
            known = 0
        for k in range(known, len(measured)):
            assert sighted is not None
            here = measured[k : k + 1]
            self.evidence.add(ONE, self.cells.under(here), sighted[k : k + 1])
            self.told.add(ONE, self.told.corners(here))
        self.of = measured.copy()
