"""Every registered environment goes through the same checks."""

from __future__ import annotations

import copy
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import stemscout
from stemscout.envs.registration import make_env

IDS = list(stemscout.ENVIRONMENTS)


@pytest.fixture(params=IDS)
def name(request):
    return request.param


@pytest.fixture
def options(name, lattice_image):
    return {"image": lattice_image, "pixel_nm": 0.05} if "Recorded" in name else {}


@pytest.fixture
def env(name, options):
    made = make_env(name, **options)
    yield made
    made.close()


def rollout(env, seed, count=12):
    """Everything that comes out of an episode."""
    env.action_space.seed(seed)
    seen = [env.reset(seed=seed)[0]]
    for _ in range(count):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        seen.append((observation, reward, terminated, truncated, info))
        if terminated or truncated:
            break
    return seen


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def test_check_env_without_warnings(name, options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gym.make(name, **options)
        check_env(made.unwrapped)


def test_stable_baselines3_check_env_without_warnings(env):
    from stable_baselines3.common.env_checker import check_env as sb3_check

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3_check(env)


def test_twin_rollouts_are_identical(name, options):
    first, second = (rollout(make_env(name, **options), 3) for _ in range(2))
    assert same(first, second)


def test_observations_are_fresh_arrays(env):
    before, _ = env.reset(seed=0)
    kept = copy.deepcopy(before)
    env.step(env.action_space.sample())
    assert same(before, kept)


def test_a_thousand_random_actions_stay_in_the_spaces(env):
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(1000):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation)
        assert isinstance(reward, float)
        if terminated or truncated:
            env.reset()


def test_deep_copies_and_pickles_continue_alike(env):
    env.reset(seed=5)
    env.action_space.seed(5)
    for _ in range(4):
        env.step(env.action_space.sample())
    action = env.action_space.sample()
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    expected = env.step(action)
    for twin in twins:
        assert same(twin.step(action), expected)


