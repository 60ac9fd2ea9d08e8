"""MoS2 and WSe2: structure, defects that are what they are called, and two phases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, mos2, wse2
from stemscout.simulators.specimens.motifs import edges, motifs
from stemscout.simulators.specimens.outlines import distance_to_path, inside

# Atoms by symbol within 0.12 nm of the place (in projection): without the defect, and with it.
MEANING = {
    "mos2": {
        "vs": ({"S": 2}, {"S": 1}),
        "vs2": ({"S": 2}, {}),
        "vmo": ({"Mo": 1}, {}),
        "w_mo": ({"Mo": 1}, {"W": 1}),
        "v_mo": ({"Mo": 1}, {"V": 1}),
        "se_s": ({"S": 2}, {"S": 1, "Se": 1}),
        "mo_s": ({"S": 2}, {"S": 1, "Mo": 1}),
        "s_mo": ({"Mo": 1}, {"S": 2}),
    },
    "wse2": {
        "vse": ({"Se": 2}, {"Se": 1}),
        "vse2": ({"Se": 2}, {}),
        "vw": ({"W": 1}, {}),
        "mo_w": ({"W": 1}, {"Mo": 1}),
        "v_w": ({"W": 1}, {"V": 1}),
        "s_se": ({"Se": 2}, {"Se": 1, "S": 1}),
        "w_se": ({"Se": 2}, {"Se": 1, "W": 1}),
        "se_w": ({"W": 1}, {"Se": 2}),
    },
}
LATTICE = {"mos2": 0.316, "wse2": 0.328}
BOND = {"mos2": 0.2417, "wse2": 0.2526}


@pytest.fixture(scope="module", params=[mos2, wse2], ids=lambda m: m.NAME)
def module(request):
    return request.param


@pytest.fixture(scope="module", params=DIFFICULTIES)
def specimen(request, module):
    return module.generate(1, request.param)


def symbols(s):
    return np.array([k.name for k in s.kinds])[s.kind]


def points(s):
    return np.column_stack([s.positions_yx_nm, s.height_nm])


def sheet(s):
    return s.height_nm < 0.3


def test_every_class_is_what_it_is_called(module):
    for index, (name, (before, after)) in enumerate(MEANING[module.NAME].items()):
        assert module.CLASSES[index].name == name
        for seed in range(3):
            with_it, without, yx = module.pair(index, np.random.default_rng(seed))
            for s, wanted in ((with_it, after), (without, before)):
                near = np.hypot(*(s.positions_yx_nm - yx).T) < 0.12
                assert dict(Counter(symbols(s)[near].tolist())) == wanted


def test_the_meanings_hold_in_a_whole_sheet(module, specimen):
    names = list(MEANING[module.NAME])
    tree = cKDTree(specimen.positions_yx_nm)
    for k, yx in zip(specimen.feature_class, specimen.feature_yx_nm, strict=True):
        if specimen.classes[k].shape == "point":
            near = tree.query_ball_point(yx, 0.12)
            found = Counter(symbols(specimen)[near].tolist())
            assert dict(found) == MEANING[module.NAME][names[k]][1]


def test_lattice_and_bonds_outside_defects(module):
    """a, and metal-chalcogen, of the crystal."""
    _, s, _ = module.pair(0, np.random.default_rng(0))
    metal = symbols(s) == module.MATERIAL.metal
    inner = (np.abs(s.positions_yx_nm) < 2.4).all(axis=1)
    distance, _ = cKDTree(points(s)[metal]).query(points(s)[metal & inner], k=7)
    assert distance[:, 1:] == pytest.approx(LATTICE[module.NAME], rel=1e-4)
    distance, _ = cKDTree(points(s)[~metal]).query(points(s)[metal & inner], k=7)
    assert distance[:, :6] == pytest.approx(BOND[module.NAME], rel=0.005)
    assert distance[:, 6].min() > 1.4 * BOND[module.NAME]


def test_bonds_everywhere_within_five_percent(module, specimen):
    """Of the metal's own bonds, in both phases, 0.8 nm and more from point defects."""
    own = symbols(specimen)
    metal = (own == module.MATERIAL.metal) & sheet(specimen)
    other = (own == module.MATERIAL.chalcogen) & sheet(specimen)
    inner = (np.abs(specimen.positions_yx_nm) < 11.0).all(axis=1)
    is_point = np.array([specimen.classes[k].shape == "point" for k in specimen.feature_class])
    tree = cKDTree(specimen.feature_yx_nm[is_point])
    far = tree.query(specimen.positions_yx_nm)[0] > 0.8
    distance, _ = cKDTree(points(specimen)[other]).query(
        points(specimen)[metal & inner & far], k=6, distance_upper_bound=0.3
    )
    bonded = distance[np.isfinite(distance)]
    assert bonded == pytest.approx(BOND[module.NAME], rel=0.05)


