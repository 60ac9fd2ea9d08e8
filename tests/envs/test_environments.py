"""Every registered environment goes through the same checks."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import stemscout
from stemscout.envs import testing
from stemscout.envs.actions import action_codec
from stemscout.envs.observations import observation_codec
from stemscout.envs.registration import make_env

IDS = list(stemscout.ENVIRONMENTS)


@pytest.fixture(params=IDS)
def name(request):
    return request.param


@pytest.fixture
def options(name, lattice_image):
    if "Recorded" in name:
        spots = [{"class": "spot", "position": p} for p in ([60, 90], [140, 160], [220, 250])]
        labels = {"unit": "px", "classes": [{"name": "spot"}], "features": spots}
        return {"image": lattice_image, "pixel_nm": 0.05, "labels": labels}
    return {"microscope": "sim://graphene"} if "Live" in name else {}


@pytest.fixture
def env(name, options):
    made = make_env(name, **options)
    yield made
    made.close()


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda c: c.__name__)
def test_promises(name, options, check):
    if "Live" in name and check is testing.check_copies:
        pytest.skip("a live microscope can be neither pickled nor copied")
    check(lambda **more: make_env(name, **options, **more))


@pytest.mark.parametrize("option", ["move", "grid", "operator"])
def test_every_action_keeps_the_promises(option):
    def make(**more):
        return make_env("StemScout/MoS2Defects-v0", action=option, **more)

    for check in (
        testing.check_gymnasium,
        testing.check_twins,
        testing.check_bad_actions,
        testing.check_copies,
        testing.check_budget,
        testing.check_vectorised,
    ):
        check(make)


@pytest.mark.parametrize("option", ["channels", "frame+vicinity+history+survey", "left+position"])
def test_every_observation_keeps_the_promises(option):
    def make(**more):
        return make_env(
            "StemScout/FerroelectricDomains-v0", observation=option, survey="low", **more
        )

    for check in (
        testing.check_gymnasium,
        testing.check_fresh,
        testing.check_twins,
        testing.check_vectorised,
    ):
        check(make)


@pytest.mark.parametrize("option", ["map", "classes", "follow", "target"])
def test_every_task_keeps_the_promises(option):
    def make(**more):
        return make_env("StemScout/NiOPillars-v0", task=option, **more)

    for check in (testing.check_rewards, testing.check_copies, testing.check_vectorised):
        check(make)


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
        ({"action": "teleport"}, "unknown action 'teleport'; there are: position, move, grid"),
        ({"observation": "smell"}, "unknown observation 'smell'; there are: default, channels"),
        ({"observation": "frame+frame"}, "every part is named once"),
        ({"observation": "survey"}, "the observation 'survey' needs a survey"),
        ({"survey": "high"}, "unknown survey 'high'; there are: none, low"),
        ({"shaping": -1.0}, "a shaping of -1.0"),
        ({"shaping": 0.1, "discount": 2.0}, "a discount of 2.0"),
        ({"task": "win"}, "unknown task 'win'; there are: discover, map, classes, follow, target"),
        ({"split": "exam"}, "unknown split 'exam'; there are: train, validation, test"),
        ({"budget": 0.0}, "a budget of 0.0; it must be above 0 and at most 1"),
        ({"budget": 1.5}, "a budget of 1.5"),
        ({"budget": float("nan")}, "a budget of nan"),
        ({"budget": 1e-6}, "does not pay for one frame"),
        ({"time_budget_s": 0.0}, "a time budget of 0.0 s"),
        ({"time_budget_s": 1e-9}, "one frame takes"),
        ({"render_mode": "smoke"}, "unknown render_mode 'smoke'"),
        ({"budget": "a"}, "a budget of 'a'; it must be a number"),
        ({"budget": True}, "a budget of True; it must be a number"),
        ({"time_budget_s": "a"}, "a time budget of 'a'; it must be a number"),
        ({"action": ["position"]}, "unknown action"),
        ({"observation": [["frame"]]}, "unknown observation"),
        ({"observation": 5}, "the observation 5; it must be a name"),
        ({"terminate_when_done": "no"}, "terminate_when_done is 'no'; it must be True or False"),
        ({"discount": "x"}, "a discount of 'x'; it must be a number"),
        ({"discount": 2.0}, "a discount of 2.0; it must be above 0"),
        ({"shaping": "much"}, "a shaping of 'much'; it must be a number"),
    ],
)
def test_options_that_do_not_exist_list_those_that_do(name, options, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_env(name, **options, **wrong)


def test_unknown_arguments_and_ids():
    with pytest.raises(ValueError, match="unknown option colour; there are: difficulty, renderer"):
        make_env("StemScout/GrapheneDefects-v0", colour="red")
    with pytest.raises(ValueError, match="unknown environment 'Go-v0'; there are: StemScout/Graph"):
        make_env("Go-v0")


@pytest.mark.parametrize(
    "wrong",
    [{"specimen": -1}, {"specimen": True}, {"specimen": "a"}, {"colour": 1}, {"split": "exam"}],
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
    with pytest.raises(gym.error.ResetNeeded, match="the episode has ended"):
        env.step(env.action_space.sample())
    assert len(env.episode.history) == 3, "a frame beyond the budget is not taken"


@pytest.mark.parametrize("survey", ["none", "low"])
def test_every_action_is_there_for_every_id_and_difficulty(name, options, survey):
    levels = {"Recorded": [None], "Live": [None], "Composite": ["hard"]}
    for level in levels.get(name.split("/")[1].split("-")[0], ["easy", "medium", "hard"]):
        for action in ("position", "move", "grid", "operator"):
            more = {} if level is None else {"difficulty": level}
            env = make_env(name, action=action, survey=survey, **options, **more)
            assert env.actions.decode(env.action_space.sample()).shape_yx


def test_a_budget_pays_for_the_survey_and_a_frame_or_is_refused():
    small = {"difficulty": "hard", "survey": "low"}
    for budget in ({"budget": 0.004}, {"time_budget_s": 0.0157}):
        with pytest.raises(ValueError, match="does not pay for survey='low' and one frame"):
            make_env("StemScout/NiOPillars-v0", **small, **budget)
    with pytest.raises(ValueError, match="does not pay for survey='low' and one frame"):
        make_env("StemScout/Live-v0", microscope="sim://graphene", survey="low", frames=1)


def test_a_granted_survey_is_shown():
    for observation, place in (("default", "survey"), ("channels", 5)):
        env = make_env("StemScout/Nanoparticles-v0", survey="low", observation=observation)
        shown, info = env.reset(seed=0)
        assert shown[place].any()
        assert info["spent"] > 0


class TestExchange:
    """Another agent takes over in mid-run, with actions and observations of its own."""

    def env(self):
        env = make_env("StemScout/MoS2Defects-v0")
        env.reset(seed=0)
        env.step(np.zeros(2, np.float32))
        return env

    def test_of_actions(self):
        env, source = self.env(), make_env("StemScout/MoS2Defects-v0", action="grid").source
        env.actions = action_codec("grid", source.field_yx_nm, source.reference, source.limits)
        assert env.action_space == gym.spaces.Discrete(961)
        *_, info = env.step(17)
        middle = env.actions.cell_of((0.0, 0.0))
        assert set(np.flatnonzero(info["action_mask"] == 0)) == {17, middle}

    def test_of_observations(self):
        env = self.env()
        env.observations = observation_codec("channels", env.source.field_yx_nm)
        shown, *_ = env.step(np.ones(2, np.float32))
        assert env.observation_space.contains(shown)
        assert shown[2].sum() > 255 * 20, "both frames are there"

    def test_the_end_is_that_of_the_new_actions(self):
        env = self.env()
        source = env.source
        env.actions = action_codec("operator", source.field_yx_nm, source.reference, source.limits)
        assert env.episode.cheapest == env.actions.cheapest


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_in_processes_of_their_own(name, options, context):
    single = []
    for k in range(2):
        env = make_env(name, **options)
        env.reset(seed=3 + k)
        single.append(env.step(np.zeros(2, np.float32)))
    envs = gym.make_vec(
        f"stemscout:{name}",
        num_envs=2,
        vectorization_mode="async",
        vector_kwargs={"context": context},
        **options,
    )
    try:
        envs.reset(seed=[3, 4])
        observation, rewards, *_ = envs.step(np.zeros((2, 2), np.float32))
    finally:
        envs.close()
    for k in range(2):
        assert testing.same({key: v[k] for key, v in observation.items()}, single[k][0])
        assert rewards[k] == single[k][1]


class TestAnySequenceOfFrames:
    """Invariants that hold whatever an agent does."""

    @settings(deadline=None, max_examples=25)
    @given(
        seed=st.integers(0, 2**31),
        centres=st.lists(st.tuples(*[st.floats(-1, 1, width=32)] * 2), min_size=1, max_size=12),
        task=st.sampled_from(["discover", "classes", "follow", "target", "map"]),
    )
    def test_holds(self, seed, centres, task):
        env = make_env(
            "StemScout/MoS2Defects-v0", task=task, budget=0.04, terminate_when_done=False
        )
        env.reset(seed=seed % 3)
        before, seen, total = 0.0, None, 0.0
        for centre in centres:
            observation, reward, terminated, truncated, info = env.step(
                np.array(centre, np.float32)
            )
            total += reward
            assert info["charge_e"] >= before, "charge only grows"
            before = info["charge_e"]
            assert info["charge_e"] <= env.episode.budget.charge_e * (1 + 1e-9)
            assert not terminated
            if task != "map":
                now = env.episode.task.tally.seen
                assert seen is None or not (seen & ~now).any(), "seen stays seen"
                seen = now.copy()
            if truncated:
                break
        assert total == pytest.approx(env.episode.task.fraction)
        value, mask = observation["mosaic"]
        assert not value[mask == 0].any(), "what was not measured is not shown"


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