def test_pictures(name, options):
    env = make_env(name, render_mode="rgb_array", **options)
    env.reset(seed=0)
    empty = env.render()
    assert empty.dtype == np.uint8
    assert empty.ndim == 3
    assert empty.shape[2] == 3
    env.step(env.action_space.sample())
    assert (env.render() != empty).any()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"action": "teleport"}, "unknown action 'teleport'; there are: position"),
        ({"observation": "smell"}, "unknown observation 'smell'; there are: default"),
        ({"task": "win"}, "unknown task 'win'; there are: discover, explore"),
        ({"split": "exam"}, "unknown split 'exam'; there are: train, validation, test"),
        ({"budget": 0.0}, "a budget of 0.0; it must be above 0 and at most 1"),
        ({"budget": 1.5}, "a budget of 1.5"),
        ({"budget": float("nan")}, "a budget of nan"),
        ({"budget": 1e-6}, "does not pay for one frame"),
        ({"time_budget_s": 0.0}, "a time budget of 0.0 s"),
        ({"time_budget_s": 1e-9}, "one frame takes"),
        ({"render_mode": "smoke"}, "unknown render_mode 'smoke'"),
    ],
)
def test_options_that_do_not_exist_list_those_that_do(name, options, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_env(name, **options, **wrong)


def test_unknown_arguments_and_ids():
    with pytest.raises(ValueError, match="colour"):
        make_env("StemScout/GrapheneDefects-v0", colour="red")
    with pytest.raises(ValueError, match="unknown environment 'Go-v0'; there are: StemScout/Graph"):
        make_env("Go-v0")


@pytest.mark.parametrize(
    "action",
    [
        np.zeros(3, np.float32),
        np.zeros((1, 2), np.float32),
        np.array([np.nan, 0.0]),
        np.array([1.5, 0.0]),
        np.array([np.inf, 0.0]),
        np.array([0.1 + 0.1j, 0.0]),
        np.array([True, False]),
        "ab",
        None,
        {"y": 0.0, "x": 0.0},
        [[0.1], [0.2, 0.3]],
    ],
)
def test_wrong_actions_raise_and_cost_nothing(env, action):
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action"):
        env.step(action)
    assert env.episode.budget.spent_charge_e == 0.0
    assert env.episode.history == []


def test_before_reset_is_gymnasiums_own_error(env):
    with pytest.raises(gym.error.ResetNeeded):
        env.step(env.action_space.sample())


@pytest.mark.parametrize(
    "wrong", [{"specimen": -1}, {"specimen": "a"}, {"colour": 1}, {"split": "exam"}]
)
def test_wrong_reset_options_change_nothing(env, wrong):
    with pytest.raises(ValueError, match=r"option|unknown split"):
        env.reset(seed=0, options=wrong)
    env.reset(seed=0)


def test_human_rendering_works_without_a_display(name, options):
    env = make_env(name, render_mode="human", **options)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


def test_a_recording_has_nothing_to_discover(lattice_image):
    with pytest.raises(ValueError, match="needs the truth"):
        make_env("StemScout/Recorded-v0", image=lattice_image, pixel_nm=0.05, task="discover")


def test_spends_until_the_budget_no_longer_pays(env):
    env.reset(seed=0)
    env.action_space.seed(0)
    frames, spent = 0, 0.0
    while True:
        _, _, terminated, truncated, info = env.step(env.action_space.sample())
        assert info["spent"] >= spent, "charge only grows"
        spent, frames = info["spent"], info["frames"]
        if terminated or truncated:
            break
    budget = env.episode.budget
    assert budget.spent_charge_e <= budget.charge_e * (1 + 1e-9)
    raster = len(env.source.reference.lattice(env.source.field_yx_nm)[0])
    assert frames == int(0.4 * raster + 1e-9)


def test_a_time_budget_ends_it_too(name, options):
    env = make_env(name, **options)
    env.reset(seed=0)
    one = env.source.costs.time_s(env.source.reference.at((0.0, 0.0)))
    env = make_env(name, time_budget_s=3.5 * one, **options)
    env.reset(seed=0)
    done = [env.step(env.action_space.sample())[3] for _ in range(3)]
    assert done == [False, False, True]
    assert env.step(env.action_space.sample())[3], "still truncated"
    assert len(env.episode.history) == 3, "a frame beyond the budget is not taken"


def test_spawned_workers():
    envs = gym.make_vec(
        "stemscout:StemScout/GrapheneDefects-v0",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": "spawn"},
    )
    try:
        observation, _ = envs.reset(seed=[3, 4])
        observation, *_ = envs.step(np.zeros((2, 2), np.float32))
    finally:
        envs.close()
    for k in range(2):
        single = make_env("StemScout/GrapheneDefects-v0")
        single.reset(seed=3 + k)
        alone = single.step(np.zeros(2, np.float32))[0]
        assert same({key: observation[key][k] for key in observation}, alone)


def test_ppo_trains_for_a_few_hundred_steps_and_runs_as_an_agent():
    import torch
    from stable_baselines3 import PPO

    from stemscout.agents.experiment import Experiment
    from stemscout.agents.learned.policy import PolicyAgent

    torch.set_num_threads(1)
    env = gym.make("StemScout/GrapheneDefects-v0", difficulty="easy", budget=0.1)
    model = PPO("MultiInputPolicy", env, n_steps=128, batch_size=64, n_epochs=1, seed=0)
    model.learn(256)
    assert model.num_timesteps == 256
    bare = make_env("StemScout/GrapheneDefects-v0", difficulty="easy", budget=0.05, split="test")
    steps = Experiment(bare, PolicyAgent(model), seed=0).run()
    assert len(steps) == 12
    model.action_space = gym.spaces.Discrete(3)
    with pytest.raises(ValueError, match="the model acts in Discrete"):
        Experiment(bare, PolicyAgent(model), seed=0).run()
