"""Fit the fast renderer's kernels to the abtem renderer.

    python -m stemscout.simulators.calibrate graphene

cuts windows out of specimens of the training split, one about a feature of each
class and some where there is contamination, simulates them with frozen-phonon
multislice, fits a sum of Gaussians to every species of column, and writes
``calibration/<specimen>.json`` with correlation, slope and peak-intensity
error.  The held-out figures come from windows of validation specimens, which
the fit has never seen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import fast
from .fast import REACH_NM, Kernels, contributions, species_of
from .grid import Grid
from .multislice import Images, Multislice, render
from .optics import Optics
from .specimens import Specimen, amorphous, specimen_module
from .world import multislice_settings, specimen_seed

SIGMAS_NM = (0.035, 0.045, 0.058, 0.075, 0.1, 0.14, 0.2)
WINDOW_NM, SAMPLING_NM = 1.6, 0.04
CONTAMINATED = 2  # windows on contamination
SEEDS = 12  # specimens searched for a feature of each class
CONFIGURATIONS = 3  # of phonons at most; every species stands in many places besides
FITTED = 6  # windows at least
HELD_OUT = 6  # windows that the fit never sees
EDGE_SIGMAS = 2.5  # of the source: so near to a window's edge its blur lacks what lies beyond
INCOHERENT_FROM = 1.5  # inner angle over the probe's; below, images are coherent
ALL = slice(None)
Floats = NDArray[np.float64]
Window = tuple[Specimen, Grid]


def windows(name: str, split: str, only: int | None = None) -> list[Window]:
    """Windows about a feature of each class and about contamination.

    Where these are fewer than ``FITTED``, more features get one.  ``only`` so
    many are chosen evenly from all of them, so that a few still show of everything.
    """
    module = specimen_module(name)
    missing = list(range(len(module.CLASSES)))
    centres: list[tuple[Specimen, Floats]] = []
    dirty: list[tuple[Specimen, Floats]] = []
    spare: list[tuple[Specimen, Floats]] = []
    for specimen in _specimens(name, split):
        for k in list(missing):
            of_class = np.flatnonzero(specimen.feature_class == k)
            if len(of_class):
                centres.append((specimen, specimen.feature_yx_nm[of_class[0]]))
                spare += [(specimen, specimen.feature_yx_nm[n]) for n in of_class[1:FITTED]]
                missing.remove(k)
        thick = specimen.maps.get("contamination")
        if thick is not None and thick.values.max() > 0 and len(dirty) < CONTAMINATED:
            half = (np.array(thick.values.shape) - 1) / 2
            inner = (int(1.0 / thick.pitch_nm),) * 2  # the window stays inside the field
            body = thick.values[inner[0] : -inner[0], inner[1] : -inner[1]]
            at = np.array(np.unravel_index(body.argmax(), body.shape)) + inner
            dirty.append((specimen, (at - half) * thick.pitch_nm))
        if not missing and len(dirty) == CONTAMINATED:
            break
    chosen = dirty[:1] + centres + dirty[1:]
    chosen += spare[: max(0, FITTED - len(chosen))]
    if only is not None:
        chosen = [chosen[k] for k in np.linspace(0, len(chosen) - 1, only).round().astype(int)]
    grid = Grid.over((WINDOW_NM, WINDOW_NM), SAMPLING_NM)
    return [(_with_film(specimen.window(yx, WINDOW_NM)), grid) for specimen, yx in chosen]


def _with_film(specimen: Specimen) -> Specimen:
    """The same with its film's atoms among the columns."""
    if specimen.film_nm == 0:
        return specimen
    shift = amorphous.shift_yx_nm(specimen.seed)
    film = amorphous.film(specimen.field_yx_nm, specimen.film_nm, shift)
    carbon = [k.name for k in specimen.kinds].index("C")
    return replace(
        specimen,
        positions_yx_nm=np.vstack([specimen.positions_yx_nm, film[:, :2]]),
        height_nm=np.concatenate([specimen.height_nm, film[:, 2]]),
        kind=np.concatenate([specimen.kind, np.full(len(film), carbon)]),
        share=np.concatenate([specimen.share, np.zeros(len(film))])
        if len(specimen.share)
        else specimen.share,
        film_nm=0.0,
    )


def _specimens(name: str, split: str) -> Iterator[Specimen]:
    module = specimen_module(name)
    for seed in range(SEEDS):
        entropy, key = specimen_seed(seed, split)
        for difficulty in module.LEVELS:
            yield module.generate(np.random.SeedSequence(entropy, spawn_key=key), difficulty)


