"""Patches whose kind and angle are known."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.benchmarks.motifs import KINDS, PER_SPECIMEN, SYMMETRY, motifs, turned

MIDDLE = slice(14, 18)
Y, X = np.mgrid[:32, :32] - 15.5
DISC = np.hypot(Y, X) < 14


@pytest.fixture(scope="module")
def found():
    return motifs(100)


@pytest.fixture(scope="module")
def pictures():
    """(motifs, angles, 32, 32) at 0, a quarter and a third of a turn, and a tenth of a radian."""
    return turned(20, np.array([0.0, np.pi / 2, 2 * np.pi / SYMMETRY, 0.1]))


def alike(one, other):
    return np.array([np.corrcoef(a[DISC], b[DISC])[0, 1] for a, b in zip(one, other, strict=True)])


def test_kinds_are_balanced(found):
    assert found.measured.shape == found.expected.shape == (100, 32, 32)
    assert (np.bincount(found.kind) == 100 / len(KINDS)).all()


def test_the_middle_tells_the_kind(found):
    middle = found.expected[:, MIDDLE, MIDDLE].mean(axis=(1, 2))
    bright = {name: middle[found.kind == k] for k, name in enumerate(KINDS)}
    assert bright["w_mo"].min() > bright["Mo"].max() > bright["Mo"].min() > bright["S2"].max()
    assert bright["S2"].min() > max(bright["vs2"].max(), bright["vmo"].max())


def test_electrons_are_counted(found):
    """The noise is that of counting: its variance is the mean."""
    assert (found.measured == np.round(found.measured)).all()
    noise = found.measured - found.expected
    assert noise.mean() == pytest.approx(0.0, abs=0.1)
    assert noise.var() == pytest.approx(found.expected.mean(), rel=0.05)


def test_a_scan_that_is_turned_turns_the_picture(pictures):
    quarter = [np.rot90(p, k) for p in pictures[:, 0] for k in (1, 3)]
    either = alike(np.repeat(pictures[:, 1], 2, axis=0), quarter).reshape(-1, 2)
    assert either.max(axis=1).min() > 0.999
    assert len(np.unique(either.argmax(axis=1))) == 1  # always in the same sense


def test_motifs_have_the_symmetry_that_is_said_of_them(pictures):
    assert alike(pictures[:, 0], pictures[:, 2]).min() > 0.97
    assert alike(pictures[:, 0], pictures[:, 3]).max() < 0.97


def test_the_same_seed_gives_the_same_patches(found):
    assert np.array_equal(motifs(100).measured, found.measured)
    for other in (motifs(100, 1), motifs(100, 0, "validation")):
        assert not np.array_equal(other.angle_rad, found.angle_rad)
        assert not np.array_equal(other.measured, found.measured)


def test_many_patches_come_from_many_specimens():
    more = motifs(PER_SPECIMEN + len(KINDS))
    assert not np.array_equal(more.measured[: len(KINDS)], more.measured[PER_SPECIMEN:])


def test_fewer_patches_than_kinds_are_refused():
    with pytest.raises(ValueError, match="4 patches; there must be at least 5, one of each kind"):
        motifs(4)
