"""Drift is followed, and what cannot be followed is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

from stemscout.envs.sources import SpecimenSource
from stemscout.hardware import LimitError, ScanRequest, Unsupported
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.drift import DriftCorrected, displacement
from stemscout.simulators.recorded import RecordedMicroscope

PATCH = ScanRequest((0.0, 0.0), (4.0, 4.0), (128, 128), 24.0)
FRAME = ScanRequest((5.0, -3.0), (1.5, 1.5), (64, 64), 24.0)


@pytest.fixture(scope="module")
def texture():
    rng = np.random.default_rng(0)
    return gaussian_filter(rng.normal(size=(96, 80)), 2.0)


@given(dy=st.floats(-9, 9), dx=st.floats(-9, 9), noise=st.floats(0, 0.5))
def test_a_displacement_is_found_to_a_fraction_of_a_pixel(texture, dy, dx, noise):
    rng = np.random.default_rng(1)
    now = shift(texture, (dy, dx), order=3, mode="nearest")
    now = now + noise * texture.std() * rng.normal(size=now.shape)
    moved, likeness = displacement(texture, now, 12.0)
    assert moved == pytest.approx((dy, dx), abs=0.35)
    assert likeness > 0.5


def test_something_else_is_not_alike(texture):
    other = gaussian_filter(np.random.default_rng(5).normal(size=texture.shape), 2.0)
    assert displacement(texture, other, 12.0)[1] < 0.3
    assert displacement(texture, np.zeros_like(texture), 12.0)[1] == 0.0


def drifting(speed=6.0):
    """A microscope over graphene whose specimen creeps by up to 1.5 nm."""
    drift = {"drift": {"speed_nm_per_min": speed, "max_nm": 1.5}}
    source = SpecimenSource("graphene", "easy", imperfections=drift)
    microscope = source.microscope(0, "train", 0, None)
    microscope.open()
    return microscope


def off(microscope, own, frames=60):
    """How far frames lie from where they should, in nm."""
    found = []
    for _ in range(frames):
        own.acquire(FRAME)
        exposure = microscope.last_exposure
        found.append(float(np.hypot(*exposure.shift_yx_nm)))
    return np.array(found)


def test_frames_stay_where_they_should():
    microscope = drifting()
    own = DriftCorrected(microscope, PATCH, every=1, most_nm=0.1)
    corrected = off(microscope, own)
    assert own.lost == 0
    assert np.hypot(*own.drift_yx_nm) > 1.0
    assert corrected.max() < 0.15


def test_the_patch_is_paid_for():
    microscope = drifting()
    own = DriftCorrected(microscope, PATCH, every=2)
    first, second = own.acquire(FRAME), own.acquire(FRAME)
    patch = microscope.costs.charge_e(PATCH, first.state.beam_current_pa)
    assert first.charge_e == pytest.approx(second.charge_e + patch)
    assert first.time_s > second.time_s


def test_it_is_told_before_which_frames_the_patch_is_due():
    own = DriftCorrected(drifting(), PATCH, every=2)
    due = []
    for _ in range(4):
        due.append(own.due)
        own.acquire(FRAME)
    assert due == [PATCH, None, PATCH, None]


def test_a_margin_narrows_the_field_for_what_follows(lattice_image):
    microscope = RecordedMicroscope(lattice_image, 0.05)
    whole = microscope.open().limits.field_yx_nm
    patch = ScanRequest((0.0, 0.0), (4.0, 4.0), (80, 80), 10.0, detectors=("recorded",))
    own = DriftCorrected(microscope, patch, every=1, margin_nm=0.5)
    field = own.open().limits.field_yx_nm
    assert field == pytest.approx((whole[0] - 1.0, whole[1] - 1.0))
    edge = replace(patch, centre_yx_nm=(field[0] / 2 - 2.0, 0.0))
    own.acquire(edge)
    microscope.image = np.roll(microscope.image, 5, axis=0)  # by 0.25 nm
    own.acquire(edge)
    assert own.drift_yx_nm == pytest.approx((0.25, 0.0), abs=0.02)
    beyond = replace(patch, centre_yx_nm=(field[0] / 2 - 1.9, 0.0))
    with pytest.raises(LimitError):
        own.acquire(beyond)
    microscope.image = np.roll(microscope.image, 5, axis=0)
    own.acquire(edge)
    microscope.image = np.roll(microscope.image, 5, axis=0)
    with pytest.raises(LimitError, match="further than the margin about the field allows for"):
        own.acquire(edge)


@pytest.mark.parametrize("margin", [-0.1, float("nan")])
def test_a_margin_of_no_use_is_refused(lattice_image, margin):
    with pytest.raises(ValueError, match="it must be at least 0"):
        DriftCorrected(RecordedMicroscope(lattice_image, 0.05), FRAME, margin_nm=margin)
    wide = DriftCorrected(RecordedMicroscope(lattice_image, 0.05), FRAME, margin_nm=1e3)
    with pytest.raises(ValueError, match="leaves nothing of the field"):
        wide.open()


def test_states_are_told_without_what_follows():
    microscope = drifting()
    own = DriftCorrected(microscope, PATCH, every=1, most_nm=0.1)
    for _ in range(20):
        frame = own.acquire(FRAME)
    assert np.hypot(*microscope.state().beam_shift_yx_nm) > 0.2
    assert own.state().beam_shift_yx_nm == pytest.approx((0.0, 0.0), abs=1e-9)
    assert frame.state.beam_shift_yx_nm == pytest.approx((0.0, 0.0), abs=1e-9)
    assert frame.metadata["drift_yx_nm"] == list(own.drift_yx_nm)


def test_a_patch_that_is_gone_changes_nothing(lattice_image):
    rng = np.random.default_rng(0)
    microscope = RecordedMicroscope(lattice_image, 0.05)
    patch = ScanRequest((0.0, 0.0), (4.0, 4.0), (80, 80), 10.0, detectors=("recorded",))
    own = DriftCorrected(microscope, patch, every=1)
    own.open()
    own.acquire(patch)
    microscope.image = rng.random(microscope.image.shape).astype(np.float32)
    own.acquire(patch)
    assert own.lost == 1
    assert own.drift_yx_nm == (0.0, 0.0)
    assert own.acquire(patch).metadata["drift_lost"]


def test_drift_beyond_the_beam_shift_is_told(lattice_image, monkeypatch):
    microscope = RecordedMicroscope(lattice_image, 0.05)
    limits = replace(microscope.capabilities.limits, beam_shift_nm=(-0.1, 0.1))
    microscope.capabilities = replace(microscope.capabilities, limits=limits)
    patch = ScanRequest((0.0, 0.0), (4.0, 4.0), (80, 80), 10.0, detectors=("recorded",))
    own = DriftCorrected(microscope, patch, every=1)
    own.open()
    own.acquire(patch)
    microscope.image = np.roll(microscope.image, 5, axis=0)
    with pytest.raises(LimitError, match=r"drifted by \(0\.2., .*further than the beam shift"):
        own.acquire(patch)


def test_without_a_beam_shift_it_is_refused(lattice_image):
    microscope = RecordedMicroscope(lattice_image, 0.05)
    limits = replace(microscope.capabilities.limits, beam_shift_nm=(0.0, 0.0))
    microscope.capabilities = replace(microscope.capabilities, limits=limits)
    with pytest.raises(Unsupported, match="cannot follow drift"):
        DriftCorrected(microscope, FRAME).open()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conformance(check, lattice_image, conforms):
    """It is a microscope like any other; the patch is looked at once."""
    wide = ScanRequest((0.0, 0.0), (4.0, 3.2), (80, 64), 10.0, detectors=("recorded",))
    own = DriftCorrected(RecordedMicroscope(lattice_image, 0.05), wide, every=10**9)
    own.open()
    own.acquire(wide)
    conforms(check, own, Bench(wide))
