"""Fit the fast renderer's kernels to the abtem renderer.

    python -m stemscout.simulators.calibrate graphene

simulates a small cell with abTEM, fits for each element a sum of Gaussians by
non-negative least squares, and writes ``calibration/<specimen>.json`` with the
quality of the fit.  Minutes on one core.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fast import REACH_NM
from .grid import Grid
from .multislice import Multislice, render
from .specimens import specimen_module
from .specimens.specimen import Specimen

SIGMAS_NM = (0.035, 0.045, 0.058, 0.075, 0.1, 0.14, 0.2)
CELL_NM, SEED, DIFFICULTY, CONFIGURATIONS = 4.0, 1, "easy", 8


def design_matrix(specimen: Specimen, grid: Grid) -> NDArray[np.float64]:
    """Columns: for each kind and width the sum of its Gaussians, and a constant."""
    y = grid.origin_yx_nm[0] + np.arange(grid.shape_yx[0]) * grid.sampling_nm
    x = grid.origin_yx_nm[1] + np.arange(grid.shape_yx[1]) * grid.sampling_nm
    columns = []
    for kind in range(len(specimen.kinds)):
        atoms = specimen.positions_yx_nm[specimen.kind == kind]
        for sigma in SIGMAS_NM:
            total = np.zeros(grid.shape_yx)
            for ay, ax in atoms:
                ky = np.flatnonzero(abs(y - ay) <= REACH_NM)
                kx = np.flatnonzero(abs(x - ax) <= REACH_NM)
                if len(ky) and len(kx):
                    r2 = (y[ky] - ay)[:, None] ** 2 + (x[kx] - ax)[None, :] ** 2
                    spot = np.exp(-0.5 * r2 / sigma**2) * (r2 <= REACH_NM**2)
                    total[ky[0] : ky[-1] + 1, kx[0] : kx[-1] + 1] += spot
            columns.append(total.ravel())
    columns.append(np.ones(grid.shape_yx).ravel())
    return np.column_stack(columns)


def fit(
    specimen: Specimen, grid: Grid, images: dict[str, NDArray[np.float32]]
) -> dict[str, dict[str, object]]:
    """Weights, background and quality of the fit, by detector."""
    from scipy.optimize import nnls

    matrix = design_matrix(specimen, grid)
    scale = np.linalg.norm(matrix, axis=0)
    found: dict[str, dict[str, object]] = {}
    for name, image in images.items():
        wanted = image.ravel().astype(np.float64)
        solution, _ = nnls(matrix / scale, wanted)
        solution /= scale
        model = matrix @ solution
        found[name] = {
            "weights": solution[:-1].reshape(len(specimen.kinds), -1).tolist(),
            "background": float(solution[-1]),
            "correlation": float(np.corrcoef(model, wanted)[0, 1]),
            "slope": float(np.polyfit(wanted, model, 1)[0]),
            "peak_error": _peak_errors(specimen, grid, model.reshape(grid.shape_yx), image),
        }
    return found


def _peak_errors(
    specimen: Specimen, grid: Grid, model: NDArray[np.float64], image: NDArray[np.float32]
) -> dict[str, float]:
    """Mean relative error of the intensity at the atoms, by element."""
    nodes = np.rint(
        (specimen.positions_yx_nm - np.asarray(grid.origin_yx_nm)) / grid.sampling_nm
    ).astype(int)
    inside = ((nodes >= 0) & (nodes < np.asarray(grid.shape_yx))).all(axis=1)
    errors = {}
    for kind, symbol in enumerate(specimen.kinds):
        iy, ix = nodes[inside & (specimen.kind == kind)].T
        errors[symbol] = float(np.mean(model[iy, ix] / image[iy, ix] - 1.0))
    return errors


def calibrate(name: str, folder: Path | None = None) -> dict[str, Any]:
    """Simulate the calibration cell of a specimen, fit, and return the table."""
    module = specimen_module(name)
    specimen = module.generate(SEED, DIFFICULTY, CELL_NM)
    grid = Grid.over((CELL_NM, CELL_NM), 0.04)
    settings = Multislice(CONFIGURATIONS, module.THERMAL_SIGMA_NM)
    images = render(specimen.atoms(), grid, module.OPTICS, settings, folder, _show)
    fits = fit(specimen, grid, images)
    return {
        "kinds": list(specimen.kinds),
        "sigmas_nm": list(SIGMAS_NM),
        "weights": {k: v["weights"] for k, v in fits.items()},
        "background": {k: v["background"] for k, v in fits.items()},
        "provenance": {
            "command": f"python -m stemscout.simulators.calibrate {name}",
            "specimen": {"seed": SEED, "difficulty": DIFFICULTY, "field_nm": CELL_NM},
            "optics": asdict(module.OPTICS),
            "multislice": asdict(settings),
            "fit": {
                k: {q: v[q] for q in ("correlation", "slope", "peak_error")}
                for k, v in fits.items()
            },
        },
    }


def _show(done: int, total: int) -> None:
    print(f"row {done} of {total}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("specimen")
    parser.add_argument("--keep", type=Path, help="folder for finished rows, to resume from")
    arguments = parser.parse_args()
    table = calibrate(arguments.specimen, arguments.keep)
    path = Path(__file__).parent / "calibration" / f"{arguments.specimen}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n")
    print(f"{path.name}: {json.dumps(table['provenance']['fit'], indent=1)}")


if __name__ == "__main__":
    main()
