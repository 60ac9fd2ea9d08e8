"""How much dose it takes to see a feature at all.

    python -m stemscout.simulators.visibility graphene

prints, for each class and difficulty, the dose at which an ideal observer tells the context
disc with the feature from the same disc without it at
d' = sqrt(Σ (λ₁ - λ₀)² / λ₀) = 5 (the Rose criterion), on the pixels of the
reference frame, averaged over sites.  The numbers stand in the specimen's
module; a test computes them again.  Where a feature
looks the same at every difficulty, one number serves all.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import ScanRequest
from . import fast
from .grid import Grid
from .scan import sample
from .specimens import Specimen, specimen_module
from .specimens.specimen import Floats

D_PRIME = 5.0
SITES = 12


def need_e_per_a2(
    name: str, difficulty: str | None = None, detector: str = "haadf", sites: int = SITES
) -> dict[str, float]:
    """Dose in e/Å² needed by each class of a specimen, by name; medium, if there is, by default."""
    module = specimen_module(name)
    at = difficulty or ("medium" if "medium" in module.LEVELS else next(iter(module.LEVELS)))
    pitch = module.FRAME_NM / module.FRAME_PX
    needs = {}
    for index, feature_class in enumerate(module.CLASSES):
        rng = np.random.default_rng([0, index])
        doses = []
        for _ in range(sites):
            with_it, without, yx = module.pair(index, rng, at)
            radius = feature_class.context_radius_nm
            f1, f0 = (
                disc(s, detector, yx, radius, pitch, module.SAMPLING_NM) for s in (with_it, without)
            )
            per_dose = (pitch * 10.0) ** 2 * np.sum((f1 - f0) ** 2 / f0)
            doses.append(D_PRIME**2 / per_dose)
        needs[feature_class.name] = float(np.mean(doses))
    return needs


def disc(
    specimen: Specimen,
    detector: str,
    yx_nm: Floats,
    radius_nm: float,
    pitch_nm: float,
    sampling_nm: float,
) -> NDArray[np.float64]:
    """Noise-free fractions of the beam at the pixels of a disc about ``yx_nm``."""
    reach = radius_nm + 4 * sampling_nm + pitch_nm
    grid = Grid.over((2 * reach, 2 * reach), sampling_nm)
    local = specimen.window(yx_nm, 2 * reach)
    coefficients = fast.coefficients(local, grid, detector)
    side = 2 * int(np.ceil(radius_nm / pitch_nm)) + 1
    request = ScanRequest((0.0, 0.0), (side * pitch_nm,) * 2, (side, side), 1.0)
    out = np.empty((side, side))
    sample(coefficients, grid, request, (0.0, 0.0), out)
    offset = (np.arange(side) - side // 2) * pitch_nm
    return out[offset[:, None] ** 2 + offset[None, :] ** 2 <= radius_nm**2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen")
    parser.add_argument("--detector", default="haadf")
    arguments = parser.parse_args()
    module = specimen_module(arguments.specimen)
    for difficulty in module.LEVELS if hasattr(module, "classes_at") else [None]:
        found = need_e_per_a2(arguments.specimen, difficulty, arguments.detector)
        for name, need in found.items():
            print(f"{name}{f', {difficulty}' if difficulty else ''}: {need:.3g} e/Å²")


if __name__ == "__main__":
    main()
