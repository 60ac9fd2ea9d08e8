"""How well the fast renderer agrees with multislice: the rows of two tables.

    python -m stemscout.simulators.against

prints correlation, slope and peak-intensity error by column, as the tables in
docs/physics.md have them: of every calibration, on the windows that it was held
against, and of every world in the package.  The measures are the same
(``calibrate.quality``), but the worlds are of specimens that no calibration has seen, and
those of the oxides are made with tiles of another size.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from . import fast
from .calibrate import columns_inside, quality
from .grid import PAD
from .specimens import SPECIMENS, specimen_module
from .spline import image_of
from .world import SHIPPED, open_world, shipped

SHOWN = 5  # columns of a kind, at least: the error of fewer is that of their noise
FIELD = slice(PAD, -PAD)  # rows, and columns, of a world's grid that lie inside its field


@dataclass(frozen=True)
class Agreement:
    """The fast renderer against a world, for one detector.

    Attributes:
        detector: by name.
        correlation: of the two images.
        slope: of the fast image over the world's; 1 where contrasts are the same.
        peak_error: mean relative error of the intensity at columns of a kind, for every
            one of which there are at least ``SHOWN``.
        peak_error_rms: the root of its mean square, the same.
    """

    detector: str
    correlation: float
    slope: float
    peak_error: dict[str, float]
    peak_error_rms: dict[str, float]


def worlds() -> list[str]:
    """The worlds in the package, by name."""
    return sorted(p.stem for p in SHIPPED.glob("*.npz"))


def against_world(name: str) -> list[Agreement]:
    """The fast renderer against the shipped world ``name``, for each of its detectors."""
    specimen, difficulty = name.split("-")
    world = open_world(shipped(specimen, difficulty))
    kernels = fast.load_kernels(specimen)
    cell = (world.specimen, world.grid)
    images = {d: image_of(world.coefficients[d]) for d in kernels.weights}
    found = quality([cell], [images], kernels, FIELD)
    count = Counter(column for _, _, column in columns_inside(*cell, FIELD))
    return [
        Agreement(
            detector,
            of["correlation"],
            of["slope"],
            {c: e for c, e in of["peak_error"].items() if count[c] >= SHOWN},
            {c: e for c, e in of["peak_error_rms"].items() if count[c] >= SHOWN},
        )
        for detector, of in found.items()
    ]


def rows(name: str) -> Iterator[str]:
    """The lines of the table about a world, in Markdown."""
    specimen = name.split("-")[0]
    for of in against_world(name):
        errors = _errors(specimen, of.peak_error, of.peak_error_rms)
        yield (
            f"| `{name}` | {of.detector.upper()} | {of.correlation:.3f} | {of.slope:.2f} "
            f"| {errors} |"
        )


def held_out_rows(name: str) -> Iterator[str]:
    """The lines of the table about a calibration, in Markdown."""
    kernels = fast.load_kernels(name)
    for detector in kernels.weights:
        of = kernels.provenance["held_out"][detector]
        halves = kernels.provenance["reference"][detector]
        errors = _errors(name, of["peak_error"], of["peak_error_rms"])
        worst, best = min(of["windows"]), max(of["windows"])
        yield (
            f"| {name} | {detector.upper()} | {of['correlation']:.3f} | {worst:.3f} to {best:.3f} "
            f"| {halves:.3f} | {of['slope']:.2f} | {errors} |"
        )


def _errors(specimen: str, mean: Mapping[str, float], rms: Mapping[str, float]) -> str:
    """Mean of the error of each kind of column, and its r.m.s. in brackets."""
    return ", ".join(
        f"{_in_words(specimen, c)} {100 * e:+.0f} ({100 * rms[c]:.0f}) %" for c, e in mean.items()
    )


def _in_words(specimen: str, column: str) -> str:
    """A column, whose second species are told by what they are."""
    raised = getattr(specimen_module(specimen), "RAISED", ())

    def told(species: str) -> str:
        kind, _, second = species.partition(":")
        if not second:
            return kind
        if kind in raised:
            return f"antisite {kind}"
        if second != kind:
            return f"{second}-rich {kind}"
        return f"{kind} in long columns" if kind == "Au" else f"{kind} in pairs"

    return " + ".join(told(s) for s in column.split(" + "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    for specimen in SPECIMENS:
        print("\n".join(held_out_rows(specimen)), flush=True)
    for name in worlds():
        print("\n".join(rows(name)), flush=True)


if __name__ == "__main__":
    main()
