"""A world: immutable, reopened from its recipe, point-sampled exactly."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from stemscout.hardware import ScanRequest, Unsupported
from stemscout.simulators import fast
from stemscout.simulators.scan import sample
from stemscout.simulators.specimens import graphene
from stemscout.simulators.visibility import need_e_per_a2
from stemscout.simulators.world import (
    SHIPPED,
    Recipe,
    load_world,
    open_world,
    save_world,
    shipped,
)

REQUEST = ScanRequest((0.3, -0.7), (1.5, 1.5), (64, 64), 24.0)


def sampled(world, request=REQUEST, detector="haadf"):
    out = np.empty(request.shape_yx)
    sample(world, detector, request, (0.0, 0.0), out)
    return out


def test_immutable_and_copied_by_reference(world):
    assert copy.copy(world) is world
    assert copy.deepcopy(world) is world
    with pytest.raises(ValueError, match="read-only"):
        world.coefficients["haadf"][0, 0] = 1.0


def test_pickles_as_its_recipe(world):
    data = pickle.dumps(world)
    assert len(data) < 1000
    again = pickle.loads(data)
    assert again.recipe.digest == world.recipe.digest
    assert np.array_equal(again.coefficients["haadf"], world.coefficients["haadf"])


def test_recipe_decides_the_digest(world):
    recipe = world.recipe
    assert recipe.digest == Recipe(**vars(recipe)).digest
    assert recipe.digest != Recipe(**{**vars(recipe), "entropy": 4}).digest


def test_sampling_at_the_nodes_gives_the_image(world):
    image = world.image("haadf")
    rows, columns = image.shape
    pitch = world.grid.sampling_nm
    whole = ScanRequest((0.0, 0.0), (rows * pitch, columns * pitch), (rows, columns), 1.0)
    inner = sampled(world, whole)[5:-5, 5:-5]
    assert inner == pytest.approx(image[5:-5, 5:-5], rel=1e-4)


def test_sampling_between_nodes_is_smooth(world):
    """A frame at double the density agrees with the coarse one where they meet."""
    fine = ScanRequest((0.3, -0.7), (1.5, 1.5), (192, 192), 24.0)
    assert sampled(world, fine)[1::3, 1::3] == pytest.approx(sampled(world), rel=1e-6)


def test_rotated_sampling_agrees_with_rot90(world):
    about_axis = ScanRequest((0.0, 0.0), (1.5, 1.2), (50, 40), 24.0)
    turned = ScanRequest((0.0, 0.0), (1.2, 1.5), (40, 50), 24.0, np.pi / 2)
    assert sampled(world, turned) == pytest.approx(np.rot90(sampled(world, about_axis)), rel=1e-9)


def test_atoms_are_bright_and_centres_dark_where_the_truth_says():
    world = open_world(Recipe("graphene", "easy", 0, (2, 0, 0), 8.0))
    for k, yx in zip(world.specimen.feature_class, world.specimen.feature_yx_nm, strict=True):
        request = ScanRequest(tuple(yx.clip(-3.7, 3.7)), (0.4, 0.4), (41, 41), 1.0)
        image = sampled(world, request)
        if k == 0:
            brightest = np.unravel_index(image.argmax(), image.shape)
            offset = (np.array(brightest) - 20) * 0.4 / 41 + request.centre_yx_nm - yx
            assert np.hypot(*offset) < 0.02
        elif np.abs(yx).max() < 3.7:  # the hole is darker than the ring of its neighbours
            y, x = np.mgrid[-20:21, -20:21] * 0.4 / 41
            distance = np.hypot(y, x)
            assert image[distance < 0.04].mean() < 0.7 * image[abs(distance - 0.142) < 0.02].mean()
    assert set(world.specimen.feature_class) == {0, 1}


def test_silicon_is_brighter_as_the_power_of_its_number():
    """HAADF goes as Z^1.6 to Z^2 (Crewe; Pennycook): Si on C is (14/6)^n."""
    kernels = fast.load_kernels("graphene")
    flux = (kernels.weights["haadf"] * kernels.sigmas_nm**2).sum(axis=1)
    exponent = np.log(flux[1] / flux[0]) / np.log(14 / 6)
    assert 1.5 < exponent < 2.0


def test_probe_is_no_smaller_than_diffraction_and_the_source_allow():
    """The half width of a carbon atom is at least 0.61 λ/α blurred by the source."""
    optics = graphene.OPTICS
    kernels = fast.load_kernels("graphene")
    r = np.linspace(0, 0.3, 3001)
    profile = (
        kernels.weights["haadf"][0][:, None] * np.exp(-0.5 * (r / kernels.sigmas_nm[:, None]) ** 2)
    ).sum(axis=0)
    fwhm = 2 * r[np.flatnonzero(profile < profile[0] / 2)[0]]
    airy_fwhm = 0.515 * optics.wavelength_nm / (optics.semiangle_mrad * 1e-3)
    expected = np.hypot(airy_fwhm, optics.source_fwhm_nm)
    assert 0.9 * expected < fwhm < 1.3 * expected


def test_needs_stand_as_the_ideal_observer_has_them():
    for name, need in need_e_per_a2("graphene").items():
        assert graphene.NEED_E_PER_A2[name] == pytest.approx(need, rel=0.05)


def test_the_calibration_says_how_good_it_is():
    fit = fast.load_kernels("graphene").provenance["fit"]
    for detector in ("haadf", "maadf"):
        assert fit[detector]["correlation"] >= 0.98
        assert all(abs(e) < 0.05 for e in fit[detector]["peak_error"].values())


def test_coherent_detectors_are_unsupported(world):
    with pytest.raises(Unsupported, match="has no 'abf' for graphene; it has: haadf, maadf"):
        fast.render(world.specimen, world.grid, "abf")


def test_saved_and_loaded(world, tmp_path):
    path = tmp_path / "world.npz"
    save_world(world, path, {"note": "a test"})
    with pytest.raises(FileExistsError):
        save_world(world, path, {"note": "another"})
    assert [p.name for p in tmp_path.iterdir()] == ["world.npz"]
    again = load_world(path)
    assert again.recipe == world.recipe
    assert again.grid == world.grid
    assert again.optics == world.optics
    assert again.specimen.classes == world.specimen.classes
    assert np.array_equal(again.specimen.feature_yx_nm, world.specimen.feature_yx_nm)
    assert np.array_equal(again.coefficients["haadf"], world.coefficients["haadf"])


@pytest.mark.parametrize("damage", ["cut short", "not a world", "empty"])
def test_a_damaged_file_is_refused(world, tmp_path, damage):
    path = tmp_path / "world.npz"
    save_world(world, path, {})
    data = path.read_bytes()
    path.write_bytes(
        {"cut short": data[: len(data) // 2], "not a world": b"text", "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match="is not a readable world"):
        load_world(path)


def test_unknown_renderer():
    with pytest.raises(ValueError, match="unknown renderer 'paint'"):
        open_world(Recipe("graphene", "easy", 0, (), 8.0, "paint"))


class TestShipped:
    """The abtem world in the package."""

    def test_opens_from_its_recipe(self):
        world = open_world(shipped("graphene", "medium"))
        assert world.recipe.renderer == "abtem"
        assert pickle.loads(pickle.dumps(world)) is world
        assert set(world.coefficients) == {"haadf", "maadf"}

    def test_truth_is_that_of_the_generator(self):
        world = open_world(shipped("graphene", "medium"))
        recipe = world.recipe
        again = graphene.generate(recipe.seed, recipe.difficulty, recipe.field_nm)
        assert np.allclose(again.positions_yx_nm, world.specimen.positions_yx_nm, atol=1e-9)
        assert np.allclose(again.feature_yx_nm, world.specimen.feature_yx_nm, atol=1e-9)
        assert again.classes == world.specimen.classes

    @pytest.mark.parametrize("detector", ["haadf", "maadf"])
    def test_fast_renderer_agrees_with_multislice(self, detector):
        """Correlation >= 0.98 on a specimen that the calibration never saw."""
        world = open_world(shipped("graphene", "medium"))
        quick = fast.render(world.specimen, world.grid, detector)[2:-2, 2:-2]
        exact = world.image(detector)
        assert np.corrcoef(quick.ravel(), exact.ravel())[0, 1] >= 0.98

    def test_small_enough_to_ship(self):
        assert sum(p.stat().st_size for p in SHIPPED.glob("*.npz")) < 5e6

    def test_what_is_not_shipped_says_what_is(self):
        with pytest.raises(ValueError, match="there are: graphene-medium"):
            shipped("graphene", "hard")
