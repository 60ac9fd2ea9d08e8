"""Thermo Fisher's scripting through temscript's real server and client, simulated beyond."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("temscript", reason="temscript is not installed: stemscout[temscript]")

from stemscout.hardware import (
    AcquisitionError,
    ConnectionLost,
    LimitError,
    ScanRequest,
)
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.guard import guarded
from stemscout.hardware.temscript import NM, TemscriptMicroscope, connected, remote
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.temscript import FIELD_AT_1X_M, serve, served

WIDE = ScanRequest((0.0, 0.0), (2.4, 2.4), (128, 128), 1000.0)


@pytest.fixture
def tem(world):
    return served(SimulatedMicroscope(world, 1), "haadf")


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conformance(check, tem, conforms):
    own = guarded(tem)
    own.open()
    try:
        conforms(check, own, Bench(WIDE))
    finally:
        own.close()


def test_sub_scans_are_declared_as_emulated(tem):
    told = tem.open()
    assert told.region_of_interest == "emulated"
    assert not told.can_abort
    assert not told.can_blank_while_busy


def test_the_beam_shift_of_a_sub_scan_is_taken_back(tem):
    tem.open()
    tem.set_beam_shift((0.3, -0.2))
    tem.acquire(replace(WIDE, centre_yx_nm=(1.0, 0.5)))
    assert tem.state().beam_shift_yx_nm == pytest.approx((0.3, -0.2))
    x, y = tem._client.get_beam_shift()
    assert (y / NM, x / NM) == pytest.approx((0.3, -0.2))


def test_also_after_a_scan_that_failed(tem, monkeypatch):
    tem.open()

    def fail(*_):
        raise RuntimeError("Remote call returned status 500: no beam")

    monkeypatch.setattr(tem._client, "acquire", fail)
    with pytest.raises(AcquisitionError, match="no beam"):
        tem.acquire(replace(WIDE, centre_yx_nm=(1.0, 0.5)))
    assert tem._client.get_beam_shift() == pytest.approx([0.0, 0.0])


def test_a_shift_that_the_server_clamps_silently_is_noticed_before_the_scan(tem, monkeypatch):
    tem.open()
    client, scans = tem._client, []
    shift = client.set_beam_shift
    monkeypatch.setattr(
        client, "set_beam_shift", lambda xy: shift(tuple(np.clip(xy, -0.2 * NM, 0.2 * NM)))
    )
    monkeypatch.setattr(client, "acquire", lambda *names: scans.append(names))
    with pytest.raises(AcquisitionError, match=r"set to \(1, 0\.5\) nm and reads \(0\.2, 0\.2\)"):
        tem.acquire(replace(WIDE, centre_yx_nm=(1.0, 0.5)))
    assert not scans
    assert client.get_beam_shift() == pytest.approx([0.0, 0.0])


def test_moves_that_the_server_clamps_silently_are_noticed(world):
    server = serve(SimulatedMicroscope(world, 1), "haadf")
    client = connected("127.0.0.1", server.server_port)
    own = TemscriptMicroscope(client, FIELD_AT_1X_M, 8.0, 1e7, 4.0, simulated=True)
    own.open()
    with pytest.raises(AcquisitionError, match=r"was sent to \(5000000.0, 0.0\) nm and reads"):
        own.move_stage((5e6, 0.0))
    server.shutdown()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"shape_yx": (128, 64)}, "square ones only"),
        ({"fov_yx_nm": (2.4, 1.2)}, "square ones only"),
        ({"shape_yx": (100, 100)}, "software scans 64, 128, 256, 512, 1024, 2048"),
    ],
)
def test_what_temscripting_cannot_scan_is_refused(tem, change, sentence):
    tem.open()
    with pytest.raises(LimitError, match=sentence):
        tem.acquire(replace(WIDE, **change))


@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_every_size_shows_the_same_field(tem, side):
    tem.open()
    coarse = tem.acquire(replace(WIDE, shape_yx=(64, 64))).image
    shown = tem.acquire(replace(WIDE, shape_yx=(side, side))).image
    n = side // 64
    binned = shown.reshape(64, n, 64, n).mean(axis=(1, 3))
    assert np.corrcoef(coarse.ravel(), binned.ravel())[0, 1] > 0.95


def test_without_stem_detectors_there_is_nothing_to_drive():
    from temscript.null_microscope import NullMicroscope

    with pytest.raises(ConnectionLost, match="names no STEM detector"):
        TemscriptMicroscope(NullMicroscope(), FIELD_AT_1X_M, 8.0, 0.0, 0.0)


def test_nobody_there():
    with pytest.raises(ConnectionLost, match=r"no temscript server at 127\.0\.0\.1:1"):
        remote("127.0.0.1", 1, 0.1)
