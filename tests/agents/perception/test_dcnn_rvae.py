"""Atoms by a network, and a manifold of what is around each: at the hand of a perfect network."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth
from stemscout.agents.perception.dcnn.segmenter import Segmentation, Segmenter
from stemscout.agents.perception.dcnn_rvae import MOST, DcnnRvaePerception, cut_about
from stemscout.agents.perception.invariant_vae import InvariantVAE
from stemscout.agents.perception.rvae import RvaePerception
from stemscout.agents.perception.vae_training import Cut, save_weights
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.imperfections import Imperfections
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.world import Recipe, open_world, specimen_seed

PIXEL = 1.5 / 64


@pytest.fixture(scope="module")
def shown():
    """A frame of graphene about silicon, free of noise, and where its columns are."""
    world = open_world(Recipe("graphene", "easy", *specimen_seed(0, "train"), 24.0))
    specimen = world.specimen
    place = specimen.feature_yx_nm[specimen.feature_class == 0][0]
    request = ScanRequest(tuple(place), (1.5, 1.5), (64, 64), 40.0)
    microscope = SimulatedMicroscope(world, 0, imperfections=Imperfections(counting=None))
    scale = dict(microscope.open().full_scale)
    frame = microscope.acquire(request)
    truth = Truth.of(specimen)
    painted = truth.painted(request, (64, 64))
    seen = Segmentation(truth.legend, painted, np.zeros_like(painted), (PIXEL, PIXEL), (1.0, 1.0))
    return frame, scale, seen


def perception(shown, **options):
    _, scale, seen = shown
    made = DcnnRvaePerception(**options)
    made.segmenter = SimpleNamespace(
        specimen="graphene",
        legend=LEGENDS["graphene"],
        look=lambda image, pixel: seen,
        takes=Segmenter("graphene").takes,
    )
    classes = [c.name for c in specimen_module("graphene").CLASSES]
    made.reset(
        SimpleNamespace(
            class_names=tuple(classes),
            full_scale=scale,
            reference=SimpleNamespace(side_nm=1.5, shape_yx=(64, 64), dwell_us=40.0),
        ),
        0,
    )
    return made


def test_patches_are_centred_on_columns(shown):
    (patches,) = perception(shown).features(shown[:1])
    assert 20 < len(patches) <= MOST
    assert patches.shape[1:] == (32, 32)
    mean = patches.mean(axis=0)
    y, x = np.mgrid[:32, :32] - 15.5
    at = [
        (mean * (np.hypot(y, x) < 4) * w).sum() / (mean * (np.hypot(y, x) < 4)).sum()
        for w in (y, x)
    ]
    assert np.abs(at).max() < 0.3
    assert mean[14:18, 14:18].mean() > mean.mean()


def test_one_kind_of_column_may_be_chosen(shown):
    (silicon,) = perception(shown, kinds=["Si"]).features(shown[:1])
    (every,) = perception(shown).features(shown[:1])
    assert len(silicon) == 1
    assert silicon.max() == pytest.approx(every.max(), rel=0.3)


def test_it_learns_and_describes_column_by_column(shown):
    made = perception(shown)
    features = made.features([shown[0]] * 3)
    made.fit(features, np.full(3, 1 / 3))
    described = made.describe(features)
    assert [d.shape for d in described] == [(len(features[0]), 2)] * 3
    assert np.isfinite(np.concatenate(described)).all()


def test_a_frame_without_columns_or_numbers_has_no_patch(shown):
    frame, _, seen = shown
    made = perception(shown)
    made.segmenter.look = lambda image, pixel: replace(seen, probability=0 * seen.probability)
    assert made.features([frame])[0].shape == (0, 32, 32)
    broken = replace(frame, data={"haadf": np.full((64, 64), np.nan, np.float32)})
    assert perception(shown).features([broken])[0].shape == (0, 32, 32)
    assert perception(shown).features([replace(frame, valid_rows=16)])[0].shape == (0, 32, 32)


@pytest.mark.parametrize("shape", [(64, 3), (3, 64), (5, 64)])
def test_a_frame_that_is_too_small_for_the_network_has_no_patch(shown, shape):
    """Though patches of 0.05 nm would fit in; broken off after a few rows as well."""
    made = perception(shown, around_nm=0.02)
    frame, _, _ = shown
    if shape[1] == 64:
        few = replace(frame, valid_rows=shape[0])
    else:
        request = replace(frame.request, shape_yx=shape, fov_yx_nm=(1.5, 1.5 * shape[1] / 64))
        data = {k: v[:, : shape[1]] for k, v in frame.data.items()}
        few = replace(frame, request=request, data=data)
    with pytest.warns(UserWarning, match="takes at least 0.188 nm a side, and does not look"):
        (patches,) = made.features([few])
    assert len(patches) == 0


def test_one_kind_is_named_as_such(shown):
    assert perception(shown, kinds="Si").kinds == ("Si",)


def test_only_patches_that_touch_a_pixel_without_a_number_are_left_out(shown):
    frame, made = shown[0], perception(shown)
    whole = cut_of(made, frame)
    at = np.array([30, 33])
    data = frame.image.copy()
    data[tuple(at)] = np.nan
    kept = cut_of(made, replace(frame, data={"haadf": data}))
    reach = made.around_nm / PIXEL
    places = np.array(sorted(whole))
    apart = np.abs(places - at).max(axis=1)
    assert set(kept) >= set(map(tuple, places[apart > reach + 4]))
    assert not set(kept) & set(map(tuple, places[apart < reach]))
    image = made.display.shown(frame)
    filled = abs(image[tuple(at)] - np.median(image))
    for place in kept:  # the spline's tails are all that the missing pixel leaves
        assert kept[place] == pytest.approx(whole[place], abs=0.01 * float(filled))


def cut_of(made, frame):
    """Patches by the place (row, column) that they are about."""
    places = made._columns(made.segmenter.look(None, None))
    found = {}
    for place in places:
        made._columns = lambda seen, only=place: only[None]
        (patches,) = made.features([frame])
        if len(patches):
            assert np.isfinite(patches).all()
            found[tuple(place)] = patches[0]
    del made._columns
    return found


def test_weights_of_windows_or_of_another_reach_are_refused(tmp_path):
    path = tmp_path / "columns.safetensors"
    save_weights(path, InvariantVAE(), Cut("raw", around_nm=0.3), "graphene")
    assert DcnnRvaePerception(weights=str(path)).settings["weights"] == str(path)
    reach = (
        r"patches \(raw\) of 0\.3 nm about columns, and patches \(raw\) of 0\.25 nm about columns"
    )
    with pytest.raises(ValueError, match=f"trained on {reach} are asked for"):
        DcnnRvaePerception(weights=str(path), around_nm=0.25)
    columns = r"and patches \(raw\) of 0\.3 nm about columns are asked for"
    with pytest.raises(ValueError, match=rf"trained on windows \(fft\) of 0\.5 .*, {columns}"):
        DcnnRvaePerception(weights="graphene")
    with pytest.raises(ValueError, match=r"nm about columns, and windows \(raw\) of 0\.5 of the"):
        RvaePerception("raw", weights=str(path))


def test_cutting_is_exact_on_a_plane():
    y, x = np.mgrid[:40, :50].astype(float)
    cut = cut_about(2 * y + 3 * x, np.array([[20.25, 30.5]]), np.array([4.0, 6.0]), 8)
    steps = (np.arange(8) + 0.5) / 8 * 2 - 1
    expected = 2 * (20.25 + 4 * steps[:, None]) + 3 * (30.5 + 6 * steps[None, :])
    assert cut[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"around_nm": 0.0}, "around_nm is 0.0; it must be above 0 and finite"),
        ({"around_nm": "wide"}, "around_nm is 'wide'"),
        ({"network": "no.file"}, "there is no such file"),
        ({"latents": 0}, "0 latents"),
    ],
)
def test_bad_settings(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        DcnnRvaePerception(**options)


def test_kinds_that_the_network_does_not_find_are_refused(shown):
    with pytest.raises(ValueError, match="columns gold; the network for graphene finds: C, Si"):
        perception(shown, kinds=["gold"])
