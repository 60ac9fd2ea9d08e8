"""How far the abtem renderer's images would still change: the rows of a table.

    python -m stemscout.simulators.convergence

simulates a square of 0.4 nm beside a feature of each kind of specimen as the renderer
does, and again with grids twice as fine, slices half as thick, and margins three times
as wide.  For every detector it prints, as the table in docs/physics.md has it, how much
higher the renderer's mean is than the better one, and how the two images correlate.
The same phonon configuration stands in all; the source's blur is left out.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .calibrate import settings_of, windows
from .grid import Grid
from .multislice import Multislice, render
from .optics import Detector, Optics
from .specimens import SPECIMENS, specimen_module

SAMPLING_NM = 0.04
NODES = 10  # to a side of the square: the tiles of all specimens divide it


@dataclass(frozen=True)
class Change:
    """The renderer against something better.

    Attributes:
        better: what was done better.
        level: by detector, mean intensity of the renderer over the better one, less 1.
        correlation: by detector, of the two images.
    """

    better: str
    level: dict[str, float]
    correlation: dict[str, float]


def changes(name: str, window: int = 1) -> Iterator[Change]:
    """What a better simulation of the middle of a training window of ``name`` would change."""
    specimen, _ = windows(name, "train")[window]
    optics = replace(specimen_module(name).OPTICS, source_fwhm_nm=0.0)
    settings = replace(settings_of(name), configurations=1)
    half = SAMPLING_NM * NODES / 2
    square = Grid((-half, -half), (NODES, NODES), SAMPLING_NM)
    atoms = specimen.atoms()
    own = render(atoms, square, optics, settings)
    for better, its_optics, its_settings in better_ones(optics, settings):
        wanted = render(atoms, square, its_optics, its_settings)
        yield Change(
            better,
            {d: float(own[d].mean() / wanted[d].mean() - 1.0) for d in own},
            {d: float(np.corrcoef(own[d].ravel(), wanted[d].ravel())[0, 1]) for d in own},
        )


def better_ones(optics: Optics, settings: Multislice) -> Iterator[tuple[str, Optics, Multislice]]:
    """What is done better, and the optics and settings that do so."""
    # The grid follows from the outermost detector.
    outer = max(d.outer_mrad for d in optics.detectors)
    beyond = Detector("beyond", outer, 2.0 * outer)
    yield "grid twice as fine", replace(optics, detectors=(*optics.detectors, beyond)), settings
    yield "slices half as thick", optics, replace(settings, slice_nm=settings.slice_nm / 2)
    yield "margin three times as wide", optics, replace(settings, margin_nm=3 * settings.margin_nm)


def rows(name: str) -> Iterator[str]:
    """The lines of the table about a specimen, in Markdown."""
    for of in changes(name):
        cells = (f"{100 * of.level[d]:+.1f} %, {of.correlation[d]:.4f}" for d in of.level)
        yield f"| {name} | {of.better} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimens", nargs="*", help="all by default")
    for name in parser.parse_args().specimens or SPECIMENS:
        for row in rows(name):
            print(row, flush=True)


if __name__ == "__main__":
    main()
