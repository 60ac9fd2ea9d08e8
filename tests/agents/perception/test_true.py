"""True perception: what perfect perception would give, and no more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.benchmarks.found import claims_of, found
from stemscout.benchmarks.scores import flagged
from stemscout.envs import seen
from stemscout.envs.registration import make_env

SCORED = {
    "points and boundaries": "StemScout/GrapheneDefects-v0",
    "cells": "StemScout/NiOPillars-v0",
    "walls": "StemScout/FerroelectricDomains-v0",
}


@pytest.fixture(params=SCORED.values(), ids=SCORED)
def ran(request):
    """A run of true-raster over a fifth of the field, where all that it sees is whole."""
    env = make_env(request.param, split="test", budget=0.2, terminate_when_done=False)
    experiment = Experiment(env, make_agent("true-raster"), seed=1)
    experiment.run()
    return experiment


def test_it_claims_what_was_seen_and_nothing_else(ran):
    episode, truth = ran.env.episode, ran.env.truth
    tally = seen.Tally(seen.targets(truth, episode.reference.side_nm))
    for exposure, step in zip(episode.exposures, ran.steps, strict=True):
        tally.add(exposure)
        assert len(step.findings) == tally.seen.sum()
    assert tally.seen.sum() >= 3
    shapes = [f.request.shape_yx for f in episode.history]
    result = found(claims_of(ran.agent.findings(), episode.exposures, shapes), truth)
    assert result.false < 0.02 * len(ran.agent.findings())
    assert result.recall == pytest.approx(tally.recall, abs=0.02)


def test_its_target_tells_frames_with_features_from_those_without(ran):
    result = flagged(ran.agent, ran.env.episode.microscope, ran.env.episode.reference)
    assert result.average_precision == 1.0
    assert 0 < result.prevalence < 1


def test_its_descriptors_count_the_features_of_each_class(ran):
    truth, agent = ran.env.truth, ran.agent
    features = agent.perception.features(ran.env.episode.history)
    assert features.shape == (len(ran.steps), 1 + len(truth.classes))
    assert (features >= 0).all()
    # A contiguous raster shows no part twice, and its frames share what lies across their edges.
    assert features[:, 0].sum() <= 1 + 1e-9
    for k in range(len(truth.classes)):
        assert features[:, 1 + k].sum() <= (truth.feature_class == k).sum() * (1 + 1e-9) + 1e-9


def test_frames_too_coarse_for_a_class_show_nothing_of_it(graphene):
    env = graphene(budget=0.3)
    env.reset(seed=0)
    agent = make_agent("true-grid")
    agent.reset(Experiment(env, agent).context(), 0)
    whole = replace(
        env.episode.reference.at((0.0, 0.0)), fov_yx_nm=env.episode.field_yx_nm
    )  # 24 nm in 64 pixels
    frame = env.episode.take(whole)
    assert agent.perception.features([frame]).max() == 0.0
    assert agent.perception.findings([frame]) == []


def test_with_bo_it_finds_more_than_at_random(graphene):
    """On average over a few specimens: what it pursues is what is scored."""
    areas = {}
    for name in ("true-bo", "random"):
        ends = []
        for seed in range(4):
            experiment = Experiment(graphene(budget=0.15), make_agent(name), seed, specimen=seed)
            ends.append(experiment.run()[-1].fraction)
        areas[name] = np.mean(ends)
    assert areas["true-bo"] > 1.3 * areas["random"]
