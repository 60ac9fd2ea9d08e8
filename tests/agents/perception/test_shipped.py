"""What the weights in the package promise: size, a card, scores, and that they work at once."""

from __future__ import annotations

import json
import runpy
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.agents.perception import array_files, rvae, vae_patches, vae_training
from stemscout.agents.perception.dcnn import card, training, weights
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.scenes import Scenes
from stemscout.agents.perception.dcnn.scoring import COLUMN_TOLERANCE_NM, score
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.benchmarks.suite import load_suite
from stemscout.envs.registration import ENVIRONMENTS, make_env

STANDARD = [e.removeprefix("StemScout/") for e in load_suite("standard").environments]
SPECIMENS = ("graphene", "mos2", "nio_lsmo", "bifeo3")  # of these


@pytest.fixture(scope="module", params=LEGENDS)
def specimen(request):
    return request.param


def test_a_network_ships_for_every_specimen_that_one_can_tell_in_3_mb(specimen):
    path = weights.path_of(specimen)
    assert path.stat().st_size <= 3e6
    members, header = weights.load(path, specimen)
    assert len(members) == len(training.CYCLES)
    assert header.channels == LEGENDS[specimen].channels


def test_its_card_says_how_it_was_made_and_how_good_it_is(specimen):
    _, header = weights.load(weights.path_of(specimen), specimen)
    made = header.card["made"]
    assert made == {"steps": training.STEPS, "seed": 0, "from": None, "labelled": False}
    assert set(header.card["trained_on"]) >= {"renderer", "pixel_nm", "doses"}
    assert set(header.card["thresholds"]) == set(LEGENDS[specimen].features)
    assert header.card["noise"] > 0.3
    assert header.card["limits"]
    for spread in card.SPREADS:
        assert set(header.card["scores"][spread]) == set(header.channels)
    for name, own in header.card["scores"]["reference"].items():
        said = any(f"does not tell {name}:" in sentence for sentence in header.card["limits"])
        assert said == bool(own["true"] and own["f1"] < card.TOLD), name


def test_the_page_of_cards_is_that_of_the_files():
    """Else: python docs/cards.py."""
    docs = Path(weights.__file__).parents[3] / "docs"
    page = (docs / "cards.md").read_text()
    assert runpy.run_path(str(docs / "cards.py"))["page"]() == page
    assert f"Columns count as right within {COLUMN_TOLERANCE_NM:g} nm," in page


def test_it_scores_what_its_card_says(specimen):
    """On scenes that neither training nor the card has seen."""
    segmenter = Segmenter(specimen)
    legend = segmenter.legend
    scenes = Scenes(specimen, seed=card.SEED + 1, split=1, spread=card.PLAIN).scenes()
    found = score(segmenter, islice(scenes, 48))
    said = segmenter.header.card["scores"]["reference"]
    for kind in legend.kinds:
        if found[kind].true >= 100:
            assert found[kind].f1 > min(0.97, said[kind]["f1"] - 0.03), kind
    right = sum(found[f].right for f in legend.features)
    asked = sum(found[f].true for f in legend.features)
    expected = sum(said[f]["recall"] * found[f].true for f in legend.features) / asked
    assert right / asked > expected - 0.1


NOTHING = {
    "constant": lambda rng, shape: np.full(shape, 7.0),
    "dark": lambda rng, shape: np.zeros(shape),
    "shot noise": lambda rng, shape: rng.poisson(5.0, shape),
    "a few electrons": lambda rng, shape: rng.poisson(0.05, shape),
    "detector noise": lambda rng, shape: rng.normal(0.0, 3.0, shape),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_where_nothing_is_to_be_seen_it_sees_nothing(specimen, kind):
    segmenter = Segmenter(specimen)
    pixel = segmenter.header.pixel_nm
    for seed, (shape, size) in enumerate([((64, 64), 1.0), ((128, 96), 0.6), ((32, 32), 2.0)]):
        image = NOTHING[kind](np.random.default_rng(seed), shape)
        seen = segmenter.look(image, (size * pixel, size * pixel))
        assert not seen.probability.any()
        assert seen.probability.shape[1:] == tuple(round(n * size) for n in shape)


def test_of_what_is_saturated_it_says_so_and_nothing_else(specimen):
    """Clipped where most of a scene is brighter; a little of it does no harm."""
    segmenter = Segmenter(specimen)
    (scene,) = islice(Scenes(specimen, seed=3, split=1, spread=card.PLAIN).scenes(), 1)
    pixel = (segmenter.header.pixel_nm,) * 2
    whole, rows = scene.image, (slice(2, -2),) * 2
    little = np.minimum(whole, np.quantile(whole, 0.97))
    seen, clipped = (segmenter.look(i, pixel).probability for i in (whole, little))
    assert np.abs(seen - clipped)[(slice(None), *rows)].mean() < 0.02
    level = np.unique(whole)[1:][(whole >= np.unique(whole)[1:, None, None]).mean((1, 2)) > 0.6][-1]
    with pytest.warns(UserWarning, match=r"\d\d% of the pixels have the greatest value of all"):
        most = segmenter.look(np.minimum(whole, level), pixel)
    assert not most.probability.any()


@pytest.mark.parametrize("specimen", SPECIMENS)
def test_an_autoencoder_ships_for_every_id_of_the_standard_in_1_mb(specimen):
    path = rvae.SHIPPED / f"{specimen}.safetensors"
    assert path.stat().st_size <= 1e6
    network, cut, of = vae_training.load_weights(path)
    perception = rvae.RvaePerception()
    assert cut == perception.cut
    assert of == specimen
    held_out = vae_patches.frames_of(specimen, 200, 77, "validation", counted=False)
    clean = vae_patches.patches_of(perception, held_out)
    found = vae_training.card(network, clean, clean)
    said = json.loads(array_files.read(path)[1]["card"])
    assert said["drift"] < 0.05
    assert found["drift"] < said["drift"] + 0.03  # five other specimens, and their own spread
    assert said["limits"] == vae_patches.limits_of(specimen, perception)


@pytest.mark.parametrize("name", STANDARD)
def test_every_workflow_runs_at_once_on_every_id_of_the_standard(name):
    assert ENVIRONMENTS[f"StemScout/{name}"]
    for agent, options in (
        ("dcnn-bo", {}),
        ("dcnn-rvae-bo", {}),
        ("rvae-bo", {"weights": "shipped"}),
    ):
        env = make_env(f"StemScout/{name}", budget=0.02)
        experiment = Experiment(env, make_agent(agent, **options), seed=0)
        experiment.run()
        frames = [s.frame for s in experiment.steps]
        assert np.isfinite(experiment.agent.target(frames)).all()
