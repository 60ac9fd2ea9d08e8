"""What a network is to tell of a specimen, and the truth painted for it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.agents.perception.dcnn.atoms import peaks
from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth, pixels_of, specimen_points
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.specimens import specimen_module


@pytest.fixture(scope="module", params=LEGENDS)
def truth(request):
    module = specimen_module(request.param)
    return Truth.of(module.generate(1, "easy"))


def frame(truth, centre=(0.0, 0.0), angle=0.3, stretch=1.0):
    side = 64 * truth.legend.pixel_nm
    return ScanRequest(centre, (side * stretch, side), (64, 64), 10.0, angle)


def test_channels_have_names_of_their_own(truth):
    channels = truth.legend.channels
    assert len(set(channels)) == len(channels)
    classes = {c.name for c in truth.specimen.classes}
    assert set(truth.legend.features) | set(truth.legend.as_area) == classes
    assert set(truth.legend.as_area) <= classes


def test_the_networks_pixels_are_those_of_the_reference_frame(truth):
    module = specimen_module(truth.legend.specimen)
    assert truth.legend.pixel_nm == pytest.approx(module.FRAME_NM / module.FRAME_PX)


def test_pixels_and_places_are_each_others_inverse(truth):
    request = frame(truth, (1.0, -0.5), stretch=1.1)
    places = specimen_points(request, (16, 20)).reshape(-1, 2)
    expected = np.stack(np.meshgrid(np.arange(16), np.arange(20), indexing="ij"), -1)
    assert pixels_of(places, request, (16, 20)) == pytest.approx(expected.reshape(-1, 2))


def test_every_column_that_has_a_channel_is_a_blob_of_1_at_its_place(truth):
    if not truth.legend.kinds:
        pytest.skip("its columns are not resolved")
    request = frame(truth)
    painted = truth.painted(request, (64, 64))
    for k, _ in enumerate(truth.legend.kinds):
        at = pixels_of(truth.columns_yx_nm[truth.column_channel == k], request, (64, 64))
        at = at[((at > 2) & (at < 61)).all(axis=1)]
        found = peaks(painted[k], 0.5, 2.0).yx_px
        if len(at):
            distance, _ = cKDTree(found).query(at)
            assert distance.max() < 0.2


def test_columns_are_counted_once_however_many_atoms_they_have(truth):
    apart = cKDTree(truth.columns_yx_nm).query_pairs(0.05) if len(truth.columns_yx_nm) else ()
    assert not apart


def test_a_point_feature_is_painted_at_its_place(truth):
    specimen = truth.specimen
    for name in truth.legend.features:
        of = specimen.class_names.index(name)
        there = specimen.feature_yx_nm[specimen.feature_class == of]
        if specimen.classes[of].shape != "point" or not len(there):
            continue
        request = replace(frame(truth, angle=0.0), centre_yx_nm=tuple(there[0]))
        painted = truth.painted(request, (64, 64))[truth.legend.channels.index(name)]
        assert painted[31:33, 31:33].min() > 0.5


def test_a_line_is_painted_along_its_outline(truth):
    specimen = truth.specimen
    for outline in specimen.outlines:
        of = specimen.classes[outline.feature_class]
        if of.shape != "segment":
            continue
        for place in outline.path_yx_nm[:: max(1, len(outline.path_yx_nm) // 5)]:
            request = replace(frame(truth, angle=0.0), centre_yx_nm=tuple(place))
            painted = truth.painted(request, (64, 64))[truth.legend.channels.index(of.name)]
            assert painted[30:34, 30:34].max() > 0.9


def test_areas_are_there_and_not_everywhere(truth):
    specimen, legend = truth.specimen, truth.legend
    side = min(specimen.field_yx_nm)
    request = ScanRequest((0.0, 0.0), (side, side), (256, 256), 1.0)
    painted = truth.painted(request, (256, 256))
    for area in legend.areas:
        share = painted[legend.channels.index(area)].mean()
        assert 0.0 <= share < 0.9
        if area in ("particle", "NiO", "1T"):
            assert share > 0.02


def test_a_hole_in_graphene_is_vacuum():
    truth = Truth.of(specimen_module("graphene").generate(1, "easy"))
    specimen = truth.specimen
    of = specimen.class_names.index("hole")
    shares = []
    for place in specimen.feature_yx_nm[specimen.feature_class == of]:
        request = replace(frame(truth, angle=0.0), centre_yx_nm=tuple(place))
        painted = truth.painted(request, (64, 64))[truth.legend.channels.index("vacuum")]
        shares.append(painted[28:36, 28:36].mean())
    assert max(shares) == 1.0


def test_lone_and_paired_chalcogens_are_told_apart():
    truth = Truth.of(specimen_module("mos2").generate(1, "easy"))
    specimen = truth.specimen
    of = specimen.class_names.index("vs")
    place = specimen.feature_yx_nm[specimen.feature_class == of][0]
    nearest = np.linalg.norm(truth.columns_yx_nm - place, axis=1).argmin()
    assert truth.legend.kinds[truth.column_channel[nearest]] == "S"
    count = np.bincount(truth.column_channel)
    assert count[truth.legend.kinds.index("S2")] > 1000
