"""StemScout/MoS2Defects-v0."""

from __future__ import annotations

from typing import Any

from .scan_env import ScanEnv
from .sources import SpecimenSource


class MoS2DefectsEnv(ScanEnv):
    """Find vacancies, substitutions, antisites and a phase boundary in a sheet of MoS2.

    ## Description
    A field of 24 nm by 24 nm of one MoS2 layer, seen by HAADF-STEM at 60 kV.
    The agent places reference frames (1.5 nm, 64 x 64 pixels) until its charge
    is spent.  With ``renderer="abtem"`` the field is the 16 nm one that ships
    with the package, simulated by multislice; only the noise follows the seed
    then.  The specimen's manual is ``simulators/specimens/mos2.py``.

    ## Action space
    ``position``: ``Box(-1, 1, (2,), float32)``, the centre (y, x) of the frame
    as fractions of the valid range; every action is a frame inside the field.

    ## Observation space
    ``default``: a ``Dict`` of ``frame`` (uint8, 1 x 64 x 64), ``mosaic``
    (uint8, 2 x 64 x 64: value and mask), ``position`` (float32, 2) and
    ``left`` (float32, 2: charge and time).

    ## Reward
    The gain in seen recall: half for the point defects, half for the 0.5 nm
    segments of the 2H/1T boundary, where there is one.  ``envs/seen.py`` has
    the rule.

    ## End of the episode
    Terminated when everything is seen (unless ``terminate_when_done=False``);
    truncated when what is left does not pay for another frame.

    ## Difficulty
    | difficulty | point defects | island of 1T | patches | dwell | dose of a frame |
    |------------|---------------|--------------|---------|-------|-----------------|
    | easy       | 46            | 9 of 10      | 1       | 24 µs | 2.2e5 e/Å²      |
    | medium     | 24            | 8 of 10      | 2       | 12 µs | 1.1e5 e/Å²      |
    | hard       | 12            | 7 of 10      | 4       | 6 µs  | 5.5e4 e/Å²      |

    ## Beam damage
    With ``imperfections="realistic"``: the probability of losing a feature to
    the dose of a full raster is below 1e-5 at every difficulty.  That is elastic
    knock-on of sulphur at 60 kV alone, computed, and a lower bound of what a real
    sheet suffers: measured cross-sections below 80 kV exceed it, since electronic
    excitation helps (Kretschmer et al., Nano Lett. 20 (2020) 2865; Speckmann et
    al., Phys. Rev. B 107 (2023) 094112, from 55 to 90 kV).  A measured value is
    put in by ``Imperfections(damage=BeamDamage({"S": ...}))``, in barn;
    ``simulators/imperfections/damage.py`` has the physics.

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
        source = SpecimenSource("mos2", difficulty, renderer, imperfections)
        super().__init__(source, **options)
