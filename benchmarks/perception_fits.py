"""Our autoencoder held against those of others: the same patches, in the same run, on one thread.

The patches are those of ``motifs``, 0 outside a disc, so that turning them is all that happens to
them.  Peers that are not installed are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .motifs import SYMMETRY, motifs, turned
from .perception_peers import AUTOENCODERS, OWN, PEERS, Autoencoder, Peer
from .threads import one_thread

PATCHES = 5000
HELD_OUT = 1000  # patches of other specimens
TURNED = 200  # held-out motifs that are turned
STRIDE = 10_000  # more than anybody's epochs
TURNS_RAD: NDArray[np.float64] = np.arange(12.0) * np.pi * (3 - 5**0.5)  # golden: on no grid
COLUMNS = {  # of the table: what they show, and with how many digits
    "s an epoch": ("epoch_s", 2),
    "error": ("error", 3),
    "without noise": ("error_noiseless", 4),
    "drift": ("drift", 4),
    "angle, degrees": ("angle_deg", 2),
    "probe": ("probe", 3),
}
F32 = NDArray[np.float32]


@dataclass(frozen=True)
class Fit:
    """What an autoencoder of two content latents made of patches, and what that took.

    Attributes:
        autoencoder: by name.
        seed: of its weights and of what it draws.
        epochs: that it was trained for.
        epoch_s: median time of one.
        error: mean squared error of held-out patches' reconstruction on the disc, as a share of
            their variance there.
        error_noiseless: the same against the patches without their noise.
        drift: by how much the content moves when motifs without noise are turned, root mean
            square, as a share of its spread over the held-out patches.
        angle_deg: root mean square error of the angle, modulo the motifs' symmetry, up to
            where it begins and its sense; 35 of one that says nothing.
        probe: share of held-out patches whose kind a logistic regression on the content,
            fitted to the patches of the training, tells.
    """

    autoencoder: str
    seed: int
    epochs: int
    epoch_s: float
    error: float
    error_noiseless: float
    drift: float
    angle_deg: float
    probe: float


@dataclass(frozen=True, eq=False)
class Patches:
    """What all autoencoders are given: standardised, and 0 outside a disc.

    Attributes:
        train: (n, 32, 32).
        train_kind: (n,).
        held_out: (m, 32, 32).
        noiseless: the same without noise.
        held_out_kind: (m,).
        turned: (motifs, angles, 32, 32), without noise.
        disc: (32, 32).
    """

    train: F32
    train_kind: NDArray[np.int64]
    held_out: F32
    noiseless: F32
    held_out_kind: NDArray[np.int64]
    turned: F32
    disc: NDArray[np.bool_]

    @classmethod
    def made(
        cls, count: int = PATCHES, held_out: int = HELD_OUT, moved: int = TURNED, seed: int = 0
    ) -> Patches:
        """So many for training, held out, and to be turned."""
        some, others = motifs(count, seed), motifs(held_out, seed, "validation")
        side = some.measured.shape[1]
        radii = np.hypot(*(np.mgrid[:side, :side] - (side - 1) / 2))
        disc = radii <= side / 2
        middle, spread = some.measured[:, disc].mean(), some.measured[:, disc].std()

        def given(patches: F32) -> F32:
            return np.asarray((patches - middle) / spread * disc, dtype=np.float32)

        return cls(
            given(some.measured),
            some.kind,
            given(others.measured),
            given(others.expected),
            others.kind,
            given(turned(moved, TURNS_RAD, seed)),
            disc,
        )

    @property
    def noise(self) -> float:
        """The noise's share of the variance of the held-out patches: no error is less for long."""
        return self._error(self.noiseless)

    def _error(self, pictures: F32, of: F32 | None = None) -> float:
        """Of pictures (m, 32, 32), as a share of the held-out patches' variance."""
        of = self.held_out if of is None else of
        apart = (pictures - of)[:, self.disc]
        return float(np.mean(apart**2) / self.held_out[:, self.disc].var())

    def score(self, network: Autoencoder) -> dict[str, float]:
        """All of ``Fit`` that is no time."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        found = network.encoded(self.held_out)
        motifs, angles = self.turned.shape[:2]
        moved = network.encoded(self.turned.reshape(-1, *self.turned.shape[2:]))
        content = moved.content.reshape(motifs, angles, -1)
        away = np.sum((content[:, 1:] - content[:, :1]) ** 2, axis=2).mean()
        spread = max(float(found.content.var(axis=0).sum()), 1e-12)
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        probe.fit(network.encoded(self.train).content, self.train_kind)
        return {
            "error": self._error(found.pictures),
            "error_noiseless": self._error(found.pictures, self.noiseless),
            "drift": float(np.sqrt(away / spread)),
            "angle_deg": angle_error_deg(moved.angle_rad.reshape(motifs, angles), TURNS_RAD),
            "probe": float(probe.score(found.content, self.held_out_kind)),
        }


def angle_error_deg(found_rad: NDArray[Any], turns_rad: NDArray[Any]) -> float:
    """Root mean square error of angles (motifs, angles) modulo the motifs' symmetry.

    Where an angle begins is each motif's own affair, and in which sense it turns that of all.
    """

    def error(sense: int) -> float:
        apart = np.exp(1j * SYMMETRY * (found_rad - sense * turns_rad))
        off = np.angle(apart * apart.mean(axis=1, keepdims=True).conj()) / SYMMETRY
        return float(np.degrees(np.sqrt(np.mean(off**2))))

    return min(error(1), error(-1))


def fits(
    patches: Patches,
    seeds: int,
    epochs: int,
    peers: Sequence[Peer] = PEERS,
    report: Callable[[int, str], None] = lambda done, word: None,
) -> list[Fit]:
    """Every autoencoder that is at hand, seed by seed.

    Within a seed they take turns, epoch by epoch, so that all see the same machine.

    Args:
        patches: that all are given.
        seeds: of each; the first is 0.
        epochs: of each, the same for all.
        peers: that are at hand.
        report: is told how many epochs are done, of all together, and whose is next.

    Raises:
        ValueError: no seeds or no epochs.
    """
    check(seeds, epochs)
    makers = {n: make for n, (of, make) in AUTOENCODERS.items() if of is None or of in peers}
    found: list[Fit] = []
    done = 0
    for seed in range(seeds):
        with one_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = {name: make(patches.train, seed) for name, make in makers.items()}
            times: dict[str, list[float]] = {name: [] for name in networks}
            for epoch in range(epochs):
                for name, network in networks.items():
                    report(done, name)
                    done += 1
                    torch.manual_seed(STRIDE * seed + epoch)  # the same draws whoever else is there
                    began = time.perf_counter()
                    network.epoch()
                    times[name].append(time.perf_counter() - began)
            for name, network in networks.items():
                took = float(np.median(times[name]))
                found.append(Fit(name, seed, epochs, took, **patches.score(network)))
    return found


def check(seeds: int, epochs: int) -> None:
    """Raises ValueError where there is nothing to train."""
    if seeds < 1:
        raise ValueError(f"{seeds} seeds; there must be at least 1")
    if epochs < 1:
        raise ValueError(f"{epochs} epochs; there must be at least 1")


def lines(found: Sequence[Fit]) -> list[dict[str, str]]:
    """The table, a row for each autoencoder: means over seeds, and from least to most."""
    rows = []
    for name in dict.fromkeys(f.autoencoder for f in found):
        own = [f for f in found if f.autoencoder == name]
        row = {"autoencoder": name, "seeds": str(len(own)), "epochs": str(own[0].epochs)}
        for column, (attribute, digits) in COLUMNS.items():
            values = [getattr(f, attribute) for f in own]
            row[column] = f"{np.mean(values):.{digits}f}"
            if len(own) > 1:
                row[column] += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
        rows.append(row)
    return rows


def remarks(found: Sequence[Fit], noise: float) -> list[str]:
    """What has to be known of the table."""
    took = {
        name: float(np.mean([f.epoch_s for f in found if f.autoencoder == name]))
        for name in dict.fromkeys(f.autoencoder for f in found)
    }
    own = took.pop(OWN)
    said = [
        f"Noise is {noise:.3f} of the patches' variance; so much of an error is nobody's fault."
    ]
    for name, seconds in took.items():
        said.append(f"An epoch of {name} takes {seconds / own:.1f} times as long as ours.")
    return said
