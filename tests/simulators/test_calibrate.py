"""The calibration finds again what an image was made of."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.simulators.calibrate import SIGMAS_NM, design_matrix, fit
from stemscout.simulators.grid import Grid
from stemscout.simulators.specimens import graphene


def test_an_image_made_of_kernels_gives_back_the_kernels():
    specimen = graphene.generate(0, "easy", 4.0)
    grid = Grid.over((4.0, 4.0), 0.08)
    wanted = np.zeros((2, len(SIGMAS_NM)))
    wanted[0, [1, 4]] = 1e-4, 2e-5
    wanted[1, [2, 5]] = 9e-4, 5e-5
    image = design_matrix(specimen, grid) @ np.append(wanted.ravel(), 3e-6)
    found = fit(specimen, grid, {"haadf": image.reshape(grid.shape_yx).astype(np.float32)})["haadf"]
    assert np.array(found["weights"]) == pytest.approx(wanted, abs=2e-6)
    assert found["background"] == pytest.approx(3e-6, abs=3e-7)
    assert found["correlation"] > 0.99999
    assert found["slope"] == pytest.approx(1.0, abs=1e-3)
    assert found["peak_error"]["Si"] == pytest.approx(0.0, abs=1e-3)
