"""The two oxides: lattices, bonds, stoichiometry, and the truth about pillars and walls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators.specimens import DIFFICULTIES, bifeo3, nio_lsmo
from stemscout.simulators.specimens.outlines import distance_to_path, inside


@pytest.fixture(scope="module", params=DIFFICULTIES)
def pillars(request):
    return nio_lsmo.generate(5, request.param)


@pytest.fixture(scope="module", params=DIFFICULTIES)
def domains(request):
    return bifeo3.generate(5, request.param)


def of_kind(s, *kinds):
    return np.isin(s.kind, kinds)


def bonds(atoms, first, second, most):
    """Distances (nm) from atoms of one element, well inside, to the nearest of another."""
    symbols = np.array(atoms.get_chemical_symbols())
    points = atoms.positions / 10
    low, high = points.min(axis=0) + 0.6, points.max(axis=0) - 0.6
    inner = ((points > low) & (points < high)).all(axis=1) & (symbols == first)
    distance, _ = cKDTree(points[symbols == second]).query(points[inner], k=6)
    return distance[distance < most]


def test_the_two_phases_have_their_own_spacing(pillars):
    """La/Sr columns 0.388 nm apart; those of NiO 0.209 nm but for the strain that fits them in."""
    for kind, spacing, strain in ((0, 0.388, 1e-6), (nio_lsmo.NIO_KIND, 0.209, 0.04)):
        yx = pillars.positions_yx_nm[of_kind(pillars, kind)]
        distance, _ = cKDTree(yx).query(yx, k=2)
        assert np.median(distance[:, 1]) == pytest.approx(spacing, rel=strain)


def test_pillars_fit_between_the_planes_of_the_perovskite(pillars):
    """No seam: from each column of NiO at a pillar's border to the nearest of the perovskite it
    is no farther than the spacings of the two phases allow."""
    rock = pillars.positions_yx_nm[of_kind(pillars, nio_lsmo.NIO_KIND)]
    matrix = pillars.positions_yx_nm[of_kind(pillars, 0, 1, 2)]
    for outline in pillars.outlines:
        own = rock[inside(rock, outline.path_yx_nm)]
        own = own[(np.abs(own) < pillars.field_yx_nm[0] / 2 - 0.6).all(axis=1)]
        fewer = [len(n) for n in cKDTree(rock).query_ball_point(own, 0.225)]
        border = own[np.array(fewer) < 5]
        distance, _ = cKDTree(matrix).query(border)
        assert np.median(distance) < 0.25
        assert np.percentile(distance, 95) < 0.32


def test_bonds_within_five_percent():
    """Mn-O 0.194 nm (half of 0.388) and Ni-O 0.209 nm (half of 0.418)."""
    matrix, rock = (
        nio_lsmo.pair(nio_lsmo.PILLAR, np.random.default_rng(0))[k].atoms() for k in (1, 0)
    )
    assert bonds(matrix, "Mn", "O", 0.23) == pytest.approx(0.194, rel=0.05)
    assert bonds(rock, "Ni", "O", 0.23) == pytest.approx(0.209, rel=0.05)


def test_phases_keep_their_distance(pillars):
    rock = pillars.positions_yx_nm[of_kind(pillars, nio_lsmo.NIO_KIND)]
    matrix = pillars.positions_yx_nm[of_kind(pillars, 0, 1, 2)]
    assert cKDTree(matrix).query(rock)[0].min() >= nio_lsmo.CLOSEST_NM - 1e-9


def test_stoichiometry_inside_each_phase():
    """La0.7Sr0.3MnO3 and NiO, counted over whole repeats."""
    with_it, without, _ = nio_lsmo.pair(nio_lsmo.PILLAR, np.random.default_rng(3))
    rock = with_it.window(np.zeros(2), 2.0, 0.0).atoms().get_chemical_symbols()
    assert rock.count("Ni") == rock.count("O") > 100
    big = nio_lsmo.generate(7, "hard").atoms()
    symbols = big.get_chemical_symbols()
    lanthanum, strontium = symbols.count("La"), symbols.count("Sr")
    assert strontium / (lanthanum + strontium) == pytest.approx(0.3, abs=0.01)
    matrix = without.atoms().get_chemical_symbols()
    cells = matrix.count("Mn")
    assert matrix.count("La") + matrix.count("Sr") == pytest.approx(cells, rel=0.12)
    assert matrix.count("O") == pytest.approx(3 * cells, rel=0.12)


def test_outlines_enclose_exactly_the_nio(pillars):
    rock = pillars.positions_yx_nm[of_kind(pillars, nio_lsmo.NIO_KIND)]
    matrix = pillars.positions_yx_nm[of_kind(pillars, 0, 1, 2)]
    within = np.zeros(len(rock), dtype=bool)
    for outline in pillars.outlines:
        within |= inside(rock, outline.path_yx_nm)
        assert not inside(matrix, outline.path_yx_nm).any()
    assert within.all()


def test_cells_lie_in_pillars_and_inclusions_are_tiny(pillars):
    for k, yx, n in zip(
        pillars.feature_class, pillars.feature_yx_nm, pillars.feature_outline, strict=True
    ):
        outline = pillars.outlines[n].path_yx_nm
        assert inside(yx[None], outline)[0]
        if k == nio_lsmo.INCLUSION:
            rock = pillars.positions_yx_nm[of_kind(pillars, nio_lsmo.NIO_KIND)]
            own = rock[inside(rock, outline)]
            assert len(own) >= 3
            assert np.ptp(outline @ [[1, 1], [1, -1]], axis=0).max() / np.sqrt(2) < 1.0 * 1.45
            assert np.linalg.norm(own - own.mean(axis=0), axis=1).max() < 0.7


def test_the_phase_map_is_that_of_the_columns(pillars):
    phase = pillars.maps["phase"]
    half = (np.array(phase.values.shape) - 1) / 2
    for kinds, value in (((nio_lsmo.NIO_KIND,), 1.0), ((0,), 0.0)):
        yx = pillars.positions_yx_nm[of_kind(pillars, *kinds)]
        yx = yx[(np.abs(yx) < pillars.field_yx_nm[0] / 2 - 0.5).all(axis=1)]
        i, j = np.rint(yx / phase.pitch_nm + half).astype(int).T
        assert (phase.values[i, j] == value).mean() > 0.9


def test_inclusions_lie_near_pillars():
    near = []
    for seed in range(10):
        s = nio_lsmo.generate(seed, "medium")
        outlines = [o.path_yx_nm for o in s.outlines if o.feature_class == nio_lsmo.PILLAR]
        yx = s.feature_yx_nm[s.feature_class == nio_lsmo.INCLUSION]
        distance = np.min([distance_to_path(yx.copy(), o, True) for o in outlines], axis=0)
        near.append((distance < 4.0).mean())
    assert np.mean(near) > 0.6


def iron_offsets(s):
    """Of each iron column inside: its place, and how far it is off its four bismuth neighbours."""
    bismuth, iron = (s.positions_yx_nm[of_kind(s, k)] for k in (0, 1))
    iron = iron[(np.abs(iron) < s.field_yx_nm[0] / 2 - 0.6).all(axis=1)]
    distance, index = cKDTree(bismuth).query(iron, k=4)
    whole = distance.max(axis=1) < 0.36
    return iron[whole], (iron - bismuth[index].mean(axis=1))[whole]


def test_iron_is_off_by_what_diffraction_found(domains):
    """0.034 nm in projection, in every domain, away from walls."""
    place, offset = iron_offsets(domains)
    distance = np.full(len(place), np.inf)
    for outline in domains.outlines:
        own = distance_to_path(place.copy(), outline.path_yx_nm, outline.closed)
        distance = np.minimum(distance, own)
    far = distance > 2.0
    assert far.sum() > 1000
    assert np.hypot(*offset[far].T) == pytest.approx(0.0337, rel=0.01)


def test_the_polarisation_map_points_against_the_iron(domains):
    place, offset = iron_offsets(domains)
    found = domains.maps["polarisation"]
    half = (np.array(found.values.shape[:2]) - 1) / 2
    i, j = np.rint(place / found.pitch_nm + half).astype(int).T
    truth = found.values[i, j]
    along = (offset * truth).sum(axis=1)
    strong = np.hypot(*truth.T) > 0.995
    assert (along[strong] < 0).all()
    assert -along[strong] == pytest.approx(0.0337, rel=0.1)


def test_bismuth_is_on_its_lattice(domains):
    yx = domains.positions_yx_nm[of_kind(domains, 0)]
    distance, _ = cKDTree(yx).query(yx, k=2)
    assert distance[:, 1] == pytest.approx(0.3965, rel=1e-6)


def test_walls_turn_the_polarisation_by_what_their_class_says(domains):
    found = domains.maps["polarisation"]
    half = (np.array(found.values.shape[:2]) - 1) / 2
    checked = 0
    for k, yx, angle in zip(
        domains.feature_class, domains.feature_yx_nm, domains.feature_angle_rad, strict=True
    ):
        normal = np.array([np.cos(angle), -np.sin(angle)])
        sides = [yx + d * 1.6 * normal for d in (-1, 1)]
        if np.abs(sides).max() > 13.5:
            continue
        index = [tuple(np.rint(p / found.pitch_nm + half).astype(int)) for p in sides]
        a, b = (found.values[i] for i in index)
        turned = np.degrees(np.arccos(np.clip(a @ b / np.hypot(*a) / np.hypot(*b), -1, 1)))
        assert turned == pytest.approx((90.0, 180.0)[k], abs=15.0)
        checked += 1
    assert checked > 10


def test_straight_walls_are_neutral():
    """The polarisation's component across the wall is the same on both sides."""
    for k in (0, 1):
        for seed in range(6):
            s, without, yx = bifeo3.pair(k, np.random.default_rng(seed))
            place, offset = iron_offsets_small(s)
            # The wall's direction: where the offset changes most, seen from the middle.
            axis = wall_normal(place - yx, offset)
            sides = [offset[(place - yx) @ axis * d > 1.2].mean(axis=0) for d in (-1, 1)]
            assert sides[0] @ axis == pytest.approx(sides[1] @ axis, abs=0.007)
            assert np.ptp(iron_offsets_small(without)[1], axis=0).max() < 1e-3


