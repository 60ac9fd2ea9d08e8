"""StemScout/FerroelectricDomains-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class FerroelectricDomainsEnv(ScanEnv):
    """Find the domain walls of BiFeO3, which hardly show in the raw image.

    ## Description
    A field of 28.8 nm by 28.8 nm of a 4 nm thick lamella along [001], seen by
    HAADF-STEM at 200 kV: the second material of Creange et al. (2022).  A wall
    shows only in where the iron columns stand between those of bismuth.  The
    agent places reference frames (1.8 nm, 64 x 64 pixels) until its charge is
    spent.  With ``renderer="abtem"`` the field is the 10 nm one that ships with
    the package, simulated by multislice; only the noise follows the seed then.
    The specimen's manual is ``simulators/specimens/bifeo3.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in the share of the walls' 1 nm segments that were seen.
    ``envs/seen.py`` has the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | walls | islands, up to | patches | dwell | dose of a frame |
    |------------|-------|----------------|---------|-------|-----------------|
    | easy       | 4     | 2              | 1       | 8 µs  | 2.5e4 e/Å²      |
    | medium     | 2     | 1              | 1       | 4 µs  | 1.3e4 e/Å²      |
    | hard       | 1     | 1              | 3       | 2 µs  | 6.3e3 e/Å²      |

    ## Beam damage
    None is simulated: no cross-section of knock-on displacement at 200 kV is
    established for this oxide.

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
        source = SpecimenSource("bifeo3", difficulty, renderer, imperfections)
        super().__init__(source, **options)
