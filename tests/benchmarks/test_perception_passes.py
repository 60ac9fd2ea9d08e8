"""Segmentation networks beside each other."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from stemscout.agents.perception.dcnn import weights
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.network import UNet
from stemscout.benchmarks import perception_fits, perception_passes, perception_peers
from stemscout.benchmarks.perception_passes import NEW, SHIPS, Pass, lines, passes, remarks
from stemscout.benchmarks.timing import in_turns_ms
from stemscout.commands.bench import app


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package with weights for graphene alone; they know nothing."""
    legend = LEGENDS["graphene"]
    header = weights.Header("graphene", legend.pixel_nm, legend.channels, (4, 6), 1)
    network = UNet(len(legend.channels), (4, 6))
    torch.nn.init.constant_(network.head.bias, -9.0)  # so that nothing is claimed
    weights.save(tmp_path / "graphene.safetensors", [network], header)
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)


@pytest.fixture
def nothing_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SHIPPED", tmp_path)


def test_calls_take_turns():
    called = []
    times = in_turns_ms([lambda n=n: called.append(n) for n in range(3)], repeats=2, warm=1)
    assert called == [2, 1, 0, 0, 1, 2, 2, 1, 0]
    assert times.shape == (3, 2)
    assert (times > 0).all()


def test_shipped_weights_are_taken_and_others_made(shipped):
    found = {f.network: f for f in passes((), repeats=2)}
    assert list(found) == [f"stemscout, {name}" for name in LEGENDS]
    graphene, mos2 = found["stemscout, graphene"], found["stemscout, mos2"]
    assert (graphene.weights, mos2.weights) == (SHIPS, NEW)
    assert mos2.parameters > 10 * graphene.parameters
    assert mos2.claims_ms is None
    for spread in (graphene.network_ms, graphene.image_ms, graphene.claims_ms, mos2.image_ms):
        median, slow = spread
        assert 0 < median <= slow
    assert all(f.weights == NEW for n, f in found.items() if n != "stemscout, graphene")


def test_atomais_networks_are_those_of_its_segmentor(nothing_shipped, monkeypatch, capsys):
    pytest.importorskip("atomai")
    monkeypatch.setattr(perception_passes, "SEGMENTERS", ("Unet",))
    monkeypatch.setattr(perception_passes, "LEGENDS", {"graphene": LEGENDS["graphene"]})
    ours, unet = passes((perception_peers.ATOMAI,), repeats=1)
    assert capsys.readouterr().out == ""
    assert (unet.network, unet.weights, unet.claims_ms) == ("AtomAI, Unet", NEW, None)
    assert unet.parameters > ours.parameters
    model = perception_peers.segmentor("Unet", 7)
    assert model.predict(np.ones((128, 128)), compute_coords=False).shape == (1, 128, 128, 7)


def test_the_table_and_what_has_to_be_known_of_it():
    own = Pass("stemscout, graphene", SHIPS, 330_000, (11.04, 12.0), (12.0, 13.0), (15.0, 16.0))
    other = Pass("stemscout, mos2", NEW, 330_000, (11.0, 12.0), (12.0, 13.0), None)
    peer = Pass("AtomAI, Unet", NEW, 590_000, (21.0, 22.0), (22.0, 23.0), None)
    first, second, _ = lines([own, other, peer])
    assert first["network, ms"] == "11.0 (12.0)"
    assert first["parameters"] == "0.33 million"
    assert (first["with claims, ms"], second["with claims, ms"]) == ("15.0 (16.0)", "")
    assert len(remarks([own])) == 1
    said = remarks([own, other, peer])
    assert said[1].startswith("The package has no weights for mos2: ")
    assert said[2].startswith("AtomAI's networks are new, too")
    assert remarks([other])[1].startswith("The package has no weights for any specimen: ")


def test_the_command_prints_both_tables_or_one_object(nothing_shipped, monkeypatch):
    """On few patches, and where no peer is installed."""
    patches = perception_fits.Patches.made(50, 20, 2)
    monkeypatch.setattr(perception_fits.Patches, "made", lambda *_, **__: patches)
    own = Pass("stemscout, graphene", NEW, 330_000, (11.0, 12.0), (12.0, 13.0), None)
    monkeypatch.setattr(perception_passes, "passes", lambda *_, **__: [own])
    said = "AtomAI is left out: No module named 'atomai'"
    monkeypatch.setattr(perception_peers, "at_hand", lambda: ([], [said]))
    call = ["perception", "--seeds", "1", "--epochs", "1"]
    shown = CliRunner().invoke(app, call)
    assert shown.exit_code == 0, shown.output
    for text in ("network, ms", "11.0 (12.0)", "s an epoch", "Noise is", said):
        assert text in shown.stdout
    plain = json.loads(CliRunner().invoke(app, [*call, "--json", "--no-peers"]).stdout)
    assert plain["left_out"] == []
    assert plain["passes"][0]["network_ms"] == [11.0, 12.0]
    assert plain["fits"][0]["autoencoder"] == "stemscout"
    assert plain["noise"] == pytest.approx(patches.noise)
