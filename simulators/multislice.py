"""The abtem renderer: frozen-phonon multislice in overlapping tiles.

A probe sees only what lies under it and its tails, so the field is cut into
small tiles; each is simulated in a box that is wider by a margin on every
side.  Memory is that of one box and one batch of probes, whatever the field.
Thermal displacements are drawn once for the whole specimen and phonon
configuration, so that neighbouring tiles agree.  Finished rows of tiles are
kept in a folder and an interrupted simulation goes on from there.

abTEM (Madsen & Susi, Open Research Europe 1 (2021) 24) is GPL-3.0-or-later and
is imported only inside the functions here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .optics import Optics

if TYPE_CHECKING:
    from ase import Atoms

Images = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Multislice:
    """Settings of the simulation.

    Attributes:
        configurations: frozen-phonon configurations, averaged.
        thermal_sigma_nm: r.m.s. displacement along each axis, by symbol.
        phonon_seed: seed of the displacements.
        slice_nm: slice thickness; a monolayer is one slice.
        tile_nodes: side of a tile in probe positions.
        margin_nm: what the box exceeds its tile by on every side.
        max_batch: probes propagated together.
    """

    configurations: int
    thermal_sigma_nm: dict[str, float]
    phonon_seed: int = 0
    slice_nm: float = 0.5
    tile_nodes: int = 10
    margin_nm: float = 0.6
    max_batch: int = 32


# A real-space sampling of λ / (2 · angle) · 2/3 is the coarsest that keeps
# ``angle`` inside abTEM's antialiasing cutoff, whose edge is soft; 6 % more
# keep the outermost scattering clear of it.
ANTIALIASING = 2.0 / 3.0 / 1.06


def potential_sampling_nm(optics: Optics) -> float:
    """Coarsest sampling of the potential that reaches the outermost detector angle."""
    outer = max(d.outer_mrad for d in optics.detectors) * 1e-3
    return optics.wavelength_nm / (2.0 * outer) * ANTIALIASING


def render(
    atoms: Atoms,
    grid: Grid,
    optics: Optics,
    settings: Multislice,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Images:
    """Image ``atoms`` on ``grid``; by detector, float32 fractions of the beam current.

    The source size is applied at the end, on the grid of probe positions.

    Args:
        atoms: in Å, with ``info["corner_yx_nm"]`` as ``Specimen.atoms`` sets it.
        grid: the probe positions.
        optics: probe and detectors.
        settings: the simulation's settings.
        folder: where finished rows of tiles are kept; none: nothing is kept.
        progress: called with (rows done, rows) after each row of tiles.

    Raises:
        ValueError: the folder holds rows of another simulation.
    """
    from scipy.ndimage import gaussian_filter

    moving = list(_configurations(atoms, settings))
    rows = range(0, grid.shape_yx[0], settings.tile_nodes)
    if folder is not None:
        _claim(folder, atoms, grid, optics, settings)
    stacks: list[NDArray[np.float32]] = []
    for done, first in enumerate(rows, start=1):
        path = None if folder is None else folder / f"row-{first:05d}.npy"
        if path is not None and path.exists():
            stacks.append(np.load(path))
        else:
            stacks.append(_tile_row(moving, first, grid, optics, settings))
            if path is not None:
                _save_whole(path, stacks[-1])
        if progress is not None:
            progress(done, len(rows))
    whole = np.concatenate(stacks, axis=1)
    sigma = optics.source_sigma_nm / grid.sampling_nm
    return {
        d.name: gaussian_filter(whole[k], sigma, mode="nearest").astype(np.float32)
        for k, d in enumerate(optics.detectors)
    }


def _configurations(atoms: Atoms, settings: Multislice) -> Iterator[Any]:
    import abtem

    sigmas = {s: 10.0 * v for s, v in settings.thermal_sigma_nm.items()}
    phonons: Any = abtem.FrozenPhonons(
        atoms, settings.configurations, sigmas=sigmas, seed=settings.phonon_seed
    )
    for configuration in phonons.to_atoms_ensemble():
        configuration.info["corner_yx_nm"] = atoms.info["corner_yx_nm"]
        yield configuration


def _tile_row(
    moving: list[Any], first: int, grid: Grid, optics: Optics, settings: Multislice
) -> NDArray[np.float32]:
    height = min(settings.tile_nodes, grid.shape_yx[0] - first)
    row = np.zeros((len(optics.detectors), height, grid.shape_yx[1]), dtype=np.float32)
    for left in range(0, grid.shape_yx[1], settings.tile_nodes):
        width = min(settings.tile_nodes, grid.shape_yx[1] - left)
        for atoms in moving:
            # Every box has the same size, so that FFT plans are made only once.
            row[:, :, left : left + width] += _tile(atoms, (first, left), grid, optics, settings)[
                :, :height, :width
            ] / len(moving)
    return row


def _tile(
    atoms: Any, corner: tuple[int, int], grid: Grid, optics: Optics, settings: Multislice
) -> NDArray[np.float32]:
    import abtem
    import dask

    from .projection import PhaseProjection

    step = grid.sampling_nm * 10.0
    span = settings.tile_nodes * step
    box = span + 20.0 * settings.margin_nm
    sheet = np.asarray(atoms.info["corner_yx_nm"]) * 10.0
    start = np.asarray(grid.origin_yx_nm) * 10.0 + np.asarray(corner) * step
    shift = sheet[::-1] - start[::-1] + 10.0 * settings.margin_nm  # (x, y) into the box
    position = atoms.positions.copy()
    position[:, :2] += shift
    inside = ((position[:, :2] >= 0) & (position[:, :2] < box)).all(axis=1)
    depth = float(atoms.cell[2, 2])
    if not inside.any():
        return np.zeros((len(optics.detectors), settings.tile_nodes, settings.tile_nodes), "f4")
    cut = atoms[inside]
    cut.positions = position[inside]
    cut.set_cell([box, box, depth])
    cut.pbc = True
    gpts = smooth_number(int(np.ceil(box / (10.0 * potential_sampling_nm(optics)))))
    with dask.config.set(scheduler="synchronous"):
        potential: Any = abtem.Potential(
            cut,
            gpts=(gpts, gpts),
            slice_thickness=10.0 * settings.slice_nm,
            integrator=PhaseProjection(),
        ).build(lazy=False)
        probe = abtem.Probe(
            energy=optics.energy_kev * 1e3,
            semiangle_cutoff=optics.semiangle_mrad,
            defocus=10.0 * optics.defocus_nm,
        )
        probe.grid.match(potential)
        edge = 10.0 * settings.margin_nm
        scan = abtem.GridScan(
            start=(edge, edge),
            end=(edge + span, edge + span),
            gpts=(settings.tile_nodes, settings.tile_nodes),
            endpoint=False,
        )
        measured = probe.scan(
            potential,
            scan=scan,
            detectors=[abtem.AnnularDetector(d.inner_mrad, d.outer_mrad) for d in optics.detectors],
            max_batch=settings.max_batch,
            lazy=False,
        )
    images = measured if isinstance(measured, list) else [measured]
    return np.stack([np.asarray(m.array, dtype=np.float32).T for m in images])


def smooth_number(least: int) -> int:
    """The smallest even number of at least ``least`` with no prime factor above 5."""
    n = least + least % 2
    while True:
        rest = n
        for p in (2, 3, 5):
            while rest % p == 0:
                rest //= p
        if rest == 1:
            return n
        n += 2


def _claim(folder: Path, atoms: Atoms, grid: Grid, optics: Optics, settings: Multislice) -> None:
    digest = hashlib.sha256(
        atoms.positions.tobytes() + atoms.numbers.tobytes() + repr(atoms.info).encode()
    ).hexdigest()
    wanted = {
        "atoms": digest,
        "grid": asdict(grid),
        "optics": asdict(optics),
        "settings": asdict(settings),
    }
    text = json.dumps(wanted, sort_keys=True)
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / "simulation.json"
    if mark.exists() and mark.read_text() != text:
        raise ValueError(f"{folder} holds another simulation; name an empty folder")
    mark.write_text(text)


def _save_whole(path: Path, array: NDArray[np.float32]) -> None:
    """A row appears complete or not at all."""
    part = path.with_suffix(".part")
    with part.open("wb") as handle:
        np.save(handle, array)
    part.replace(path)
