"""Which columns count as what: pairs of chalcogens, and what is left of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from stemscout.simulators import fast
from stemscout.simulators.grid import PAD, Grid
from stemscout.simulators.species import IN_LINE_NM, contributions, shares, species_of
from stemscout.simulators.specimens import SPECIMENS, specimen_module
from stemscout.simulators.world import open_world, shipped

CHALCOGEN = {"mos2": "S", "wse2": "Se"}
ANTISITE = {"mos2": "mo_s", "wse2": "w_se"}


def labels(values_of, grid_yx_nm):
    """The value of a map at every node of a square grid with these coordinates."""
    shape = np.array(values_of.values.shape)
    at = np.rint(grid_yx_nm / values_of.pitch_nm + (shape[0] - 1) / 2).astype(int)
    at = at.clip(0, shape[0] - 1)
    return values_of.values[np.ix_(at, at)]


def is_chalcogen(s):
    return np.array([k.name == CHALCOGEN[s.name] for k in s.kinds])[s.kind]


def antisites(s):
    """Metals out of the sheet's middle plane."""
    return (s.kind == 0) & (np.abs(s.height_nm) > 0.1)


@pytest.mark.parametrize("name", CHALCOGEN)
def test_chalcogens_are_in_pairs_in_2h_and_alone_in_1t(name):
    module = specimen_module(name)
    s = next(
        s for s in (module.generate(k, "easy") for k in range(9)) if s.maps["phase"].values.any()
    )
    own = is_chalcogen(s) & (np.abs(s.positions_yx_nm) < 11.0).all(axis=1)
    phase = s.maps["phase"]
    cell = np.rint(s.positions_yx_nm / phase.pitch_nm + (len(phase.values) - 1) / 2).astype(int)
    cell = cell.clip(0, len(phase.values) - 1)
    inside = binary_erosion(phase.values > 0, iterations=2)[tuple(cell.T)]
    outside = binary_erosion(phase.values == 0, iterations=2)[tuple(cell.T)]
    share = shares(s)
    assert set(np.unique(share)) == {0.0, 1.0}
    assert share[own & inside].mean() < 0.01
    assert share[own & outside].mean() > 0.97, "all but those beside a vacancy or a foreign atom"
    assert not share[~is_chalcogen(s) & ~antisites(s)].any()


@pytest.mark.parametrize("name", CHALCOGEN)
def test_a_metal_in_a_chalcogens_place_is_a_species_of_its_own(name):
    s = specimen_module(name).generate(0, "easy")
    of_class = [s.classes[k].name == ANTISITE[name] for k in s.feature_class]
    assert antisites(s).sum() == sum(of_class) > 0
    assert shares(s)[antisites(s)].tolist() == [1.0] * sum(of_class)
    metal = np.array([k.name for k in s.kinds])[s.kind[antisites(s)]]
    assert [f"{m}:{m}" for m in metal] == [species_of(s)[1]] * sum(of_class)


@pytest.mark.parametrize("name", CHALCOGEN)
def test_beside_a_vacancy_a_chalcogen_is_alone(name):
    with_it, without, yx = specimen_module(name).pair(0, np.random.default_rng(0))
    near = [
        is_chalcogen(s) & (np.hypot(*(s.positions_yx_nm - yx).T) < 0.05) for s in (with_it, without)
    ]
    assert [int(n.sum()) for n in near] == [1, 2]
    assert shares(with_it)[near[0]].tolist() == [0.0]
    assert shares(without)[near[1]].tolist() == [1.0, 1.0]


def test_relaxation_leaves_no_doubt_about_what_is_a_pair():
    """Atoms of a pair stand far nearer to each other than the bound, all others far beyond."""
    from scipy.spatial import cKDTree

    s = specimen_module("mos2").generate(0)
    own = s.positions_yx_nm[is_chalcogen(s)]
    distance = cKDTree(own).query(own, k=2)[0][:, 1]
    assert not ((distance > IN_LINE_NM / 3) & (distance < 5 * IN_LINE_NM)).any()


@pytest.mark.parametrize("name", SPECIMENS)
def test_every_species_of_a_specimen_has_a_profile(name):
    s = specimen_module(name).generate(0, "hard")
    assert tuple(species_of(s)) == fast.load_kernels(name).species


def test_in_a_mixture_sulphur_is_paired_too():
    s = specimen_module("composite").generate(0, "hard")
    names = np.array(species_of(s))
    _, species, amplitude = contributions(s)
    assert (names[species] == "S:S").sum() > 5000
    assert (names[species] == "S").sum() > 500
    assert amplitude.min() > 0


@pytest.mark.parametrize("name", CHALCOGEN)
@pytest.mark.parametrize("detector", ["haadf", "maadf"])
def test_a_pair_that_is_lost_atom_by_atom(name, detector):
    """After the first, and the second, the image is that of what is left."""
    s = specimen_module(name).generate(0, "easy", 8.0)
    grid = Grid.over((4.0, 4.0), 0.04)
    paired = np.flatnonzero(is_chalcogen(s) & (shares(s) > 0))
    inner = paired[(np.abs(s.positions_yx_nm[paired]) < 1.5).all(axis=1)]
    steps = [inner[s.height_nm[inner] > 0][:20], inner[s.height_nm[inner] < 0][:30]]
    image, gone = fast.coefficients(s, grid, detector).copy(), np.zeros(len(s.kind), dtype=bool)
    for columns in steps:
        fast.remove(s, columns, grid, detector, image, gone)
        gone[columns] = True
        left = replace(
            s,
            positions_yx_nm=s.positions_yx_nm[~gone],
            height_nm=s.height_nm[~gone],
            kind=s.kind[~gone],
        )
        assert image == pytest.approx(fast.coefficients(left, grid, detector), abs=2e-7)


def brightness_1t_to_2h(world, image):
    """Mean intensity of the 1T phase over that of 2H, away from boundary and contamination."""
    maps, spacing = world.specimen.maps, world.grid.sampling_nm
    axis = (np.arange(len(image)) - (len(image) - 1) / 2) * spacing
    clean = labels(maps["contamination"], axis) <= 0.05
    phase = labels(maps["phase"], axis) > 0.5
    away = int(0.6 / spacing)
    one_t, two_h = (binary_erosion(p & clean, iterations=away) for p in (phase, ~phase))
    return image[one_t].mean() / image[two_h].mean()


@pytest.mark.parametrize(("detector", "within"), [("haadf", 0.02), ("maadf", 0.03)])
def test_the_phases_differ_as_they_do_by_multislice(detector, within):
    """By 16 % in MAADF: the two sulphurs of 2H scatter coherently, those of 1T do not."""
    world = open_world(shipped("mos2", "medium"))
    edge = PAD + round(world.recipe.margin_nm / world.grid.sampling_nm)
    quick = fast.render(world.specimen, world.grid, detector)[edge:-edge, edge:-edge]
    wanted = brightness_1t_to_2h(world, world.image(detector))
    assert brightness_1t_to_2h(world, quick) == pytest.approx(wanted, abs=within)
    if detector == "maadf":
        assert wanted == pytest.approx(0.84, abs=0.01)
