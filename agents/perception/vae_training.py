"""Training an ``InvariantVAE``, before a run or between the frames of one; and its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import array_files
from .array_files import Arrays
from .invariant_vae import InvariantVAE, Patches

RATE = 2e-3
BATCH = 100
ANNEALED = 100  # steps over which the divergence from the priors gains its full weight
FINEST = 1e-6  # relative; patches that vary less are constant
KIND, VERSION = "stemscout rvae", "2"
TURNS = (17.0, 45.0, 131.0)  # degrees
TURNED = 500


@dataclass(frozen=True)
class Cut:
    """How patches are cut from frames: as windows, or about columns.

    Attributes:
        descriptor: what a patch shows of its place: ``fft``, or ``raw``.
        window: side of a window, as a share of the frame; None about columns.
        around_nm: half the side of a patch about a column; None of windows.
    """

    descriptor: str
    window: float | None = None
    around_nm: float | None = None

    def __post_init__(self) -> None:
        if (self.window is None) == (self.around_nm is None):
            raise ValueError("patches are cut as windows or about columns: one of the two")

    def __str__(self) -> str:
        if self.window is not None:
            return f"windows ({self.descriptor}) of {self.window} of the frame"
        return f"patches ({self.descriptor}) of {self.around_nm} nm about columns"

    def as_strings(self) -> dict[str, str]:
        """What of it is not None, by name."""
        every = {"window": self.window, "around_nm": self.around_nm}
        sizes = {k: repr(float(v)) for k, v in every.items() if v is not None}
        return {"descriptor": self.descriptor, **sizes}

    @classmethod
    def of_strings(cls, strings: Mapping[str, str]) -> Cut:
        """The inverse; KeyError or ValueError of strings that say nothing of the kind."""
        sizes = {k: float(strings[k]) for k in ("window", "around_nm") if k in strings}
        return cls(strings["descriptor"], **sizes)


class Weights(NamedTuple):
    """A file of weights.

    Attributes:
        network: trained.
        cut: how the patches were cut that it was trained on.
        specimen: the kind whose frames these were; None where it is not known.
    """

    network: InvariantVAE
    cut: Cut
    specimen: str | None


class Training:
    """Adam on a network: steps that may be broken off and gone on with.

    What step k draws follows from ``seed`` and k alone.

    Attributes:
        done: steps so far; the annealing goes by them.
    """

    def __init__(self, network: InvariantVAE, seed: int, done: int = 0) -> None:
        self.network, self.seed, self.done = network, seed, done
        self._adam = torch.optim.Adam(network.parameters(), lr=RATE)

    def run(self, patches: Patches, steps: int, batch: int = BATCH) -> None:
        """So many steps on patches (n, side, side), as they come; none changes nothing."""
        if not steps:
            return
        middle, spread = float(patches.mean()), float(patches.std())
        varies = spread > FINEST * abs(middle)
        self.network.middle.fill_(middle)
        self.network.spread.fill_(spread if varies else 1.0)
        every = torch.as_tensor(patches)
        width = self.network.latents + self.network.poses
        for _ in range(steps):
            rng = np.random.default_rng((self.seed, self.done))
            drawn = torch.from_numpy(rng.choice(len(every), min(batch, len(every)), replace=False))
            noise, moves = torch.from_numpy(rng.standard_normal((2, len(drawn), width), np.float32))
            turns = torch.from_numpy(rng.uniform(0.0, 2 * np.pi, len(drawn)).astype(np.float32))
            weight = min(1.0, self.done / ANNEALED)
            pictures = self.network.standard(every[drawn])
            loss = self.network.loss(pictures, noise, moves, turns, weight)
            self._adam.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._adam.step()
            self.done += 1

    def save(self) -> Arrays:
        """The network and Adam's moments."""
        found = {f"network.{k}": v for k, v in self.network.arrays().items()}
        for k, state in self._adam.state_dict()["state"].items():
            found |= {f"adam.{k}.{name}": v.numpy().copy() for name, v in state.items()}
        return found

    def restore(self, arrays: Mapping[str, NDArray[np.float32]], done: int) -> None:
        """What ``save`` gave."""
        within = {k.partition(".")[2]: v for k, v in arrays.items() if k.startswith("network.")}
        self.network.take(within)
        state: dict[int, dict[str, Tensor]] = {}
        for key, array in arrays.items():
            if key.startswith("adam."):
                _, k, name = key.split(".")
                state.setdefault(int(k), {})[name] = torch.tensor(array)
        self._adam.load_state_dict({**self._adam.state_dict(), "state": state})
        self.done = done


