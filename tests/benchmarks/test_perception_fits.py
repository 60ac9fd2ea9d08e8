"""Autoencoders beside each other: what is measured of them is what it says."""

from __future__ import annotations

import sys
from dataclasses import asdict
from types import ModuleType

import numpy as np
import pytest
import torch

from stemscout.benchmarks import perception_fits
from stemscout.benchmarks.motifs import SYMMETRY
from stemscout.benchmarks.perception_fits import (
    TURNS_RAD,
    Fit,
    Patches,
    angle_error_deg,
    check,
    fits,
    lines,
    remarks,
)
from stemscout.benchmarks.perception_peers import (
    ATOMAI,
    AUTOENCODERS,
    OWN,
    PEERS,
    PYROVED,
    Encoded,
    at_hand,
)

MEASURED = ("error", "error_noiseless", "drift", "angle_deg", "probe")


@pytest.fixture(scope="module")
def patches():
    return Patches.made(70, 40, 5)


class Told:
    """One that is told what the patches are: pictures, angles and content as they are given."""

    def __init__(self, patches, pictures=None, wrong=0.0, seed=0):
        self.patches, self.pictures, self.wrong = patches, pictures, wrong
        self.rng = np.random.default_rng(seed)

    def encoded(self, given):
        count = self.patches.turned.shape[0]
        content = np.zeros((len(given), 2), np.float32)
        angles = np.zeros(len(given))
        if len(given) == count * len(TURNS_RAD):
            content = self.wrong * self.rng.normal(size=content.shape)
            begins = np.repeat(self.rng.uniform(0, 6, count), len(TURNS_RAD))
            thirds = self.rng.integers(0, 3, len(given)) * 2 * np.pi / SYMMETRY
            angles = begins + np.tile(TURNS_RAD, count) + thirds
        else:
            shown = len(given) == len(self.patches.train)
            kind = self.patches.train_kind if shown else self.patches.held_out_kind
            content = np.column_stack([np.cos(2 * np.pi * kind / 5), np.sin(2 * np.pi * kind / 5)])
        return Encoded(content, angles, given if self.pictures is None else self.pictures)


def test_patches_are_standardised_on_the_disc_and_nothing_beyond(patches):
    shown = patches.train[:, patches.disc]
    assert shown.mean() == pytest.approx(0.0, abs=1e-4)
    assert shown.std() == pytest.approx(1.0, abs=1e-4)
    assert not patches.held_out[:, ~patches.disc].any()
    assert not patches.disc[0, 0]
    assert patches.disc[0, 16]
    assert patches.turned.shape == (5, len(TURNS_RAD), 32, 32)


def test_who_is_told_everything_scores_as_well_as_can_be(patches):
    found = patches.score(Told(patches))
    assert found["error"] == found["drift"] == 0.0
    assert found["error_noiseless"] == pytest.approx(patches.noise)
    assert found["probe"] == 1.0
    assert found["angle_deg"] < 0.01


def test_an_error_is_a_share_of_the_variance(patches):
    mean = np.broadcast_to(patches.held_out[:, patches.disc].mean(), patches.held_out.shape)
    found = patches.score(Told(patches, pictures=mean))
    assert found["error"] == pytest.approx(1.0, abs=1e-4)
    without = patches.score(Told(patches, pictures=patches.noiseless))
    assert without["error"] == pytest.approx(patches.noise)
    assert without["error_noiseless"] == 0.0
    assert 0.02 < patches.noise < 0.2


def test_drift_is_a_share_of_the_spread(patches):
    """Unit circle: variance 1/2 along either axis; two places of noise are sqrt 2 of it apart."""
    found = patches.score(Told(patches, wrong=0.1))
    assert found["drift"] == pytest.approx(0.1 * np.sqrt(2 * 2), rel=0.3)


@pytest.mark.parametrize("sense", [1, -1])
def test_angles_may_begin_anywhere_and_turn_either_way(sense):
    begins = np.array([[0.3], [2.0], [-1.0]])
    assert angle_error_deg(begins + sense * TURNS_RAD, TURNS_RAD) < 1e-6
    off = np.radians(4.0) * np.where(np.arange(len(TURNS_RAD)) % 2, 1, -1)
    found = angle_error_deg(begins + sense * TURNS_RAD + off, TURNS_RAD)
    assert found == pytest.approx(4.0, rel=0.01)


def test_an_angle_that_says_nothing_is_35_degrees_off():
    said = np.random.default_rng(0).uniform(0, 2 * np.pi, (500, len(TURNS_RAD)))
    still = np.zeros((3, len(TURNS_RAD)))
    for of in (said, still):
        assert 28.0 < angle_error_deg(of, TURNS_RAD) < 40.0


def test_ours_is_held_alone_where_there_is_no_peer(patches):
    told = []
    first, second = fits(patches, 2, 2, (), lambda done, word: told.append((done, word)))
    assert told == [(k, OWN) for k in range(4)]
    assert (first.autoencoder, first.seed, second.seed, second.epochs) == (OWN, 0, 1, 2)
    assert first.drift < 0.1
    assert first.error != second.error
    (again,) = fits(patches, 1, 2, ())
    assert [getattr(again, n) for n in MEASURED] == [getattr(first, n) for n in MEASURED]


