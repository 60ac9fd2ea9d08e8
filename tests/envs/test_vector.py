"""Side by side: the same as one by one, in all three autoreset modes, and under SB3."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from stemscout.envs import testing
from stemscout.envs.mos2_defects import MoS2DefectsEnv
from stemscout.envs.observations import DictObservations, ObservationCodec, observation_codec
from stemscout.envs.registration import make_env
from stemscout.envs.scan_env import ScanEnv
from stemscout.envs.sources import SpecimenSource
from stemscout.envs.tasks import can_be_followed
from stemscout.envs.vector import Pool, ScanVectorEnv
from stemscout.simulators.imperfections import (
    BeamDamage,
    ContaminationGrowth,
    DetectorResponse,
    Drift,
    Hysteresis,
    Imperfections,
)
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.world import Recipe, open_world

ID = "StemScout/MoS2Defects-v0"
SHARED = ("spent", "charge_e", "charge_left", "time_s", "time_left", "frames")


def vector(n=2, name=ID, **options):
    return gym.make_vec(name, num_envs=n, vectorization_mode="vector_entry_point", **options)


def one_by_one(n=2, name=ID, autoreset_mode=AutoresetMode.NEXT_STEP, **options):
    return gym.vector.SyncVectorEnv(
        [lambda: make_env(name, **options)] * n, autoreset_mode=autoreset_mode
    )


def assert_alike(ours, theirs, steps=25, masks=False):
    assert testing.same(ours.reset(seed=3)[0], theirs.reset(seed=3)[0])
    ours.action_space.seed(1)
    for _ in range(steps):
        actions = ours.action_space.sample()
        a, b = ours.step(actions), theirs.step(actions)
        assert testing.same(a[:4], b[:4])
        for key in (*SHARED, *(("action_mask",) if masks else ())):
            assert testing.same(a[4][key], b[4][key])
            assert testing.same(a[4]["_" + key], b[4]["_" + key])
        yield a, b


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("options", [{}, {"action": "grid"}, {"imperfections": "realistic"}])
def test_equal_to_single_environments_through_resets(mode, options):
    options = {"budget": 0.03, **options}
    ours, theirs = (f(autoreset_mode=mode, **options) for f in (vector, one_by_one))
    ends = 0
    for a, b in assert_alike(ours, theirs, masks="action" in options):
        if mode == AutoresetMode.SAME_STEP and "final_obs" in b[4]:
            ends += 1
            assert np.array_equal(a[4]["_final_obs"], b[4]["_final_obs"])
            for j in np.flatnonzero(b[4]["_final_obs"]):
                assert testing.same(a[4]["final_obs"][j], b[4]["final_obs"][j])
                for key in SHARED:
                    assert a[4]["final_info"][key][j] == b[4]["final_info"][key][j]
        ends += int((a[2] | a[3]).sum())
    assert ends >= 4
    ours.close()


REALISTIC = {"imperfections": "realistic"}


@pytest.mark.parametrize("name", [ID, "StemScout/NiOPillars-v0"])
@pytest.mark.parametrize(
    "options",
    [
        {"task": "map"},
        {"action": "operator", "survey": "low"},
        {"shaping": 0.5, "task": "classes"},
        {"imperfections": Imperfections(drift=Drift(60.0, 0.6), hysteresis=Hysteresis())},
        {"imperfections": Imperfections(detector=DetectorResponse(2.0, 3.0, 0.5, 40.0))},
        {"imperfections": Imperfections(damage=BeamDamage({"S": 2e4}))},
        {"imperfections": Imperfections(growth=ContaminationGrowth(1e-4))},
    ],
    ids=lambda o: next(iter(o)),
)
def test_imperfections_are_stepped_at_once_and_alike(name, options):
    """What distorts, reads, grows and destroys: compiled for all, to the bit as one by one."""
    options = {"budget": 0.05, **REALISTIC, **options}
    ours, theirs = (f(name=name, **options) for f in (vector, one_by_one))
    assert ours.unwrapped.fleet is not None
    destroyed = 0
    for _ in assert_alike(ours, theirs, steps=12):
        destroyed += sum(e.unwrapped.episode.task.tally.destroyed.sum() for e in theirs.envs
                         if options.get("task", "discover") == "discover")  # fmt: skip
    imperfections = options["imperfections"]
    if name == ID and isinstance(imperfections, Imperfections) and imperfections.damage:
        assert destroyed > 0, "the beam did something"
    ours.close()


def test_ended_episodes_wait_for_a_reset_where_it_is_disabled():
    env = vector(autoreset_mode="Disabled", budget=0.01)
    assert env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    env.reset(seed=[0, 7])
    single = make_env(ID, budget=0.01)
    single.reset(seed=7)
    zero = np.zeros((2, 2), np.float32)
    while True:
        _, _, terminated, truncated, _ = env.step(zero)
        single.step(zero[0])
        if (terminated | truncated).any():
            break
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0, 1\] have ended"):
        env.step(zero)
    shown, _ = env.reset(options={"reset_mask": np.array([False, True])})
    again, _ = single.reset()
    assert testing.same({k: v[1] for k, v in shown.items()}, again), "the next episode of its seed"
    with pytest.raises(gym.error.ResetNeeded, match=r"\[0\] have ended"):
        env.step(zero)
    env.close()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"num_envs": 0}, "num_envs is 0; it must be an integer, at least 1"),
        ({"num_envs": 1.5}, "num_envs is 1.5"),
        ({"num_envs": True}, "num_envs is True"),
        ({"autoreset_mode": "Never"}, "'Never' is not a valid AutoresetMode"),
        ({"max_episode_steps": 0}, "max_episode_steps is 0"),
        ({"max_episode_steps": 1.5}, "max_episode_steps is 1.5; it must be an integer"),
        ({"max_episode_steps": "x"}, "max_episode_steps is 'x'"),
        ({"pool_mib": -1}, "pool_mib is -1; it must be a number, at least 0"),
        ({"pool_mib": "x"}, "pool_mib is 'x'"),
        ({"nope": 1}, "unknown option nope; there are: .*; and vectorised: autoreset_mode, pool"),
        ({"action": "fly"}, "unknown action 'fly'"),
    ],
)
def test_bad_options(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ScanVectorEnv(lambda **o: make_env(ID, **o), **{"num_envs": 2, **options})


def test_bad_resets_and_actions_step_nobody():
    env = vector()
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match="the first reset starts all"):
        env.reset(options={"reset_mask": np.array([True, False])})
    with pytest.raises(ValueError, match="3 seeds for 2"):
        env.reset(seed=[1, 2, 3])
    env.reset(seed=0)
    for mask in (np.array([1, 0]), np.array([True]), np.array([False, False])):
        with pytest.raises(ValueError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    for wrong in (np.zeros(2), np.array([[0.0, 0.0], [np.nan, 0.0]]), np.full((2, 2), 2.0)):
        with pytest.raises(ValueError, match="action"):
            env.step(wrong)
    *_, info = env.step(np.zeros((2, 2), np.float32))
    assert info["frames"].tolist() == [1, 1]
    env.close()


def test_limits_are_internal():
    env = vector(max_episode_steps=3)
    env.reset(seed=0)
    zero = np.zeros((2, 2), np.float32)
    assert [env.step(zero)[3].all() for _ in range(5)] == [False, False, True, False, False]
    env.close()


def test_one_thread_prepares_worlds_and_ends_with_the_environment():
    def alive():
        return [t for t in threading.enumerate() if t.name.startswith("worlds")]

    before = len(alive())
    env = vector(budget=0.02)
    assert len(alive()) == before, "nothing starts before the first reset"
    env.reset(seed=0)
    assert len(alive()) == before + 1
    env.close()
    assert len(alive()) == before


RECIPES = [Recipe("mos2", "easy", k, (0, 0, 0), 8.0) for k in range(4)]


def test_the_pool_holds_no_more_than_it_may():
    pool = Pool(1)
    pool.prepare(RECIPES)
    assert list(pool._waiting) == RECIPES[:1]
    assert [pool.open(r).recipe for r in RECIPES] == RECIPES, "others are made when asked for"
    pool.close()


def test_the_pool_forgets_what_nobody_will_ask_for():
    """After a reset with other seeds it serves the worlds of those."""
    pool = Pool(2)
    pool.prepare(RECIPES[:2])
    pool.prepare(RECIPES[2:])
    assert list(pool._waiting) == RECIPES[2:]
    pool.close()


def test_the_pool_draws_anew_what_a_task_cannot_use():
    """In its own thread: nothing is left to do when the world is asked for."""
    source = SpecimenSource("graphene", "hard").showing(can_be_followed)
    pool, recipe = Pool(1, source.open_world), source.recipe(2, "test", 0, None)
    pool.prepare([recipe])
    made = pool._waiting[recipe].result(30)
    assert not can_be_followed(open_world(recipe).specimen)
    assert can_be_followed(made.specimen)
    assert pool.open(recipe) is made
    pool.close()


def test_a_world_whose_turn_has_not_come_is_not_waited_for():
    began, go = threading.Event(), threading.Event()

    def slow(recipe):
        if threading.current_thread() is not threading.main_thread():
            began.set()
            assert go.wait(30)
        return recipe

    pool = Pool(2, slow)
    pool.prepare(RECIPES[:2])
    assert began.wait(30)
    assert pool.open(RECIPES[1]) == RECIPES[1], "made here, while the first is under way"
    go.set()
    assert pool.open(RECIPES[0]) == RECIPES[0]
    pool.close()


def test_a_seed_that_is_none_changes_nothing():
    env = vector()
    env.reset(seed=0)
    env.step(np.zeros((2, 2), np.float32))
    with pytest.raises(ValueError, match=r"seeds \[5, -1\]"):
        env.reset(seed=[5, -1])
    *_, info = env.step(np.zeros((2, 2), np.float32))
    assert info["frames"].tolist() == [2, 2]
    env.reset(seed=np.arange(2))
    env.close()


@pytest.mark.parametrize("task", ["discover", "map", "classes", "follow", "target", "explore"])
def test_every_task_side_by_side(task):
    ours, theirs = (f(task=task, budget=0.03) for f in (vector, one_by_one))
    assert ours.fleet is not None
    for _ in assert_alike(ours, theirs, 12):
        pass
    ours.close()


def test_what_a_subclass_shows_is_shown():
    class Bare(MoS2DefectsEnv):
        def __init__(self, **options):
            super().__init__(**options)
            self.observations = ObservationCodec(Blind())

    class Blind(DictObservations):
        def __init__(self):
            super().__init__(("left",), (24.0, 24.0), 1)

    env = ScanVectorEnv(Bare, 2)
    assert set(env.reset(seed=0)[0]) == {"left"}
    env.close()


@pytest.mark.parametrize("name", ["frame+history", "channels"])
def test_a_codec_that_a_subclass_takes_by_name_is_shown_too(name):
    class Own(MoS2DefectsEnv):
        def __init__(self, **options):
            super().__init__(**options)
            self.observations = observation_codec(name, self.source.field_yx_nm)

    env = ScanVectorEnv(Own, 2)
    shown, _ = env.reset(seed=0)
    assert env.observation_space.contains(shown)
    env.close()
    testing.check_vectorised(Own)


def test_a_microscope_of_ones_own_is_used():
    class Dark(SimulatedMicroscope):
        def acquire(self, request, timeout_s=60.0):
            frame = super().acquire(request, timeout_s)
            return replace(frame, data={k: 0.0 * v for k, v in frame.data.items()})

    class Source(SpecimenSource):
        def microscope(self, seed, split, episode, specimen):
            made = super().microscope(seed, split, episode, specimen)
            return Dark(made.world, made.rng, self.reference.dwell_us, self.costs)

    def make(**options):
        return ScanEnv(Source("mos2"), **options)

    assert ScanVectorEnv(make, 1).fleet is None
    testing.check_vectorised(make)


@pytest.mark.parametrize("options", [{}, {"imperfections": "realistic"}])
def test_codecs_of_one_of_many_are_not_exchanged(options):
    env = vector(**options)
    one = env.envs[0]
    with pytest.raises(ValueError, match="exchange them in a single one"):
        one.observations = observation_codec("channels", one.source.field_yx_nm)
    with pytest.raises(ValueError, match="exchange them in a single one"):
        one.actions = one.actions
    env.close()


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, "SameStep"])
def test_its_own_spec_is_json(mode):
    env = vector(autoreset_mode=mode)
    again = EnvSpec.from_json(env.spec.to_json())
    assert again.kwargs["autoreset_mode"] == "SameStep"
    env.close()


def test_pictures_where_they_are_asked_for():
    env = vector(render_mode="rgb_array")
    env.reset(seed=0)
    assert [p.ndim for p in env.render()] == [3, 3]
    env.close()


def test_truth_is_for_single_environments():
    with pytest.raises(ValueError, match="only a single environment tells the truth"):
        vector(privileged=True)


def test_a_copy_goes_on_alike():
    env = vector()
    env.reset(seed=0)
    zero = np.zeros((2, 2), np.float32)
    env.step(zero)
    twin = copy.deepcopy(env)
    for _ in range(2):
        assert testing.same(env.step(zero)[:4], twin.step(zero)[:4])
    env.close()
    twin.close()


def test_its_spec_survives_a_round_trip():
    text = gym.spec(ID).to_json()
    env = gym.make_vec(EnvSpec.from_json(text), num_envs=2, vectorization_mode="vector_entry_point")
    assert isinstance(env, ScanVectorEnv)
    env.close()


def test_infos_say_what_was_asked_for():
    env = vector(action="operator")
    env.reset(seed=0)
    actions = np.array([[0.5, 0.0, 0.0, -1.0], [0.0, 0.0, 1.0, 1.0]], np.float32)
    *_, info = env.step(actions)
    for j in range(2):
        request = env.envs[j].actions.decode(actions[j])
        assert info["centre_yx_nm"][j] == pytest.approx(request.centre_yx_nm)
        assert info["fov_yx_nm"][j] == pytest.approx(request.fov_yx_nm)
        assert info["dwell_us"][j] == pytest.approx(request.dwell_us)
    env.close()


def test_an_environment_that_steps_its_own_way_is_stepped_one_by_one():
    class Doubled(MoS2DefectsEnv):
        def step(self, action):
            shown, reward, *rest = super().step(action)
            return shown, 2 * reward, *rest

    testing.check_vectorised(Doubled)
    assert ScanVectorEnv(MoS2DefectsEnv, 1).fleet is not None
    assert ScanVectorEnv(Doubled, 1).fleet is None


class TestStableBaselines3:
    def make(self, n=2, **options):
        from stemscout.envs.sb3 import ScanVecEnv

        return ScanVecEnv.make(ID, n, **options)

    def test_ends_are_told_its_way(self):
        env = self.make(budget=0.02)
        env.seed(5)
        first = env.reset()
        single = make_env(ID, budget=0.02)
        assert testing.same({k: v[0] for k, v in first.items()}, single.reset(seed=5)[0])
        zero = np.zeros((2, 2), np.float32)
        for _ in range(20):
            seen, rewards, done, infos = env.step(zero)
            expected = single.step(zero[0])
            assert rewards.dtype == np.float32
            if done[0]:
                assert testing.same(infos[0]["terminal_observation"], expected[0])
                assert infos[0]["TimeLimit.truncated"] is True
                again, _ = single.reset()
                assert testing.same({k: v[0] for k, v in seen.items()}, again)
                break
        else:
            raise AssertionError("the budget never ended")
        env.close()

    def test_masks(self):
        env = self.make(action="grid")
        env.reset()
        env.step(np.array([3, 4]))
        masks = env.env_method("action_masks")
        assert [np.flatnonzero(~m).tolist() for m in masks] == [[3], [4]]
        assert env.has_attr("action_masks")
        with pytest.raises(AttributeError, match="'reset' cannot be called"):
            env.env_method("reset", indices=0)
        env.close()

    def test_maskable_ppo_learns_on_it(self):
        contrib = pytest.importorskip("sb3_contrib")
        env = self.make(action="grid")
        model = contrib.MaskablePPO("MultiInputPolicy", env, n_steps=8, batch_size=8, n_epochs=1)
        model.learn(16)
        assert model.num_timesteps >= 16
        env.close()

    def test_options_that_differ_are_refused(self):
        env = self.make()
        env.set_options([{"specimen": 1}, {"specimen": 2}])
        with pytest.raises(ValueError, match="options differ"):
            env.reset()
        env.set_options({"specimen": 1})
        shown = env.reset()
        assert {"charge_e", "time_s"} <= set(env.reset_infos[0])
        assert "frame" in shown
        with pytest.raises(AttributeError, match="not kept"):
            env.get_attr("episode")
        env.close()

    def test_another_mode_is_refused(self):
        from stemscout.envs.sb3 import ScanVecEnv

        env = vector()
        with pytest.raises(ValueError, match="autoreset_mode='SameStep'"):
            ScanVecEnv(env)
        env.close()

    def test_ppo_learns_on_it(self):
        import torch
        from stable_baselines3 import PPO

        torch.set_num_threads(1)
        env = self.make(4, observation="channels", budget=0.05)
        model = PPO("CnnPolicy", env, n_steps=16, batch_size=32, n_epochs=1, seed=0)
        model.learn(128)
        assert model.num_timesteps == 128
        assert len(model.ep_info_buffer) == 0  # no monitor was asked for
        env.close()