def test_foreign_atoms_have_their_own_bonds():
    """V-S 0.236 and Mo-Se 0.2527 nm, within 5 %."""
    for name, symbol, other, length in (("v_mo", "V", "S", 0.236), ("se_s", "Se", "Mo", 0.2527)):
        index = list(MEANING["mos2"]).index(name)
        s, _, _ = mos2.pair(index, np.random.default_rng(0))
        own = symbols(s)
        (at,) = np.flatnonzero(own == symbol)
        distance = np.linalg.norm(points(s)[own == other] - points(s)[at], axis=1)
        neighbours = 6 if symbol == "V" else 3
        assert np.sort(distance)[:neighbours] == pytest.approx(length, rel=0.05)


def test_two_chalcogens_to_a_metal_outside_defects(module):
    _, s, _ = module.pair(0, np.random.default_rng(0))
    own = Counter(symbols(s).tolist())
    ratio = own[module.MATERIAL.chalcogen] / own[module.MATERIAL.metal]
    assert ratio == pytest.approx(2.0, rel=0.03)


def test_the_phases_are_told_by_whether_chalcogens_overlap(module):
    seen = 0
    for seed in range(4):
        s = module.generate(seed, "easy")
        if not s.outlines:
            continue
        seen += 1
        island = s.outlines[0].path_yx_nm
        chalcogen = (symbols(s) == module.MATERIAL.chalcogen) & sheet(s)
        upper = s.positions_yx_nm[chalcogen & (s.height_nm > 0.1)]
        lower = s.positions_yx_nm[chalcogen & (s.height_nm < -0.1)]
        away = distance_to_path(upper.copy(), island, True) > 0.5
        away &= (np.abs(upper) < 11.0).all(axis=1)
        is_point = np.array([s.classes[k].shape == "point" for k in s.feature_class])
        away &= cKDTree(s.feature_yx_nm[is_point]).query(upper)[0] > 0.8
        distance, _ = cKDTree(lower).query(upper[away])
        within = inside(upper[away], island)
        assert distance[~within].max() < 0.02
        assert distance[within] == pytest.approx(LATTICE[module.NAME] / np.sqrt(3), rel=0.05)
    assert seen


def test_boundary_segments_lie_between_the_phases(module):
    for seed in range(4):
        s = module.generate(seed, "easy")
        for k, yx, angle in zip(s.feature_class, s.feature_yx_nm, s.feature_angle_rad, strict=True):
            if s.classes[k].shape == "segment":
                normal = 0.15 * np.array([np.cos(angle), -np.sin(angle)])
                sides = inside(np.array([yx - normal, yx + normal]), s.outlines[0].path_yx_nm)
                corner = np.hypot(*(s.outlines[0].path_yx_nm - yx).T).min() < 0.4
                assert sides[0] != sides[1] or corner


def metal_bonds(s, module):
    """Lengths (n, 8) from metals to chalcogens, infinite from 0.29 nm on; and the metals' indices.

    The metals are those of the crystal, inside the field.
    """
    own = symbols(s)
    other = (own == module.MATERIAL.chalcogen) & sheet(s)
    metal = np.flatnonzero(
        (own == module.MATERIAL.metal)
        & (np.abs(s.height_nm) < 0.05)
        & (np.abs(s.positions_yx_nm) < 12.0).all(axis=1)
    )
    distance, _ = cKDTree(points(s)[other]).query(points(s)[metal], k=8, distance_upper_bound=0.29)
    return distance, metal


