"""MoS2 and WSe2: structure, defects that are what they are called, and two phases."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, mos2, wse2
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


def test_motifs_are_what_the_command_makes():
    """The committed file is that of `stemscout.simulators.specimens.relax_chalcogenide`."""
    from stemscout.simulators.specimens.motifs import motifs
    from stemscout.simulators.specimens.relax_chalcogenide import motifs_of

    made = motifs_of(mos2.MATERIAL)
    for name, kept in motifs("mos2").items():
        assert np.allclose(
            kept.atoms_yxz_nm, np.array(made[name]["atoms_yxz_nm"]).reshape(-1, 3), atol=2e-4
        )
