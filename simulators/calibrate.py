"""Fit the fast renderer's kernels to the abtem renderer.

    python -m stemscout.simulators.calibrate graphene

cuts windows out of specimens of the training split, one about a feature of each
class and some where there is contamination, simulates them with frozen-phonon
multislice, fits a sum of Gaussians to every species of column, and writes
``calibration/<specimen>.json`` with correlation, slope and peak-intensity
error.  The held-out figures come from windows of validation specimens, which
the fit has never seen, simulated with many phonon configurations: an average over
a few is noisy itself, and its noise would be counted as the fast renderer's error.
How far two halves of that reference agree is stated beside.
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
from .fast import REACH_NM, Kernels
from .grid import Grid
from .multislice import Images, Multislice, render
from .optics import Optics
from .species import contributions, first_species, in_line, shares, species_of
from .specimens import Specimen, amorphous, specimen_module
from .world import multislice_settings, specimen_seed

SIGMAS_NM = (0.035, 0.045, 0.058, 0.075, 0.1, 0.14, 0.2)
WINDOW_NM, SAMPLING_NM = 1.6, 0.04
CONTAMINATED = 2  # windows on contamination
SEEDS = 12  # specimens searched for a feature of each class
CONFIGURATIONS = 3  # of phonons at most; every species stands in many places besides
FITTED = 10  # windows at least
HELD_OUT = 6  # windows that the fit never sees; more where these do not show every species
EDGE_SIGMAS = 2.5  # of the source: so near to a window's edge its blur lacks what lies beyond
INCOHERENT_FROM = 1.5  # inner angle over the probe's; below, images are coherent
ALL = slice(None)
Floats = NDArray[np.float64]
Window = tuple[Specimen, Grid]
Place = tuple[Specimen, Floats]


def windows(name: str, split: str, only: int | None = None) -> list[Window]:
    """Windows about a feature of each class and about contamination.

    A module may ask for more of a class (``CALIBRATED``).  Where specimens lie on
    films of several thicknesses, each has its own, of specimens of its own.  Where
    these are fewer than ``FITTED`` (``HELD_OUT``), more features get one.  ``only`` so many are
    chosen evenly from all of them, so that a few still show of everything.
    """
    module = specimen_module(name)
    films = sorted({getattr(level, "film_nm", 0.0) for level in module.LEVELS.values()})
    missing = [(k, film) for film in films for k in range(len(module.CLASSES))]
    centres: list[Place] = []
    dirty: list[Place] = []
    spare: list[Place] = []
    for seed, specimen in _specimens(name, split):
        on = specimen.film_nm
        # Specimens of one seed look alike, whatever their film.
        turn = films.index(on) == seed % len(films)
        for k in [k for k, film in missing if film == on and turn]:
            of_class = np.flatnonzero(specimen.feature_class == k)
            wanted = getattr(module, "CALIBRATED", {}).get(module.CLASSES[k].name, 1)
            if len(of_class):
                places = [(specimen, specimen.feature_yx_nm[n]) for n in of_class]
                centres += places[:wanted]
                spare += places[wanted:FITTED]
                missing.remove((k, on))
        yx = _thickest(specimen) if len(dirty) < CONTAMINATED else None
        # Specimens of one seed share a patch: it counts once.
        if yx is not None and not any(np.allclose(yx, other) for _, other in dirty):
            dirty.append((specimen, yx))
        if not missing and len(dirty) == CONTAMINATED:
            break
    chosen = dirty[:1] + centres + dirty[1:]
    chosen += _evenly(spare, max(0, (FITTED if split == "train" else HELD_OUT) - len(chosen)))
    if only is not None:
        chosen = _evenly(chosen, only)
    grid = Grid.over((WINDOW_NM, WINDOW_NM), SAMPLING_NM)
    return [(with_film(specimen.window(yx, WINDOW_NM)), grid) for specimen, yx in chosen]


def _evenly(places: list[Place], count: int) -> list[Place]:
    """So many of them, from the first to the last."""
    return [places[k] for k in np.linspace(0, len(places) - 1, count).round().astype(int)]


def unseen_windows(name: str) -> list[Window]:
    """``HELD_OUT`` windows of validation specimens, and those with columns that these lack."""
    kept = inner(specimen_module(name).OPTICS, SAMPLING_NM)
    whole = windows(name, "validation")
    chosen = windows(name, "validation", HELD_OUT)
    shown = [{column for _, _, column in columns_inside(*cell, kept)} for cell in whole]
    seen = {column for cell in chosen for _, _, column in columns_inside(*cell, kept)}
    # That a mixed column holds more of its substitute is not asked for.
    mixed = {f"{k.name}:{k.substitute}" for k in whole[0][0].kinds if k.substitute}
    for column in sorted(set().union(*shown) - seen - mixed):
        if column not in seen:  # two windows, since what is rare may stand in either layer
            these = [k for k, columns in enumerate(shown) if column in columns][:2]
            chosen += [whole[k] for k in these]
            seen = seen.union(*(shown[k] for k in these))
    return chosen


def _thickest(specimen: Specimen) -> Floats | None:
    """Where there is most contamination, a window's reach inside the field."""
    thick = specimen.maps.get("contamination")
    if thick is None or thick.values.max() == 0:
        return None
    half = (np.array(thick.values.shape) - 1) / 2
    border = (int(1.0 / thick.pitch_nm),) * 2
    body = thick.values[border[0] : -border[0], border[1] : -border[1]]
    at = np.array(np.unravel_index(body.argmax(), body.shape)) + border
    return np.asarray((at - half) * thick.pitch_nm)


