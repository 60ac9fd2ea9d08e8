"""Graphene: rings prove every class, and outside the defects it is graphene."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, graphene, relax
from stemscout.simulators.specimens.motifs import motifs
from stemscout.simulators.specimens.outlines import distance_to_path

SILICON = {"si3", "si4", "si cluster"}
# Rings other than hexagons within 0.9 nm of each defect.  Tersoff leaves the two atoms next to
# a single vacancy bonded (0.18 nm): a 5- and a 9-ring.
RINGS = {
    "si3": {},
    "si4": {5: 2},
    "si cluster": {12: 1},
    "single vacancy": {5: 1, 9: 1},
    "divacancy 5-8-5": {5: 2, 8: 1},
    "divacancy 555-777": {5: 3, 7: 3},
    "stone-wales": {5: 2, 7: 2},
    "hole": ({18: 1}, {30: 1}),
}
# C-C in nm that Tersoff's potential makes of a defect, shortest and longest, and the share of
# bonds that may be further than 5 % from 0.142 nm.  The two atoms on either side of a missing one
# draw near, a rotated bond is short, and so are those of edges; graphene.py says as much.
BONDS = {
    "single vacancy": (0.131, 0.180, 0.06),
    "divacancy 5-8-5": (0.136, 0.179, 0.05),
    "divacancy 555-777": (0.138, 0.159, 0.10),
    "stone-wales": (0.134, 0.151, 0.04),
    "hole": (0.131, 0.144, 0.25),
    "boundary": (0.132, 0.158, 0.17),
}


def rings(points, cutoff):
    """Every inner face of the bonds shorter than ``cutoff``, as indices of its corners."""
    around: dict[int, list[int]] = {}
    for i, j in cKDTree(points).query_pairs(cutoff):
        around.setdefault(i, []).append(j)
        around.setdefault(j, []).append(i)
    follow = {}
    for i, near in around.items():
        order = sorted(near, key=lambda j, i=i: np.arctan2(*(points[j] - points[i])))
        for k, j in enumerate(order):
            follow[(j, i)] = (i, order[k - 1])  # arriving from j, leave by the next bond
    found, used = [], set()
    for edge in follow:
        face, at = [], edge
        while at not in used:
            used.add(at)
            face.append(at[0])
            at = follow[at]
        y, x = points[face].T if face else (np.zeros(1), np.zeros(1))
        if face and np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)) > 0 and len(face) <= 40:
            found.append(np.array(face))
    return found


def odd_rings(specimen, yx, cutoff, reach=0.9):
    found = rings(specimen.positions_yx_nm, cutoff)
    middles = np.array([specimen.positions_yx_nm[f].mean(axis=0) for f in found])
    near = np.hypot(*(middles - yx).T) < reach
    return dict(Counter(len(f) for f, n in zip(found, near, strict=True) if n and len(f) != 6))


@pytest.fixture(scope="module", params=DIFFICULTIES)
def specimen(request):
    return graphene.generate(5, request.param, 16.0)


def carbon_sheet(s):
    """Atoms of the sheet alone: contamination lies higher."""
    return s.height_nm < graphene.CARBON_HEIGHT_NM - 0.01


@pytest.mark.parametrize("index", range(graphene.BOUNDARY))
def test_rings_prove_the_class(index):
    name = graphene.POINTS[index]
    cutoff = 0.21 if name in SILICON else 0.19
    for seed in range(3):
        with_it, without, yx = graphene.pair(index, np.random.default_rng(seed))
        assert odd_rings(without, yx, 0.19) == {}
        allowed = RINGS[name] if isinstance(RINGS[name], tuple) else (RINGS[name],)
        assert odd_rings(with_it, yx, cutoff) in allowed


def test_a_boundary_is_a_row_of_fives_and_sevens():
    for seed in range(4):
        with_it, without, yx = graphene.pair(graphene.BOUNDARY, np.random.default_rng(seed))
        odd = odd_rings(with_it, yx, 0.19, reach=1.6)
        assert set(odd) == {5, 7}
        assert abs(odd[5] - odd[7]) <= 1  # the disc cuts a pair at either end
        assert odd_rings(without, yx, 0.19, reach=1.6) == {}


def test_silicon_has_as_many_neighbours_as_its_name_says():
    """Si-C is 0.17 to 0.19 nm (Zhou et al., Phys. Rev. Lett. 109 (2012) 206803)."""
    for name, neighbours in (("si3", 3), ("si4", 4)):
        s, _, yx = graphene.pair(graphene.POINTS.index(name), np.random.default_rng(1))
        points = np.column_stack([s.positions_yx_nm, s.height_nm])
        silicon = np.flatnonzero(s.kind == 1)
        assert len(silicon) == 1
        assert s.positions_yx_nm[silicon[0]] == pytest.approx(yx, abs=1e-3)
        distance = np.sort(np.linalg.norm(points - points[silicon[0]], axis=1))[1:]
        assert distance[:neighbours] == pytest.approx(0.18, rel=0.06)
        assert distance[neighbours] > 0.24


def test_the_threefold_silicon_stands_out_of_the_plane():
    s, _, _ = graphene.pair(0, np.random.default_rng(0))
    assert 0.06 < s.height_nm.max() < 0.16


def test_bonds_outside_defects_are_graphenes(specimen):
    """C-C is 0.142 nm within 5 %, 1.0 nm and more from defects and boundary."""
    sheet = carbon_sheet(specimen)
    points = np.column_stack([specimen.positions_yx_nm, specimen.height_nm])[sheet]
    far = cKDTree(specimen.feature_yx_nm).query(points[:, :2])[0] > 1.0
    inner = (np.abs(points[:, :2]) < 7.5).all(axis=1)
    for outline in specimen.outlines:
        inner &= distance_to_path(points[:, :2].copy(), outline.path_yx_nm) > 0.9
    distance, _ = cKDTree(points).query(points[far & inner], k=4)
    assert (far & inner).sum() > 1000
    assert distance[:, 1:] == pytest.approx(0.142, rel=0.05)


@pytest.mark.parametrize("index", range(len(graphene.CLASSES)))
def test_bonds_within_defects_are_those_of_tersoffs_potential(index):
    """C-C within 0.9 nm: the shortest, the longest, and how many are within 5 % of 0.142 nm.

    Three in twenty bonds about a small hole are those of its edge, which are shorter.
    """
    name = graphene.CLASSES[index].name
    short, long, most_off = BONDS.get(name, (0.135, 0.149, 0.0))
    for seed in range(3):
        s, _, yx = graphene.pair(index, np.random.default_rng(seed))
        points = np.column_stack([s.positions_yx_nm, s.height_nm])
        pairs = cKDTree(points).query_pairs(0.195, output_type="ndarray")
        near = np.hypot(*(points[pairs].mean(axis=1)[:, :2] - yx).T) < 0.9
        carbon = (s.kind[pairs] == 0).all(axis=1)
        bond = np.linalg.norm(points[pairs[:, 0]] - points[pairs[:, 1]], axis=1)[near & carbon]
        assert len(bond) > 60
        assert short < bond.min()
        assert bond.max() < long
        assert np.mean(np.abs(bond / 0.142 - 1) > 0.05) <= most_off


def test_nothing_stands_closer_than_a_bond(specimen):
    sheet = carbon_sheet(specimen)
    points = np.column_stack([specimen.positions_yx_nm, specimen.height_nm])[sheet]
    distance, _ = cKDTree(points).query(points, k=2)
    inner = (np.abs(points[:, :2]) < 8.0).all(axis=1)
    assert distance[inner, 1].min() > 0.130


def test_density_outside_defects():
    """Two atoms in a cell of 0.246² √3/2 nm², in a field without any defect."""
    _, s, _ = graphene.pair(0, np.random.default_rng(0))
    inner = (np.abs(s.positions_yx_nm) < 2.5).all(axis=1).sum()
    assert inner == pytest.approx(2 * 25.0 / (0.246**2 * np.sqrt(3) / 2), rel=0.02)


def test_every_silicon_is_accounted_for(specimen):
    counts = Counter(graphene.CLASSES[k].name for k in specimen.feature_class)
    expected = counts["si3"] + counts["si4"] + 3 * counts["si cluster"]
    assert (specimen.kind == 1).sum() == expected


def test_defects_are_where_the_truth_says(specimen):
    """At a substitution there is silicon, at a vacancy nothing within 0.07 nm."""
    sheet = carbon_sheet(specimen)
    tree = cKDTree(specimen.positions_yx_nm[sheet])
    kind = specimen.kind[sheet]
    for k, yx in zip(specimen.feature_class, specimen.feature_yx_nm, strict=True):
        name = graphene.CLASSES[k].name
        distance, nearest = tree.query(yx)
        if name in ("si3", "si4"):
            assert kind[nearest] == 1
            assert distance < 1e-3
        elif name in ("single vacancy", "hole", "si cluster"):
            assert distance > 0.07


def test_defects_lie_where_life_puts_them():
    """Near a boundary, and near a patch: more of them than of random points."""
    at_boundary, at_patch = [], []
    rng = np.random.default_rng(0)
    for seed in range(20):
        s = graphene.generate(seed, "medium", 24.0)
        defects = s.feature_yx_nm[s.feature_class != graphene.BOUNDARY]
        anywhere = rng.uniform(-11.6, 11.6, (2000, 2))
        if s.outlines:
            path = s.outlines[0].path_yx_nm
            shares = [(distance_to_path(p.copy(), path) < 3.0).mean() for p in (defects, anywhere)]
            at_boundary.append(shares)
        thick = s.maps["contamination"]
        if thick.values.max() > 0:
            nodes = np.argwhere(thick.values > 0.05) - (np.array(thick.values.shape) - 1) / 2
            tree = cKDTree(nodes * thick.pitch_nm)
            at_patch.append([(tree.query(p)[0] < 2.0).mean() for p in (defects, anywhere)])
    for shares in (at_boundary, at_patch):
        found, chance = np.mean(shares, axis=0)
        assert found > 1.3 * chance


def test_no_defect_is_under_contamination():
    for seed in range(4):
        s = graphene.generate(seed, "hard", 24.0)
        thick = s.maps["contamination"]
        half = (np.array(thick.values.shape) - 1) / 2
        i, j = np.rint(s.feature_yx_nm / thick.pitch_nm + half).astype(int).T
        assert thick.values.max() > 0.5
        assert (thick.values[i, j] < 0.1).all()


def test_contamination_is_carbon_on_the_sheet():
    s = graphene.generate(1, "hard", 24.0)
    above = s.height_nm > graphene.CARBON_HEIGHT_NM - 0.01
    assert above.sum() > 1000
    assert (s.kind[above] == 0).all()


def test_orientation_map_is_that_of_the_lattice():
    """Neighbours of an atom in the middle of each grain lie at the mapped angle."""
    s = graphene.generate(2, "easy", 24.0)
    assert s.outlines, "this seed has a boundary"
    turned = {round(float(v), 6) for v in s.maps["orientation"].values.ravel()}
    assert len(turned) == 2
    angles = np.degrees(sorted(turned))
    between = (angles[1] - angles[0]) % 60
    assert min(between, 60 - between) in (
        pytest.approx(21.8, abs=0.1),
        pytest.approx(27.8, abs=0.1),
    )


FEW = ("si4", "single vacancy", "hole 24")


@pytest.mark.parametrize("name", [*FEW, *(pytest.param(n, marks=pytest.mark.slow) for n in
                                  ("si3", "si cluster", "divacancy 5-8-5", "divacancy 555-777",
                                   "stone-wales", "hole 6"))])  # fmt: skip
def test_motifs_are_what_the_command_makes(name):
    """The committed file is that of `stemscout.simulators.specimens.relax`."""
    kept = json.loads(relax.FILE.read_text())["motifs"]
    assert list(kept) == list(relax.recipes())
    made = relax.motif_of(relax.equilibrium(), relax.recipes()[name])
    assert made["symbols"] == kept[name]["symbols"]
    assert np.allclose(made["atoms_yxz_nm"], kept[name]["atoms_yxz_nm"], atol=2e-4)
    assert made.get("feature_yx_nm") == pytest.approx(kept[name].get("feature_yx_nm"), abs=2e-4)


@pytest.mark.parametrize("name", relax.recipes())
def test_a_feature_is_where_its_defect_is(name):
    """In the middle of what was changed: sites that lost their atom, and atoms that moved."""
    motif = motifs("graphene")[name]
    sites, atoms = motif.sites_yxz_nm[:, :2], motif.atoms_yxz_nm[:, :2]
    apart = [cKDTree(b).query(a)[0] for a, b in ((sites, atoms), (atoms, sites))]
    weight = np.minimum(np.concatenate(apart), 0.1) ** 2
    middle = weight @ np.vstack([sites, atoms]) / max(weight.sum(), 1e-12)
    assert np.hypot(*(middle - motif.feature_yx_nm)) < 0.04


@pytest.mark.slow
@pytest.mark.parametrize("name", relax.BOUNDARIES)
def test_boundaries_are_what_the_command_makes(name):
    kept = json.loads(relax.FILE.read_text())["boundaries"][name]
    made = relax.boundary(relax.equilibrium(), *relax.BOUNDARIES[name])
    assert np.allclose(made["atoms_yx_nm"], kept["atoms_yx_nm"], atol=2e-4)
