"""The calibration finds again what an image was made of, and says how good it is."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from stemscout.simulators import fast
from stemscout.simulators.against import held_out_rows
from stemscout.simulators.calibrate import (
    ALL,
    HELD_OUT,
    SAMPLING_NM,
    SIGMAS_NM,
    WINDOW_NM,
    agreement,
    columns_inside,
    design_matrix,
    fit,
    halves_of,
    incoherent,
    inner,
    quality,
    settings_of,
    unseen_windows,
    windows,
)
from stemscout.simulators.fast import Kernels
from stemscout.simulators.grid import Grid
from stemscout.simulators.species import contributions, species_of
from stemscout.simulators.specimens import SPECIMENS, specimen_module
from stemscout.simulators.tile import from_entrance

PHYSICS = Path(__file__).parents[2] / "docs" / "physics.md"


def test_an_image_made_of_kernels_gives_back_the_kernels():
    cells = windows("nio_lsmo", "train", only=3)
    names = species_of(cells[0][0])
    wanted = np.zeros((len(names), len(SIGMAS_NM)))
    wanted[:, 2] = np.linspace(1e-3, 6e-3, len(names))
    wanted[0, 4] = 2e-4
    images = []
    for cell in cells:
        image = design_matrix(*cell) @ wanted.ravel()
        images.append({"haadf": image.reshape(cell[1].shape_yx).astype(np.float32)})
    found = fit(cells, images, ["haadf"])
    assert found["weights"]["haadf"][:4] == pytest.approx(wanted[:4], abs=3e-5)
    kernels = Kernels(tuple(names), np.array(SIGMAS_NM), found["weights"], found["background"], {})
    said = quality(cells, images, kernels)["haadf"]
    assert said["correlation"] > 0.999
    assert said["slope"] == pytest.approx(1.0, abs=0.02)


def test_a_species_that_never_occurs_is_named():
    (specimen, grid), *_ = windows("graphene", "train", only=1)
    bare = specimen.window(np.array([50.0, 50.0]), WINDOW_NM)
    with pytest.raises(ValueError, match="no window holds a column of C, Si"):
        fit([(bare, grid)], [{"haadf": np.zeros(grid.shape_yx, np.float32)}], ["haadf"])


def test_only_incoherent_detectors_are_calibrated():
    assert incoherent(specimen_module("graphene").OPTICS) == ["haadf", "maadf"]
    assert incoherent(specimen_module("bifeo3").OPTICS) == ["haadf", "maadf"]


@pytest.mark.parametrize("name", SPECIMENS)
def test_training_and_held_out_windows_differ(name):
    """The held-out ones come from the validation split."""
    train, unseen = windows(name, "train", 1)[0][0], windows(name, "validation", 1)[0][0]
    assert train.seed != unseen.seed


def test_the_beam_enters_a_window_of_the_mixture_where_it_enters_the_whole():
    """Else each piece would be calibrated in a focus of its own."""
    whole = specimen_module("composite").generate(0)
    slice_nm = specimen_module("composite").SLICE_NM
    entrance = from_entrance(whole.atoms(), slice_nm).info["corner_yxz_nm"][2]
    for cell, _ in windows("composite", "train"):
        own = from_entrance(cell.atoms(), slice_nm).info["corner_yxz_nm"][2]
        assert own == pytest.approx(entrance, abs=0.2), "a small part of the depth of focus, 6.7 nm"


def test_columns_are_named_by_all_that_stands_in_line():
    with_it, _, yx = specimen_module("mos2").pair(5, np.random.default_rng(0))  # se_s
    grid = Grid.over((1.0, 1.0), 0.04)
    found = list(columns_inside(with_it.window(yx, 2.0), grid, ALL))
    names = [name for _, _, name in found]
    assert names.count("S + Se") == 1
    assert {"Mo", "S:S"} <= set(names)
    middle = (np.array(grid.shape_yx) - 1) / 2
    at = np.array(next((i, j) for i, j, name in found if name == "S + Se"))
    assert np.abs(at - middle).max() <= 1.0


@pytest.mark.parametrize("name", SPECIMENS)
def test_held_out_windows_show_every_species(name):
    cells = unseen_windows(name)
    names = species_of(cells[0][0])
    inside = inner(specimen_module(name).OPTICS, SAMPLING_NM)
    grid = Grid.over((WINDOW_NM, WINDOW_NM), SAMPLING_NM)
    reach = -grid.origin_yx_nm[0] - grid.sampling_nm * inside.start
    shown = set()
    for specimen, _ in cells:
        positions, species, _ = contributions(specimen)
        near = (np.abs(positions) <= reach + grid.sampling_nm).all(axis=1)
        shown |= {names[k] for k in species[near]}
    assert set(names) <= shown


def test_windows_on_films_are_of_specimens_of_their_own():
    """One particle, on three films, would be one piece of evidence."""
    cells = [cell for cell, _ in windows("nanoparticles", "train")]
    assert {c.difficulty for c in cells} == {"easy", "medium", "hard"}
    gold = {c.positions_yx_nm[c.kind == 0].tobytes() for c in cells}
    assert len(gold) == len(cells)


def test_a_patch_of_contamination_counts_once():
    first, second = (windows("mos2", "train")[k][0] for k in (0, -1))
    assert first.seed != second.seed
    assert not np.array_equal(first.positions_yx_nm, second.positions_yx_nm)


def test_the_reference_is_two_independent_halves():
    first, second = halves_of("graphene")
    assert first.phonon_seed != second.phonon_seed
    assert first.configurations == second.configurations
    assert first.configurations > settings_of("graphene").configurations


def test_noise_of_the_reference_lowers_the_agreement_of_its_halves():
    rng = np.random.default_rng(0)
    image = rng.random((2, 40, 40))
    noisy = [[{"haadf": i + 0.1 * rng.standard_normal(i.shape)} for i in image] for _ in range(2)]
    quiet = [[{"haadf": i} for i in image]] * 2
    assert agreement(quiet, "haadf", ALL) == 1.0
    # Correlation of two measurements of the same: variance of the truth over that of one of them.
    expected = image.var() / (image.var() + 0.01)
    assert agreement(noisy, "haadf", ALL) == pytest.approx(expected, abs=0.01)


# Thick carbon scatters partly coherently to MAADF, and so do the oxides at 80 kV.
WORST = {"haadf": 0.98, "maadf": 0.94}
WORST_OF_COMPOSITE = {"haadf": 0.97, "maadf": 0.92}
MOST_PEAK_ERROR = {"composite": 0.4}


@pytest.mark.parametrize("name", SPECIMENS)
def test_the_table_says_how_good_it_is(name):
    """Correlation >= 0.98 on windows that the fit never saw; of each alone, at least ``WORST``."""
    kernels = fast.load_kernels(name)
    said = kernels.provenance
    assert said["windows"]["validation"] >= HELD_OUT
    assert said["command"].endswith(f"simulators.calibrate {name}")
    for detector in kernels.weights:
        held_out = said["held_out"][detector]
        assert held_out["correlation"] >= 0.98
        worst = WORST_OF_COMPOSITE if name == "composite" else WORST
        assert min(held_out["windows"]) >= worst[detector]
        most = MOST_PEAK_ERROR.get(name, 0.2)
        assert max(abs(e) for e in held_out["peak_error"].values()) <= most
        assert 0.85 < held_out["slope"] < 1.1
        # The reference itself must be known well enough to hold a model against it.
        assert said["reference"][detector] >= 0.97
        # Every species has its error stated, alone or in line with others; that of a mixed
        # column, where it is the greater part.
        stated = {s for column in held_out["peak_error"] for s in column.split(" + ")}
        mixed = {s for s in kernels.species if ":" in s and len(set(s.split(":"))) == 2}
        assert set(kernels.species) - mixed <= stated <= set(kernels.species)
        assert set(held_out["peak_error_rms"]) == set(held_out["peak_error"])
        for column, mean in held_out["peak_error"].items():
            assert held_out["peak_error_rms"][column] >= abs(mean) - 1e-4


@pytest.mark.parametrize("name", SPECIMENS)
def test_the_page_tells_of_it_as_it_is(name):
    """`python -m stemscout.simulators.against` makes the rows anew."""
    told = re.findall(rf"^\| {name} \| \w+ADF \| 0\.\d+ \|.*$", PHYSICS.read_text(), re.MULTILINE)
    assert told == list(held_out_rows(name))
