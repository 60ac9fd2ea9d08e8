"""What a trained policy goes by: a few maps over the frames that it may take.

The evidence is encoded by a belief, if there is one, and summed over frames; so a policy need
learn no more than how to weigh what is likely against what would be learned by looking.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..perception.sightings import BLOCKS, Layers
from .belief import weighed
from .evidence import F32, Evidence
from .rehearsal import frame_sums
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


def outlook(
    evidence: Evidence,
    told: Told,
    taken: NDArray[np.bool_],
    left: F32,
    layers: Layers,
    likely: F32 | None,
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
    """
    n, rows, columns = taken.shape
    out = np.zeros((n, len(CHANNELS), rows, columns), dtype=np.float32)
    maps = dict(zip(CHANNELS, np.moveaxis(out, 1, 0), strict=True))  # views
    untold = 1.0 - told.shares
    frames = evidence.looks[0].size / BLOCKS**2
    weight = untold / untold[0].size if likely is None else weighed(likely, layers) * untold
    maps["expected"][:] = frames * frame_sums(weight)
    if likely is not None:
        maps["unsure"][:] = frame_sums(entropy(likely).mean(axis=1)) / BLOCKS**2
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
    return out


def entropy(p: F32) -> F32:
    """Of yes and no, in bits."""
    inside = np.clip(p, 1e-7, 1.0 - 1e-7)
    return np.asarray(-inside * np.log2(inside) - (1.0 - inside) * np.log2(1.0 - inside))