def design_matrix(specimen: Specimen, grid: Grid) -> Floats:
    """Columns: for each species and width the sum of its Gaussians."""
    y = grid.origin_yx_nm[0] + np.arange(grid.shape_yx[0]) * grid.sampling_nm
    x = grid.origin_yx_nm[1] + np.arange(grid.shape_yx[1]) * grid.sampling_nm
    positions, species, amplitude = contributions(specimen)
    columns = []
    for index in range(len(species_of(specimen.kinds))):
        here = np.flatnonzero(species == index)
        for sigma in SIGMAS_NM:
            total = np.zeros(grid.shape_yx)
            for n in here:
                ky = np.flatnonzero(abs(y - positions[n, 0]) <= REACH_NM)
                kx = np.flatnonzero(abs(x - positions[n, 1]) <= REACH_NM)
                if len(ky) and len(kx):
                    dy, dx = y[ky] - positions[n, 0], x[kx] - positions[n, 1]
                    r2 = dy[:, None] ** 2 + dx[None, :] ** 2
                    spot = np.exp(-0.5 * r2 / sigma**2) * (r2 <= REACH_NM**2)
                    total[ky[0] : ky[-1] + 1, kx[0] : kx[-1] + 1] += amplitude[n] * spot
            columns.append(total.ravel())
    return np.column_stack(columns)


def inner(optics: Optics, sampling_nm: float) -> slice:
    """The rows, and columns, of a window that the source's blur leaves true."""
    edge = round(EDGE_SIGMAS * optics.source_sigma_nm / sampling_nm)
    return slice(edge, -edge or None)


def fit(
    cells: list[Window], images: list[Images], detectors: list[str], kept: slice = ALL
) -> dict[str, Any]:
    """Weights (species, g) by detector: least squares, nothing negative.

    Every window counts alike, however bright it is; where there is nothing it
    is dark.  Of each, the rows and columns ``kept`` are fitted.

    Raises:
        ValueError: a species that no window holds.
    """
    from scipy.optimize import nnls

    names = species_of(cells[0][0].kinds)
    matrix = np.vstack([_cropped(design_matrix(*cell), cell[1], kept) for cell in cells])
    scale = np.linalg.norm(matrix, axis=0)
    unseen = [n for k, n in enumerate(names) if not scale[k * len(SIGMAS_NM)]]
    if unseen:
        raise ValueError(f"no window holds a column of {', '.join(unseen)}")
    weights, background = {}, {}
    for name in detectors:
        parts = [i[name][kept, kept].ravel().astype(np.float64) for i in images]
        even = np.repeat([1.0 / p.std() for p in parts], [len(p) for p in parts])
        weighted = matrix * even[:, None]
        norm = np.maximum(np.linalg.norm(weighted, axis=0), 1e-300)
        solution, _ = nnls(weighted / norm, np.concatenate(parts) * even)
        weights[name] = (solution / norm).reshape(len(names), -1)
        background[name] = 0.0
    return {"weights": weights, "background": background}


def _cropped(matrix: Floats, grid: Grid, kept: slice) -> Floats:
    square = matrix.reshape(*grid.shape_yx, -1)[kept, kept]
    return square.reshape(-1, square.shape[2])


def quality(
    cells: list[Window], images: list[Images], kernels: Kernels, kept: slice = ALL
) -> dict[str, dict[str, Any]]:
    """Correlation (of all and of each window), slope, and peak-intensity error by species."""
    found: dict[str, dict[str, Any]] = {}
    for name in kernels.weights:
        model: list[NDArray[np.float32]] = []
        wanted: list[NDArray[np.float32]] = []
        errors: dict[str, list[float]] = {s: [] for s in kernels.species}
        for (specimen, grid), image in zip(cells, images, strict=True):
            rendered = fast.render(specimen, grid, name, kernels)
            model.append(rendered[kept, kept].ravel())
            wanted.append(image[name][kept, kept].ravel())
            for species, error in _peak_errors(specimen, grid, rendered, image[name], kept):
                errors[species].append(error)
        x, y = np.concatenate(wanted), np.concatenate(model)
        found[name] = {
            "correlation": round(float(np.corrcoef(x, y)[0, 1]), 5),
            "windows": [
                round(float(np.corrcoef(a, b)[0, 1]), 4) for a, b in zip(wanted, model, strict=True)
            ],
            "slope": round(float(np.polyfit(x, y, 1)[0]), 4),
            "peak_error": {k: round(float(np.mean(v)), 4) for k, v in errors.items() if v},
        }
    return found


