"""A detector that needs no image: what a perception would say of a frame, by how often it is right.

Training a navigator takes millions of frames, and a network that looks at each of them
hours.  How often the network finds a feature of each class, and how often it claims one where
there is none, is measured once (``python -m stemscout.agents.learned.measure``), and in training
drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..perception.sightings import Layers
from .evidence import F32

SHIPPED = Path(__file__).with_name("detectors")
PIECE = 0.3  # of a segment or cell in a block: what a false one amounts to


@dataclass(frozen=True, eq=False)
class Detector:
    """How often it is right.

    Attributes:
        points: (layers,) which layers are counts of points.
        hit: (layers,) share of what there is in a block that is told.
        false: (layers,) how many are claimed in a block that are not there.
    """

    points: np.ndarray
    hit: F32
    false: F32

    @classmethod
    def perfect(cls, layers: Layers) -> Detector:
        n = len(layers.names)
        points = np.zeros(n, dtype=np.bool_)
        points[: len(layers.classes)] = [c.shape == "point" for c in layers.classes]
        return cls(points, np.ones(n, np.float32), np.zeros(n, np.float32))

    def sighted(self, there: F32, rng: np.random.Generator) -> F32:
        """What it says of blocks (m, layers, BLOCKS, BLOCKS) in which there is so much."""
        hit, false = self.hit[:, None, None], self.false[:, None, None]
        points = self.points
        told = np.empty_like(there)
        counts = np.rint(there[:, points]).astype(np.int64)
        told[:, points] = rng.binomial(counts, hit[points]) + rng.poisson(
            false[points], counts.shape
        )
        rest = there[:, ~points]
        found = rng.random(rest.shape, dtype=np.float32)
        wrong = rng.random(rest.shape, dtype=np.float32) < false[~points]
        told[:, ~points] = rest * (found < hit[~points]) + PIECE * wrong
        return told
