"""Networks of others beside ours: AtomAI's (Ziatdinov et al., *Nature Machine Intelligence* 4,
2022, 1101) and pyroVED's (Ziatdinov et al., arXiv:2104.10180).

Neither is a dependency: each is imported where it begins.  All autoencoders have two content
latents, are asked for rotation alone, for the patches are centred, and take batches of 100.  All
else is as the peers' own manuals have it: AtomAI's rVAE with a prior of the angle of pi / 2,
squared errors and Adam at 1e-4; pyroVED's iVAE with its Bernoulli decoder and Adam at 1e-3.  Each
is trained epoch by epoch by one optimiser, which keeps its moments.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from math import pi
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..agents.perception.invariant_vae import InvariantVAE
from ..agents.perception.vae_training import BATCH, Training

LATENTS = 2
CHUNK = 250  # patches that are decoded at once: coordinate by coordinate that takes memory
SEGMENTERS = ("Unet", "dilnet", "SegResNet", "ResHedNet")  # by the names AtomAI has for them
F32 = NDArray[np.float32]


class Encoded(NamedTuple):
    """What an autoencoder makes of n patches.

    Attributes:
        content: (n, 2), posterior means.
        angle_rad: (n,), in its own sense of turning.
        pictures: (n, side, side), reconstructed, in the patches' units.
    """

    content: F32
    angle_rad: F32
    pictures: F32


class Autoencoder(Protocol):
    """Made of patches (n, side, side) of mean 0 and variance 1 and a seed; trained by epochs."""

    def epoch(self) -> None:
        """All patches once."""

    def encoded(self, patches: F32) -> Encoded:
        """Of patches that it may not have seen."""


class Own:
    """Ours; an epoch is as many steps of ``BATCH`` patches as it takes to see so many."""

    def __init__(self, patches: F32, seed: int) -> None:
        network = InvariantVAE(LATENTS, side=patches.shape[1], seed=seed)
        self.patches, self.training = patches, Training(network, seed)

    def epoch(self) -> None:
        self.training.run(self.patches, -(-len(self.patches) // BATCH))

    def encoded(self, patches: F32) -> Encoded:
        network = self.training.network
        found = network.infer(patches)
        return Encoded(found.content, found.angle_rad, network.reconstructed(patches))


class AtomAi:
    """AtomAI's rVAE.  Squared errors count as in noise of variance 1, as the patches have it.

    Its weights begin alike whatever the seed (0.8.1): the seed is of what it draws.
    """

    def __init__(self, patches: F32, seed: int) -> None:
        import atomai

        self.patches = patches
        self.folder = TemporaryDirectory()  # it saves itself after each epoch
        self.model: Any = atomai.models.rVAE(
            patches.shape[1:], latent_dim=LATENTS, translation=False, seed=seed
        )

    def epoch(self) -> None:
        # The model makes its Adam at the first fit and goes on with it at the next.
        with _silent():
            self.model.fit(
                self.patches,
                training_cycles=1,
                batch_size=min(BATCH, len(self.patches)),
                rotation_prior=pi / 2,
                filename=str(Path(self.folder.name) / "model"),
            )

    def encoded(self, patches: F32) -> Encoded:
        from atomai.utils import transform_coordinates

        means, _ = self.model.encode(patches)
        return _decoded(
            torch.from_numpy(means),
            self.model.x_coord,
            lambda grid, angle: transform_coordinates(grid, angle, 0),
            self.model.decoder_net,
        )


class PyroVed:
    """pyroVED's iVAE.  Its decoder is between 0 and 1, and so the patches have to be."""

    def __init__(self, patches: F32, seed: int) -> None:
        import pyroved

        self.low, self.span = float(patches.min()), float(np.ptp(patches))
        self.model: Any = pyroved.models.iVAE(
            patches.shape[1:], latent_dim=LATENTS, invariances=["r"], seed=seed
        )
        self.trainer = pyroved.trainers.SVItrainer(self.model, seed=seed)
        self.loader = pyroved.utils.init_dataloader(self._given(patches), batch_size=BATCH)

    def _given(self, patches: F32) -> torch.Tensor:
        return torch.from_numpy(np.clip((patches - self.low) / self.span, 0.0, 1.0))

    def epoch(self) -> None:
        self.trainer.step(self.loader)

    def encoded(self, patches: F32) -> Encoded:
        from pyroved.utils import transform_coordinates

        means, _ = self.model.encode(self._given(patches))
        found = _decoded(means, self.model.grid, transform_coordinates, self.model.decoder)
        return found._replace(pictures=found.pictures * self.span + self.low)


def _decoded(
    means: torch.Tensor,
    grid: torch.Tensor,
    turned: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    decoder: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> Encoded:
    """What peers make of means (n, 1 + LATENTS), the angle first; they decode no angle by
    themselves."""
    angle, content = means[:, 0], means[:, 1:]
    pictures = []
    with torch.no_grad():
        for first in range(0, len(means), CHUNK):
            some = slice(first, first + CHUNK)
            at = turned(grid.expand(len(angle[some]), -1, -1), angle[some])
            pictures.append(decoder(at, content[some]))
    return Encoded(content.numpy(), angle.numpy(), torch.cat(pictures).numpy())


class Peer(NamedTuple):
    """A library of others: its name as people write it, as it is imported and installed."""

    name: str
    module: str


ATOMAI, PYROVED = Peer("AtomAI", "atomai"), Peer("pyroVED", "pyroved")
PEERS = (ATOMAI, PYROVED)
OWN = "stemscout"
AUTOENCODERS: dict[str, tuple[Peer | None, Callable[[F32, int], Autoencoder]]] = {
    OWN: (None, Own),
    "AtomAI rVAE": (ATOMAI, AtomAi),
    "pyroVED iVAE": (PYROVED, PyroVed),
}


def at_hand() -> tuple[list[Peer], list[str]]:
    """The peers that can be imported, and a sentence for each that cannot."""
    there, said = [], []
    for peer in PEERS:
        try:
            with _silent():
                import_module(peer.module)
        except ImportError as error:
            said.append(f"{peer.name} is left out: {error}")
        else:
            there.append(peer)
    return there, said


@contextmanager
def _silent() -> Iterator[None]:
    """Peers print, and warn that there is no graphics card."""
    with redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def segmentor(name: str, classes: int) -> Any:
    """A new ``Segmentor`` of AtomAI's, of its default size."""
    import atomai

    with _silent():
        return atomai.models.Segmentor(name, nb_classes=classes)
