"""Makers' software that is not to be had here: doubles with its signatures, and our simulator.

What they prove is that the adapters ask for the right things in the right units; not that an
instrument does what its maker documents.
"""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace
from math import degrees, radians
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.hardware import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    LimitError,
    ScanRequest,
    Unsupported,
)
from stemscout.hardware.autoscript import AutoScriptMicroscope
from stemscout.hardware.autoscript import remote as autoscript
from stemscout.hardware.conformance import CHECKS, Bench
from stemscout.hardware.guard import guarded
from stemscout.hardware.nion import registered
from stemscout.hardware.pyjem import PyJemMicroscope, here
from stemscout.simulators.simulated import SimulatedMicroscope

WIDE = ScanRequest((0.0, 0.0), (2.4, 2.4), (256, 256), 1000.0)
NM = 1e-9


class Scanned:
    """Our simulator, asked in nm and radians."""

    def __init__(self, world):
        self.own = SimulatedMicroscope(world, 1)
        self.own.open()
        self.stage, self.shift, self.blanked = (0.0, 0.0), (0.0, 0.0), False

    def image(self, fov_nm, side, dwell_us, rotation_rad):
        self.own.move_stage(self.stage)
        self.own.set_beam_shift(self.shift)
        self.own.blank(self.blanked)
        fov, shape = (fov_nm, fov_nm), (side, side)
        frame = self.own.acquire(ScanRequest((0.0, 0.0), fov, shape, dwell_us, rotation_rad))
        return np.clip(np.rint(frame.image), 0, 65535).astype(np.uint16)


# AutoScript TEM: metres, radians, seconds; (x, y).


@dataclass
class StagePosition:
    x: float | None = None
    y: float | None = None
    z: float | None = None
    a: float | None = None
    b: float | None = None


@dataclass
class Point:
    x: float
    y: float


class Adorned:
    def __init__(self, data):
        self.data = data


class AutoScriptDouble:
    """As ``TemMicroscopeClient``."""

    def __init__(self, world):
        scanned, client = Scanned(world), self
        self.calls, self.scanned = [], scanned

        class Stage:
            @property
            def position(self):
                y, x = scanned.stage
                return StagePosition(x=x * NM, y=y * NM, z=0.0, a=0.0, b=0.0)

            def absolute_move(self, to):
                assert isinstance(to, StagePosition)
                scanned.stage = (to.y / NM, to.x / NM)

        class Deflectors:
            @property
            def beam_shift(self):
                y, x = scanned.shift
                return Point(x * NM, y * NM)

            @beam_shift.setter
            def beam_shift(self, to):
                x, y = to
                scanned.shift = (y / NM, x / NM)

        class Blanker:
            @property
            def is_beam_blanked(self):
                return scanned.blanked

            def blank(self):
                scanned.blanked = True

            def unblank(self):
                scanned.blanked = False

        class Acquisition:
            def acquire_stem_image(self, scanning_detector, size, dwell_time):
                client.calls.append((scanning_detector, size, dwell_time))
                optics = client.optics
                fov = optics.scan_field_of_view / NM
                return Adorned(scanned.image(fov, size, dwell_time * 1e6, optics.scan_rotation))

        self.specimen = type("Specimen", (), {"stage": Stage()})()
        self.optics = type("Optics", (), {})()
        self.optics.deflectors, self.optics.blanker = Deflectors(), Blanker()
        self.optics.scan_field_of_view, self.optics.scan_rotation = 1e-7, 0.0
        self.acquisition = Acquisition()


def by_autoscript(world, **options):
    client = AutoScriptDouble(world)
    given = {"field_nm": 8.0, "stage_nm": 4.0, "shift_nm": 4.0, **options}
    return AutoScriptMicroscope(client, StagePosition, **given), client


# PyJEM: nm, degrees, microseconds, raw counts; (x, y).

