"""A recorded image replayed: its own pixels, charged each time they are read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.hardware import ScanRequest
from stemscout.simulators.recorded import RecordedMicroscope

IMAGE = np.random.default_rng(0).integers(0, 255, (60, 80)).astype(np.uint8)
PIXEL = 0.046


def opened(**options):
    m = RecordedMicroscope(IMAGE, PIXEL, **options)
    m.open()
    return m


def frame_at(y, x, side=12):
    return ScanRequest((y, x), (side * PIXEL,) * 2, (side, side), 10.0, detectors=("recorded",))


@given(top=st.integers(0, 48), left=st.integers(0, 68))
def test_frames_on_the_grid_are_the_pixels(top, left):
    centre = ((top + 6 - 30) * PIXEL, (left + 6 - 40) * PIXEL)
    frame = opened().acquire(frame_at(*centre))
    assert np.array_equal(frame.image, IMAGE[top : top + 12, left : left + 12])
    assert frame.region.centre_yx_nm == pytest.approx(centre, abs=1e-12)


@given(y=st.floats(-1.1, 1.1), x=st.floats(-1.5, 1.5))
def test_frames_off_the_grid_snap_and_say_so(y, x):
    frame = opened().acquire(frame_at(y, x))
    off = np.subtract(frame.region.centre_yx_nm, (y, x))
    assert (np.abs(off) <= PIXEL / 2 + 1e-9).all()
    again = opened().acquire(frame_at(*frame.region.centre_yx_nm))
    assert np.array_equal(frame.image, again.image)


def test_reading_again_is_charged_again():
    m = opened()
    costs = [m.acquire(frame_at(0.0, 0.0)).charge_e for _ in range(3)]
    assert costs[0] == costs[1] == costs[2] > 0


def test_charge_is_one_dose_for_each_pixel():
    m = opened(dwell_us=10.0, beam_current_pa=50.0)
    assert m.acquire(frame_at(0.0, 0.0)).charge_e == pytest.approx(144 * 10.0 * 50.0 * 6.241509074)


def test_no_noise_unless_asked_for():
    assert np.array_equal(
        opened().acquire(frame_at(0, 0)).image, opened().acquire(frame_at(0, 0)).image
    )
    noisy = opened(electrons=200.0, rng=1)
    a, b = (noisy.acquire(frame_at(0, 0)).image for _ in range(2))
    assert not np.array_equal(a, b)
    many = np.mean([noisy.acquire(frame_at(0, 0)).image for _ in range(400)], axis=0)
    assert many == pytest.approx(IMAGE[24:36, 34:46], abs=4.0)


def test_full_scale_is_the_range_of_eight_bits_or_of_the_values():
    assert opened().full_scale == (0.0, 255.0)
    twelve_bits = RecordedMicroscope(IMAGE.astype(np.uint16) * 16, PIXEL)
    assert twelve_bits.full_scale == (IMAGE.min() * 16.0, IMAGE.max() * 16.0)
    floats = RecordedMicroscope(IMAGE / 255.0, PIXEL)
    assert floats.full_scale == (IMAGE.min() / 255.0, IMAGE.max() / 255.0)


def test_black_and_white_images_are_images():
    assert RecordedMicroscope(IMAGE > 100, PIXEL).full_scale == (0.0, 1.0)


@pytest.mark.parametrize(
    ("image", "pixel", "sentence"),
    [
        (np.zeros((4, 4, 3)), 0.1, r"shape \(4, 4, 3\); it must have two dimensions"),
        (np.full((8, 8), 3.0), 0.1, r"the image is constant \(3\)"),
        (np.where(np.eye(8) > 0, np.nan, 1.0), 0.1, "8 of the image's 64 pixels are NaN"),
        (np.zeros((0, 4)), 0.1, "holds no pixel"),
        (IMAGE * 1e-3 + 1e9, 0.1, "lose their contrast in single precision"),
        (IMAGE * 1e300, 0.1, "lose their contrast in single precision"),
        (IMAGE.astype(complex), 0.1, "it must hold real numbers"),
        (IMAGE, 1e-9, "between 0.0001 and 1e"),
        (IMAGE, float("inf"), "pixel size inf nm"),
        (IMAGE, 0.0, "pixel size 0.0 nm; it must be above 0"),
        (IMAGE, -1.0, "pixel size -1.0 nm"),
        (IMAGE, float("nan"), "pixel size nan nm"),
        (np.array([["a", "b"]]), 0.1, "it must hold real numbers"),
    ],
)
def test_bad_images(image, pixel, sentence):
    with pytest.raises(ValueError, match=sentence):
        RecordedMicroscope(image, pixel)
