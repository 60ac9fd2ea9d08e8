"""Amorphous carbon: its density, its distances, and that every specimen has its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from stemscout.simulators import fast
from stemscout.simulators.grid import Grid
from stemscout.simulators.specimens import amorphous, nanoparticles, specimen_module


def carbon(name, seed):
    """The contamination (n, 3) of a hard specimen."""
    module = specimen_module(name)
    s = module.generate(seed, "hard")
    kind = [k.name for k in s.kinds].index("C")
    ground = 0.29 if module.THICKNESS_NM == 0 else module.THICKNESS_NM
    here = (s.kind == kind) & (s.height_nm > ground)
    return np.column_stack([s.positions_yx_nm, s.height_nm])[here]


def test_the_block_is_dense_and_nowhere_closer_than_a_bond():
    atoms = amorphous.block()
    assert len(atoms) == round(np.prod(amorphous.BLOCK_NM) * amorphous.DENSITY_PER_NM3)
    distance, _ = cKDTree(atoms, boxsize=amorphous.BLOCK_NM).query(atoms, k=2)
    assert distance[:, 1].min() >= amorphous.CLOSEST_NM


@pytest.mark.parametrize("name", ["graphene", "mos2", "nio_lsmo", "bifeo3"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_two_atoms_of_contamination_coincide_where_patches_overlap(name, seed):
    atoms = carbon(name, seed)
    assert len(atoms) > 1000
    distance, _ = cKDTree(atoms).query(atoms, k=2)
    assert distance[:, 1].min() >= amorphous.CLOSEST_NM


def test_overlapping_patches_are_as_thick_as_the_thicker():
    flat = ((0.0, 0.0),) * amorphous.WAVES
    heights = ((-1.0, 3.0), (1.3, 5.0))
    patches = tuple(amorphous.Patch((y, 0.0), 3.0, thickness, flat) for y, thickness in heights)
    atoms = amorphous.contamination(patches, 6.0, 1.0)
    points = np.stack(np.meshgrid(*[np.linspace(-6, 6, 241)] * 2, indexing="ij"), -1).reshape(-1, 2)
    volume = amorphous.covered(patches, points).mean() * 12.0**2
    assert len(atoms) == pytest.approx(volume * amorphous.DENSITY_PER_NM3, rel=0.02)
    assert atoms[:, 2].min() >= 1.0


def test_films_of_two_seeds_differ_and_one_film_is_the_same_in_both_descriptions():
    grid = Grid.over((6.0, 6.0), 0.08)
    images = []
    for seed in (0, 1):
        s = nanoparticles.generate(seed, "medium").window(np.zeros(2), 6.0)
        bare = replace(
            s,
            positions_yx_nm=np.empty((0, 2)),
            height_nm=np.empty(0),
            kind=np.empty(0, dtype=np.int64),
            share=np.empty(0),
        )
        images.append(fast.render(bare, grid, "haadf"))
        # The film's atoms in ``atoms()`` are those that the fast renderer adds up.
        atoms = bare.atoms()
        corner = np.asarray(atoms.info["corner_yxz_nm"][:2])
        yx = atoms.positions[:, [1, 0]] / 10 + corner
        nodes = np.rint((yx - grid.origin_yx_nm) / grid.sampling_nm).astype(int)
        inside = ((nodes >= 8) & (nodes < 67)).all(axis=1)
        counts = np.zeros(grid.shape_yx)
        np.add.at(counts, tuple(nodes[inside].T), 1.0)
        own = (slice(14, 61),) * 2
        smooth = _smooth(counts)[own].ravel()
        assert np.corrcoef(smooth, _smooth(images[-1])[own].ravel())[0, 1] > 0.9
    assert abs(np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1]) < 0.3


def _smooth(image):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(image.astype(np.float64), 3.0)


def test_carbon_does_not_stand_on_its_own_copy():
    """The projected density varies as that of independent layers: in proportion to thickness."""
    shift = np.zeros(2)
    variances = []
    for thickness in (4.0, 12.0):
        atoms = amorphous.film((12.0, 12.0), thickness, shift, 0.0)
        counts, _, _ = np.histogram2d(atoms[:, 0], atoms[:, 1], bins=60)
        variances.append(counts.var())
    assert variances[1] / variances[0] == pytest.approx(3.0, rel=0.15)


def test_more_than_the_block_holds_is_refused():
    with pytest.raises(ValueError, match="at most 12 nm"):
        amorphous.film((4.0, 4.0), 13.0, np.zeros(2))
