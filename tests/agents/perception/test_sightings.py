"""Sightings: what was seen, and where in the frame."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth
from stemscout.agents.perception.dcnn.sighting import sighted
from stemscout.agents.perception.sightings import BLOCKS, Layers, pieces
from stemscout.agents.perception.true import TruePerception
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.specimens import specimen_module

SCORED = {
    "graphene": "StemScout/GrapheneDefects-v0",
    "mos2": "StemScout/MoS2Defects-v0",
    "nio_lsmo": "StemScout/NiOPillars-v0",
    "bifeo3": "StemScout/FerroelectricDomains-v0",
    "nanoparticles": "StemScout/Nanoparticles-v0",
}


@pytest.mark.parametrize("name", LEGENDS)
def test_layers_are_the_classes_and_the_areas_that_are_no_class(name):
    layers = Layers.of(name)
    assert layers.classes == specimen_module(name).CLASSES
    assert not set(layers.areas) & set(LEGENDS[name].as_area.values())
    assert len(set(layers.names)) == len(layers.names)


def test_of_what_no_network_tells_nothing_is_sighted():
    with pytest.raises(ValueError, match="graphene"):
        Layers.of("composite")


@pytest.mark.parametrize("name", SCORED)
def test_every_feature_is_one_however_many_pieces_it_has(name):
    specimen = specimen_module(name).generate(3, "medium")
    yx, feature, amount = pieces(specimen)
    assert np.allclose(np.bincount(feature, amount), 1.0)
    off = np.abs(yx - specimen.feature_yx_nm[feature]).max(axis=1)
    size = np.array([c.size_nm for c in specimen.classes])[specimen.feature_class[feature]]
    assert (off <= size / 2).all()


@pytest.fixture(scope="module", params=SCORED)
def raster(request, context_of):
    """True sightings of all frames of a raster, with the frames and the specimen."""
    context, frames, specimen = context_of(SCORED[request.param], budget=1.0)
    perception = TruePerception()
    perception.reset(context, 0)
    return perception.sightings(frames), frames, specimen


def test_a_raster_sights_every_feature_once(raster):
    sightings, _, specimen = raster
    layers = Layers.of(specimen.name)
    assert sightings.shape[1:] == (len(layers.names), BLOCKS, BLOCKS)
    count = np.bincount(specimen.feature_class, minlength=len(layers.classes))
    total = sightings.sum(axis=(0, 2, 3))[: len(layers.classes)]
    assert np.allclose(total, count, atol=0.2)


def test_a_network_that_says_the_truth_sights_it_too(raster, told):
    """Frame by frame, for blobs and bands reach from one block into the next."""
    sightings, frames, specimen = raster
    layers, truth = Layers.of(specimen.name), Truth.of(specimen)
    even = dict.fromkeys(layers.names, 0.5)
    own, other = [], []
    for frame, sighting in list(zip(frames, sightings, strict=True))[::3]:
        region = frame.region
        request = ScanRequest(
            region.centre_yx_nm, region.fov_yx_nm, frame.request.shape_yx, 1.0, region.rotation_rad
        )
        own.append(sighted(told(truth, request), layers, even).sum(axis=(1, 2)))
        other.append(sighting.sum(axis=(1, 2)))
    own, other = np.array(own), np.array(other)
    for k, name in enumerate(layers.names):
        if other[:, k].sum() > 1:
            assert np.corrcoef(own[:, k], other[:, k])[0, 1] > 0.6, name
            assert own[:, k].sum() == pytest.approx(other[:, k].sum(), rel=0.35, abs=3.0), name
