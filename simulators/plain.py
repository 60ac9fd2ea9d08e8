"""abTEM as anyone would call it: one potential of the whole cell, one scan.

What the abtem renderer is held against, in tests and in ``bench simulate``.
Memory grows with the cell, so the cell must be small.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .grid import Grid
from .multislice import Images, Multislice
from .optics import Optics
from .tile import from_entrance, illumination, potential_sampling_nm

if TYPE_CHECKING:
    from ase import Atoms


def render(
    atoms: Atoms, grid: Grid, optics: Optics, settings: Multislice, finer: float = 1.0
) -> Images:
    """Images of ``atoms`` on ``grid``, by detector, for the same phonon configurations.

    Args:
        atoms: as for ``multislice.render``.
        grid: the probe positions.
        optics: probe and detectors.
        settings: configurations, displacements and slices; tiles play no role.
        finer: by how much finer the potential is sampled than the renderer does;
            abTEM's projection of atoms between grid points needs 2 to be exact.
    """
    import abtem
    import dask
    from scipy.ndimage import gaussian_filter

    phonons: Any = abtem.FrozenPhonons(
        from_entrance(atoms, settings.slice_nm),
        settings.configurations,
        sigmas={k: 10.0 * v for k, v in settings.thermal_sigma_nm.items()},
        seed=settings.phonon_seed,
    )
    first = (np.asarray(grid.origin_yx_nm) - atoms.info["corner_yxz_nm"][:2]) * 10.0
    last = first + np.asarray(grid.shape_yx) * grid.sampling_nm * 10.0
    scan = abtem.GridScan(
        (first[1], first[0]), (last[1], last[0]), gpts=grid.shape_yx[::-1], endpoint=False
    )
    detectors: list[Any] = [
        abtem.AnnularDetector(d.inner_mrad, d.outer_mrad) for d in optics.detectors
    ]
    probe: Any = abtem.Probe(**illumination(optics))
    with dask.config.set(scheduler="synchronous"):
        potential: Any = abtem.Potential(
            phonons,
            sampling=10.0 * potential_sampling_nm(optics) / finer,
            slice_thickness=10.0 * settings.slice_nm * (1.0 + 1e-9),
        )
        probe.grid.match(potential)
        measured: Any = probe.scan(potential, scan=scan, detectors=detectors, max_batch=16)
        together = measured if isinstance(measured, list) else [measured]
        computed = [m.reduce_ensemble().compute(progress_bar=False) for m in together]
    sigma = optics.source_sigma_nm / grid.sampling_nm
    return {
        d.name: gaussian_filter(np.asarray(m.array, dtype=np.float32).T, sigma, mode="nearest")
        for d, m in zip(optics.detectors, computed, strict=True)
    }
