"""A simulation that people watch is driven through a guard, and is the same simulation."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.watched import WatchedSource
from stemscout.hardware.errors import AbortedError, ConnectionLost
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read


@pytest.fixture
def watched(graphene):
    """Makes such an environment."""
    made = []

    def make(journal=None, **options):
        env = graphene(budget=0.04, **options)
        env.source = WatchedSource(env.source, lambda m: guarded(m, journal=journal))
        made.append(env)
        return env

    yield make
    for env in made:
        env.close()


def test_the_guard_changes_nothing(watched, graphene):
    bare = Experiment(graphene(budget=0.04), make_agent("lawnmower"), seed=3).run()
    there = Experiment(watched(), make_agent("lawnmower"), seed=3).run()
    assert len(there) == len(bare) > 5
    for one, other in zip(there, bare, strict=True):
        assert np.array_equal(one.frame.image, other.frame.image)
        assert (one.fraction, one.spent) == (other.fraction, other.spent)


def test_its_truth_and_its_exposures_are_known(watched):
    env = watched()
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert len(env.truth.feature_class) >= 8
    assert len(env.episode.exposures) == 1


def test_what_was_taken_is_in_the_journal(watched, tmp_path):
    with Journal(tmp_path) as journal:
        env = watched(journal)
        steps = Experiment(env, make_agent("grid"), seed=0).run()
        env.close()
    kinds = [r.kind for r in read(tmp_path)]
    assert kinds.count("frame") == len(steps)


def test_stop_blanks_and_ends_it(watched):
    env = watched()
    env.reset(seed=0)
    env.step(env.action_space.sample())
    assert env.source.guard.stop().answer == "blanked (confirmed)"
    with pytest.raises(AbortedError):
        env.step(env.action_space.sample())
    assert env.source.guard.microscope.state().blanked


def test_another_episode_has_another_guard_and_the_one_before_is_closed(watched):
    env = watched()
    env.reset(seed=0)
    first = env.source.guard
    env.reset(seed=1)
    assert env.source.guard is not first
    with pytest.raises(ConnectionLost):
        first.state()
