"""The perception of contrast: brightness, contrast, and how odd they are."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from stemscout.agents.agent import Context
from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.perception.contrast import ContrastPerception
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.envs.registration import make_env
from stemscout.hardware import Frame, Limits, ScanRequest, State

FIELD = (24.0, 24.0)
REFERENCE = ReferenceFrame((1.5, 1.5), (64, 64), 10.0)
LIMITS = Limits(FIELD, (0.1, 20), (0.001, 20), (1, 500), (1, 100), ("haadf",))
WHITE = 20.0


@pytest.fixture
def contrast():
    perception = ContrastPerception()
    actions = PositionAction(FIELD, REFERENCE)
    scale = {"haadf": (0.0, WHITE)}
    perception.reset(Context(FIELD, REFERENCE, LIMITS, actions, scale, 0.4, 30), 0)
    return perception


def frame(image, dwell_us=10.0):
    request = ScanRequest((0.0, 0.0), (1.5, 1.5), image.shape, dwell_us)
    data = {"haadf": np.asarray(image, np.float32)}
    return Frame(request, request.region, data, len(image), None, 0.0, State())


def lattice(mean=8.0, depth=4.0):
    """Electrons expected of a lattice, far wider than a pixel as every probe is."""
    y, x = np.mgrid[:64, :64]
    return mean + depth * np.cos(2 * np.pi * y / 10.7) * np.cos(2 * np.pi * x / 10.7)


def shot(expected, seed):
    return frame(np.random.default_rng(seed).poisson(expected))


def equal(n):
    return np.full(n, 1 / n)


def test_a_frame_is_its_mean_its_contrast_and_its_brightest_hundredth(contrast):
    image = np.zeros((64, 64))
    image[:, 32:] = 10.0
    image[30:32, 40:60] = 20.0  # 40 of 4096 pixels
    mean, deviation, brightest = contrast.features([frame(image)])[0]
    assert mean == pytest.approx(image.mean() / WHITE)
    assert deviation == pytest.approx(image.std() / WHITE, rel=0.1)
    assert brightest == pytest.approx((40 * 20.0 + 1 * 10.0) / 41 / WHITE)


@pytest.mark.parametrize("depth", [0.0, 2.0, 6.0])
def test_shot_noise_is_no_contrast(contrast, depth):
    seen = contrast.features([shot(lattice(depth=depth), s) for s in range(20)])[:, 1]
    assert seen.mean() * WHITE == pytest.approx(lattice(depth=depth).std(), abs=0.25)
    assert seen.mean() < shot(lattice(depth=depth), 0).image.std() / WHITE


def test_a_longer_dwell_is_no_brighter_frame(contrast):
    short, long = frame(lattice()), frame(4 * lattice(), dwell_us=40.0)
    assert contrast.features([long]) == pytest.approx(contrast.features([short]), rel=1e-5)


def test_the_odd_one_is_the_brighter_the_flatter_or_the_one_with_a_bright_spot(contrast):
    spot = lattice()
    spot[30:33, 30:33] += 30.0
    for odd in (lattice(mean=11.0), lattice(depth=1.0), lattice(depth=7.0), spot):
        frames = [shot(lattice(), s) for s in range(12)] + [shot(odd, 99)]
        features = contrast.features(frames)
        contrast.fit(features, equal(13))
        oddity = np.concatenate(contrast.describe(features))[:, 0]
        assert oddity[-1] > 2 * oddity[:-1].max()


def test_oddity_counts_deviations_from_the_median_in_mads(contrast):
    features = np.outer([1.0, 2.0, 3.0, 4.0, 9.0], [1.0, 10.0, 100.0])
    contrast.fit(features, equal(5))
    described = np.concatenate(contrast.describe(features))
    assert described[:, 0] == pytest.approx(np.array([2, 1, 0, 1, 6]) / 1.4826)
    assert np.array_equal(described[:, 1:], features)


def test_many_frames_of_one_place_are_not_the_rule(contrast):
    """Seven frames of a patch stand for little of the field, five others for the rest of it."""
    features = np.repeat([[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]], [5, 7], axis=0)
    features += 0.01 * np.arange(12)[:, None]
    contrast.fit(features, np.repeat([0.9 / 5, 0.1 / 7], [5, 7]))
    oddity = np.concatenate(contrast.describe(features))[:, 0]
    assert oddity[5:].min() > oddity[:5].max()


def test_one_frame_that_stands_for_nearly_all_of_the_field_is_not_the_rule(contrast):
    """As the last of a first line does."""
    features = np.repeat([[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]], [7, 1], axis=0)
    features += 0.01 * np.arange(8)[:, None]
    contrast.fit(features, np.array([0.02] * 7 + [0.86]))
    oddity = np.concatenate(contrast.describe(features))[:, 0]
    assert oddity.argmax() == 7


def test_frames_that_are_all_alike_are_not_odd(contrast):
    features = contrast.features([frame(np.full((64, 64), 3.0))] * 4)
    contrast.fit(features, equal(4))
    assert (np.concatenate(contrast.describe(features))[:, 0] == 0).all()


def test_it_sees_the_pillars_of_nio():
    """Without a word of what they are: better than by chance, on the whole field."""
    env = make_env("StemScout/NiOPillars-v0", split="validation", budget=1.0)
    experiment = Experiment(env, make_agent("true-raster"), seed=0)
    experiment.run()
    shown = experiment.agent.target(env.episode.history) > 0.01
    contrast = ContrastPerception()
    contrast.reset(experiment.context(), 0)
    features = contrast.features(env.episode.history)
    contrast.fit(features, equal(len(features)))
    precision = average_precision_score(shown, np.concatenate(contrast.describe(features))[:, 0])
    assert precision > 2 * shown.mean()


def test_a_person_may_pursue_brightness_instead():
    agent = make_agent("contrast-grid", component=1)
    env = make_env("StemScout/GrapheneDefects-v0", split="test", budget=0.05)
    steps = Experiment(env, agent, seed=0).run()
    means = [s.frame.image.mean() for s in steps]
    targets = agent.target([s.frame for s in steps])
    assert np.corrcoef(means, targets)[0, 1] > 0.999
    with pytest.raises(ValueError, match="there are components 0 to 3"):
        make_agent("contrast-grid", component=4)


@pytest.mark.parametrize("good", [1, 4])
def test_a_frame_without_numbers_has_no_oddity_and_the_others_theirs(contrast, good):
    """However few the others are."""
    frames = [shot(lattice(8.0 + k), k) for k in range(good)]
    broken = frame(np.full((64, 64), np.nan))
    features = contrast.features([broken, *frames, broken])
    contrast.fit(features, equal(good + 2))
    described = np.concatenate(contrast.describe(features))
    assert np.isnan(described[[0, -1], 0]).all()
    assert np.isfinite(described[1:-1]).all()
    alone = ContrastPerception()
    alone.full_scale, alone.dwell_us = contrast.full_scale, contrast.dwell_us
    alone.fit(features[1:-1], equal(good))
    assert np.allclose(np.concatenate(alone.describe(features[1:-1])), described[1:-1])
    contrast.fit(features[:1], equal(1))  # nothing is known, and what was is kept
    assert np.isfinite(np.concatenate(contrast.describe(features[1:-1]))).all()
