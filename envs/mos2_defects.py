"""StemScout/MoS2Defects-v0."""

from __future__ import annotations

from functools import partial

from .specimen_env import SpecimenEnv
from .vector import ScanVectorEnv


class MoS2DefectsEnv(SpecimenEnv):
    """Find vacancies, substitutions, antisites and a phase boundary in a sheet of MoS2.

    ## Description
    A field of 24 nm by 24 nm of one MoS2 layer, seen by HAADF-STEM at 60 kV.  Most
    defects lie along the boundary, at the edges of contamination or in groups.  The
    agent places reference frames (1.5 nm, 64 x 64 pixels) until its charge is spent.
    With ``renderer="abtem"`` the field is the 16 nm one that ships with the package,
    simulated by multislice: a raster is 11 x 11 frames then, ``grid`` has 21 x 21
    cells, and only the noise follows the seed.  The specimen's manual is
    ``simulators/specimens/mos2.py``.

    ## Action space
    | `action`   | space              | meaning                                          |
    |------------|--------------------|--------------------------------------------------|
    | `position` | `Box(-1, 1, (2,))` | centre (y, x); 1 is 11.25 nm from the middle     |
    | `move`     | `Box(-1, 1, (2,))` | (y, x) from the latest frame; 1 is 6 nm          |
    | `grid`     | `Discrete(961)`    | one of 31 x 31 cells, 0.75 nm apart, with a mask |
    | `operator` | `Box(-1, 1, (4,))` | centre; field of view 0.75 to 24 nm; dwell       |

    float32 and int64; ``position`` is the default.  Every action is a frame inside the
    field.  The first three ask for reference frames; a move starts from the middle,
    later from the latest frame, and stops at the border; the mask, ``action_masks()``,
    is 0 where a cell was taken.  ``operator`` asks for as many pixels, with a dwell
    from 1/16 to 4 times the reference's, it and the field of view on a logarithmic
    scale.  Frames wider than 3.2 nm (pixels above 0.05 nm) show no feature.
    ``envs/actions.py`` has the details.

    ## Observation space
    ``default`` is a ``Dict`` of

    | part       | space             | meaning                                           |
    |------------|-------------------|---------------------------------------------------|
    | `frame`    | uint8 (1, 64, 64) | the latest frame                                  |
    | `mosaic`   | uint8 (2, 64, 64) | the field in cells of 0.375 nm: value and mask    |
    | `position` | float32 (2,)      | centre (y, x) of the latest frame, over the field |
    | `left`     | float32 (2,)      | shares of charge and time that are left           |

    Further parts are ``vicinity`` (the mosaic about the latest frame, four times
    finer), ``survey`` and ``history``; ``observation="frame+mosaic+history"`` joins what is
    wanted, and ``channels`` is one image, uint8 (5, 64, 64).  ``envs/observations.py``
    has them all.

    ## Tasks and reward
    The reward is the gain in the fraction of the task, so that the rewards of an
    episode add up to the final fraction.

    | `task`     | fraction                                                                       |
    |------------|--------------------------------------------------------------------------------|
    | `discover` | share seen: half for point defects, half for the boundary; the default         |
    | `classes`  | share of the classes present (8, or 9) of which one was seen                   |
    | `follow`   | share of the 0.5 nm segments of the 2H/1T boundary seen                        |
    | `target`   | 1 once one of the rarest class is seen: `mo_s`, `s_mo` or `vmo`, by difficulty |
    | `map`      | fall in the error of the phase                                                 |

    Where there is no island of 1T the point defects carry all of ``discover``, and
    ``map`` is about the contamination's thickness.  Of a place ``map`` knows what is true
    of the nearest one measured; its fraction may fall, and only frames as fine as the
    reference frame measure.  ``envs/seen.py`` says when a feature is seen,
    ``envs/tasks.py`` the rest.  ``shaping=`` adds a hint for learners
    (``envs/shaping.py``).

    ## Budget
    A raster of the field takes 16 x 16 = 256 frames, and ``budget=0.4``, the default,
    pays for 102.  ``time_budget_s`` limits time as well.  With ``survey="low"`` the whole
    field is looked over first, in 128 x 128 pixels at an eighth of the dwell; it
    costs as much as 0.6 to 0.8 of a frame, and shows nothing to the task.

    ## End of the episode
    Terminated when the task is done (``map`` never is), unless
    ``terminate_when_done=False``; truncated when what is left does not pay for another
    frame.  A specimen without an island is not shown to ``follow``: another is drawn.

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

    ## Vectorised form
    ``gymnasium.make_vec(id, num_envs=64, vectorization_mode="vector_entry_point")``
    steps 64 of them at once, with imperfections and shaping too, equal to single ones
    to the bit (``envs/vector.py``).

    ## Arguments
    ``difficulty`` (``easy``, ``medium``, the default, or ``hard``), ``renderer`` (``fast``, or
    ``abtem``, at medium), ``imperfections`` (``pristine``, ``realistic``, or those of
    ``simulators/imperfections``), ``field_nm`` (24), ``dose`` (of a frame, times the level's:
    1), ``defocus_nm`` (0), and those of ``ScanEnv``: ``action``, ``observation``, ``task``,
    ``budget``, ``time_budget_s``, ``survey``, ``shaping``, ``discount``, ``split``,
    ``terminate_when_done``, ``privileged``, ``render_mode``.
    """

    specimen = "mos2"


make_vector = partial(ScanVectorEnv, MoS2DefectsEnv)
