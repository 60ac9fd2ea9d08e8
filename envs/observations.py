"""Observations: what an agent is shown of an episode, composed of parts by name.

A part keeps what it shows of several episodes side by side, so that single and
vectorised environments show the same to the bit; a single one is the case of one.

| part       | space                    | meaning                                         |
|------------|--------------------------|-------------------------------------------------|
| `frame`    | uint8 (1, 64, 64)        | the latest frame, 0 to full scale; 0 at first   |
| `mosaic`   | uint8 (2, 64, 64)        | the field: mean of the measured pixels; mask    |
| `vicinity` | uint8 (2, 64, 64)        | the same about the latest frame, 4 times finer  |
| `survey`   | uint8 (1, 64, 64)        | the low-dose overview, where one is granted     |
| `position` | float32 (2,) in [-1, 1]  | centre (y, x) of the latest frame, of the field |
| `left`     | float32 (2,) in [0, 1]   | charge and time left                            |
| `history`  | float32 (64,) in [-1, 1] | the latest 16 frames, newest first              |

Masks are 255 where a cell holds a measured pixel, and 0 elsewhere.  A row of the
history is y and x as in ``position``, the field of view as a share of the field, and
the mean brightness, black 0 and full scale 1; all 0 where there was no frame.
Frames of other sizes are shown by their nearest pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import gymnasium as gym
import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX
from .mosaic import F32, U8, Floats, Looks, Mosaics

if TYPE_CHECKING:
    from .episode import Episode

CELLS = 64
FINER = 4  # cells of the vicinity to one of the mosaic
REMEMBERED = 16  # frames in the history


class Part(ABC):
    """One entry of an observation, of ``n`` episodes over fields alike.

    Attributes:
        space: of one episode.
    """

    space: ClassVar[gym.spaces.Box]

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        self.field_yx_nm, self.n = field_yx_nm, n

    @abstractmethod
    def clear(self, k: int, survey: U8 | None) -> None:
        """Episode ``k`` starts, with what its survey (1, 64, 64) shows."""

    @abstractmethod
    def add(self, looks: Looks) -> None:
        """Some episodes took a frame."""

    @abstractmethod
    def read(self, left: F32) -> NDArray[Any]:
        """Fresh values (n, ...); ``left`` (n, 2) is the charge and time left."""


def _pictures(channels: int) -> gym.spaces.Box:
    return gym.spaces.Box(0, 255, (channels, CELLS, CELLS), np.uint8)


class FramePart(Part):
    space = _pictures(1)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.shown = np.zeros((n, 1, CELLS, CELLS), dtype=np.uint8)

    def clear(self, k: int, survey: U8 | None) -> None:
        self.shown[k] = 0

    def add(self, looks: Looks) -> None:
        _show(looks.which, looks.values, self.shown)

    def read(self, left: F32) -> U8:
        return self.shown.copy()


class MosaicPart(Part):
    space = _pictures(2)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.mosaics = Mosaics(field_yx_nm, (CELLS, CELLS), n)

    def clear(self, k: int, survey: U8 | None) -> None:
        self.mosaics.clear(k)

    def add(self, looks: Looks) -> None:
        self.mosaics.add(looks)

    def read(self, left: F32) -> U8:
        return self.mosaics.as_uint8()


class VicinityPart(Part):
    space = _pictures(2)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.mosaics = Mosaics(field_yx_nm, (FINER * CELLS, FINER * CELLS), n)
        self.centre_yx_nm = np.zeros((n, 2))

    def clear(self, k: int, survey: U8 | None) -> None:
        self.mosaics.clear(k)
        self.centre_yx_nm[k] = 0.0

    def add(self, looks: Looks) -> None:
        self.mosaics.add(looks)
        self.centre_yx_nm[looks.which] = looks.centre_yx_nm + looks.shift_yx_nm

    def read(self, left: F32) -> U8:
        return self.mosaics.about(self.centre_yx_nm, (CELLS, CELLS))


class SurveyPart(Part):
    space = _pictures(1)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.shown = np.zeros((n, 1, CELLS, CELLS), dtype=np.uint8)

    def clear(self, k: int, survey: U8 | None) -> None:
        self.shown[k] = 0 if survey is None else survey

    def add(self, looks: Looks) -> None:
        pass

    def read(self, left: F32) -> U8:
        return self.shown.copy()


class PositionPart(Part):
    space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.position = np.zeros((n, 2), dtype=np.float32)

    def clear(self, k: int, survey: U8 | None) -> None:
        self.position[k] = 0.0

    def add(self, looks: Looks) -> None:
        self.position[looks.which] = _over(looks.centre_yx_nm, self.field_yx_nm)

    def read(self, left: F32) -> F32:
        return self.position.copy()


class LeftPart(Part):
    space = gym.spaces.Box(0.0, 1.0, (2,), np.float32)

    def clear(self, k: int, survey: U8 | None) -> None:
        pass

    def add(self, looks: Looks) -> None:
        pass

    def read(self, left: F32) -> F32:
        return left.copy()


class HistoryPart(Part):
    space = gym.spaces.Box(-1.0, 1.0, (4 * REMEMBERED,), np.float32)

    def __init__(self, field_yx_nm: YX, n: int) -> None:
        super().__init__(field_yx_nm, n)
        self.rows = np.zeros((n, REMEMBERED, 4), dtype=np.float32)

    def clear(self, k: int, survey: U8 | None) -> None:
        self.rows[k] = 0.0

    def add(self, looks: Looks) -> None:
        which = looks.which
        self.rows[which, 1:] = self.rows[which, :-1]
        self.rows[which, 0, :2] = _over(looks.centre_yx_nm, self.field_yx_nm)
        share = looks.fov_yx_nm.max(axis=1) / min(self.field_yx_nm)
        self.rows[which, 0, 2] = np.clip(share, 0.0, 1.0)
        self.rows[which, 0, 3] = _brightness(looks.values)

    def read(self, left: F32) -> F32:
        return self.rows.reshape(self.n, -1).copy()


PARTS: dict[str, type[Part]] = {
    "frame": FramePart,
    "mosaic": MosaicPart,
    "vicinity": VicinityPart,
    "survey": SurveyPart,
    "position": PositionPart,
    "left": LeftPart,
    "history": HistoryPart,
}
DEFAULT = ("frame", "mosaic", "position", "left")
CHANNELS = ("frame", "mosaic")


class Observations(Protocol):
    """What ``n`` episodes are shown, side by side."""

    @property
    def space(self) -> gym.Space[Any]:
        """Of one episode."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The parts shown."""
        ...

    def clear(self, k: int, survey: U8 | None = None) -> None: ...

    def add(self, looks: Looks) -> None: ...

    def read(self, left: F32) -> Any:
        """Fresh observations, each array with a leading axis (n, ...)."""
        ...


