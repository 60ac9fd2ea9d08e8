"""Windows of frames, and what is kept of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import zoom

from stemscout.agents.perception.windows import (
    Display,
    fourier_magnitude,
    magnitude,
    radial_power,
    reflections,
    side_of,
    structure_factors,
    windows,
)


def lattice(period, seed=0, size=32, angle=0.0, count=1):
    """Images (count, size, size) of a square lattice at random phases."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - size / 2
    y, x = y * np.cos(angle) - x * np.sin(angle), y * np.sin(angle) + x * np.cos(angle)
    phases = rng.uniform(0, 2 * np.pi, (count, 2))
    return np.array(
        [np.cos(2 * np.pi * y / period + a) + np.cos(2 * np.pi * x / period + b) for a, b in phases]
    ) + rng.normal(0, 0.05, (count, size, size))


@given(side=st.integers(4, 16), step=st.integers(1, 8))
def test_windows_are_crops_in_raster_order(side, step):
    images = np.random.default_rng(0).random((2, 20, 24))
    cut = windows(images, side, step)
    at = [(y, x) for y in range(0, 21 - side, step) for x in range(0, 25 - side, step)]
    assert cut.shape == (2, len(at), side, side)
    for k, (y, x) in enumerate(at):
        assert np.array_equal(cut[1, k], images[1, y : y + side, x : x + side])


def test_windows_larger_than_the_frame_are_refused():
    with pytest.raises(ValueError, match="windows of 16 px from frames of 8 x 20 px"):
        windows(np.zeros((1, 8, 20)), 16, 4)


@pytest.mark.parametrize(
    ("share", "shape", "side"),
    [(0.5, (64, 64), 32), (0.5, (27, 27), 14), (1.0, (27, 30), 27), (0.01, (64, 64), 4)],
)
def test_sides_are_even_where_they_can_be_and_fit_in(share, shape, side):
    assert side_of(share, *shape) == side


def test_fourier_magnitude_shows_the_lattice_and_forgets_its_phase():
    a, b = fourier_magnitude(lattice(8.0, count=2))
    middle = a.shape[0] // 2
    peaks = np.argwhere(a > 0.5 * a.max()) - middle
    assert {tuple(p) for p in peaks} >= {(0, 4), (0, -4), (4, 0), (-4, 0)}
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


def test_the_paper_zooms_the_cropped_spectrum_to_the_size_of_the_window():
    patches = lattice(8.0, count=3)
    plain, twice = fourier_magnitude(patches), fourier_magnitude(patches, zoom=2)
    assert plain.shape == (3, 16, 16)
    assert twice.shape == (3, 32, 32)
    assert np.allclose(twice[1], zoom(plain[1], 2))


def test_radial_power_has_its_peak_at_the_lattices_frequency_however_it_is_turned():
    straight, turned = (radial_power(lattice(8.0, angle=a))[0] for a in (0.0, 0.4))
    assert straight.shape == (16,)
    assert straight[2:].argmax() + 2 == 4  # 32 px / 8 px
    assert np.corrcoef(straight, turned)[0, 1] > 0.85


def test_radial_power_is_an_average_over_rings():
    patch = np.random.default_rng(0).random((1, 16, 16))
    power = magnitude(patch)[0] ** 2
    y, x = np.indices((16, 16)) - 8
    rings = np.round(np.hypot(y, x))
    expected = [np.log1p(power[rings == r].mean()) for r in range(8)]
    assert radial_power(patch)[0] == pytest.approx(expected)


def test_reflections_are_one_of_each_pair_and_the_strongest():
    power = (magnitude(lattice(8.0, count=8)) ** 2).mean(axis=0)
    found = reflections(power, 2) - 16
    assert {tuple(f) for f in found} == {(4, 0), (0, 4)}
    assert len(reflections(power, 5)) == 5
    assert not len(reflections(np.ones((16, 16)), 5)), "a constant has none"


def test_structure_factors_tell_how_strong_a_reflection_is_and_nothing_of_dose():
    square, other = lattice(8.0, count=2), lattice(5.0, seed=1, count=2)
    at = reflections((magnitude(square) ** 2).mean(axis=0), 2)
    strong, weak = (structure_factors(magnitude(p), at) for p in (square, other))
    assert strong.shape == (2, 2)
    assert (strong > 3 * weak).all()
    assert structure_factors(magnitude(7 * square), at) == pytest.approx(strong)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_spectra_of_constants_are_finite(value):
    patches = np.full((2, 8, 8), value)
    for found in (
        fourier_magnitude(patches),
        radial_power(patches),
        structure_factors(magnitude(patches), np.array([[5, 5]])),
    ):
        assert np.isfinite(found).all()


def test_frames_of_whatever_dwell_are_as_bright(frame_of):
    display = Display({"haadf": (0.0, 40.0)}, 10.0)
    image = np.random.default_rng(0).random((8, 8)) * 40.0
    plain = display.shown(frame_of(image))
    assert plain == pytest.approx(np.float32(image) / 40.0)
    thrice = frame_of(3.0 * image, valid_rows=5)
    longer = replace(thrice, request=replace(thrice.request, dwell_us=30.0))
    assert display.shown(longer)[:5] == pytest.approx(plain[:5])
    assert np.isnan(display.shown(longer)[5:]).all()
