"""The calibration finds again what an image was made of, and says how good it is."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.simulators import fast
from stemscout.simulators.calibrate import (
    HELD_OUT,
    SIGMAS_NM,
    WINDOW_NM,
    design_matrix,
    fit,
    incoherent,
    quality,
    windows,
)
from stemscout.simulators.fast import Kernels, species_of
from stemscout.simulators.specimens import SPECIMENS, specimen_module


def test_an_image_made_of_kernels_gives_back_the_kernels():
    cells = windows("nio_lsmo", "train", only=3)
    names = species_of(cells[0][0].kinds)
    wanted = np.zeros((len(names), len(SIGMAS_NM)))
    wanted[:, 2] = np.linspace(1e-3, 6e-3, len(names))
    wanted[0, 4] = 2e-4
    images = []
    for cell in cells:
        image = design_matrix(*cell) @ wanted.ravel()
        images.append({"haadf": image.reshape(cell[1].shape_yx).astype(np.float32)})
    found = fit(cells, images, ["haadf"])
    assert found["weights"]["haadf"][:4] == pytest.approx(wanted[:4], abs=3e-5)
    kernels = Kernels(tuple(names), np.array(SIGMAS_NM), found["weights"], found["background"], {})
    said = quality(cells, images, kernels)["haadf"]
    assert said["correlation"] > 0.999
    assert said["slope"] == pytest.approx(1.0, abs=0.02)


def test_a_species_that_never_occurs_is_named():
    (specimen, grid), *_ = windows("graphene", "train", only=1)
    bare = specimen.window(np.array([50.0, 50.0]), WINDOW_NM)
    with pytest.raises(ValueError, match="no window holds a column of C, Si"):
        fit([(bare, grid)], [{"haadf": np.zeros(grid.shape_yx, np.float32)}], ["haadf"])


def test_only_incoherent_detectors_are_calibrated():
    assert incoherent(specimen_module("graphene").OPTICS) == ["haadf", "maadf"]
    assert incoherent(specimen_module("bifeo3").OPTICS) == ["haadf", "maadf"]


@pytest.mark.parametrize("name", SPECIMENS)
def test_training_and_held_out_windows_differ(name):
    """The held-out ones come from the validation split."""
    train, unseen = windows(name, "train", 1)[0][0], windows(name, "validation", 1)[0][0]
    assert train.seed != unseen.seed


# Gold channels 200 kV electrons: atoms of a column do not simply add up, and neither do those of
# thick amorphous carbon in MAADF, which is partly coherent; nor do the crowded columns of NiO.
LEAST = {
    ("nio_lsmo", "maadf"): (0.975, 0.96),
    ("nanoparticles", "maadf"): (0.975, 0.97),
    ("composite", "haadf"): (0.98, 0.96),
    ("composite", "maadf"): (0.97, 0.92),
}


@pytest.mark.parametrize("name", SPECIMENS)
def test_the_table_says_how_good_it_is(name):
    """Correlation with multislice >= 0.98 on windows that the fit never saw; over contamination
    0.94 in MAADF.  ``LEAST`` has what falls short: of the median window, and of the worst."""
    kernels = fast.load_kernels(name)
    said = kernels.provenance
    assert said["windows"]["validation"] == HELD_OUT
    assert said["command"].endswith(f"simulators.calibrate {name}")
    for detector in kernels.weights:
        each = said["held_out"][detector]["windows"]
        median, worst = LEAST.get((name, detector), (0.98, 0.98 if detector == "haadf" else 0.94))
        assert np.median(each) >= median
        assert min(each) >= worst
        assert 0.85 < said["held_out"][detector]["slope"] < 1.1
        # Every species of column has its error stated; a mixed one, where it is the greater part.
        stated = set(said["fit"][detector]["peak_error"])
        plain = {s for s in kernels.species if ":" not in s}
        assert plain <= stated <= set(kernels.species)
