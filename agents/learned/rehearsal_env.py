"""Rehearsed episodes as Stable-Baselines3 takes environments: its own ``VecEnv``."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from .evidence import F32, Ints
from .network import BeliefNet, probabilities
from .outlook import outlook, outlook_shape
from .rehearsal import Rehearsal

SCALE = 10.0  # of rewards
ACTIONS = ("frame", "place")


class RehearsalEnv(VecEnv):
    """Episodes of a budget, all of which begin and end together.

    The observation is ``outlook``'s; an action is a frame of the lattice (``frame``), or a place
    (y, x) from -1 to 1, next to which the nearest frame is taken (``place``).  The reward of a
    frame is what it shows of the task for the first time, times the share of the budget that is
    left after it: an episode earns the area under its curve of discovery, times ``SCALE``.

    Args:
        rehearsal: the episodes.
        belief: encodes the evidence; None for none.
        budget: of a raster.
        action: ``frame`` or ``place``.
        whole: show the evidence itself besides, for policies with a belief of their own.

    Raises:
        ValueError: another action, or a budget that pays for no frame.
    """

    def __init__(
        self,
        rehearsal: Rehearsal,
        belief: BeliefNet | None,
        budget: float,
        action: str = "frame",
        whole: bool = False,
    ) -> None:
        if action not in ACTIONS:
            raise ValueError(f"unknown action {action!r}; there are: {', '.join(ACTIONS)}")
        self.rehearsal, self.belief, self.action = rehearsal, belief, action
        self.whole = whole
        self.frames = int(budget * rehearsal.raster)
        if self.frames < 1:
            raise ValueError(f"a budget of {budget:g} pays for no frame")
        self.left = self.frames
        self.earned = np.zeros(rehearsal.n, dtype=np.float32)
        rows, columns = rehearsal.shape
        self.render_mode = None
        shape = outlook_shape(rehearsal.cells, rehearsal.layers, whole)
        maps = spaces.Box(-np.inf, np.inf, shape, np.float32)
        frames: spaces.Space[Any] = spaces.Discrete(rows * columns)
        places = spaces.Box(-1.0, 1.0, (2,), np.float32)
        super().__init__(rehearsal.n, maps, frames if action == "frame" else places)

    def reset(self) -> F32:
        self.rehearsal.begin(np.arange(self.num_envs))
        self.left = self.frames
        self.earned[:] = 0.0
        self._reset_seeds()
        self._reset_options()
        return self.observed()

    def observed(self) -> F32:
        """The observation as it is."""
        own = self.rehearsal
        likely = None if self.belief is None else probabilities(self.belief, own.evidence)
        left = np.full(own.n, self.left / own.raster, dtype=np.float32)
        return outlook(own.evidence, own.told, own.taken, left, own.layers, likely, self.whole)

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[F32, F32, NDArray[np.bool_], list[dict[str, Any]]]:
        choice = self._actions if self.action == "frame" else self._nearest(self._actions)
        gained = self.rehearsal.take(np.asarray(choice, dtype=np.int64))
        rewards = gained * np.float32(SCALE * (self.left - 1) / self.frames)
        self.earned += rewards
        self.left -= 1
        over = self.left == 0
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        seen = self.observed()
        if over:
            for k, info in enumerate(infos):
                info["terminal_observation"] = seen[k]
                info["TimeLimit.truncated"] = False  # what is left is in the observation
                info["episode"] = {"r": float(self.earned[k]), "l": self.frames, "t": 0.0}
            seen = self.reset()
        return seen, rewards, np.full(self.num_envs, over, dtype=np.bool_), infos

    def _nearest(self, places: NDArray[Any]) -> Ints:
        """The frames that are not taken, each nearest to one of (n, 2) places."""
        rows, columns = self.rehearsal.shape
        y, x = np.linspace(-1.0, 1.0, rows), np.linspace(-1.0, 1.0, columns)
        away = (y[None, :, None] - places[:, :1, None]) ** 2 + (
            x[None, None, :] - places[:, 1:, None]
        ) ** 2
        away[self.rehearsal.taken] = np.inf
        return np.asarray(away.reshape(len(places), -1).argmin(axis=1))

    def action_masks(self) -> NDArray[np.bool_]:
        """Frames (n, rows x columns) that are not taken."""
        return np.asarray(~self.rehearsal.taken.reshape(self.num_envs, -1))

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        if method_name != "action_masks":
            raise AttributeError(f"{method_name!r} cannot be called; there is action_masks")
        masks = self.action_masks()
        return [masks[k] for k in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        raise AttributeError(f"{attr_name!r} cannot be set; make the environment with it")

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def close(self) -> None:
        pass
