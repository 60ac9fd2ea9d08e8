"""Graphene: what is generated is graphene, complete with its truth."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, graphene, specimen_module

SEEDS = st.integers(0, 2**32)


@pytest.fixture(scope="module", params=DIFFICULTIES)
def specimen(request):
    return graphene.generate(5, request.param, 16.0)


def test_same_seed_same_specimen_other_seed_another():
    a, b, c = (graphene.generate(s, "medium", 8.0) for s in (1, 1, 2))
    assert np.array_equal(a.positions_yx_nm, b.positions_yx_nm)
    assert np.array_equal(a.feature_yx_nm, b.feature_yx_nm)
    assert not np.array_equal(a.feature_yx_nm, c.feature_yx_nm)


def test_bond_lengths(specimen):
    """C-C is 0.142 nm and Si-C 0.175 nm, within 5 %; nothing overlaps."""
    points = np.column_stack([specimen.positions_yx_nm, specimen.height_nm])
    inner = (np.abs(specimen.positions_yx_nm) < 7.5).all(axis=1)
    distance, neighbour = cKDTree(points).query(points[inner], k=4)
    kinds = specimen.kind[inner]
    first = distance[:, 1]
    carbon = (kinds == 0) & (specimen.kind[neighbour[:, 1:4]] == 0).all(axis=1)
    assert first[carbon] == pytest.approx(0.142, rel=0.05)
    assert first[kinds == 1] == pytest.approx(0.175, rel=0.05)
    assert first.min() > 0.13


def test_density_outside_defects(specimen):
    """Two atoms in a cell of 0.246² √3/2 nm²."""
    side = 14.0
    inner = (np.abs(specimen.positions_yx_nm) < side / 2).all(axis=1).sum()
    features = (np.abs(specimen.feature_yx_nm) < side / 2).all(axis=1)
    vacancies = (features & (specimen.feature_class == 1)).sum()
    expected = 2 * side**2 / (0.246**2 * np.sqrt(3) / 2)
    assert inner + vacancies == pytest.approx(expected, rel=0.01)


def test_truth_is_where_the_defects_are(specimen):
    tree = cKDTree(specimen.positions_yx_nm)
    distance, nearest = tree.query(specimen.feature_yx_nm)
    silicon = specimen.feature_class == 0
    assert distance[silicon] == pytest.approx(0.0, abs=1e-9)
    assert (specimen.kind[nearest[silicon]] == 1).all()
    assert distance[~silicon] == pytest.approx(0.142, rel=0.01)
    assert silicon.sum() == (specimen.kind == 1).sum(), "a silicon atom without truth"


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, difficulty=st.sampled_from(DIFFICULTIES), field=st.floats(5.0, 20.0))
def test_features_are_enough_inside_and_apart(seed, difficulty, field):
    s = graphene.generate(seed, difficulty, field)
    assert len(s.feature_class) >= 8
    radius = np.array([s.classes[k].context_radius_nm for k in s.feature_class])
    assert (np.abs(s.feature_yx_nm).max(axis=1) <= field / 2 - radius + 1e-9).all()
    pairs = cKDTree(s.feature_yx_nm).query_pairs(graphene.SEPARATION_NM - 1e-9)
    assert not pairs


def test_context_discs_fit_a_third_of_the_frame():
    for c in graphene.CLASSES:
        assert c.context_radius_nm <= graphene.FRAME_NM / 3
        assert c.max_pixel_nm >= graphene.FRAME_NM / graphene.FRAME_PX


def test_atoms_describe_the_same_specimen(specimen):
    atoms = specimen.atoms()
    assert len(atoms) == len(specimen.kind)
    corner = np.asarray(atoms.info["corner_yx_nm"])
    assert np.allclose(atoms.positions[:, [1, 0]] / 10 + corner, specimen.positions_yx_nm)
    assert np.allclose(np.diff(np.unique(atoms.positions[:, 2])), graphene.SILICON_HEIGHT_NM * 10)
    symbols = np.array(atoms.get_chemical_symbols())
    assert (symbols == np.array(specimen.kinds)[specimen.kind]).all()
    assert (atoms.positions >= 0).all()
    assert (atoms.positions <= atoms.cell.lengths()).all()


def test_defects_lie_in_groups():
    """Within 2.5 nm of a defect there are at least twice as many others as by chance."""
    pairs = {"specimen": 0, "scattered": 0}
    rng = np.random.default_rng(0)
    for seed in range(8):
        s = graphene.generate(seed, "medium", 24.0)
        pairs["specimen"] += len(cKDTree(s.feature_yx_nm).query_pairs(2.5))
        points = rng.uniform(-12, 12, s.feature_yx_nm.shape)
        pairs["scattered"] += len(cKDTree(points).query_pairs(2.5))
    assert pairs["specimen"] > 2 * pairs["scattered"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((0, "extreme", 8.0), "unknown difficulty 'extreme'; there are: easy, medium, hard"),
        ((0, "easy", 3.0), "a field of 3.0 nm"),
        ((0, "easy", float("nan")), "a field of nan nm"),
    ],
)
def test_bad_input(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        graphene.generate(*arguments)


def test_unknown_specimens_list_the_known():
    with pytest.raises(ValueError, match="unknown specimen 'diamond'; there are: graphene"):
        specimen_module("diamond")


def test_truth_cannot_be_changed(specimen):
    with pytest.raises(ValueError, match="read-only"):
        specimen.feature_yx_nm[0] = 0.0
