"""A trained policy as an agent like any other."""

from __future__ import annotations

import json
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...hardware.microscope import Frame
from ..agent import Agent, Context, Explanation, Needs


class Predicts(Protocol):
    """What Stable-Baselines3's models and policies have in common."""

    observation_space: Any
    action_space: Any

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = False,
    ) -> tuple[Any, Any]: ...


class PolicyAgent(Agent):
    """Acts as a Stable-Baselines3 model does.

    Args:
        model: has ``predict``; trained on what ``needs`` names.
        needs: the action and the observation that it was trained with.
        deterministic: take the most likely action rather than draw one.
        name: how it is called in tables.

    Example:
        >>> model = PPO("MultiInputPolicy", env).learn(10_000)  # doctest: +SKIP
        >>> Experiment(make_env(env_id), PolicyAgent(model), seed=0).run()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Predicts,
        needs: Needs | None = None,
        deterministic: bool = True,
        name: str = "learned",
    ) -> None:
        self.model = model
        self.needs = needs or Needs()
        self.deterministic = deterministic
        self.name = name

    def reset(self, context: Context, seed: int) -> None:
        """Forget what was remembered.

        Raises:
            ValueError: the model acts in another space than this run.
        """
        wanted = context.actions.space
        if self.model.action_space != wanted:
            raise ValueError(
                f"the model acts in {self.model.action_space} and this run in {wanted}; it was "
                f"trained with another action than {self.needs.action!r}, another field or frame"
            )
        self._memory: Any = None
        self._begins = True

    def act(self, observation: Any) -> Any:
        """Raises ValueError where the observation is none that the model knows."""
        if not self.model.observation_space.contains(observation):
            raise ValueError(
                f"the model looks at {self.model.observation_space}, which "
                f"{self.needs.observation!r} observations here are not; name those that it was "
                "trained with"
            )
        action, self._memory = self.model.predict(
            observation,
            state=self._memory,
            episode_start=np.array([self._begins]),
            deterministic=self.deterministic,
        )
        self._begins = False
        return action

    def observe(self, frame: Frame) -> None:
        pass

    def explain(self) -> Explanation:
        return Explanation(f"{self.name} prefers it there")


# By the module of a model's policy and, where that serves several, a parameter that one alone has.
SAVED = (
    ("sb3_contrib.common.maskable", "", "sb3_contrib", "MaskablePPO"),
    ("sb3_contrib.common.recurrent", "", "sb3_contrib", "RecurrentPPO"),
    ("sb3_contrib.qrdqn", "", "sb3_contrib", "QRDQN"),
    ("sb3_contrib.tqc", "", "sb3_contrib", "TQC"),
    ("stable_baselines3.dqn", "", "stable_baselines3", "DQN"),
    ("stable_baselines3.sac", "", "stable_baselines3", "SAC"),
    ("stable_baselines3.td3", "", "stable_baselines3", "TD3"),
    ("stable_baselines3.common", "clip_range", "stable_baselines3", "PPO"),
    ("stable_baselines3.common", "line_search_shrinking_factor", "sb3_contrib", "TRPO"),
    ("stable_baselines3.common", "gae_lambda", "stable_baselines3", "A2C"),
)


def from_zip(
    path: str | Path,
    trust: bool = False,
    action: str = "position",
    observation: str = "default",
    deterministic: bool = True,
) -> PolicyAgent:
    """A model that Stable-Baselines3 or sb3-contrib saved, as an agent.

    Args:
        path: of its ``.zip``.
        trust: that nothing in it does harm: parts of it are pickled, and unpickling runs code.
        action, observation: that it was trained with.
        deterministic: take the most likely action rather than draw one.

    Raises:
        ValueError: no such file, one of something else, or one that is not trusted.
    """
    if not Path(path).is_file():
        raise ValueError(f"no model at {str(path)!r}")
    try:
        with zipfile.ZipFile(path) as held:
            told = json.loads(held.read("data"))
        module = str(told["policy_class"]["__module__"])
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no model of Stable-Baselines3, or a damaged one") from error
    fits = [
        (package, name)
        for begins, has, package, name in SAVED
        if module.startswith(begins) and (not has or has in told)
    ]
    if not fits:
        raise ValueError(
            f"{path}: its policy is of {module}, which nothing here knows; make a PolicyAgent of it"
        )
    package, name = fits[0]
    if not trust:
        raise ValueError(
            f"{path} holds pickled parts, and to read them is to run what they hold; if you trust "
            "whoever made it, add --trust"
        )
    try:
        kind = getattr(import_module(package), name)
    except ImportError as error:
        raise ValueError(f"{path} is of {name}, and {package} is not installed") from error
    try:
        model = kind.load(path, device="cpu")
    except Exception as error:  # whatever is in a file that is damaged further in
        raise ValueError(f"{path} cannot be read as {name}: {error}") from error
    return PolicyAgent(model, Needs(action, observation), deterministic, Path(path).stem)
