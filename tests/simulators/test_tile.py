"""One tile: its slices, its box, and what its grid can hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.simulators import tile
from stemscout.simulators.grid import Grid
from stemscout.simulators.multislice import Multislice, render
from stemscout.simulators.optics import Detector, Optics
from stemscout.simulators.specimens import specimen_module

OPTICS = Optics(60.0, 30.0, 80.0, 0.0, detectors=(Detector("haadf", 60.0, 120.0),))


def test_an_atom_is_as_bright_between_grid_points_as_on_them():
    """abTEM's own projection loses a third there; see projection.py."""
    from ase import Atoms

    peaks = []
    for offset in (0.0, 0.013, 0.029, 0.041):  # Å; the grid is about 0.13 Å
        atom = Atoms("C", [[10.0 + offset, 10.0 + 2 * offset, 2.0]], cell=[20, 20, 4])
        atom.info["corner_yxz_nm"] = (0.0, 0.0, 0.0)
        over = Grid((1.0 + 0.2 * offset, 1.0 + 0.1 * offset), (1, 1), 0.05)
        still = Multislice(1, {"C": 0.0}, tile_nodes=1)
        peaks.append(float(render(atom, over, OPTICS, still)["haadf"][0, 0]))
    assert peaks == pytest.approx([peaks[0]] * 4, rel=0.01)


@pytest.mark.parametrize("symbol", ["C", "Au"])
def test_heavy_atoms_are_no_brighter_than_on_a_finer_grid(symbol, monkeypatch):
    """With gratings made on the grid of the waves, gold would be brighter in HAADF there."""
    from ase import Atoms

    atom = Atoms(symbol, [[10.0, 10.0, 2.0]], cell=[20, 20, 4])
    atom.info["corner_yxz_nm"] = (0.0, 0.0, 0.0)
    over, still = Grid((1.0, 1.0), (1, 1), 0.05), Multislice(1, {symbol: 0.005}, tile_nodes=1)
    optics = replace(OPTICS, energy_kev=200.0, semiangle_mrad=20.0)
    own = render(atom, over, optics, still)["haadf"]
    monkeypatch.setattr(tile, "ANTIALIASING", tile.ANTIALIASING / 2)
    assert own == pytest.approx(render(atom, over, optics, still)["haadf"], rel=0.015)


@pytest.mark.parametrize("side_nm", [0.88, 0.9, 0.925, 1.1, 1.3])
def test_detectors_hold_their_share_of_the_diffraction_pattern(side_nm):
    """Points of the pattern inside every edge of a detector: as many as its area says."""
    optics = specimen_module("bifeo3").OPTICS
    settings = Multislice(1, {}, tile_nodes=4, margin_nm=(side_nm - 0.2) / 2)
    box = tile.box_nm(Grid((0.0, 0.0), (4, 4), 0.05), optics, settings)
    assert side_nm - 1e-9 <= box <= 1.13 * side_nm
    step = optics.wavelength_nm / box
    k = step * np.arange(-90, 91)
    angle = np.hypot(k[:, None], k)
    for edge in (e * 1e-3 for d in optics.detectors for e in (d.inner_mrad, d.outer_mrad) if e):
        held = np.count_nonzero(angle < edge) * step**2
        assert held == pytest.approx(np.pi * edge**2, rel=0.02)


def test_windows_and_worlds_have_boxes_of_one_size():
    """So that what is left of their error is the same in both."""
    from stemscout.simulators.calibrate import SAMPLING_NM, settings_of

    module, settings = specimen_module("bifeo3"), settings_of("bifeo3")
    boxes = {
        tile.box_nm(Grid((0.0, 0.0), (5, 5), sampling), module.OPTICS, settings)
        for sampling in (SAMPLING_NM, module.EXACT_SAMPLING_NM)
    }
    assert len(boxes) == 1


def layers(specimen, slice_nm):
    """Of every atom the slice it falls into, and how far from its middle, in slices."""
    z = tile.from_entrance(specimen.atoms(), slice_nm).positions[:, 2] / (10.0 * slice_nm)
    return np.floor(z).astype(int), np.abs(z - np.floor(z) - 0.5)


@pytest.mark.parametrize("name", ["mos2", "wse2", "bifeo3"])
def test_planes_of_atoms_stand_in_the_middle_of_slices(name):
    module = specimen_module(name)
    specimen = module.generate(0, "medium", module.LEAST_FIELD_NM)
    number, off = layers(specimen, module.SLICE_NM)
    crystal = specimen.atoms().numbers != 6
    assert np.median(off[crystal]) < 0.15
    assert number[crystal].min() == 0, "the first begins with what lies lowest"


def test_what_lies_on_a_sheet_does_not_change_how_it_is_sliced():
    specimen = specimen_module("mos2").generate(0, "hard")
    carbon = np.array([k.name == "C" for k in specimen.kinds])[specimen.kind]
    assert carbon.any()
    clean = replace(
        specimen,
        positions_yx_nm=specimen.positions_yx_nm[~carbon],
        height_nm=specimen.height_nm[~carbon],
        kind=specimen.kind[~carbon],
    )
    slice_nm = specimen_module("mos2").SLICE_NM
    sheet = specimen.atoms().numbers != 6
    assert np.array_equal(layers(specimen, slice_nm)[0][sheet], layers(clean, slice_nm)[0])
