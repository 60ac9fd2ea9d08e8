"""Patches to train an rVAE on before a run, from reference frames of training specimens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...hardware.microscope import Frame, ScanRequest
from ...simulators.imperfections import Imperfections
from ...simulators.simulated import SimulatedMicroscope
from ...simulators.specimens import SPECIMENS, specimen_module
from ...simulators.world import Recipe, open_world, specimen_seed
from .invariant_vae import Patches
from .rvae import RvaePerception
from .windows import Display

PER_SPECIMEN = 40  # frames
DETECTOR = "haadf"
CUT_BY = ("descriptor", "window", "overlap", "network", "around_nm", "kinds")  # settings


def frames_of(
    name: str, count: int, seed: int, split: str = "train", counted: bool = True
) -> Iterator[tuple[Frame, Display]]:
    """Reference frames at random places of specimens of every difficulty, in turn.

    Args:
        name: of the kind of specimen.
        count: frames, ``PER_SPECIMEN`` of each specimen.
        seed: of specimens, places and noise.
        split: of the specimens.
        counted: electrons are; without, frames have no noise.

    Yields:
        A frame, and how it is to be displayed.
    """
    if name not in SPECIMENS:
        raise ValueError(f"unknown specimen {name!r}; there are: {', '.join(SPECIMENS)}")
    module = specimen_module(name)
    levels = tuple(module.LEVELS)
    for k in range(count):
        number, within = divmod(k, PER_SPECIMEN)
        if within == 0:
            rng = np.random.default_rng([seed, number])
            difficulty = levels[number % len(levels)]
            entropy, key = specimen_seed(seed, split, number)
            world = open_world(Recipe(name, difficulty, entropy, key, module.FIELD_NM))
            dwell = module.LEVELS[difficulty].dwell_us
            flaws = Imperfections() if counted else Imperfections(counting=None)
            microscope = SimulatedMicroscope(world, rng, dwell, imperfections=flaws)
            display = Display(microscope.open().full_scale, dwell)
            half = (module.FIELD_NM - module.FRAME_NM) / 2
        y, x = rng.uniform(-half, half, 2).tolist()
        fov = (module.FRAME_NM, module.FRAME_NM)
        shape = (module.FRAME_PX, module.FRAME_PX)
        request = ScanRequest((y, x), fov, shape, dwell, 0.0, (DETECTOR,))
        yield microscope.acquire(request), display


def patches_of(perception: RvaePerception, shown: Iterator[tuple[Frame, Display]]) -> Patches:
    """The patches (n, side, side) that a perception makes of frames.

    Raises:
        ValueError: there are none in any.
    """
    every = []
    for frame, display in shown:
        perception.display = display
        every += perception.features([frame])
    if not any(map(len, every)):
        raise ValueError(f"no patch in {len(every)} frames; there is nothing to learn from")
    return np.concatenate(every)


def limits_of(name: str, perception: RvaePerception) -> dict[str, Any]:
    """What patches of ``frames_of`` show, and nothing beyond it, as JSON: for a card."""
    module = specimen_module(name)
    settings = perception.settings
    return {
        "difficulties": list(module.LEVELS),
        "dwell_us": [level.dwell_us for level in module.LEVELS.values()],  # of each of these
        "renderer": "fast",
        "detector": DETECTOR,
        "imperfections": ["counting"],
        "frame_nm": module.FRAME_NM,
        "pixel_nm": round(module.FRAME_NM / module.FRAME_PX, 6),
        **{k: settings[k] for k in CUT_BY if k in settings},
    }
