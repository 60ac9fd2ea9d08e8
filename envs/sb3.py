"""The vectorised environment as Stable-Baselines3 takes it: its own ``VecEnv``.

Imports Stable-Baselines3, and with it torch; nothing else in ``envs/`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices

from .registration import register_all
from .vector import ScanVectorEnv

# Of infos; dictionaries for each step are dear.
KEPT = ("spent", "charge_e", "charge_left", "time_s", "time_left", "frames", "at_limit")


class ScanVecEnv(VecEnv):
    """Steps a ``ScanVectorEnv`` for Stable-Baselines3 and sb3-contrib.

    Episodes start anew in the step in which they end: ``info`` then holds
    ``terminal_observation``, and ``TimeLimit.truncated`` says whether it was the budget.
    ``env_method("action_masks")`` gives the masks of the action ``grid``.

    Args:
        vector: with ``autoreset_mode="SameStep"``.

    Raises:
        ValueError: another mode.

    Example:
        >>> env = ScanVecEnv.make("StemScout/GrapheneDefects-v0", 16)  # doctest: +SKIP
        >>> PPO("MultiInputPolicy", env).learn(10_000)  # doctest: +SKIP
    """

    def __init__(self, vector: ScanVectorEnv) -> None:
        if vector.autoreset_mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                "Stable-Baselines3 wants episodes to start anew in the step in which they end; "
                f"make the environment with autoreset_mode='SameStep', not {vector.autoreset_mode}"
            )
        self.vector = vector
        self._actions: Any = None
        super().__init__(
            vector.num_envs, vector.single_observation_space, vector.single_action_space
        )

    @classmethod
    def make(cls, env_id: str, num_envs: int, **options: Any) -> ScanVecEnv:
        """That of an id; options as for ``gymnasium.make``."""
        register_all()
        made = gym.make_vec(
            env_id,
            num_envs=num_envs,
            vectorization_mode="vector_entry_point",
            autoreset_mode=AutoresetMode.SAME_STEP,
            **options,
        )
        assert isinstance(made, ScanVectorEnv)
        return cls(made)

    def reset(self) -> Any:
        # A seed stays what it was: the next reset without one goes on to the next episodes.
        seeds = None if all(s is None for s in self._seeds) else self._seeds
        if any(o != self._options[0] for o in self._options):
            raise ValueError(
                "options differ from one sub-environment to another; give all the same"
            )
        observation, infos = self.vector.reset(seed=seeds, options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        there = [k for k in KEPT if k in infos]
        self.reset_infos = [{k: infos[k][j] for k in there} for j in range(self.num_envs)]
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        seen, rewards, terminated, truncated, infos = self.vector.step(self._actions)
        done = terminated | truncated
        there = [k for k in KEPT if k in infos]
        columns = [infos[k].tolist() for k in there]
        out: list[dict[str, Any]] = [
            dict(zip(there, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        for j in np.flatnonzero(done):
            out[j] = {k: infos["final_info"][k][j] for k in there}
            out[j]["terminal_observation"] = infos["final_obs"][j]
            out[j]["TimeLimit.truncated"] = bool(truncated[j] and not terminated[j])
        return seen, rewards.astype(np.float32), done, out

    def close(self) -> None:
        self.vector.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        if attr_name in ("episode", "truth") and self.vector.fleet is not None:
            raise AttributeError(
                f"{attr_name!r} is not kept where episodes are stepped side by side; use a single "
                "environment to look into one"
            )
        return [getattr(self.vector.envs[j], attr_name) for j in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refused: what a sub-environment is was decided when it was made.

        Raises:
            AttributeError: always.
        """
        raise AttributeError(f"{attr_name!r} cannot be set; make the environment with it")

    def env_method(
        self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        chosen = list(self._get_indices(indices))
        if method_name == "action_masks":
            masks = self.vector.action_masks()
            return [masks[j] for j in chosen]
        if self.vector.fleet is not None:
            raise AttributeError(
                f"{method_name!r} cannot be called where episodes are stepped side by side; "
                "there is action_masks"
            )
        return [getattr(self.vector.envs[j], method_name)(*args, **kwargs) for j in chosen]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        pictures = self.vector.render()
        return list(pictures) if pictures is not None else [None] * self.num_envs

    def _get_indices(self, indices: VecEnvIndices) -> Iterable[int]:
        return super()._get_indices(indices)
