"""``stemscout train``, of what perceives: what can be refused is refused before training."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from stemscout.agents.perception import vae_patches
from stemscout.agents.perception.dcnn import training
from stemscout.commands.training import dcnn, rvae


class Begun(Exception):
    """The training."""


@pytest.fixture(autouse=True)
def only_begun(monkeypatch):
    def begin(*arguments, **options):
        raise Begun

    monkeypatch.setattr(training, "train", begin)
    monkeypatch.setattr(vae_patches, "patches_of", begin)


@pytest.fixture(params=[dcnn, rvae], ids=["dcnn", "rvae"])
def train(request):
    return request.param


def test_weights_that_could_not_be_written_are_refused_before_training(train, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"folder\.safetensors cannot be written: Is a directory"):
        train("nio_lsmo", tmp_path / "folder.safetensors")
    with pytest.raises(ValueError, match=r"file/a\.safetensors cannot be written: "):
        train("nio_lsmo", tmp_path / "file" / "a.safetensors")


def test_to_ask_whether_weights_can_be_written_leaves_no_file_and_changes_none(train, tmp_path):
    there = tmp_path / "there.safetensors"
    there.write_text("as it was")
    for out in (there, tmp_path / "new" / "a.safetensors"):
        with pytest.raises(Begun):
            train("nio_lsmo", out)
    assert there.read_text() == "as it was"
    assert not list((tmp_path / "new").iterdir())


def test_a_checkpoint_that_could_not_be_written_is_refused_too(tmp_path):
    (tmp_path / "kept").mkdir()
    with pytest.raises(ValueError, match="kept cannot be written: Is a directory"):
        dcnn("nio_lsmo", tmp_path / "a.safetensors", checkpoint=tmp_path / "kept")


def test_of_several_labelled_images_it_says_which_is_refused(tmp_path):
    labels = tmp_path / "labels.json"
    feature = {"class": "hole", "position": [50, 60]}
    labels.write_text(
        json.dumps({"unit": "px", "classes": [{"name": "hole"}], "features": [feature]})
    )
    pictures = {
        "sound": np.random.default_rng(0).integers(0, 255, (96, 96), np.uint8),
        "flat": np.full((96, 96), 7, np.uint8),
    }
    for name, values in pictures.items():
        Image.fromarray(values).save(tmp_path / f"{name}.png")
    images = [tmp_path / f"{name}.png" for name in pictures]
    with pytest.raises(ValueError, match=r"flat\.png: the image is constant where it is"):
        dcnn(
            "graphene",
            tmp_path / "a.safetensors",
            image=images,
            labels=[labels, labels],
            pixel_nm=0.02,
            hold_out=0.0,
        )
