"""A world: immutable, reopened from its recipe, its file or the cache, point-sampled exactly."""

from __future__ import annotations

import copy
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stemscout.hardware import ScanRequest, Unsupported
from stemscout.simulators import cache as cache_module
from stemscout.simulators import fast
from stemscout.simulators.cache import Cache
from stemscout.simulators.grid import Grid
from stemscout.simulators.scan import sample
from stemscout.simulators.specimens import (
    DIFFICULTIES,
    SPECIMENS,
    bifeo3,
    graphene,
    nanoparticles,
    specimen_module,
)
from stemscout.simulators.visibility import need_e_per_a2
from stemscout.simulators.world import (
    SHIPPED,
    Recipe,
    circumstances,
    keep,
    load_world,
    open_world,
    render_abtem,
    save_world,
    shipped,
    unpack,
)

REQUEST = ScanRequest((0.3, -0.7), (1.5, 1.5), (64, 64), 24.0)
PHYSICS = Path(__file__).parents[2] / "docs" / "physics.md"
WORLDS = sorted(p.stem for p in SHIPPED.glob("*.npz"))
ABTEM = Recipe("graphene", "easy", 0, (2, 0, 0), 6.0, "abtem")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(cache_module.VARIABLE, str(tmp_path / "cache"))
    return Cache()


def sampled(world, request=REQUEST, detector="haadf"):
    out = np.empty(request.shape_yx)
    sample(world.coefficients[detector], world.grid, request, (0.0, 0.0), out)
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
    assert again.digest == world.digest
    assert np.array_equal(again.coefficients["haadf"], world.coefficients["haadf"])


@pytest.mark.parametrize(
    "change",
    [{"entropy": 4}, {"difficulty": "hard"}, {"field_nm": 9.0}, {"margin_nm": 0.5},
     {"detectors": ("maadf",)}, {"renderer": "abtem"}, {"spawn_key": (2, 1, 0)}],
    ids=lambda c: next(iter(c)),
)  # fmt: skip
def test_everything_that_decides_a_world_is_in_its_address(world, change):
    assert world.recipe.digest == replace(world.recipe).digest
    assert world.recipe.digest != replace(world.recipe, **change).digest


def test_another_generator_makes_another_address(monkeypatch):
    """What a seed stands for may change: an old world of it is not served then."""
    recipe = Recipe("nio_lsmo", "easy", 3, (2, 0, 0), 8.0, "abtem")
    before = recipe.digest
    assert before == recipe.digest
    module = specimen_module("nio_lsmo")
    fewer = replace(module.LEVELS["easy"], cells=(1.5,))
    monkeypatch.setitem(module.LEVELS, "easy", fewer)
    assert recipe.digest != before
    monkeypatch.undo()
    monkeypatch.setattr("stemscout.simulators.specimens.rock_salt.DECAY_NM", 0.6)
    assert recipe.digest != before, "atoms moved along the beam count as well"


def test_optics_settings_and_versions_are_in_the_address():
    made = circumstances(ABTEM)
    assert made["optics"]["energy_kev"] == 60.0
    assert made["settings"]["configurations"] == graphene.CONFIGURATIONS
    assert set(made["versions"]) == {"format", "stemscout", "renderer", "abtem"}
    assert json.loads(json.dumps(made))


def test_a_margin_is_imaged_beyond_the_field():
    plain, wide = (open_world(Recipe("graphene", "easy", 3, (), 8.0, margin_nm=m)) for m in (0, 1))
    assert plain.image("haadf").shape == wide.image("haadf").shape
    inner = (slice(20, -20), slice(20, -20))
    assert wide.image("haadf")[inner] == pytest.approx(plain.image("haadf")[inner], rel=1e-3)


def test_sampling_at_the_nodes_gives_the_image(world):
    image = world.image("haadf")
    rows, columns = image.shape
    pitch = world.grid.sampling_nm
    whole = ScanRequest((0.0, 0.0), (rows * pitch, columns * pitch), (rows, columns), 1.0)
    inner = sampled(world, whole)[5:-5, 5:-5]
    assert inner == pytest.approx(image[5:-5, 5:-5], rel=1e-4, abs=1e-9)


