"""The Gymnasium environment: an episode between an action and an observation codec."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import signature
from numbers import Integral
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..hardware.errors import LimitError
from ..hardware.limits import check
from ..hardware.microscope import ScanRequest
from ..simulators.specimens import Specimen
from ..simulators.world import SPLITS, Recipe, split_index
from .actions import ActionCodec, GridAction, MoveAction, action_codec
from .budget import Budget, BudgetError
from .episode import Episode
from .numbers import is_number
from .observations import ObservationCodec, observation_codec
from .reference import ReferenceFrame
from .render import Window, picture
from .shaping import Shaping
from .sources import Source, SpecimenSource
from .tasks import Task, can_be_followed, check_task, task

SURVEYS = ("none", "low")
SURVEY_PX = 128  # along either side of the field
SURVEY_DWELL = 1.0 / 8.0  # reference dwells


class UnknownOptionError(ValueError):
    """An option that an environment does not have; the message ends with those that it has."""


class ScanEnv(gym.Env[Any, Any]):
    """Sub-scans of a specimen under a budget of electrons and time.

    Subclasses say which specimen; everything else is here.

    Args:
        source: makes the microscope of each episode.
        action: ``position``, ``move``, ``grid`` or ``operator`` (``envs/actions.py``).
        observation: ``default``, ``channels``, or parts joined by ``+``
            (``envs/observations.py``).
        task: ``discover``, ``map``, ``classes``, ``follow``, ``target``; ``explore``
            where there is no truth (``envs/tasks.py``); or a function of specimen (None
            where nobody knows it) and reference frame that makes a ``Task`` of one's own.
        budget: charge, in rasters of the whole field, in (0, 1].
        time_budget_s: seconds of instrument time; None is without limit.
        survey: ``none``, or ``low``: the whole field in 128 x 128 pixels at an eighth
            of the reference dwell, taken and paid for at reset.
        shaping: weight of the potential-based shaping of the reward (Ng, Harada &
            Russell, ICML 1999), off at 0; the potential is minus the distance from
            the latest frame to the nearest unseen feature, in fields.
        discount: of the potential, the learner's own.
        split: ``train``, ``validation`` or ``test``; which specimens are drawn.
        terminate_when_done: end as soon as the task is.
        privileged: put the truth into ``info["truth"]`` at reset.
        render_mode: ``rgb_array`` or ``human``.

    Raises:
        ValueError: an option that does not exist (the known ones are listed), or
            a combination that makes no sense.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "human"],
        "render_fps": 10,
    }

    def __init__(
        self,
        source: Source,
        action: str = "position",
        observation: str | Sequence[str] = "default",
        task: str | Callable[[Specimen | None, ReferenceFrame], Task] = "discover",
        budget: float = 0.4,
        time_budget_s: float | None = None,
        survey: str = "none",
        shaping: float = 0.0,
        discount: float = 0.99,
        split: str = "train",
        terminate_when_done: bool = True,
        privileged: bool = False,
        render_mode: str | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise UnknownOptionError(
                f"unknown option {', '.join(sorted(unknown))}; there are: "
                f"{', '.join(_options_of(type(self)))}"
            )
        split_index(split)
        if not callable(task):
            check_task(task, source.classes)
        if survey not in SURVEYS:
            raise ValueError(f"unknown survey {survey!r}; there are: {', '.join(SURVEYS)}")
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            known = ", ".join(self.metadata["render_modes"])
            raise ValueError(f"unknown render_mode {render_mode!r}; there are: {known}")
        for name, value in (
            ("terminate_when_done", terminate_when_done),
            ("privileged", privileged),
        ):
            if not isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}; it must be True or False")
        if task == "follow" and isinstance(source, SpecimenSource):
            source = source.showing(can_be_followed)
        self.source = source
        self.task = task
        self.budget = budget
        self.time_budget_s = time_budget_s
        self.survey = survey_request(source) if survey == "low" else None
        shape = Shaping(shaping, discount, task)  # refuses what makes no sense, used or not
        self.shaping = shape if shaping else None
        self.split = split
        self.terminate_when_done = terminate_when_done
        self.privileged = privileged
        self.render_mode = render_mode
        self._window: Window | None = None
        self._seed: int | None = None
        self._episode_number = 0
        self._episode: Episode | None = None
        self._specimen: Specimen | None = None
        self._over = False
        self.side_by_side = False  # one of a vectorised environment's
        self._mask, self._masked = np.ones(0, dtype=bool), 0
        self.action, self.observation = action, observation
        self.actions = action_codec(action, source.field_yx_nm, source.reference, source.limits)
        self.observations = observation_codec(
            observation, source.field_yx_nm, self.survey is not None
        )
        # A budget that makes no sense is refused now and not at the first reset.
        self._check_start(ScanEnv._new_budget(self, 1.0), 1.0)

    @property
    def actions(self) -> ActionCodec:
        """What actions mean; another may be set in mid-run, when another agent takes over."""
        return self._actions

    @actions.setter
    def actions(self, codec: ActionCodec) -> None:
        self._need_alone()
        self._actions = codec
        self.action_space = codec.space
        cells = len(codec.centres_yx_nm) if isinstance(codec, GridAction) else 0
        self._mask, self._masked = np.ones(cells, dtype=bool), 0
        if self._episode is not None:
            self._episode.cheapest = codec.cheapest

    @property
    def observations(self) -> ObservationCodec:
        """What is shown; another may be set in mid-run, and knows all that was taken before."""
        return self._observations

    @observations.setter
    def observations(self, codec: ObservationCodec) -> None:
        self._need_alone()
        self._observations = codec
        self.observation_space = codec.space
        if self._episode is not None:
            codec.reset(self._episode)

    def _need_alone(self) -> None:
        if self.side_by_side:
            raise ValueError(
                "actions and observations of a vectorised environment are those of all of it; "
                "exchange them in a single one"
            )

    def _check_start(self, budget: Budget, beam_current_pa: float | None) -> None:
        """Refuse a survey that is not possible, or that leaves no frame to take."""
        if self.survey is None:
            return
        source, cheapest = self.source, self.actions.cheapest
        try:
            check(self.survey, source.limits, beam_current_pa)
        except LimitError as error:
            raise ValueError(f"survey='low' is not possible here: {error}") from error
        current = beam_current_pa or 0.0
        charge, time_s = (
            price(self.survey) + price(cheapest)
            for price in (lambda r: source.costs.charge_e(r, current), source.costs.time_s)
        )
        if not budget.affords(charge, time_s, 2):
            raise BudgetError(
                "the budget does not pay for survey='low' and one frame after it; allow more, or "
                "take no survey"
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
                the seed (with ``follow`` another, always the same, where that one has
                nothing to follow); ``{"split": name}`` changes the split from now on.
        """
        self.begin(seed, options)
        self.observations.reset(self.episode)
        self._show()
        info = self._info(None)
        if self.privileged:
            info["truth"] = self._specimen
        return self.observations.observe(), info

    def begin(self, seed: int | None, options: dict[str, Any] | None) -> None:
        """What ``reset`` does before anything is shown."""
        options = dict(options or {})
        specimen = options.pop("specimen", None)
        split = options.pop("split", self.split)
        split_index(split)
        if options:
            raise ValueError(
                f"unknown options {sorted(options)}; there are: specimen, split "
                f"({', '.join(SPLITS)})"
            )
        if specimen is not None and (not is_number(specimen, Integral) or specimen < 0):
            raise ValueError(f"options['specimen'] is {specimen!r}; it must be an integer >= 0")
        super().reset(seed=seed)
        self.split = split
        if seed is not None:
            self._seed, self._episode_number = int(seed), 0
        elif self._seed is None:
            self._seed = int(np.random.SeedSequence().generate_state(1)[0])
        else:
            self._episode_number += 1
        self._begin(None if specimen is None else int(specimen))

    def _new_budget(self, beam_current_pa: float | None) -> Budget:
        source = self.source
        return Budget.relative(
            self.budget,
            source.field_yx_nm,
            source.reference,
            source.costs,
            beam_current_pa,
            self.time_budget_s,
            cheapest=self.actions.cheapest,
        )

    @property
    def next_recipe(self) -> Recipe:
        """Of the world that the next episode will show, where no seed is given."""
        assert isinstance(self.source, SpecimenSource)
        assert self._seed is not None
        return self.source.recipe(self._seed, self.split, self._episode_number + 1, None)

    def _begin(self, specimen: int | None) -> None:
        """The episode that seed, split and number stand for."""
        assert self._seed is not None
        source = self.source
        microscope = source.microscope(self._seed, self.split, self._episode_number, specimen)
        microscope.open()
        self._specimen = source.truth(microscope)
        budget = self._new_budget(microscope.state().beam_current_pa)
        if callable(self.task):
            goal = self.task(self._specimen, source.reference)
        else:
            goal = task(self.task, self._specimen, source.reference)
        cheapest = self.actions.cheapest
        self._episode = Episode(microscope, goal, budget, source.reference, source.costs, cheapest)
        if self.survey is not None:
            self._episode.look_over(self.survey)
        self._over = False
        self._mask, self._masked = np.ones(len(self._mask), dtype=bool), 0

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take the frame that ``action`` asks for.

        A frame that costs more than is left is not taken, and truncates.  An
        action outside the space raises ValueError and costs nothing.
        """
        episode, codec = self.episode, self.actions
        if self._over:
            raise gym.error.ResetNeeded("the episode has ended; call reset()")
        decoded = codec.decode_all(codec.check([action], 1), np.array([episode.at_yx_nm]))
        request = codec.request_of(decoded, 0)
        reward = 0.0
        if episode.affords(request):
            before = None if self.shaping is None else self.shaping.potential(episode)
            episode.take(request)
            reward = episode.gains[-1]
            if self.shaping is not None and before is not None:
                reward += self.shaping.bonus(before, self.shaping.potential(episode))
            truncated = episode.exhausted
        else:
            truncated = True
        terminated = self.terminate_when_done and episode.task.done
        self._over = terminated or truncated
        self._show()
        info = self._info(request)
        if isinstance(codec, MoveAction):
            info["at_limit"] = bool(decoded.at_limit[0])
        return self.observations.observe(), reward, terminated, truncated, info

    def action_masks(self) -> NDArray[np.bool_]:
        """(cells,) True where no frame was taken yet, as sb3-contrib asks for it.

        Raises:
            ValueError: actions that are not cells.
        """
        if not isinstance(self.actions, GridAction):
            raise ValueError("only the action 'grid' has a mask")
        for frame in self.episode.history[self._masked :]:
            cell = self.actions.cell_of(frame.request.centre_yx_nm)
            if cell is not None:
                self._mask[cell] = False
        self._masked = len(self.episode.history)
        return self._mask.copy()

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

    def _info(self, request: Any) -> dict[str, Any]:
        budget = self.episode.budget
        info = {
            "request": request,
            "spent": budget.spent,
            "charge_e": budget.spent_charge_e,
            "charge_left": budget.charge_left,
            "time_s": budget.spent_time_s,
            "time_left": budget.time_left,
            "frames": len(self.episode.history),
        }
        if isinstance(self.actions, GridAction):
            info["action_mask"] = self.action_masks().astype(np.int8)
        return info

    def _show(self) -> None:
        if self.render_mode == "human":
            self._window = self._window or Window(self.metadata["render_fps"])
            self._window.show(picture(self.episode))


def _options_of(kind: type) -> list[str]:
    """The keyword arguments that an environment takes."""
    taken = [*signature(kind).parameters.values(), *signature(ScanEnv).parameters.values()]
    names = [p.name for p in taken if p.kind is not p.VAR_KEYWORD and p.name != "source"]
    return list(dict.fromkeys(names))


def survey_request(source: Source) -> ScanRequest:
    """The low-dose overview of a whole field; its dwell is one that the microscope allows."""
    field, reference = source.field_yx_nm, source.reference
    shortest, longest = source.limits.dwell_us
    return ScanRequest(
        (0.0, 0.0),
        field,
        (SURVEY_PX, SURVEY_PX),
        min(max(SURVEY_DWELL * reference.dwell_us, shortest), longest),
        0.0,
        reference.detectors,
    )
