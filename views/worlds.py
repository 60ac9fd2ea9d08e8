"""Worlds to look at, to list, and to hand over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

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
        found = store.get(entry.digest)
        if found is not None:
            size = entry.bytes / 2**20
            lines[entry.digest] = f"{_line(unpack(*found))}, {size:.1f} MiB in the cache"
    return lines


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
        found[entry.digest] = "; ".join(store.verify(entry.digest))
    return found


def named(name: str) -> World:
    """A world by the name of a shipped one, or by its address in the cache.

    Raises:
        ValueError: there is none of that name; the message lists what there is.
    """
    path = SHIPPED / f"{name}.npz"
    if path.exists():
        return load_world(path)
    store = Cache()
    found = store.get(name) if name in {e.digest for e in store.entries()} else None
    if found is None:
        known = [p.stem for p in sorted(SHIPPED.glob("*.npz"))]
        known += [e.digest for e in store.entries()]
        raise ValueError(f"no world {name!r}; there are: {', '.join(known)}")
    return unpack(*found)


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
    edge = PAD * world.grid.sampling_nm
    origin = world.grid.origin_yx_nm
    exchange.export_images(
        path,
        {name: world.image(name) for name in world.coefficients},
        world.grid.sampling_nm,
        (origin[0] + edge, origin[1] + edge),
        {"stemscout": header},
        arrays,
    )


def imported(path: Path) -> World:
    """The world in a file that ``export`` wrote.

    Raises:
        ValueError: another program's file, without our truth in it.
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
    return unpack(json.loads(header) if isinstance(header, str) else header, read.arrays)


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
