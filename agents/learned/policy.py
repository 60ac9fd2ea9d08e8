"""A trained policy as an agent like any other."""

from __future__ import annotations

from typing import Any, Protocol

from ...hardware.microscope import Frame
from ..agent import Agent, Context, Explanation, Needs


class Predicts(Protocol):
    """What Stable-Baselines3's models and policies have in common."""

    observation_space: Any
    action_space: Any

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]: ...


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
        """A policy has no memory but its observation.

        Raises:
            ValueError: the model acts in another space than this run.
        """
        wanted = context.actions.space
        if self.model.action_space != wanted:
            raise ValueError(
                f"the model acts in {self.model.action_space} and this run in {wanted}; "
                f"build the environment with action={self.needs.action!r}"
            )

    def act(self, observation: Any) -> Any:
        action, _ = self.model.predict(observation, deterministic=self.deterministic)
        return action

    def observe(self, frame: Frame) -> None:
        pass

    def explain(self) -> Explanation:
        return Explanation(f"{self.name} prefers it there")
