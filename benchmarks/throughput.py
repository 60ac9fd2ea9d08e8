"""How many steps a second: single, vectorised, under Stable-Baselines3, and peers beside.

Every way is measured in the same process, one after the other, with random actions
that were drawn before; a step takes one frame.  Thread pools are held to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np

from ..envs.registration import make_env, register_all
from .threads import one_thread

NUM_ENVS = 64
VECTOR_STEPS = 31  # of all environments at once, in a run: a raster has more
SINGLE_STEPS = 1000  # in a run
EPISODES = 2  # of each environment, where every one has a fresh specimen
RUNS = 3  # the best of them counts: what a machine does besides only slows


@dataclass(frozen=True)
class Row:
    """One way of stepping.

    Attributes:
        way: in words.
        environments: side by side.
        us_per_step: of one environment.
        steps_per_s: of all together.
        frames_per_s: where a step takes a frame; None for other environments.
    """

    way: str
    environments: int
    us_per_step: float
    steps_per_s: float
    frames_per_s: float | None = None

    @classmethod
    def of(cls, way: str, environments: int, seconds_per_step: float) -> Row:
        """From the time that one step of one environment takes."""
        rate = 1.0 / seconds_per_step
        frames = rate if way.startswith("StemScout/") else None
        return cls(way, environments, 1e6 * seconds_per_step, rate, frames)


def rows(env_id: str, vs: Sequence[str] = (), seed: int = 0) -> Iterator[Row]:
    """The table, row by row; ``vs`` are ids of other environments to time beside.

    Raises:
        ValueError: an id that is not registered or cannot be made.
    """
    with one_thread():
        peers = [(name, _peer(name)) for name in vs]  # refused before anything is measured
        yield Row.of(f"{env_id}, single", 1, _single(make_env(env_id, budget=1.0), seed))
        for n in (1, NUM_ENVS):
            way = f"{env_id}, vectorised, without resets"
            yield Row.of(way, n, _vectorised(env_id, n, seed))
        way = f"{env_id}, vectorised, realistic imperfections"
        realistic = _vectorised(env_id, NUM_ENVS, seed, imperfections="realistic")
        yield Row.of(way, NUM_ENVS, realistic)
        way = f"{env_id}, vectorised, a fresh specimen for every episode"
        yield Row.of(way, NUM_ENVS, _fresh(env_id, NUM_ENVS, seed))
        try:
            under = _stable_baselines3(env_id, NUM_ENVS, seed)
        except ImportError:
            pass
        else:
            yield Row.of(f"{env_id}, under Stable-Baselines3", NUM_ENVS, under)
        for name, env in peers:
            yield Row.of(f"{name}, single", 1, _single(env, seed))
            env.close()


def _peer(name: str) -> gym.Env[Any, Any]:
    register_all()
    # Whoever registers it is imported by the name of the library where that is known.
    for library in ("ale_py", "minigrid"):
        try:
            __import__(library)
        except ImportError:
            continue
    try:
        return gym.make(name, disable_env_checker=True)
    except gym.error.Error as error:
        raise ValueError(f"{name!r} cannot be timed: {error}") from error


def _best(run: Callable[[], float]) -> float:
    return min(run() for _ in range(RUNS))


def _single(env: gym.Env[Any, Any], seed: int) -> float:
    """Seconds a step, resets left out."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    actions = [env.action_space.sample() for _ in range(SINGLE_STEPS)]
    for action in actions[:30]:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()

    def run() -> float:
        spent = 0.0
        for action in actions:
            began = time.perf_counter()
            _, _, terminated, truncated, _ = env.step(action)
            spent += time.perf_counter() - began
            if terminated or truncated:
                env.reset()
        return spent / len(actions)

    return _best(run)


def _make_vec(env_id: str, n: int, **options: Any) -> Any:
    register_all()
    return gym.make_vec(env_id, num_envs=n, vectorization_mode="vector_entry_point", **options)


def _together(step: Callable[[Any], Any], actions: Sequence[Any], n: int) -> float:
    """Seconds a step of one of ``n`` environments that are stepped at once."""
    step(actions[0])

    def run() -> float:
        began = time.perf_counter()
        for action in actions:
            step(action)
        return (time.perf_counter() - began) / (len(actions) * n)

    return _best(run)


def _vectorised(env_id: str, n: int, seed: int, **options: Any) -> float:
    env = _make_vec(env_id, n, budget=1.0, pool_mib=0.0, terminate_when_done=False, **options)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    best = _together(env.step, [env.action_space.sample() for _ in range(VECTOR_STEPS)], n)
    env.close()
    return best


def _fresh(env_id: str, n: int, seed: int) -> float:
    """Whole episodes at the default budget, resets and the waiting for worlds included."""
    env = _make_vec(env_id, n, autoreset_mode="SameStep", terminate_when_done=False)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    ended = steps = 0
    began = time.perf_counter()
    while ended < EPISODES * n:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        ended += int(np.sum(terminated | truncated))
        steps += n
    seconds = time.perf_counter() - began
    env.close()
    return seconds / steps


def _stable_baselines3(env_id: str, n: int, seed: int) -> float:
    from ..envs.sb3 import ScanVecEnv

    env = ScanVecEnv.make(env_id, n, budget=1.0, pool_mib=0.0, terminate_when_done=False)
    env.seed(seed)
    env.reset()
    env.action_space.seed(seed)
    actions = [np.stack([env.action_space.sample() for _ in range(n)]) for _ in range(VECTOR_STEPS)]
    best = _together(env.step, actions, n)
    env.close()
    return best
