"""Observation codecs: what an agent is shown of an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numba
import numpy as np
from numpy.typing import NDArray

from .mosaic import Mosaic

if TYPE_CHECKING:
    from .episode import Episode

CELLS = 64


class ObservationCodec(Protocol):
    """An observation space and how it is filled."""

    @property
    def space(self) -> gym.Space[Any]: ...

    def reset(self, episode: Episode) -> None:
        """Start over with a new episode, or take over one under way."""
        ...

    def observe(self) -> Any:
        """A fresh observation of the episode as it stands."""
        ...


class DefaultObservation:
    """``default``: a flat ``Dict`` of

    | key        | space                   | meaning                                      |
    |------------|-------------------------|----------------------------------------------|
    | `frame`    | uint8 (1, 64, 64)       | the latest frame, 0 to full scale; 0 at first |
    | `mosaic`   | uint8 (2, 64, 64)       | mean of the measured pixels; mask 255 or 0   |
    | `position` | float32 (2,) in [-1, 1] | centre of the latest frame over the field    |
    | `left`     | float32 (2,) in [0, 1]  | charge and time left                         |
    """

    def __init__(self) -> None:
        self.space = gym.spaces.Dict(
            {
                "frame": gym.spaces.Box(0, 255, (1, CELLS, CELLS), np.uint8),
                "mosaic": gym.spaces.Box(0, 255, (2, CELLS, CELLS), np.uint8),
                "position": gym.spaces.Box(-1.0, 1.0, (2,), np.float32),
                "left": gym.spaces.Box(0.0, 1.0, (2,), np.float32),
            }
        )

    def reset(self, episode: Episode) -> None:
        self.episode = episode
        self.mosaic = Mosaic(episode.field_yx_nm, (CELLS, CELLS))
        self.taken = 0
        self.latest = np.zeros((1, CELLS, CELLS), dtype=np.uint8)
        self.position = np.zeros(2, dtype=np.float32)

    def observe(self) -> dict[str, np.ndarray]:
        episode, history = self.episode, self.episode.history
        for frame in history[self.taken :]:
            values = episode.display(frame)
            self.mosaic.add(frame, values)
            if frame is history[-1]:
                _resize(values, self.latest[0])
                for axis in (0, 1):
                    at = 2 * frame.region.centre_yx_nm[axis] / episode.field_yx_nm[axis]
                    self.position[axis] = min(max(at, -1.0), 1.0)
        self.taken = len(history)
        return {
            "frame": self.latest.copy(),
            "mosaic": self.mosaic.as_uint8(),
            "position": self.position.copy(),
            "left": np.array([episode.budget.charge_left, episode.budget.time_left], np.float32),
        }


@numba.njit(cache=True, fastmath=False, nogil=True)
def _resize(values: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """By nearest pixel, 0 to 1 as 0 to 255."""
    column = np.empty(out.shape[1], np.int64)
    for j in range(out.shape[1]):
        column[j] = j * values.shape[1] // out.shape[1]
    for i in range(out.shape[0]):
        row = values[i * values.shape[0] // out.shape[0]]
        for j in range(out.shape[1]):
            out[i, j] = np.uint8(np.rint(min(max(row[column[j]], 0.0), 1.0) * 255.0))


OBSERVATIONS = {"default": DefaultObservation}


def observation_codec(name: str) -> ObservationCodec:
    """The codec of a name; ValueError lists the known ones."""
    if name not in OBSERVATIONS:
        raise ValueError(f"unknown observation {name!r}; there are: {', '.join(OBSERVATIONS)}")
    return OBSERVATIONS[name]()
