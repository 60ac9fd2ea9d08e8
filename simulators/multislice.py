"""The abtem renderer: frozen-phonon multislice or PRISM in overlapping tiles.

A probe sees only what lies under it and its tails, so the field is cut into
small tiles; each is simulated in a box that is wider by a margin on every
side.  Memory is that of one box and one batch of probes, whatever the field.
Thermal displacements are drawn once for the whole specimen and phonon
configuration, so that neighbouring tiles agree.  A row of tiles is one lazy
Dask task; rows are computed here, by local processes or on a cluster, and
finished ones are kept in a folder from which an interrupted simulation goes on.

abTEM (Madsen & Susi, Open Research Europe 1 (2021) 24) is GPL-3.0-or-later and
is imported only inside the functions here.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .optics import Optics

if TYPE_CHECKING:
    from ase import Atoms

Images = dict[str, NDArray[np.float32]]
Report = Callable[[int, int, float | None], None]
GIB = 2**30
HERE = "1"  # the scheduler that starts no process


@dataclass(frozen=True)
class Multislice:
    """Settings of the simulation.

    Attributes:
        configurations: frozen-phonon configurations, averaged.
        thermal_sigma_nm: r.m.s. displacement along each axis, by symbol.
        phonon_seed: seed of the displacements.
        slice_nm: slice thickness.
        tile_nodes: side of a tile in probe positions.
        margin_nm: what the box exceeds its tile by on every side.
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
        for name in ("configurations", "tile_nodes"):
            if not getattr(self, name) >= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("slice_nm", "margin_nm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be above 0")


# A real-space sampling of λ / (2 · angle) · 2/3 is the coarsest that keeps
# ``angle`` inside abTEM's antialiasing cutoff, whose edge is soft; 6 % more
# keep the outermost scattering clear of it.
ANTIALIASING = 2.0 / 3.0 / 1.06


def potential_sampling_nm(optics: Optics) -> float:
    """Coarsest sampling of the potential that reaches the outermost detector angle."""
    outer = max(d.outer_mrad for d in optics.detectors) * 1e-3
    return optics.wavelength_nm / (2.0 * outer) * ANTIALIASING