def with_film(specimen: Specimen) -> Specimen:
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


def _specimens(name: str, split: str) -> Iterator[tuple[int, Specimen]]:
    """Specimens of a split, each with its seed."""
    module = specimen_module(name)
    for seed in range(SEEDS):
        entropy, key = specimen_seed(seed, split)
        for difficulty in module.LEVELS:
            sequence = np.random.SeedSequence(entropy, spawn_key=key)
            yield seed, module.generate(sequence, difficulty)


def design_matrix(specimen: Specimen, grid: Grid) -> Floats:
    """Columns: for each species and width the sum of its Gaussians."""
    y = grid.origin_yx_nm[0] + np.arange(grid.shape_yx[0]) * grid.sampling_nm
    x = grid.origin_yx_nm[1] + np.arange(grid.shape_yx[1]) * grid.sampling_nm
    positions, species, amplitude = contributions(specimen)
    columns = []
    for index in range(len(species_of(specimen))):
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

    names = species_of(cells[0][0])
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
    """Correlation (of all and of each window), slope, and peak-intensity error by column.

    Of the latter the mean, and the root of the mean square (``peak_error_rms``).
    """
    found: dict[str, dict[str, Any]] = {}
    for name in kernels.weights:
        model: list[NDArray[np.float32]] = []
        wanted: list[NDArray[np.float32]] = []
        errors: dict[str, list[float]] = {}
        for (specimen, grid), image in zip(cells, images, strict=True):
            rendered = fast.render(specimen, grid, name, kernels)
            model.append(rendered[kept, kept].ravel())
            wanted.append(image[name][kept, kept].ravel())
            for i, j, column in columns_inside(specimen, grid, kept):
                error = float(rendered[i, j] / image[name][i, j] - 1.0)
                errors.setdefault(column, []).append(error)
        x, y = np.concatenate(wanted), np.concatenate(model)
        found[name] = {
            "correlation": round(float(np.corrcoef(x, y)[0, 1]), 5),
            "windows": [
                round(float(np.corrcoef(a, b)[0, 1]), 4) for a, b in zip(wanted, model, strict=True)
            ],
            "slope": round(float(np.polyfit(x, y, 1)[0]), 4),
            "peak_error": {k: round(float(np.mean(errors[k])), 4) for k in sorted(errors)},
            "peak_error_rms": {
                k: round(float(np.sqrt(np.mean(np.square(errors[k])))), 4) for k in sorted(errors)
            },
        }
    return found