MATRIX = np.array([[0.0002, 0.0011], [-0.0009, 0.0001]])  # counts (x, y) to nm (y, x)
FIELD_AT_1X_NM = 2.4e6


class PyJemDouble:
    """As the package ``PyJEM``: ``TEM3`` and ``detector`` in one."""

    def __init__(self, world, magnification=1e6):
        double, self.scanned = self, Scanned(world)
        self.counts, self.magnification, self.settings = [32768, 32768], magnification, {}
        self.moving, self.calls = 0, []

        class Stage3:
            def GetPos(self):
                y, x = double.scanned.stage
                return [x, y, 0.0, 0.0, 0.0]

            def SetX(self, value):
                double.moving = 2
                double.scanned.stage = (double.scanned.stage[0], value)

            def SetY(self, value):
                double.moving = 2
                double.scanned.stage = (value, double.scanned.stage[1])

            def GetStatus(self):
                double.moving = max(0, double.moving - 1)
                return [int(double.moving > 0), 0, 0, 0, 0]

        class Def3:
            def GetCLA1(self):
                return list(double.counts)

            def SetCLA1(self, x, y):
                assert isinstance(x, int)
                assert isinstance(y, int)
                double.counts = [x, y]
                y_nm, x_nm = MATRIX @ (np.array([x, y]) - 32768)
                double.scanned.shift = (float(y_nm), float(x_nm))

            def GetBeamBlank(self):
                return int(double.scanned.blanked)

            def SetBeamBlank(self, value):
                double.scanned.blanked = value == 1

        class EOS3:
            def GetMagValue(self):
                return [double.magnification, "X", f"X{double.magnification / 1e6:g}M"]

        class Detector:
            def __init__(self, name):
                self.name = name

            def set_scanmode(self, value):
                double.settings["mode"] = value

            def set_imaging_area(self, Width, Height, X=None, Y=None):
                double.settings["area"] = (Width, Height, X, Y)

            def set_exposuretime_value(self, value):
                double.settings["dwell_us"] = value

            def set_scanrotation(self, value):
                assert 0 <= value <= 360
                double.settings["rotation_deg"] = value

            def snapshot_rawdata(self):
                double.calls.append(self.name)
                given = double.settings
                fov = FIELD_AT_1X_NM / double.magnification
                image = double.scanned.image(
                    fov, given["area"][0], given["dwell_us"], radians(given["rotation_deg"])
                )
                return image.tobytes()

        self.Stage3, self.Def3, self.EOS3, self.Detector = Stage3, Def3, EOS3, Detector

    def get_attached_detector(self):
        return ["ADF1"]


def by_pyjem(world, magnification=1e6, **options):
    double = PyJemDouble(world, magnification)
    given = {"field_nm": 8.0, "stage_nm": 4.0, "shift_nm": 4.0, **options}
    own = PyJemMicroscope(double, double, MATRIX, FIELD_AT_1X_NM, sleep=lambda s: None, **given)
    return own, double


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_autoscript_conforms(check, world, conforms):
    own = guarded(by_autoscript(world, simulated=True)[0])
    own.open()
    try:
        conforms(check, own, Bench(WIDE))
    finally:
        own.close()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_pyjem_conforms(check, world, conforms):
    """With one field of view, that of its magnification; any other is refused, see below."""
    own = guarded(by_pyjem(world, simulated=True)[0])
    own.open()
    try:
        conforms(check, own, Bench(replace(WIDE, detectors=("adf1",)), one_field_of_view=True))
    finally:
        own.close()


