"""Held-out instances: every class as often, each in a frame of its own, with the truth in place."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.legend import pixels_of
from stemscout.agents.perception.dcnn.scoring import atoms, score
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.benchmarks.instances import (
    FIRST,
    by_kernels,
    by_multislice,
    instances,
    scenes,
    window_of,
)
from stemscout.simulators.specimens import specimen_module


@pytest.fixture(scope="module", params=["graphene", "nio_lsmo", "nanoparticles"])
def some(request):
    return instances(request.param, 4)


def test_every_class_has_as_many(some):
    specimen = some[0].specimen
    of_class = [i.specimen.feature_class[i.feature] for i in some]
    assert np.bincount(of_class).tolist() == [4] * len(specimen.classes)


def test_fewer_are_the_first_of_more(some):
    name = some[0].specimen.name
    places = {(i.feature, *i.centre_yx_nm) for i in some}
    assert {(i.feature, *i.centre_yx_nm) for i in instances(name, 2)} <= places


def test_they_are_of_test_specimens_that_no_suite_has(some):
    assert all(i.specimen.seed[0] >= FIRST and i.specimen.seed[1] == 2 for i in some)


def test_the_feature_lies_in_the_frame_and_the_frame_in_the_field(some):
    module = specimen_module(some[0].specimen.name)
    offs = []
    for i in some:
        off = i.specimen.feature_yx_nm[i.feature] - i.centre_yx_nm
        assert np.abs(off).max() < 0.5 * module.FRAME_NM
        assert np.abs(i.centre_yx_nm).max() <= (i.specimen.field_yx_nm[0] - module.FRAME_NM) / 2
        offs.append(round(float(off[0]), 6))
    assert len(set(offs)) > 0.9 * len(offs)


def test_scenes_show_what_the_truth_says(some):
    """A column is brighter than what is about it, on average."""
    module = specimen_module(some[0].specimen.name)
    shape = (module.FRAME_PX, module.FRAME_PX)
    contrast = []
    for scene in scenes(some, by_kernels):
        assert scene.image.shape == shape
        at = pixels_of(scene.truth.specimen.positions_yx_nm, scene.request, shape)
        if scene.truth.legend.kinds:
            at = pixels_of(scene.truth.columns_yx_nm, scene.request, shape)
        near = np.round(at[((at >= 0) & (at <= shape[0] - 1)).all(axis=1)]).astype(int)
        contrast.append(scene.image[near[:, 0], near[:, 1]].mean())
    assert np.mean(contrast) > 0.2


def test_of_atoms_as_many_are_found_as_of_all_kinds_and_those_of_a_wrong_kind(some):
    segmenter = Segmenter(some[0].specimen.name)
    kinds = segmenter.legend.kinds
    if not kinds:
        pytest.skip("nothing is told of its columns")
    shown = list(scenes(some[:6], by_kernels))
    each, every = score(segmenter, shown), atoms(segmenter, shown)
    for count in ("true", "claimed"):
        assert getattr(every, count) == sum(getattr(each[kind], count) for kind in kinds)
    assert every.right >= sum(each[kind].right for kind in kinds)
    assert every.f1 > 0.97


def test_the_same_seed_gives_the_same_noise(some):
    first, again = (next(iter(scenes(some[:1], by_kernels, seed=3))).image for _ in range(2))
    other = next(iter(scenes(some[:1], by_kernels, seed=4))).image
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.slow
def test_multislice_sees_the_same_window(tmp_path):
    (instance,) = instances("graphene", 1)[:1]
    fast, _ = by_kernels(instance, None)
    exact, grid = by_multislice(instance, tmp_path)
    assert grid.shape_yx == window_of(instance, grid.sampling_nm)[1].shape_yx
    kept = list(tmp_path.rglob("*"))
    again, _ = by_multislice(instance, tmp_path)
    assert np.array_equal(exact, again)
    assert list(tmp_path.rglob("*")) == kept, "nothing was simulated again"
    step = round(specimen_module("graphene").SAMPLING_NM / grid.sampling_nm, 3)
    shown = exact if step == 1 else _every(exact, fast.shape)
    assert np.corrcoef(shown.ravel(), fast.ravel())[0, 1] > 0.9


def _every(image, shape):
    """At so many nodes over the same window."""
    from scipy.ndimage import zoom

    return zoom(image, (shape[0] / image.shape[0], shape[1] / image.shape[1]), order=1)


def test_a_class_that_is_too_rare_is_named(monkeypatch):
    monkeypatch.setattr("stemscout.benchmarks.instances.SPECIMENS", 1)
    with pytest.raises(ValueError, match="graphene: too few of "):
        instances("graphene", 10**6)