def test_peers_take_turns_and_draw_the_same_whoever_is_there(patches, monkeypatch):
    drawn, turns = {}, []

    def peer(name):
        class Peer(Told):
            def __init__(self, train, seed):
                super().__init__(patches)
                drawn[name, seed] = []

            def epoch(self):
                turns.append(name)
                drawn[name, max(s for n, s in drawn if n == name)].append(float(torch.rand(())))

        return Peer

    both = {"first": (ATOMAI, peer("first")), "second": (PYROVED, peer("second"))}
    monkeypatch.setattr(perception_fits, "AUTOENCODERS", both)
    state = torch.get_rng_state()
    fits(patches, 2, 2, PEERS)
    assert torch.equal(torch.get_rng_state(), state)
    assert turns == ["first", "second"] * 4
    together = drawn["second", 0] + drawn["second", 1]
    assert len(set(together)) == 4
    drawn.clear()
    fits(patches, 2, 2, (PYROVED,))
    assert drawn["second", 0] + drawn["second", 1] == together
    assert ("first", 0) not in drawn


@pytest.mark.parametrize(
    ("seeds", "epochs", "sentence"),
    [
        (0, 1, "0 seeds; there must be at least 1"),
        (1, 0, "0 epochs; there must be at least 1"),
    ],
)
def test_nothing_to_train_is_refused(seeds, epochs, sentence):
    with pytest.raises(ValueError, match=sentence):
        check(seeds, epochs)


def test_the_table_has_means_and_ranges_over_seeds():
    made = [
        Fit(name, seed, 5, took * (1 + seed), 0.2, 0.1, 0.01, 1.0, 0.9)
        for name, took in ((OWN, 2.0), ("other", 12.0))
        for seed in (0, 1)
    ]
    own, other = lines(made)
    assert own["autoencoder"] == OWN
    assert own["seeds"] == "2"
    assert own["s an epoch"] == "3.00 (2.00 to 4.00)"
    assert other["s an epoch"] == "18.00 (12.00 to 24.00)"
    assert lines(made[:1])[0]["error"] == "0.200"
    said = remarks(made, 0.0854)
    assert said[0].startswith("Noise is 0.085 of")
    assert said[1:] == ["An epoch of other takes 6.0 times as long as ours."]
    assert set(MEASURED) < set(asdict(made[0]))


def test_a_peer_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, ATOMAI.module, None)
    monkeypatch.setitem(sys.modules, PYROVED.module, ModuleType(PYROVED.module))
    there, said = at_hand()
    assert there == [PYROVED]
    (sentence,) = said
    assert sentence.startswith("AtomAI is left out: ")
    assert "atomai" in sentence


@pytest.fixture(params=[n for n, (peer, _) in AUTOENCODERS.items() if peer is not None])
def peer(request, patches, tmp_path, monkeypatch):
    """One of others that is installed, trained for an epoch."""
    of, make = AUTOENCODERS[request.param]
    pytest.importorskip(of.module)
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        network = make(patches.train, 3)
        network.before = network.encoded(patches.held_out)
        network.epoch()
    return network


def test_a_peer_learns_in_silence_and_leaves_no_file(peer, patches, capsys, tmp_path):
    after = peer.encoded(patches.held_out)
    assert not np.array_equal(after.content, peer.before.content)
    assert capsys.readouterr().out == ""
    assert not list(tmp_path.iterdir())


def test_a_peer_is_trained_by_one_optimiser_over_all_epochs(peer):
    """Its moments are those of every step so far, and are not begun anew with an epoch."""
    for epochs in (1, 2, 3):
        if epochs > 1:
            peer.epoch()
        if hasattr(peer, "trainer"):
            optimisers = list(peer.trainer.svi.optim.optim_objs.values())
        else:
            optimisers = [peer.model.optim]
        taken = {float(s["step"]) for o in optimisers for s in o.state.values()}
        assert taken == {float(epochs)}  # an epoch of so few patches is one batch


def test_a_peer_describes_patches_as_ours_does(peer, patches):
    found = peer.encoded(patches.held_out)
    own = AUTOENCODERS[OWN][1](patches.train, 0).encoded(patches.held_out)
    for of, expected in zip(found, own, strict=True):
        assert of.shape == expected.shape
        assert np.isfinite(of).all()
    assert found.pictures.std() > 0


def test_what_a_peer_reconstructs_is_what_it_decodes(peer, patches):
    """By its own method, which knows no angle but one for all; so one patch at a time."""
    found = peer.encoded(patches.held_out[:20])
    for k in range(3):
        z = torch.from_numpy(found.content[k : k + 1])
        angle = torch.tensor(float(found.angle_rad[k]))
        if hasattr(peer, "trainer"):
            decoded = peer.model.decode(z, angle=angle).numpy() * peer.span + peer.low
        else:
            from atomai.utils import transform_coordinates

            before = peer.model.x_coord
            peer.model.x_coord = transform_coordinates(before[None], angle[None])[0]
            decoded = peer.model.decode(z.numpy())
            peer.model.x_coord = before
        assert found.pictures[k] == pytest.approx(decoded[0], abs=1e-4)
