"""A detector that needs no image: what a perception would say of a frame, by how often it is right.

Training a navigator takes millions of frames, and a network that looks at each of them
hours.  How often the network finds a feature of each class, and how often it claims one where
there is none, is measured once (``measure.py``), and in training drawn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..perception.sightings import Layers
from .evidence import F32

SHIPPED = Path(__file__).with_name("detectors")
PIECE = 0.3  # of a segment or cell in a block: what a false one amounts to


@dataclass(frozen=True, eq=False)
class Rates:
    """How often a detector is right of frames alike.

    Attributes:
        hit: (layers,) share of what there is in a block that is told.
        false: (layers,) how many are claimed in a block that are not there.
    """

    hit: F32
    false: F32


@dataclass(frozen=True, eq=False)
class Detector:
    """How often it is right, by difficulty, at several doses each.

    Attributes:
        points: (layers,) which layers are counts of points.
        rates: by difficulty, one for each dose.
    """

    points: NDArray[np.bool_]
    rates: Mapping[str, tuple[Rates, ...]]

    @classmethod
    def perfect(cls, layers: Layers) -> Detector:
        """One that is never wrong."""
        n = len(layers.names)
        right = Rates(np.ones(n, np.float32), np.zeros(n, np.float32))
        return cls(_points(layers), dict.fromkeys(("easy", "medium", "hard"), (right,)))

    @classmethod
    def of(cls, specimen: str, path: Path | None = None) -> Detector:
        """As it was measured of the network for a specimen.

        Args:
            specimen: whose network.
            path: a file that ``measure.py`` has made; that in the package by default.

        Raises:
            ValueError: it was not measured, or the file is of something else.
        """
        layers = Layers.of(specimen)
        path = path or SHIPPED / f"{specimen}.json"
        if not path.is_file():
            raise ValueError(f"the network for {specimen} was not measured yet: no {path}")
        rates: dict[str, tuple[Rates, ...]] = {}
        try:
            for levels in json.loads(path.read_text()).values():
                for level, own in levels.items():
                    hit, false = (
                        np.array([own[name][what] for name in layers.names], dtype=np.float32)
                        for what in ("hit", "false")
                    )
                    rates[level] = (*rates.get(level, ()), Rates(hit, false))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"{path} holds no rates of {specimen}: {error}") from error
        return cls(_points(layers), rates)

    def drawn(self, difficulty: str, rng: np.random.Generator) -> Rates:
        """At one of the doses."""
        each = self.rates[difficulty]
        return each[int(rng.integers(len(each)))]


def sighted(there: F32, points: NDArray[np.bool_], rates: Rates, rng: np.random.Generator) -> F32:
    """What a detector says of blocks (m, layers, BLOCKS, BLOCKS) in which there is so much.

    Args:
        there: amounts.
        points: (layers,) which layers are counts of points.
        rates: with (m, layers) each, or (layers,) for all.
        rng: decides.
    """
    hit, false = (
        np.broadcast_to(r, there.shape[:2])[..., None, None] for r in (rates.hit, rates.false)
    )
    told = np.empty_like(there)
    counts = np.rint(there[:, points]).astype(np.int64)
    told[:, points] = rng.binomial(counts, hit[:, points]) + rng.poisson(
        false[:, points], counts.shape
    )
    rest = there[:, ~points]
    found = rng.random(rest.shape, dtype=np.float32) < hit[:, ~points]
    wrong = rng.random(rest.shape, dtype=np.float32) < false[:, ~points]
    told[:, ~points] = rest * found + PIECE * wrong
    return told


def _points(layers: Layers) -> NDArray[np.bool_]:
    points = np.zeros(len(layers.names), dtype=np.bool_)
    points[: len(layers.classes)] = [c.shape == "point" for c in layers.classes]
    return points
