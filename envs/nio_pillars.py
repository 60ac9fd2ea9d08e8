"""StemScout/NiOPillars-v0."""

from __future__ import annotations

from functools import partial

from .specimen_env import SpecimenEnv
from .vector import ScanVectorEnv


class NiOPillarsEnv(SpecimenEnv):
    """Find NiO pillars and tiny inclusions in a film of La0.7Sr0.3MnO3.

    ## Description
    A field of 28.8 nm by 28.8 nm of a 4 nm thick lamella along [001], seen by
    HAADF-STEM at 200 kV: the first material of Creange et al. (2022).  The agent
    places reference frames (1.8 nm, 64 x 64 pixels) until its charge is spent.  With
    ``renderer="abtem"`` the field is the 10 nm one that ships with the package,
    simulated by multislice: a raster is 6 x 6 frames then, ``grid`` has 11 x 11 cells,
    and only the noise follows the seed.  The specimen's manual is
    ``simulators/specimens/nio_lsmo.py``.

    ## Action space
    | `action`   | space              | meaning                                         |
    |------------|--------------------|-------------------------------------------------|
    | `position` | `Box(-1, 1, (2,))` | centre (y, x); 1 is 13.5 nm from the middle     |
    | `move`     | `Box(-1, 1, (2,))` | (y, x) from the latest frame; 1 is 7.2 nm       |
    | `grid`     | `Discrete(961)`    | one of 31 x 31 cells, 0.9 nm apart, with a mask |
    | `operator` | `Box(-1, 1, (4,))` | centre; field of view 0.9 to 28.8 nm; dwell     |

    float32 and int64; ``position`` is the default.  Every action is a frame inside the
    field.  The first three ask for reference frames; a move starts from the middle,
    later from the latest frame, and stops at the border; the mask, ``action_masks()``,
    is 0 where a cell was taken.  ``operator`` asks for as many pixels, with a dwell
    from 1/16 to 4 times the reference's, it and the field of view on a logarithmic
    scale.  Frames wider than 3.8 nm (pixels above 0.06 nm) show no feature.
    ``envs/actions.py`` has the details.

    ## Observation space
    ``default`` is a ``Dict`` of

    | part       | space             | meaning                                           |
    |------------|-------------------|---------------------------------------------------|
    | `frame`    | uint8 (1, 64, 64) | the latest frame                                  |
    | `mosaic`   | uint8 (2, 64, 64) | the field in cells of 0.45 nm: value and mask     |
    | `position` | float32 (2,)      | centre (y, x) of the latest frame, over the field |
    | `left`     | float32 (2,)      | shares of charge and time that are left           |

    Further parts are ``vicinity`` (the mosaic about the latest frame, four times
    finer), ``survey`` and ``history``; ``observation="frame+mosaic+history"`` joins what is
    wanted, and ``channels`` is one image, uint8 (5, 64, 64).  ``envs/observations.py``
    has them all.

    ## Tasks and reward
    The reward is the gain in the fraction of the task, so that the rewards of an
    episode add up to the final fraction.

    | `task`     | fraction                                                               |
    |------------|------------------------------------------------------------------------|
    | `discover` | share seen: half for the inclusions, half for the pillars; the default |
    | `classes`  | half for the first inclusion, half for the first cell of a pillar      |
    | `follow`   | share of the pillars' 1 nm cells seen                                  |
    | `target`   | 1 once an inclusion is seen                                            |
    | `map`      | fall in the error of the phase                                         |

    Of a place ``map`` knows what is true of the nearest one measured; its fraction may
    fall, and only frames as fine as the reference frame measure.  ``envs/seen.py`` says
    when a feature is seen, ``envs/tasks.py`` the rest.  ``shaping=`` adds a hint for
    learners (``envs/shaping.py``).

    ## Budget
    A raster of the field takes 16 x 16 = 256 frames, and ``budget=0.4``, the default,
    pays for 102.  ``time_budget_s`` limits time as well.  With ``survey="low"`` the whole
    field is looked over first, in 128 x 128 pixels at an eighth of the dwell; it
    costs as much as 0.7 to 1.2 frames, and shows nothing to the task.

    ## End of the episode
    Terminated when the task is done (``map`` never is), unless
    ``terminate_when_done=False``; truncated when what is left does not pay for another
    frame.

    ## Difficulty
    | difficulty | pillars, up to | inclusions | patches | dwell | dose of a frame |
    |------------|----------------|------------|---------|-------|-----------------|
    | easy       | 9              | 16         | 0       | 8 µs  | 2.5e4 e/Å²      |
    | medium     | 6              | 10         | 1       | 4 µs  | 1.3e4 e/Å²      |
    | hard       | 4              | 6          | 3       | 2 µs  | 6.3e3 e/Å²      |

    ## Beam damage
    None is simulated: no cross-section of knock-on displacement at 200 kV is
    established for these oxides.

    ## Vectorised form
    ``gymnasium.make_vec(id, num_envs=64, vectorization_mode="vector_entry_point")``
    steps 64 of them at once, with imperfections and shaping too, equal to single ones
    to the bit (``envs/vector.py``).

    ## Arguments
    ``difficulty`` (``easy``, ``medium``, the default, or ``hard``), ``renderer`` (``fast``, or
    ``abtem``, at medium), ``imperfections`` (``pristine``, ``realistic``, or those of
    ``simulators/imperfections``), ``field_nm`` (28.8), ``dose`` (of a frame, times the level's:
    1), ``defocus_nm`` (0), and those of ``ScanEnv``: ``action``, ``observation``, ``task``,
    ``budget``, ``time_budget_s``, ``survey``, ``shaping``, ``discount``, ``split``,
    ``terminate_when_done``, ``privileged``, ``render_mode``.
    """

    specimen = "nio_lsmo"


make_vector = partial(ScanVectorEnv, NiOPillarsEnv)
