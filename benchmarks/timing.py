"""How long one environment step takes, and its parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..envs.registration import make_env

STEPS = 300
WARM = 20


def median_us(call: Callable[[], object], repeats: int = STEPS, warm: int = WARM) -> float:
    """Median time of a call in µs, after ``warm`` calls that do not count."""
    times = []
    for k in range(warm + repeats):
        began = time.perf_counter()
        call()
        if k >= warm:
            times.append(time.perf_counter() - began)
    return float(np.median(times) * 1e6)


def in_turns_ms(
    calls: Sequence[Callable[[], object]], repeats: int, warm: int = 3
) -> NDArray[np.float64]:
    """Times (calls, repeats) in ms; calls take turns, so that all see the same machine.

    Every other round goes backwards; ``warm`` rounds do not count.
    """
    times = np.empty((len(calls), warm + repeats))
    for k in range(warm + repeats):
        for n in range(len(calls))[:: 1 if k % 2 else -1]:
            began = time.perf_counter()
            calls[n]()
            times[n, k] = time.perf_counter() - began
    return times[:, warm:] * 1e3


def step_times(env_id: str, seed: int = 0) -> dict[str, float]:
    """µs of one step of an environment and of its parts, with NumPy's Poisson draw beside it."""
    env = make_env(env_id, budget=1.0, terminate_when_done=False)
    env.reset(seed=seed)
    env.action_space.seed(seed)
    actions = iter([env.action_space.sample() for _ in range(STEPS + WARM)])

    def step() -> None:
        _, _, _, truncated, _ = env.step(next(actions))
        if truncated:
            env.reset()

    times: dict[str, float] = {"step": median_us(step)}
    env.reset(seed=seed)
    codec, microscope, episode = env.actions, env.episode.microscope, env.episode
    action = env.action_space.sample()
    at = np.zeros((1, 2))
    times["action"] = median_us(
        lambda: codec.request_of(codec.decode_all(codec.check([action], 1), at), 0)
    )
    request = codec.decode(action)
    times["frame (acquire)"] = median_us(lambda: microscope.acquire(request))
    frame = episode.take(request)

    def observe() -> None:
        # As if the frame had just come.
        episode.history.append(frame)
        env.observations.observe()

    times["observation"] = median_us(observe)
    times["task (seen)"] = median_us(lambda: episode.task.update(episode.exposures[-1]))
    parts = ("action", "frame (acquire)", "observation", "task (seen)")
    times["limits, budget, info and the rest"] = times["step"] - sum(times[p] for p in parts)
    rng = np.random.default_rng(seed)
    expected = np.full(request.shape_yx, max(float(episode.history[-1].image.mean()), 0.1))
    times["NumPy's Poisson draw of one frame"] = median_us(lambda: rng.poisson(expected))
    return times