def columns_inside(specimen: Specimen, grid: Grid, kept: slice) -> Iterator[tuple[int, int, str]]:
    """Node and name of every column inside what is kept of a window.

    Atoms that are in line are one column, named by all the species that it holds (``S + Se``),
    but for carbon, which lies on everything.  A mixed column counts for the species of which
    it holds more.
    """
    names = np.array(species_of(specimen))
    species = first_species(specimen)[specimen.kind] + (shares(specimen) > 0.5)
    nodes = (specimen.positions_yx_nm - np.asarray(grid.origin_yx_nm)) / grid.sampling_nm
    nodes = np.rint(nodes).astype(int)
    low, high, _ = kept.indices(min(grid.shape_yx))
    inside = np.flatnonzero(((nodes >= low) & (nodes < high)).all(axis=1))
    column = in_line(specimen.positions_yx_nm[inside])
    order = np.argsort(column, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(column[order])) + 1):
        held = sorted({*names[species[inside[members]]]})
        i, j = nodes[inside[members[0]]]
        yield int(i), int(j), " + ".join([s for s in held if s != "C"] or held)


def incoherent(optics: Optics) -> list[str]:
    """The detectors that the fast renderer may have."""
    least = INCOHERENT_FROM * optics.semiangle_mrad
    return [d.name for d in optics.detectors if d.inner_mrad >= least]


def settings_of(name: str) -> Multislice:
    """How the windows are simulated that are fitted."""
    settings = multislice_settings(name)
    return replace(settings, configurations=min(settings.configurations, CONFIGURATIONS))


def halves_of(name: str) -> list[Multislice]:
    """How the held-out windows are simulated: twice, with other phonons, and more of them."""
    fitted = settings_of(name)
    settings = replace(fitted, configurations=2 * fitted.configurations)
    return [settings, replace(settings, phonon_seed=settings.phonon_seed + 1)]


def simulate(
    name: str, cells: list[Window], settings: Multislice, folder: Path | None, scheduler: str
) -> list[Images]:
    """Images of windows by multislice; finished rows stay in ``folder``."""
    optics, images = specimen_module(name).OPTICS, []
    for n, (specimen, grid) in enumerate(cells):
        rows = None if folder is None else folder / str(n)
        images.append(render(specimen.atoms(), grid, optics, settings, rows, None, scheduler))
        print(f"{name}: window {n + 1} of {len(cells)}", flush=True)
    return images


def agreement(halves: list[list[Images]], detector: str, kept: slice) -> float:
    """Correlation of the two halves of a reference, all windows together."""
    first, second = (
        np.concatenate([i[detector][kept, kept].ravel() for i in half]) for half in halves
    )
    return round(float(np.corrcoef(first, second)[0, 1]), 5)


def calibrate(name: str, folder: Path | None = None, scheduler: str = "1") -> dict[str, Any]:
    """Simulate the windows of a specimen, fit, and return the table."""
    optics = specimen_module(name).OPTICS

    def at(place: str) -> Path | None:
        return None if folder is None else folder / place

    cells = windows(name, "train")
    images = simulate(name, cells, settings_of(name), at("train"), scheduler)
    kept = inner(optics, SAMPLING_NM)
    fitted = fit(cells, images, incoherent(optics), kept)
    kernels = Kernels(
        species=tuple(species_of(cells[0][0])),
        sigmas_nm=np.asarray(SIGMAS_NM),
        weights=fitted["weights"],
        background=fitted["background"],
        provenance={},
    )
    unseen = unseen_windows(name)
    halves = [
        simulate(name, unseen, settings, at(f"validation-{k}"), scheduler)
        for k, settings in enumerate(halves_of(name))
    ]
    reference = [
        {d: np.float32(0.5) * (a[d] + b[d]) for d in a} for a, b in zip(*halves, strict=True)
    ]
    return {
        "species": list(kernels.species),
        "sigmas_nm": list(SIGMAS_NM),
        "weights": {
            k: [[float(f"{w:.5g}") for w in r] for r in v] for k, v in kernels.weights.items()
        },
        "background": kernels.background,
        "provenance": {
            "command": f"python -m stemscout.simulators.calibrate {name}",
            "windows": {"train": len(cells), "validation": len(unseen), "side_nm": WINDOW_NM},
            "optics": asdict(optics),
            "multislice": asdict(settings_of(name)),
            "held_out_multislice": [asdict(s) for s in halves_of(name)],
            "fit": quality(cells, images, kernels, kept),
            "held_out": quality(unseen, reference, kernels, kept),
            "reference": {d: agreement(halves, d, kept) for d in kernels.weights},
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
