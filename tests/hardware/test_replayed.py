"""A journal played again, and an experiment that goes on from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.hardware import AcquisitionError, ScanRequest
from stemscout.hardware.errors import JournalError
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.replayed import Replayed, Told

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))
PLACES = ((0.0, 0.0), (2.0, -1.0), (-2.0, 3.0))


def at(place):
    return replace(REQUEST, centre_yx_nm=place)


@pytest.fixture
def told(moody, tmp_path):
    """What a journal tells of three frames, taken after a stage move."""
    with (
        Journal(tmp_path) as journal,
        guarded(moody(), journal=journal) as own,
    ):
        journal.write("begin", {"agent": "somebody"})
        own.acquire(at(PLACES[0]))
        own.move_stage((2.5, 0.0))
        journal.write("steer", {"step": 1, "wish": {"exploration": 2.0}})
        for place in PLACES[1:]:
            own.acquire(at(place))
    return Told.of(read(tmp_path))


def test_a_journal_tells_of_the_experiment(told):
    assert told.configuration == {"agent": "somebody"}
    assert [f.request.centre_yx_nm for f in told.frames] == list(PLACES)
    assert told.origin.stage_yx_nm == (0.0, 0.0)
    assert told.state.stage_yx_nm == (2.5, 0.0)
    assert told.wishes == {1: [{"exploration": 2.0}]}
    assert not told.ended


def test_it_is_replayed_as_a_recorded_microscope(told):
    own = Replayed(told)
    assert own.open() == told.capabilities
    for frame in told.frames:
        assert np.array_equal(own.acquire(frame.request).image, frame.image)
        assert own.state() == frame.state
    assert own.strayed == []
    with pytest.raises(AcquisitionError, match="the journal ends here, after 3 frames"):
        own.acquire(REQUEST)


def test_while_it_replays_nothing_is_sent(told, moody):
    microscope = moody()
    live = guarded(microscope)
    with live:
        own = Replayed(told, live)
        own.acquire(at(PLACES[0]))
        own.move_stage((2.5, 0.0))
        own.set_beam_shift((0.1, 0.0))
        own.acquire(at(PLACES[1]))
        assert set(microscope.calls) == {"state"}


def test_then_the_instrument_goes_on_where_it_stood(told, moody):
    microscope = moody()
    live = guarded(microscope)
    with live:
        live.move_stage((2.5, 0.0))
        live.blank(True)
        own = Replayed(told, live)
        for frame in told.frames:
            own.acquire(frame.request)
        assert not own.replaying
        assert not microscope._state.blanked
        assert own.acquire(at((1.0, 1.0))).image.any()
        assert microscope.calls.count("acquire") == 1


def test_an_instrument_that_stands_elsewhere_is_refused(told, moody):
    with guarded(moody()) as live:
        own = Replayed(told, live)
        for frame in told.frames[:-1]:
            own.acquire(frame.request)
        with pytest.raises(AcquisitionError, match=r"stage was left at \(2\.5, 0\.0\) nm"):
            own.acquire(told.frames[-1].request)


def test_who_asks_otherwise_gets_what_was_recorded_and_is_told(told):
    own = Replayed(told)
    frame = own.acquire(at((4.0, 4.0)))
    assert frame.request == told.frames[0].request
    assert own.strayed == [0]


def test_a_journal_without_a_microscope_tells_nothing(tmp_path):
    with Journal(tmp_path) as journal:
        journal.write("begin", {})
    with pytest.raises(JournalError, match="no microscope that was opened"):
        Told.of(read(tmp_path))
