"""StemScout/GrapheneDefects-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class GrapheneDefectsEnv(ScanEnv):
    """Find silicon substitutions and single vacancies in a sheet of graphene.

    ## Description
    A field of 24 nm by 24 nm of one graphene sheet, seen by HAADF-STEM at
    60 kV.  Most defects lie in groups.  The agent places reference frames
    (1.5 nm, 64 x 64 pixels) until its charge is spent; 0.4 of a raster, the
    default, is 102 frames of 256.  With ``renderer="abtem"`` the field is the
    16 nm one that ships with the package, simulated by multislice; only the
    noise follows the seed then.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in the fraction of defects seen.  A defect is seen when its context
    disc has received the dose that its class needs; ``envs/seen.py`` has the
    rule.  Rewards add up to the final fraction.

    ## End of the episode
    Terminated when every defect is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | defects of each class | dwell | dose of a frame |
    |------------|-----------------------|-------|-----------------|
    | easy       | 23                    | 40 µs | 3.6e5 e/Å²      |
    | medium     | 12                    | 24 µs | 2.2e5 e/Å²      |
    | hard       | 6                     | 12 µs | 1.1e5 e/Å²      |

    ## Arguments
    ``difficulty``, ``renderer`` (``fast`` or ``abtem``), and those of
    ``ScanEnv``: ``action``, ``observation``, ``task``, ``budget``,
    ``time_budget_s``, ``split``, ``terminate_when_done``, ``render_mode``.
    """

    def __init__(
        self,
        difficulty: str = "medium",
        renderer: str = "fast",
        imperfections: Any = "pristine",
        **options: Any,
    ) -> None:
        source = SpecimenSource("graphene", difficulty, renderer, imperfections)
        super().__init__(source, **options)
