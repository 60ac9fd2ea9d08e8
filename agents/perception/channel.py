"""What a perception makes of the frames, as part of the observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ...envs.mosaic import Looks, Mosaics
from ...envs.observations import CELLS
from ...envs.scan_env import ScanEnv
from ...hardware.microscope import Frame

LARGEST = float(np.finfo(np.float32).max)
Perceive = Callable[[NDArray[np.float32]], NDArray[Any]]


class PerceptionChannel(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds what a perception says of every frame taken to a ``Dict`` observation.

    A perception is any function of one frame as it is shown, (rows, columns)
    float32 with 0 at black and 1 at full scale.  What it gives decides what is
    added:

    - a map (rows, columns) of the same frame in [0, 1], such as the probability
      of a defect in each pixel: ``perceived``, uint8 (2, 64, 64), a mosaic of it over
      the field, with its mask;
    - a vector (d,), such as a descriptor: ``descriptor``, float32 (d,), of the
      latest frame, 0 before the first.

    Args:
        env: observed as a ``Dict``.
        perceive: the perception; called once for each frame.

    Raises:
        ValueError: an observation that is not a ``Dict``, or a perception that gives
            neither a map nor a vector; at ``step``, one that gives NaN.
    """

    def __init__(self, env: gym.Env[Any, Any], perceive: Perceive) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, perceive=perceive)
        gym.Wrapper.__init__(self, env)
        inner = env.unwrapped
        assert isinstance(inner, ScanEnv)
        if not isinstance(env.observation_space, gym.spaces.Dict):
            raise ValueError(
                "a perception channel needs a Dict observation; make the environment with "
                "observation='default' or parts joined by '+'"
            )
        self._inner, self.perceive = inner, perceive
        shape = inner.source.reference.shape_yx
        said = np.asarray(perceive(np.zeros(shape, dtype=np.float32)))
        self._mosaics: Mosaics | None = None
        space: gym.spaces.Box
        if said.shape == shape:
            self.key, space = "perceived", gym.spaces.Box(0, 255, (2, CELLS, CELLS), np.uint8)
            self._mosaics = Mosaics(inner.source.field_yx_nm, (CELLS, CELLS))
        elif said.ndim == 1:
            self.key, space = "descriptor", gym.spaces.Box(-LARGEST, LARGEST, said.shape)
        else:
            raise ValueError(
                f"the perception gives an array of shape {said.shape} for a frame of {shape}; it "
                "must be a map of the frame or a vector"
            )
        self._descriptor = np.zeros(space.shape, dtype=np.float32)
        self._taken = 0
        self.observation_space = gym.spaces.Dict({**env.observation_space.spaces, self.key: space})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        if self._mosaics is not None:
            self._mosaics.clear(0)
        self._descriptor = np.zeros_like(self._descriptor)
        self._taken = 0
        return self._with(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with(observation), reward, terminated, truncated, info

    def _with(self, observation: dict[str, Any]) -> dict[str, Any]:
        history = self._inner.episode.history
        for frame in history[self._taken :]:
            self._take_in(frame)
        self._taken = len(history)
        if self._mosaics is None:
            return {**observation, self.key: self._descriptor.copy()}
        return {**observation, self.key: self._mosaics.as_uint8()[0]}

    def _take_in(self, frame: Frame) -> None:
        said = np.asarray(self.perceive(self._inner.episode.display(frame)), dtype=np.float32)
        if not np.isfinite(said).all():
            raise ValueError("the perception gives NaN or infinite values")
        if self._mosaics is None:
            self._descriptor = said
        else:
            self._mosaics.add(Looks.of(frame, said))
