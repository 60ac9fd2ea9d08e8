"""Training frames: repeatable, varied, and with the truth where the picture has it."""

from __future__ import annotations

from itertools import chain, islice

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.card import PLAIN
from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.noise import noise_of
from stemscout.agents.perception.dcnn.scenes import (
    PER_WORLD,
    SIDE,
    Scenes,
    resampled,
    standard,
    strengths,
)
from stemscout.simulators.fast import load_kernels
from stemscout.simulators.world import Recipe, render_fast

SHEETS = ["graphene", "mos2", "nio_lsmo", "bifeo3"]


@pytest.mark.parametrize("name", LEGENDS)
def test_a_scene_is_a_picture_and_what_should_be_said_of_it(name):
    for image, painted in islice(Scenes(name, 0), 4):
        assert image.shape == (SIDE, SIDE)
        assert painted.shape == (len(LEGENDS[name].channels), SIDE, SIDE)
        assert image.dtype == painted.dtype == np.float32
        assert abs(image.mean()) < 2.0
        assert 0.2 < image.std() < 2.0
        assert np.isfinite(image).all()
        assert ((painted >= 0) & (painted <= 1)).all()


def test_the_same_seed_gives_the_same_scenes_and_another_split_others():
    first, again, other = (
        [image for image, _ in islice(Scenes("nio_lsmo", 3, split), 6)] for split in (0, 0, 1)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_from_a_later_specimen_on_they_are_what_they_would_have_been():
    whole = [image for image, _ in islice(Scenes("nio_lsmo", 0), PER_WORLD + 3)]
    rest = [image for image, _ in islice(Scenes("nio_lsmo", 0, first=1), 3)]
    assert all(np.array_equal(a, b) for a, b in zip(whole[PER_WORLD:], rest, strict=True))


@pytest.mark.parametrize("name", SHEETS)
def test_columns_are_painted_where_the_picture_has_them(name):
    """And nowhere else so well: moved by a few pixels they fit worse."""
    better = []
    several = (islice(Scenes(name, 1, spread=PLAIN, first=k).scenes(), 4) for k in range(3))
    for scene in chain.from_iterable(several):
        kinds = len(scene.truth.legend.kinds)
        columns = scene.painted[:kinds].max(axis=0)
        if name in ("nio_lsmo", "bifeo3"):  # the brightest alone
            columns = scene.painted[0]
        if not columns.any():  # nothing of the kind is there
            continue
        here = (columns * scene.image).mean()
        moved = [
            (np.roll(columns, (a, b), (0, 1)) * scene.image)[4:-4, 4:-4].mean()
            for a in (-3, 0, 3)
            for b in (-3, 0, 3)
            if a or b
        ]
        better.append(here > max(moved))
    assert len(better) >= 5
    assert np.mean(better) >= 0.75


def test_scenes_vary_in_sampling_dose_and_angle():
    requests = [s.request for s in islice(Scenes("nio_lsmo", 0).scenes(), 60)]
    shapes = {r.shape_yx[0] for r in requests}
    assert min(shapes) < 45 < 64 < 90 < max(shapes)
    assert np.std([r.rotation_rad for r in requests]) > 1.0
    doses = [r.dwell_us / (r.fov_yx_nm[0] / r.shape_yx[0]) ** 2 for r in requests]
    assert max(doses) > 10 * min(doses)
    assert any(r.fov_yx_nm[0] != r.fov_yx_nm[1] for r in requests)


def test_most_scenes_show_a_feature():
    """Though features are rare."""
    shown = [painted[2:11].max() > 0.5 for _, painted in islice(Scenes("graphene", 0), 48)]
    assert np.mean(shown) > 0.4


def test_pictures_without_contrast_are_zeros():
    assert not standard(np.full((8, 8), 3.0)).any()
    found = standard(np.random.default_rng(0).normal(5.0, 2.0, (64, 64)))
    assert found.mean() == pytest.approx(0.0, abs=1e-6)
    assert found.std() == pytest.approx(1.0, abs=1e-5)


def test_what_is_bright_in_a_corner_of_a_large_image_does_not_hide_the_rest():
    rng = np.random.default_rng(0)
    lattice = rng.normal(0.0, 1.0, (256, 256))
    covered = lattice.copy()
    covered[:64, :64] = 200.0 + 30.0 * lattice[:64, :64]
    alone, beside = (standard(v, (64.0, 64.0)) for v in (lattice, covered))
    assert beside[128:, 128:] == pytest.approx(alone[128:, 128:], abs=1e-4)
    assert beside[128:, 128:].std() == pytest.approx(1.0, abs=0.05)
    assert standard(covered)[128:, 128:].std() < 0.1
    assert beside[:32, :32].std() == pytest.approx(1.0, abs=0.05)
    assert np.isfinite(standard(np.tri(256), (64.0, 64.0))).all()


def test_an_image_no_larger_than_a_tile_is_treated_as_a_whole():
    image = np.random.default_rng(0).normal(5.0, 2.0, (90, 64))
    assert np.array_equal(standard(image, (64.0, 64.0)), standard(image))


def test_noise_is_told_from_what_varies_slowly():
    y, x = np.mgrid[:64, :64]
    clean, noise = np.sin(y / 4) + np.sin(x / 4), np.random.default_rng(0).normal(size=(64, 64))
    assert noise_of(standard(noise)) == pytest.approx(1.0, abs=0.05)
    assert noise_of(standard(clean)) < 0.03
    assert noise_of(standard(clean + noise)) == pytest.approx(2**-0.5, abs=0.05)
    assert noise_of(np.zeros((8, 8), dtype=np.float32)) == 0.0


def test_fewer_pixels_are_averages_and_more_are_between():
    image = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    assert resampled(image, (64, 64)) is image
    half = resampled(image, (32, 32))
    assert half.std() < 0.7 * image.std()
    assert resampled(image, (100, 80)).shape == (100, 80)
    with pytest.raises(ValueError, match="an image of 0 x 5 px holds nothing"):
        resampled(np.empty((0, 5), np.float32), (8, 8))


@pytest.mark.parametrize("name", LEGENDS)
def test_contrast_may_go_by_another_power_of_the_atomic_number(name):
    """0 changes nothing, and what is above it sets heavy columns off from light ones."""
    assert set(strengths(name, 0.0).values()) == {1.0}
    higher, lower = strengths(name, 0.4), strengths(name, -0.4)
    assert set(higher) == set(load_kernels(name).species)
    assert max(higher.values()) == 1.0 == min(lower.values())
    assert all(higher[s] * lower[s] == pytest.approx(1.0) for s in higher)
    by_carbon = [higher["C"] <= value for value in higher.values()]
    assert all(by_carbon)


def test_an_image_is_the_sum_of_its_species_at_their_strengths():
    recipe = Recipe("mos2", "medium", 0, (0, 0, 0), 10.0)
    plain, none, double = (
        render_fast(recipe, of).coefficients["haadf"]
        for of in (
            None,
            dict.fromkeys(load_kernels("mos2").species, 0.0),
            {"Mo": 2.0, "Mo:Mo": 2.0},
        )
    )
    assert not none.any()
    metal = dict.fromkeys(set(load_kernels("mos2").species) - {"Mo", "Mo:Mo"}, 0.0)
    alone = render_fast(recipe, metal).coefficients["haadf"]
    assert np.allclose(double - plain, alone, atol=1e-5)


def test_unknown_specimens_list_the_known():
    with pytest.raises(ValueError, match="no network is known for 'cheese'; there are: graphene"):
        Scenes("cheese", 0)
