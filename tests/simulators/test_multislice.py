"""The abtem renderer: tiles agree with the whole, memory is bounded, work resumes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.simulators import plain
from stemscout.simulators.grid import Grid
from stemscout.simulators.multislice import Multislice, render, smooth_number
from stemscout.simulators.optics import Detector, Optics
from stemscout.simulators.specimens import graphene

# One slice and one detector up to 120 mrad keep these cells small.
OPTICS = Optics(60.0, 30.0, 80.0, 0.0, detectors=(Detector("haadf", 60.0, 120.0),))
SETTINGS = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=6)


@pytest.fixture(scope="module")
def atoms():
    """A patch of 2.4 nm around a silicon atom."""
    specimen, _, yx = graphene.pair(0, np.random.default_rng(2))
    return specimen.window(yx, 0.4, 1.0).atoms()


def test_tiles_agree_with_a_plain_full_cell(atoms):
    """Correlation >= 0.999 with abTEM on a fine grid, for the same phonon configuration."""
    grid = Grid((-0.25, -0.2), (10, 8), 0.05)
    tiled = render(atoms, grid, OPTICS, SETTINGS)["haadf"]
    whole = plain.render(atoms, grid, OPTICS, SETTINGS, finer=3.0)["haadf"]
    assert np.corrcoef(tiled.ravel(), whole.ravel())[0, 1] >= 0.999
    assert tiled.mean() == pytest.approx(whole.mean(), rel=0.03)


def test_an_atom_is_as_bright_between_grid_points_as_on_them():
    """abTEM's own projection loses a third there; see projection.py."""
    from ase import Atoms

    peaks = []
    for offset in (0.0, 0.013, 0.029, 0.041):  # Å; the grid is about 0.13 Å
        atom = Atoms("C", [[10.0 + offset, 10.0 + 2 * offset, 2.0]], cell=[20, 20, 4])
        atom.info["corner_yx_nm"] = (0.0, 0.0)
        over = Grid((1.0 + 0.2 * offset, 1.0 + 0.1 * offset), (1, 1), 0.05)
        still = Multislice(1, {"C": 0.0}, tile_nodes=1)
        peaks.append(float(render(atom, over, OPTICS, still)["haadf"][0, 0]))
    assert peaks == pytest.approx([peaks[0]] * 4, rel=0.01)


def test_an_interrupted_simulation_goes_on(atoms, tmp_path):
    grid = Grid((-0.3, -0.3), (12, 6), 0.05)

    class Killed(Exception):
        pass

    def kill(done, total, left):
        if done:
            raise Killed

    with pytest.raises(Killed):
        render(atoms, grid, OPTICS, SETTINGS, tmp_path, kill)
    first = (tmp_path / "row-00000.npy").stat().st_mtime_ns
    rows = []
    resumed = render(
        atoms, grid, OPTICS, SETTINGS, tmp_path, lambda d, t, left: rows.append((d, t))
    )
    assert rows == [(1, 2), (2, 2)]
    assert (tmp_path / "row-00000.npy").stat().st_mtime_ns == first, "a finished row was repeated"
    fresh = render(atoms, grid, OPTICS, SETTINGS)
    assert np.array_equal(resumed["haadf"], fresh["haadf"])


def test_another_simulation_may_not_use_the_folder(atoms, tmp_path):
    grid = Grid((-0.3, -0.3), (2, 2), 0.05)
    settings = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=2)
    render(atoms, grid, OPTICS, settings, tmp_path)
    other = Multislice(1, graphene.THERMAL_SIGMA_NM, phonon_seed=1, tile_nodes=2)
    with pytest.raises(ValueError, match="holds another simulation"):
        render(atoms, grid, OPTICS, other, tmp_path)


def test_one_tile_is_measured_first_and_the_estimate_told(atoms):
    grid = Grid((-0.3, -0.3), (12, 6), 0.05)
    told = []
    render(atoms, grid, OPTICS, SETTINGS, report=lambda d, t, left: told.append((d, t, left)))
    assert [t[:2] for t in told] == [(0, 2), (1, 2), (2, 2)]
    assert told[0][2] > 0, "an estimate before the first row"
    assert told[-1][2] == 0


def test_two_processes_give_the_same_as_one(atoms):
    grid = Grid((-0.3, -0.3), (12, 6), 0.05)
    alone = render(atoms, grid, OPTICS, SETTINGS)["haadf"]
    together = render(atoms, grid, OPTICS, SETTINGS, scheduler="2")["haadf"]
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_cluster_is_named_by_its_address(atoms):
    from dask.distributed import LocalCluster

    grid = Grid((-0.3, -0.3), (6, 6), 0.05)
    alone = render(atoms, grid, OPTICS, SETTINGS)["haadf"]
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        there = render(atoms, grid, OPTICS, SETTINGS, scheduler=cluster.scheduler_address)
    assert there["haadf"] == pytest.approx(alone, rel=1e-5)


