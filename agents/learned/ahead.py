"""The belief with the rest of the budget in mind."""

from __future__ import annotations

from math import inf
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np

from ...envs.numbers import is_number
from ..navigation.navigator import PITCH, Bools, Floats, Situation
from ..navigation.search import block_best, block_greatest
from ..perception.sightings import BLOCKS
from .belief import F32, Belief, worth
from .evidence import Evidence, Ints

if TYPE_CHECKING:
    from .weights import Held

SIDE = round(1 / PITCH)  # candidates to a side of what one frame accounts for


class BeliefAhead(Belief):
    """Budget-aware: what a frame shows, and what knowing that makes the rest of the budget worth.

    ENS (Jiang et al., *Efficient Nonmyopic Active Search*, ICML 2017, eq. 5) with the network in
    the place of a Gaussian process: of the best candidates, no two in one place, outcomes are
    drawn from what is likely; after each the network is asked anew, and all frames that are left
    are spent at once on the best places.  A candidate's value is what it shows itself, and
    what they do.

    Args:
        closely: candidates that are looked at so.
        outcomes: of each.
        belief, member: as of ``Belief``.
    """

    name = "belief-ahead"

    def __init__(
        self,
        closely: int = 8,
        outcomes: int = 3,
        belief: str | Held | None = None,
        member: int | None = None,
    ) -> None:
        super().__init__(belief, member)
        for name, given in (("closely", closely), ("outcomes", outcomes)):
            if not (is_number(given, Integral) and given >= 1):
                raise ValueError(f"{name} is {given!r}; it must be an integer, at least 1")
        self.closely, self.outcomes = closely, outcomes

    @property
    def settings(self) -> dict[str, Any]:
        return {"closely": self.closely, "outcomes": self.outcomes, **super().settings}

    def value(self, likely: F32, situation: Situation, free: Bools) -> Floats:
        own = super().value(likely, situation, free)
        left = situation.left - 1
        ranked = np.where(free, own, -inf)
        best = block_best(ranked, self.candidates.shape, SIDE)
        chosen = best[np.argsort(-ranked[best], kind="stable")][: self.closely]
        chosen = chosen[free[chosen]]
        if left < 1 or not len(chosen):
            return own
        told = self.cover.told(situation.measured_yx_nm)
        to_come = self._to_come(likely, chosen, told, free, left)
        # Those not looked at keep their order below all that were.
        values = own - 1.0 + float(to_come.min())
        values[chosen] = own[chosen] + to_come
        return np.asarray(values)

    def _to_come(self, likely: F32, chosen: Ints, told: Bools, free: Bools, left: int) -> Floats:
        """The share of the task (m,) that the frames after a chosen one can be expected to show."""
        from .network import probabilities, weighed

        under = np.repeat(
            self.cells.under(self.candidates.centres_yx_nm[chosen]), self.outcomes, axis=0
        )
        imagined = Evidence(self.cells, len(self.layers.names), len(under))
        imagined.looks[:], imagined.sums[:] = self.laid.evidence.looks, self.laid.evidence.sums
        imagined.add(np.arange(len(under)), under, self._drawn(likely, under))
        then = weighed(probabilities(self.net, imagined), self.layers)
        gains = np.empty(len(under))
        for k, weight in enumerate(then):
            weight[imagined.looks[k] > self.laid.evidence.looks[0]] = 0.0  # the chosen one's own
            rest = np.where(free, worth(weight, told, self.cover.places), 0.0)
            best = block_greatest(rest[None], self.candidates.shape, SIDE)[0]
            gains[k] = np.sort(best)[::-1][:left].sum()
        return np.asarray(gains.reshape(len(chosen), self.outcomes).mean(axis=1))

    def _drawn(self, likely: F32, under: Ints) -> F32:
        """What may be sighted (m, layers, BLOCKS, BLOCKS) where nobody looked; NaN elsewhere."""
        told = np.zeros((len(under), len(self.layers.names), BLOCKS, BLOCKS), dtype=np.float32)
        at = np.clip(under, 0, np.array(self.cells.shape) - 1)
        p = np.moveaxis(likely[:, at[..., 0], at[..., 1]], 0, 1)
        told[:, : p.shape[1]] = self.rng.random(p.shape, dtype=np.float32) < p
        known = self.laid.evidence.looks[0][at[..., 0], at[..., 1]] > 0
        return np.where(known[:, None], np.float32(np.nan), told)

    def why(self, best: int, expected: Floats, value: Floats) -> str:
        return (
            f"{value[best]:.1%} of all there is can be expected of the rest of the budget if it "
            f"begins there ({self.likeliest(best, expected)})"
        )
