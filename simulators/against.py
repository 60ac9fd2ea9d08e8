"""How well the fast renderer agrees with the shipped worlds: the rows of a table.

    python -m stemscout.simulators.against

prints, for every world in the package and every detector that the fast renderer
has, correlation, slope and peak-intensity error by species, as the table in
docs/physics.md has them.  The measures are those of the calibration
(``calibrate.quality``), but the specimens are none that it has seen, and the
worlds of the oxides are made with tiles of another size.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from . import fast
from .calibrate import columns_inside, quality
from .grid import PAD
from .species import species_of
from .spline import image_of
from .world import SHIPPED, open_world, shipped

SHOWN = 5  # columns that a species must show: the error of fewer is that of their noise
FIELD = slice(PAD, -PAD)  # rows, and columns, of a world's grid that lie inside its field


@dataclass(frozen=True)
class Agreement:
    """The fast renderer against a world, for one detector.

    Attributes:
        detector: by name.
        correlation: of the two images.
        slope: of the fast image over the world's; 1 where contrasts are the same.
        peak_error: mean relative error of the intensity at the columns of a species, for
            every one that shows at least ``SHOWN`` of them.
    """

    detector: str
    correlation: float
    slope: float
    peak_error: dict[str, float]


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
    names = species_of(world.specimen)
    count = Counter(names[k] for _, _, k in columns_inside(*cell, FIELD))
    return [
        Agreement(
            detector,
            of["correlation"],
            of["slope"],
            {s: e for s, e in of["peak_error"].items() if count[s] >= SHOWN},
        )
        for detector, of in found.items()
    ]


def rows(name: str) -> Iterator[str]:
    """The lines of the table about a world, in Markdown."""
    for of in against_world(name):
        errors = ", ".join(f"{_told(s)} {100 * e:+.0f} %" for s, e in of.peak_error.items())
        yield (
            f"| `{name}` | {of.detector.upper()} | {of.correlation:.3f} | {of.slope:.2f} "
            f"| {errors} |"
        )


def _told(species: str) -> str:
    """A species by name; a mixed column that holds more of its substitute is rich in it."""
    kind, _, second = species.partition(":")
    if second == kind:
        return f"{kind} in long columns" if kind == "Au" else f"{kind} in pairs"
    return f"{second}-rich {kind}" if second else kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("worlds", nargs="*", help="names such as bifeo3-medium; all by default")
    for name in parser.parse_args().worlds or worlds():
        print("\n".join(rows(name)), flush=True)


if __name__ == "__main__":
    main()