def _peak_errors(
    specimen: Specimen,
    grid: Grid,
    model: NDArray[np.float32],
    image: NDArray[np.float32],
    kept: slice,
) -> Iterator[tuple[str, float]]:
    """Relative error of the intensity at every column inside what is kept of the window.

    A mixed column counts for the species of which it holds more.
    """
    names = species_of(specimen.kinds)
    first = np.cumsum([0, *(2 if k.substitute else 1 for k in specimen.kinds)])[:-1]
    species = first[specimen.kind]
    if len(specimen.share):
        mixed = np.array([bool(k.substitute) for k in specimen.kinds])[specimen.kind]
        species = species + (mixed & (specimen.share > 0.5))
    nodes = (specimen.positions_yx_nm - np.asarray(grid.origin_yx_nm)) / grid.sampling_nm
    nodes = np.rint(nodes).astype(int)
    low, high, _ = kept.indices(min(grid.shape_yx))
    inside = ((nodes >= low) & (nodes < high)).all(axis=1)
    for (i, j), k in zip(nodes[inside], species[inside], strict=True):
        yield names[k], float(model[i, j] / image[i, j] - 1.0)


def incoherent(optics: Optics) -> list[str]:
    """The detectors that the fast renderer may have."""
    least = INCOHERENT_FROM * optics.semiangle_mrad
    return [d.name for d in optics.detectors if d.inner_mrad >= least]


def settings_of(name: str) -> Multislice:
    """How the windows are simulated."""
    settings = multislice_settings(name)
    return replace(settings, configurations=min(settings.configurations, CONFIGURATIONS))


def simulate(
    name: str, split: str, folder: Path | None, scheduler: str, only: int | None = None
) -> tuple[list[Window], list[Images]]:
    """The windows of a split, and their images by multislice."""
    module = specimen_module(name)
    cells, images = windows(name, split, only), []
    for n, (specimen, grid) in enumerate(cells):
        images.append(
            render(
                specimen.atoms(),
                grid,
                module.OPTICS,
                settings_of(name),
                None if folder is None else folder / f"{split}-{n}",
                None,
                scheduler,
            )
        )
        print(f"{name}: {split} window {n + 1} of {len(cells)}", flush=True)
    return cells, images


def calibrate(name: str, folder: Path | None = None, scheduler: str = "1") -> dict[str, Any]:
    """Simulate the windows of a specimen, fit, and return the table."""
    optics = specimen_module(name).OPTICS
    cells, images = simulate(name, "train", folder, scheduler)
    kept = inner(optics, SAMPLING_NM)
    fitted = fit(cells, images, incoherent(optics), kept)
    kernels = Kernels(
        species=tuple(species_of(cells[0][0].kinds)),
        sigmas_nm=np.asarray(SIGMAS_NM),
        weights=fitted["weights"],
        background=fitted["background"],
        provenance={},
    )
    unseen = simulate(name, "validation", folder, scheduler, HELD_OUT)
    return {
        "species": list(kernels.species),
        "sigmas_nm": list(SIGMAS_NM),
        "weights": {
            k: [[float(f"{w:.5g}") for w in r] for r in v] for k, v in kernels.weights.items()
        },
        "background": kernels.background,
        "provenance": {
            "command": f"python -m stemscout.simulators.calibrate {name}",
            "windows": {"train": len(cells), "validation": len(unseen[0]), "side_nm": WINDOW_NM},
            "optics": asdict(optics),
            "multislice": asdict(settings_of(name)),
            "fit": quality(cells, images, kernels, kept),
            "held_out": quality(*unseen, kernels, kept),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen")
    parser.add_argument("--keep", type=Path, help="folder for finished rows, to resume from")
    parser.add_argument("--scheduler", default="1", help="processes, or a Dask scheduler's address")
    arguments = parser.parse_args()
    table = calibrate(arguments.specimen, arguments.keep, arguments.scheduler)
    path = Path(__file__).parent / "calibration" / f"{arguments.specimen}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n")
    shown = {k: table["provenance"][k] for k in ("fit", "held_out")}
    print(f"{path.name}: {json.dumps(shown, indent=1)}")


if __name__ == "__main__":
    main()
