"""What it costs to simulate, and how well the ways agree: one table.

Every row is measured in a process of its own, so that its peak memory is its
own.  ``fast`` generates and renders a field of the default size, at the
difficulty that takes longest.  ``abtem`` images the middle of a small cell that
the calibration never saw; ``abTEM, plain`` images the same probe positions of
the same phonon configurations by one call on the whole cell, as anyone would
write it, on the renderer's own real-space grid; ``abTEM, plain, fine`` does so
on a finer one, which its projection of atoms between grid points needs to be
exact.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..simulators import fast, multislice, plain
from ..simulators.calibrate import incoherent, inner, windows
from ..simulators.grid import Grid
from ..simulators.multislice import Images, Multislice
from ..simulators.optics import Optics
from ..simulators.specimens import SPECIMENS, Specimen, specimen_module
from ..simulators.world import Recipe, multislice_settings, open_world, specimen_seed
from .timing import median_us

SCANNED_NM = 0.8  # of the cell's middle
PLAIN_STEP_NM = 0.1  # between probes where one call images the whole cell for each of them
PLAIN = ("graphene", "nio_lsmo")  # whole cells are simulated for one sheet and one crystal
FINE = 2.0
REPEATS = 7


@dataclass(frozen=True)
class Row:
    """One line of the table; ``correlation`` is that with the abtem renderer."""

    specimen: str
    renderer: str
    field_nm: float
    probes: int
    seconds: float
    probes_per_s: float
    peak_mib: float
    correlation: float | None
    compared: str


def rows(specimens: Sequence[str] = SPECIMENS, with_plain: bool = True) -> Iterator[Row]:
    """The table, row by row."""
    for name in specimens:
        specimen_module(name)
    for name in specimens:
        yield from _alone(_measure, name, with_plain and name in PLAIN)


def _alone(task: Callable[..., Any], *arguments: Any) -> Any:
    """The result of a call in a fresh process."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(task, *arguments).result()


def _measure(name: str, with_plain: bool) -> list[Row]:
    module = specimen_module(name)
    found = [_alone(_fast_row, name)]
    cell, grid = _cell(name)
    settings = multislice_settings(name)
    images, seconds, memory = _alone(_tiled, name, settings)
    configurations = settings.configurations
    probes = grid.shape_yx[0] * grid.shape_yx[1]
    kept = (inner(module.OPTICS, grid.sampling_nm),) * 2
    agreement = {
        d: float(
            np.corrcoef(fast.render(cell, grid, d)[kept].ravel(), images[d][kept].ravel())[0, 1]
        )
        for d in incoherent(module.OPTICS)
    }
    found[0] = replace(
        found[0], correlation=agreement["haadf"], compared="haadf, a cell never calibrated on"
    )
    side = SCANNED_NM + 2.0
    rate = probes * configurations / seconds
    found.append(
        Row(
            name,
            "abtem",
            side,
            probes,
            seconds,
            rate,
            memory,
            None,
            f"{configurations} configurations",
        )
    )
    if with_plain:
        _, grid = _cell(name, PLAIN_STEP_NM)
        probes = grid.shape_yx[0] * grid.shape_yx[1]
        same = replace(settings, configurations=1)
        ours, seconds, memory = _alone(_tiled, name, same, PLAIN_STEP_NM)
        about = "1 configuration, no source blur"
        found.append(
            Row(name, "abtem", side, probes, seconds, probes / seconds, memory, None, about)
        )
        for label, finer in (("abTEM, plain", 1.0), ("abTEM, plain, fine", FINE)):
            theirs, seconds, memory = _alone(_plain, name, same, finer)
            each = {d: float(np.corrcoef(ours[d].ravel(), theirs[d].ravel())[0, 1]) for d in ours}
            agree = min(each.values())
            about = "least of " + ", ".join(f"{d} {r:.5f}" for d, r in each.items())
            found.append(
                Row(name, label, side, probes, seconds, probes / seconds, memory, agree, about)
            )
    return found


def _fast_row(name: str) -> Row:
    """The slowest difficulty: what a field costs at most, and not what the default one costs."""
    module = specimen_module(name)
    seconds = 0.0
    for difficulty in module.LEVELS:
        recipe = Recipe(name, difficulty, *specimen_seed(0, "test"), module.FIELD_NM)
        seconds = max(seconds, median_us(partial(open_world, recipe), REPEATS, 2) * 1e-6)
    shape = open_world(recipe).grid.shape_yx
    probes = shape[0] * shape[1]
    return Row(
        name, "fast", module.FIELD_NM, probes, seconds, probes / seconds, _peak_mib(), None, ""
    )


def _cell(name: str, step_nm: float | None = None) -> tuple[Specimen, Grid]:
    """A window of a validation specimen, about a feature; the renderer's own step by default."""
    specimen, _ = windows(name, "validation", only=3)[1]
    step = step_nm or specimen_module(name).EXACT_SAMPLING_NM
    return specimen.window(np.zeros(2), SCANNED_NM), Grid.over((SCANNED_NM,) * 2, step)


def _optics(name: str, step_nm: float | None) -> Optics:
    """Those of the specimen; without the source's blur where probes lie too far apart for it."""
    optics: Optics = specimen_module(name).OPTICS
    return optics if step_nm is None else replace(optics, source_fwhm_nm=0.0)


def _tiled(
    name: str, settings: Multislice, step_nm: float | None = None
) -> tuple[Images, float, float]:
    cell, grid = _cell(name, step_nm)
    optics = _optics(name, step_nm)
    atoms = cell.atoms()
    few = replace(settings, configurations=1)
    # The first call loads abTEM and plans the transforms; it does not count.
    multislice.render(atoms, replace(grid, shape_yx=(2, 2)), optics, few)
    began = time.perf_counter()
    images = multislice.render(atoms, grid, optics, settings)
    return images, time.perf_counter() - began, _peak_mib()


def _plain(name: str, settings: Multislice, finer: float) -> tuple[Images, float, float]:
    cell, grid = _cell(name, PLAIN_STEP_NM)
    atoms = cell.atoms()
    began = time.perf_counter()
    images = plain.render(atoms, grid, _optics(name, PLAIN_STEP_NM), settings, finer)
    return images, time.perf_counter() - began, _peak_mib()


def _peak_mib() -> float:
    """Peak resident memory of this process.

    On Linux not by ``getrusage``: that one begins with what the parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(peak.split()[1]) / 2**10
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