def margin_nm(optics: Optics, thickness_nm: float) -> float:
    """How far a probe's tails matter: 3.7 Airy radii, and its spread through the thickness.

    Measured: with this margin images correlate with those of twice the margin
    at 0.999 and more, for bright field and dark field alike.
    """
    angle = optics.semiangle_mrad * 1e-3
    blurred = abs(optics.defocus_nm) + 2 * optics.focal_spread_nm + abs(optics.astigmatism_nm)
    return 3.7 * 0.61 * optics.wavelength_nm / angle + (thickness_nm + blurred) * angle


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
        atoms: in Å, with ``info["corner_yx_nm"]`` as ``Specimen.atoms`` sets it.
        grid: the probe positions.
        optics: probe and detectors.
        settings: the simulation's settings.
        folder: where finished rows of tiles are kept; none: nothing is kept.
        report: called with (rows done, rows, seconds left) before the first
            row, estimated from one tile, and after each.
        scheduler: a number of local processes, or the address of a Dask
            scheduler (``tcp://host:8786``).
        memory_gib: bound for one process, and for the images together.

    Raises:
        ValueError: the folder holds rows of another simulation, or the field
            or a tile does not fit the memory.
    """
    from dask.delayed import delayed
    from scipy.ndimage import gaussian_filter

    rows = list(range(0, grid.shape_yx[0], settings.tile_nodes))
    batch = _batch(atoms, grid, optics, settings, memory_gib)
    if folder is not None:
        _claim(folder, atoms, grid, optics, settings)
    whole = np.empty((len(optics.detectors), *grid.shape_yx), dtype=np.float32)
    missing = []
    for row in rows:
        path = None if folder is None else folder / f"row-{row:05d}.npy"
        if path is not None and path.exists():
            whole[:, row : row + settings.tile_nodes] = np.load(path)
        else:
            missing.append(row)
    moving = list(_configurations(atoms, settings)) if missing else []
    arguments = (grid, optics, settings, batch)
    left = None
    if report is not None and missing:
        columns = -(-grid.shape_yx[1] // settings.tile_nodes)
        left = _tile_seconds(moving[0], *arguments) * columns * len(missing) * len(moving)
    row_of: Any = delayed(_tile_row, pure=False)
    tasks = ((r, row_of(_bands(moving, r, grid, settings), r, *arguments)) for r in missing)
    done = len(rows) - len(missing)
    with _computed(tasks, scheduler) as (workers, results):
        if report is not None:
            report(done, len(rows), None if left is None else left / workers)
        began = time.perf_counter()
        for row, images in results:
            whole[:, row : row + settings.tile_nodes] = images
            if folder is not None:
                _save_whole(folder / f"row-{row:05d}.npy", images)
            done += 1
            if report is not None:
                each = (time.perf_counter() - began) / (done - len(rows) + len(missing))
                report(done, len(rows), each * (len(rows) - done))
    sigma = optics.source_sigma_nm / grid.sampling_nm
    return {
        d.name: gaussian_filter(whole[k], sigma, mode="nearest").astype(np.float32)
        for k, d in enumerate(optics.detectors)
    }


@contextmanager
def _computed(tasks: Iterator[tuple[int, Any]], scheduler: str) -> Iterator[tuple[int, Any]]:
    """How many workers there are, and (row, images) as they come."""
    if scheduler == HERE:
        yield 1, ((row, task.compute(scheduler="synchronous")) for row, task in tasks)
        return
    from dask.distributed import Client, LocalCluster, as_completed

    if scheduler.isdigit():
        if int(scheduler) < 1:
            raise ValueError("a scheduler of 0 processes; it must be at least 1, or an address")
        cluster: Any = LocalCluster(
            n_workers=int(scheduler), threads_per_worker=1, dashboard_address=None
        )
        client = Client(cluster)
    elif "://" in scheduler:
        cluster, client = None, Client(scheduler, timeout="10s")
    else:
        raise ValueError(
            f"scheduler {scheduler!r}; a number of processes or an address as tcp://host:8786"
        )
    try:
        workers = max(1, sum(client.nthreads().values()))
        futures = {client.compute(task): row for row, task in tasks}
        finished = as_completed(list(futures), with_results=True)
        yield workers, ((futures[future], images) for future, images in finished)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()


def check_memory(grid: Grid, optics: Optics, memory_gib: float) -> None:
    """Refuse a field whose images alone are more than is allowed.

    Raises:
        ValueError: too many probe positions for ``memory_gib``.
    """
    images = 3 * 4 * len(optics.detectors) * grid.shape_yx[0] * grid.shape_yx[1]
    if images > memory_gib * GIB:
        raise ValueError(
            f"the images of {grid.shape_yx[0]} x {grid.shape_yx[1]} probe positions take "
            f"{images / GIB:.1f} GiB, more than the {memory_gib:g} GiB allowed; "
            "ask for a smaller field or allow more memory"
        )


def _batch(
    atoms: Atoms, grid: Grid, optics: Optics, settings: Multislice, memory_gib: float
) -> int:
    """Probes to propagate together: small batches are fastest, and memory bounds them."""
    check_memory(grid, optics, memory_gib)
    pixels = _gpts(_box_angstrom(grid, settings), optics) ** 2
    slices = max(1, round(float(atoms.cell[2, 2]) / (10.0 * settings.slice_nm)))
    fixed = pixels * slices * 12  # float32 potential, complex64 transmission
    if settings.interpolation:
        angle = optics.semiangle_mrad * 1e-3 / (10.0 * optics.wavelength_nm)
        box = _box_angstrom(grid, settings) / settings.interpolation
        fixed += int(np.pi * (angle * box) ** 2) * pixels * 8
    each = pixels * 8 * 6  # complex64: wave, its transform, scratch, intensities
    fits = int((memory_gib * GIB - fixed) // each)
    if fits < 1:
        raise ValueError(
            f"a tile of {settings.tile_nodes} nodes takes {(fixed + each) / GIB:.1f} GiB, more "
            f"than the {memory_gib:g} GiB allowed; take smaller tiles or allow more memory"
        )
    return min(32, fits)


def _box_angstrom(grid: Grid, settings: Multislice) -> float:
    return 10.0 * (settings.tile_nodes * grid.sampling_nm + 2.0 * settings.margin_nm)


def _gpts(box_angstrom: float, optics: Optics, multiple: int = 1) -> int:
    least = int(np.ceil(box_angstrom / (10.0 * potential_sampling_nm(optics))))
    n = smooth_number(least)
    while n % multiple:
        n = smooth_number(n + 1)
    return n


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
        configuration.info["corner_yx_nm"] = atoms.info["corner_yx_nm"]
        yield configuration


def _bands(moving: list[Any], row: int, grid: Grid, settings: Multislice) -> list[Any]:
    """Of each configuration what a row of tiles sees, so that a task carries no more."""
    step = grid.sampling_nm
    low = grid.origin_yx_nm[0] + row * step - settings.margin_nm
    high = low + settings.tile_nodes * step + 2 * settings.margin_nm
    bands = []
    for atoms in moving:
        y = atoms.positions[:, 1] / 10.0 + atoms.info["corner_yx_nm"][0]
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
        _tile(atoms, (corner[0], corner[1]), grid, optics, settings, batch)
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
            tile = _tile(atoms, (row, left), grid, optics, settings, batch)
            images[:, :, left : left + width] += tile[:, :height, :width] / len(bands)
    return images


def _tile(
    atoms: Any,
    corner: tuple[int, int],
    grid: Grid,
    optics: Optics,
    settings: Multislice,
    batch: int,
) -> NDArray[np.float32]:
    """Fractions of the beam (detectors, nodes, nodes) of one tile and configuration."""
    import abtem
    import dask

    from .projection import PhaseProjection

    step = grid.sampling_nm * 10.0
    edge = 10.0 * settings.margin_nm
    span = settings.tile_nodes * step
    box = _box_angstrom(grid, settings)
    sheet = np.asarray(atoms.info["corner_yx_nm"]) * 10.0
    start = np.asarray(grid.origin_yx_nm) * 10.0 + np.asarray(corner) * step
    position = atoms.positions.copy()
    position[:, :2] += sheet[::-1] - start[::-1] + edge  # (x, y) into the box
    inside = ((position[:, :2] >= 0) & (position[:, :2] < box)).all(axis=1)
    cut = atoms[inside]
    cut.positions = position[inside]
    cut.set_cell([box, box, float(atoms.cell[2, 2])])
    cut.pbc = True
    gpts = _gpts(box, optics, max(1, settings.interpolation))
    shape = (settings.tile_nodes, settings.tile_nodes)
    scan = abtem.GridScan((edge, edge), (edge + span, edge + span), gpts=shape, endpoint=False)
    detectors: list[Any] = [
        abtem.AnnularDetector(d.inner_mrad, d.outer_mrad) for d in optics.detectors
    ]
    # pyFFTW on one thread is the faster engine here; tasks are what runs side by side.
    with (
        dask.config.set(scheduler="synchronous"),
        abtem.config.set({"fft": "fftw", "fftw.threads": 1}),
    ):
        potential: Any = abtem.Potential(
            cut,
            gpts=(gpts, gpts),
            slice_thickness=10.0 * settings.slice_nm,
            integrator=PhaseProjection(),
        ).build(lazy=False)
        measured: Any
        if settings.interpolation:
            matrix = abtem.SMatrix(
                potential=potential,
                energy=optics.energy_kev * 1e3,
                semiangle_cutoff=optics.semiangle_mrad,
                interpolation=settings.interpolation,
                downsample=False,
            ).build(lazy=False)
            contrast = abtem.CTF(
                energy=optics.energy_kev * 1e3,
                semiangle_cutoff=optics.semiangle_mrad,
                **aberrations(optics),
            )
            measured = matrix.reduce(scan=scan, ctf=contrast, detectors=detectors)
        else:
            probe = abtem.Probe(
                energy=optics.energy_kev * 1e3,
                semiangle_cutoff=optics.semiangle_mrad,
                **aberrations(optics),
            )
            probe.grid.match(potential)
            measured = probe.scan(
                potential, scan=scan, detectors=detectors, max_batch=batch, lazy=False
            )
    images = measured if isinstance(measured, list) else [measured]
    return np.stack([np.asarray(m.array, dtype=np.float32).T for m in images])


def aberrations(optics: Optics) -> dict[str, Any]:
    """The probe's aberrations in abTEM's names and Å; the focal spread as a distribution."""
    import abtem

    defocus: Any = 10.0 * optics.defocus_nm
    if optics.focal_spread_nm > 0:
        defocus = abtem.distributions.gaussian(
            10.0 * optics.focal_spread_nm, num_samples=5, center=defocus, ensemble_mean=True
        )
    return {
        "defocus": defocus,
        "C12": 10.0 * optics.astigmatism_nm,
        "phi12": optics.astigmatism_rad,
        "C30": 10.0 * optics.c3_nm,
        "C50": 10.0 * optics.c5_nm,
    }


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
    # Rows hold what comes before the source's blur, as fractions of any current.
    ideal = replace(optics, source_fwhm_nm=0.0, beam_current_pa=1.0)
    wanted = {
        "atoms": digest,
        "grid": asdict(grid),
        "optics": asdict(ideal),
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
