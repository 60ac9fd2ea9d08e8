"""A world: a specimen imaged once at high sampling, which frames are drawn from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import fast, files, multislice
from .cache import Cache
from .defocus import defocused
from .grid import PAD, Grid
from .multislice import Images, Multislice
from .optics import Detector, Optics
from .specimens import Specimen, specimen_module
from .spline import coefficients_of, image_of

F32 = NDArray[np.float32]
LARGEST_FIELD_NM = 200.0  # 8,000 nodes to a side, 256 MB to a detector; some ten seconds
LARGEST_DEFOCUS_NM = 20.0  # beyond, a probe is wider than what the margins of images allow for
SPLITS = ("train", "validation", "test")
RENDERERS = ("fast", "abtem")
SHIPPED = Path(__file__).parent / "worlds"
FORMAT = 2  # of world files; rises when older ones cannot be read


@dataclass(frozen=True)
class Recipe:
    """All that a user decides about a world.

    ``entropy`` and ``spawn_key`` are those of the ``SeedSequence`` from which
    the specimen is drawn; ``margin_nm`` is imaged beyond the field, for a beam
    that may drift there; ``defocus_nm`` is added to what the specimen's optics have.
    """

    specimen: str
    difficulty: str
    entropy: int
    spawn_key: tuple[int, ...]
    field_nm: float
    renderer: str = "fast"
    detectors: tuple[str, ...] = ("haadf",)
    margin_nm: float = 0.0
    defocus_nm: float = 0.0

    def __post_init__(self) -> None:
        if self.renderer not in RENDERERS:
            known = ", ".join(RENDERERS)
            raise ValueError(f"unknown renderer {self.renderer!r}; there are: {known}")
        if not 0 < self.field_nm <= LARGEST_FIELD_NM:
            raise ValueError(
                f"a field of {self.field_nm} nm; it must be above 0 and at most "
                f"{LARGEST_FIELD_NM:g} nm"
            )
        if not 0 <= self.margin_nm <= self.field_nm:
            raise ValueError(
                f"a margin of {self.margin_nm} nm; it must be at least 0 and at most the field"
            )
        if not abs(self.defocus_nm) <= LARGEST_DEFOCUS_NM:
            raise ValueError(
                f"a defocus of {self.defocus_nm} nm; it must lie within "
                f"{LARGEST_DEFOCUS_NM:g} nm of focus"
            )

    @property
    def digest(self) -> str:
        """The address of the world this recipe makes now, by these versions."""
        return digest_of(circumstances(self))

    @property
    def optics(self) -> Optics:
        """Probe and detectors."""
        optics: Optics = specimen_module(self.specimen).OPTICS
        return replace(optics, defocus_nm=optics.defocus_nm + self.defocus_nm)

    @property
    def seed(self) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.entropy, spawn_key=self.spawn_key)


@dataclass(frozen=True, eq=False)
class World:
    """Immutable: it pickles as its recipe or its file, and copying returns the world itself.

    Attributes:
        recipe: how it is made.
        specimen: what it shows, with the truth.
        optics: probe and detectors.
        grid: the nodes that the coefficients belong to.
        coefficients: by detector, (rows, columns) float32 spline coefficients
            of the fraction of the beam that is collected.
        made: the circumstances under which it was made, where it was read.
        path: the file it was read from, if any.
    """

    recipe: Recipe
    specimen: Specimen
    optics: Optics
    grid: Grid
    coefficients: Mapping[str, F32]
    made: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        for array in self.coefficients.values():
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Callable[..., World], tuple[Recipe] | tuple[Path]]:
        return (open_world, (self.recipe,)) if self.path is None else (load_world, (self.path,))

    def __copy__(self) -> World:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> World:
        return self

    @property
    def digest(self) -> str:
        """Its address: a hash of all that determines it."""
        return digest_of(self.made or circumstances(self.recipe, self.specimen))

    @property
    def field_yx_nm(self) -> tuple[float, float]:
        return self.specimen.field_yx_nm

    def image(self, detector: str) -> F32:
        """The image (rows, columns) at the nodes inside the field."""
        edge = PAD + round(self.recipe.margin_nm / self.grid.sampling_nm)
        return image_of(self.coefficients[detector])[edge:-edge, edge:-edge]


def circumstances(recipe: Recipe, specimen: Specimen | None = None) -> dict[str, Any]:
    """All that determines the world of a recipe, as JSON; the specimen is made where not given."""
    shown = generate(recipe) if specimen is None else specimen
    module = specimen_module(recipe.specimen)
    versions: dict[str, Any] = {"format": FORMAT, "stemscout": version("stemscout")}
    if recipe.renderer == "fast":
        settings = {"calibration": fast.calibration_digest(recipe.specimen)}
        sampling = module.SAMPLING_NM
    else:
        settings = asdict(multislice_settings(recipe.specimen, recipe.optics))
        sampling = module.EXACT_SAMPLING_NM
        versions |= {"renderer": multislice.REVISION, "abtem": version("abtem")}
    return {
        "recipe": asdict(recipe),
        "specimen": shown.digest,
        "optics": asdict(recipe.optics),
        "sampling_nm": sampling,
        "settings": settings,
        "versions": versions,
    }


def digest_of(made: Mapping[str, Any]) -> str:
    """The address that belongs to circumstances."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def detectors(specimen: str, renderer: str) -> tuple[str, ...]:
    """Every detector that a renderer has for a kind of specimen."""
    if renderer == "fast":
        return tuple(fast.load_kernels(specimen).weights)
    return tuple(d.name for d in specimen_module(specimen).OPTICS.detectors)


