"""The belief as a network: from the evidence to what is likely to be there, cell by cell.

Fully convolutional, so that it serves fields of any size.  Cells are taken four at a time, two
by two, which is half a frame: so the inner layers are a quarter as dear, and nothing is lost.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..perception.sightings import Layers
from .evidence import F32, Evidence

WIDTH = 32
DILATIONS = (1, 2, 4, 8, 4, 2, 1)
FOLD = 2  # cells to a side of what one inner cell holds
RARE = -4.0  # bias of the logits at the beginning: most cells hold nothing
LARGEST = 4.0  # amounts beyond are as many


class BeliefNet(nn.Module):
    """Logits (n, classes, rows, columns) that there is a feature of a class in a cell.

    Args:
        given: channels of the input (``encoded``).
        classes: of the output.
    """

    def __init__(self, given: int, classes: int, width: int = WIDTH) -> None:
        super().__init__()
        self.classes = classes
        self.first = nn.Conv2d(given * FOLD**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=d, dilation=d) for d in DILATIONS
        )
        self.whole = nn.Linear(width, width)
        self.last = nn.Conv2d(width, classes * FOLD**2, 1)
        nn.init.constant_(self.last.bias, RARE)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape[2:]
        more = [-n % FOLD for n in (rows, columns)]
        x = functional.pad(x, (0, more[1], 0, more[0]))
        x = torch.relu(self.first(functional.pixel_unshuffle(x, FOLD)))
        for k, block in enumerate(self.blocks):
            x = x + torch.relu(block(x))
            if k == len(self.blocks) // 2:  # what the whole field holds, everywhere
                x = x + torch.relu(self.whole(x.mean(dim=(2, 3))))[:, :, None, None]
        logits = functional.pixel_shuffle(self.last(x), FOLD)
        return logits[..., :rows, :columns]


def encoded(evidence: Evidence) -> F32:
    """The network's input (n, 2 + layers, rows, columns): looked at, inside the field, amounts."""
    looked = (evidence.looks > 0).astype(np.float32)[:, None]
    amounts = np.minimum(evidence.means, LARGEST)
    return np.concatenate([looked, np.ones_like(looked), amounts], axis=1)


def probabilities(network: BeliefNet, evidence: Evidence) -> F32:
    """Of a feature of each class in each cell (n, classes, rows, columns)."""
    with torch.inference_mode():
        return np.asarray(torch.sigmoid(network(torch.from_numpy(encoded(evidence)))).numpy())


def weighed(likely: F32, layers: Layers) -> F32:
    """Probabilities (n, classes, rows, columns) as shares of the task (n, rows, columns).

    Points and extended features carry half each where there are both.
    """
    return as_shares(torch.from_numpy(likely), extended(layers)).numpy()


def extended(layers: Layers) -> torch.Tensor:
    """Which classes (classes,) are no points."""
    return torch.tensor([c.shape != "point" for c in layers.classes])


def as_shares(likely: torch.Tensor, extended: torch.Tensor) -> torch.Tensor:
    """What ``weighed`` does, so that gradients pass."""
    kinds = [kind for kind in (extended, ~extended) if bool(kind.any())]
    out = torch.zeros_like(likely[:, 0])
    for kind in kinds:
        own = likely[:, kind].sum(dim=1)
        total = own.sum(dim=(-2, -1), keepdim=True).clamp(min=1.0)
        out = out + own / total / len(kinds)
    return out
