"""Linear perception: windows, Fourier magnitudes, components."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.perception.linear import DECOMPOSITIONS, LinearPerception
from stemscout.agents.perception.windows import fourier_magnitude, windows

SHOWN = SimpleNamespace(full_scale={"haadf": (0.0, 1.0)})  # all that it asks of a context


def lattice(period, count, seed, size=32, bright=1.0):
    """Images (count, size, size) of a square lattice at random phases."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    phases = rng.uniform(0, 2 * np.pi, (count, 2))
    images = [
        np.cos(2 * np.pi * y / period + a) + np.cos(2 * np.pi * x / period + b) for a, b in phases
    ]
    return bright * np.array(images) + rng.normal(0, 0.1, (count, size, size))


@given(side=st.integers(4, 16), step=st.integers(1, 8))
def test_windows_are_crops_in_raster_order(side, step):
    images = np.random.default_rng(0).random((2, 20, 24))
    cut = windows(images, side, step)
    rows = len(range(0, 20 - side + 1, step))
    columns = len(range(0, 24 - side + 1, step))
    assert cut.shape == (2, rows * columns, side, side)
    assert np.array_equal(
        cut[1, columns if rows > 1 else 0][:2, :2], images[1][step if rows > 1 else 0 :, :][:2, :2]
    )


def test_windows_larger_than_the_frame_are_refused():
    with pytest.raises(ValueError, match="windows of 16 px from frames of 8 x 20 px"):
        windows(np.zeros((1, 8, 20)), 16, 4)


def test_fourier_magnitude_shows_the_lattice_and_forgets_its_phase():
    a, b = fourier_magnitude(lattice(8.0, 2, 0))
    middle = a.shape[0] // 2
    peaks = np.argwhere(a > 0.5 * a.max()) - middle
    assert {tuple(p) for p in peaks} >= {(0, 4), (0, -4), (4, 0), (-4, 0)}
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


@pytest.fixture(params=DECOMPOSITIONS)
def perception(request):
    made = LinearPerception(request.param)
    made.reset(SHOWN, seed=3)
    return made


@pytest.fixture(scope="module")
def frames():
    """Twenty frames of one phase, and five of another."""
    return np.concatenate([lattice(8.0, 20, 1), lattice(5.0, 5, 2)])


def even(count):
    return np.full(count, 1 / count)


def pursued(perception, scores):
    """The default target: the component of the largest variance, its rare side positive."""
    return perception.rare * scores[:, perception.largest]


def fitted(perception, frames, shares=None):
    features = perception.magnitudes(frames)
    perception.fit(features, even(len(frames)) if shares is None else shares)
    return perception.describe(features)


def test_the_first_component_tells_the_phases_apart(perception, frames):
    scores = fitted(perception, frames)[:, 0]
    low, high = sorted([scores[:20], scores[20:]], key=np.mean)
    assert low.max() < high.min()


def test_the_rare_phase_is_the_positive_one(perception, frames):
    if perception.decomposition == "nmf":
        pytest.skip("NMF abundances are positive as they are")
    scores = fitted(perception, frames)[:, 0]
    assert scores[20:].mean() > scores[:20].mean()


def test_what_is_rare_in_the_field_stays_rare_when_the_search_has_found_it(perception, frames):
    """Sixty-five frames of the rare phase, but they stand for a fifth of the field."""
    many = np.concatenate([frames, lattice(5.0, 60, 3)])
    shares = np.concatenate([np.full(20, 0.8 / 20), np.full(65, 0.2 / 65)])
    scores = pursued(perception, fitted(perception, many, shares))
    if perception.decomposition != "nmf":
        assert scores[20:].mean() > scores[:20].mean()


def test_components_come_in_the_order_of_variance(perception, frames):
    scores = fitted(perception, frames)
    lengths = np.linalg.norm(perception.components.reshape(len(scores[0]), -1), axis=1)
    assert perception.largest == 0
    assert (np.diff((scores * lengths).var(axis=0)) <= 1e-9).all()


def test_same_seed_same_scores(frames):
    first, second = LinearPerception("nmf"), LinearPerception("nmf")
    for p in (first, second):
        p.reset(SHOWN, seed=7)
    assert np.array_equal(fitted(first, frames), fitted(second, frames))


def test_fewer_frames_than_components(perception):
    features = perception.magnitudes(lattice(8.0, 1, 0, size=8))
    perception.fit(features, even(len(features)))
    assert np.isfinite(perception.describe(features)).all()
    assert len(perception.components) <= 4


def test_constant_frames_do_no_harm(perception):
    features = perception.magnitudes(np.ones((3, 16, 16)))
    perception.fit(features, even(len(features)))
    assert np.isfinite(perception.describe(features)).all()


def test_odd_frames_of_a_recording(perception):
    """27 px, as of a 435 px image: windows of 14 px at 75 % overlap."""
    features = perception.magnitudes(np.random.default_rng(0).random((2, 27, 27)))
    assert features.shape == (2, 16, 8, 8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"decomposition": "magic"},
            "unknown decomposition 'magic'; there are: pca, svd, nmf, ica",
        ),
        ({"n_components": 0}, "0 components"),
        ({"window": 0.0}, "window 0.0"),
        ({"overlap": 1.0}, "overlap 1.0"),
    ],
)
def test_bad_settings(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        LinearPerception(**options)
