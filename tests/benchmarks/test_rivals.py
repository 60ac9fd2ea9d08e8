"""Optimisers of others hunt by the same rules, where they are installed."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.navigation.navigator import Situation
from stemscout.benchmarks.contest import Length
from stemscout.benchmarks.hunt import hunt
from stemscout.benchmarks.rivals import RIVALS, contestant, not_installed
from stemscout.benchmarks.targets import context_for, make_target


@pytest.fixture(params=RIVALS)
def rival(request):
    pytest.importorskip(RIVALS[request.param].make.package)
    return contestant(request.param)


def places(rival, seed=0, observations=13):
    choices = hunt(rival, make_target("bumps", seed), Length(observations=observations))
    return [c.requests[0].centre_yx_nm for c in choices]


def test_rivals_take_candidates_and_none_twice(rival):
    taken = np.array(places(rival))
    assert len(np.unique(taken, axis=0)) == len(taken) == 13
    candidates = rival.candidates.centres_yx_nm
    away = np.hypot(*(taken[:, None] - candidates[None]).transpose(2, 0, 1)).min(axis=1)
    assert away.max() < 1e-9


def test_the_same_seed_takes_the_same_way(rival):
    assert places(rival, observations=8) == places(rival, observations=8)


def test_rivals_go_where_it_is_promising(rival):
    """Told a slope on a coarse grid, they look at its upper half, or where nobody has been."""
    rival.reset(context_for(500), np.random.default_rng(0))
    centres = rival.candidates.centres_yx_nm
    told = (np.arange(4, 64, 8)[:, None] * 64 + np.arange(4, 64, 8)).ravel()
    targets = np.exp(-np.sum((centres[told] - (10.0, 10.0)) ** 2, axis=1) / 200.0)
    situation = Situation(centres[told], targets, np.ones(len(told)), 100)
    chosen = np.array(rival.decide(situation).centre_yx_nm)
    assert np.hypot(*(chosen - 10.0)) < np.hypot(24.0, 24.0)
    assert np.hypot(*(centres[told] - chosen).T).min() > 0


def test_with_nothing_left_they_decide_upon_nothing(rival):
    rival.reset(context_for(500), np.random.default_rng(0))
    centres = rival.candidates.centres_yx_nm
    everywhere = Situation(centres, np.zeros(len(centres)), np.ones(len(centres)), 1)
    assert rival.decide(everywhere) is None


def test_rivals_are_neither_steered_nor_saved(rival):
    with pytest.raises(ValueError, match="cannot be steered"):
        rival.steer(1.0)
    with pytest.raises(ValueError, match="cannot be saved in mid-run"):
        rival.save()
    with pytest.raises(ValueError, match="cannot go on from a saved run"):
        rival.restore({}, Situation(np.zeros((0, 2)), np.zeros(0), np.zeros(0), 1))


def test_whether_one_is_installed_is_asked_without_importing_it():
    assert not not_installed("skopt-default")
    assert not not_installed("grid")
