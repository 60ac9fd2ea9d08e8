"""Another focus by the transfer of the probe, held against multislice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.hardware.errors import Unsupported
from stemscout.simulators.defocus import defocused, transfer
from stemscout.simulators.grid import Grid
from stemscout.simulators.multislice import render
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.world import Recipe, multislice_settings, open_world, specimen_seed

OPTICS = specimen_module("graphene").OPTICS
FOCI = st.floats(-15.0, 15.0)


def recipe(**options):
    return Recipe("mos2", "easy", *specimen_seed(3, "test"), 8.0, **options)


@given(defocus=FOCI, spread=st.sampled_from([0.0, 3.0]))
def test_the_transfer_falls_from_one_to_nothing_at_twice_the_aperture(defocus, spread):
    k, kept = transfer(replace(OPTICS, defocus_nm=defocus, focal_spread_nm=spread))
    most = 2e-3 * OPTICS.semiangle_mrad / OPTICS.wavelength_nm
    assert kept[0] == pytest.approx(1.0)
    assert (np.abs(kept) <= 1.0 + 1e-9).all()
    assert np.abs(kept[k > 1.02 * most]).max() < 0.01


def test_in_focus_it_is_that_of_a_disc():
    """(2/π) (arccos v - v sqrt(1 - v²)), v in twice the aperture."""
    k, kept = transfer(OPTICS)
    v = np.clip(k * OPTICS.wavelength_nm / (2e-3 * OPTICS.semiangle_mrad), 0, 1)
    assert kept == pytest.approx(2 / np.pi * (np.arccos(v) - v * np.sqrt(1 - v**2)), abs=0.01)


@given(more=FOCI, level=st.floats(0.001, 1.0))
def test_what_has_no_contrast_stays_as_it_is(more, level):
    flat = np.full((60, 70), level, dtype=np.float32)
    assert defocused(flat, 0.04, OPTICS, more) == pytest.approx(flat, rel=1e-4)


def test_in_focus_nothing_happens_and_out_of_it_contrast_is_lost_alike_both_ways():
    sharp = open_world(recipe()).image("haadf")
    assert np.array_equal(open_world(recipe(defocus_nm=0.0)).image("haadf"), sharp)
    contrast = [open_world(recipe(defocus_nm=d)).image("haadf").std() for d in (0, 2, 4, 6)]
    assert (np.diff(contrast) < 0).all()
    over, under = (open_world(recipe(defocus_nm=d)) for d in (-4.0, 4.0))
    assert over.image("haadf") == pytest.approx(under.image("haadf"), rel=1e-3)
    assert under.image("haadf").mean() == pytest.approx(sharp.mean(), rel=0.01)
    assert under.optics.defocus_nm == specimen_module("mos2").OPTICS.defocus_nm + 4.0
    assert len({open_world(recipe(defocus_nm=d)).digest for d in (0.0, 4.0, -4.0)}) == 3


def test_astigmatism_is_left_to_abtem():
    with pytest.raises(Unsupported, match="astigmatism"):
        defocused(np.ones((9, 9), np.float32), 0.04, replace(OPTICS, astigmatism_nm=2.0), 3.0)


@pytest.mark.parametrize("defocus", [21.0, np.nan])
def test_a_focus_too_far_off_is_refused(defocus):
    with pytest.raises(ValueError, match="a defocus of"):
        recipe(defocus_nm=defocus)


def test_it_is_what_multislice_gives():
    """Of a clean sheet: a correlation of 0.99, and the contrast to 15 %."""
    module = specimen_module("graphene")
    specimen = module.generate(specimen_seed(0, "train")[0], "easy", 8.0)
    clean = specimen.window(specimen.feature_yx_nm[0], 0.8)
    grid, images = Grid.over((0.8, 0.8), 0.04), {}
    for more in (0.0, 5.0):
        optics = replace(OPTICS, defocus_nm=OPTICS.defocus_nm + more)
        settings = replace(multislice_settings("graphene", optics), configurations=1)
        images[more] = render(clean.atoms(), grid, optics, settings)
    inside = (slice(5, -5),) * 2
    for detector in ("haadf", "maadf"):
        made = defocused(images[0.0][detector], grid.sampling_nm, OPTICS, 5.0)[inside].ravel()
        wanted = images[5.0][detector][inside].ravel()
        assert np.corrcoef(made, wanted)[0, 1] > 0.99
        assert made.std() / made.mean() == pytest.approx(wanted.std() / wanted.mean(), rel=0.15)
