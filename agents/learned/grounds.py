"""Specimens as learned navigators are trained on them: what there is in each cell of the field.

Nothing is imaged.  What a detector would say of a frame follows from what there is
(``detector.py``), and what is seen from the rule of ``envs/seen.py``; so a specimen costs
what its making costs, and a frame nearly nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import ScanRequest
from ...simulators.specimens import Specimen, specimen_module
from ...simulators.world import specimen_seed
from ..perception.dcnn.legend import Truth
from ..perception.sightings import FINER, Layers, pieces
from .evidence import Cells

F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ground:
    """What there is.

    Attributes:
        amounts: (layers, rows, columns) features of each class in each cell, and shares of areas.
        difficulty: of the specimen.
    """

    amounts: F32
    difficulty: str

    @classmethod
    def of(cls, specimen: Specimen, layers: Layers, cells: Cells) -> Ground:
        amounts = np.zeros((len(layers.names), *cells.shape), dtype=np.float32)
        yx, feature, amount = pieces(specimen)
        at = cells.at(yx)
        there = cells.inside(at)
        layer = specimen.feature_class[feature[there]]
        np.add.at(amounts, (layer, at[there, 0], at[there, 1]), amount[there])
        if layers.areas:
            amounts[len(layers.classes) :] = _areas(specimen, layers, cells)
        return cls(amounts, specimen.difficulty)


def _areas(specimen: Specimen, layers: Layers, cells: Cells) -> F32:
    shape = (cells.shape[0] * FINER, cells.shape[1] * FINER)
    fov = (cells.shape[0] * cells.side_yx_nm[0], cells.shape[1] * cells.side_yx_nm[1])
    centre = (cells.low_yx_nm[0] + fov[0] / 2, cells.low_yx_nm[1] + fov[1] / 2)
    painted = Truth.of(specimen).covered(ScanRequest(centre, fov, shape, 1.0), shape, layers.areas)
    blocks = painted.reshape(len(layers.areas), cells.shape[0], FINER, cells.shape[1], FINER)
    return np.asarray(blocks.mean(axis=(2, 4), dtype=np.float32))


def grounds(
    specimen: str, difficulties: tuple[str, ...], seed: int, split: str = "train", first: int = 0
) -> Iterator[Ground]:
    """Grounds without end, of all difficulties in turn; the specimens follow the seed."""
    layers, module = Layers.of(specimen), specimen_module(specimen)
    field, frame = (module.FIELD_NM,) * 2, (module.FRAME_NM,) * 2
    cells = Cells.of(field, frame)
    number = first
    while True:
        entropy, key = specimen_seed(seed, split, number)
        sequence = np.random.SeedSequence(entropy, spawn_key=key)
        level = difficulties[number % len(difficulties)]
        yield Ground.of(module.generate(sequence, level), layers, cells)
        number += 1
