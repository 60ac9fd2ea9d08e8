"""Where in a frame a perception saw what: the evidence that learned navigators go by.

A frame is divided into ``BLOCKS`` x ``BLOCKS`` blocks.  Of each a sighting tells how many features
of each class lie in it (of lines and areas how much, in segments and cells), and which share of
it each other area covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import Frame
from ...simulators.specimens import FeatureClass, Specimen, specimen_module
from .dcnn.legend import LEGENDS
from .perception import Perception

BLOCKS = 4
FINER = 4  # places to a side of a block, by which the share of an area is told
ALONG = 8  # pieces of a segment, and of a cell's side, that may lie in different blocks
F32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Pieces = tuple[Floats, NDArray[np.int64], Floats]


@dataclass(frozen=True)
class Layers:
    """What sightings of a kind of specimen tell of each block.

    Attributes:
        specimen: the kind.
        classes: of features, in the specimen's order.
        areas: the others.
    """

    specimen: str
    classes: tuple[FeatureClass, ...]
    areas: tuple[str, ...]

    @classmethod
    def of(cls, specimen: str) -> Layers:
        """Raises ValueError where no network tells what a specimen is made of."""
        if specimen not in LEGENDS:
            known = ", ".join(LEGENDS)
            raise ValueError(f"nothing is sighted of {specimen!r}; of these it is: {known}")
        legend = LEGENDS[specimen]
        areas = tuple(a for a in legend.areas if a not in legend.as_area.values())
        return cls(specimen, specimen_module(specimen).CLASSES, areas)

    @property
    def names(self) -> tuple[str, ...]:
        return (*(c.name for c in self.classes), *self.areas)


class Sighting(Perception, Protocol):
    """A perception that tells where it saw what."""

    def sightings(self, frames: Sequence[Frame]) -> F32:
        """Amounts (n, layers, BLOCKS, BLOCKS) in each frame; NaN where nothing was scanned."""
        ...


def pieces(specimen: Specimen) -> Pieces:
    """Every feature as points: positions (p, 2), the features (p,), and their amounts (p,)."""
    places, of, amounts = [], [], []
    steps = (np.arange(ALONG) + 0.5) / ALONG - 0.5
    for k, (c, yx, angle) in enumerate(
        zip(
            (specimen.classes[i] for i in specimen.feature_class),
            specimen.feature_yx_nm,
            specimen.feature_angle_rad,
            strict=True,
        )
    ):
        offsets = np.zeros((1, 2))
        if c.shape == "segment":
            offsets = np.outer(c.size_nm * steps, [np.sin(angle), np.cos(angle)])
        elif c.shape == "cell":
            grid = np.meshgrid(steps, steps, indexing="ij")
            offsets = c.size_nm * np.stack(grid, axis=-1).reshape(-1, 2)
        places.append(yx + offsets)
        of.append(np.full(len(offsets), k))
        amounts.append(np.full(len(offsets), 1.0 / len(offsets)))
    if not places:
        return np.empty((0, 2)), np.empty(0, dtype=np.int64), np.empty(0)
    return np.vstack(places), np.concatenate(of), np.concatenate(amounts)