@pytest.mark.parametrize("make", [by_autoscript, by_pyjem])
class TestBoth:
    def test_stopped_before_its_scan_it_scans_no_more(self, make, world, eventually):
        maker, double = make(world)
        own = guarded(maker)
        told, prepare = own.open(), maker._prepare
        preparing, go = threading.Event(), threading.Event()

        def slowly(*given):
            preparing.set()
            go.wait(30)
            prepare(*given)

        maker._prepare, raised = slowly, []

        def scan():
            try:
                own.acquire(replace(WIDE, detectors=told.detectors[:1]))
            except AbortedError as error:
                raised.append(error)

        thread = threading.Thread(target=scan)
        thread.start()
        preparing.wait(30)
        assert not own.stop().confirmed  # it cannot blank while it is busy
        go.set()
        thread.join(30)
        assert raised
        assert double.calls == []
        eventually(lambda: double.scanned.blanked)

    @pytest.mark.parametrize("step", ["_prepare", "_set_shift", "_read_scan", "_read_shift"])
    def test_after_whatever_step_it_is_aborted_it_does_not_scan(self, make, world, step):
        own, double = make(world)
        detector = own.open().detectors[0]
        own.set_beam_shift((0.5, -0.5))
        request = replace(WIDE, centre_yx_nm=(1.0, 0.5), detectors=(detector,))
        made = getattr(own, step)

        def aborted(*given):
            own.abort()
            return made(*given)

        setattr(own, step, aborted)
        with pytest.raises(AbortedError, match="nothing was scanned"):
            own.acquire(request)
        assert double.calls == []
        assert double.scanned.shift == pytest.approx((0.5, -0.5), abs=1e-3)
        setattr(own, step, made)
        assert own.acquire(request).image.any()

    def test_a_beam_shift_that_was_clamped_is_noticed_before_the_scan(self, make, world):
        own, double = make(world)
        detector = own.open().detectors[0]
        shift = own._set_shift
        own._set_shift = lambda yx_nm: shift(tuple(np.clip(yx_nm, -0.2, 0.2)))
        with pytest.raises(AcquisitionError) as raised:
            own.acquire(replace(WIDE, centre_yx_nm=(1.5, -1.0), detectors=(detector,)))
        assert "set to (1.5, -1) nm and reads (0.2" in str(raised.value)
        assert "nothing was scanned" in str(raised.value)
        assert double.calls == []
        assert double.scanned.shift == pytest.approx((0.0, 0.0), abs=1e-3)

    def test_where_the_beam_shift_may_not_be_set_a_frame_moves_it_and_takes_it_back(
        self, make, world
    ):
        """``remote`` says so: with ``shift_nm=0``, which it has by default, it does not stay."""
        own, double = make(world, shift_nm=0.0)
        detector = own.open().detectors[0]
        with pytest.raises(LimitError):
            own.set_beam_shift((0.5, 0.0))
        moved, image = [], double.scanned.image

        def noted(*given):
            moved.append(double.scanned.shift)
            return image(*given)

        double.scanned.image = noted
        own.acquire(replace(WIDE, centre_yx_nm=(2.5, -2.5), detectors=(detector,)))
        assert moved == [pytest.approx((2.5, -2.5), abs=1e-3)]
        assert double.scanned.shift == pytest.approx((0.0, 0.0), abs=1e-3)

    def test_a_beam_shift_that_reads_as_no_number_is_not_scanned_at(self, make, world):
        own, double = make(world)
        detector = own.open().detectors[0]
        own.set_beam_shift((0.0, 0.0))
        own._read_shift = lambda: (0.0, float("nan"))
        with pytest.raises(AcquisitionError, match="reads \\(0, nan\\); nothing was scanned"):
            own.acquire(replace(WIDE, detectors=(detector,)))
        assert double.calls == []

    def test_a_rotation_that_was_not_taken_is_noticed_before_the_scan(self, make, world):
        own, double = make(world)
        turned = replace(WIDE, rotation_rad=np.pi / 6, detectors=own.open().detectors[:1])
        prepare = own._prepare
        own._prepare = lambda side, fov, angle, dwell: prepare(side, fov, 0.0, dwell)
        with pytest.raises(AcquisitionError, match=r"of 0\.523599 rad was asked for and reads 0;"):
            own.acquire(turned)
        assert double.calls == []

    def test_a_rotation_may_be_read_a_turn_away(self, make, world):
        own, _ = make(world)
        read = own._read_scan
        own._read_scan = lambda: (read()[0], read()[1] % (2 * np.pi))
        turned = replace(WIDE, rotation_rad=-np.pi / 2, detectors=own.open().detectors[:1])
        assert own.acquire(turned).image.any()

    def test_whoever_uses_them_is_told_that_they_are_unverified(self, make, world):
        told = make(world)[0].open()
        assert "unverified on hardware" in told.name
        assert not told.units_verified
        assert told.region_of_interest == "emulated"

    def test_units_and_axes_are_those_of_the_maker(self, make, world):
        own, double = make(world)
        own.open()
        own.move_stage((1.5, -0.5))
        assert double.scanned.stage == pytest.approx((1.5, -0.5))
        own.set_beam_shift((-0.75, 0.25))
        assert double.scanned.shift == pytest.approx((-0.75, 0.25), abs=1e-3)
        own.move_stage((0.0, 0.0))
        detector = own.open().detectors[0]
        own.set_beam_shift((0.0, 0.0))
        turned = replace(
            WIDE, centre_yx_nm=(0.5, 1.0), rotation_rad=np.pi / 6, detectors=(detector,)
        )
        frame = own.acquire(turned)
        double.scanned.own.set_beam_shift((0.0, 0.0))  # as the last scan left it
        there = double.scanned.own.acquire(replace(turned, detectors=("haadf",))).image
        assert np.corrcoef(frame.image.ravel(), there.ravel())[0, 1] > 0.9
        assert frame.region.centre_yx_nm == pytest.approx((0.5, 1.0), abs=2e-3)
        assert double.scanned.shift == pytest.approx((0.0, 0.0), abs=1e-3)

    def test_a_failure_is_told_in_the_makers_words(self, make, world, monkeypatch):
        own, double = make(world)
        own.open()

        def fail(*_):
            raise RuntimeError("Fatal scripting error 0x80040504")

        monkeypatch.setattr(double.scanned, "image", fail)
        detector = own.open().detectors[0]
        with pytest.raises(AcquisitionError, match="0x80040504"):
            own.acquire(replace(WIDE, detectors=(detector,)))

    def test_the_beam_is_blanked_at_the_end(self, make, world):
        own, double = make(world)
        own.open()
        own.close()
        assert double.scanned.blanked


