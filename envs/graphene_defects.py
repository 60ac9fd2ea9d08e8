"""StemScout/GrapheneDefects-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class GrapheneDefectsEnv(ScanEnv):
    """Find silicon, vacancies, rotated bonds, holes and a grain boundary in graphene.

    ## Description
    A field of 24 nm by 24 nm of graphene, seen by HAADF-STEM at 60 kV.  Most
    defects lie along the boundary, at the edges of contamination or in groups.
    The agent places reference frames (1.5 nm, 64 x 64 pixels) until its charge
    is spent; 0.4 of a raster, the default, is 102 frames of 256.  The
    specimen's manual is ``simulators/specimens/graphene.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in seen recall: half for the point defects, half for the 0.5 nm
    segments of the boundary, where there is one.  ``envs/seen.py`` has the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | point defects | boundary   | patches | dwell | dose of a frame |
    |------------|---------------|------------|---------|-------|-----------------|
    | easy       | 46            | 9 of 10    | 1       | 40 µs | 3.6e5 e/Å²      |
    | medium     | 24            | 8 of 10    | 2       | 24 µs | 2.2e5 e/Å²      |
    | hard       | 12            | 7 of 10    | 4       | 12 µs | 1.1e5 e/Å²      |

    ## Beam damage
    With ``imperfections="realistic"``: the probability of losing a feature to
    the dose of a full raster is 0; carbon's threshold is beyond 60 kV.

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
        source = SpecimenSource("graphene", difficulty, renderer, imperfections)
        super().__init__(source, **options)
