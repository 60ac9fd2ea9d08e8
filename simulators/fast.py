"""The fast renderer: incoherent imaging by scattering kernels of single columns.

For HAADF and MAADF an image is, to a good approximation, the sum over columns
of one radial profile for each kind (Pennycook & Jesson, Phys. Rev. Lett. 64
(1990) 938).  Where atoms above each other do not simply add up, a kind has a second
profile (``species.py``): gold in long columns, chalcogens in pairs.  The profiles
are sums of Gaussians fitted to the abtem renderer, at the specimen's thickness and
optics, by ``stemscout.simulators.calibrate`` and kept in ``calibration/``.

A world is kept as spline coefficients, and the transform from images to them
is linear: it is applied once to the tabulated kernels, and columns are added up
as coefficients.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from ..hardware.errors import Unsupported
from .grid import Grid
from .optics import Optics
from .species import contributions, in_line_with, species_of
from .specimens import specimen_module
from .specimens.amorphous import BLOCK_NM, DENSITY_PER_NM3, block, shift_yx_nm
from .specimens.specimen import Floats, Specimen
from .spline import coefficients_of, image_of

REACH_NM = 0.5  # a kernel ends here; the calibration takes the rest into the background
PHASES = 16  # sub-node positions at which kernels are tabulated: 1/16 of a node
SETTLED = 4  # nodes after which the spline transform of a kernel has died out (0.27^4)
WIDTH = 8  # rows of a table are padded to this many floats, the width of a vector
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Kernels:
    """Calibrated profiles of one specimen under one optics.

    Attributes:
        species: what has a profile: ``species_of`` the specimen.
        sigmas_nm: (g,) widths of the Gaussians.
        weights: by detector, (species, g) peak heights as fractions of the beam.
        background: by detector, what remains between the columns.
        provenance: how they were made and how well they fit.
    """

    species: tuple[str, ...]
    sigmas_nm: NDArray[np.float64]
    weights: dict[str, NDArray[np.float64]]
    background: dict[str, float]
    provenance: dict[str, Any]


@cache
def _calibration(specimen: str) -> str:
    path = Path(__file__).parent / "calibration" / f"{specimen}.json"
    if not path.exists():
        raise Unsupported(f"{specimen!r} was never calibrated for the fast renderer; use abtem")
    return path.read_text()


@cache
def calibration_digest(specimen: str) -> str:
    """A hash of the table that images of ``specimen`` are rendered from."""
    return hashlib.sha256(_calibration(specimen).encode()).hexdigest()[:16]


@cache
def load_kernels(specimen: str) -> Kernels:
    """The calibration in the package for a kind of specimen."""
    data = json.loads(_calibration(specimen))
    return Kernels(
        species=tuple(data["species"]),
        sigmas_nm=np.asarray(data["sigmas_nm"]),
        weights={k: np.asarray(v) for k, v in data["weights"].items()},
        background=data["background"],
        provenance=data["provenance"],
    )


@cache
def check_optics(specimen: str, optics: Optics) -> None:
    """Refuse optics that the kernels of a specimen are not for.

    Raises:
        Unsupported: the calibration was made under others.
    """
    made = load_kernels(specimen).provenance["optics"]
    if json.loads(json.dumps(asdict(optics))) != made:
        raise Unsupported(
            f"the fast renderer was calibrated for {specimen} under other optics; calibrate it "
            f"anew (python -m stemscout.simulators.calibrate {specimen}), or use abtem"
        )


@cache
def carbon_per_nm(specimen: str, detector: str) -> float:
    """Fraction of the beam that 1 nm of amorphous carbon adds to a detector."""
    kernels = load_kernels(specimen)
    own = kernels.weights[detector][kernels.species.index("C")]
    sigma2 = kernels.sigmas_nm**2
    within = 1.0 - np.exp(-0.5 * REACH_NM**2 / sigma2)
    return float(DENSITY_PER_NM3 * (own * 2 * np.pi * sigma2 * within).sum())


def render(specimen: Specimen, grid: Grid, detector: str, kernels: Kernels | None = None) -> F32:
    """The image of ``specimen`` on ``grid``: float32 fractions of the beam current."""
    return image_of(coefficients(specimen, grid, detector, kernels))


def coefficients(
    specimen: Specimen,
    grid: Grid,
    detector: str,
    kernels: Kernels | None = None,
    strengths: Mapping[str, float] | None = None,
) -> F32:
    """The image of ``specimen`` as spline coefficients on ``grid``, float32.

    Args:
        specimen: what is imaged.
        grid: the probe positions.
        detector: by name.
        kernels: those of the package for this kind of specimen by default.
        strengths: by species, what its profile is multiplied by, as for contrast that is not
            this detector's; a film under the specimen is left as it is.

    Raises:
        Unsupported: a detector that is not incoherent, or not calibrated; a thickness
            that the kernels are not for.
    """
    if kernels is None:
        kernels = load_kernels(specimen.name)
        made_for = specimen_module(specimen.name).THICKNESS_NM
        if specimen.thickness_nm != made_for:
            raise Unsupported(
                f"the fast renderer is calibrated for {specimen.name} of {made_for:g} nm, and this "
                f"one is {specimen.thickness_nm:g} nm thick; use abtem"
            )
        if specimen.film_nm > BLOCK_NM[2]:
            raise Unsupported(
                f"a film of {specimen.film_nm:g} nm; at most {BLOCK_NM[2]:g} nm are made"
            )
    if detector not in kernels.weights:
        raise Unsupported(
            f"the fast renderer has no {detector!r} for {specimen.name}; "
            f"it has: {', '.join(kernels.weights)}; coherent detectors need the abtem renderer"
        )
    halo = _halo(kernels, detector, grid)
    padded = np.full([n + 2 * halo for n in grid.shape_yx], kernels.background[detector], "f4")
    positions, species, amplitude = contributions(specimen)
    if strengths is not None:
        of_species = np.array([strengths.get(s, 1.0) for s in species_of(specimen)])
        amplitude = amplitude * of_species[species]
    _add(specimen, (positions, species, amplitude), grid, detector, kernels, padded, halo)
    inner = padded[halo:-halo, halo:-halo]
    if specimen.film_nm > 0:
        inner += _film(kernels, detector, grid, specimen.film_nm, shift_yx_nm(specimen.seed))
    return np.ascontiguousarray(inner)


def remove(
    specimen: Specimen,
    columns: NDArray[np.int64],
    grid: Grid,
    detector: str,
    out: F32,
    gone: NDArray[np.bool_] | None = None,
) -> None:
    """Take ``columns`` out of coefficients that were rendered with them, in place.

    Those of all columns (n,) that are ``gone`` were taken out before.  What stood in
    line with one that leaves is rendered anew: half of a pair is left as a single atom.
    """
    if not len(columns):
        return
    kernels = load_kernels(specimen.name)
    halo = _halo(kernels, detector, grid)
    # Only the nodes that these columns reach are touched.
    nodes = (specimen.positions_yx_nm[columns] - grid.origin_yx_nm) / grid.sampling_nm
    low = np.clip(np.floor(nodes.min(axis=0)).astype(int) - halo, 0, out.shape)
    high = np.clip(np.ceil(nodes.max(axis=0)).astype(int) + halo, 0, out.shape)
    if (low >= high).any():
        return
    corner = np.asarray(grid.origin_yx_nm) + low * grid.sampling_nm
    shape = high - low
    local = Grid((corner[0], corner[1]), (int(shape[0]), int(shape[1])), grid.sampling_nm)
    padded = np.zeros(shape + 2 * halo, dtype=np.float32)
    there = in_line_with(specimen, columns, gone)
    positions, species, amplitude = contributions(specimen, there)
    _add(specimen, (positions, species, -amplitude), local, detector, kernels, padded, halo)
    left = contributions(specimen, np.setdiff1d(there, columns))
    _add(specimen, left, local, detector, kernels, padded, halo)
    out[low[0] : high[0], low[1] : high[1]] += padded[halo:-halo, halo:-halo]


def _halo(kernels: Kernels, detector: str, grid: Grid) -> int:
    """So far beyond a grid, in nodes, can a column be and still reach it."""
    return int(_tables(kernels, detector, grid.sampling_nm).shape[3]) + WIDTH


def _add(
    specimen: Specimen,
    added: tuple[Floats, NDArray[np.int64], Floats],
    grid: Grid,
    detector: str,
    kernels: Kernels,
    padded: F32,
    halo: int,
) -> None:
    positions, species, amplitude = added
    order = np.array([kernels.species.index(s) for s in species_of(specimen)])
    _add_columns(
        positions,
        order[species],
        amplitude,
        _tables(kernels, detector, grid.sampling_nm),
        grid.origin_yx_nm[0] - halo * grid.sampling_nm,
        grid.origin_yx_nm[1] - halo * grid.sampling_nm,
        1.0 / grid.sampling_nm,
        padded,
    )


@cache
def _tables(kernels: Kernels, detector: str, sampling_nm: float) -> F32:
    """Coefficients (species, phases, phases, side, side padded) at every sub-node position."""
    half = int(np.ceil(REACH_NM / sampling_nm)) + SETTLED
    offset = np.arange(-half, half + 1)[None, :] - (np.arange(PHASES)[:, None] + 0.5) / PHASES
    distance = offset * sampling_nm  # (phases, side)
    side = 2 * half + 1
    table = np.zeros((len(kernels.species), PHASES, PHASES, side, side))
    for g, sigma in enumerate(kernels.sigmas_nm):
        line = np.exp(-0.5 * (distance / sigma) ** 2)
        spot = line[:, None, :, None] * line[None, :, None, :]
        table += kernels.weights[detector][:, g][:, None, None, None, None] * spot
    squared = distance[:, None, :, None] ** 2 + distance[None, :, None, :] ** 2
    table *= squared <= REACH_NM**2
    padded = np.zeros((*table.shape[:4], -(-side // WIDTH) * WIDTH), dtype=np.float32)
    for index in np.ndindex(table.shape[:3]):
        padded[(*index, slice(None), slice(None, side))] = coefficients_of(table[index])
    padded.setflags(write=False)
    return padded


def _film(kernels: Kernels, detector: str, grid: Grid, film_nm: float, shift: Floats) -> F32:
    """The coefficients of a carbon film over ``grid``: one period, from ``shift`` on repeated."""
    period = [round(size / grid.sampling_nm) for size in BLOCK_NM[:2]]
    nodes = [(o - s) / grid.sampling_nm for o, s in zip(grid.origin_yx_nm, shift, strict=True)]
    whole = [int(np.floor(n)) for n in nodes]
    phase = tuple(round(n - w, 6) for n, w in zip(nodes, whole, strict=True))
    tile = _film_period(kernels, detector, grid.sampling_nm, film_nm, (phase[0], phase[1]))
    index = [
        (start + np.arange(count)) % size
        for start, count, size in zip(whole, grid.shape_yx, period, strict=True)
    ]
    return tile[index[0][:, None], index[1][None, :]]


@cache
def _film_period(
    kernels: Kernels, detector: str, sampling_nm: float, film_nm: float, phase: tuple[float, float]
) -> F32:
    shape = [round(size / sampling_nm) for size in BLOCK_NM[:2]]
    if any(abs(n * sampling_nm - s) > 1e-6 for n, s in zip(shape, BLOCK_NM, strict=False)):
        raise ValueError(f"a film needs a sampling that divides {BLOCK_NM[0]} nm")
    tables = _tables(kernels, detector, sampling_nm)
    halo = tables.shape[3] + WIDTH
    depth = BLOCK_NM[2]
    padded = np.zeros([n + 2 * halo for n in shape], dtype=np.float32)
    atoms = block()
    for base in np.arange(0.0, film_nm, depth):
        kept = atoms[atoms[:, 2] + base < film_nm, :2]
        _add_columns(
            np.ascontiguousarray(kept),
            np.full(len(kept), kernels.species.index("C")),
            np.ones(len(kept)),
            tables,
            (phase[0] - halo) * sampling_nm,
            (phase[1] - halo) * sampling_nm,
            1.0 / sampling_nm,
            padded,
        )
    # What falls beyond one period comes back on the other side.
    for axis in (0, 1):
        moved = np.moveaxis(padded, axis, 0)
        moved[halo : 2 * halo] += moved[-halo:]
        moved[-2 * halo : -halo] += moved[:halo]
    tile = np.ascontiguousarray(padded[halo:-halo, halo:-halo])
    tile.setflags(write=False)
    return tile


@numba.njit(cache=True, fastmath=False, nogil=True)
def _add_columns(positions, species, amplitude, tables, y0, x0, scale, out):
    """Add the table of each column to ``out``; those that would reach beyond it are left out."""
    phases, side, width = tables.shape[1], tables.shape[3], tables.shape[4]
    half = side // 2
    rows, columns = out.shape
    for n in range(positions.shape[0]):
        y, x = (positions[n, 0] - y0) * scale, (positions[n, 1] - x0) * scale
        iy, ix = int(np.floor(y)), int(np.floor(x))
        top, left = iy - half, ix - half
        if top < 0 or left < 0 or top + side > rows or left + width > columns:
            continue
        py = min(int((y - iy) * phases), phases - 1)
        px = min(int((x - ix) * phases), phases - 1)
        spot = tables[species[n], py, px]
        a = np.float32(amplitude[n])
        if a == np.float32(1.0):
            for i in range(side):
                line, source = out[top + i], spot[i]
                for j in range(width):
                    line[left + j] += source[j]
        else:
            for i in range(side):
                line, source = out[top + i], spot[i]
                for j in range(width):
                    line[left + j] += a * source[j]
