"""One tile of probe positions: the box around it, its potential, its images.

abTEM is imported only inside the functions here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .grid import Grid
from .optics import Optics

if TYPE_CHECKING:
    from .multislice import Multislice

FOCI = 5  # samples of the focal spread
SIDES_PER_NM = 500  # of a box, to choose from: so boxes of about one size are of one size
FINER = 3  # grid points of a grating to one of the waves, each way; 2 leave 1 % in HAADF

# A real-space sampling of λ / (2 · angle) · 2/3 is the coarsest that keeps ``angle`` inside
# abTEM's antialiasing cutoff.  Electrons must not be lost there that would be scattered back
# onto the detector: with 1.1 times its outer angle the oxides lack a tenth of their HAADF, with
# 1.3, beyond the second Laue zone, 1 %.
ANTIALIASING = 2.0 / 3.0 / 1.3


def potential_sampling_nm(optics: Optics) -> float:
    """Coarsest sampling of the potential that reaches the outermost detector angle."""
    outer = max(d.outer_mrad for d in optics.detectors) * 1e-3
    return optics.wavelength_nm / (2.0 * outer) * ANTIALIASING


def illumination(optics: Optics) -> dict[str, Any]:
    """The probe in abTEM's names, eV and Å; the focal spread as a distribution."""
    import abtem

    defocus: Any = 10.0 * optics.defocus_nm
    if optics.focal_spread_nm > 0:
        defocus = abtem.distributions.gaussian(
            10.0 * optics.focal_spread_nm, num_samples=FOCI, center=defocus, ensemble_mean=True
        )
    return {
        "energy": optics.energy_kev * 1e3,
        "semiangle_cutoff": optics.semiangle_mrad,
        "defocus": defocus,
        "C12": 10.0 * optics.astigmatism_nm,
        "phi12": optics.astigmatism_rad,
        "C30": 10.0 * optics.c3_nm,
        "C50": 10.0 * optics.c5_nm,
    }


def box_nm(grid: Grid, optics: Optics, settings: Multislice) -> float:
    """Side of the box around a tile: its margin and up to an eighth more.

    The side sets the angle from one point of the diffraction pattern to the next, and a
    detector takes whole points.  Of the sides allowed, this is the one where circles at the
    edges of the detectors hold as many as their areas say, to 1 % or so; in another
    box, bright field and MAADF are up to 7 and 5 % off.
    """
    least = settings.tile_nodes * grid.sampling_nm + 2.0 * settings.margin_nm
    return _fitting_side_nm(least, optics)


