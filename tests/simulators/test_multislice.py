"""The abtem renderer: tiles agree with the whole, memory is bounded, work resumes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from math import inf, log, nan

import numpy as np
import pytest

from stemscout.simulators import plain
from stemscout.simulators.grid import Grid
from stemscout.simulators.multislice import Multislice, margin_nm, render
from stemscout.simulators.optics import Detector, Optics
from stemscout.simulators.specimens import graphene
from stemscout.simulators.tile import illumination, smooth_number

# One slice and one detector up to 120 mrad keep these cells small.
OPTICS = Optics(60.0, 30.0, 80.0, 0.0, detectors=(Detector("haadf", 60.0, 120.0),))
SETTINGS = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=6)


@pytest.fixture(scope="module")
def atoms():
    """A patch of 2.4 nm around a silicon atom."""
    specimen, _, yx = graphene.pair(0, np.random.default_rng(2))
    return specimen.window(yx, 0.4, 1.0).atoms()


def test_tiles_agree_with_a_plain_full_cell(atoms):
    """Correlation >= 0.999 with abTEM on a fine grid, for the same phonon configuration.

    Measured with a grid 3 times as fine: HAADF 0.9999, MAADF 0.9999, BF 0.9997, the
    means within 1 %.  BF needs that: it is 0.995 with 2 times, and 0.98 with abTEM's
    projection on the renderer's own grid.
    """
    detectors = (
        Detector("haadf", 60.0, 120.0),
        Detector("maadf", 40.0, 60.0),  # clear of the aperture's edge, which is soft
        Detector("bf", 0.0, 15.0),
    )
    optics = replace(OPTICS, detectors=detectors)
    grid = Grid((-0.25, -0.2), (10, 8), 0.05)
    tiled = render(atoms, grid, optics, SETTINGS)
    whole = plain.render(atoms, grid, optics, SETTINGS, finer=3.0)
    assert list(tiled) == ["haadf", "maadf", "bf"]
    for name, image in tiled.items():
        assert np.corrcoef(image.ravel(), whole[name].ravel())[0, 1] >= 0.999, name
        assert image.mean() == pytest.approx(whole[name].mean(), rel=0.03), name


def test_brightness_grows_with_the_atomic_number():
    """HAADF of single atoms goes as Z to the power of 1.6 to 2 (Krivanek, Nature 464 (2010) 571).

    Measured for Si and C over the atoms: 1.91 from 80 mrad on.
    """
    from ase import Atoms

    pair = Atoms("CSi", [[10, 10, 2], [40, 10, 2]], cell=[50, 20, 4])
    pair.info["corner_yxz_nm"] = (0.0, 0.0, 0.0)
    optics = replace(OPTICS, detectors=(Detector("haadf", 80.0, 180.0),))
    still = Multislice(1, {"C": 0.0, "Si": 0.0}, tile_nodes=10)
    carbon, silicon = (
        render(pair, Grid((0.75, x - 0.25), (10, 10), 0.05), optics, still)["haadf"].sum()
        for x in (1.0, 4.0)
    )
    assert 1.6 < log(silicon / carbon) / log(14 / 6) < 2.0


@pytest.mark.parametrize("optics", [OPTICS, replace(OPTICS, energy_kev=200.0, semiangle_mrad=20.0)])
def test_the_probe_is_as_wide_as_diffraction_makes_it(optics):
    """Full width at half maximum of an Airy disc: 0.515 λ/α (Born & Wolf)."""
    import abtem

    pixel = 0.05  # Å
    probe = abtem.Probe(**illumination(optics), extent=20.0, sampling=pixel).build(lazy=False)
    intensity = np.abs(probe.array) ** 2
    peak = np.unravel_index(intensity.argmax(), intensity.shape)
    line = np.roll(intensity[peak[0]], intensity.shape[1] // 2 - peak[1])
    side = line[intensity.shape[1] // 2 :]  # from the peak outwards, falling
    first = np.argmax(side < side[0] / 2)
    half = np.interp(side[0] / 2, side[[first, first - 1]], [first, first - 1])
    limit = 0.515 * optics.wavelength_nm / (optics.semiangle_mrad * 1e-3)
    assert 2 * half * pixel / 10 == pytest.approx(limit, rel=0.05)


@pytest.mark.parametrize("change", [{"c3_nm": 3e4}, {"c5_nm": 3e7}], ids=["C3", "C5"])
def test_the_margin_reaches_as_far_as_an_aberrated_probe(change):
    """Correlation >= 0.999 with twice the margin; without the blur of C3 and C5 it is below."""
    specimen, _, yx = graphene.pair(0, np.random.default_rng(2))
    wide = specimen.window(yx, 0.3, 3.0).atoms()
    detectors = (Detector("haadf", 60.0, 120.0), Detector("bf", 0.0, 15.0))
    optics = replace(OPTICS, detectors=detectors, **change)
    margin = margin_nm(optics, 0.0)
    grid = Grid((-0.15, -0.15), (6, 6), 0.05)
    near, far = (
        render(wide, grid, optics, replace(SETTINGS, margin_nm=m)) for m in (margin, 2 * margin)
    )
    for name, image in near.items():
        assert np.corrcoef(image.ravel(), far[name].ravel())[0, 1] >= 0.999, name
    assert margin > 2 * margin_nm(OPTICS, 0.0)


@pytest.mark.parametrize("thickness", [-1.0, nan, inf])
def test_bad_thickness(thickness):
    with pytest.raises(ValueError, match=r"a thickness of .*it must be at least 0 and finite"):
        margin_nm(OPTICS, thickness)
    specimen, _, _ = graphene.pair(0, np.random.default_rng(2))
    with pytest.raises(ValueError, match="thickness_nm is"):
        replace(specimen, thickness_nm=thickness)


def test_an_interrupted_simulation_goes_on(atoms, tmp_path):
    grid = Grid((-0.3, -0.3), (12, 6), 0.05)

    class Killed(Exception):
        pass

    def kill(done, total, left):
        if done:
            raise Killed

    with pytest.raises(Killed):
        render(atoms, grid, OPTICS, SETTINGS, tmp_path, kill)
    first = (tmp_path / "row-00000.npz").stat().st_mtime_ns
    rows = []
    resumed = render(
        atoms, grid, OPTICS, SETTINGS, tmp_path, lambda d, t, left: rows.append((d, t))
    )
    assert rows == [(1, 2), (2, 2)]
    assert (tmp_path / "row-00000.npz").stat().st_mtime_ns == first, "a finished row was repeated"
    fresh = render(atoms, grid, OPTICS, SETTINGS)
    assert np.array_equal(resumed["haadf"], fresh["haadf"])


def test_another_simulation_may_not_use_the_folder(atoms, tmp_path):
    grid = Grid((-0.3, -0.3), (2, 2), 0.05)
    settings = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=2)
    render(atoms, grid, OPTICS, settings, tmp_path)
    other = Multislice(1, graphene.THERMAL_SIGMA_NM, phonon_seed=1, tile_nodes=2)
    with pytest.raises(ValueError, match="holds another simulation"):
        render(atoms, grid, OPTICS, other, tmp_path)


def test_what_is_damaged_is_computed_again_and_what_vanishes_made_again(atoms, tmp_path):
    """A row whose number was changed, a mark that was cut short, a folder removed in mid-run."""
    grid, folder = Grid((-0.3, -0.3), (6, 2), 0.05), tmp_path / "rows"
    settings = replace(SETTINGS, tile_nodes=2)
    fresh = render(atoms, grid, OPTICS, settings, folder)
    row = folder / "row-00002.npz"
    content = bytearray(row.read_bytes())
    content[len(content) // 2] ^= 1
    row.write_bytes(content)
    (folder / "row-00004.npz").write_bytes(b"")
    (folder / "simulation.json").write_text('{"digest": "0')

    def finish(done, total, left):
        """Another process is through, and removes the folder."""
        if done == 2:
            shutil.rmtree(folder)

    again = render(atoms, grid, OPTICS, settings, folder, finish)
    assert np.array_equal(again["haadf"], fresh["haadf"])
    assert sorted(p.name for p in folder.iterdir()) == ["row-00004.npz", "simulation.json"]


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
    ("memory", "side", "sentence"),
    [
        (0.41, 9000, "more than the 0.41 GiB allowed; ask for a smaller field"),
        (0.4003, 6, "more than the 0.4003 GiB allowed; take smaller tiles"),
        *((bad, 6, "a memory bound of") for bad in (0.4, 0.0, -1.0, nan, inf)),
    ],
)
def test_memory_that_does_not_do(atoms, memory, side, sentence):
    grid = Grid((-0.3, -0.3), (side, side), 0.05)
    with pytest.raises(ValueError, match=sentence):
        render(atoms, grid, OPTICS, SETTINGS, memory_gib=memory)


@pytest.mark.parametrize(
    ("change", "interpolation", "memory"),
    [({}, 0, 0.41), ({"focal_spread_nm": 4.0}, 0, 0.43), ({}, 1, 0.501)],
    ids=["multislice", "focal spread", "PRISM"],
)
def test_less_memory_means_smaller_batches_of_the_same_images(
    atoms, monkeypatch, change, interpolation, memory
):
    import abtem

    batches = []
    scan = abtem.CustomScan
    monkeypatch.setattr(abtem, "CustomScan", lambda p: (batches.append(len(p)), scan(p))[1])
    grid, optics = Grid((-0.1, -0.1), (6, 6), 0.05), replace(OPTICS, **change)
    settings = replace(SETTINGS, interpolation=interpolation)
    together = render(atoms, grid, optics, settings)["haadf"]
    assert batches == [36], "all of a tile at once, where memory allows"
    batches.clear()
    parted = render(atoms, grid, optics, settings, memory_gib=memory)["haadf"]
    assert sum(batches) == 36
    assert max(batches) < 20
    # PRISM's sums over beams are ordered by the library of linear algebra.
    assert parted == pytest.approx(together, rel=1e-5 if interpolation else 1e-6)


# The peak is not ``getrusage``'s where the system has its own: that one begins with the parent's.
PEAK = """
import pathlib, resource, sys
import numpy as np
from stemscout.simulators.grid import Grid
from stemscout.simulators.multislice import Multislice, render
from stemscout.simulators.optics import Detector, Optics
from stemscout.simulators.specimens import graphene

