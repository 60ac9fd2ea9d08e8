"""Files of weights, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stemscout.agents.perception.array_files import read, write
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.agents.perception.dcnn.weights import load, path_of, save


def test_networks_come_back_as_they_were_but_for_half_precision(weights_file, network_of):
    members, header = load(weights_file)
    assert header.card == {"made": "here"}
    assert header.channels[0] == "C"
    picture = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    for seed, member in zip((1, 2), members, strict=True):
        before = torch.sigmoid(network_of(len(header.channels), seed)(picture))
        after = torch.sigmoid(member.eval()(picture))
        assert torch.abs(before - after).max() < 0.01


def test_a_file_may_be_saved_again(weights_file, tmp_path):
    members, header = load(weights_file)
    save(tmp_path / "again.safetensors", members, replace(header, card={}))
    assert load(tmp_path / "again.safetensors")[1] == replace(header, card={})


def changed(path, out, arrays=lambda a: a, **metadata):
    held, said = read(path)
    write(out, arrays(held), {**said, **metadata})
    return out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "recipe"}, "holds recipe, format 1; wanted is stemscout dcnn, format 1"),
        ({"format": "9"}, "holds stemscout dcnn, format 9"),
        ({"header": "{"}, "its header cannot be read"),
        ({"header": "{}"}, "its header cannot be read"),
        ({"arrays": lambda a: {k: v for k, v in a.items() if k != "0.head.bias"}}, "lacks or has"),
        ({"arrays": lambda a: {**a, "0.more": np.zeros(3)}}, "member 0 lacks or has too much"),
        ({"arrays": lambda a: {**a, "0.head.bias": np.zeros(3)}}, "do not fit its header"),
        (
            {"arrays": lambda a: {**a, "0.head.bias": 0 * a["0.head.bias"] + np.nan}},
            "it is damaged: weights that are no numbers",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said(weights_file, tmp_path, change, sentence):
    path = changed(weights_file, tmp_path / "bad.safetensors", **change)
    with pytest.raises(ValueError, match=sentence):
        load(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("members", 0),
        ("members", "two"),
        ("pixel_nm", 0.0),
        ("pixel_nm", "a"),
        ("widths", ["a"]),
        ("widths", []),
        ("card", None),
        ("specimen", ["graphene"]),
    ],
)
def test_a_header_that_cannot_be_is_refused(weights_file, tmp_path, key, value):
    _, said = read(weights_file)
    header = {**json.loads(said["header"]), key: value}
    path = changed(weights_file, tmp_path / "odd.safetensors", header=json.dumps(header))
    with pytest.raises(ValueError, match=f"its header is damaged: {key} is "):
        load(path)


def test_a_damaged_file_is_refused(weights_file, tmp_path):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(weights_file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="no safetensors file, or a damaged one"):
        Segmenter(path)


def test_weights_for_another_specimen_are_refused(weights_file):
    with pytest.raises(ValueError, match="is for graphene, and not for mos2"):
        load(weights_file, "mos2")


def test_weights_of_a_version_that_told_other_channels_are_refused(weights_file, tmp_path):
    _, said = read(weights_file)
    header = json.loads(said["header"])
    header["channels"][1] = "Ge"
    path = changed(weights_file, tmp_path / "old.safetensors", header=json.dumps(header))
    with pytest.raises(ValueError, match="this version of stemscout knows other channels"):
        load(path)


def test_a_path_is_a_path(tmp_path):
    assert path_of(tmp_path / "mine.safetensors") == tmp_path / "mine.safetensors"
    with pytest.raises(ValueError, match="there is no such file"):
        Segmenter(tmp_path / "mine.safetensors")
