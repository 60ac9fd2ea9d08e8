"""Files of trained policies: several of one training, which differ by their seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..perception import array_files
from ..perception.sightings import Layers
from . import kept
from .actor import ALGORITHMS, AS_FRAMES, Preference
from .kept import chosen, median, packed, unpacked
from .own_belief import OwnBelief

SHIPPED = Path(__file__).with_name("policies")
KIND, VERSION = "stemscout policy", "1"
# What encodes the evidence: nothing, the belief in the package, or a policy's own, tuned with it.
BELIEFS = ("none", "frozen", "tuned")
# Where the network that prefers frames is found among a policy's parameters.
ACTOR = {
    "ppo": "mlp_extractor.actor.",
    "maskable-ppo": "mlp_extractor.actor.",
    "dqn": "q_net.q_net.",
}

State = dict[str, torch.Tensor]


@dataclass(frozen=True, eq=False)
class Policies:
    """What a file holds.

    Attributes:
        specimen: that they were trained on.
        algorithm: by which.
        network: ``width`` and ``dilations``, where they are not the usual ones.
        belief: that encodes the evidence, one of ``BELIEFS``.
        members: parameters, one set for each seed of training: the actor's alone where that
            prefers frames, else the whole policy's.
        card: how they were made and how good they are; ``median`` is the member to take.
    """

    specimen: str
    algorithm: str
    network: dict[str, Any]
    belief: str
    members: tuple[State, ...]
    card: dict[str, Any] = field(default_factory=dict)

    def member(self, number: int | None = None) -> State:
        """The parameters of one of them; of the median by default."""
        return chosen(self.members, self.card, number)

    def preference(self, number: int | None = None) -> Preference:
        """One of them as a network; ValueError where the algorithm has none that prefers."""
        if self.algorithm not in AS_FRAMES:
            raise ValueError(f"{self.algorithm} prefers no frames")
        own = OwnBelief(Layers.of(self.specimen)) if self.belief == "tuned" else None
        made = Preference(**self.network, own=own)
        made.load_state_dict(self.member(number))
        return made.eval()


def state_of(algorithm: str, state: Mapping[str, torch.Tensor]) -> State:
    """What is kept of the parameters of a policy of Stable-Baselines3."""
    begins = ACTOR.get(algorithm, "")
    return {k.removeprefix(begins): v for k, v in state.items() if k.startswith(begins)}


def together(made: Sequence[Policies]) -> Policies:
    """Trainings of several seeds as one; the median of them by validation is the one to take."""
    first = made[0]
    best = median([float(m.card["area"]) for m in made])
    card = {"members": [m.card for m in made], "median": best}
    members = tuple(m.members[0] for m in made)
    return Policies(first.specimen, first.algorithm, first.network, first.belief, members, card)


def path_of(policy: str | Path) -> Path:
    """A file, or that of the specimen in the package; ValueError where there is none."""
    return kept.path_of("policy", SHIPPED, policy)


def save(path: Path, held: Policies) -> None:
    """Write a file."""
    about = {
        "kind": KIND,
        "version": VERSION,
        "specimen": held.specimen,
        "algorithm": held.algorithm,
        "network": json.dumps(held.network),
        "belief": held.belief,
        "card": json.dumps(held.card),
    }
    array_files.write(path, packed(held.members), about)


def load(path: Path) -> Policies:
    """Read a file.

    Raises:
        ValueError: no such file, a damaged one, or one of something else.
    """
    arrays, about = array_files.read(path)
    if about.get("kind") != KIND or about.get("version") != VERSION:
        raise ValueError(f"{path} holds no policy that this version of stemscout reads")
    try:
        held = Policies(
            about["specimen"],
            about["algorithm"],
            json.loads(about["network"]),
            about["belief"],
            tuple(unpacked(arrays)),
            json.loads(about["card"]),
        )
        if held.algorithm not in ALGORITHMS:
            raise ValueError(f"an algorithm {held.algorithm!r}")
        if held.belief not in BELIEFS:
            raise ValueError(f"a belief {held.belief!r}")
        if held.algorithm in AS_FRAMES:
            for k in range(len(held.members)):
                held.preference(k)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or of another version: {error}") from error
    return held
