"""Navigators that go by a learned belief: where what is unseen is likely to be.

A network that was trained on endless specimens of a kind (``belief_training.py``) tells, from all
that was sighted so far, how likely a feature of each class is in each cell of the field.  What a
frame is worth follows: the share of the task that it can be expected to show, by what it would
scan whole that was not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..agent import Context
from ..navigation.navigator import Bools, Candidates, Decision, Floats, Situation, greatest
from ..navigation.search import AROUND, CELLS, CONTEXT, Cover
from ..perception.sightings import BLOCKS
from .sighted import ByNetwork

if TYPE_CHECKING:
    from .network import BeliefNet
    from .weights import Held

F32 = NDArray[np.float32]


class Belief(ByNetwork):
    """Greedy: the frame that can be expected to show most of what is unseen.

    Args:
        belief: a file of weights, or what one holds; by default those in the package for the
            task's classes.
        member: which of the networks in the file, which differ by the seed of their training;
            None for the one that was the median on validation specimens.

    Raises:
        ValueError: no such file or member.
    """

    name = "belief"
    what = "belief"

    def __init__(self, belief: str | Held | None = None, member: int | None = None) -> None:
        super().__init__(belief, member)

    def loaded(self, name: str) -> Held:
        from .weights import load, path_of

        return load(path_of(name))

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        super().reset(context, rng)
        self.net: BeliefNet = self.held.member(self.member)
        self.candidates = Candidates.of(context)
        self.cover = Cover(context, self.candidates)

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        self.laid.follow(situation)
        likely = self.likely()
        value = self.value(likely, situation, free)
        best = greatest(value, free)
        centres = self.candidates.centres_yx_nm
        expected = self._in_frames(likely, self.candidates.centres_yx_nm)
        maps = {
            "expected features": (expected.sum(axis=0), "features a frame"),
            "expected gain": (np.where(free, value, np.nan), "share of the task"),
        }
        return Decision.at(self.context, centres[best], self.why(best, expected, value), maps)

    def likely(self) -> F32:
        """Probability (classes, rows, columns) of a feature of each class in each cell."""
        from .network import probabilities

        return np.asarray(probabilities(self.net, self.laid.evidence)[0])

    def value(self, likely: F32, situation: Situation, free: Bools) -> Floats:
        """Of the candidates (n,): the share of the task that each can be expected to show."""
        from .network import weighed

        told = self.cover.told(situation.measured_yx_nm)
        return worth(weighed(likely[None], self.layers)[0], told, self.cover.places)

    def why(self, best: int, expected: Floats, value: Floats) -> str:
        """One plain sentence without its subject; features (classes, n) are expected in frames."""
        return (
            f"it can be expected to show {value[best]:.2%} of all there is "
            f"({self.likeliest(best, expected)})"
        )

    def likeliest(self, best: int, expected: Floats) -> str:
        """What to expect most of there."""
        top = int(expected[:, best].argmax())
        return f"likeliest {self.layers.classes[top].name}, {expected[top, best]:.2g}"

    def _in_frames(self, likely: F32, centres_yx_nm: Floats) -> Floats:
        """Features of each class (classes, n) to be expected in frames about (n, 2)."""
        under = self.cells.under(centres_yx_nm)
        under = np.clip(under, 0, np.array(self.cells.shape) - 1)
        sums = likely[:, under[..., 0], under[..., 1]].sum(axis=(2, 3))
        return np.asarray(sums, dtype=np.float64)


class BeliefThompson(Belief):
    """Thompson sampling: greedy by one of the networks, another draw at every decision.

    Networks that were trained alike but for the seed agree where the evidence speaks, and differ
    where it does not: so a draw among them stands for one from the posterior (Osband et al., *Deep
    Exploration via Bootstrapped DQN*, NeurIPS 2016).

    Args:
        belief: as of ``Belief``.
    """

    name = "belief-thompson"

    def __init__(self, belief: str | Held | None = None) -> None:
        super().__init__(belief)

    @property
    def settings(self) -> dict[str, Any]:
        return {k: v for k, v in super().settings.items() if k != "member"}

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        super().reset(context, rng)
        if len(self.held.members) < 2:
            raise ValueError("Thompson sampling draws among several networks; the file has one")
        self.drawn = 0

    def likely(self) -> F32:
        self.drawn = int(self.rng.integers(len(self.held.members)))
        self.net = self.held.member(self.drawn)
        return super().likely()

    def why(self, best: int, expected: Floats, value: Floats) -> str:
        return f"{super().why(best, expected, value)}, as network {self.drawn} believes"


def worth(weight: F32, told: NDArray[np.bool_], places: NDArray[np.int64]) -> Floats:
    """What lies in the cells that candidates would tell of.

    Args:
        weight: (rows, columns) of cells, ``BLOCKS`` to a side of a frame.
        told: (n, AROUND, AROUND) finer cells, ``CELLS`` to a side (``Cover.told``).
        places: (n, 2) of the first of a frame's finer cells.
    """
    times = CELLS // BLOCKS
    fine = np.repeat(np.repeat(weight, times, axis=0), times, axis=1) / times**2
    reach = AROUND - CELLS
    fine = np.pad(fine, (CONTEXT, reach))
    windows = np.lib.stride_tricks.sliding_window_view(fine, (AROUND, AROUND))
    # A field that is no multiple of cells ends within one.
    at = np.minimum(places, np.array(windows.shape[:2]) - 1)
    here = windows[at[:, 0], at[:, 1]]
    return np.asarray(np.einsum("nij,nij->n", here, told, dtype=np.float64))