def specimen_seed(seed: int, split: str, episode: int = 0) -> tuple[int, tuple[int, int, int]]:
    """Entropy and spawn key of the specimen that episode ``episode`` after ``seed`` shows."""
    return seed, (split_index(split), episode, 0)


def split_index(split: str) -> int:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    return SPLITS.index(split)


def open_world(recipe: Recipe) -> World:
    """The world of a recipe: rendered now by the fast renderer; shipped or cached for abtem.

    Raises:
        ValueError: an abtem world that was never simulated.
    """
    if recipe.renderer == "fast":
        return render_fast(recipe)
    return _open_abtem(recipe)


def render_fast(recipe: Recipe, strengths: Mapping[str, float] | None = None) -> World:
    """Generate a specimen and render it with the fast renderer.

    ``strengths`` are those of ``fast.coefficients``; such a world is not its recipe's.
    """
    module = specimen_module(recipe.specimen)
    fast.check_optics(recipe.specimen, module.OPTICS)
    specimen = generate(recipe)
    grid = _grid(recipe, module.SAMPLING_NM)
    coefficients = {
        d: defocused(
            fast.coefficients(specimen, grid, d, strengths=strengths),
            grid.sampling_nm,
            module.OPTICS,
            recipe.defocus_nm,
        )
        for d in recipe.detectors
    }
    return World(recipe, specimen, recipe.optics, grid, coefficients)


def render_abtem(
    recipe: Recipe,
    folder: Path | None = None,
    report: multislice.Report | None = None,
    scheduler: str = multislice.HERE,
    memory_gib: float = 2.0,
) -> World:
    """Generate a specimen and simulate it with abTEM; ``folder`` keeps finished rows.

    The other arguments are those of ``multislice.render``.
    """
    module = specimen_module(recipe.specimen)
    grid = _grid(recipe, module.EXACT_SAMPLING_NM)
    optics = recipe.optics
    multislice.check_memory(grid, optics, memory_gib)
    specimen = generate(recipe)
    settings = multislice_settings(recipe.specimen, optics)
    images: Images = multislice.render(
        specimen.atoms(), grid, optics, settings, folder, report, scheduler, memory_gib
    )
    coefficients = {name: coefficients_of(images[name]) for name in recipe.detectors}
    return World(recipe, specimen, optics, grid, coefficients, circumstances(recipe, specimen))


def generate(recipe: Recipe) -> Specimen:
    """The specimen of a recipe, with columns as far out as its image needs them."""
    module = specimen_module(recipe.specimen)
    margin = recipe.margin_nm + 1.0
    specimen: Specimen = module.generate(recipe.seed, recipe.difficulty, recipe.field_nm, margin)
    return specimen


def _grid(recipe: Recipe, sampling_nm: float) -> Grid:
    side = recipe.field_nm + 2 * round(recipe.margin_nm / sampling_nm) * sampling_nm
    return Grid.over((side, side), sampling_nm)