def from_defects(s, yx):
    is_point = np.array([s.classes[k].shape == "point" for k in s.feature_class])
    return cKDTree(s.feature_yx_nm[is_point]).query(yx)[0]


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_bonds_at_boundaries_are_within_five_percent(module, difficulty):
    """Of every metal of the crystal, at edges, at corners and beside defects as well."""
    seen = 0
    for seed in range(5):
        s = module.generate(seed, difficulty)
        if not s.outlines:
            continue
        distance, metal = metal_bonds(s, module)
        yx = s.positions_yx_nm[metal]
        near = distance_to_path(yx, s.outlines[0].path_yx_nm, True) < 2.2
        bonded = distance[near][np.isfinite(distance[near])]
        assert bonded == pytest.approx(BOND[module.NAME], rel=0.05)
        # No atom is closer to a metal than a bond, and none has more than six.
        fold = np.isfinite(distance).sum(axis=1)
        away = near & (from_defects(s, yx) > 0.8)
        assert set(fold[away]) == {5, 6}
        seen += 1
    assert seen


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_metals_are_a_lattice_constant_apart_but_at_boundaries(module, difficulty):
    """There, they come nearer by up to 3 %."""
    for seed in range(3):
        s = module.generate(seed, difficulty)
        own = symbols(s) == module.MATERIAL.metal
        yx = s.positions_yx_nm[own & (np.abs(s.height_nm) < 0.05)]
        inner = (np.abs(yx) < 11.0).all(axis=1) & (from_defects(s, yx) > 1.2)
        distance, _ = cKDTree(yx).query(yx[inner], k=7)
        assert distance[:, 1:] == pytest.approx(LATTICE[module.NAME], rel=0.03)
        if s.outlines:
            far = distance_to_path(yx[inner].copy(), s.outlines[0].path_yx_nm, True) > 2.5
            assert distance[far, 1:] == pytest.approx(LATTICE[module.NAME], rel=1e-4)
            assert distance[~far, 1:].min() < 0.99 * LATTICE[module.NAME]


def test_defects_on_a_metals_place_stay_on_it(module):
    """Also beside a boundary, whatever moves there."""
    for seed in range(4):
        s = module.generate(seed, "easy")
        names = [c.name for c in s.classes]
        for k, yx in zip(s.feature_class, s.feature_yx_nm, strict=True):
            meaning = MEANING[module.NAME].get(names[k], (0, {}))[1]
            if list(meaning.values()) == [1] and meaning.keys() <= {"W", "V", "Mo"}:
                at = np.hypot(*(s.positions_yx_nm - yx).T).min()
                assert at < 1e-5  # motifs are kept to 1e-5 nm


def test_relaxed_periods_fit_the_lattice_around_them(module):
    """Movement vanishes at the border, and is nowhere along the boundary."""
    for period in edges(module.NAME).values():
        across, along, height = period.moved_nm.T
        order = np.argsort(period.sites_nm[:, 0])
        assert np.abs(period.moved_nm[order[:4]]).max() < 0.002
        assert np.abs(period.moved_nm[order[-4:]]).max() < 0.002
        step = np.abs(np.diff(across[order]))
        assert step[:6].max() < 0.002
        assert step[-6:].max() < 0.002
        assert np.abs(along).max() < 1e-4
        assert (height[period.sites_nm[:, 2] == 0] == 0).all()
        assert 0.005 < np.linalg.norm(period.moved_nm, axis=1).max() < 0.01