class DictObservations:
    """A flat ``Dict`` of parts."""

    def __init__(self, names: Sequence[str], field_yx_nm: YX, n: int) -> None:
        self.names = tuple(names)
        self.parts = {name: PARTS[name](field_yx_nm, n) for name in names}
        self.space = gym.spaces.Dict({name: part.space for name, part in self.parts.items()})

    def clear(self, k: int, survey: U8 | None = None) -> None:
        for part in self.parts.values():
            part.clear(k, survey)

    def add(self, looks: Looks) -> None:
        for part in self.parts.values():
            part.add(looks)

    def read(self, left: F32) -> dict[str, NDArray[Any]]:
        return {name: part.read(left) for name, part in self.parts.items()}


class ChannelsObservations:
    """``channels``: one image (5, 64, 64) uint8 for plain CNN policies.

    Latest frame; mosaic; its mask; 255 where the latest frame lies, 0 elsewhere;
    the charge left, 0 to 255, everywhere; and the survey where one is granted, (6, 64,
    64) then.
    """

    names = CHANNELS

    def __init__(self, field_yx_nm: YX, n: int, survey: bool = False) -> None:
        self.space = gym.spaces.Box(0, 255, (6 if survey else 5, CELLS, CELLS), np.uint8)
        self.field_yx_nm = field_yx_nm
        self.frame, self.mosaic = FramePart(field_yx_nm, n), MosaicPart(field_yx_nm, n)
        self.survey = SurveyPart(field_yx_nm, n)
        self.latest = np.zeros((n, CELLS, CELLS), dtype=np.uint8)

    def clear(self, k: int, survey: U8 | None = None) -> None:
        self.frame.clear(k, survey)
        self.mosaic.clear(k, survey)
        self.survey.clear(k, survey)
        self.latest[k] = 0

    def add(self, looks: Looks) -> None:
        self.frame.add(looks)
        self.mosaic.add(looks)
        centre = looks.centre_yx_nm + looks.shift_yx_nm
        _mark(looks.which, centre, looks.fov_yx_nm, self.field_yx_nm, self.latest)

    def read(self, left: F32) -> U8:
        out = np.empty((len(self.latest), *self.space.shape), dtype=np.uint8)
        out[:, 0:1] = self.frame.read(left)
        out[:, 1:3] = self.mosaic.read(left)
        out[:, 3] = self.latest
        out[:, 4] = np.rint(left[:, 0] * 255.0)[:, None, None]
        out[:, 5:] = self.survey.read(left)[:, : out.shape[1] - 5]
        return out


