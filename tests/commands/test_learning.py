"""``stemscout train belief``, ``ppo`` and its kin: files of weights, and how they go on."""

from __future__ import annotations

import json

import pytest

from stemscout.agents.learned import policies, weights
from stemscout.agents.learned.actor import ALGORITHMS

ENV = "StemScout/FerroelectricDomains-v0"
HYPER = """
{env}:
  steps: {steps}
  side_by_side: 2
  specimens: 3
  budget: 0.02
  belief: none
  evaluate: 1
  network: {{width: 6, dilations: [1, 2]}}
  algorithm: {{batch_size: 10, n_epochs: 1}}
"""


@pytest.fixture
def hyper(tmp_path):
    def written(steps=20, env=ENV):
        path = tmp_path / f"hyper-{steps}.yaml"
        path.write_text(HYPER.format(env=env, steps=steps))
        return path

    return written


@pytest.fixture(scope="module")
def beliefs(stemscout, tmp_path_factory):
    out = tmp_path_factory.mktemp("beliefs") / "mine.safetensors"
    few = ("--steps", "2", "--specimens", "3", "--validate", "1")
    ran = stemscout("train", "belief", "--specimen", "bifeo3", "--seeds", "1", *few, "--out", out)
    assert ran.returncode == 0, ran.stderr
    return out, ran, few


def test_a_belief_is_trained_validated_and_written(beliefs):
    out, ran, _ = beliefs
    held = weights.load(out)
    assert (held.specimen, len(held.members)) == ("bifeo3", 1)
    assert held.card["seeds"] == [0]
    assert set(held.card["validation"]["area"][0]) == {"medium", "hard"}
    assert 0 <= held.card["calibration"]["error"] <= 1
    assert "median" in ran.stdout


def test_more_seeds_are_added_to_a_file_of_beliefs(stemscout, refused, beliefs):
    out, _, few = beliefs
    before = weights.load(out)
    more = ("train", "belief", "--specimen", "bifeo3", "--seeds", "2", "--out", out)
    ran = stemscout(*more, *few, "--json")
    assert ran.returncode == 0, ran.stderr
    after = weights.load(out)
    assert json.loads(ran.stdout) == after.card
    assert after.card["seeds"] == [0, 1]
    first, same = (held.members[0].state_dict() for held in (before, after))
    assert all((first[k] == same[k]).all() for k in first)
    refused(stemscout(*more, "--steps", "3", "--specimens", "3"), "is of another training")


def test_policies_of_several_seeds_are_trained_and_written(stemscout, hyper, tmp_path):
    out = tmp_path / "mine.safetensors"
    ran = stemscout(
        *("train", "recurrent-ppo", "--env", ENV, "--hyper", hyper(), "--seeds", "2", "--out", out),
        "--json",
    )
    assert ran.returncode == 0, ran.stderr
    held = policies.load(out)
    assert (held.specimen, held.algorithm, len(held.members)) == ("bifeo3", "recurrent-ppo", 2)
    assert [m["seed"] for m in held.card["members"]] == [0, 1]
    assert json.loads(ran.stdout) == held.card


def test_a_training_of_policies_goes_on_and_shows_its_curves(stemscout, hyper, tmp_path):
    out, kept, curves = (tmp_path / n for n in ("mine.safetensors", "kept", "curves"))
    command = ("train", "maskable-ppo", "--env", ENV, "--hyper", hyper(), "--out", out)
    options = ("--checkpoints", kept, "--tensorboard", curves)
    ran = stemscout(*command, *options)
    assert ran.returncode == 0, ran.stderr
    assert "median" in ran.stdout
    assert list(curves.rglob("events.out.tfevents.*"))
    assert [p.name for p in kept.iterdir()] == ["maskable-ppo-0.pt"]
    first = policies.load(out)
    again = stemscout(*command, *options)
    assert again.returncode == 0, again.stderr
    second = policies.load(out)
    assert first.card == second.card
    other = ("train", "maskable-ppo", "--env", ENV, "--hyper", hyper(40), "--out", out)
    ran = stemscout(*other, "--checkpoints", kept)
    assert ran.returncode == 2
    assert "is of another training" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("belief", "--specimen", "cheese", "--out", "a.safetensors"), "'cheese'"),
        (("belief", "--specimen", "wse2", "--out", "a.safetensors"), "was not measured yet"),
        (("belief", "--specimen", "mos2", "--out", "a.pt"), "weights are written as .safetensors"),
        (("ppo", "--env", ENV, "--out", "/proc/a.safetensors"), "cannot be written"),
        (("ppo", "--env", ENV, "--out", "a.pt"), "weights are written as .safetensors"),
        (("ppo", "--env", "Cheese-v0", "--out", "a.safetensors"), "has nothing for Cheese-v0"),
        (
            ("ppo", "--env", ENV, "--out", "a.safetensors", "--hyper", "no.yaml"),
            "there is no file no.yaml",
        ),
        (("trpo", "--env", ENV, "--out", "a.safetensors"), "there are: dcnn, rvae, belief, ppo"),
    ],
)
def test_bad_input_is_one_sentence(stemscout, refused, arguments, sentence, tmp_path):
    refused(stemscout("train", *arguments, cwd=tmp_path), sentence)
    assert not list(tmp_path.iterdir())


def test_an_unknown_key_is_named(stemscout, refused, hyper, tmp_path):
    path = hyper()
    path.write_text(path.read_text() + "  horizon: 3\n")
    out = tmp_path / "mine.safetensors"
    ran = stemscout("train", "ppo", "--env", ENV, "--hyper", path, "--out", out)
    refused(ran, "unknown key horizon", "steps")


def test_every_algorithm_has_a_command_that_says_what_it_does(stemscout):
    ran = stemscout("train", "--help")
    assert all(f" {algorithm} " in ran.stdout for algorithm in ALGORITHMS)
    assert "soft actor-critic" in ran.stdout
