"""The abtem renderer: frozen-phonon multislice or PRISM in overlapping tiles.

A probe sees only what lies under it and its tails, so the field is cut into
small tiles; each is simulated in a box that is wider by a margin on every
side.  Memory is that of the images, one box and one batch of its probes.
Thermal displacements are drawn once for the whole specimen and phonon
configuration, so that neighbouring tiles agree.  A row of tiles is one lazy
Dask task; rows are computed here, by local processes or on a cluster, and
finished ones are kept in a folder from which an interrupted simulation goes on.

abTEM (Madsen & Susi, Open Research Europe 1 (2021) 24) is GPL-3.0-or-later and
is imported only inside the functions here.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .optics import Optics
from .rows import Rows
from .schedulers import HERE as HERE  # the default, for those who call ``render``
from .schedulers import check_scheduler, computed
from .tile import FINER, FOCI, box_nm, from_entrance, gpts_of, tile_images

if TYPE_CHECKING:
    from ase import Atoms

Images = dict[str, NDArray[np.float32]]
Report = Callable[[int, int, float | None], None]
REVISION = 2  # of what an image depends on besides specimen, optics and settings
GIB = 2**30
BASELINE_GIB = 0.4  # of a process with abTEM loaded: 0.30 to 0.36 measured
WAVES = 6  # complex64 arrays to a probe: 5 measured with abTEM 1.0.11, and one to spare


@dataclass(frozen=True)
class Multislice:
    """Settings of the simulation.

    Attributes:
        configurations: frozen-phonon configurations, averaged.
        thermal_sigma_nm: r.m.s. displacement along each axis, by symbol.
        phonon_seed: seed of the displacements.
        slice_nm: slice thickness; slices are centred on its multiples above height 0.
        tile_nodes: side of a tile in probe positions.
        margin_nm: what the box exceeds its tile by on every side, at least.
        interpolation: 0 for multislice; from 1 on the interpolation factor of
            PRISM (Ophus, Adv. Struct. Chem. Imaging 3 (2017) 13).  PRISM pays
            only where a tile holds more probes than the probe-forming aperture
            holds beams: on large tiles at a fine scan.
    """

    configurations: int
    thermal_sigma_nm: dict[str, float]
    phonon_seed: int = 0
    slice_nm: float = 0.5
    tile_nodes: int = 10
    margin_nm: float = 0.6
    interpolation: int = 0

    def __post_init__(self) -> None:
        for name, least in (("configurations", 1), ("tile_nodes", 1), ("interpolation", 0)):
            value = getattr(self, name)
            if not (isfinite(value) and value == int(value) >= least):
                raise ValueError(f"{name} is {value}; it must be a whole number from {least}")
        for name in ("slice_nm", "margin_nm"):
            if not 0 < getattr(self, name) < inf:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0 and finite")
        for symbol, sigma in self.thermal_sigma_nm.items():
            if not 0 <= sigma < inf:
                raise ValueError(
                    f"thermal_sigma_nm of {symbol} is {sigma}; it must be at least 0 and finite"
                )


def margin_nm(optics: Optics, thickness_nm: float) -> float:
    """How far a probe's tails matter: 3.7 Airy radii, and how far its outermost rays stray.

    Rays at the angle α stray by (thickness + defocus) α, C3 α³ and C5 α⁵.
    Measured on graphene at 30 mrad, correlation with images of twice the margin:
    in focus 0.999 and more, bright field and dark field alike; with 30 µm of C3
    0.999 in dark field and 0.996 in bright; with 20 nm of defocus, where little
    contrast is left to agree on, 0.98 in dark field and 0.95 in bright.

    Raises:
        ValueError: a thickness that is negative or not finite.
    """
    if not 0 <= thickness_nm < inf:
        raise ValueError(f"a thickness of {thickness_nm} nm; it must be at least 0 and finite")
    angle = optics.semiangle_mrad * 1e-3
    blurred = abs(optics.defocus_nm) + 2 * optics.focal_spread_nm + abs(optics.astigmatism_nm)
    spherical = abs(optics.c3_nm) * angle**3 + abs(optics.c5_nm) * angle**5
    airy = 0.61 * optics.wavelength_nm / angle
    return 3.7 * airy + (thickness_nm + blurred) * angle + spherical


def render(
    atoms: Atoms,
    grid: Grid,
    optics: Optics,
    settings: Multislice,
    folder: Path | None = None,
    report: Report | None = None,
    scheduler: str = HERE,
    memory_gib: float = 2.0,
) -> Images:
    """Image ``atoms`` on ``grid``; by detector, float32 fractions of the beam current.

    The source size is applied at the end, on the grid of probe positions.

    Args:
        atoms: in Å, with ``info["corner_yxz_nm"]`` as ``Specimen.atoms`` sets it.
        grid: the probe positions.
        optics: probe and detectors.
        settings: the simulation's settings.
        folder: where finished rows of tiles are kept; none: nothing is kept.
        report: called with (rows done, rows, seconds left) before the first
            row, estimated from one tile, and after each.
        scheduler: a number of local processes, or the address of a Dask
            scheduler (``tcp://host:8786``).
        memory_gib: bound for each process, images included.

    Raises:
        ValueError: an unknown scheduler, a folder that holds rows of another
            simulation, or a field or a tile that does not fit the memory.
        OSError: the folder cannot be written.
    """
    from dask.delayed import delayed
    from scipy.ndimage import gaussian_filter

    check_scheduler(scheduler)
    atoms = from_entrance(atoms, settings.slice_nm)
    batch = _batch(atoms, grid, optics, settings, memory_gib)
    kept = None if folder is None else Rows(folder, _simulation(atoms, grid, optics, settings))
    height, width = grid.shape_yx
    whole = np.empty((len(optics.detectors), height, width), dtype=np.float32)
    rows = range(0, height, settings.tile_nodes)
    missing = []
    for row in rows:
        part = whole[:, row : row + settings.tile_nodes]
        found = None if kept is None else kept.load(row, part.shape)
        if found is None:
            missing.append(row)
        else:
            part[:] = found
    moving = list(_configurations(atoms, settings)) if missing else []
    arguments = (grid, optics, settings, batch)
    left = None
    if report is not None and missing:
        columns = -(-width // settings.tile_nodes)
        left = _tile_seconds(moving[0], *arguments) * columns * len(missing) * len(moving)
    row_of: Any = delayed(_tile_row, pure=False)
    side = box_nm(grid, optics, settings)
    tasks = ((r, row_of(_bands(moving, r, grid, settings, side), r, *arguments)) for r in missing)
    done = len(rows) - len(missing)
    with computed(tasks, scheduler) as (workers, results):
        if report is not None:
            report(done, len(rows), None if left is None else left / workers)
        began = time.perf_counter()
        for row, images in results:
            whole[:, row : row + settings.tile_nodes] = images
            if kept is not None:
                kept.save(row, images)
            done += 1
            if report is not None:
                each = (time.perf_counter() - began) / (done - len(rows) + len(missing))
                report(done, len(rows), each * (len(rows) - done))
    sigma = optics.source_sigma_nm / grid.sampling_nm
    return {
        d.name: gaussian_filter(whole[k], sigma, mode="nearest").astype(np.float32)
        for k, d in enumerate(optics.detectors)
    }


def check_bound(memory_gib: float) -> None:
    """Refuse a bound that is none, or that leaves no room beside Python and abTEM.

    Raises:
        ValueError: such a bound.
    """
    if not BASELINE_GIB < memory_gib < inf:
        raise ValueError(
            f"a memory bound of {memory_gib:g} GiB; it must be finite and above the "
            f"{BASELINE_GIB:g} GiB that Python with abTEM loaded takes; the default is 2"
        )


def check_memory(grid: Grid, optics: Optics, memory_gib: float) -> None:
    """Refuse a field whose images alone are more than is allowed.

    Raises:
        ValueError: no bound, or too many probe positions for it.
    """
    check_bound(memory_gib)
    needed = BASELINE_GIB + _images_bytes(grid, optics) / GIB
    if needed > memory_gib:
        raise ValueError(
            f"the images of {grid.shape_yx[0]} x {grid.shape_yx[1]} probe positions take "
            f"{needed:.1f} GiB with the program, more than the {memory_gib:g} GiB allowed; "
            "ask for a smaller field or allow more memory"
        )


def _images_bytes(grid: Grid, optics: Optics) -> int:
    """Of the images as they are computed, blurred and made coefficients: float32 each."""
    return 3 * 4 * len(optics.detectors) * grid.shape_yx[0] * grid.shape_yx[1]


def _batch(
    atoms: Atoms, grid: Grid, optics: Optics, settings: Multislice, memory_gib: float
) -> int:
    """Probes of a tile to propagate together: all of them, unless memory bounds them."""
    check_memory(grid, optics, memory_gib)
    pixels = gpts_of(grid, optics, settings) ** 2
    slices = max(1, round(float(atoms.cell[2, 2]) / (10.0 * settings.slice_nm)))
    fixed = BASELINE_GIB * GIB + _images_bytes(grid, optics)
    fixed += len(atoms) * 32 * (settings.configurations + 2)  # positions and numbers
    fixed += pixels * (slices * 8 + FINER**2 * 24)  # complex64 gratings; one on the finer grid
    each = pixels * 8 * WAVES
    if settings.interpolation:  # PRISM takes one focus after the other
        angle = optics.semiangle_mrad * 1e-3 / optics.wavelength_nm
        side = angle * box_nm(grid, optics, settings) / settings.interpolation
        beams = int(np.pi * side**2)
        fixed += beams * pixels * 8 * 2  # the matrix, and what is cropped of it
    elif optics.focal_spread_nm > 0:
        each *= FOCI
    fits = int((memory_gib * GIB - fixed) // each)
    if fits < 1:
        raise ValueError(
            f"a tile of {settings.tile_nodes} nodes takes {(fixed + each) / GIB:.2f} GiB with "
            f"program and images, more than the {memory_gib:g} GiB allowed; take smaller tiles "
            "or allow more memory"
        )
    return min(settings.tile_nodes**2, fits)


def _configurations(atoms: Atoms, settings: Multislice) -> Iterator[Any]:
    import abtem

    sigmas = {s: 10.0 * v for s, v in settings.thermal_sigma_nm.items()}
    unknown = sorted(set(atoms.get_chemical_symbols()) - set(sigmas))
    if unknown:
        raise ValueError(f"no thermal displacement is given for {', '.join(unknown)}")
    phonons: Any = abtem.FrozenPhonons(
        atoms, settings.configurations, sigmas=sigmas, seed=settings.phonon_seed
    )
    for configuration in phonons.to_atoms_ensemble():
        configuration.info["corner_yxz_nm"] = atoms.info["corner_yxz_nm"]
        yield configuration


def _bands(
    moving: list[Any], row: int, grid: Grid, settings: Multislice, side_nm: float
) -> list[Any]:
    """Of each configuration what a row of tiles sees, so that a task carries no more."""
    tile = settings.tile_nodes * grid.sampling_nm
    low = grid.origin_yx_nm[0] + row * grid.sampling_nm - (side_nm - tile) / 2
    high = low + side_nm
    bands = []
    for atoms in moving:
        y = atoms.positions[:, 1] / 10.0 + atoms.info["corner_yxz_nm"][0]
        bands.append(atoms[(y >= low) & (y < high)])
    return bands


def _tile_seconds(
    atoms: Any, grid: Grid, optics: Optics, settings: Multislice, batch: int
) -> float:
    """The time of one tile and configuration, in the middle of the field."""
    nodes = settings.tile_nodes
    corner = [n // nodes // 2 * nodes for n in grid.shape_yx]
    for _ in range(2):  # the first one also plans the transforms
        began = time.perf_counter()
        tile_images(atoms, (corner[0], corner[1]), grid, optics, settings, batch)
    return time.perf_counter() - began


def _tile_row(
    bands: list[Any], row: int, grid: Grid, optics: Optics, settings: Multislice, batch: int
) -> NDArray[np.float32]:
    nodes = settings.tile_nodes
    height = min(nodes, grid.shape_yx[0] - row)
    images = np.zeros((len(optics.detectors), height, grid.shape_yx[1]), dtype=np.float32)
    for left in range(0, grid.shape_yx[1], nodes):
        width = min(nodes, grid.shape_yx[1] - left)
        for atoms in bands:
            # Every box has the same size, so that FFT plans are made only once.
            tile = tile_images(atoms, (row, left), grid, optics, settings, batch)
            images[:, :, left : left + width] += tile[:, :height, :width] / len(bands)
    return images


def _simulation(atoms: Atoms, grid: Grid, optics: Optics, settings: Multislice) -> dict[str, Any]:
    """All that determines the rows, as JSON."""
    digest = hashlib.sha256(
        atoms.positions.tobytes() + atoms.numbers.tobytes() + repr(atoms.info).encode()
    ).hexdigest()
    # Rows hold what comes before the source's blur, as fractions of any current.
    ideal = replace(optics, source_fwhm_nm=0.0, beam_current_pa=1.0)
    return {
        "atoms": digest,
        "grid": asdict(grid),
        "optics": asdict(ideal),
        "settings": asdict(settings),
    }
