"""StemScout/Nanoparticles-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class NanoparticlesEnv(ScanEnv):
    """Find the junctions between gold particles on a carbon film.

    ## Description
    A field of 96 nm by 96 nm, seen by HAADF-STEM at 200 kV.  Most particles
    lie alone; where two touch there is a junction.  The agent places reference
    frames (6 nm, 64 x 64 pixels) until its charge is spent.  The specimen's
    manual is ``simulators/specimens/nanoparticles.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in the share of junctions seen.  ``envs/seen.py`` has the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | junctions | particles alone | near misses | film | dwell | dose of a frame |
    |------------|-----------|-----------------|-------------|------|-------|-----------------|
    | easy       | 16        | 12              | 2           | 3 nm | 4 µs  | 1.1e3 e/Å²      |
    | medium     | 12        | 20              | 4           | 5 nm | 2 µs  | 5.7e2 e/Å²      |
    | hard       | 8         | 28              | 6           | 8 nm | 1 µs  | 2.8e2 e/Å²      |

    ## Beam damage
    None is simulated: gold's displacement threshold lies far above what 200 kV
    electrons transfer.

    ## Arguments
    ``difficulty``, ``renderer`` (``fast`` or ``abtem``), ``imperfections``, and
    those of ``ScanEnv``: ``action``, ``observation``, ``task``, ``budget``,
    ``time_budget_s``, ``split``, ``terminate_when_done``, ``render_mode``.
    """

    def __init__(
        self,
        difficulty: str = "medium",
        renderer: str = "fast",
        imperfections: Any = "pristine",
        **options: Any,
    ) -> None:
        source = SpecimenSource("nanoparticles", difficulty, renderer, imperfections)
        super().__init__(source, **options)
