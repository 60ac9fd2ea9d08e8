"""The fast renderer: incoherent imaging by scattering kernels of single atoms.

For HAADF and MAADF an image is, to a good approximation, the sum over atoms of
one radial profile for each element (Pennycook & Jesson, Phys. Rev. Lett. 64
(1990) 938).  The profiles are sums of Gaussians fitted to the abtem renderer
by ``stemscout.simulators.calibrate`` and kept in ``calibration/``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.errors import Unsupported
from .grid import Grid
from .specimens.specimen import Specimen

REACH_NM = 0.5  # a kernel ends here; the calibration takes the rest into the background
PHASES = 16  # sub-node positions at which kernels are tabulated: 1/16 of a node
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Kernels:
    """Calibrated profiles of one specimen under one optics.

    Attributes:
        sigmas_nm: (g,) widths of the Gaussians.
        weights: by detector, (kinds, g) peak heights as fractions of the beam.
        background: by detector, what remains between the atoms.
        provenance: how they were made and how well they fit.
    """

    kinds: tuple[str, ...]
    sigmas_nm: NDArray[np.float64]
    weights: dict[str, NDArray[np.float64]]
    background: dict[str, float]
    provenance: dict[str, object]


@cache
def load_kernels(specimen: str) -> Kernels:
    """The calibration in the package for a kind of specimen."""
    path = Path(__file__).parent / "calibration" / f"{specimen}.json"
    if not path.exists():
        raise Unsupported(f"{specimen!r} was never calibrated for the fast renderer; use abtem")
    data = json.loads(path.read_text())
    return Kernels(
        kinds=tuple(data["kinds"]),
        sigmas_nm=np.asarray(data["sigmas_nm"]),
        weights={k: np.asarray(v) for k, v in data["weights"].items()},
        background=data["background"],
        provenance=data["provenance"],
    )


def render(specimen: Specimen, grid: Grid, detector: str) -> F32:
    """The image of ``specimen`` on ``grid``: float32 fractions of the beam current.

    Raises:
        Unsupported: a detector that is not incoherent, or not calibrated.
    """
    kernels = load_kernels(specimen.name)
    if detector not in kernels.weights:
        raise Unsupported(
            f"the fast renderer has no {detector!r} for {specimen.name}; "
            f"it has: {', '.join(kernels.weights)}; coherent detectors need the abtem renderer"
        )
    order = np.array([kernels.kinds.index(k) for k in specimen.kinds])
    tables = _tables(specimen.name, detector, grid.sampling_nm)
    out = np.full(grid.shape_yx, kernels.background[detector], dtype=np.float32)
    nodes = (specimen.positions_yx_nm - np.asarray(grid.origin_yx_nm)) / grid.sampling_nm
    _add_atoms(nodes, order[specimen.kind], tables, out)
    return out


@cache
def _tables(specimen: str, detector: str, sampling_nm: float) -> F32:
    """Kernels (kinds, phases, phases, side, side) at every sub-node position."""
    kernels = load_kernels(specimen)
    half = int(np.ceil(REACH_NM / sampling_nm))
    offset = np.arange(-half, half + 1)[None, :] - (np.arange(PHASES)[:, None] + 0.5) / PHASES
    distance = offset * sampling_nm  # (phases, side)
    table = np.zeros((len(kernels.kinds), PHASES, PHASES, 2 * half + 1, 2 * half + 1))
    for g, sigma in enumerate(kernels.sigmas_nm):
        line = np.exp(-0.5 * (distance / sigma) ** 2)
        spot = line[:, None, :, None] * line[None, :, None, :]
        table += kernels.weights[detector][:, g][:, None, None, None, None] * spot
    squared = distance[:, None, :, None] ** 2 + distance[None, :, None, :] ** 2
    table *= squared <= REACH_NM**2
    return table.astype(np.float32)


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add_atoms(nodes, kind, tables, out):
    phases, side = tables.shape[1], tables.shape[3]
    half = side // 2
    height, width = out.shape
    for n in range(nodes.shape[0]):
        iy, ix = int(np.floor(nodes[n, 0])), int(np.floor(nodes[n, 1]))
        py = min(int((nodes[n, 0] - iy) * phases), phases - 1)
        px = min(int((nodes[n, 1] - ix) * phases), phases - 1)
        spot = tables[kind[n], py, px]
        for a in range(max(0, half - iy), min(side, height - iy + half)):
            line, source = out[iy - half + a], spot[a]
            for b in range(max(0, half - ix), min(side, width - ix + half)):
                line[ix - half + b] += source[b]