def multislice_settings(specimen: str, optics: Optics | None = None) -> Multislice:
    """How the abtem renderer simulates a kind of specimen, under its own optics or others."""
    module = specimen_module(specimen)
    return Multislice(
        configurations=module.CONFIGURATIONS,
        thermal_sigma_nm=module.THERMAL_SIGMA_NM,
        slice_nm=module.SLICE_NM,
        tile_nodes=module.TILE_NODES,
        margin_nm=round(multislice.margin_nm(optics or module.OPTICS, module.THICKNESS_NM), 3),
    )


def shipped(specimen: str, difficulty: str) -> Recipe:
    """The recipe of the abtem world in the package.

    Raises:
        ValueError: none is shipped; the message lists what is.
    """
    path = SHIPPED / f"{specimen}-{difficulty}.npz"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in SHIPPED.glob("*.npz"))) or "none"
        raise ValueError(
            f"no abtem world of {specimen!r} at {difficulty!r} is shipped; there are: {known}; "
            "take one of them, or renderer='fast'"
        )
    return _read(path).recipe


@lru_cache(maxsize=4)
def _open_abtem(recipe: Recipe) -> World:
    for path in SHIPPED.glob(f"{recipe.specimen}-{recipe.difficulty}.npz"):
        world = _read(path)
        if _shows(world.recipe, recipe):
            return world
    found = Cache().get(recipe.digest)
    if found is None:
        raise ValueError(
            f"no world was simulated by abTEM for {recipe.specimen} at {recipe.difficulty!r}, seed "
            f"{recipe.entropy}, {recipe.field_nm:g} nm; make it with `stemscout simulate "
            f"{recipe.specimen} --seed {recipe.entropy} --difficulty {recipe.difficulty} "
            f"--split {SPLITS[recipe.spawn_key[0]]} --fov-nm {recipe.field_nm:g} "
            f"--margin-nm {recipe.margin_nm:g} --defocus-nm {recipe.defocus_nm:g} "
            "--renderer abtem`"
        )
    return unpack(*found)


def _shows(there: Recipe, wanted: Recipe) -> bool:
    """A world holds at least the detectors that are wanted."""
    return there == replace(wanted, detectors=there.detectors) and set(wanted.detectors) <= set(
        there.detectors
    )


def keep(world: World) -> str:
    """Put a world into the cache; its address there."""
    header, arrays = pack(world)
    Cache().put(world.digest, header, arrays)
    return world.digest


@lru_cache(maxsize=4)
def _read(path: Path) -> World:
    return load_world(path)


def save_world(world: World, path: Path) -> None:
    """Write a world with its truth and what made it, as one .npz file; none is overwritten."""
    files.save(path, *pack(world))


def load_world(path: Path) -> World:
    """Read what ``save_world`` wrote.

    Raises:
        ValueError: the file is not a world, or is damaged.
    """
    header, arrays = files.load(path)
    try:
        return replace(unpack(header, arrays), path=path)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{path} is not a readable world: {error}") from error


def pack(world: World) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """A world as plain data: a header that JSON holds, and arrays by name."""
    header, arrays = files.pack_specimen(world.specimen)
    made = dict(world.made) or circumstances(world.recipe, world.specimen)
    whole = {"specimen": header, "made": made, "grid": asdict(world.grid)}
    return whole, arrays | {f"coefficients_{k}": v for k, v in world.coefficients.items()}


def unpack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> World:
    """The world that ``pack`` took apart."""
    made = header["made"]
    if made["versions"]["format"] != FORMAT:
        raise ValueError(f"format {made['versions']['format']}; this version reads {FORMAT}")
    lists = {k: tuple(made["recipe"][k]) for k in ("spawn_key", "detectors")}
    detectors = tuple(Detector(**d) for d in made["optics"]["detectors"])
    grid = header["grid"]
    return World(
        recipe=Recipe(**{**made["recipe"], **lists}),
        specimen=files.unpack_specimen(header["specimen"], arrays),
        optics=Optics(**{**made["optics"], "detectors": detectors}),
        grid=Grid(tuple(grid["origin_yx_nm"]), tuple(grid["shape_yx"]), grid["sampling_nm"]),
        coefficients={
            k.removeprefix("coefficients_"): v
            for k, v in arrays.items()
            if k.startswith("coefficients_")
        },
        made=made,
    )