nodes, interpolation, spread, memory = map(float, sys.argv[1:])
specimen, _, yx = graphene.pair(0, np.random.default_rng(2))
optics = Optics(60.0, 30.0, 80.0, 0.0, focal_spread_nm=spread,
                detectors=(Detector("haadf", 60.0, 150.0), Detector("bf", 0.0, 15.0)))
settings = Multislice(1, graphene.THERMAL_SIGMA_NM, tile_nodes=int(nodes),
                      interpolation=int(interpolation))
grid = Grid((-0.3, -0.3), (int(nodes), int(nodes)), 0.03)
render(specimen.window(yx, 0.4, 1.0).atoms(), grid, optics, settings, memory_gib=memory)
status = pathlib.Path("/proc/self/status")
if status.exists():
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**20)
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (2**30 if sys.platform == "darwin" else 2**20))
"""


@pytest.mark.parametrize(
    ("nodes", "interpolation", "spread", "memory"),
    [(20, 0, 0.0, 0.6), (12, 0, 3.0, 0.6), (20, 1, 0.0, 0.85)],
    ids=["multislice", "focal spread", "PRISM"],
)
def test_peak_memory_stays_below_the_bound(nodes, interpolation, spread, memory):
    """Of a whole process; without the bound these tiles take more."""
    command = [sys.executable, "-c", PEAK, *map(str, (nodes, interpolation, spread, memory))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 0.2 < float(done.stdout) < memory


def test_unknown_schedulers_and_elements(atoms):
    grid = Grid((-0.1, -0.1), (2, 2), 0.05)
    told = []
    for scheduler in ("0", "-1", "1.5", "²", "soon", "tcp://", "://host", ""):
        with pytest.raises(ValueError, match="it must be a number of processes, at least 1, or"):
            render(atoms, grid, OPTICS, SETTINGS, None, lambda *_: told.append(1), scheduler)
    assert not told, "refused before anything was computed"
    with pytest.raises(ValueError, match="no thermal displacement is given for Si"):
        render(atoms, grid, OPTICS, Multislice(1, {"C": 0.005}))


@pytest.mark.parametrize(
    "change",
    [
        {"configurations": 0},
        {"configurations": 1.5},
        {"tile_nodes": 0},
        {"tile_nodes": nan},
        {"slice_nm": 0.0},
        {"slice_nm": nan},
        {"margin_nm": -1.0},
        {"margin_nm": inf},
        {"interpolation": -1},
        {"thermal_sigma_nm": {"C": nan}},
    ],
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
        ({"energy_kev": inf}, "energy_kev is inf"),
        ({"source_fwhm_nm": -0.1}, "source_fwhm_nm is -0.1"),
        ({"focal_spread_nm": inf}, "focal_spread_nm is inf"),
        ({"defocus_nm": nan}, "defocus_nm is nan"),
        ({"astigmatism_nm": -inf}, "astigmatism_nm is -inf"),
        ({"astigmatism_rad": nan}, "astigmatism_rad is nan"),
        ({"c3_nm": inf}, "c3_nm is inf"),
        ({"c5_nm": nan}, "c5_nm is nan"),
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


def test_detectors_end_somewhere():
    for inner, outer in ((60.0, inf), (nan, 120.0), (60.0, nan), (60.0, 60.0)):
        with pytest.raises(ValueError, match="detector 'haadf': angles"):
            Detector("haadf", inner, outer)


def test_wavelength():
    """4.87 pm at 60 kV and 2.51 pm at 200 kV, as every table has it."""
    assert OPTICS.wavelength_nm == pytest.approx(4.866e-3, rel=1e-3)
    assert Optics(200.0, 20.0, 1.0, 0.0).wavelength_nm == pytest.approx(2.508e-3, rel=1e-3)