def train(patches: Patches, steps: int, seed: int = 0, **options: Any) -> InvariantVAE:
    """A network trained on patches.

    Args:
        patches: (n, side, side), square, of any scale.
        steps: of Adam on ``BATCH`` patches each; 100 pass 10,000 by.
        seed: of all that is drawn.
        options: of ``InvariantVAE``.

    Raises:
        ValueError: no patches, or such as are not square or hold no numbers.
    """
    patches = np.asarray(patches, dtype=np.float32)
    if patches.ndim != 3 or not len(patches) or patches.shape[1] != patches.shape[2]:
        raise ValueError(f"patches of shape {patches.shape}; it must be (n, side, side)")
    if not np.isfinite(patches).all():
        raise ValueError("patches that hold no numbers; leave them out")
    network = InvariantVAE(**options, side=patches.shape[1], seed=seed)
    Training(network, seed).run(patches, steps)
    return network


def card(network: InvariantVAE, patches: Patches, clean: Patches) -> dict[str, float]:
    """How good a network is on patches (n, side, side) that it has not seen.

    ``residual``: mean squared error, as a share of the variance of those that it was trained on.
    ``drift``: by how much the content moves when patches are turned, in its spread over the
    patches, root mean square over ``TURNS`` and at most ``TURNED`` patches, of the clean ones: a
    picture that is turned is interpolated, which takes noise out of it.
    """
    from scipy.ndimage import rotate

    found = network.infer(patches)
    some = clean[:: max(1, -(-len(clean) // TURNED))]
    before = network.content(some)
    spread = np.maximum(before.std(axis=0), FINEST)
    moved = [
        (network.content(rotate(some, t, (1, 2), reshape=False, mode="nearest")) - before) / spread
        for t in TURNS
    ]
    return {
        "held_out_patches": len(patches),
        "residual": round(float(found.residual.mean()), 4),
        "drift": round(float(np.sqrt(np.mean(np.square(moved)))), 4),
    }


def save_weights(
    path: str | Path,
    network: InvariantVAE,
    cut: Cut,
    specimen: str | None = None,
    card: Mapping[str, Any] | None = None,
) -> None:
    """A network into a safetensors file.

    Args:
        path: of the file.
        network: trained.
        cut: how its patches were cut.
        specimen: the kind of specimen that its patches showed.
        card: how it was made and how good it is, as JSON.
    """
    metadata = {
        "kind": KIND,
        "version": VERSION,
        "side": str(network.side),
        "latents": str(network.latents),
        "invariances": network.invariances,
        "skip": str(network.skip).lower(),
        **cut.as_strings(),
        **({} if specimen is None else {"specimen": specimen}),
        "card": json.dumps(dict(card or {})),
    }
    array_files.write(path, network.arrays(), metadata)


def load_weights(path: str | Path) -> Weights:
    """What ``save_weights`` wrote.

    Raises:
        ValueError: a file that is damaged, of another kind or version, whose metadata
            are not known, or whose arrays are not those of such a network.
    """
    arrays, metadata = array_files.read(path)
    if metadata.get("kind") != KIND or metadata.get("version") != VERSION:
        raise ValueError(
            f"{path} holds {metadata.get('kind', 'weights of no kind')!r}, version "
            f"{metadata.get('version')!r}; it must be {KIND!r}, version {VERSION!r}"
        )
    try:
        invariances = metadata["invariances"].split()
        network = InvariantVAE(
            int(metadata["latents"]),
            "translation" in invariances,
            "scale" in invariances,
            {"true": True, "false": False}[metadata["skip"]],
            int(metadata["side"]),
        )
        cut = Cut.of_strings(metadata)
        network.take(arrays)
    except KeyError as error:
        raise ValueError(f"{path}: its metadata say nothing known of {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if " ".join(invariances) != network.invariances:
        raise ValueError(f"{path}: unknown invariances {metadata['invariances']!r}")
    return Weights(network, cut, metadata.get("specimen"))
