"""Files of trained beliefs: several networks of one kind, which differ by their seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..perception import array_files
from ..perception.sightings import Layers
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
        number = int(self.card.get("median", 0)) if number is None else number
        if not 0 <= number < len(self.members):
            raise ValueError(f"member {number}; the file has {len(self.members)}, from 0 on")
        return self.members[number].eval()


def path_of(network: str | Path) -> Path:
    """A file, or that of the specimen in the package.

    Raises:
        ValueError: there is none.
    """
    shipped = SHIPPED / f"{network}.safetensors"
    if shipped.is_file():
        return shipped
    if network and Path(network).is_file():
        return Path(network)
    known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none"
    raise ValueError(
        f"no belief {str(network)!r}; in the package there are those for: {known}; or give the "
        "path of a file"
    )


def save(path: Path, held: Held) -> None:
    """Write a file; half precision is enough for a network's numbers."""
    arrays = {
        f"{k}.{name}": value.half().numpy()
        for k, member in enumerate(held.members)
        for name, value in member.state_dict().items()
    }
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
        count = 1 + max(int(name.partition(".")[0]) for name in arrays)
        members = []
        for k in range(count):
            member = BeliefNet(2 + len(layers.names), len(layers.classes))
            own = {
                name.partition(".")[2]: torch.from_numpy(value).float()
                for name, value in arrays.items()
                if name.startswith(f"{k}.")
            }
            member.load_state_dict(own)
            members.append(member.eval())
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is damaged, or of other classes: {error}") from error
    return Held(specimen, tuple(members), card)