def test_sampling_between_nodes_is_smooth(world):
    """A frame at double the density agrees with the coarse one where they meet."""
    fine = ScanRequest((0.3, -0.7), (1.5, 1.5), (192, 192), 24.0)
    assert sampled(world, fine)[1::3, 1::3] == pytest.approx(sampled(world), rel=1e-6)


def test_rotated_sampling_agrees_with_rot90(world):
    about_axis = ScanRequest((0.0, 0.0), (1.5, 1.2), (50, 40), 24.0)
    turned = ScanRequest((0.0, 0.0), (1.2, 1.5), (40, 50), 24.0, np.pi / 2)
    assert sampled(world, turned) == pytest.approx(np.rot90(sampled(world, about_axis)), rel=1e-9)


def test_silicon_is_bright_and_vacancies_dark_where_the_truth_says(world):
    names = [world.specimen.classes[k].name for k in world.specimen.feature_class]
    checked = set()
    for name, yx in zip(names, world.specimen.feature_yx_nm, strict=True):
        if np.abs(yx).max() > 3.7:
            continue
        image = sampled(world, ScanRequest(tuple(yx), (0.4, 0.4), (41, 41), 1.0))
        if name == "si3":
            offset = (np.array(np.unravel_index(image.argmax(), image.shape)) - 20) * 0.4 / 41
            assert np.hypot(*offset) < 0.02
        elif name == "single vacancy":
            y, x = np.mgrid[-20:21, -20:21] * 0.4 / 41
            distance = np.hypot(y, x)
            assert image[distance < 0.04].mean() < 0.8 * image[abs(distance - 0.15) < 0.03].mean()
        checked.add(name)
    assert {"si3", "single vacancy"} <= checked


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


VARIED = [n for n in SPECIMENS if hasattr(specimen_module(n), "classes_at")]


@pytest.mark.parametrize(
    ("name", "difficulty"),
    [(n, d) for n in SPECIMENS for d in (DIFFICULTIES if n in VARIED else [None])],
)
def test_needs_stand_as_the_ideal_observer_has_them(name, difficulty):
    """Where a feature looks different at each difficulty, each has its own."""
    module = specimen_module(name)
    classes = module.classes_at(difficulty) if difficulty else module.CLASSES
    stated = {c.name: c.need_e_per_a2 for c in classes}
    for feature_class, need in need_e_per_a2(name, difficulty).items():
        assert stated[feature_class] == pytest.approx(need, rel=0.05)


@pytest.mark.parametrize("name", VARIED)
def test_what_is_harder_to_see_needs_more(name):
    """A thicker film, a slower wall, a smaller inclusion; and specimens say so."""
    module = specimen_module(name)
    easy, hard = (module.generate(0, d).classes for d in ("easy", "hard"))
    assert easy == module.classes_at("easy")
    more = [b.need_e_per_a2 > a.need_e_per_a2 for a, b in zip(easy, hard, strict=True)]
    assert all(more) or (name == "nio_lsmo" and more == [False, True])


def test_columns_taken_out_leave_what_is_rendered_without_them(world):
    s, grid = world.specimen, world.grid
    inner = np.flatnonzero((np.abs(s.positions_yx_nm) < 2.0).all(axis=1))
    gone = np.random.default_rng(0).choice(inner, 40, replace=False)
    left = np.ones(len(s.kind), dtype=bool)
    left[gone] = False
    without = replace(
        s,
        positions_yx_nm=s.positions_yx_nm[left],
        height_nm=s.height_nm[left],
        kind=s.kind[left],
    )
    changed = world.coefficients["haadf"].copy()
    fast.remove(s, gone, grid, "haadf", changed)
    assert changed == pytest.approx(fast.coefficients(without, grid, "haadf"), abs=1e-8)


