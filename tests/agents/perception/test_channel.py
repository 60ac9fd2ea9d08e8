"""A perception's view of the frames as part of the observation."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from stemscout.agents.perception.channel import PerceptionChannel
from stemscout.envs.registration import make_env

ID = "StemScout/MoS2Defects-v0"


def bright(image):
    return (image > 0.5).astype(np.float32)


def moments(image):
    return np.array([image.mean(), image.std(), image.max()])


@pytest.mark.parametrize("perceive", [bright, moments])
def test_check_env_has_nothing_to_say(perceive):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        check_env(PerceptionChannel(make_env(ID), perceive), skip_render_check=True)


def test_a_map_becomes_a_mosaic_of_it():
    env = PerceptionChannel(make_env(ID), bright)
    first, _ = env.reset(seed=0)
    assert not first["perceived"].any()
    seen, *_ = env.step(np.zeros(2, np.float32))
    assert np.array_equal(seen["perceived"][1], seen["mosaic"][1]), "the mask is the mosaic's"
    assert 0 < seen["perceived"][0].max() <= 255
    again, _ = env.reset(seed=0)
    assert not again["perceived"].any()


def test_a_vector_is_that_of_the_latest_frame():
    env = PerceptionChannel(make_env(ID), moments)
    first, _ = env.reset(seed=0)
    assert first["descriptor"].tolist() == [0.0, 0.0, 0.0]
    seen, *_ = env.step(np.zeros(2, np.float32))
    episode = env.unwrapped.episode
    expected = moments(episode.display(episode.history[-1]))
    assert seen["descriptor"] == pytest.approx(expected)


def test_every_frame_is_perceived_once():
    count = []
    env = PerceptionChannel(make_env(ID), lambda image: count.append(1) or np.zeros(2))
    env.reset(seed=0)
    before = len(count)
    for _ in range(5):
        env.step(env.action_space.sample())
    assert len(count) - before == 5


def test_what_is_neither_map_nor_vector_is_refused():
    with pytest.raises(ValueError, match="must be a map of the frame or a vector"):
        PerceptionChannel(make_env(ID), lambda image: image[:3])
    with pytest.raises(ValueError, match="needs a Dict observation"):
        PerceptionChannel(make_env(ID, observation="channels"), bright)
