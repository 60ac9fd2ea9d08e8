"""``stemscout train``: a network from scenes without end, and from labelled images."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from stemscout.agents.catalogue import make_agent
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.agents.perception.dcnn_rvae import MOST
from stemscout.agents.perception.vae_training import Cut, load_weights


@pytest.fixture(scope="module")
def trained(stemscout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    out = folder / "nio.safetensors"
    command = ("train", "dcnn", "--specimen", "nio_lsmo", "--steps", "20", "--scenes", "4")
    ran = stemscout(*command, "--out", str(out), "--json")
    assert ran.returncode == 0, ran.stderr
    return out, json.loads(ran.stdout)


def test_weights_are_written_with_their_card_and_a_picture(trained):
    out, said = trained
    segmenter = Segmenter(out)
    assert json.loads(json.dumps(segmenter.header.card)) == said["card"]
    assert said["specimen"] == "nio_lsmo"
    assert said["members"] == 4
    assert said["card"]["made"] == {"steps": 20, "seed": 0, "from": None, "labelled": False}
    for scores in said["card"]["scores"].values():
        assert set(scores) == set(LEGENDS["nio_lsmo"].channels)
        assert scores["La/Sr"]["true"] > 0
    with Image.open(out.with_suffix(".png")) as picture:
        assert min(picture.size) > 300


def test_training_goes_on_with_labelled_images(stemscout, trained, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 240), np.uint8)).save(
        tmp_path / "mine.png"
    )
    feature = {"class": "inclusion", "position": [50, 200]}
    labels = {"unit": "px", "classes": [{"name": "inclusion"}], "features": [feature]}
    (tmp_path / "mine.json").write_text(json.dumps(labels))
    out = tmp_path / "tuned.safetensors"
    ran = stemscout(
        *("train", "dcnn", "--specimen", "nio_lsmo", "--steps", "20", "--scenes", "2"),
        *("--from", str(trained[0]), "--image", str(tmp_path / "mine.png")),
        *("--labels", str(tmp_path / "mine.json"), "--pixel-nm", "0.04", "--out", str(out)),
    )
    assert ran.returncode == 0, ran.stderr
    assert "held out of yours" in ran.stdout
    card = Segmenter(out).header.card
    assert card["made"]["labelled"] is True
    assert card["labelled"]["after"]["inclusion"]["true"] == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--specimen", "cheese", "--out", "a.safetensors"), "no network is known for 'cheese'"),
        (("--specimen", "mos2", "--out", "a.pt"), "weights are written as .safetensors"),
        (("--specimen", "mos2", "--out", "a.safetensors", "--steps", "3"), "20"),
        (
            ("--specimen", "mos2", "--out", "a.safetensors", "--image", "a.png"),
            "1 images and 0 files of labels",
        ),
        (
            ("--specimen", "mos2", "--out", "a.safetensors", "--image", "a", "--labels", "b"),
            "labelled images need --pixel-nm",
        ),
        (("--specimen", "mos2", "--out", "a.safetensors", "--from", "no.file"), "no such file"),
        (("--specimen", "mos2", "--out", "a.safetensors", "--hold-out", "1"), "--hold-out 1; it"),
    ],
)
def test_bad_input_is_one_sentence(stemscout, refused, arguments, sentence, tmp_path):
    refused(stemscout("train", "dcnn", *arguments, cwd=tmp_path), sentence)
    assert not list(tmp_path.iterdir())


class TestRvae:
    """The same of a manifold."""

    def test_weights_are_written_with_their_card_and_begin_an_agent(self, stemscout, tmp_path):
        out = tmp_path / "nio.safetensors"
        command = ("train", "rvae", "--specimen", "nio_lsmo", "--frames", "20", "--steps", "30")
        ran = stemscout(*command, "--descriptor", "raw", "--out", str(out), "--json")
        assert ran.returncode == 0, ran.stderr
        said = json.loads(ran.stdout)
        assert said["patches"] == 20 * 9
        assert said["held_out_patches"] == 2 * 9
        assert 0.0 < said["residual"] < 2.0
        assert said["drift"] >= 0.0
        assert said["limits"]["difficulties"] == ["easy", "medium", "hard"]
        assert said["limits"]["detector"] == "haadf"
        assert (said["limits"]["window"], said["limits"]["overlap"]) == (0.5, 0.5)
        agent = make_agent("rvae-bo", descriptor="raw", weights=str(out))
        assert agent.settings["perception"]["weights"] == str(out)

    def test_windows_and_the_decoder_are_as_the_options_have_them(self, stemscout, tmp_path):
        out = tmp_path / "nio.safetensors"
        command = ("train", "rvae", "--specimen", "nio_lsmo", "--frames", "4", "--steps", "2")
        options = ("--window", "0.25", "--overlap", "0", "--skip")
        ran = stemscout(*command, *options, "--out", str(out), "--json")
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["patches"] == 4 * 16
        trained = load_weights(out)
        assert trained.cut == Cut("fft", window=0.25)
        assert trained.specimen == "nio_lsmo"
        assert trained.network.skip

    def test_a_network_centres_patches_on_the_columns_that_it_finds(self, stemscout, tmp_path):
        out = tmp_path / "columns.safetensors"
        command = ("train", "rvae", "--specimen", "graphene", "--frames", "6", "--steps", "2")
        options = ("--network", "graphene", "--around-nm", "0.25")
        ran = stemscout(*command, *options, "--out", str(out), "--json")
        assert ran.returncode == 0, ran.stderr
        said = json.loads(ran.stdout)
        assert 6 * 10 < said["patches"] <= 6 * MOST
        assert said["limits"]["network"] == "graphene"
        assert load_weights(out).cut == Cut("raw", around_nm=0.25)
        make_agent("dcnn-rvae-bo", weights=str(out), around_nm=0.25)

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--specimen", "cheese", "--out", "a.safetensors"), "unknown specimen 'cheese'"),
            (
                ("--specimen", "mos2", "--out", "a.safetensors", "--around-nm", "0.3"),
                "--around-nm is of patches about columns; it needs --network",
            ),
            (
                (
                    *("--specimen", "graphene", "--out", "a.safetensors"),
                    *("--network", "graphene", "--window", "0.5"),
                ),
                "--window is of windows; patches about columns have none",
            ),
            (
                ("--specimen", "bifeo3", "--out", "a.safetensors", "--network", "graphene"),
                "give the network of another specimen",
            ),
            (("--specimen", "mos2", "--out", "a.pt"), "weights are written as .safetensors"),
            (
                ("--specimen", "mos2", "--out", "a.safetensors", "--descriptor", "smell"),
                "unknown descriptor 'smell'; there are: fft, raw",
            ),
        ],
    )
    def test_bad_input_is_one_sentence(self, stemscout, refused, arguments, sentence, tmp_path):
        refused(stemscout("train", "rvae", *arguments, cwd=tmp_path), sentence)
        assert not list(tmp_path.iterdir())
