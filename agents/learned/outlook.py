"""What a trained policy goes by: a few maps over the frames that it may take.

The evidence is encoded by a belief, if there is one, and summed over frames; so a policy need
learn no more than how to weigh what is likely against what would be learned by looking.  A policy
with a belief of its own, which is trained with it, is given the evidence itself besides
(``own_belief.py``).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..perception.sightings import BLOCKS, Layers
from .evidence import F32, Cells, Evidence
from .network import as_shares, encoded, extended
from .rehearsal import frame_sums, in_frames, lattice_shape
from .told import Told

CHANNELS = (
    "expected",  # what a frame can be expected to show anew; 1 is its fair share of the task
    "unsure",  # the belief's entropy in its cells, in bits, a mean
    "untold",  # share of it that no frame told of
    "looked",  # share of it that was looked at
    "taken",  # it was taken itself
    "points",  # sighted in it, as log(1 + n)
    "extended",  # segments and cells, likewise
    "left",  # frames that the budget still pays for, of those of a raster
    "y",  # from -1 to 1
    "x",
)
FORESEEN = 2  # of the channels: what a belief tells, in ``foreseen``'s order
ALIKE = 1e-7  # of probabilities: what is surer is as sure


def outlook_shape(cells: Cells, layers: Layers, whole: bool = False) -> tuple[int, int, int]:
    """Of ``outlook``'s maps for one episode: channels, rows and columns."""
    if not whole:
        return len(CHANNELS), *lattice_shape(cells.shape)
    return len(CHANNELS) + 3 + len(layers.names), *cells.shape


def outlook(
    evidence: Evidence,
    told: Told,
    taken: NDArray[np.bool_],
    left: F32,
    layers: Layers,
    likely: F32 | None,
    whole: bool = False,
) -> F32:
    """Maps (n, CHANNELS, rows, columns) over the frames of the lattice.

    Args:
        evidence: of n episodes.
        told: what their frames told of.
        taken: (n, rows, columns) frames of the lattice.
        left: (n,) frames that the budget still pays for, of those of a raster.
        layers: of the evidence.
        likely: (n, classes, rows, columns) probabilities in cells; None without a belief, when
            everything is as likely everywhere.
        whole: add what those maps are made of, over the cells: the input of a belief
            (``encoded``), and the share that is not told of. There are more cells than frames, so
            the maps over frames stand in the first corner then.
    """
    n, rows, columns = taken.shape
    out = np.zeros((n, *outlook_shape(evidence.cells, layers, whole)), dtype=np.float32)
    corner = out[:, : len(CHANNELS), :rows, :columns]
    maps = dict(zip(CHANNELS, np.moveaxis(corner, 1, 0), strict=True))  # views
    untold = 1.0 - told.shares
    if likely is None:
        maps["expected"][:] = frame_sums(untold) / BLOCKS**2
    else:
        given = torch.from_numpy(likely), torch.from_numpy(untold)
        expected, unsure = foreseen(*given, extended(layers))
        maps["expected"][:], maps["unsure"][:] = expected.numpy(), unsure.numpy()
    maps["untold"][:] = frame_sums(untold) / BLOCKS**2
    maps["looked"][:] = frame_sums((evidence.looks > 0).astype(np.float32)) / BLOCKS**2
    maps["taken"][:] = taken
    points = np.array([c.shape == "point" for c in layers.classes])
    means = evidence.means[:, : len(points)]
    maps["points"][:] = np.log1p(frame_sums(means[:, points].sum(axis=1)))
    maps["extended"][:] = np.log1p(frame_sums(means[:, ~points].sum(axis=1)))
    maps["left"][:] = left[:, None, None]
    maps["y"][:] = np.linspace(-1.0, 1.0, rows)[:, None]
    maps["x"][:] = np.linspace(-1.0, 1.0, columns)
    if whole:
        out[:, len(CHANNELS) : -1] = encoded(evidence)
        out[:, -1] = untold
    return out


def foreseen(
    likely: torch.Tensor, untold: torch.Tensor, extended: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The first two maps (n, rows, columns), so that gradients pass.

    Args:
        likely: (n, classes, rows, columns) probabilities in cells.
        untold: (n, rows, columns) shares of cells that no frame told of.
        extended: (classes,) which classes are no points.
    """
    frames = untold[0].numel() / BLOCKS**2
    expected = frames * in_frames(as_shares(likely, extended) * untold)
    return expected, in_frames(entropy(likely).mean(dim=1)) / BLOCKS**2


def entropy(p: torch.Tensor) -> torch.Tensor:
    """Of yes and no, in bits."""
    inside = p.clamp(ALIKE, 1.0 - ALIKE)
    return -inside * torch.log2(inside) - (1.0 - inside) * torch.log2(1.0 - inside)
