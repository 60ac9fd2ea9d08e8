"""What every environment of this suite promises, as checks that anyone can call.

For authors of environments and tasks of their own, as ``stemscout.envs.testing``:

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda c: c.__name__)
    def test_promises(check):
        check(lambda **options: MyEnv(**options))

Each check takes a function that makes a bare environment (no wrappers), passes it
options of ``ScanEnv`` where it needs to, and raises AssertionError with a sentence
where a promise is broken.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from ..simulators.specimens import Specimen
from .scan_env import ScanEnv
from .vector import ScanVectorEnv

Make = Callable[..., ScanEnv]


def same(a: Any, b: Any) -> bool:
    """Whether two observations, infos or lists of them are identical, to the bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else bool(a == b)


def rollout(env: ScanEnv, seed: int, count: int = 12) -> list[Any]:
    """Everything that comes out of an episode under random actions."""
    env.action_space.seed(seed)
    out: list[Any] = [env.reset(seed=seed)]
    for _ in range(count):
        out.append(env.step(env.action_space.sample()))
        if out[-1][2] or out[-1][3]:
            break
    return out


def check_gymnasium(make: Make) -> None:
    """Gymnasium's own checker has nothing to say."""
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = make()
        check_env(env, skip_render_check=env.spec is None)


def check_stable_baselines3(make: Make) -> None:
    """Neither has Stable-Baselines3's, where it is installed."""
    try:
        from stable_baselines3.common.env_checker import check_env
    except ImportError:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make())


def check_twins(make: Make) -> None:
    """Two environments seeded alike give the same, to the bit."""
    assert same(rollout(make(), 3), rollout(make(), 3)), "twin roll-outs differ"


def check_seeds(make: Make) -> None:
    """Resets under 20 seeds give observations of the space, not all of them equal later on."""
    env, ends = make(), []
    for seed in range(20):
        out = rollout(env, seed, 2)
        assert env.observation_space.contains(out[0][0]), f"seed {seed} leaves the space"
        ends.append(out[-1][0])
    assert any(not same(ends[0], e) for e in ends[1:]), "no seed makes a difference"


def check_spaces(make: Make, count: int = 1000) -> None:
    """Under random actions every observation lies in its space; rewards are finite floats."""
    env = make()
    env.reset(seed=0)
    env.action_space.seed(0)
    for k in range(count):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation), f"step {k} leaves the space"
        assert isinstance(reward, float), f"step {k}: a reward of {type(reward)}"
        assert np.isfinite(reward), f"step {k}: a reward of {reward}"
        if terminated or truncated:
            env.reset()


def check_fresh(make: Make) -> None:
    """Observations are arrays of their own, which later steps leave alone."""
    env = make()
    before, _ = env.reset(seed=0)
    kept = copy.deepcopy(before)
    env.step(env.action_space.sample())
    assert same(before, kept), "a step changed an observation given before"


def check_copies(make: Make) -> None:
    """Pickles and deep copies in mid-episode go on alike."""
    env = make()
    env.reset(seed=5)
    env.action_space.seed(5)
    for _ in range(4):
        env.step(env.action_space.sample())
    action = env.action_space.sample()
    twins = {"deep copy": copy.deepcopy(env), "pickle": pickle.loads(pickle.dumps(env))}
    expected = env.step(action)
    for how, twin in twins.items():
        assert same(twin.step(action), expected), f"a {how} goes on differently"


def check_budget(make: Make) -> None:
    """Charge and time only grow, and no budget is ever exceeded, by a survey neither."""
    env = make()
    frame_s = env.source.costs.time_s(env.source.reference.at((0.0, 0.0)))
    for options in ({}, {"survey": "low"}, {"time_budget_s": 7.5 * frame_s, "survey": "low"}):
        try:
            env = make(**options)
        except ValueError:  # this one pays for no survey
            continue
        _spend(env)


def _spend(env: ScanEnv) -> None:
    _, info = env.reset(seed=0)
    env.action_space.seed(0)
    while True:
        before = info
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        for key in ("charge_e", "time_s", "frames"):
            assert info[key] >= before[key], f"{key} fell from {before[key]} to {info[key]}"
        if terminated or truncated:
            break
    budget = env.episode.budget
    assert budget.spent_charge_e <= budget.charge_e * (1 + 1e-9), "more charge was spent than was"
    if budget.time_s is not None:
        assert budget.spent_time_s <= budget.time_s * (1 + 1e-9), "more time was spent than was"


