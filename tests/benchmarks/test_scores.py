"""Scores of one run, held against hand calculation."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.agent import Agent
from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.benchmarks.scores import Curve, flagged, flagged_frames, graded, seen_curve
from stemscout.envs import seen
from stemscout.envs.registration import make_env

CURVE = Curve(np.array([0.1, 0.2, 0.3]), np.array([0.0, 0.5, 1.0]), 0.4)


def test_area_is_that_of_the_steps():
    # 0 until 0.2, a half until 0.3, all until 0.4.
    assert CURVE.area() == pytest.approx((0.1 * 0.5 + 0.1 * 1.0) / 0.4)
    assert CURVE.area(0.3) == pytest.approx(0.1 * 0.5 / 0.3)
    assert CURVE.area(0.1) == 0.0
    assert CURVE.area(1.0) == pytest.approx((0.1 * 0.5 + 0.7) / 1.0), "flat beyond the end"


def test_charge_to_a_share():
    assert CURVE.charge_to(0.5) == 0.2
    assert CURVE.charge_to(0.6) == 0.3
    assert Curve(np.array([0.1]), np.array([0.4]), 0.4).charge_to(0.5) is None


def test_the_curve_is_the_sum_of_the_rewards(graphene):
    experiment = Experiment(graphene(budget=0.3), make_agent("random"), seed=2)
    experiment.run()
    episode = experiment.env.episode
    curve = seen_curve(episode, experiment.env.truth)
    assert curve.recall == pytest.approx(np.cumsum(episode.gains))
    assert curve.charge[-1] == pytest.approx(episode.budget.spent)


class Knows(Agent):
    """Its target is the truth, or its opposite, or nothing."""

    name = "knows"

    def __init__(self, sign):
        self.sign = sign

    def reset(self, context, seed):
        pass

    def act(self, observation):
        return None

    def observe(self, frame):
        pass

    def target(self, frames):
        if self.sign == 0:
            return None
        points, least = self.wanted.points_yx_nm, self.wanted.least
        half = np.asarray(frames[0].region.fov_yx_nm) / 2 + 1e-9
        shows = [
            (
                (np.abs(points - f.region.centre_yx_nm) <= half).all(axis=2).sum(axis=1) >= least
            ).any()
            for f in frames
        ]
        return self.sign * np.array(shows, dtype=float)


def test_flagged_rewards_a_perfect_target_and_punishes_its_opposite(graphene):
    env = graphene()
    env.reset(seed=1)
    scores = {}
    for sign in (1, -1, 0):
        agent = Knows(sign)
        agent.wanted = seen.targets(env.truth, env.source.reference.side_nm)
        scores[sign] = flagged(agent, env.episode.microscope, env.source.reference)
    assert scores[1].average_precision == 1.0
    assert scores[-1].average_precision == pytest.approx(scores[1].prevalence)
    assert scores[0] is None, "an agent without a target has no score, not zero"


def test_frames_without_a_target_come_last_and_others_keep_their_order():
    labels = np.repeat([True, False], 4)
    whole = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0, -1.0, -2.0])
    assert graded(whole, labels).average_precision == 1.0
    lacking = np.where(np.arange(8) == 3, np.nan, whole)
    assert graded(lacking, labels).average_precision == pytest.approx((3 + 4 / 8) / 4)
    assert np.isfinite(graded(lacking, labels).target).all()
    assert graded(np.full(8, np.nan), labels).average_precision == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [(np.ones(7), "a target of shape"), (np.full(8, np.inf), "infinite; it must be a number")],
)
def test_a_target_is_a_number_for_each_frame(target, sentence):
    with pytest.raises(ValueError, match=sentence):
        graded(target, np.repeat([True, False], 4))


def test_a_run_of_atoms_of_a_rare_kind_ends_well():
    """Most frames hold none of them, and have no target."""
    env = make_env("StemScout/NiOPillars-v0", budget=0.02, terminate_when_done=False)
    agent = make_agent("dcnn-rvae-bo", kinds="Ni")
    experiment = Experiment(env, agent, 0)
    experiment.run()
    result = flagged(experiment.agent, experiment.env.episode.microscope, env.source.reference)
    assert 0.0 < result.average_precision <= 1.0


def test_flagged_frames_are_the_same_for_every_agent_and_truly_of_two_kinds(graphene):
    env = graphene()
    env.reset(seed=1)
    centres, labels = flagged_frames(env.truth, env.source.reference, 0)
    again, _ = flagged_frames(env.truth, env.source.reference, 0)
    assert centres == again
    assert labels.sum() == (~labels).sum() == 32
    wanted = seen.targets(env.truth, env.source.reference.side_nm)
    points = wanted.points_yx_nm
    for centre, label in zip(centres, labels, strict=True):
        inside = (np.abs(points - centre) <= 0.75 + 1e-9).all(axis=2)
        shown = inside.sum(axis=1) >= wanted.least
        assert shown.any() if label else not inside.any()


def test_linear_bo_flags_better_than_chance():
    """Pillars, as in the paper: their lattice is another one."""
    env = make_env("StemScout/NiOPillars-v0", budget=0.1, terminate_when_done=False)
    experiment = Experiment(env, make_agent("linear-bo"), 0)
    experiment.run()
    env = experiment.env
    result = flagged(experiment.agent, env.episode.microscope, env.source.reference)
    assert result.average_precision > result.prevalence + 0.1
