"""One suite of promises, run against every microscope there is."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.hardware import ScanRequest
from stemscout.hardware.adapter import Adapter
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.guard import guarded
from stemscout.simulators.recorded import RecordedMicroscope
from stemscout.simulators.simulated import SimulatedMicroscope


def simulated(world, lattice_image):
    # A high dose, so that noise does not hide what is compared.
    wide = ScanRequest((0.0, 0.0), (2.4, 1.92), (80, 64), 4000.0)
    return SimulatedMicroscope(world, 1), Bench(wide)


def recorded(world, lattice_image):
    wide = ScanRequest((0.0, 0.0), (4.0, 3.2), (80, 64), 10.0, detectors=("recorded",))
    return RecordedMicroscope(lattice_image, 0.05), Bench(wide)


def recorded_with_noise(world, lattice_image):
    wide = ScanRequest((0.0, 0.0), (4.0, 3.2), (80, 64), 10.0, detectors=("recorded",))
    return RecordedMicroscope(lattice_image, 0.05, electrons=5000.0), Bench(wide)


def guarded_simulated(world, lattice_image):
    microscope, bench = simulated(world, lattice_image)
    return guarded(microscope), bench


def guarded_recorded(world, lattice_image):
    microscope, bench = recorded(world, lattice_image)
    return guarded(microscope), bench


def in_a_process_of_its_own(world, lattice_image):
    wide = ScanRequest((0.0, 0.0), (4.0, 3.2), (80, 64), 10.0, detectors=("recorded",))
    return Adapter("moody_driver:Driver"), Bench(wide)


def guarded_in_a_process_of_its_own(world, lattice_image):
    microscope, bench = in_a_process_of_its_own(world, lattice_image)
    return guarded(microscope), bench


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize(
    "make",
    [
        simulated,
        recorded,
        recorded_with_noise,
        guarded_simulated,
        guarded_recorded,
        in_a_process_of_its_own,
        guarded_in_a_process_of_its_own,
    ],
)
def test_microscope(make, check, world, lattice_image, drivers, conforms):
    microscope, bench = make(world, lattice_image)
    microscope.open()
    try:
        conforms(check, microscope, bench)
    finally:
        microscope.close()


class Mirrored(RecordedMicroscope):
    """A broken adapter: x runs the wrong way."""

    def _scan(self, request, shift_yx_nm):
        region, data = super()._scan(request, shift_yx_nm)
        return region, {k: np.ascontiguousarray(v[:, ::-1]) for k, v in data.items()}


class Careless(RecordedMicroscope):
    """A broken adapter: one buffer for all frames."""

    def _scan(self, request, shift_yx_nm):
        region, data = super()._scan(request, shift_yx_nm)
        if not hasattr(self, "buffer") or self.buffer.shape != data["recorded"].shape:
            self.buffer = np.empty_like(data["recorded"])
        self.buffer[:] = data["recorded"]
        return region, {"recorded": self.buffer}


@pytest.mark.parametrize(
    ("broken", "caught_by"),
    [
        (Mirrored, "sub_scan_shows_its_part_of_the_wide_scan"),
        (Careless, "frames_belong_to_the_caller"),
    ],
)
def test_the_suite_catches_a_broken_adapter(broken, caught_by, lattice_image):
    _, bench = recorded(None, lattice_image)
    microscope = broken(lattice_image, 0.05)
    microscope.open()
    with pytest.raises(AssertionError):
        CHECKS[caught_by](microscope, bench)
