"""What Nion Swift's software does when something goes wrong, by doubles that do it when told to."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from stemscout.hardware import AbortedError, AcquisitionError, ConnectionLost, ScanRequest
from stemscout.hardware.guard import guarded
from stemscout.hardware.nion import BLANKER, CURRENT, NM, SHIFT, STAGE, NionMicroscope

REQUEST = ScanRequest((2.0, -3.0), (8.0, 6.0), (8, 6), 10.0, detectors=("haadf",))
BOTH = replace(REQUEST, detectors=("maadf", "haadf"))


@dataclass
class Point:
    """As ``nion.utils.Geometry.FloatPoint``."""

    y: float
    x: float


class Source:
    """A scan's hardware source.

    Attributes:
        brings: what of a whole frame a recording gives; all of it at first.
        waits: recordings last until ``ended``, as after an abort.
        records: how many began.
    """

    channel_count = 2

    def __init__(self):
        self.brings, self.waits, self.records = list, False, 0
        self.recording, self.ended, self.enabled = threading.Event(), threading.Event(), []

    def get_channel_state(self, k):
        return SimpleNamespace(name=("HAADF", "MAADF")[k])

    def get_frame_parameters(self, profile):
        parameters = SimpleNamespace()
        parameters.as_dict = lambda: {k: v for k, v in vars(parameters).items() if k != "as_dict"}
        return parameters

    def set_enabled_channels(self, channels):
        self.enabled = list(channels)

    def record_immediate(self, parameters, timeout_s):
        self.records += 1
        self.recording.set()
        if self.waits:
            self.ended.wait(30)
        rows = parameters.pixel_size[0]
        whole = [
            SimpleNamespace(
                data=np.full(parameters.pixel_size, 1.0 + k),
                metadata={
                    "hardware_source": {"channel_index": k, "valid_rows": rows},
                    "scan": {"scan_device_parameters": parameters.as_dict()},
                },
            )
            for k in sorted(self.enabled)
        ]
        return self.brings(whole)

    def abort_recording(self):
        self.ended.set()


class Controller:
    """A ``stem_controller``.

    Attributes:
        values: of its controls; of what it does not have, there is none.
        deaf: controls that take no value, and say so.
        lies: controls that take no value, and say that they did.
    """

    def __init__(self):
        self.values = {BLANKER: 0.0, CURRENT: 5e-11, STAGE: Point(0.0, 0.0), SHIFT: Point(0.0, 0.0)}
        self.deaf, self.lies = set(), set()

    def TryGetVal(self, name):
        return name in self.values, self.values.get(name)

    def GetVal2D(self, name):
        return self.values[name]

    def SetVal(self, name, value):
        if name not in self.deaf | self.lies:
            self.values[name] = value
        return name not in self.deaf

    SetVal2D = SetVal


@pytest.fixture
def own(monkeypatch):
    geometry = SimpleNamespace(Geometry=SimpleNamespace(FloatPoint=Point))
    monkeypatch.setitem(sys.modules, "nion.utils", geometry)  # which may not be installed
    made = NionMicroscope(Controller(), Source(), "a double", True, 100.0, 50.0, 50.0)
    made.open()
    yield made
    made._source.ended.set()


@pytest.fixture
def in_thread(own):
    """Begins a scan that lasts; gives a function that waits for what it brings or raises."""

    def begin(request=REQUEST):
        own._source.waits, brought = True, []

        def scan():
            try:
                brought.append(own.acquire(request))
            except Exception as error:
                brought.append(error)

        thread = threading.Thread(target=scan, daemon=True)
        thread.start()
        assert own._source.recording.wait(5)

        def end():
            thread.join(10)
            own._source.waits = False
            return brought[0]

        return end

    return begin


def test_a_frame_is_each_detectors_own_and_is_where_it_says(own):
    turned = replace(BOTH, rotation_rad=0.3)
    frame = own.acquire(turned)
    assert {d: image.max() for d, image in frame.data.items()} == {"haadf": 1.0, "maadf": 2.0}
    assert frame.region.centre_yx_nm == pytest.approx(turned.centre_yx_nm)
    assert frame.region.fov_yx_nm == pytest.approx(turned.fov_yx_nm)
    assert frame.region.rotation_rad == 0.3


@pytest.mark.parametrize(
    "brings",
    [lambda whole: [], lambda whole: whole[:1], lambda whole: [whole[0], None]],
    ids=["nothing", "one detector of two", "a detector without data"],
)
def test_a_fault_in_the_middle_of_a_frame_raises_nothing_there_and_is_told_here(own, brings):
    own._source.brings = brings
    with pytest.raises(AcquisitionError, match="failed in the middle of the frame"):
        own.acquire(BOTH)
    own._source.brings = list
    assert own.acquire(BOTH).image.any()


def test_a_scan_that_does_not_end_is_a_bare_assertion_there_and_a_sentence_here(own):
    def fail(whole):
        raise AssertionError

    own._source.brings = fail
    with pytest.raises(AcquisitionError, match=r"did not end within 2 s after its last pixel"):
        own.acquire(REQUEST, timeout_s=2.0)
    own._source.brings = list
    assert own.acquire(REQUEST).image.any()


def test_while_a_scan_is_under_way_no_other_begins(own, in_thread):
    end = in_thread()
    with pytest.raises(AcquisitionError, match=r"another scan is under way for longer than 0\.1 s"):
        own.acquire(REQUEST, timeout_s=0.1)
    assert own._source.records == 1
    own._source.ended.set()
    assert end().image.any()
    assert own.acquire(REQUEST).image.any()


def test_a_whole_frame_that_arrives_after_an_abort_is_none(own, in_thread):
    end = in_thread()
    own.abort()
    assert isinstance(end(), AbortedError)
    assert own.acquire(REQUEST).image.any()  # of another scan


def test_without_a_scan_there_is_nothing_to_abort(own):
    own.abort()
    assert not own._source.ended.is_set()
    assert own.acquire(REQUEST).image.any()


def test_a_blanked_beam_is_not_scanned_with(own):
    own.blank(True)
    frame = own.acquire(REQUEST)
    assert not frame.image.any()
    assert frame.charge_e == 0.0
    assert own._source.records == 0


@pytest.mark.parametrize("how", ["deaf", "lies"])
def test_a_blanker_that_takes_no_value_is_told_of(own, how):
    getattr(own._controller, how).add(BLANKER)
    with pytest.raises(AcquisitionError, match="C_Blank could not be set to 1"):
        own.blank(True)
    with pytest.raises(AcquisitionError, match="C_Blank could not be set to 1"):
        own.close()


@pytest.mark.parametrize(
    ("control", "move"),
    [(STAGE, lambda own: own.move_stage((1.0, 2.0), 0.1)),
     (SHIFT, lambda own: own.set_beam_shift((1.0, 2.0)))],
    ids=["stage", "beam shift"],
)  # fmt: skip
class TestMoves:
    def test_a_control_that_takes_no_value_is_told_of(self, own, control, move):
        own._controller.deaf.add(control)
        with pytest.raises(AcquisitionError, match=f"{control} could not be set to .1.0, 2.0"):
            move(own)

    def test_one_that_takes_another_is_told_of(self, own, control, move, monkeypatch):
        own._controller.lies.add(control)
        own._controller.values[control] = Point(1.0 * NM, 0.0)
        clock = iter(range(100))
        monkeypatch.setattr("stemscout.hardware.nion.time.monotonic", lambda: float(next(clock)))
        with pytest.raises(AcquisitionError, match=r"set to \(1\.0, 2\.0\) nm and reads \(1"):
            move(own)


@pytest.mark.parametrize("control", [BLANKER, CURRENT])
@pytest.mark.parametrize("there", [False, True], ids=["unknown", "without a value"])
def test_a_control_that_there_is_not_is_told_of(own, control, there):
    del own._controller.values[control]
    if there:
        own._controller.values[control] = None
    with pytest.raises(AcquisitionError, match=f"the instrument has no control '{control}'"):
        own.state()


def test_behind_the_guard_the_beam_is_blanked_after_a_fault(own):
    with guarded(own) as careful:
        own._source.brings = lambda whole: []
        with pytest.raises(AcquisitionError, match="failed in the middle of the frame"):
            careful.acquire(REQUEST)
        assert own._controller.values[BLANKER] == 1.0


def test_closed_it_does_nothing(own):
    own.close()
    assert own._controller.values[BLANKER] == 1.0
    for call in (own.state, lambda: own.acquire(REQUEST), lambda: own.blank(False)):
        with pytest.raises(ConnectionLost, match="a double is closed"):
            call()
