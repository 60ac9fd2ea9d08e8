"""From what a network says to what is claimed, at the hand of one that says the truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.agents.perception.dcnn import claims
from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth, pixels_of
from stemscout.agents.perception.dcnn.polarisation import polarisation
from stemscout.agents.perception.dcnn.scenes import Scene
from stemscout.agents.perception.dcnn.scoring import displacements
from stemscout.agents.perception.dcnn.segmenter import Segmentation
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.specimens.outlines import inside

EVERYWHERE = np.ones((64, 64), dtype=bool)


@pytest.fixture(scope="module", params=LEGENDS)
def truth(request):
    return Truth.of(specimen_module(request.param).generate(2, "easy"))


def frame(truth, centre, angle=0.0, pixels=64):
    side = 64 * truth.legend.pixel_nm
    return ScanRequest(tuple(centre), (side, side), (pixels, pixels), 10.0, angle)


def test_points_are_claimed_where_they_are_and_as_what_they_are(truth, told):
    specimen = truth.specimen
    for place, of in zip(specimen.feature_yx_nm, specimen.feature_class, strict=True):
        if specimen.classes[of].shape != "point":
            continue
        request = frame(truth, place + 0.2, pixels=96)
        found = claims.points(told(truth, request), 0.5)
        at = pixels_of(place[None], request, (96, 96))[0]
        near = [f for f in found if np.hypot(*(f.points_px[0] - at)) < 3]
        assert [f.of.name for f in near] == [specimen.classes[of].name]
        assert near[0].confidence > 0.5


def test_of_two_classes_at_one_place_the_likelier_is_claimed(told):
    truth = Truth.of(specimen_module("graphene").generate(2, "easy"))
    specimen = truth.specimen
    of = specimen.class_names.index("si3")
    place = specimen.feature_yx_nm[specimen.feature_class == of][0]
    seen = told(truth, frame(truth, place))
    both = seen.probability.copy()
    names = truth.legend.channels
    both[names.index("si4")] = 0.7 * both[names.index("si3")]
    found = claims.points(replace(seen, probability=both), 0.3)
    assert [f.of.name for f in found if np.hypot(*(f.points_px[0] - 31.5)) < 3] == ["si3"]


def test_lines_follow_their_outline(truth, told):
    specimen = truth.specimen
    for outline in specimen.outlines:
        of = specimen.classes[outline.feature_class]
        if of.shape != "segment":
            continue
        path = outline.path_yx_nm
        dense = cKDTree(np.concatenate([np.linspace(a, b, 200) for a, b in pairwise(path)]))
        place = path[len(path) // 2]
        request = frame(truth, place)
        found = [f for f in claims.lines(told(truth, request), EVERYWHERE) if f.of.name == of.name]
        assert found
        for claim in found:
            nm = (claim.points_px + 0.5) * truth.legend.pixel_nm - 32 * truth.legend.pixel_nm
            apart, _ = dense.query(nm + place)
            assert np.median(apart) < 0.3 * of.tolerance_nm
            assert apart.max() < of.tolerance_nm
        length = sum(np.hypot(*np.diff(f.points_px, axis=0).T).sum() for f in found)
        assert 30 < length < 200


def test_lines_are_claimed_where_they_are_new(truth, told):
    specimen = truth.specimen
    walls = [o for o in specimen.outlines if specimen.classes[o.feature_class].shape == "segment"]
    if not walls:
        pytest.skip("it has no lines")
    place = walls[0].path_yx_nm[len(walls[0].path_yx_nm) // 2]
    seen = told(truth, frame(truth, place))
    new = EVERYWHERE.copy()
    new[:32] = False
    for claim in claims.lines(seen, new):
        assert claim.points_px[:, 0].min() > 29
    assert claims.lines(seen, ~EVERYWHERE) == []


def test_cells_are_claimed_by_area_and_inclusions_are_none(told):
    truth = Truth.of(specimen_module("nio_lsmo").generate(2, "easy"))
    specimen = truth.specimen
    for name, expected in (("pillar", True), ("inclusion", False)):
        of = specimen.class_names.index(name)
        outline = next(
            o
            for o in specimen.outlines
            if o.feature_class == of and np.abs(o.path_yx_nm).max() < 0.8 * 14.4
        )
        place = outline.path_yx_nm.mean(axis=0)
        side = 2.0 * np.ptp(outline.path_yx_nm, axis=0).max()
        request = ScanRequest(tuple(place), (side, side), (64, 64), 10.0)
        shape = (round(side / truth.legend.pixel_nm),) * 2
        seen = told(truth, request, shape)
        found = claims.areas(seen, np.ones(shape, dtype=bool))
        inner = [f for f in found if _holds(f.points_px, (31.5, 31.5))]
        assert bool(inner) == expected


class TestCells:
    """Patches of an area, drawn by hand."""

    legend = LEGENDS["nio_lsmo"]

    def seen(self, values):
        every = np.zeros((len(self.legend.channels), *values.shape), dtype=np.float32)
        every[self.legend.channels.index("NiO")] = values
        pixel = (self.legend.pixel_nm,) * 2
        return Segmentation(self.legend, every, np.zeros_like(every), pixel, (1.0, 1.0))

    def held(self, found, shape=(64, 64)):
        pixels = np.moveaxis(np.indices(shape, dtype=float), 0, -1).reshape(-1, 2)
        return [inside(pixels, f.points_px).reshape(shape) for f in found]

    def test_a_hole_is_cut_out(self):
        values = np.zeros((64, 64), dtype=np.float32)
        values[8:56, 8:56] = 0.9
        values[20:30, 20:30] = values[36:44, 40:48] = 0.1
        found = claims.areas(self.seen(values), EVERYWHERE)
        (held,) = self.held(found)
        assert (held == (values > 0.5)).mean() > 0.99
        assert found[0].confidence == pytest.approx(0.9)

    def test_each_is_as_sure_as_itself(self):
        values = np.zeros((64, 64), dtype=np.float32)
        values[5:25, 5:25], values[35:60, 35:60] = 0.55, 0.97
        found = claims.areas(self.seen(values), EVERYWHERE)
        assert sorted(f.confidence for f in found) == [pytest.approx(0.55), pytest.approx(0.97)]

    def test_what_was_looked_at_before_is_not_claimed_again(self):
        """Though what is new goes all around it."""
        values = np.full((64, 64), 0.9, dtype=np.float32)
        before = np.zeros((64, 64), dtype=bool)
        before[20:44, 16:40] = True
        first = self.held(claims.areas(self.seen(values), before))
        rest = self.held(claims.areas(self.seen(values), ~before))
        times = np.sum([*first, *rest], axis=0)
        assert (times == 1).mean() > 0.97, "all of it once"
        assert times.max() == 1

    def test_a_piece_in_the_hole_of_another_is_one_of_its_own(self):
        values = np.full((64, 64), 0.9, dtype=np.float32)
        values[10:54, 10:54] = 0.0
        values[22:42, 22:42] = 0.8
        found = claims.areas(self.seen(values), EVERYWHERE)
        assert [round(f.confidence, 2) for f in found] == [0.9, 0.8]
        assert np.array_equal(np.sum(self.held(found), axis=0) > 0, values > 0.5)

    def test_what_is_less_likely_is_claimed_where_that_is_asked_for(self):
        values = np.zeros((64, 64), dtype=np.float32)
        values[10:40, 10:40] = 0.3
        assert claims.areas(self.seen(values), EVERYWHERE) == []
        (found,) = claims.areas(self.seen(values), EVERYWHERE, 0.2)
        assert found.confidence == pytest.approx(0.3)


def _holds(polygon, point):
    return bool(inside(np.array([point]), np.asarray(polygon, dtype=float))[0])


def test_columns_are_counted(truth, told):
    if not truth.legend.kinds:
        pytest.skip("its columns are not resolved")
    request = frame(truth, (0.3, -0.2), 0.4)
    seen = told(truth, request)
    for k, kind in enumerate(truth.legend.kinds):
        at = pixels_of(truth.columns_yx_nm[truth.column_channel == k], request, (64, 64))
        inner = ((at > 0) & (at < 63)).all(axis=1).sum()
        around = ((at > -2) & (at < 65)).all(axis=1).sum()
        assert inner <= len(claims.columns(seen)[kind].height) <= around


def test_no_two_columns_stand_at_one_place(truth, told):
    """Where two kinds are likely there is the likelier one, and it alone."""
    kinds = truth.legend.kinds
    if len(kinds) < 2:
        pytest.skip("there is one kind at most")
    seen = told(truth, frame(truth, (0.3, -0.2), 0.4))
    alone = claims.columns(seen)
    doubtful = seen.probability.copy()
    doubtful[: len(kinds)] = np.maximum(doubtful[: len(kinds)], 0.6 * doubtful[: len(kinds)].max(0))
    for kind, found in claims.columns(replace(seen, probability=doubtful)).items():
        assert (found.yx_px == alone[kind].yx_px).all()


def test_polarisation_is_the_specimens(told):
    """In each domain: within a quarter of what iron is displaced by; near walls corners differ."""
    truth = Truth.of(specimen_module("bifeo3").generate(2, "easy"))
    specimen = truth.specimen
    iron = [k.name for k in specimen.kinds].index("Fe")
    for centre in ((0.0, 0.0), (6.0, -8.0), (-9.0, 9.0)):
        request = frame(truth, centre)
        at, vectors = polarisation(told(truth, request))
        assert len(at) > 8
        places = (at + 0.5) * truth.legend.pixel_nm - 32 * truth.legend.pixel_nm + centre
        columns = specimen.positions_yx_nm[specimen.kind == iron]
        moved = specimen.displacement_yx_nm[specimen.kind == iron]
        _, nearest = cKDTree(columns).query(places)
        size = np.linalg.norm(moved, axis=1).max()
        assert np.sqrt(((vectors - moved[nearest]) ** 2).sum(axis=1).mean()) < 0.25 * size


def test_displacements_are_those_of_the_true_columns(told):
    """Told perfectly, within a twentieth of what iron is displaced by."""
    truth = Truth.of(specimen_module("bifeo3").generate(2, "easy"))
    specimen = truth.specimen
    iron = [k.name for k in specimen.kinds].index("Fe")
    size = np.linalg.norm(specimen.displacement_yx_nm[specimen.kind == iron], axis=1).max()
    centres = ((0.0, 0.0), (6.0, -8.0), (-9.0, 9.0))
    shown = [Scene(None, truth, frame(truth, centre)) for centre in centres]
    requests = iter(scene.request for scene in shown)
    perfect = SimpleNamespace(
        legend=truth.legend, look=lambda image, pixel: told(truth, next(requests))
    )
    found = displacements(perfect, shown)
    assert found["cells"] > 20
    assert found["found"] == found["cells"]
    assert found["rms_nm"] < 0.05 * size


def odd(truth, told, place):
    """Sizes of the rings about a place that are not six-membered."""
    sizes = claims.ring_sizes(told(truth, frame(truth, place)))
    assert (sizes == 6).sum() > 10
    return sorted(sizes[sizes != 6].tolist())


def test_rings_of_a_net_are_six_but_at_what_breaks_it(told):
    truth = Truth.of(specimen_module("graphene").generate(2, "easy"))
    specimen = truth.specimen
    # 2 nm from any feature, boundary and contamination there is the perfect sheet.
    spots = np.random.default_rng(0).uniform(-10, 10, (400, 2))
    lines = np.concatenate([o.path_yx_nm for o in specimen.outlines] or [np.empty((0, 2))])
    trouble = np.concatenate([specimen.feature_yx_nm, lines])
    far = [p for p in spots if np.hypot(*(trouble - p).T).min() > 2.0]
    assert odd(truth, told, far[0]) == []
    for name, expected in (("stone-wales", [5, 5, 7, 7]), ("divacancy 5-8-5", [5, 5, 8])):
        of = specimen.class_names.index(name)
        alone = [
            p
            for p in specimen.feature_yx_nm[specimen.feature_class == of]
            if np.sort(np.hypot(*(trouble - p).T))[1] > 1.5
        ]
        assert odd(truth, told, alone[0]) == expected


def test_columns_that_form_no_net_have_no_rings(told):
    truth = Truth.of(specimen_module("bifeo3").generate(2, "easy"))
    assert len(claims.ring_sizes(told(truth, frame(truth, (0.0, 0.0))))) == 0
