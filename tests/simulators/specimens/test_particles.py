"""Gold particles and their junctions, and the composite of everything."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, composite, nanoparticles

NEAREST = nanoparticles.LATTICE_NM / np.sqrt(2)


@pytest.fixture(scope="module", params=DIFFICULTIES)
def specimen(request):
    return nanoparticles.generate(2, request.param)


def points(s):
    return np.column_stack([s.positions_yx_nm, s.height_nm])


@pytest.mark.parametrize("shape", nanoparticles.SHAPES)
@pytest.mark.parametrize("axis", nanoparticles.AXES)
def test_particles_are_fcc_gold(shape, axis):
    """Every atom inside has twelve neighbours at 0.2884 nm, at a twin plane too."""
    made = nanoparticles._particle(2.0, shape, axis)
    gold = made.atoms[:, :3]
    distance, _ = cKDTree(gold).query(gold, k=13)
    assert distance[:, 1] == pytest.approx(NEAREST, rel=1e-6)
    inner = np.linalg.norm(gold - gold.mean(axis=0), axis=1) < 1.0
    assert inner.sum() > 100
    assert distance[inner, 1:] == pytest.approx(NEAREST, rel=1e-6)


def test_columns_know_how_long_they_are():
    """Along [110] atoms stand in columns; tilted off it each stands alone."""
    lined, tilted = (nanoparticles._particle(2.0, "octahedron", a) for a in ((0, 1, 1), (1, 2, 4)))
    _, where, counts = np.unique(
        np.round(lined.atoms[:, :2], 4), axis=0, return_inverse=True, return_counts=True
    )
    longest = nanoparticles.LONGEST
    assert lined.atoms[:, 3] == pytest.approx((counts[where.ravel()] - 1) / (longest - 1))
    assert lined.atoms[:, 3].max() > 0.5
    assert tilted.atoms[:, 3].max() < 0.2


def test_a_twin_is_no_single_crystal():
    """Second neighbours of fcc are at 0.408 nm; across a twin plane there are others."""
    third = {}
    for shape in ("octahedron", "twin"):
        made = nanoparticles._particle(2.0, shape, (0, 1, 1))
        gold = made.atoms[:, :3]
        pairs = cKDTree(gold).query_pairs(0.5, output_type="ndarray")
        length = np.linalg.norm(gold[pairs[:, 0]] - gold[pairs[:, 1]], axis=1)
        known = np.isclose(length, NEAREST, rtol=1e-3)
        known |= np.isclose(length, nanoparticles.LATTICE_NM, rtol=1e-3)
        known |= np.isclose(length, nanoparticles.LATTICE_NM * np.sqrt(1.5), rtol=1e-3)
        third[shape] = (~known).sum()
    assert third["octahedron"] == 0
    assert third["twin"] > 10


def test_atoms_keep_their_distance(specimen):
    distance, _ = cKDTree(points(specimen)).query(points(specimen), k=2)
    assert distance[:, 1].min() >= nanoparticles.CONTACT_NM - 1e-6


def test_a_junction_is_where_two_particles_touch(specimen):
    """Near it there are atoms nearer to each other than particles apart, and in two lattices."""
    gold = points(specimen)
    # Atoms bonded by gold's own distance belong to one particle.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    pairs = cKDTree(gold).query_pairs(1.0005 * NEAREST, output_type="ndarray")
    lattice = np.isclose(
        np.linalg.norm(gold[pairs[:, 0]] - gold[pairs[:, 1]], axis=1), NEAREST, rtol=4e-4
    )
    pairs = pairs[lattice]
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(gold),) * 2)
    _, label = connected_components(graph, directed=False)
    for yx in specimen.feature_yx_nm:
        near = np.flatnonzero(np.hypot(*(gold[:, :2] - yx).T) < 1.2)
        labels = label[near]
        assert len(set(labels.tolist())) >= 2
        groups = [gold[near[labels == k]] for k in set(labels.tolist())]
        closest = min(
            cKDTree(a).query(b)[0].min() for n, a in enumerate(groups) for b in groups[n + 1 :]
        )
        assert closest < nanoparticles.CONTACT_NM + 0.02


def test_most_particles_have_no_junction():
    s = nanoparticles.generate(0, "hard")
    level = nanoparticles.LEVELS["hard"]
    assert len(s.feature_class) == level.junctions < level.alone


def test_the_beam_meets_the_gold_before_the_film(specimen):
    """Heights are along the beam, which is focused into the first atoms that it meets."""
    assert specimen.height_nm.max() == pytest.approx(-nanoparticles.ABOVE_FILM_NM, abs=0.01)
    atoms = specimen.window(specimen.feature_yx_nm[0], 3.0).atoms()
    gold = np.array(atoms.get_chemical_symbols()) == "Au"
    z = atoms.positions[:, 2] / 10
    assert z[~gold].min() - z[gold].max() == pytest.approx(nanoparticles.ABOVE_FILM_NM, abs=0.15)
    assert 0 < nanoparticles.OPTICS.defocus_nm < np.ptp(z[gold])
    film = specimen.window(np.array([40.0, 40.0]), 2.0, 0.0).atoms()
    heights = film.positions[:, 2][np.array(film.get_chemical_symbols()) == "C"] / 10
    assert np.ptp(heights) == pytest.approx(specimen.film_nm, abs=0.3)


def test_a_pair_without_a_junction_is_the_same_pair_apart():
    with_it, without, yx = nanoparticles.pair(0, np.random.default_rng(0))
    near = cKDTree(with_it.positions_yx_nm).query(yx)[0]
    assert near < 0.3
    assert len(with_it.kind) == pytest.approx(len(without.kind), rel=0.2)


@pytest.fixture(scope="module")
def mixture():
    return composite.generate(1)


def test_the_composite_is_hard_only():
    for difficulty in ("easy", "medium"):
        with pytest.raises(ValueError, match="it is made only at: hard"):
            composite.generate(0, difficulty)


def test_it_holds_every_material_and_kind_of_feature(mixture):
    materials = set(np.unique(mixture.maps["material"].values).astype(int))
    assert materials == {0, 1, 2, 3, 4, 5}
    shapes = {mixture.classes[k].shape for k in mixture.feature_class}
    assert shapes == {"point", "segment", "cell"}
    prefixes = {mixture.classes[k].name.split()[0] for k in mixture.feature_class}
    assert prefixes == {p.prefix for p in composite.PARTS}


def test_features_lie_in_their_material(mixture):
    found = mixture.maps["material"]
    half = (np.array(found.values.shape) - 1) / 2
    i, j = np.rint(mixture.feature_yx_nm / found.pitch_nm + half).astype(int).T
    names = [mixture.classes[k].name.split()[0] for k in mixture.feature_class]
    wanted = [[p.prefix for p in composite.PARTS].index(n) + 1 for n in names]
    assert (found.values[i, j] == wanted).all()


def test_most_of_the_field_is_empty(mixture):
    assert (mixture.maps["material"].values == 0).mean() > 0.4


def test_every_piece_brings_its_own_truth(mixture):
    """Its maps on the field's squares, 0 outside it, and the displacement of its columns."""
    material = mixture.maps["material"].values
    for number, part in enumerate(composite.PARTS, start=1):
        own = {k: m for k, m in mixture.maps.items() if k.split()[0] == part.prefix}
        assert own
        for m in own.values():
            assert m.values.shape[:2] == material.shape
            assert not m.values[material != number].any()
    size = np.linalg.norm(mixture.maps["BiFeO3 polarisation"].values, axis=2)
    assert np.median(size[material == 4]) == pytest.approx(1.0, abs=0.01)
    pillars = [n for n, k in enumerate(mixture.feature_class)
               if mixture.classes[k].name == "LSMO pillar"]  # fmt: skip
    half = (np.array(material.shape) - 1) / 2
    i, j = np.rint(mixture.feature_yx_nm[pillars] / 0.5 + half).astype(int).T
    assert mixture.maps["LSMO phase"].values[i, j].mean() > 0.9
    iron = mixture.kind == [k.name for k in mixture.kinds].index("BiFeO3 Fe")
    moved = np.hypot(*mixture.displacement_yx_nm.T)
    assert np.median(moved[iron]) == pytest.approx(0.0337, rel=0.05)
    assert not moved[mixture.kind == 0].any()


def test_outlines_moved_with_their_pieces(mixture):
    for k, yx, n in zip(
        mixture.feature_class, mixture.feature_yx_nm, mixture.feature_outline, strict=True
    ):
        if n >= 0:
            outline = mixture.outlines[n]
            assert outline.feature_class == k
            assert np.abs(outline.path_yx_nm.mean(axis=0) - yx).max() < 20.0
