"""How often the real detector is right, by class and dose: what training draws from.

    python -m stemscout.agents.learned.measure bifeo3

has the network in the package look at frames of simulated specimens of the training split, holds
what it sights in them against what is there, and writes ``detectors/<specimen>.json``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...envs.registration import make_env
from ..experiment import Experiment
from ..navigation.navigator import Candidates
from ..navigation.scripted import Raster
from ..perception.dcnn.perception import DcnnPerception
from ..perception.sightings import BLOCKS, Layers
from ..perception.true import TruePerception
from ..workflow import Navigated
from .detector import PIECE, SHIPPED
from .evidence import F32
from .validation import IDS

DOSES = (1.0 / 3.0, 1.0, 3.0)  # of a reference frame
SPECIMENS, FRAMES = 12, 80  # of each difficulty and dose; half of the frames show a feature
LEVELS = ("easy", "medium", "hard")
FIRST = 90_000  # of the seeds: no training has them


def sighted(specimen: str, difficulty: str, dose: float, seeds: Sequence[int]) -> tuple[F32, F32]:
    """What is there, and what the network says: (frames, layers, BLOCKS, BLOCKS) each."""
    network, truth = DcnnPerception(specimen), TruePerception()
    there, told = [], []
    for seed in seeds:
        env = make_env(IDS[specimen], difficulty=difficulty, dose=dose, budget=1.0)
        env.reset(seed=seed)
        knowing = Navigated(Raster())
        knowing.privileged = True  # for the truth in its context
        context = Experiment(env, knowing, seed).context()
        network.reset(context, seed)
        truth.reset(context, seed)
        rng = np.random.default_rng(seed)
        centres = Candidates.of(context).centres_yx_nm
        features = env.truth.feature_yx_nm if env.truth is not None else centres
        near = np.abs(centres[:, None] - features[None]).max(axis=2).min(axis=1)
        showing = np.flatnonzero(near < context.reference.side_nm / 2)
        half = min(FRAMES // 2, len(showing))
        aimed = rng.choice(showing, half, replace=False)
        chosen = np.concatenate([aimed, rng.integers(len(centres), size=FRAMES - half)])
        reference = context.reference
        frames = [
            env.episode.microscope.acquire(reference.at((float(y), float(x))))
            for y, x in centres[chosen]
        ]
        there.append(truth.sightings(frames))
        told.append(network.sightings(frames))
    return np.concatenate(there), np.concatenate(told)


def rates(there: F32, told: F32, layers: Layers) -> dict[str, dict[str, float]]:
    """By layer: the share of what is there that is told, and what is told for nothing in a block.

    A feature counts as found where a neighbouring block tells it.
    """
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate(layers.names):
        own, said = (a[:, k].sum(axis=(1, 2)).astype(np.float64) for a in (there, told))
        right = np.minimum(own, said).sum()
        false = (said - np.minimum(own, said)).sum() / (len(own) * BLOCKS**2)
        point = k < len(layers.classes) and layers.classes[k].shape == "point"
        found[name] = {
            "there": round(float(own.sum()), 1),
            "hit": round(float(right / own.sum()), 4) if own.sum() else 1.0,
            "false": round(float(false if point else false / PIECE), 6),
        }
    return found


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("specimen", choices=IDS)
    parser.add_argument("--specimens", type=int, default=SPECIMENS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    layers = Layers.of(given.specimen)
    said = {
        str(round(dose, 3)): {
            level: rates(
                *sighted(given.specimen, level, dose, range(FIRST, FIRST + given.specimens)), layers
            )
            for level in LEVELS
        }
        for dose in DOSES
    }
    out = given.out or SHIPPED / f"{given.specimen}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()
