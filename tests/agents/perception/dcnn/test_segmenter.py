"""A network at work on pictures of any size and sampling."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.scenes import PIXELS
from stemscout.agents.perception.dcnn.segmenter import Segmenter
from stemscout.agents.perception.dcnn.weights import load, save


@pytest.fixture
def segmenter(weights_file):
    return Segmenter(weights_file)


@pytest.mark.parametrize(("pixels", "pixel_nm"), [(64, 1.5 / 64), (96, 1.0 / 64), (50, 0.03)])
def test_whatever_the_sampling_it_looks_at_its_own(segmenter, pixels, pixel_nm):
    image = np.random.default_rng(0).normal(size=(pixels, pixels))
    seen = segmenter.look(image, (pixel_nm, pixel_nm))
    rows = round(pixels * pixel_nm / segmenter.header.pixel_nm)
    assert seen.probability.shape[1:] == (rows, rows)
    assert seen.pixel_yx_nm[0] * rows == pytest.approx(pixels * pixel_nm)
    corner = seen.image_px(np.array([[-0.5, -0.5], [rows - 0.5, rows - 0.5]]))
    assert corner == pytest.approx(np.array([[-0.5, -0.5], [pixels - 0.5, pixels - 0.5]]))


def test_a_class_map_puts_features_before_columns_and_these_before_areas(segmenter):
    seen = segmenter.look(np.random.default_rng(0).normal(size=(64, 64)), (1.5 / 64,) * 2)
    names = seen.legend.channels
    area, column, feature = (
        names.index(among[0])
        for among in (seen.legend.areas, seen.legend.kinds, seen.legend.features)
    )
    told = np.zeros((len(names), 4, 4), dtype=np.float32)
    told[area], told[column, 1:], told[feature, 2:] = 0.9, 0.7, 0.6
    told[:, 3] = 0.4
    values = replace(seen, probability=told).class_map.values
    assert [int(v) - 1 for v in values[:, 0]] == [area, column, feature, -1]


def test_brightness_and_contrast_do_not_matter(segmenter):
    image = np.random.default_rng(0).normal(size=(64, 64))
    first, second = (
        segmenter.look(i, (0.0234375,) * 2).probability for i in (image, 40 * image + 1000)
    )
    assert first == pytest.approx(second, abs=1e-3)


@pytest.mark.parametrize(
    ("pixel_nm", "sentence"), [(0.008, "may be wrong of smaller"), (0.08, "does not look at")]
)
def test_beyond_what_it_was_trained_on_it_warns_once(weights_file, pixel_nm, sentence):
    segmenter = Segmenter(weights_file)
    image = np.random.default_rng(0).normal(size=(64, 64))
    trained = "the network for graphene was trained on 0.0117 to 0.0609 nm, and"
    with pytest.warns(UserWarning, match=f"{trained} {sentence}"):
        segmenter.look(image, (pixel_nm, pixel_nm))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter.look(image, (pixel_nm, pixel_nm))


@pytest.mark.filterwarnings("error::RuntimeWarning", "ignore:pixels of")
def test_however_coarse_its_pixels_an_image_costs_no_more_than_at_the_coarsest_trained(segmenter):
    """Seven of the network's pixels for each of its own; where it does not look, one."""
    image = np.random.default_rng(0).normal(size=(48, 32)).cumsum(axis=0)
    coarsest = segmenter.look(image, (PIXELS[1] * segmenter.header.pixel_nm,) * 2)
    assert image.size < coarsest.probability[0].size < 7 * image.size
    for pixels in ((0.08, 0.02), (0.8, 0.8), (4.6, 4.6), (1e6, 1e6)):
        seen = segmenter.look(image, pixels)
        assert seen.probability.shape[1:] == image.shape
        assert not seen.probability.any()
        assert (seen.pixel_yx_nm, seen.scale_yx) == (pixels, (1.0, 1.0))


def test_of_more_noise_than_it_is_good_at_it_warns_once(weights_file, tmp_path):
    members, header = load(weights_file)
    quiet = tmp_path / "quiet.safetensors"
    save(quiet, members, replace(header, card={"noise": 0.5}))
    segmenter, pixels = Segmenter(quiet), (header.pixel_nm,) * 2
    y, x = np.mgrid[:64, :64]
    clean = np.sin(y / 2) * np.sin(x / 2)
    noise = np.random.default_rng(0).normal(size=(64, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter.look(clean + 0.1 * noise, pixels)
    with pytest.warns(UserWarning, match="the network for graphene is reliable up to 50%"):
        segmenter.look(clean + 2.0 * noise, pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        segmenter.look(noise, pixels)


def test_pictures_that_are_too_small_are_refused(segmenter):
    with pytest.raises(ValueError, match=r"takes at least 0\.188 nm a side"):
        segmenter.look(np.zeros((4, 40)), (0.0234375,) * 2)