def test_a_render_is_the_sum_of_its_kernels():
    """The tabulated sum agrees with the formula, to the sixteenth of a node it is tabulated at."""
    kernels = fast.load_kernels("graphene")
    specimen, _, yx = graphene.pair(0, np.random.default_rng(0))
    window = specimen.window(yx, 0.8)
    grid = Grid.over((0.8, 0.8), 0.04)
    found = fast.render(window, grid, "haadf")[4:-4, 4:-4]
    y, x = (o + np.arange(n) * 0.04 for o, n in zip(grid.origin_yx_nm, grid.shape_yx, strict=True))
    wanted = np.full((len(y), len(x)), kernels.background["haadf"])
    for (ay, ax), kind in zip(window.positions_yx_nm, window.kind, strict=True):
        r2 = (y - ay)[:, None] ** 2 + (x - ax)[None, :] ** 2
        for g, sigma in enumerate(kernels.sigmas_nm):
            spot = kernels.weights["haadf"][kind, g] * np.exp(-0.5 * r2 / sigma**2)
            wanted += spot * (r2 <= fast.REACH_NM**2)
    wanted = wanted[4:-4, 4:-4]
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.999
    assert found.mean() == pytest.approx(wanted.mean(), rel=2e-3)


def test_coherent_detectors_are_unsupported(world):
    with pytest.raises(Unsupported, match="has no 'abf' for graphene; it has: haadf, maadf"):
        fast.render(world.specimen, world.grid, "abf")


def test_saved_and_loaded(world, tmp_path):
    path = tmp_path / "world.npz"
    save_world(world, path)
    with pytest.raises(FileExistsError):
        save_world(world, path)
    assert [p.name for p in tmp_path.iterdir()] == ["world.npz"]
    again = load_world(path)
    assert again.recipe == world.recipe
    assert again.digest == world.digest
    assert again.grid == world.grid
    assert again.optics == world.optics
    assert again.specimen.classes == world.specimen.classes
    assert np.array_equal(again.specimen.feature_yx_nm, world.specimen.feature_yx_nm)
    assert np.array_equal(again.coefficients["haadf"], world.coefficients["haadf"])
    assert pickle.loads(pickle.dumps(again)).path == path


def test_a_file_that_lacks_something_is_refused(world, tmp_path):
    from stemscout.simulators import files
    from stemscout.simulators.world import pack

    header, arrays = pack(world)
    del header["made"]["recipe"]
    files.save(tmp_path / "world.npz", header, arrays)
    with pytest.raises(ValueError, match=r"world.npz is not a readable world: 'recipe'"):
        load_world(tmp_path / "world.npz")


def test_a_kept_world_comes_back_from_the_cache(world, own_cache):
    address = keep(world)
    assert address == world.digest
    again = unpack(*own_cache.get(address))
    assert again.digest == address
    assert np.array_equal(again.coefficients["haadf"], world.coefficients["haadf"])
    assert again.specimen.kinds == world.specimen.kinds


def test_abtem_worlds_open_from_the_cache_and_never_by_themselves(own_cache, world):
    recipe = replace(ABTEM, entropy=77)
    with pytest.raises(
        ValueError, match="make it with `stemscout simulate graphene --seed 77"
    ) as told:
        open_world(recipe)
    assert "--difficulty easy --split test --fov-nm 6 --margin-nm 0" in str(told.value)
    made = replace(world, recipe=recipe, made=circumstances(recipe))
    keep(made)
    found = open_world(recipe)
    assert found.recipe == recipe
    assert pickle.loads(pickle.dumps(found)) is found


def test_optics_that_the_kernels_are_not_for_are_refused(monkeypatch):
    """An image under other optics than it is said to be would be worth nothing."""
    monkeypatch.setattr(graphene, "OPTICS", replace(graphene.OPTICS, energy_kev=200.0))
    with pytest.raises(Unsupported, match="calibrated for graphene under other optics"):
        open_world(Recipe("graphene", "easy", 0, (2, 0, 0), 6.0))


def test_thicknesses_that_the_kernels_are_not_for_are_refused():
    thick = replace(bifeo3.generate(0, "easy", 10.0), thickness_nm=12.0)
    with pytest.raises(Unsupported, match="bifeo3 of 4 nm, and this one is 12 nm thick; use abtem"):
        fast.coefficients(thick, Grid.over((1.0, 1.0), 0.04), "haadf")
    film = replace(nanoparticles.generate(0, "easy", 48.0), film_nm=20.0)
    with pytest.raises(Unsupported, match="a film of 20 nm; at most 12 nm"):
        fast.coefficients(film, Grid.over((1.0, 1.0), 0.08), "haadf")