def parts_of(name: str | Sequence[str], survey: bool = False) -> tuple[str, ...]:
    """The parts of an observation: ``default``, ``channels``, or parts joined by ``+``.

    Where a survey is granted, both of the former show it.

    Raises:
        ValueError: unknown or repeated parts, or a survey where none is granted; the
            message lists the known ones.
    """
    granted = ("survey",) if survey else ()
    if name in ("default", "channels"):
        return (*(DEFAULT if name == "default" else CHANNELS), *granted)
    if not isinstance(name, str) and not isinstance(name, Sequence):
        raise ValueError(f"the observation {name!r}; it must be a name, or names of parts")
    names = tuple(name.split("+")) if isinstance(name, str) else tuple(name)
    for part in names:
        if not isinstance(part, str) or part not in PARTS:
            known = ", ".join(["default", "channels", *PARTS])
            raise ValueError(f"unknown observation {part!r}; there are: {known}")
    if len(set(names)) < len(names) or not names:
        raise ValueError(f"the observation {name!r}; every part is named once, and one at least")
    if "survey" in names and not survey:
        raise ValueError("the observation 'survey' needs a survey; give survey='low'")
    return names


def observations(
    name: str | Sequence[str], field_yx_nm: YX, n: int = 1, survey: bool = False
) -> Observations:
    """What ``n`` episodes are shown; names and errors as in ``parts_of``."""
    names = parts_of(name, survey)
    if name == "channels":
        return ChannelsObservations(field_yx_nm, n, survey)
    return DictObservations(names, field_yx_nm, n)


@dataclass
class ObservationCodec:
    """The observation of a single episode.

    Args:
        shown: of one episode.
    """

    shown: Observations

    @property
    def space(self) -> gym.Space[Any]:
        return self.shown.space

    def reset(self, episode: Episode) -> None:
        """Start over with a new episode, or take over one under way."""
        self.episode, self.taken = episode, 0
        survey = episode.survey
        self.shown.clear(0, None if survey is None else as_picture(episode.display(survey)))

    def observe(self) -> Any:
        """A fresh observation of the episode as it stands."""
        episode = self.episode
        for frame in episode.history[self.taken :]:
            self.shown.add(Looks.of(frame, episode.display(frame)))
        self.taken = len(episode.history)
        budget = episode.budget
        left = np.array([[budget.charge_left, budget.time_left]], dtype=np.float32)
        seen = self.shown.read(left)
        return {k: v[0] for k, v in seen.items()} if isinstance(seen, dict) else seen[0]


def observation_codec(
    name: str | Sequence[str], field_yx_nm: YX, survey: bool = False
) -> ObservationCodec:
    """The codec of a name; ValueError lists the known ones."""
    return ObservationCodec(observations(name, field_yx_nm, 1, survey))


def is_stock(codec: Any, named: Observations) -> bool:
    """Whether a codec shows what a name stands for, and nothing of anybody's own."""
    if type(codec) is not ObservationCodec or type(codec.shown) is not type(named):
        return False
    return codec.shown.names == named.names and codec.space == named.space


def as_picture(values: F32) -> U8:
    """Values at 0 to 1 as (1, 64, 64) at 0 to 255."""
    out = np.zeros((1, 1, CELLS, CELLS), dtype=np.uint8)
    _show(np.zeros(1, dtype=np.int64), values[None], out)
    picture: U8 = out[0]
    return picture


def _over(centre_yx_nm: Floats, field_yx_nm: YX) -> Floats:
    return np.asarray(np.clip(2 * centre_yx_nm / np.asarray(field_yx_nm), -1.0, 1.0))


@numba.njit(cache=True, fastmath=False, nogil=True)
def _show(which: Any, values: Any, out: Any) -> None:
    """By nearest pixel, 0 to 1 as 0 to 255."""
    rows, columns = out.shape[2], out.shape[3]
    column = np.empty(columns, np.int64)
    for j in range(columns):
        column[j] = j * values.shape[2] // columns
    for m in range(which.shape[0]):
        n = which[m]
        for i in range(rows):
            row = values[m, i * values.shape[1] // rows]
            for j in range(columns):
                value = np.rint(min(max(row[column[j]], 0.0), 1.0) * 255.0)
                out[n, 0, i, j] = np.uint8(value)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _brightness(values: F32) -> Floats:
    """The mean of each frame (m,), held to [0, 1]."""
    out = np.empty(values.shape[0])
    for m in range(values.shape[0]):
        total = 0.0
        for i in range(values.shape[1]):
            for j in range(values.shape[2]):
                total += values[m, i, j]
        out[m] = min(max(total / (values.shape[1] * values.shape[2]), 0.0), 1.0)
    return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def _mark(which: Any, centre: Floats, fov: Floats, field: YX, out: U8) -> None:
    """255 in the cells whose middle a frame covers, 0 in all others."""
    rows, columns = out.shape[1], out.shape[2]
    for m in range(which.shape[0]):
        n = which[m]
        for i in range(rows):
            y = ((i + 0.5) / rows - 0.5) * field[0]
            for j in range(columns):
                x = ((j + 0.5) / columns - 0.5) * field[1]
                inside = (
                    abs(y - centre[m, 0]) <= fov[m, 0] / 2
                    and abs(x - centre[m, 1]) <= fov[m, 1] / 2
                )
                out[n, i, j] = 255 if inside else 0
