"""Positions below a pixel, neighbours, and rings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.agents.perception.dcnn.atoms import neighbours, peaks, rings
from stemscout.agents.perception.dcnn.paint import blobs
from stemscout.simulators.specimens import specimen_module

BOND_NM = 0.142


def painted(at, sigma=1.3, side=48):
    out = np.zeros((1, side, side), dtype=np.float32)
    at = np.asarray(at, dtype=np.float64)
    blobs(at, np.zeros(len(at), dtype=np.int64), np.full(len(at), sigma), out)
    return out[0]


@settings(max_examples=40, deadline=None)
@given(y=st.floats(4, 43), x=st.floats(4, 43), sigma=st.floats(0.8, 3.0))
def test_a_gaussian_is_found_where_it_is(y, x, sigma):
    found = peaks(painted([[y, x]], sigma), 0.3, 3.0)
    assert len(found.yx_px) == 1
    assert found.yx_px[0] == pytest.approx([y, x], abs=0.02)
    assert 0.67 < found.height[0] <= 1.0  # the nearest pixel is half a diagonal away at most


def test_peaks_come_strongest_first_and_apart():
    values = painted([[10, 10], [30, 30]]) * 0.6 + painted([[30, 12]])
    found = peaks(values, 0.3, 3.0)
    assert found.yx_px[0] == pytest.approx([30, 12], abs=0.05)
    assert len(found.height) == 3
    assert (np.diff(found.height) <= 0).all()
    assert len(peaks(values, 0.7, 3.0).height) == 1


def test_of_two_that_are_too_near_the_stronger_is_one():
    values = np.maximum(painted([[20, 20]]), 0.8 * painted([[20, 24]]))
    assert len(peaks(values, 0.3, 6.0).height) == 1
    assert len(peaks(values, 0.3, 3.0).height) == 2


def test_a_plateau_is_one_peak():
    values = np.zeros((20, 20))
    values[8:10, 8:10] = 1.0
    found = peaks(values, 0.5, 3.0)
    assert len(found.height) == 1


def test_nothing_is_found_in_nothing():
    assert len(peaks(np.zeros((8, 8)), 0.1, 2.0).height) == 0


def honeycomb(cells=6):
    a, b = BOND_NM * np.array([1.5, np.sqrt(3) / 2]), BOND_NM * np.array([1.5, -np.sqrt(3) / 2])
    basis = (np.zeros(2), np.array([BOND_NM, 0.0]))
    return np.array([i * a + j * b + c for i in range(cells) for j in range(cells) for c in basis])


def sizes(yx_nm):
    return sorted(len(r) for r in rings(yx_nm, neighbours(yx_nm, 1.3 * BOND_NM)))


def test_graphene_is_hexagons():
    assert set(sizes(honeycomb())) == {6}
    assert len(sizes(honeycomb())) == 25


def test_a_vacancy_joins_three_hexagons_in_a_ring_of_twelve():
    atoms = honeycomb()
    middle = np.linalg.norm(atoms - atoms.mean(axis=0), axis=1).argmin()
    found = sizes(np.delete(atoms, middle, axis=0))
    assert found == [6] * 22 + [12]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stone-wales", {5: 2, 7: 2}),
        ("divacancy 5-8-5", {5: 2, 8: 1}),
        ("divacancy 555-777", {5: 3, 7: 3}),
        ("single vacancy", {5: 1, 9: 1}),
    ],
)
def test_rings_tell_the_defect(name, expected):
    """Of the true atoms about a defect of each kind."""
    module = specimen_module("graphene")
    of = [c.name for c in module.CLASSES].index(name)
    specimen, _, _ = module.pair(of, np.random.default_rng(0))
    yx = specimen.positions_yx_nm
    found = [len(r) for r in rings(yx, neighbours(yx, 1.28 * BOND_NM))]
    odd = {n: found.count(n) for n in set(found) - {6} if n < 12}
    assert odd == expected


def test_bonds_never_cross_and_the_shorter_one_stays():
    square = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.9, 0.9]])
    found = {tuple(sorted(p)) for p in neighbours(square, 1.5).tolist()}
    assert (0, 3) in found
    assert (1, 2) not in found


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_atoms_have_no_bonds(count):
    assert neighbours(np.zeros((count, 2)), 1.0).shape == (0, 2)
    assert rings(np.zeros((count, 2)), np.empty((0, 2), dtype=np.int64)) == []