@cache
def _fitting_side_nm(least_nm: float, optics: Optics) -> float:
    edges = {1e-3 * edge for d in optics.detectors for edge in (d.inner_mrad, d.outer_mrad)}
    outer = max(edges)

    def misfit(side_nm: float) -> float:
        step = optics.wavelength_nm / side_nm
        k = step * np.arange(-(outer // step) - 1, outer // step + 2)
        angle = np.hypot(k[:, None], k)
        held = {e: np.count_nonzero(angle < e) * step**2 / (np.pi * e**2) for e in edges if e}
        return max(abs(share - 1.0) for share in held.values())

    first = int(np.ceil(least_nm * SIDES_PER_NM))
    last = int(first * 1.125)
    return min((k / SIDES_PER_NM for k in range(first, last + 1)), key=misfit)


def gpts_of(grid: Grid, optics: Optics, settings: Multislice) -> int:
    """Grid points to a side of the box; PRISM's interpolation must divide them."""
    points = box_nm(grid, optics, settings) / potential_sampling_nm(optics)
    n = smooth_number(int(np.ceil(points)))
    while n % max(1, settings.interpolation):
        n = smooth_number(n + 1)
    return n


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


def from_entrance(atoms: Any, slice_nm: float) -> Any:
    """The same with z, in Å, counted from where the first slice begins, in whole slices.

    Slices are centred on the multiples of their thickness above the specimen's height 0,
    whatever else there is, so that planes that stand there are never cut, and a sheet is
    sliced alike with and without something on it.
    """
    y, x, foot = atoms.info["corner_yxz_nm"]
    heights = atoms.positions[:, 2] / 10.0 + foot
    first, last = (np.floor(h / slice_nm + 0.5) for h in (heights.min(), heights.max()))
    entrance = (first - 0.5) * slice_nm
    out = atoms.copy()
    out.positions[:, 2] += 10.0 * (foot - entrance)
    out.cell[2, 2] = 10.0 * slice_nm * (last - first + 1)
    out.info = {**atoms.info, "corner_yxz_nm": (y, x, float(entrance))}
    return out


def tile_images(
    atoms: Any,
    corner: tuple[int, int],
    grid: Grid,
    optics: Optics,
    settings: Multislice,
    batch: int,
) -> NDArray[np.float32]:
    """Fractions of the beam (detectors, nodes, nodes) of one tile and configuration.

    Args:
        atoms: one phonon configuration, at least of the box; in Å, from the first
            slice on, as ``from_entrance`` has them.
        corner: (row, column) of the tile's first probe position in the grid.
        grid: the probe positions of the whole field.
        optics: probe and detectors.
        settings: the simulation's settings.
        batch: how many probes are propagated together.
    """
    import abtem
    import dask

    from .projection import gratings

    nodes = settings.tile_nodes
    step = grid.sampling_nm * 10.0
    box = 10.0 * box_nm(grid, optics, settings)
    edge = (box - settings.tile_nodes * step) / 2
    sheet = np.asarray(atoms.info["corner_yxz_nm"][:2]) * 10.0
    start = np.asarray(grid.origin_yx_nm) * 10.0 + np.asarray(corner) * step
    position = atoms.positions.copy()
    position[:, :2] += sheet[::-1] - start[::-1] + edge  # (x, y) into the box
    inside = ((position[:, :2] >= 0) & (position[:, :2] < box)).all(axis=1)
    cut = atoms[inside]
    cut.positions = position[inside]
    # Behind the last atom of the box there is nothing left to scatter: the beam's intensities
    # in the far field stay what they are, and its slices need not be gone through.
    slice_ = 10.0 * settings.slice_nm
    heights = np.maximum(cut.positions[:, 2], 0.0)  # one that moves out stays in the first slice
    cut.positions[:, 2] = heights
    cut.set_cell([box, box, slice_ * (int(heights.max(initial=0.0) / slice_) + 1)])
    cut.pbc = True
    gpts = gpts_of(grid, optics, settings)
    nodes_xy = np.indices((nodes, nodes)).reshape(2, -1)[::-1].T
    probes_xy = edge + step * nodes_xy.astype(np.float64)
    # pyFFTW on one thread is the faster engine here; tasks are what runs side by side.
    with (
        dask.config.set(scheduler="synchronous"),
        abtem.config.set({"fft": "fftw", "fftw.threads": 1}),
    ):
        potential = gratings(cut, gpts, FINER, slice_, optics.energy_kev * 1e3)
        scan = _scanner(potential, optics, settings, batch)
        # abTEM itself would propagate all probes of an eager scan at once.
        parts = [scan(probes_xy[k : k + batch]) for k in range(0, nodes**2, batch)]
    return np.concatenate(parts, axis=1).reshape(-1, nodes, nodes)


def _scanner(
    potential: Any, optics: Optics, settings: Multislice, batch: int
) -> Callable[[NDArray[np.float64]], NDArray[np.float32]]:
    """Makes fractions of the beam (detectors, n) of probe positions (n, 2), (x, y) in Å."""
    import abtem

    detectors: list[Any] = [
        abtem.AnnularDetector(d.inner_mrad, d.outer_mrad) for d in optics.detectors
    ]
    matrix: Any = None
    if settings.interpolation:
        matrix = abtem.SMatrix(
            potential=potential,
            energy=optics.energy_kev * 1e3,
            semiangle_cutoff=optics.semiangle_mrad,
            interpolation=settings.interpolation,
            downsample=False,
        ).build(lazy=False, max_batch=batch)
    probe: Any = abtem.Probe(**illumination(optics))
    probe.grid.match(potential)

    def scan(probes_xy: NDArray[np.float64]) -> NDArray[np.float32]:
        positions = abtem.CustomScan(probes_xy)
        measured: Any
        if matrix is None:
            measured = probe.scan(potential, scan=positions, detectors=detectors, lazy=False)
        else:
            measured = matrix.reduce(
                scan=positions,
                ctf=abtem.CTF(**illumination(optics)),
                detectors=detectors,
                max_batch_reduction=batch,
            )
        images = measured if isinstance(measured, list) else [measured]
        return np.stack([np.asarray(m.array, dtype=np.float32) for m in images])

    return scan
