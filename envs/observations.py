"""Observation codecs: what an agent is shown of an episode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import gymnasium as gym
import numpy as np

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

    def observe(self) -> dict[str, np.ndarray]:
        episode = self.episode
        for frame in episode.history[self.taken :]:
            self.mosaic.add(frame, episode.display(frame))
        self.taken = len(episode.history)
        image = np.zeros((1, CELLS, CELLS), dtype=np.uint8)
        position = np.zeros(2, dtype=np.float32)
        if episode.history:
            last = episode.history[-1]
            image[0] = _resized(episode.display(last))
            field = episode.field_yx_nm
            position[0] = np.clip(2 * last.region.centre_yx_nm[0] / field[0], -1, 1)
            position[1] = np.clip(2 * last.region.centre_yx_nm[1] / field[1], -1, 1)
        return {
            "frame": image,
            "mosaic": self.mosaic.as_uint8(),
            "position": position,
            "left": np.array([episode.budget.charge_left, episode.budget.time_left], np.float32),
        }


def _resized(values: np.ndarray) -> np.ndarray:
    """To CELLS x CELLS by nearest pixel; uint8."""
    rows, columns = values.shape
    if (rows, columns) != (CELLS, CELLS):
        down = (np.arange(CELLS) * rows) // CELLS
        right = (np.arange(CELLS) * columns) // CELLS
        values = values[np.ix_(down, right)]
    return np.asarray(np.rint(np.clip(values, 0.0, 1.0) * 255.0), dtype=np.uint8)


OBSERVATIONS = {"default": DefaultObservation}


def observation_codec(name: str) -> ObservationCodec:
    """The codec of a name; ValueError lists the known ones."""
    if name not in OBSERVATIONS:
        raise ValueError(f"unknown observation {name!r}; there are: {', '.join(OBSERVATIONS)}")
    return OBSERVATIONS[name]()
