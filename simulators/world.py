"""A world: a specimen imaged once at high sampling, which frames are drawn from."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from .grid import PAD, Grid
from .multislice import Multislice
from .optics import Detector, Optics
from .specimens import specimen_module
from .specimens.specimen import FeatureClass, Specimen

F32 = NDArray[np.float32]
SAMPLING_NM = 0.04
LARGEST_FIELD_NM = 400.0  # 10,000 nodes to a side, 400 MB to a detector
SPLITS = ("train", "validation", "test")
RENDERERS = ("fast", "abtem")
SHIPPED = Path(__file__).parent / "worlds"
CONFIGURATIONS = 4


@dataclass(frozen=True)
class Recipe:
    """All that determines a world; its digest is the world's address.

    ``entropy`` and ``spawn_key`` are those of the ``SeedSequence`` from which
    the specimen is drawn.
    """

    specimen: str
    difficulty: str
    entropy: int
    spawn_key: tuple[int, ...]
    field_nm: float
    renderer: str = "fast"
    detectors: tuple[str, ...] = ("haadf",)

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def seed(self) -> np.random.SeedSequence:
        return np.random.SeedSequence(self.entropy, spawn_key=self.spawn_key)


@dataclass(frozen=True, eq=False)
class World:
    """Immutable: it pickles as its recipe, and copying returns the world itself.

    Attributes:
        recipe: how it is made.
        specimen: what it shows, with the truth.
        optics: probe and detectors.
        grid: the nodes that the coefficients belong to.
        coefficients: by detector, (rows, columns) float32 spline coefficients
            of the fraction of the beam that is collected.
    """

    recipe: Recipe
    specimen: Specimen
    optics: Optics
    grid: Grid
    coefficients: Mapping[str, F32]

    def __post_init__(self) -> None:
        for array in self.coefficients.values():
            array.setflags(write=False)

    def __reduce__(self) -> tuple[Callable[[Recipe], World], tuple[Recipe]]:
        return open_world, (self.recipe,)

    def __copy__(self) -> World:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> World:
        return self

    @property
    def field_yx_nm(self) -> tuple[float, float]:
        return self.specimen.field_yx_nm

    def image(self, detector: str) -> F32:
        """The image (rows, columns) at the nodes inside the field."""
        from scipy.ndimage import correlate1d

        weights = np.array([1.0, 4.0, 1.0]) / 6.0
        whole = correlate1d(self.coefficients[detector], weights, axis=0, mode="mirror")
        whole = correlate1d(whole, weights, axis=1, mode="mirror")
        return np.asarray(whole[PAD:-PAD, PAD:-PAD], dtype=np.float32)


def spline_coefficients(image: F32) -> F32:
    """Coefficients (h, w) of the cubic B-spline through ``image`` (h, w)."""
    from scipy.ndimage import spline_filter

    return np.ascontiguousarray(spline_filter(image, order=3, mode="mirror"), dtype=np.float32)


def specimen_seed(seed: int, split: str, episode: int = 0) -> tuple[int, tuple[int, int, int]]:
    """Entropy and spawn key of the specimen that episode ``episode`` after ``seed`` shows."""
    return seed, (split_index(split), episode, 0)


def split_index(split: str) -> int:
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    return SPLITS.index(split)


def open_world(recipe: Recipe) -> World:
    """The world of a recipe: shipped, or rendered now by the fast renderer."""
    if recipe.renderer == "fast":
        return render_fast(recipe)
    if recipe.renderer == "abtem":
        return _open_shipped(recipe)
    raise ValueError(f"unknown renderer {recipe.renderer!r}; there are: {', '.join(RENDERERS)}")


def render_fast(recipe: Recipe) -> World:
    """Generate a specimen and render it with the fast renderer."""
    from .fast import render

    module = specimen_module(recipe.specimen)
    specimen = module.generate(recipe.seed, recipe.difficulty, recipe.field_nm)
    grid = Grid.over(specimen.field_yx_nm, SAMPLING_NM)
    images = {name: render(specimen, grid, name) for name in recipe.detectors}
    return _world(recipe, specimen, module.OPTICS, grid, images)


def render_abtem(
    recipe: Recipe,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> World:
    """Generate a specimen and simulate it with abTEM; ``folder`` keeps finished rows."""
    from .multislice import render

    module = specimen_module(recipe.specimen)
    specimen = module.generate(recipe.seed, recipe.difficulty, recipe.field_nm)
    grid = Grid.over(specimen.field_yx_nm, SAMPLING_NM)
    settings = multislice_settings(recipe.specimen)
    images = render(specimen.atoms(), grid, module.OPTICS, settings, folder, progress)
    images = {name: images[name] for name in recipe.detectors}
    return _world(recipe, specimen, module.OPTICS, grid, images)


def multislice_settings(specimen: str) -> Multislice:
    """How the abtem renderer simulates a kind of specimen."""
    return Multislice(CONFIGURATIONS, specimen_module(specimen).THERMAL_SIGMA_NM)


def _world(
    recipe: Recipe, specimen: Specimen, optics: Optics, grid: Grid, images: Mapping[str, F32]
) -> World:
    coefficients = {k: spline_coefficients(v) for k, v in images.items()}
    return World(recipe, specimen, optics, grid, coefficients)


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
def _open_shipped(recipe: Recipe) -> World:
    for path in SHIPPED.glob(f"{recipe.specimen}-{recipe.difficulty}.npz"):
        world = _read(path)
        if world.recipe == recipe:
            return world
    raise ValueError(f"no shipped world has the recipe {recipe}; simulate it first")


@lru_cache(maxsize=4)
def _read(path: Path) -> World:
    return load_world(path)


def save_world(world: World, path: Path, settings: Mapping[str, Any]) -> None:
    """Write a world with its truth and the settings that made it, as one .npz file."""
    s = world.specimen
    header = {
        "recipe": asdict(world.recipe),
        "optics": asdict(world.optics),
        "grid": asdict(world.grid),
        "kinds": s.kinds,
        "classes": [asdict(c) for c in s.classes],
        "seed": s.seed,
        "settings": dict(settings),
    }
    arrays: dict[str, Any] = {
        "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
        "positions_yx_nm": s.positions_yx_nm,
        "height_nm": s.height_nm,
        "kind": s.kind.astype(np.uint8),
        "feature_class": s.feature_class,
        "feature_yx_nm": s.feature_yx_nm,
    }
    arrays |= {f"coefficients_{k}": v for k, v in world.coefficients.items()}
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as handle:
            np.savez_compressed(handle, **arrays)
        os.link(part, path)  # complete or not at all, and never over another file
    finally:
        part.unlink(missing_ok=True)


def load_world(path: Path) -> World:
    """Read what ``save_world`` wrote.

    Raises:
        ValueError: the file is not a world, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            header = json.loads(bytes(data["header"]))
            arrays = {k: data[k] for k in data.files if k != "header"}
        return _assemble(header, arrays)
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable world: {error}") from error


def _assemble(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> World:
    made = header["recipe"]
    lists = {k: tuple(made[k]) for k in ("spawn_key", "detectors")}
    recipe = Recipe(**{**made, **lists})
    detectors = tuple(Detector(**d) for d in header["optics"]["detectors"])
    grid = header["grid"]
    specimen = Specimen(
        name=recipe.specimen,
        seed=tuple(header["seed"]),
        difficulty=recipe.difficulty,
        field_yx_nm=(recipe.field_nm, recipe.field_nm),
        positions_yx_nm=arrays["positions_yx_nm"],
        height_nm=arrays["height_nm"],
        kind=arrays["kind"].astype(np.int64),
        kinds=tuple(header["kinds"]),
        classes=tuple(FeatureClass(**c) for c in header["classes"]),
        feature_class=arrays["feature_class"],
        feature_yx_nm=arrays["feature_yx_nm"],
    )
    return World(
        recipe,
        specimen,
        Optics(**{**header["optics"], "detectors": detectors}),
        Grid(tuple(grid["origin_yx_nm"]), tuple(grid["shape_yx"]), grid["sampling_nm"]),
        {k.removeprefix("coefficients_"): v for k, v in arrays.items() if "coefficients" in k},
    )