def iron_offsets_small(s):
    bismuth, iron = (s.positions_yx_nm[of_kind(s, k)] for k in (0, 1))
    iron = iron[(np.abs(iron) < 2.4).all(axis=1)]
    distance, index = cKDTree(bismuth).query(iron, k=4)
    whole = distance.max(axis=1) < 0.36
    return iron[whole], (iron - bismuth[index].mean(axis=1))[whole]


def wall_normal(place, offset):
    best, found = -1.0, None
    for angle in np.arange(0, np.pi, np.pi / 180):
        axis = np.array([np.sin(angle), np.cos(angle)])
        side = place @ axis > 0
        jump = np.linalg.norm(offset[side].mean(axis=0) - offset[~side].mean(axis=0))
        if jump > best:
            best, found = jump, axis
    return found


def test_types_go_with_rotations(domains):
    for outline in domains.outlines:
        allowed = (("71°", "109°"), ("109°", "180°"))[outline.feature_class]
        assert outline.note.split()[0] in allowed


def test_iron_oxygen_bonds():
    """0.195 and 0.211 nm (Palewicz et al. 2007) within 5 %; nothing overlaps."""
    _, one_domain, _ = bifeo3.pair(0, np.random.default_rng(0))
    found = bonds(one_domain.atoms(), "Fe", "O", 0.24)
    assert found.min() >= 0.95 * 0.195
    assert found.max() <= 1.05 * 0.211