def test_a_field_beyond_the_memory_is_refused_before_anything_is_made():
    with pytest.raises(ValueError, match=r"probe positions take .* more than the 0\.5 GiB"):
        render_abtem(replace(ABTEM, field_nm=200.0), memory_gib=0.5)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"renderer": "paint"}, "unknown renderer 'paint'; there are: fast, abtem"),
        ({"field_nm": -3.0}, "a field of -3.0 nm"),
        ({"field_nm": 1e5}, "at most 200 nm"),
        ({"field_nm": float("nan")}, "a field of nan nm"),
        ({"margin_nm": -1.0}, "a margin of -1.0 nm"),
    ],
)
def test_recipes_that_make_no_sense(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(ABTEM, **change)


class TestShipped:
    """The abtem worlds in the package."""

    @pytest.fixture(params=WORLDS)
    def exact(self, request):
        return open_world(shipped(*request.param.split("-")))

    def test_opens_from_its_recipe(self, exact):
        assert exact.recipe.renderer == "abtem"
        assert pickle.loads(pickle.dumps(exact)).digest == exact.digest
        assert set(exact.coefficients) == {"haadf", "maadf", "abf", "bf"}

    def test_a_recipe_that_asks_for_less_opens_the_same(self, exact):
        assert open_world(replace(exact.recipe, detectors=("haadf",))).digest == exact.digest

    def test_truth_is_that_of_the_generator(self, exact):
        recipe = exact.recipe
        module = specimen_module(recipe.specimen)
        again = module.generate(recipe.seed, recipe.difficulty, recipe.field_nm)
        assert np.allclose(again.positions_yx_nm, exact.specimen.positions_yx_nm, atol=1e-9)
        assert np.allclose(again.feature_yx_nm, exact.specimen.feature_yx_nm, atol=1e-9)
        assert again.classes == exact.specimen.classes
        assert len(again.feature_class) >= 8

    def test_made_as_the_modules_say_now(self, exact):
        """Optics, settings and sampling: its address is that of what would be made today."""
        assert exact.digest == exact.recipe.digest

    @pytest.mark.parametrize("detector", ["haadf", "maadf"])
    def test_fast_renderer_agrees_with_multislice(self, exact, detector):
        """Correlation >= 0.98 on a specimen that the calibration never saw.

        The MAADF of NiO in LSMO falls short by the noise of the world, an average over 3
        phonon configurations: docs/physics.md reckons 0.970.
        """
        least = {("nio_lsmo", "maadf"): 0.97}.get((exact.recipe.specimen, detector), 0.98)
        quick = fast.render(exact.specimen, exact.grid, detector)[2:-2, 2:-2]
        assert np.corrcoef(quick.ravel(), exact.image(detector).ravel())[0, 1] >= least

    def test_the_table_of_the_page_tells_of_it(self, exact):
        """Field, optics, phonon configurations, probes, features and size, as they are."""
        name = f"{exact.recipe.specimen}-{exact.recipe.difficulty}"
        optics, settings = exact.optics, exact.made["settings"]
        rows, columns = exact.grid.shape_yx
        told = (
            f"| `{name}` | {exact.recipe.field_nm:g} nm, {optics.energy_kev:g} kV, "
            f"{optics.semiangle_mrad:g} mrad, {settings['configurations']} phonon configurations | "
            f"{rows} x {columns}, {exact.grid.sampling_nm:g} nm apart | "
            f"{len(exact.specimen.feature_class)} | "
            f"{(SHIPPED / f'{name}.npz').stat().st_size / 1e6:.1f} MB |"
        )
        assert told in PHYSICS.read_text().splitlines()

    def test_the_table_of_the_page_tells_of_all(self):
        found = re.findall(r"^\| `(\w+-\w+)` \|.*MB \|$", PHYSICS.read_text(), re.MULTILINE)
        assert found == WORLDS

    def test_small_enough_to_ship(self):
        """25 MB in all, with room for a second world of each."""
        assert sum(p.stat().st_size for p in SHIPPED.glob("*.npz")) < 12.5e6

    def test_what_is_not_shipped_says_what_is(self):
        with pytest.raises(ValueError, match=f"there are: {', '.join(WORLDS)}"):
            shipped("graphene", "hard")
