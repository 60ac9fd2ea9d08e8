"""Worlds to look at, to list, and to hand over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulators import exchange
from ..simulators.cache import Cache
from ..simulators.grid import PAD
from ..simulators.world import SHIPPED, World, load_world, pack, save_world, unpack
from . import style


def everything() -> dict[str, str]:
    """A line about each world, in the package and in the cache, by its name or address."""
    lines = {path.stem: _line(load_world(path)) for path in sorted(SHIPPED.glob("*.npz"))}
    store = Cache()
    for entry in store.entries():
        try:
            line = _line(opened(*store.read(entry.digest)))
        except (ValueError, OSError) as error:  # what one cannot read, others may still list
            line = f"unreadable ({error}); `stemscout worlds clean` removes it"
        lines[entry.digest] = f"{line}, {entry.bytes / 2**20:.1f} MiB in the cache"
    return lines


def opened(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> World:
    """The world in a header and arrays of the cache.

    Raises:
        ValueError: an older format, or no world at all.
    """
    try:
        return unpack(header, arrays)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"it holds no world: {error!r}") from error


def _line(world: World) -> str:
    recipe = world.recipe
    return (
        f"{recipe.specimen}, {recipe.difficulty}, seed {recipe.entropy}, {recipe.field_nm:g} nm, "
        f"{len(world.specimen.feature_class)} features, {', '.join(world.coefficients)} at "
        f"{world.grid.sampling_nm:g} nm, {recipe.renderer}"
    )


def verified() -> dict[str, str]:
    """What is wrong with each world; an empty string where nothing is."""
    found: dict[str, str] = {}
    for path in sorted(SHIPPED.glob("*.npz")):
        try:
            load_world(path)
            found[path.stem] = ""
        except ValueError as error:
            found[path.stem] = str(error)
    store = Cache()
    for entry in store.entries():
        found[entry.digest] = "; ".join(store.verify(entry.digest, opened))
    return found


def cleaned(everything: bool, older_than_days: float | None) -> int:
    """Remove from the cache what cannot be read, and what is asked for; how many were removed."""
    return Cache().clean(everything, older_than_days, reader=opened)


def named(name: str) -> World:
    """A world by the name of a shipped one, or by its address in the cache.

    Raises:
        ValueError: there is none of that name, and the message lists what there
            is; or it cannot be read.
    """
    path = SHIPPED / f"{name}.npz"
    if path.exists():
        return load_world(path)
    store = Cache()
    cached = [e.digest for e in store.entries()]
    if name not in cached:
        known = [p.stem for p in sorted(SHIPPED.glob("*.npz"))] + cached
        raise ValueError(f"no world {name!r}; there are: {', '.join(known)}")
    return opened(*store.read(name))


def export(world: World, path: Path) -> None:
    """Write a world as ``.npz`` (ours), or as what other programs open; never over another file."""
    exchange.check_suffix(path)
    if path.exists():
        raise FileExistsError(f"{str(path)!r} exists; nothing is overwritten")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        save_world(world, path)
        return
    header, arrays = pack(world)
    exchange.export_images(
        path,
        {name: world.image(name) for name in world.coefficients},
        world.grid.sampling_nm,
        _first_pixel(world),
        {"stemscout": header},
        arrays,
        {
            "beam_energy": world.optics.energy_kev,
            "convergence_angle": world.optics.semiangle_mrad,
        },
    )


def _first_pixel(world: World) -> tuple[float, float]:
    """Where the first node of ``World.image`` lies."""
    sampling, (y, x) = world.grid.sampling_nm, world.grid.origin_yx_nm
    edge = (PAD + round(world.recipe.margin_nm / sampling)) * sampling
    return y + edge, x + edge


def imported(path: Path) -> World:
    """The world in a file that ``export`` wrote.

    Raises:
        ValueError: another program's file, without our truth in it; or images
            that another program has changed.
    """
    if path.suffix == ".npz":
        return load_world(path)
    read = exchange.import_images(path)
    if "stemscout" not in read.metadata or not read.arrays:
        raise ValueError(
            f"{path} holds images, but no world; scan it as a recording: "
            f"`stemscout run --image {path}`"
        )
    header: Any = read.metadata["stemscout"]
    world = opened(json.loads(header) if isinstance(header, str) else header, read.arrays)
    changed = [name for name, image in read.images.items() if not _shows(world, name, image)]
    placed = np.allclose(
        (read.sampling_nm, *read.origin_yx_nm),
        (world.grid.sampling_nm, *_first_pixel(world)),
        atol=1e-6,
    )
    if changed or not placed:
        what = f"image of {', '.join(changed)}" if changed else "calibration"
        raise ValueError(
            f"{path}: its {what} was changed since the export and is no longer that of its world; "
            f"scan it as a recording: `stemscout run --image {path}`"
        )
    return world


def _shows(world: World, name: str, image: NDArray[np.float32]) -> bool:
    """An image is that of a world, but for the rounding of another machine."""
    if name not in world.coefficients:
        return False
    own = world.image(name)
    return image.shape == own.shape and np.allclose(
        image, own, rtol=1e-5, atol=1e-6 * float(np.abs(own).max())
    )


def picture(world: World) -> bytes:
    """Each detector's image with the features marked, as a PNG file."""
    specimen = world.specimen
    h, w = specimen.field_yx_nm[0] / 2, specimen.field_yx_nm[1] / 2
    with style.figure(6.0 * len(world.coefficients), 6.2) as fig:
        row = fig.subplots(1, len(world.coefficients), squeeze=False)[0]
        for axes, name in zip(row, world.coefficients, strict=True):
            values = world.image(name) * 100
            low, high = np.percentile(values, [0.1, 99.9])
            image = axes.imshow(
                values, cmap=style.MICROGRAPH, extent=(-w, w, h, -h), vmin=low, vmax=high
            )
            style.nm_axes(axes)
            style.scale_bar(axes, 2 * w)
            style.colour_bar(fig, image, axes, "collected (% of the beam)")
            axes.set_title(f"{specimen.name}, {name.upper()}, {world.recipe.renderer}")
            style.features(axes, specimen)
            style.legend_below(axes)
        return style.png(fig)
