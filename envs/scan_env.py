"""The Gymnasium environment: an episode between an action and an observation codec."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..simulators.specimens import Specimen
from ..simulators.world import SPLITS, split_index
from . import seen
from .actions import action_codec
from .budget import Budget
from .episode import Episode
from .observations import observation_codec
from .render import Window, picture
from .sources import Source
from .tasks import Discover, Explore, Task

TASKS = ("discover", "explore")


class ScanEnv(gym.Env[Any, Any]):
    """Sub-scans of a specimen under a budget of electrons and time.

    Subclasses say which specimen; everything else is here.

    Args:
        source: makes the microscope of each episode.
        action: ``position``.
        observation: ``default``.
        task: ``discover``; ``explore`` where there is no truth.
        budget: charge, in rasters of the whole field, in (0, 1].
        time_budget_s: seconds of instrument time; None is without limit.
        split: ``train``, ``validation`` or ``test``; which specimens are drawn.
        terminate_when_done: end as soon as the task is.
        render_mode: ``rgb_array`` or ``human``.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "human"],
        "render_fps": 10,
    }

    def __init__(
        self,
        source: Source,
        action: str = "position",
        observation: str = "default",
        task: str = "discover",
        budget: float = 0.4,
        time_budget_s: float | None = None,
        split: str = "train",
        terminate_when_done: bool = True,
        render_mode: str | None = None,
    ) -> None:
        split_index(split)
        if task not in TASKS:
            raise ValueError(f"unknown task {task!r}; there are: {', '.join(TASKS)}")
        if task == "discover" and not source.knows_truth:
            raise ValueError("the task 'discover' needs the truth; for this microscope: explore")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            known = ", ".join(self.metadata["render_modes"])
            raise ValueError(f"unknown render_mode {render_mode!r}; there are: {known}")
        self.source = source
        self.actions = action_codec(action, source.field_yx_nm, source.reference)
        self.observations = observation_codec(observation)
        self.action_space = self.actions.space
        self.observation_space = self.observations.space
        self.task = task
        self.budget = budget
        self.time_budget_s = time_budget_s
        self.split = split
        self.terminate_when_done = terminate_when_done
        self.render_mode = render_mode
        self._window: Window | None = None
        self._seed: int | None = None
        self._episode_number = 0
        self._episode: Episode | None = None
        self._specimen: Specimen | None = None
        # A budget that makes no sense is refused now and not at the first reset.
        Budget.relative(
            budget, source.field_yx_nm, source.reference, source.costs, 1.0, time_budget_s
        )

    @property
    def episode(self) -> Episode:
        """The episode under way."""
        if self._episode is None:
            raise gym.error.ResetNeeded("call reset() before anything else")
        return self._episode

    @property
    def truth(self) -> Specimen | None:
        """What is really there, where it is known: for scoring, never for agents."""
        return self._specimen

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: an integer at least 0; episode k after it is always the same.
            options: ``{"specimen": i}`` shows specimen i of the split, whatever
                the seed; ``{"split": name}`` changes the split from now on.
        """
        options = dict(options or {})
        specimen = options.pop("specimen", None)
        split = options.pop("split", self.split)
        split_index(split)
        if options:
            raise ValueError(
                f"unknown options {sorted(options)}; there are: specimen, split "
                f"({', '.join(SPLITS)})"
            )
        if specimen is not None and (not isinstance(specimen, int | np.integer) or specimen < 0):
            raise ValueError(f"options['specimen'] is {specimen!r}; it must be an integer >= 0")
        super().reset(seed=seed)
        self.split = split
        if seed is not None:
            self._seed, self._episode_number = int(seed), 0
        elif self._seed is None:
            self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        else:
            self._episode_number += 1
        microscope = self.source.microscope(
            self._seed,
            self.split,
            self._episode_number,
            None if specimen is None else int(specimen),
        )
        microscope.open()
        self._specimen = self.source.truth(microscope)
        reference, costs = self.source.reference, self.source.costs
        budget = Budget.relative(
            self.budget,
            self.source.field_yx_nm,
            reference,
            costs,
            microscope.state().beam_current_pa,
            self.time_budget_s,
        )
        self._episode = Episode(microscope, self._new_task(), budget, reference, costs)
        self.observations.reset(self._episode)
        self._show()
        return self.observations.observe(), self._info(None)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take the frame that ``action`` asks for.

        A frame that costs more than is left is not taken, and truncates.  An
        action outside the space raises ValueError and costs nothing.
        """
        episode = self.episode
        request = self.actions.decode(action)
        reward = 0.0
        if episode.affords(request):
            episode.take(request)
            reward = episode.gains[-1]
            truncated = episode.exhausted
        else:
            truncated = True
        terminated = self.terminate_when_done and episode.task.done
        self._show()
        return self.observations.observe(), reward, terminated, truncated, self._info(request)

    def render(self) -> NDArray[np.uint8] | None:
        """The mosaic so far with the latest frame outlined, (height, width, 3) uint8."""
        if self.render_mode is None:
            gym.logger.warn("render() was called without a render_mode; say it at gym.make")
            return None
        if self.render_mode == "human":
            self._show()
            return None
        return picture(self.episode)

    def close(self) -> None:
        if self._episode is not None:
            self._episode.microscope.close()
        if self._window is not None:
            self._window.close()
            self._window = None

    def _new_task(self) -> Task:
        if self._specimen is None or self.task != "discover":
            return Explore()
        return Discover(seen.targets(self._specimen, self.source.reference.side_nm))

    def _info(self, request: Any) -> dict[str, Any]:
        budget = self.episode.budget
        return {
            "request": request,
            "spent": budget.spent,
            "charge_e": budget.spent_charge_e,
            "charge_left": budget.charge_left,
            "time_s": budget.spent_time_s,
            "time_left": budget.time_left,
            "frames": len(self.episode.history),
        }

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or Window(self.metadata["render_fps"])
            self._window.show(picture(self.episode))
