"""StemScout/Composite-v0."""

from __future__ import annotations

from functools import partial

from .specimen_env import SpecimenEnv
from .vector import ScanVectorEnv


class CompositeEnv(SpecimenEnv):
    """Find features of several kinds and scales, far apart; hard only.

    ## Description
    A field of 96 nm by 96 nm that holds pieces of several materials and much between
    them.  The agent places reference frames (6 nm, 192 x 192 pixels) until its charge
    is spent.  The specimen's manual is ``simulators/specimens/composite.py``.

    ## Action space
    | `action`   | space              | meaning                                       |
    |------------|--------------------|-----------------------------------------------|
    | `position` | `Box(-1, 1, (2,))` | centre (y, x); 1 is 45 nm from the middle     |
    | `move`     | `Box(-1, 1, (2,))` | (y, x) from the latest frame; 1 is 24 nm      |
    | `grid`     | `Discrete(961)`    | one of 31 x 31 cells, 3 nm apart, with a mask |
    | `operator` | `Box(-1, 1, (4,))` | centre; field of view 3 to 96 nm; dwell       |

    float32 and int64; ``position`` is the default.  Every action is a frame inside the
    field.  The first three ask for reference frames; a move starts from the middle,
    later from the latest frame, and stops at the border; the mask, ``action_masks()``,
    is 0 where a cell was taken.  ``operator`` asks for as many pixels, with a dwell
    from 1/16 to 4 times the reference's, it and the field of view on a logarithmic
    scale.  Frames wider than 9.6 nm show no feature of the sheets, wider than 11.5 nm
    none of the oxides, and wider than 23 nm none of the gold.  ``envs/actions.py`` has
    the details.

    ## Observation space
    ``default`` is a ``Dict`` of

    | part       | space             | meaning                                           |
    |------------|-------------------|---------------------------------------------------|
    | `frame`    | uint8 (1, 64, 64) | the latest frame, every third pixel               |
    | `mosaic`   | uint8 (2, 64, 64) | the field in cells of 1.5 nm: value and mask      |
    | `position` | float32 (2,)      | centre (y, x) of the latest frame, over the field |
    | `left`     | float32 (2,)      | shares of charge and time that are left           |

    Further parts are ``vicinity`` (the mosaic about the latest frame, four times
    finer), ``survey`` and ``history``; ``observation="frame+mosaic+history"`` joins what is
    wanted, and ``channels`` is one image, uint8 (5, 64, 64).  ``envs/observations.py``
    has them all.

    ## Tasks and reward
    The reward is the gain in the fraction of the task, so that the rewards of an
    episode add up to the final fraction.

    | `task`     | fraction                                                                  |
    |------------|---------------------------------------------------------------------------|
    | `discover` | share seen: half for points, half for extended features; the default      |
    | `classes`  | share of the classes present, up to 23, of which one was seen             |
    | `follow`   | share of the segments of boundaries and walls, and cells of pillars, seen |
    | `target`   | 1 once one of the rarest class is seen, as a rule `graphene si4`          |
    | `map`      | fall in the error of the material's number                                |

    Points are the defects of graphene and MoS2, inclusions and junctions; extended
    are boundaries, walls and pillars.  Of a place ``map`` knows what is true of the
    nearest one measured; its fraction may fall, and only frames as fine as the
    reference frame measure.  ``envs/seen.py`` says when a feature is seen,
    ``envs/tasks.py`` the rest.  ``shaping=`` adds a hint for learners
    (``envs/shaping.py``).

    ## Budget
    A raster of the field takes 16 x 16 = 256 frames, and ``budget=0.4``, the default,
    pays for 102.  ``time_budget_s`` limits time as well.  With ``survey="low"`` the whole
    field is looked over first, in 128 x 128 pixels at an eighth of the dwell; it
    costs as much as 0.07 of a frame, and shows nothing to the task.

    ## End of the episode
    Terminated when the task is done (``map`` never is), unless
    ``terminate_when_done=False``; truncated when what is left does not pay for another
    frame.

    ## Beam damage
    With ``imperfections="realistic"``: the probability of losing a point feature
    of MoS2 to the dose of a full raster (7.7e4 e/Å²) is at most 0.004, from 0.001
    for each sulphur atom in it on the side where the beam leaves (1.2 barn at 80
    kV); of graphene it is below 1e-7; of the oxides and gold nothing is lost, as
    in their own ids.  ``simulators/imperfections/damage.py`` has the physics.

    ## Vectorised form
    ``gymnasium.make_vec(id, num_envs=64, vectorization_mode="vector_entry_point")``
    steps 64 of them at once, with imperfections and shaping too, equal to single ones
    to the bit (``envs/vector.py``).

    ## Arguments
    ``difficulty`` (``hard`` alone), ``renderer`` (``fast``; no abtem world ships),
    ``imperfections`` (``pristine``, ``realistic``, or those of ``simulators/imperfections``),
    ``field_nm`` (96 is the least), ``dose`` (of a frame, times the level's: 1),
    ``defocus_nm`` (0), and those of ``ScanEnv``: ``action``, ``observation``, ``task``,
    ``budget``, ``time_budget_s``, ``survey``, ``shaping``, ``discount``, ``split``,
    ``terminate_when_done``, ``privileged``, ``render_mode``.
    """

    specimen = "composite"
    default_difficulty = "hard"


make_vector = partial(ScanVectorEnv, CompositeEnv)
