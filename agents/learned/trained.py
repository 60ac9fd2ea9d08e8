"""The navigator that goes by a policy trained by reinforcement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..agent import Context
from ..navigation.navigator import Candidates, Decision, Floats, Situation, greatest
from ..perception.sightings import BLOCKS
from .evidence import F32
from .sighted import ByNetwork

if TYPE_CHECKING:
    from .policies import Policies


class Policy(ByNetwork):
    """Takes the frame that a trained policy prefers.

    It goes by the same maps as in training (``outlook.py``), over the frames of its own lattice,
    none of which it takes twice.  They name no class: so a policy that was trained on one kind of
    specimen can be asked for on another, whose own belief encodes the evidence for it then; one
    that has tuned a belief of its own cannot.

    Args:
        policy: a file or the name of one in the package, or what one holds; by default those in
            the package for the task's classes.
        member: which of the policies in the file, which differ by the seed of their training; None
            for the one that was the median on validation specimens.

    Raises:
        ValueError: no such file or member.
    """

    name = "policy"
    what = "policy"

    def __init__(self, policy: str | Policies | None = None, member: int | None = None) -> None:
        super().__init__(policy, member)

    def loaded(self, name: str) -> Policies:
        from .policies import load, path_of

        return load(path_of(name))

    def suits(self, held: Policies, specimen: str) -> bool:
        return held.specimen == specimen or held.belief != "tuned"

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        from .rehearsal import lattice_centres, lattice_shape
        from .weights import belief_of

        super().reset(context, rng)
        self.net = self.held.preference(self.member)
        self.belief = belief_of(self.specimen) if self.held.belief == "frozen" else None
        half = np.asarray(context.reference.half_range_yx_nm(context.field_yx_nm))
        centres = np.clip(lattice_centres(self.cells), -half, half)  # cells may reach beyond
        self.candidates = Candidates(centres, lattice_shape(self.cells.shape))
        self.raster = self.cells.shape[0] * self.cells.shape[1] / BLOCKS**2

    def decide(self, situation: Situation) -> Decision | None:
        free = self.candidates.free(self.context, situation)
        if not free.any():
            return None
        self.laid.follow(situation)
        preferred = self.preferences(situation)
        best = greatest(preferred, free)
        shown = np.where(free, preferred - preferred[free].max(), -np.inf)
        chance = np.exp(shown)
        chance /= chance.sum()
        maps = {"preference": (np.where(free, chance, np.nan), "share")}
        centre = self.candidates.centres_yx_nm[best]
        return Decision.at(self.context, centre, self.why(chance[best]), maps)

    def why(self, share: float) -> str:
        """One plain sentence without its subject."""
        return (
            f"a policy trained by {self.held.algorithm} on {self.held.specimen} prefers it "
            f"({share:.1%} of its preference)"
        )

    def preferences(self, situation: Situation) -> Floats:
        """Of the candidates (n,): the logarithms of how much each is preferred."""
        import torch

        with torch.inference_mode():
            told = self.net(torch.from_numpy(self.outlook(situation)))
        return np.asarray(told[0].numpy(), dtype=np.float64)

    def outlook(self, situation: Situation) -> F32:
        """The maps (1, channels, rows, columns) that the policy goes by."""
        from .network import probabilities
        from .outlook import outlook

        taken = np.zeros(len(self.candidates.centres_yx_nm), dtype=bool)
        laid = self.laid
        if len(laid.of):
            taken[self.candidates.nearest(laid.of)] = True
        likely = None if self.belief is None else probabilities(self.belief, laid.evidence)
        left = np.array([situation.left / self.raster], dtype=np.float32)
        shape = (1, *self.candidates.shape)
        own = self.held.belief == "tuned"
        taken = taken.reshape(shape)
        return outlook(laid.evidence, laid.told, taken, left, self.layers, likely, own)
