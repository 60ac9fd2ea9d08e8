"""Deep kernel learning: pictures of the surroundings, and what a network makes of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.deep import DeepBayesian
from stemscout.agents.navigation.navigator import Candidates, Situation
from stemscout.agents.navigation.patches import SIDE, of_frames, of_survey
from stemscout.agents.navigation.survey import covariates
from stemscout.hardware.microscope import Frame, ScanRequest, State


def frame(request, image):
    """What came back of a request."""
    data = {"haadf": np.asarray(image, dtype=np.float32)}
    return Frame(request, request.region, data, len(image), 1.0, 1.0, State())


@pytest.fixture(scope="module")
def with_survey(context):
    """A context whose survey is bright in the right half."""
    request = ScanRequest((0.0, 0.0), (12.0, 18.0), (96, 144), 1.0)
    image = np.zeros((96, 144))
    image[:, 72:] = 10.0
    return replace(context(), survey=frame(request, image))


def test_pictures_of_a_survey_show_it_about_each_candidate(with_survey):
    candidates = Candidates.of(with_survey)
    shown = of_survey(with_survey, candidates)
    assert shown.shape == (345, 1, SIDE, SIDE)
    x = candidates.centres_yx_nm[:, 1]
    middle = shown[:, 0, SIDE // 2]
    assert (middle[x < -1.5] == -1.0).all()
    assert (middle[x > 1.5] == 1.0).all()
    border = middle[np.isclose(x, 0.0)][0]
    assert border.tolist() == [-1.0] * 6 + [1.0] * 6


def test_pictures_move_with_the_stage(with_survey, context):
    """By 3 nm along x: what was bright right of 0 is bright right of 3 nm in scan coordinates."""
    candidates, moved = Candidates.of(with_survey), State(stage_yx_nm=(0.0, 3.0))
    before = of_survey(with_survey, candidates).reshape(15, 23, SIDE, SIDE)
    after = of_survey(with_survey, candidates, moved).reshape(15, 23, SIDE, SIDE)
    assert np.array_equal(after[:, 8:-4], before[:, 4:-8]), "four candidates are 3 nm"
    taken = frame(context().reference.at((0.0, 0.0)), np.full((32, 32), 9.0))
    late = replace(frame(context().reference.at((3.0, 6.0)), np.zeros((32, 32))), state=moved)
    seen = of_frames(context(), candidates, [taken, late])[:, 2].reshape(15, 23, SIDE, SIDE)
    assert seen[7, 15 - 3, 4:8, 8:].any(), "the first one now lies at x = 3 nm"
    assert not seen[7, 11 - 3, 4:8, 8:11].any(), "and no more at 0"
    shown = covariates(with_survey, candidates, moved)[:, 0].reshape(15, 23)
    assert shown[7, 17] > 0 > shown[7, 12]


def test_without_a_survey_there_is_none(context):
    assert of_survey(context(), Candidates.of(context())) is None


def test_pictures_of_frames_leave_the_candidate_itself_out(context):
    """A frame further to the right shows in the right; the candidate's own never does."""
    candidates = Candidates.of(context())
    at = 7 * 23 + 11  # (0, 0)
    rng = np.random.default_rng(0)
    there = [
        frame(context().reference.at(tuple(candidates.centres_yx_nm[k])), rng.normal(size=(32, 32)))
        for k in (at, at + 3)
    ]
    shown = of_frames(context(), candidates, there)
    assert shown.shape == (345, 3, SIDE, SIDE)
    seen = shown[at, 2]
    assert not seen[:, :10].any(), "its own frame, and nothing to the left"
    assert seen[4:8, 10:].all(), "the other begins 1.5 nm to the right, four cells on"
    other = frame(context().reference.at((0.0, 0.0)), np.full((32, 32), 99.0))
    assert np.array_equal(of_frames(context(), candidates, [other])[at, 2], np.zeros((12, 12)))
    assert not of_frames(context(), candidates, []).any()


def test_it_learns_that_the_target_is_what_the_survey_shows(with_survey):
    """A target of bright and dark, of which distance alone knows little so far from the points."""
    navigator = DeepBayesian(acquisition="sigma", steps=30, length_scale_nm=[0.75, 1.5])
    navigator.reset(with_survey, np.random.default_rng(0))
    centres = navigator.candidates.centres_yx_nm
    rng = np.random.default_rng(1)
    chosen = centres[rng.choice(len(centres), 16, replace=False)]
    targets = (chosen[:, 1] > 0) + 0.02 * rng.normal(size=16)
    situation = Situation(chosen, targets, np.ones(16), 10)
    for _ in range(3):
        mean, _ = navigator.decide(situation).maps["posterior mean"]
    clear = np.abs(centres[:, 1]) > 1.0
    assert np.corrcoef(mean[clear], centres[clear, 1] > 0)[0, 1] > 0.95
    assert navigator.gp.hyper.drift > 0.5, "the greater part of the variance is the pictures'"


def test_saved_in_a_run_and_restored_it_decides_the_same(graphene):
    env = graphene(budget=0.1)
    experiment = Experiment(env, make_agent("dkl-bo", steps=3), seed=4)
    stream = iter(experiment)
    for _ in range(9):
        next(stream)
    state = json.loads(json.dumps(experiment.agent.save()))
    twin = make_agent("dkl-bo", steps=3)
    twin.reset(experiment.context(), 4)
    twin.restore(state, env.episode.history)
    observation = env.observations.observe()
    assert np.array_equal(twin.act(observation), experiment.agent.act(observation))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": 0}, "steps is 0; it must be an integer, at least 1"),
        ({"kernel": "rbf"}, "kernel 'rbf'; a deep kernel's positions have matern52"),
        ({"acquisition": "Thompson"}, "no samples; take another acquisition"),
        ({"refit": 5}, "refit: a deep kernel learns at every decision; leave it out"),
    ],
)
def test_bad_settings_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        DeepBayesian(**wrong)
