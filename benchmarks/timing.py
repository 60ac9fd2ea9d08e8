"""How long one environment step and one decision take."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment
from ..agents.navigation.navigator import Situation
from ..agents.navigation.skopt_engine import SkoptBO
from ..envs.registration import make_env
from .threads import one_thread

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


def decision_seconds(
    observations: tuple[int, ...] = (50, 200), repeats: int = 5
) -> dict[int, float]:
    """Median seconds of one GP-BO decision of ``linear-bo``'s navigator after so many frames."""
    env = make_env("StemScout/GrapheneDefects-v0", budget=1.0)
    env.reset(seed=0)
    context = Experiment(env, make_agent("random")).context()
    times = {}
    with one_thread():
        for count in observations:
            taken = []
            for k in range(repeats):
                rng = np.random.default_rng(k)
                navigator = SkoptBO()
                navigator.reset(context, rng)
                centres = navigator.candidates.centres_yx_nm
                chosen = centres[rng.choice(len(centres), count, replace=False)]
                target = np.sin(chosen[:, 0] / 3) * np.cos(chosen[:, 1] / 4)
                target += 0.1 * rng.normal(size=count)
                began = time.perf_counter()
                navigator.decide(Situation(chosen, target, np.ones(count), 1))
                taken.append(time.perf_counter() - began)
            times[count] = float(np.median(taken))
    return times