def test_every_chalcogen_of_a_relaxed_period_has_three_metals(module):
    for name, five_fold in (("out", 1), ("in", 2)):
        period = edges(module.NAME)[name]
        atoms = period.sites_nm + period.moved_nm
        images = [atoms + np.array([0.0, k * period.period_nm, 0.0]) for k in (-1, 0, 1)]
        metal = np.array(period.symbols) == module.MATERIAL.metal
        apart = np.linalg.norm(np.concatenate(images, axis=0)[None] - atoms[:, None], axis=2)
        other = np.tile(metal, 3)[None] != metal[:, None]
        fold = ((apart < 1.1 * BOND[module.NAME]) & other).sum(axis=1)
        middle = np.argsort(np.abs(atoms[:, 0] - atoms[:, 0].mean()))[:20]
        inner = np.isin(np.arange(len(atoms)), middle)
        assert (fold[inner & ~metal] == 3).all()
        assert sorted(fold[inner & metal].tolist())[: five_fold + 1] == [5] * five_fold + [6]
        bonds = apart[other & (apart < 1.1 * BOND[module.NAME])]
        assert bonds == pytest.approx(BOND[module.NAME], rel=0.025)


def test_metals_beside_a_chalcogen_vacancy_are_drawn_in(module):
    """By 0.010 nm; all bonds are within 5 % of the crystal's."""
    for index in (0, 1):
        s, _, yx = module.pair(index, np.random.default_rng(0))
        metal = symbols(s) == module.MATERIAL.metal
        away = np.sort(np.hypot(*(s.positions_yx_nm[metal] - yx).T))
        assert away[:3] == pytest.approx(LATTICE[module.NAME] / np.sqrt(3) - 0.010, abs=1e-4)
        distance, _ = metal_bonds(s, module)
        inner = np.isfinite(distance) & (distance > 0)
        assert distance[inner] == pytest.approx(BOND[module.NAME], rel=0.05)


def test_bonds_of_antisites_are_within_five_percent(module):
    """Two chalcogens on a metal's place, in themselves and of the metals around."""
    s, _, yx = module.pair(7, np.random.default_rng(0))
    single = {"S": 0.205, "Se": 0.234}[module.MATERIAL.chalcogen]
    other = points(s)[symbols(s) == module.MATERIAL.chalcogen]
    two = np.flatnonzero(np.hypot(*(other[:, :2] - yx).T) < 0.05)
    assert len(two) == 2
    distance, _ = cKDTree(other).query(other[two], k=6)
    assert distance[:, 1:5] == pytest.approx(single, rel=0.05)
    assert distance[:, 5].min() > 1.3 * single
    distance, _ = metal_bonds(s, module)
    assert distance[np.isfinite(distance)] == pytest.approx(BOND[module.NAME], rel=0.05)
    # A metal on a chalcogen's place, to the three metals beside it.
    s, _, _ = module.pair(6, np.random.default_rng(0))
    metal = points(s)[symbols(s) == module.MATERIAL.metal]
    out = metal[np.abs(metal[:, 2]) > 0.05]
    assert len(out) == 1
    distance, _ = cKDTree(metal).query(out, k=4)
    length = {"Mo": 0.2725, "W": 0.2741}[module.MATERIAL.metal]
    assert distance[0, 1:] == pytest.approx(length, rel=0.05)


def test_motifs_are_what_the_command_makes(module):
    """The committed file is that of `stemscout.simulators.specimens.relax_chalcogenide`."""
    from stemscout.simulators.specimens.relax_chalcogenide import boundaries_of, motifs_of

    made = motifs_of(module.MATERIAL)
    assert list(made) == list(motifs(module.NAME))
    for name, kept in motifs(module.NAME).items():
        again = np.array(made[name]["atoms_yxz_nm"]).reshape(-1, 3)
        assert np.allclose(kept.atoms_yxz_nm, again, atol=2e-4)
    made = boundaries_of(module.MATERIAL)
    assert list(made) == list(edges(module.NAME))
    for name, kept in edges(module.NAME).items():
        assert np.allclose(kept.sites_nm, made[name]["sites_nm"], atol=1e-6)
        assert np.allclose(kept.moved_nm, made[name]["moved_nm"], atol=1e-4)