def test_what_scans_once_for_each_detector_gives_frames_of_one(world, monkeypatch):
    monkeypatch.setattr(PyJemDouble, "get_attached_detector", lambda self: ["ADF1", "BF"])
    for own, double in (by_autoscript(world, detectors=("HAADF", "BF")), by_pyjem(world)):
        both = own.open().detectors
        assert len(both) == 2
        with pytest.raises(LimitError, match="scans once for each detector, and a frame is one"):
            own.acquire(replace(WIDE, detectors=both))
        assert double.calls == []
        for one in both:
            assert set(own.acquire(replace(WIDE, detectors=(one,))).data) == {one}


def test_a_field_of_view_that_was_clamped_is_noticed_before_the_scan(world):
    own, double = by_autoscript(world)
    own.open()
    prepare = own._prepare
    own._prepare = lambda side, fov, angle, dwell: prepare(side, min(fov, 1.2), angle, dwell)
    with pytest.raises(AcquisitionError, match=r"of 2\.4 nm was asked for and reads 1\.2 nm"):
        own.acquire(WIDE)
    assert double.calls == []


def test_pyjem_scans_the_nearest_step_and_says_so(world):
    own, _ = by_pyjem(world, magnification=1.015e6)
    frame = own.open() and own.acquire(replace(WIDE, detectors=("adf1",)))
    assert frame.region.fov_yx_nm == pytest.approx((2.4 / 1.015, 2.4 / 1.015))


