"""What a network says, over the picture that it was shown."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.legend import LEGENDS, Truth
from stemscout.agents.perception.dcnn.segmenter import Segmentation
from stemscout.hardware.microscope import ScanRequest
from stemscout.simulators.specimens import specimen_module
from stemscout.views import perception, style

EVEN = {n: 0.5 for legend in LEGENDS.values() for n in (*legend.features, *legend.as_area)}


@pytest.fixture(scope="module", params=LEGENDS)
def told(request):
    """What a perfect network says of a frame about a feature."""
    truth = Truth.of(specimen_module(request.param).generate(3, "medium"))
    side = 96 * truth.legend.pixel_nm
    place = tuple(truth.specimen.feature_yx_nm[0])
    painted = truth.painted(ScanRequest(place, (side, side), (96, 96), 1.0), (96, 96))
    pixel = (truth.legend.pixel_nm,) * 2
    return Segmentation(truth.legend, painted, np.zeros_like(painted), pixel, (2.0, 2.0))


def test_an_overlay_shows_what_it_counts(told):
    image = np.random.default_rng(0).normal(size=(192, 192))
    with style.figure(4, 4) as fig:
        axes = fig.subplots()
        count = perception.overlay(axes, image, told.legend.pixel_nm / 2, told, EVEN)
        assert style.png(fig)
    assert list(count) == [*told.legend.kinds, *told.legend.features, *told.legend.as_area]
    labels = " ".join(axes.get_legend_handles_labels()[1])
    assert any(count.values())
    for name, n in count.items():
        assert n == 0 or f"{name} ({n})" in labels
    for area in told.legend.areas:
        assert (area in labels) == bool((told.channel(area) > 0.5).any())
    assert all(0 <= t.xy[0] <= axes.get_xlim()[1] for t in axes.texts)


def test_every_kind_of_column_has_a_colour_of_its_own(told):
    """Of those that colour-blind people tell apart."""
    with style.figure(4, 4) as fig:
        axes = fig.subplots()
        perception.overlay(axes, np.zeros((96, 96)), told.legend.pixel_nm, told, EVEN)
    dots = [line.get_color() for line in axes.lines if line.get_marker() == "."]
    assert len(dots) == len(told.legend.kinds)
    assert len(set(dots)) == len(dots)
    assert set(dots) <= set(style.CLASS_COLOURS)


def test_features_below_the_threshold_are_left_out():
    truth = Truth.of(specimen_module("graphene").generate(3, "medium"))
    points = [c.name for c in truth.specimen.classes if c.shape == "point"]
    painted = np.full((len(truth.legend.channels), 64, 64), 1e-3, np.float32)
    k = truth.legend.channels.index(points[0])
    y, x = np.mgrid[:64, :64]
    painted[k] = 0.45 * np.exp(-0.1 * ((y - 30) ** 2 + (x - 30) ** 2))
    seen = Segmentation(truth.legend, painted, painted, (0.02, 0.02), (1.0, 1.0))
    for threshold, expected in ((0.4, 1), (0.5, 0)):
        with style.figure(4, 4) as fig:
            least = {**EVEN, points[0]: threshold}
            found = perception.overlay(fig.subplots(), painted[k], 0.02, seen, least)
        assert found[points[0]] == expected
