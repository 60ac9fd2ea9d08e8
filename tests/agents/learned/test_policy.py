"""Models that others saved: read where they are trusted, refused where they do not fit."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.learned.policy import from_zip
from stemscout.envs.registration import make_env
from stemscout.envs.sb3 import ScanVecEnv

ID, OPTIONS = "StemScout/GrapheneDefects-v0", {"difficulty": "easy", "budget": 0.03}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model that has learned next to nothing, as a user would save it."""
    env = ScanVecEnv.make(ID, 2, **OPTIONS)
    path = tmp_path_factory.mktemp("models") / "mine.zip"
    PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, n_epochs=1, seed=0).save(path)
    env.close()
    return path


def test_a_saved_model_runs_as_an_agent(saved):
    agent = make_agent(f"sb3:{saved}", trust=True)
    steps = Experiment(make_env(ID, **OPTIONS), agent, seed=0).run()
    assert len(steps) > 3
    assert "mine prefers it there" in steps[0].explanation.sentence


def test_it_is_not_unpickled_before_it_is_trusted(saved, monkeypatch):
    monkeypatch.setattr(PPO, "load", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"holds pickled parts.* add --trust"):
        make_agent(f"sb3:{saved}")


def test_a_model_of_other_spaces_is_refused(saved):
    agent = from_zip(saved, trust=True, action="grid")
    env = make_env(ID, action="grid", **OPTIONS)
    with pytest.raises(ValueError, match=r"the model acts in Box.* and this run in Discrete"):
        Experiment(env, agent, seed=0).run()
    looking = from_zip(saved, trust=True, observation="channels")
    env = make_env(ID, observation="channels", **OPTIONS)
    with pytest.raises(ValueError, match=r"the model looks at Dict.* 'channels' observations"):
        Experiment(env, looking, seed=0).run()


@pytest.mark.parametrize("kind", [PPO, A2C, DQN, SAC])
def test_it_is_told_by_what_it_was_made(kind, tmp_path):
    import gymnasium as gym

    class Plain(gym.Env):
        observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        action_space = (
            spaces.Discrete(3) if kind is DQN else spaces.Box(-1.0, 1.0, (2,), np.float32)
        )

        def reset(self, seed=None, options=None):
            return np.zeros(3, np.float32), {}

        def step(self, action):
            return np.zeros(3, np.float32), 0.0, True, False, {}

    path = tmp_path / "model.zip"
    kind("MlpPolicy", Plain(), seed=0).save(path)
    assert type(from_zip(path, trust=True).model) is kind


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "no model at"),
        (b"not a zip", "is no model of Stable-Baselines3, or a damaged one"),
        ({"other": 1}, "is no model of Stable-Baselines3, or a damaged one"),
        ({"policy_class": {"__module__": "my.own"}}, "its policy is of my.own, which nothing"),
    ],
)
def test_what_is_no_model_is_refused(content, sentence, tmp_path):
    path = tmp_path / "model.zip"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(path, "w") as held:
            held.writestr("data", json.dumps(content))
    with pytest.raises(ValueError, match=sentence):
        make_agent(f"sb3:{path}", trust=True)


def test_a_model_cut_short_is_refused(saved, tmp_path):
    """In a part that is read only once it is trusted."""
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(path, "w") as held:
        for name in whole.namelist():
            held.writestr(name, whole.read(name)[: 40 if name.endswith(".pth") else None])
    with pytest.raises(ValueError, match="cannot be read as PPO"):
        from_zip(path, trust=True)


def test_unknown_options_are_refused(saved):
    with pytest.raises(ValueError, match=r"sb3:.*its options are: trust, action, observation"):
        make_agent(f"sb3:{saved}", mood="good")