def test_autoscript_asks_in_metres_and_seconds(world):
    own, double = by_autoscript(world)
    own.open()
    own.acquire(replace(WIDE, dwell_us=20.0))
    assert double.optics.scan_field_of_view == pytest.approx(2.4e-9)
    assert double.calls == [("HAADF", 256, pytest.approx(20e-6))]
    with pytest.raises(LimitError, match="software scans 128, 256"):
        own.acquire(replace(WIDE, shape_yx=(200, 200)))


def test_pyjem_asks_in_microseconds_and_degrees(world):
    own, double = by_pyjem(world)
    own.open()
    own.acquire(replace(WIDE, dwell_us=20.0, rotation_rad=-np.pi / 2, detectors=("adf1",)))
    assert double.settings["area"] == (256, 256, 0, 0)
    assert double.settings["dwell_us"] == 20.0
    assert double.settings["rotation_deg"] == pytest.approx(degrees(-np.pi / 2) % 360)


def test_pyjem_refuses_a_field_of_view_that_no_step_gives(world):
    own, _ = by_pyjem(world)
    own.open()
    with pytest.raises(Unsupported, match=r"at this magnification it is 2\.4 nm"):
        own.acquire(replace(WIDE, fov_yx_nm=(1.2, 1.2), detectors=("adf1",)))


def test_pyjem_refuses_a_shift_beyond_the_deflector(world):
    own, double = by_pyjem(world, shift_nm=1e3)
    own.open()
    with pytest.raises(Unsupported, match="the deflector takes 0 to 65535"):
        own.set_beam_shift((0.0, 500.0))
    assert double.counts == [32768, 32768]


def test_pyjem_waits_for_the_stage(world):
    own, double = by_pyjem(world)
    own.open()
    own.move_stage((1.0, 1.0))
    assert double.moving == 0


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.eye(3), [[1, 2], [2, 4]]])
def test_pyjem_refuses_a_matrix_of_no_use(world, matrix):
    double = PyJemDouble(world)
    with pytest.raises(ValueError, match="must be 2 x 2, and invertible"):
        PyJemMicroscope(double, double, matrix, FIELD_AT_1X_NM)


def test_without_detectors_there_is_nothing_to_drive(world, monkeypatch):
    double = PyJemDouble(world)
    monkeypatch.setattr(double, "get_attached_detector", lambda: None)
    with pytest.raises(ConnectionLost, match="names no detector"):
        PyJemMicroscope(double, double, MATRIX, FIELD_AT_1X_NM)


def test_a_registered_nion_instrument_says_that_it_is_unverified(monkeypatch):
    class Source:
        channel_count = 1

        def get_channel_state(self, k):
            return SimpleNamespace(name="HAADF")

        def get_frame_parameters(self, profile):
            return SimpleNamespace(as_dict=dict)

    class Manager:
        def get_hardware_source_for_hardware_source_id(self, name):
            return Source()

    device = SimpleNamespace(hardware_source_id="scan")
    controller = SimpleNamespace(instrument_id="usim", scan_controller=device)
    registry = SimpleNamespace(get_component={"stem_controller": controller}.get)
    hardware_source = SimpleNamespace(HardwareSourceManager=Manager)
    instrumentation = SimpleNamespace(HardwareSource=hardware_source)
    monkeypatch.setitem(sys.modules, "nion", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "nion.instrumentation", instrumentation)
    monkeypatch.setitem(sys.modules, "nion.utils", SimpleNamespace(Registry=registry))
    told = registered().open()
    assert told.name == "Nion Swift, usim, unverified on hardware"
    assert not told.units_verified
    assert told.limits.stage_nm == told.limits.beam_shift_nm == (0.0, 0.0)


def test_without_the_makers_software_it_is_said_what_is_missing():
    unverified = r"\(unverified on hardware\) needs"
    with pytest.raises(ImportError, match=f"{unverified} .*AutoScript TEM, which they install"):
        autoscript("localhost")
    with pytest.raises(ImportError, match=f"{unverified} .*PyJEM, which comes with the microscope"):
        here(MATRIX, FIELD_AT_1X_NM)
