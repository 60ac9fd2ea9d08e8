"""Files of trained beliefs: several networks of one kind, which differ by their seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..perception import array_files
from ..perception.sightings import Layers
from . import kept
from .kept import chosen, packed, unpacked
from .network import BeliefNet

SHIPPED = Path(__file__).with_name("beliefs")
KIND, VERSION = "stemscout belief", "1"


@dataclass(frozen=True, eq=False)
class Held:
    """What a file holds.

    Attributes:
        specimen: that the networks are for.
        members: one for each seed of training.
        card: how they were made and how good they are; ``median`` is the member to take.
    """

    specimen: str
    members: tuple[BeliefNet, ...]
    card: dict[str, Any]

    def member(self, number: int | None = None) -> BeliefNet:
        """One of them, ready to be asked; the median by default."""
        return chosen(self.members, self.card, number).eval()


def path_of(network: str | Path) -> Path:
    """A file, or that of the specimen in the package; ValueError where there is none."""
    return kept.path_of("belief", SHIPPED, network)


def save(path: Path, held: Held) -> None:
    """Write a file."""
    arrays = packed([member.state_dict() for member in held.members])
    about = {"kind": KIND, "version": VERSION, "specimen": held.specimen}
    array_files.write(path, arrays, {**about, "card": json.dumps(held.card)})


def load(path: Path) -> Held:
    """Read a file.

    Raises:
        ValueError: no such file, a damaged one, or one of something else.
    """
    arrays, about = array_files.read(path)
    if about.get("kind") != KIND or about.get("version") != VERSION:
        raise ValueError(f"{path} holds no belief that this version of stemscout reads")
    try:
        specimen, card = about["specimen"], json.loads(about["card"])
        layers = Layers.of(specimen)
        members = []
        for state in unpacked(arrays):
            member = BeliefNet(2 + len(layers.names), len(layers.classes))
            member.load_state_dict(state)
            members.append(member.eval())
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or of other classes: {error}") from error
    return Held(specimen, tuple(members), card)


def belief_of(specimen: str) -> BeliefNet:
    """The median belief in the package for a specimen; ValueError where there is none."""
    return load(path_of(specimen)).member()
