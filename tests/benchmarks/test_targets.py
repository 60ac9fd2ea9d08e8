"""What there is to be found on each target, and that it is the same for all who look for it."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.outliers import otsu
from stemscout.benchmarks.targets import (
    ANALYTIC,
    IMAGES,
    NOISE,
    SIDE,
    TARGETS,
    context_for,
    make_target,
    missing,
    regions,
)

SEEDS = range(8)


def test_the_field_holds_64_x_64_candidates_half_a_frame_apart():
    context = context_for(500)
    candidates = Candidates.of(context)
    assert candidates.shape == (SIDE, SIDE) == (64, 64)
    for axis in candidates.axes_nm:
        assert np.diff(axis) == pytest.approx(context.reference.side_nm / 2)
    assert context.frames == 500


@pytest.mark.parametrize("name", ANALYTIC)
def test_a_seed_repeats_a_target_and_another_makes_another(name):
    first, again, other = make_target(name, 3), make_target(name, 3), make_target(name, 4)
    assert first.digest == again.digest
    assert np.array_equal(first.values, again.values)
    assert np.array_equal(first.observed, again.observed)
    assert not np.array_equal(first.observed, other.observed)
    if name != "flat":
        assert first.digest != other.digest


@pytest.mark.parametrize("name", ANALYTIC)
def test_noise_is_a_twentieth_of_the_peak_and_each_candidates_own(name):
    target = make_target(name, 0)
    noise = target.observed - target.values
    assert noise.std() == pytest.approx(NOISE, rel=0.05)
    assert abs(noise.mean()) < 4 * NOISE / SIDE
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.1


@pytest.mark.parametrize("name", [n for n in ANALYTIC if n != "flat"])
def test_values_end_at_1_and_every_feature_can_be_found(name):
    for seed in SEEDS:
        target = make_target(name, seed)
        assert target.values.shape == (SIDE, SIDE)
        assert 0.9 < target.values.max() <= 1.0
        assert target.values.min() >= 0.0
        assert target.features
        assert all(len(f) for f in target.features)


@pytest.mark.parametrize(("name", "count"), [("bumps", 20), ("needle", 1), ("discs", 20)])
def test_there_are_as_many_as_is_said_and_they_lie_apart(name, count):
    for seed in SEEDS:
        features = make_target(name, seed).features
        assert len(features) == count
        assert len(np.unique(np.concatenate(features))) == sum(map(len, features))


def test_bumps_are_found_at_half_their_peak():
    """Radius 2.6 sqrt(2 ln 2) = 3.06 steps: 29 candidates each, and none outside is as high."""
    for seed in SEEDS:
        target = make_target("bumps", seed)
        inside = np.concatenate(target.features)
        values = target.values.ravel()
        assert np.mean([len(f) for f in target.features]) == pytest.approx(29.4, abs=1.0)
        assert values[inside].min() >= 0.47  # scaled by the highest, which neighbours lift
        outside = np.setdiff1d(np.arange(SIDE * SIDE), inside)
        isolated = values[outside] > 0.75
        assert isolated.mean() < 0.01  # between two that nearly touch


def test_a_known_trial_is_repeated():
    """On 20 bumps a plain 10 x 10 grid finds 0.72 of them: the area that its points stand for."""
    y, x = np.meshgrid(*[np.round((np.arange(10) + 0.5) * 6.4 - 0.5).astype(int)] * 2)
    grid = set((y * SIDE + x).ravel().tolist())
    shares = [
        np.mean([bool(grid & set(f.tolist())) for f in make_target("bumps", seed).features])
        for seed in range(20)
    ]
    assert np.mean(shares) == pytest.approx(0.72, abs=0.05)


def test_discs_have_hard_edges():
    target = make_target("discs", 0)
    inside = np.zeros(SIDE * SIDE, dtype=bool)
    inside[np.concatenate(target.features)] = True
    assert np.array_equal(target.values.ravel(), inside.astype(float))


def test_a_needle_is_narrow():
    assert all(len(make_target("needle", seed).features[0]) <= 9 for seed in SEEDS)


def test_clustered_points_are_many_in_few_places():
    for seed in SEEDS:
        target = make_target("clustered", seed)
        assert len(target.features) == 60
        middles = [np.median(f) for f in target.features]
        y, x = np.divmod(np.array(middles), SIDE)
        counts, _, _ = np.histogram2d(y, x, bins=4, range=[[0, SIDE]] * 2)
        assert (counts == 0).sum() >= 4, "anywhere, 60 points would leave none of 16 blocks empty"


def test_a_curve_is_thin_and_cut_into_segments():
    for seed in SEEDS:
        target = make_target("curve", seed)
        assert len(target.features) >= 15
        assert (target.values > 0.5).mean() < 0.06
        every = np.concatenate(target.features)
        assert len(np.unique(every)) == len(every)
        assert target.values.ravel()[every].min() >= 0.49
        # It crosses the field, along y or along x.
        on = target.values > 0.5
        assert on.any(axis=1).all() or on.any(axis=0).all()


def test_a_flat_field_holds_nothing():
    target = make_target("flat", 0)
    assert target.features == ()
    assert np.ptp(target.values) == 0.0


def test_regions_are_cut_into_cells_and_tiny_ones_dropped():
    values = np.zeros((SIDE, SIDE))
    values[0:8, 0:16] = 1.0  # two cells
    values[30:33, 20] = 1.0  # three candidates
    values[40:42, 40:42] = 1.0  # four
    assert sorted(map(len, regions(values))) == [4, 64, 64]


@pytest.mark.parametrize("name", IMAGES)
def test_maps_of_recorded_images(name, images):
    target = make_target(name, 0)
    assert (target.values.min(), target.values.max()) == (0.0, 1.0)
    assert len(target.features) >= 8
    found = np.concatenate(target.features)
    assert target.values.ravel()[found].min() > otsu(target.values.ravel())
    others = [make_target(name, seed) for seed in range(1, 6)]
    assert any(not np.array_equal(target.values, o.values) for o in others)
    for other in others:  # turned and mirrored, and nothing else
        assert np.array_equal(np.sort(target.values.ravel()), np.sort(other.values.ravel()))


def test_without_the_images_their_targets_say_so(monkeypatch, tmp_path):
    monkeypatch.delenv("STEMSCOUT_IMAGES", raising=False)
    assert missing("bumps") is None
    assert missing("nio") == "STEMSCOUT_IMAGES names no folder of recorded images"
    monkeypatch.setenv("STEMSCOUT_IMAGES", str(tmp_path))
    with pytest.raises(ValueError, match=r"nio is not at hand: .* without NiO_LSMO_435px\.png"):
        make_target("nio", 0)


def test_unknown_targets_list_the_known():
    with pytest.raises(ValueError, match="unknown target 'moon'; there are: bumps, needle"):
        make_target("moon", 0)
    assert set(TARGETS) == {*ANALYTIC, *IMAGES}
