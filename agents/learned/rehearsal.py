"""Episodes that need no image, side by side: what learned navigators are trained on.

Specimens come from a pool (``grounds.py``), turned and mirrored at random; a detector that errs as
the real one does says what frames show (``detector.py``); what is seen of the task follows from
what frames tell of (``told.py``).  Frames lie on a lattice of half a frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from ..perception.sightings import BLOCKS, Layers
from .detector import Detector, Rates, sighted
from .evidence import F32, Cells, Evidence, Floats, Ints
from .grounds import Ground
from .told import FINER, Told

STRIDE = BLOCKS // 2  # cells between frames of the lattice


def lattice_shape(shape: Sequence[int]) -> tuple[int, int]:
    """Of so many cells, rows and columns of the frames that begin at every ``STRIDE``-th."""
    rows, columns = (max(0, s - BLOCKS) // STRIDE + 1 for s in shape)
    return rows, columns


def lattice_centres(cells: Cells) -> Floats:
    """Centres (n, 2) of these frames, in nm."""
    rows, columns = (
        low + side * (STRIDE * np.arange(count) + BLOCKS / 2)
        for low, side, count in zip(
            cells.low_yx_nm, cells.side_yx_nm, lattice_shape(cells.shape), strict=True
        )
    )
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def frame_sums(values: F32) -> F32:
    """Of cells (n, rows, columns), the sum in each frame of the lattice."""
    return in_frames(torch.from_numpy(np.ascontiguousarray(values))).numpy()


def in_frames(values: torch.Tensor) -> torch.Tensor:
    """What ``frame_sums`` does, so that gradients pass."""
    return functional.avg_pool2d(values[:, None], BLOCKS, STRIDE)[:, 0] * BLOCKS**2


class Rehearsal:
    """``n`` episodes, each on a specimen of its own.

    Args:
        pool: specimens; each episode begins with one of them.
        layers, cells: of these.
        detector: says what frames show.
        rng: of everything.
        n: episodes.

    Attributes:
        evidence: what was sighted.
        told: what frames told of.
        there: (n, layers, rows, columns) what there is in each cell.
        weight: (n, rows, columns) of the task, by cells; of each episode it adds up to 1.
        taken: (n, rows, columns) frames of the lattice.
        levels: difficulties that episodes begin with; None for all.
    """

    def __init__(
        self,
        pool: Sequence[Ground],
        layers: Layers,
        cells: Cells,
        detector: Detector,
        rng: np.random.Generator,
        n: int,
    ) -> None:
        self.pool, self.layers, self.cells, self.detector, self.rng, self.n = (
            pool, layers, cells, detector, rng, n,
        )  # fmt: skip
        self.shape = lattice_shape(cells.shape)
        self.raster = cells.shape[0] * cells.shape[1] // BLOCKS**2  # frames that fill the field
        self.levels: Sequence[str] | None = None
        self.evidence = Evidence(cells, len(layers.names), n)
        self.told = Told(cells, n)
        self.there = np.zeros((n, len(layers.names), *cells.shape), dtype=np.float32)
        self.weight = np.zeros((n, *cells.shape), dtype=np.float32)
        self.taken = np.zeros((n, *self.shape), dtype=bool)
        self._hit = np.zeros((n, len(layers.names)), dtype=np.float32)
        self._false = np.zeros_like(self._hit)
        self.begin(np.arange(n))

    def begin(self, which: Ints) -> None:
        """Some episodes begin anew."""
        self.evidence.clear(which)
        self.told.clear(which)
        self.taken[which] = False
        for k in which.tolist():
            ground = self._drawn()
            rates = self.detector.drawn(ground.difficulty, self.rng)
            self._hit[k], self._false[k] = rates.hit, rates.false
            turned = np.rot90(ground.amounts, int(self.rng.integers(4)), axes=(1, 2))
            self.there[k] = turned[:, :, ::-1] if self.rng.random() < 0.5 else turned
            self.weight[k] = shares(self.there[k], self.layers)

    def take(self, choice: Ints) -> F32:
        """One frame in each episode.

        Args:
            choice: (n,) of the lattice, in raster order.

        Returns:
            The share of the task (n,) that was seen by it for the first time.
        """
        row, column = np.divmod(choice, self.shape[1])
        every = np.arange(self.n)
        self.taken[every, row, column] = True
        side = np.arange(BLOCKS)
        rows = (STRIDE * row)[:, None, None] + side[None, :, None]
        columns = (STRIDE * column)[:, None, None] + side[None, None, :]
        under = np.stack(np.broadcast_arrays(rows, columns), axis=-1)
        inside = np.minimum(under, np.array(self.cells.shape) - 1)  # a field of less than a frame
        there = self.there[every[:, None, None], :, inside[..., 0], inside[..., 1]]
        rates = Rates(self._hit, self._false)
        said = sighted(np.moveaxis(there, 3, 1), self.detector.points, rates, self.rng)
        self.evidence.add(every, under, said)
        corners = FINER * STRIDE * np.stack([row, column], axis=1)
        return self.told.add(every, corners, self.weight)

    def _drawn(self) -> Ground:
        while True:
            ground = self.pool[int(self.rng.integers(len(self.pool)))]
            if self.levels is None or ground.difficulty in self.levels:
                return ground


def shares(amounts: F32, layers: Layers) -> F32:
    """What there is (layers, rows, columns) as shares of the task (rows, columns).

    Points and extended features carry half each where there are both.
    """
    extended = np.array([c.shape != "point" for c in layers.classes])
    own = amounts[: len(layers.classes)]
    kinds = [own[k].sum(axis=0) for k in (extended, ~extended) if own[k].sum() > 0]
    out = np.zeros(amounts.shape[1:], dtype=np.float32)
    for kind in kinds:
        out += kind / kind.sum() / len(kinds)
    return out
