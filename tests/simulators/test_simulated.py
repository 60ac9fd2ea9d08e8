"""Electrons are counted as they come: Poisson, at the dose that was asked for."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from stemscout.envs.sources import SpecimenSource
from stemscout.hardware import CostModel, LimitError, ScanRequest
from stemscout.simulators.scan import Worlds, sample, scan_batch
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.specimens import specimen_module
from stemscout.simulators.world import open_world, shipped

REQUEST = ScanRequest((0.5, -0.5), (1.5, 1.5), (64, 64), 24.0)


@pytest.fixture
def microscope(world):
    m = SimulatedMicroscope(world, 7)
    m.open()
    return m


def batch(worlds, requests, seeds):
    """Frames (m, rows, columns) of worlds side by side, each with noise of its own seed."""
    side_by_side = Worlds(len(worlds))
    for k, world in enumerate(worlds):
        side_by_side.put(k, world, "haadf")
    out = np.empty((len(worlds), *requests[0].shape_yx), np.float32)
    words = [np.random.default_rng(s).bit_generator.random_raw() for s in seeds]
    scan_batch(
        side_by_side,
        np.arange(len(worlds)),
        np.array([r.centre_yx_nm for r in requests]),
        np.array([r.fov_yx_nm for r in requests]),
        np.array([r.dwell_us for r in requests]),
        np.array(words, dtype=np.uint64),
        1.0,
        out,
    )
    return out


def test_counts_are_poisson(world):
    counts = batch([world] * 200, [REQUEST] * 200, range(200))
    expected = np.empty((64, 64))
    sample(world.coefficients["haadf"], world.grid, REQUEST, (0.0, 0.0), expected)
    expected *= world.optics.electrons_per_us * REQUEST.dwell_us
    assert (counts == np.rint(counts)).all()
    # 4096 pixels times 200 frames: the mean is known to 0.07 % and the variance to 0.2 %.
    assert counts.mean() == pytest.approx(expected.mean(), rel=0.005)
    assert counts.var(axis=0, ddof=1).mean() == pytest.approx(expected.mean(), rel=0.01)


def test_dose_scales_with_dwell(microscope):
    short = microscope.acquire(REQUEST).image.sum()
    long = microscope.acquire(replace(REQUEST, dwell_us=240.0)).image.sum()
    assert long / short == pytest.approx(10.0, rel=0.1)


def test_batch_is_the_single_case_repeated(world):
    other = replace(REQUEST, centre_yx_nm=(-1.0, 1.0), fov_yx_nm=(2.0, 2.0), dwell_us=7.0)
    together = batch([world, world], [REQUEST, other], (1, 2))
    for k, request in enumerate((REQUEST, other)):
        m = SimulatedMicroscope(world, k + 1)
        m.open()
        assert np.array_equal(together[k], m.acquire(request).image)


def test_a_dose_beyond_counting_is_refused(world):
    with pytest.raises(ValueError, match="an expected count is above 1e9"):
        batch([world], [replace(REQUEST, dwell_us=1e12)], [0])


def test_charge_and_time_are_those_of_the_cost_model(world):
    costs = CostModel(flyback_us=50.0)
    m = SimulatedMicroscope(world, 0, costs=costs)
    m.open()
    frame = m.acquire(REQUEST)
    assert frame.charge_e == costs.charge_e(REQUEST, world.optics.beam_current_pa)
    assert frame.time_s == costs.time_s(REQUEST)


def test_the_true_exposure_is_recorded(microscope):
    microscope.acquire(REQUEST)
    exposure = microscope.last_exposure
    # 80 pA for 24 µs on (15/64 Å)².
    assert exposure.dose_e_per_a2 == pytest.approx(80 * 6.2415 * 24 / (15 / 64) ** 2, rel=1e-4)
    inside = exposure.covers(np.array([[0.5, -0.5], [1.25, 0.25], [1.26, 0.0], [0.0, 0.3]]))
    assert inside.tolist() == [True, True, False, False]


def test_shifted_beyond_the_world_is_refused(microscope):
    microscope.set_beam_shift((3.5, 0.0))
    with pytest.raises(LimitError, match="beyond the field"):
        microscope.acquire(REQUEST)


def test_same_generator_same_frames(world):
    def frames():
        m = SimulatedMicroscope(world, 5)
        m.open()
        return [m.acquire(REQUEST).image for _ in range(3)]

    first, second = frames(), frames()
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[1]), "noise must be fresh in each frame"


def test_a_run_records_the_optics_that_its_world_was_made_under(monkeypatch):
    """Those of a shipped world are its own, whatever the module's have become since."""
    module = specimen_module("nio_lsmo")
    monkeypatch.setattr(module, "OPTICS", replace(module.OPTICS, beam_current_pa=7.0))
    recorded = SpecimenSource("nio_lsmo", "medium", "abtem").settings["optics"]
    assert recorded == asdict(open_world(shipped("nio_lsmo", "medium")).optics)
    assert recorded["beam_current_pa"] != 7.0
    assert SpecimenSource("nio_lsmo", "medium").settings["optics"] == asdict(module.OPTICS)