def test_prism_without_interpolation_is_multislice(atoms):
    grid = Grid((-0.1, -0.1), (6, 6), 0.05)
    exact = render(atoms, grid, OPTICS, SETTINGS)["haadf"]
    prism = render(atoms, grid, OPTICS, replace(SETTINGS, interpolation=1))["haadf"]
    assert prism == pytest.approx(exact, rel=2e-3)


@pytest.mark.parametrize(
    "change",
    [
        {"defocus_nm": 15.0},
        {"astigmatism_nm": 8.0},
        {"c3_nm": 3e4},
        {"c5_nm": 8e6},
        {"focal_spread_nm": 8.0},
        {"source_fwhm_nm": 0.15},
    ],
    ids=lambda c: next(iter(c)),
)
def test_aberrations_and_partial_coherence_blur(atoms, change):
    """Each of them lowers the contrast of a focused probe."""
    grid = Grid((-0.15, -0.15), (6, 6), 0.05)
    settings = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=6, margin_nm=0.8)
    sharp = render(atoms, grid, OPTICS, settings)["haadf"]
    blurred = render(atoms, grid, replace(OPTICS, **change), settings)["haadf"]
    assert blurred.std() < 0.9 * sharp.std()


def test_astigmatism_has_a_direction(atoms):
    grid = Grid((-0.15, -0.15), (6, 6), 0.05)
    images = [
        render(
            atoms,
            grid,
            replace(OPTICS, defocus_nm=4.0, astigmatism_nm=4.0, astigmatism_rad=angle),
            SETTINGS,
        )["haadf"]
        for angle in (0.0, np.pi / 2)
    ]
    assert not np.allclose(images[0], images[1], rtol=0.05)


def test_bright_and_dark_field_share_the_beam(atoms):
    """What BF, ABF, MAADF and HAADF collect together is less than all, and BF is most of it."""
    four = replace(
        OPTICS,
        detectors=(
            Detector("bf", 0.0, 15.0), Detector("abf", 15.0, 30.0),
            Detector("maadf", 30.0, 60.0), Detector("haadf", 60.0, 120.0),
        ),
    )  # fmt: skip
    images = render(atoms, Grid((0.0, 0.0), (2, 2), 0.05), four, SETTINGS)
    total = sum(images.values())
    assert (total < 1.0).all()
    assert (total > 0.9).all()
    assert images["abf"].mean() > images["maadf"].mean() > images["haadf"].mean()


@pytest.mark.parametrize(
    ("memory", "sentence"),
    [(1e-7, "more than the 1e-07 GiB allowed; ask for a smaller field"), (5e-4, "smaller tiles")],
)
def test_memory_is_bounded(atoms, memory, sentence):
    grid = Grid((-0.3, -0.3), (12, 6), 0.05)
    with pytest.raises(ValueError, match=sentence):
        render(atoms, grid, OPTICS, SETTINGS, memory_gib=memory)


def test_unknown_schedulers_and_elements(atoms):
    grid = Grid((-0.1, -0.1), (2, 2), 0.05)
    for scheduler in ("0", "soon"):
        with pytest.raises(ValueError, match="scheduler"):
            render(atoms, grid, OPTICS, SETTINGS, scheduler=scheduler)
    with pytest.raises(ValueError, match="no thermal displacement is given for Si"):
        render(atoms, grid, OPTICS, Multislice(1, {"C": 0.005}))


@pytest.mark.parametrize(
    "change", [{"configurations": 0}, {"tile_nodes": 0}, {"slice_nm": 0.0}, {"margin_nm": -1.0}]
)
def test_bad_settings(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SETTINGS, **change)


@pytest.mark.parametrize(
    ("least", "number"), [(1, 2), (7, 8), (11, 12), (178, 180), (181, 192), (223, 240)]
)
def test_smooth_numbers(least, number):
    assert smooth_number(least) == number


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"energy_kev": 0.0}, "energy_kev is 0.0"),
        ({"semiangle_mrad": -1.0}, "semiangle_mrad is -1.0"),
        ({"source_fwhm_nm": -0.1}, "source_fwhm_nm is -0.1"),
    ],
)
def test_bad_optics(change, sentence):
    good = {
        "energy_kev": 60.0,
        "semiangle_mrad": 30.0,
        "beam_current_pa": 1.0,
        "source_fwhm_nm": 0.0,
    }
    with pytest.raises(ValueError, match=sentence):
        Optics(**{**good, **change})


def test_wavelength():
    """4.87 pm at 60 kV and 2.51 pm at 200 kV, as every table has it."""
    assert OPTICS.wavelength_nm == pytest.approx(4.866e-3, rel=1e-3)
    assert Optics(200.0, 20.0, 1.0, 0.0).wavelength_nm == pytest.approx(2.508e-3, rel=1e-3)
