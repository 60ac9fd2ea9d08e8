"""Over the wire the contract is the same, whatever stands behind the server."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from stemscout.envs.addresses import connect
from stemscout.hardware import ScanRequest
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.guard import guarded
from stemscout.simulators.recorded import RecordedMicroscope

pytest.importorskip("grpc")
from stemscout.hardware.remote import RemoteMicroscope
from stemscout.hardware.server import Server


def recorded(image):
    wide = ScanRequest((0.0, 0.0), (4.0, 3.2), (80, 64), 10.0, detectors=("recorded",))
    return RecordedMicroscope(image, 0.05), Bench(wide)


def simulated(image):
    # A high dose, so that noise does not hide what is compared.
    wide = ScanRequest((0.0, 0.0), (2.4, 1.92), (80, 64), 4000.0)
    return connect("sim://graphene?difficulty=easy"), Bench(wide)


def nion(image):
    if find_spec("nion") is None or find_spec("nion.usim_device") is None:
        pytest.skip("nionswift-usim is not installed: stemscout[nion]")
    # Its noise is the same at every dwell, so frames are averaged.
    wide = ScanRequest((0.0, 0.0), (80.0, 64.0), (80, 64), 10.0)
    return connect("nion:"), Bench(wide, frames=9)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("make", [recorded, simulated, pytest.param(nion, marks=pytest.mark.slow)])
def test_conformance(make, check, lattice_image, conforms):
    microscope, bench = make(lattice_image)
    with Server(guarded(microscope)) as server:
        own = RemoteMicroscope(f"grpc://127.0.0.1:{server.port}")
        own.open()
        try:
            conforms(check, own, bench)
        finally:
            own.close()