def check_rewards(make: Make) -> None:
    """Rewards add up to the final fraction of the task; what was seen stays seen."""
    env = make(terminate_when_done=False)
    env.reset(seed=1)
    env.action_space.seed(1)
    total, seen = 0.0, np.zeros(0, dtype=bool)
    while True:
        _, reward, _, truncated, _ = env.step(env.action_space.sample())
        total += reward
        tally = getattr(env.episode.task, "tally", None)
        if tally is not None:
            assert not (seen & ~tally.seen[: len(seen)]).any(), "a seen feature became unseen"
            seen = tally.seen.copy()
        if truncated:
            break
    fraction = env.episode.task.fraction
    assert abs(total - fraction) < 1e-9, f"rewards add up to {total}, the fraction is {fraction}"


def check_mosaic(make: Make) -> None:
    """The mosaic's mask covers exactly the cells that hold a measured pixel."""
    from .mosaic import Mosaic

    env = make(observation="mosaic")
    env.reset(seed=2)
    env.action_space.seed(2)
    for _ in range(6):
        observation, *_ = env.step(env.action_space.sample())
    episode = env.episode
    plain = Mosaic(episode.field_yx_nm, observation["mosaic"].shape[1:])
    for frame in episode.history:
        plain.add(frame, episode.display(frame))
    assert np.array_equal(observation["mosaic"], plain.as_uint8()), "the mosaic is not the frames'"
    assert observation["mosaic"][1].any(), "nothing was measured"


def check_secrecy(make: Make) -> None:
    """Neither observation nor info holds the truth, unless it was asked for."""
    env = make()
    _, info = env.reset(seed=0)
    _, _, _, _, later = env.step(env.action_space.sample())
    for key, value in {**info, **later}.items():
        assert not isinstance(value, Specimen), f"info[{key!r}] is the truth"
        assert key not in ("truth", "fraction", "seen"), f"info[{key!r}] tells of the truth"


def check_bad_actions(make: Make) -> None:
    """Actions outside the space raise ValueError and cost nothing."""
    env = make()
    env.reset(seed=0)
    wrong: list[Any] = ["ab", None, {"y": 0.0}, [[0.1], [0.2, 0.3]]]
    if isinstance(env.action_space, gym.spaces.Box):
        shape = env.action_space.shape
        wrong += [np.full(shape, v) for v in (np.nan, 1.5, np.inf, 0.1 + 0.1j, True)]
        wrong += [np.zeros((1, *shape)), np.zeros(shape[0] + 1)]
    else:
        wrong += [-1, 10**6, 0.5, True]
    for action in wrong:
        try:
            env.step(action)
        except ValueError:
            pass
        else:
            raise AssertionError(f"the action {action!r} was taken")
    assert env.episode.budget.spent_charge_e == 0.0, "a refused action cost charge"
    assert not env.episode.history, "a refused action took a frame"


def check_resets(make: Make) -> None:
    """Before the first reset, and after the end, Gymnasium's own error says what is missing."""
    env = make()
    for when in ("before reset()", "after the end"):
        try:
            env.step(env.action_space.sample())
        except gym.error.ResetNeeded:
            pass
        else:
            raise AssertionError(f"step() went on {when}")
        if when == "before reset()":
            env.reset(seed=0)
            while not any(env.step(env.action_space.sample())[2:4]):
                pass
    spent = env.episode.budget.spent_charge_e
    env.reset(seed=0)
    assert env.episode.budget.spent_charge_e <= spent, "a reset did not start over"


def check_vectorised(make: Make, count: int = 30) -> None:
    """The vectorised form equals single environments seeded alike, to the bit."""
    vector = ScanVectorEnv(make, 2, budget=0.05)
    single = gym.vector.SyncVectorEnv([lambda: make(budget=0.05)] * 2)
    vector.action_space.seed(7)
    try:
        assert same(vector.reset(seed=11)[0], single.reset(seed=11)[0]), "they begin differently"
        for k in range(count):
            actions = vector.action_space.sample()
            ours, theirs = vector.step(actions), single.step(actions)
            for what, a, b in zip(
                ("observations", "rewards", "terminations", "truncations"),
                ours,
                theirs,
                strict=False,
            ):
                assert same(a, b), f"{what} of step {k} differ"
            for key in ("spent", "charge_e", "charge_left", "time_s", "time_left", "frames"):
                assert same(ours[4][key], theirs[4][key]), f"info[{key!r}] of step {k} differs"
    finally:
        vector.close()
        single.close()


CHECKS: tuple[Callable[[Make], None], ...] = (
    check_gymnasium,
    check_stable_baselines3,
    check_twins,
    check_seeds,
    check_spaces,
    check_fresh,
    check_copies,
    check_budget,
    check_rewards,
    check_mosaic,
    check_secrecy,
    check_bad_actions,
    check_resets,
    check_vectorised,
)
