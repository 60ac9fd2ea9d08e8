"""StemScout/Composite-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class CompositeEnv(ScanEnv):
    """Find features of several kinds and scales, far apart; hard only.

    ## Description
    A field of 96 nm by 96 nm that holds pieces of several materials and much
    between them.  The agent places reference frames (6 nm, 192 x 192 pixels)
    until its charge is spent.  The specimen's manual is
    ``simulators/specimens/composite.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 192 x 192), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in seen recall: half for points (defects, junctions), half for
    extended features (walls, pillars).  ``envs/seen.py`` has the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Beam damage
    With ``imperfections="realistic"``: the probability of losing a point feature
    of MoS2 to the dose of a full raster (7.7e4 e/Å²) is at most 0.004, from 0.001
    for each sulphur atom in it on the side where the beam leaves (1.2 barn at 80
    kV); of graphene it is below 1e-7; of the oxides and gold nothing is lost, as
    in their own ids.  ``simulators/imperfections/damage.py`` has the physics.

    ## Arguments
    ``difficulty``, ``renderer`` (``fast`` or ``abtem``), ``imperfections``, and
    those of ``ScanEnv``: ``action``, ``observation``, ``task``, ``budget``,
    ``time_budget_s``, ``split``, ``terminate_when_done``, ``render_mode``.
    """

    def __init__(
        self,
        difficulty: str = "hard",
        renderer: str = "fast",
        imperfections: Any = "pristine",
        **options: Any,
    ) -> None:
        source = SpecimenSource("composite", difficulty, renderer, imperfections)
        super().__init__(source, **options)
