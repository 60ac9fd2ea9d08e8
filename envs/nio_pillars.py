"""StemScout/NiOPillars-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class NiOPillarsEnv(ScanEnv):
    """Find NiO pillars and tiny inclusions in a film of La0.7Sr0.3MnO3.

    ## Description
    A field of 28.8 nm by 28.8 nm of a 4 nm thick lamella along [001], seen by
    HAADF-STEM at 200 kV: the first material of Creange et al. (2022).  The
    agent places reference frames (1.8 nm, 64 x 64 pixels) until its charge is
    spent.  With ``renderer="abtem"`` the field is the 10 nm one that ships with
    the package, simulated by multislice; only the noise follows the seed then.
    The specimen's manual is ``simulators/specimens/nio_lsmo.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in seen recall: half for the inclusions, half for the 1 nm cells of
    the pillars.  ``envs/seen.py`` has the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | pillars, up to | inclusions | patches | dwell | dose of a frame |
    |------------|----------------|------------|---------|-------|-----------------|
    | easy       | 9              | 16         | 0       | 8 µs  | 2.5e4 e/Å²      |
    | medium     | 6              | 10         | 1       | 4 µs  | 1.3e4 e/Å²      |
    | hard       | 4              | 6          | 3       | 2 µs  | 6.3e3 e/Å²      |

    ## Beam damage
    None is simulated: no cross-section of knock-on displacement at 200 kV is
    established for these oxides.

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
        source = SpecimenSource("nio_lsmo", difficulty, renderer, imperfections)
        super().__init__(source, **options)
