"""How much dose it takes to see a feature at all.

    python -m stemscout.simulators.visibility graphene

prints, for each class, the dose at which an ideal observer tells the context
disc with the feature from the same disc without it at
d' = sqrt(Σ (λ₁ - λ₀)² / λ₀) = 5 (the Rose criterion), on the pixels of the
reference frame, averaged over sites.  The numbers stand in the specimen's
module; a test computes them again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import ScanRequest
from .grid import Grid
from .scan import sample
from .specimens import specimen_module
from .specimens.specimen import Specimen
from .world import Recipe, World, render_fast, spline_coefficients

D_PRIME = 5.0
SITES = 12


def need_e_per_a2(
    name: str, detector: str = "haadf", difficulty: str = "medium"
) -> dict[str, float]:
    """Dose in e/Å² needed by each class of a specimen, by name."""
    module = specimen_module(name)
    recipe = Recipe(name, difficulty, 0, (0, 0, 0), module.FIELD_NM)
    world = render_fast(recipe)
    pitch = module.FRAME_NM / module.FRAME_PX
    rng = np.random.default_rng(0)
    needs = {}
    for index, feature_class in enumerate(world.specimen.classes):
        doses = []
        for yx in _pristine_sites(world.specimen, rng):
            radius = feature_class.context_radius_nm
            with_it = module.with_feature(world.specimen, index, yx)
            f1 = _disc(world, with_it, detector, yx, radius, pitch)
            f0 = _disc(world, world.specimen, detector, yx, radius, pitch)
            per_dose = (pitch * 10.0) ** 2 * np.sum((f1 - f0) ** 2 / f0)
            doses.append(D_PRIME**2 / per_dose)
        needs[feature_class.name] = float(np.mean(doses))
    return needs


def _pristine_sites(specimen: Specimen, rng: np.random.Generator) -> NDArray[np.float64]:
    """Atoms far from every feature and from the border."""
    atoms = specimen.positions_yx_nm
    apart = np.linalg.norm(atoms[:, None] - specimen.feature_yx_nm[None], axis=2).min(axis=1)
    inner = (np.abs(atoms) < np.asarray(specimen.field_yx_nm) / 2 - 1.0).all(axis=1)
    sites = atoms[(apart > 1.5) & inner]
    return np.asarray(sites[rng.choice(len(sites), SITES, replace=False)])


def _disc(
    world: World,
    specimen: Specimen,
    detector: str,
    yx_nm: NDArray[np.float64],
    radius_nm: float,
    pitch_nm: float,
) -> NDArray[np.float64]:
    """Noise-free fractions of the beam at the pixels of a disc about ``yx_nm``."""
    from .fast import render

    half = radius_nm + 0.7  # beyond the disc: a kernel's reach and the spline's
    centre = np.rint((yx_nm - world.grid.origin_yx_nm) / world.grid.sampling_nm)
    corner = centre - np.ceil(half / world.grid.sampling_nm)
    nodes = int(2 * np.ceil(half / world.grid.sampling_nm) + 1)
    origin = np.asarray(world.grid.origin_yx_nm) + corner * world.grid.sampling_nm
    grid = Grid((origin[0], origin[1]), (nodes, nodes), world.grid.sampling_nm)
    local = replace(
        world,
        grid=grid,
        coefficients={detector: spline_coefficients(render(specimen, grid, detector))},
    )
    side = 2 * int(np.ceil(radius_nm / pitch_nm)) + 1
    request = ScanRequest(
        (float(yx_nm[0]), float(yx_nm[1])), (side * pitch_nm,) * 2, (side, side), 1.0
    )
    out = np.empty((side, side))
    sample(local, detector, request, (0.0, 0.0), out)
    offset = (np.arange(side) - side // 2) * pitch_nm
    return out[offset[:, None] ** 2 + offset[None, :] ** 2 <= radius_nm**2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen")
    parser.add_argument("--detector", default="haadf")
    arguments = parser.parse_args()
    for name, need in need_e_per_a2(arguments.specimen, arguments.detector).items():
        print(f"{name}: {need:.0f} e/Å²")


if __name__ == "__main__":
    main()