def test_iron_oxygen_bonds_last_across_walls(domains):
    """The same in projection, where all four of them lie, over a whole specimen."""
    iron, oxygen = (domains.positions_yx_nm[of_kind(domains, k)] for k in (1, 2))
    iron = iron[(np.abs(iron) < domains.field_yx_nm[0] / 2).all(axis=1)]
    distance, _ = cKDTree(oxygen).query(iron, k=4)
    assert distance.min() >= 0.95 * 0.195
    assert distance.max() <= 1.05 * 0.211


def test_bismuth_ferrite_is_bifeo3():
    _, one_domain, _ = bifeo3.pair(0, np.random.default_rng(0))
    symbols = one_domain.atoms().get_chemical_symbols()
    cells = symbols.count("Bi")
    assert symbols.count("Fe") == pytest.approx(cells, rel=0.12)
    assert symbols.count("O") == pytest.approx(3 * cells, rel=0.12)


def test_walls_of_every_shape_and_both_classes_occur():
    classes, closed, bent = set(), set(), set()
    for seed in range(12):
        s = bifeo3.generate(seed, "easy")
        classes |= {o.feature_class for o in s.outlines}
        closed |= {o.closed for o in s.outlines}
        bent |= {len(o.path_yx_nm) > 2 for o in s.outlines if not o.closed}
    assert classes == {0, 1}
    assert closed == bent == {True, False}
