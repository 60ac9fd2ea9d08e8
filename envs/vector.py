"""Many environments side by side, natively: ``vectorization_mode="vector_entry_point"``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from numbers import Integral
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from ..simulators.world import Recipe, World, open_world
from .actions import GridAction, MoveAction, Requests
from .fleet import Fleet, flies
from .numbers import is_number
from .scan_env import ScanEnv, UnknownOptionError
from .sources import SpecimenSource

Bools = NDArray[np.bool_]
WORLD_MIB = 512.0  # of worlds prepared ahead


class Pool:
    """Opens worlds in the background, before they are asked for.

    Args:
        most: worlds that wait at a time.
        opened: opens one.
    """

    def __init__(self, most: int, opened: Callable[[Recipe], World] = open_world) -> None:
        self.most, self.opened = most, opened
        self._executor: ThreadPoolExecutor | None = None
        self._waiting: dict[Recipe, Future[World]] = {}

    def prepare(self, wanted: Sequence[Recipe]) -> None:
        """Have the first of these worlds ready soon, and forget all others."""
        kept = list(dict.fromkeys(wanted))[: self.most]
        for recipe in [r for r in self._waiting if r not in kept]:
            self._waiting.pop(recipe).cancel()
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="worlds")
        for recipe in kept:
            if recipe not in self._waiting:
                self._waiting[recipe] = self._executor.submit(self.opened, recipe)

    def open(self, recipe: Recipe) -> World:
        """The world of a recipe: prepared, or made now where its turn has not come."""
        waiting = self._waiting.pop(recipe, None)
        if waiting is None or waiting.cancel():
            return self.opened(recipe)
        return waiting.result()

    def close(self) -> None:
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()
        if self._executor is not None:
            self._executor.shutdown(wait=True)
            self._executor = None

    def __getstate__(self) -> dict[str, Any]:
        """What waits is never pickled; a copy starts a thread of its own."""
        kept = {"most": self.most, "opened": self.opened}
        return {**kept, "_executor": None, "_waiting": {}}


class ScanVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """``num_envs`` times the same environment, equal to single ones to the bit.

    Sub-environment j of a vectorised one seeded s is the single environment seeded
    s + j.  Simulated microscopes are stepped all at once by compiled loops, with all
    their imperfections; ``envs`` then hold how each episode began.  With a task of
    one's own or a ``render_mode``, over recorded images and real microscopes, and where
    a subclass steps its own way, ``envs`` are stepped one after the other.  While
    episodes run, the worlds of the next ones are made by one thread in the background;
    it starts at the first reset.

    ``infos`` holds arrays (num_envs,): ``spent``, ``charge_e``, ``charge_left``,
    ``time_s``, ``time_left``, ``frames``; where actions are cells ``action_mask``; where
    they are moves ``at_limit``; and what was asked for: ``centre_yx_nm``,
    ``fov_yx_nm`` (num_envs, 2), ``dwell_us``.

    Args:
        make: a new single environment, from its own arguments.
        num_envs: how many.
        autoreset_mode: one of Gymnasium's three, or its name.
        pool_mib: memory for worlds made ahead; 0 makes none.
        max_episode_steps: an episode is truncated after so many; None is without limit.
        options: of every sub-environment.

    Raises:
        ValueError: what the single environment refuses.
    """

    def __init__(
        self,
        make: Callable[..., ScanEnv],
        num_envs: int,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        pool_mib: float = WORLD_MIB,
        max_episode_steps: int | None = None,
        **options: Any,
    ) -> None:
        if not is_number(num_envs, Integral) or num_envs < 1:
            raise ValueError(f"num_envs is {num_envs!r}; it must be an integer, at least 1")
        if options.get("privileged"):
            raise ValueError("only a single environment tells the truth; leave out privileged")
        if max_episode_steps is not None and not (
            is_number(max_episode_steps, Integral) and max_episode_steps >= 1
        ):
            raise ValueError(
                f"max_episode_steps is {max_episode_steps!r}; it must be an integer, at least 1"
            )
        if not is_number(pool_mib) or not 0 <= pool_mib < float("inf"):
            raise ValueError(f"pool_mib is {pool_mib!r}; it must be a number, at least 0")
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        try:
            self.envs = [make(**options) for _ in range(num_envs)]
        except UnknownOptionError as error:
            own = "autoreset_mode, pool_mib, max_episode_steps"
            raise ValueError(f"{error}; and vectorised: {own}") from None
        first = self.envs[0]
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.metadata = {**first.metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = first.render_mode
        self.single_action_space, self.single_observation_space = (
            first.action_space,
            first.observation_space,
        )
        for env in self.envs:
            env.side_by_side = True
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.fleet = Fleet(first, num_envs) if flies(first) else None
        self._masks = (
            np.ones((num_envs, len(first.actions.centres_yx_nm)), dtype=bool)
            if isinstance(first.actions, GridAction)
            else None
        )
        self.pool: Pool | None = None
        source = first.source
        if isinstance(source, SpecimenSource) and source.fixed is None and pool_mib > 0:
            side = (source.field_yx_nm[0] + 2 * source.margin_nm) / source.sampling_nm
            most = min(num_envs, int(pool_mib * 2**20 // (4 * side * side)))
            self.pool = Pool(most, source.open_world)
            for each in (env.source for env in self.envs):
                assert isinstance(each, SpecimenSource)
                each.open_world = self.pool.open
        self._over = np.zeros(num_envs, dtype=bool)  # ended, and not yet reset
        self._steps = np.zeros(num_envs, dtype=np.int64)
        self._latest: list[Any] = [None] * num_envs  # observation and info, one by one
        self._begun = False
        self._spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How it was made, by ``gymnasium.make_vec``; modes by name, as JSON has them."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec.kwargs = {
                k: v.value if isinstance(v, AutoresetMode) else v for k, v in spec.kwargs.items()
            }
        self._spec = spec

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: of the first one, the others follow; or a list of one for each.
            options: those of the single environment; and ``reset_mask`` (num_envs,),
                True where an episode shall start, all by default.

        Raises:
            ValueError: a list or mask of another length; a mask that resets none.
        """
        options = dict(options or {})
        mask = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, dtype=bool)))
        if mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(
                f"a reset_mask of type {mask.dtype} and shape {mask.shape}; it must hold "
                f"{self.num_envs} booleans, and one True at least"
            )
        if not self._begun and not mask.all():
            raise ValueError("the first reset starts all; give no reset_mask")
        seeds = self._seeds(seed)
        for j in np.flatnonzero(mask):
            self._start(int(j), seeds[j], options)
        self._begun = True
        self._prepare()
        return self._observe(), self._infos(mask)

    def step(self, actions: Any) -> tuple[Any, NDArray[np.float64], Bools, Bools, dict[str, Any]]:
        """One step of every sub-environment.

        An action outside the space raises ValueError, and no sub-environment is
        stepped.
        """
        if not self._begun:
            raise gym.error.ResetNeeded("call reset() before anything else")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():
            raise gym.error.ResetNeeded(
                f"sub-environments {np.flatnonzero(self._over).tolist()} have ended; reset them "
                "with options={'reset_mask': ...}"
            )
        checked = self.envs[0].actions.check(actions, self.num_envs)
        starting = self._over.copy()
        for j in np.flatnonzero(starting):
            self._start(int(j), None, {})
        if starting.any():
            self._prepare()
        n = self.num_envs
        rewards, terminated = np.zeros(n), np.zeros(n, dtype=bool)
        truncated, more = np.zeros(n, dtype=bool), {}
        which = np.flatnonzero(~starting)
        if len(which):
            more = self._advance(which, checked[which], rewards, terminated, truncated)
            self._steps[which] += 1
        if self.max_episode_steps is not None:
            truncated |= ~starting & (self._steps >= self.max_episode_steps)
        infos = {**self._infos(np.ones(n, dtype=bool)), **more}
        self._over = terminated | truncated
        if self.autoreset_mode == AutoresetMode.SAME_STEP and self._over.any():
            infos = self._start_at_once(infos)
        return self._observe(), rewards, terminated, truncated, infos

    def action_masks(self) -> Bools:
        """(num_envs, cells) True where no frame was taken yet."""
        if self._masks is None:
            raise ValueError("only the action 'grid' has masks")
        return self._masks.copy()

    def close_extras(self, **kwargs: Any) -> None:
        if self.pool is not None:
            self.pool.close()
        for env in self.envs:
            env.close()

    def render(self) -> tuple[Any, ...] | None:
        """Pictures of the sub-environments; with a ``render_mode`` they are stepped one by one."""
        if self.fleet is not None:
            return None
        return tuple(env.render() for env in self.envs)

    def _seeds(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """One for each; refused before any sub-environment is touched."""
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + j for j in range(self.num_envs)]
        else:
            seeds = [None if s is None else int(s) for s in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        if any(s is not None and s < 0 for s in seeds):
            raise ValueError(f"seeds {seeds}; each must be an integer at least 0, or None")
        return seeds

    def _start(self, j: int, seed: int | None, options: dict[str, Any]) -> None:
        if self.fleet is None:
            self._latest[j] = self.envs[j].reset(seed=seed, options=options)
        else:
            self.envs[j].begin(seed, options)
            self.fleet.begin(j, self.envs[j])
        if self._masks is not None:
            self._masks[j] = True
        self._over[j], self._steps[j] = False, 0

    def _prepare(self) -> None:
        """Have the worlds ready that every sub-environment will show next."""
        if self.pool is not None:
            self.pool.prepare([env.next_recipe for env in self.envs])

    def _advance(
        self, which: Any, actions: Any, rewards: Any, terminated: Any, truncated: Any
    ) -> dict[str, Any]:
        """Step the episodes ``which``; what infos say besides."""
        if self.fleet is None:
            return self._one_by_one(which, actions, rewards, terminated, truncated)
        outcome = self.fleet.step(which, actions)
        rewards[which] = outcome.rewards
        truncated[which] = ~outcome.taken | self.fleet.exhausted[which]
        if self.envs[0].terminate_when_done:
            terminated[which] = self.fleet.goals.finished[which]
        if self._masks is not None:
            self._masks[which[outcome.taken], actions[outcome.taken]] = False
        return self._asked(which, outcome.requests)

    def _one_by_one(
        self, which: Any, actions: Any, rewards: Any, terminated: Any, truncated: Any
    ) -> dict[str, Any]:
        taken: list[dict[str, Any]] = []
        for j, action in zip(which, actions, strict=True):
            shown, rewards[j], terminated[j], truncated[j], info = self.envs[j].step(action)
            self._latest[j] = shown, info
            taken.append(info)
            if self._masks is not None:
                self._masks[j] = info["action_mask"]
        asked = [info["request"] for info in taken]
        requests = Requests(
            np.array([r.centre_yx_nm for r in asked]),
            np.array([r.fov_yx_nm for r in asked]),
            np.array([r.dwell_us for r in asked]),
            np.array([info.get("at_limit", False) for info in taken]),
        )
        return self._asked(which, requests)

    def _asked(self, which: Any, requests: Requests) -> dict[str, Any]:
        """Requests (m,) as infos (num_envs,), with Gymnasium's masks of who has them."""
        more: dict[str, NDArray[Any]] = {
            "centre_yx_nm": requests.centre_yx_nm,
            "fov_yx_nm": requests.fov_yx_nm,
            "dwell_us": requests.dwell_us,
        }
        if isinstance(self.envs[0].actions, MoveAction):
            more["at_limit"] = requests.at_limit
        there = np.zeros(self.num_envs, dtype=bool)
        there[which] = True
        out: dict[str, Any] = {}
        for key, values in more.items():
            out[key] = np.zeros((self.num_envs, *values.shape[1:]), dtype=values.dtype)
            out[key][which] = values
            out["_" + key] = there.copy()
        return out

    def _start_at_once(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Same-step autoreset: keep what ended in ``final_obs`` and ``final_info``."""
        ended, seen = self._over.copy(), self._observe()
        final = np.full(self.num_envs, None, dtype=object)
        for j in np.flatnonzero(ended):
            final[j] = (
                {k: v[j].copy() for k, v in seen.items()} if isinstance(seen, dict) else seen[j]
            )
            self._start(int(j), None, {})
        self._prepare()
        now = self._infos(np.ones(self.num_envs, dtype=bool))
        last = {k: v for k, v in infos.items() if not k.startswith("_")}
        asked: dict[str, Any] = {}  # of an episode that has just begun nothing was
        for key in last.keys() - now.keys():
            asked[key], asked["_" + key] = infos[key].copy(), infos["_" + key] & ~ended
            asked[key][ended] = 0
        return {
            **asked,
            **now,
            "final_obs": final,
            "_final_obs": ended,
            "final_info": {**last, **{"_" + k: ended.copy() for k in last}},
            "_final_info": ended.copy(),
        }

    def _observe(self) -> Any:
        if self.fleet is not None:
            return self.fleet.shown.read(self.fleet.left.astype(np.float32))
        shown = [observation for observation, _ in self._latest]
        if isinstance(shown[0], dict):
            return {k: np.stack([s[k] for s in shown]) for k in shown[0]}
        return np.stack(shown)

    def _infos(self, there: Bools) -> dict[str, Any]:
        fleet = self.fleet
        if fleet is None:
            keys = ("spent", "charge_e", "charge_left", "time_s", "time_left", "frames")
            values = {k: np.array([info[k] for _, info in self._latest]) for k in keys}
        else:
            charge_left, time_left = fleet.left.T
            values = {
                "spent": fleet.spent_e / fleet.raster_e,
                "charge_e": fleet.spent_e.copy(),
                "charge_left": charge_left,
                "time_s": fleet.spent_s.copy(),
                "time_left": time_left,
                "frames": fleet.frames.copy(),
            }
        if self._masks is not None:
            values["action_mask"] = self._masks.astype(np.int8)
        return {**values, **{"_" + k: there.copy() for k in values}}
