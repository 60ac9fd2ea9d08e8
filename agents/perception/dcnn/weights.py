"""Weights of networks as files: safetensors, with what they are for in the header."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ....envs.numbers import is_number
from .. import array_files
from .legend import LEGENDS

if TYPE_CHECKING:
    from .network import UNet

KIND = "stemscout dcnn"
FORMAT = 1
MOST_LEVELS, WIDEST, MOST_MEMBERS = 8, 1024, 32  # a damaged file must not fill the memory
SHIPPED = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Header:
    """What a file of weights is for.

    Attributes:
        specimen: that it was trained on.
        pixel_nm: of the network.
        channels: that it tells, in order.
        widths: of the network's levels.
        members: networks in it.
        card: how it was made and how good it is, for people.
    """

    specimen: str
    pixel_nm: float
    channels: tuple[str, ...]
    widths: tuple[int, ...]
    members: int
    card: dict[str, Any] = field(default_factory=dict)


def save(path: Path, members: Sequence[UNet], header: Header) -> None:
    """Write networks in half precision, which changes no probability by more than 0.01."""
    from .network import state_of

    arrays = {
        f"{k}.{name}": value.detach().numpy().astype(np.float16)
        for k, member in enumerate(members)
        for name, value in state_of(member).items()
    }
    said = {"kind": KIND, "format": str(FORMAT), "header": json.dumps(asdict(header))}
    array_files.write(path, arrays, said)


def load(path: Path, specimen: str | None = None) -> tuple[list[UNet], Header]:
    """The networks of a file, for looking or for training on.

    Args:
        path: of the file.
        specimen: that it must be for; any by default.

    Raises:
        ValueError: no such file, a damaged one, one of something else, or for another specimen.
    """
    import torch

    from .network import UNet

    arrays, said = array_files.read(path)
    tensors = {k: torch.from_numpy(v.astype(np.float32)) for k, v in arrays.items()}
    if said.get("kind") != KIND or said.get("format") != str(FORMAT):
        raise ValueError(
            f"{path} holds {said.get('kind', 'something else')}, format {said.get('format', '?')}; "
            f"wanted is {KIND}, format {FORMAT}"
        )
    header = _header(path, said)
    if not all(np.isfinite(v).all() for v in arrays.values()):
        raise ValueError(f"{path}: it is damaged: weights that are no numbers")
    if specimen is not None and header.specimen != specimen:
        raise ValueError(f"{path} is for {header.specimen}, and not for {specimen}")
    with torch.device("meta"):  # as large as the header says, without the memory
        as_said = UNet(len(header.channels), header.widths).state_dict()
    shapes = {n: v.shape for n, v in as_said.items() if "num_batches" not in n}
    members = []
    for k in range(header.members):
        own = {n.partition(".")[2]: t for n, t in tensors.items() if n.startswith(f"{k}.")}
        if lacking := sorted(own.keys() ^ shapes.keys()):
            raise ValueError(f"{path}: member {k} lacks or has too much: {lacking}")
        if wrong := [n for n, shape in shapes.items() if own[n].shape != shape]:
            raise ValueError(f"{path}: its tensors do not fit its header: {', '.join(wrong)}")
        network = UNet(len(header.channels), header.widths)
        network.load_state_dict(own, strict=False)
        members.append(network)
    return members, header


def path_of(weights: str | Path) -> Path:
    """Of the weights in the package for a kind of specimen, by its name, or of a file.

    Raises:
        ValueError: none are shipped for it.
    """
    specimen = str(weights)
    if specimen not in LEGENDS:
        return Path(weights)
    path = SHIPPED / f"{specimen}.safetensors"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.safetensors"))) or "none"
        raise ValueError(f"no network is shipped for {specimen!r}; there are: {known}")
    return path


def _header(path: Path, said: dict[str, str]) -> Header:
    try:
        plain = json.loads(said["header"])
        header = Header(**{**plain, **{k: tuple(plain[k]) for k in ("channels", "widths")}})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: its header cannot be read: {error}") from error
    pixel = header.pixel_nm
    wrong = [
        f"{name} is {repr(getattr(header, name))[:40]}"
        for name, sound in {
            "specimen": isinstance(header.specimen, str),
            "pixel_nm": is_number(pixel) and 0 < pixel < np.inf,
            "channels": all(isinstance(c, str) for c in header.channels),
            "widths": 1 <= len(header.widths) <= MOST_LEVELS
            and all(is_number(w, Integral) and 0 < w <= WIDEST for w in header.widths),
            "members": is_number(header.members, Integral) and 0 < header.members <= MOST_MEMBERS,
            "card": _is_card(header.card),
        }.items()
        if not sound
    ]
    if wrong:
        raise ValueError(f"{path}: its header is damaged: {', '.join(wrong)}")
    expected = LEGENDS.get(header.specimen)
    if expected is None or expected.channels != header.channels:
        raise ValueError(
            f"{path} tells {', '.join(header.channels)} of {header.specimen}; this version of "
            "stemscout knows other channels; train it anew"
        )
    return header


def _is_card(card: Any) -> bool:
    """What a network's work goes by is sound: thresholds, and the greatest noise."""
    if not (isinstance(card, dict) and isinstance(card.get("thresholds", {}), dict)):
        return False
    goes_by = [*card.get("thresholds", {}).values(), card.get("noise", 0.5)]
    return all(is_number(v) and 0 <= v < np.inf for v in goes_by)
