"""Beliefs that are learned: calibrated by training, safe as files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stemscout.agents.learned import weights
from stemscout.agents.learned.belief_training import Rollouts, train
from stemscout.agents.learned.detector import PIECE, Detector, Rates, sighted
from stemscout.agents.learned.evidence import Cells, Evidence
from stemscout.agents.learned.grounds import grounds
from stemscout.agents.learned.network import BeliefNet, encoded, probabilities, weighed
from stemscout.agents.learned.rehearsal import Rehearsal
from stemscout.agents.perception.sightings import BLOCKS, Layers
from stemscout.simulators.specimens import specimen_module

LAYERS = Layers.of("bifeo3")
MODULE = specimen_module("bifeo3")
CELLS_OF = Cells.of((MODULE.FIELD_NM,) * 2, (MODULE.FRAME_NM,) * 2)


@pytest.fixture(scope="module")
def pool():
    made = grounds("bifeo3", ("easy", "hard"), seed=5)
    return [next(made) for _ in range(6)]


def test_grounds_hold_every_feature_and_follow_their_seed(pool):
    for number, ground in enumerate(pool):
        sequence = np.random.SeedSequence(5, spawn_key=(0, number, 0))
        specimen = MODULE.generate(sequence, ground.difficulty)
        count = np.bincount(specimen.feature_class, minlength=len(LAYERS.classes))
        assert np.allclose(ground.amounts[: len(count)].sum(axis=(1, 2)), count, atol=0.01)
    again = next(grounds("bifeo3", ("easy", "hard"), seed=5))
    assert (again.amounts == pool[0].amounts).all()
    assert [g.difficulty for g in pool[:2]] == ["easy", "hard"]


def test_a_perfect_detector_says_what_there_is(pool):
    there = pool[0].amounts[None, :, :BLOCKS, :BLOCKS]
    detector, rng = Detector.perfect(LAYERS), np.random.default_rng(0)
    told = sighted(there, detector.points, detector.drawn("easy", rng), rng)
    assert np.allclose(told, there, atol=1e-6)


def test_a_detector_is_as_often_right_as_it_is_said_to_be():
    layers = Layers.of("graphene")
    n = len(layers.names)
    points = Detector.perfect(layers).points
    rates = Rates(np.full(n, 0.7, np.float32), np.full(n, 0.05, np.float32))
    there = np.ones((4000, n, BLOCKS, BLOCKS), np.float32)
    rng = np.random.default_rng(0)
    told = sighted(there, points, rates, rng).mean(axis=(0, 2, 3))
    assert told[points] == pytest.approx(0.75, abs=0.02)
    assert told[~points] == pytest.approx(0.7 + 0.05 * PIECE, abs=0.02)
    false = sighted(0 * there, points, rates, rng).mean(axis=(0, 2, 3))
    assert false[points] == pytest.approx(0.05, abs=0.01)


def test_rates_of_something_else_are_refused(tmp_path):
    path = tmp_path / "rates.json"
    path.write_text('{"1.0": {"easy": {"wall": {"hit": 1.0, "false": 0.0}}}}')
    with pytest.raises(ValueError, match="no rates of bifeo3"):
        Detector.of("bifeo3", path)
    with pytest.raises(ValueError, match="not measured"):
        Detector.of("bifeo3", tmp_path / "nothing.json")


@pytest.mark.parametrize("shape", [(64, 64), (43, 43), (32, 49)])
def test_the_network_takes_fields_of_any_size(shape):
    cells = Cells((0.0, 0.0), (1.0, 1.0), shape)
    evidence = Evidence(cells, len(LAYERS.names), 2)
    net = BeliefNet(2 + len(LAYERS.names), len(LAYERS.classes))
    likely = probabilities(net, evidence)
    assert likely.shape == (2, len(LAYERS.classes), *shape)
    assert ((likely > 0) & (likely < 1)).all()


def test_points_and_extended_features_carry_half_each():
    layers = Layers.of("graphene")
    likely = np.random.default_rng(0).random((1, len(layers.classes), 8, 8), np.float32)
    weight = weighed(likely, layers)
    assert weight.sum() == pytest.approx(1.0, rel=1e-5)
    only = np.zeros_like(likely)
    only[:, -1] = likely[:, -1]  # the boundary
    assert weighed(only, layers).sum() == pytest.approx(0.5, rel=1e-5)


def test_training_follows_its_seed_and_learns(pool):
    """After a few steps: that there is likely to be something where something was sighted."""
    losses = []
    perfect = Detector.perfect(LAYERS)
    net = train(pool, LAYERS, CELLS_OF, perfect, 3, 150, 6, lambda p: losses.append(p.loss))
    other, again = (train(pool, LAYERS, CELLS_OF, perfect, 3, 10, 6) for _ in range(2))
    for a, b in zip(other.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert losses[-1] < losses[0]
    evidence = Evidence(CELLS_OF, len(LAYERS.names))
    evidence.looks[:] = 1.0
    evidence.sums[0] = pool[0].amounts
    there = pool[0].amounts[: len(LAYERS.classes)].sum(axis=0) > 0.5
    likely = probabilities(net, evidence)[0].sum(axis=0)
    assert likely[there].mean() > 2 * likely[~there].mean()


def test_rollouts_take_no_frame_twice_and_begin_anew(pool):
    rng = np.random.default_rng(0)
    rehearsal = Rehearsal(pool, LAYERS, CELLS_OF, Detector.perfect(LAYERS), rng, n=4)
    rollouts = Rollouts(rehearsal)
    rollouts.greedy[:] = 1.0
    rollouts.left[:] = [3, 100, 100, 100]
    likely = np.full((4, len(LAYERS.classes), *CELLS_OF.shape), 0.01, np.float32)
    for step in range(20):
        rollouts.step(likely)
        if step == 2:
            assert rehearsal.evidence.looks[0].sum() == 0
    assert rehearsal.taken[1:].reshape(3, -1).sum(axis=1).tolist() == [20, 20, 20]


class TestFiles:
    def test_what_is_kept_comes_back(self, file):
        held = weights.load(file)
        assert held.specimen == "bifeo3"
        assert len(held.members) == 2
        assert held.member() is held.members[1]
        evidence = Evidence(CELLS_OF, len(LAYERS.names))
        first, second = (probabilities(m, evidence) for m in held.members)
        assert not np.allclose(first, second)

    def test_a_member_that_is_not_there_is_refused(self, file):
        with pytest.raises(ValueError, match="the file has 2"):
            weights.load(file).member(2)

    def test_a_file_cut_short_is_refused(self, file, tmp_path):
        cut = tmp_path / "cut.safetensors"
        cut.write_bytes(file.read_bytes()[:-100])
        with pytest.raises(ValueError, match="damaged"):
            weights.load(cut)

    def test_a_file_of_something_else_is_refused(self):
        from stemscout.agents.perception.dcnn.weights import path_of

        with pytest.raises(ValueError, match="no belief"):
            weights.load(path_of("graphene"))

    def test_what_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="no belief 'nothing'"):
            weights.path_of("nothing")


def test_what_was_looked_at_is_told_to_the_network():
    evidence = Evidence(CELLS_OF, len(LAYERS.names))
    assert encoded(evidence).shape == (1, 2 + len(LAYERS.names), *CELLS_OF.shape)
    under = CELLS_OF.under(np.zeros((1, 2)))
    sighted = np.full((1, len(LAYERS.names), BLOCKS, BLOCKS), 9.0, np.float32)
    evidence.add(np.zeros(1, np.int64), under, sighted)
    given = encoded(evidence)[0]
    assert given[0].sum() == BLOCKS**2
    assert given[2:].max() == 4.0
