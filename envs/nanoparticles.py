"""StemScout/Nanoparticles-v0."""

from __future__ import annotations

from functools import partial

from .specimen_env import SpecimenEnv
from .vector import ScanVectorEnv


class NanoparticlesEnv(SpecimenEnv):
    """Find the junctions between gold particles on a carbon film.

    ## Description
    A field of 96 nm by 96 nm, seen by HAADF-STEM at 200 kV.  Most particles lie
    alone; where two touch there is a junction.  The agent places reference frames (6
    nm, 64 x 64 pixels) until its charge is spent.  The specimen's manual is
    ``simulators/specimens/nanoparticles.py``.

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
    scale.  Frames wider than 7.7 nm (pixels above 0.12 nm) show no feature.
    ``envs/actions.py`` has the details.

    ## Observation space
    ``default`` is a ``Dict`` of

    | part       | space             | meaning                                           |
    |------------|-------------------|---------------------------------------------------|
    | `frame`    | uint8 (1, 64, 64) | the latest frame                                  |
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

    | `task`     | fraction                                      |
    |------------|-----------------------------------------------|
    | `discover` | share of the junctions seen; the default      |
    | `classes`  | 1 once a junction is seen: there is one class |
    | `target`   | the same                                      |
    | `map`      | fall in the error of the gold's coverage      |

    There is nothing to ``follow``, and that task is refused.  Of a place ``map`` knows
    what is true of the nearest one measured; its fraction may fall, and only frames
    as fine as the reference frame measure.  ``envs/seen.py`` says when a feature is
    seen, ``envs/tasks.py`` the rest.  ``shaping=`` adds a hint for learners
    (``envs/shaping.py``).

    ## Budget
    A raster of the field takes 16 x 16 = 256 frames, and ``budget=0.4``, the default,
    pays for 102.  ``time_budget_s`` limits time as well.  With ``survey="low"`` the whole
    field is looked over first, in 128 x 128 pixels at an eighth of the dwell; it
    costs as much as 0.9 to 1.4 frames, and shows nothing to the task.

    ## End of the episode
    Terminated when the task is done (``map`` never is), unless
    ``terminate_when_done=False``; truncated when what is left does not pay for another
    frame.

    ## Difficulty
    | difficulty | junctions | particles alone | near misses | film | dwell | dose of a frame |
    |------------|-----------|-----------------|-------------|------|-------|-----------------|
    | easy       | 16        | 12              | 2           | 3 nm | 4 µs  | 1.1e3 e/Å²      |
    | medium     | 12        | 20              | 4           | 5 nm | 2 µs  | 5.7e2 e/Å²      |
    | hard       | 8         | 28              | 6           | 8 nm | 1 µs  | 2.8e2 e/Å²      |

    ## Beam damage
    None is simulated: gold's displacement threshold lies far above what 200 kV
    electrons transfer.

    ## Vectorised form
    ``gymnasium.make_vec(id, num_envs=64, vectorization_mode="vector_entry_point")``
    steps 64 of them at once, with imperfections and shaping too, equal to single ones
    to the bit (``envs/vector.py``).

    ## Arguments
    ``difficulty`` (``easy``, ``medium``, the default, or ``hard``), ``renderer`` (``fast``; no
    abtem world ships), ``imperfections`` (``pristine``, ``realistic``, or those of
    ``simulators/imperfections``), ``field_nm`` (96), ``dose`` (of a frame, times the level's:
    1), ``defocus_nm`` (0), and those of ``ScanEnv``: ``action``, ``observation``, ``task``,
    ``budget``, ``time_budget_s``, ``survey``, ``shaping``, ``discount``, ``split``,
    ``terminate_when_done``, ``privileged``, ``render_mode``.
    """

    specimen = "nanoparticles"


make_vector = partial(ScanVectorEnv, NanoparticlesEnv)
