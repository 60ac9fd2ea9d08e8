"""A journal played again, and an experiment that goes on from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.hardware import AbortedError, AcquisitionError, LimitError, ScanRequest
from stemscout.hardware.errors import JournalError
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.replayed import Recorded, Replayed, Told

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


def test_scans_that_brought_no_frame_are_told_of(moody, tmp_path):
    """They may have reached the specimen, and count when it goes on."""
    microscope = moody()
    price = microscope.costs.charge_e(REQUEST, 50.0)
    with Journal(tmp_path) as journal, guarded(microscope, journal=journal) as own:
        own.acquire(REQUEST)
        microscope.fails["acquire"] = [RuntimeError("camera dead")]
        with pytest.raises(AcquisitionError):
            own.acquire(at(PLACES[1]))
        with pytest.raises(LimitError):
            own.acquire(at((1e3, 0.0)))
        own.stop()
        with pytest.raises(AbortedError):
            own.acquire(REQUEST)
    told = Told.of(read(tmp_path))
    assert [r.centre_yx_nm for r, _ in told.unanswered] == [PLACES[1]]
    with guarded(moody(), {"max_charge_e": 2.5 * price}) as again:
        again.ledger.resume(told.frames, told.unanswered)
        assert again.ledger.charge_e == pytest.approx(2 * price)
        with pytest.raises(LimitError, match="charge of all frames"):
            again.acquire(REQUEST)


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


def test_a_beam_shift_that_was_forgotten_is_brought_back(told, moody):
    shifted = replace(told.state, beam_shift_yx_nm=(0.7, -0.4))
    with guarded(moody()) as live:
        live.move_stage((2.5, 0.0))
        own = Replayed(replace(told, state=shifted), live)
        for frame in told.frames:
            own.acquire(frame.request)
        assert live.state().beam_shift_yx_nm == pytest.approx((0.7, -0.4))


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


class TestRecorded:
    """The frames of a journal for whoever asks for them, in whatever order."""

    @pytest.fixture
    def recorded(self, told):
        return Recorded(told)

    def test_frames_are_given_where_they_were_taken(self, recorded, told):
        assert recorded.open().name == f"{told.capabilities.name}, recorded"
        recorded.move_stage((2.5, 0.0))
        for place in reversed(PLACES[1:]):
            frame = recorded.acquire(replace(at(place), request_id="mine"))
            then = told.frames[PLACES.index(place)]
            assert np.array_equal(frame.image, then.image)
            assert (frame.charge_e, frame.time_s) == (then.charge_e, then.time_s)
            assert frame.request.request_id == "mine"

    def test_what_was_not_recorded_is_refused(self, recorded):
        recorded.acquire(at(PLACES[0]))
        for other in (at((4.0, 4.0)), replace(REQUEST, dwell_us=5.0)):
            with pytest.raises(AcquisitionError, match="is in the journal; it holds 3, at 3 pl"):
                recorded.acquire(other)

    @pytest.mark.parametrize("verb", ["move_stage", "set_beam_shift"])
    def test_a_frame_belongs_to_where_the_stage_and_the_beam_shift_were(self, recorded, verb):
        getattr(recorded, verb)((1.5, 1.5))
        with pytest.raises(AcquisitionError, match=r"about \(0\.000, 0\.000\) nm"):
            recorded.acquire(at(PLACES[0]))

    def test_frames_of_one_place_come_in_order_and_the_last_stays(self, told):
        first = told.frames[0]
        second = replace(first, data={"recorded": first.image + 1})
        recorded = Recorded(replace(told, frames=(first, second)))
        given = [recorded.acquire(REQUEST).image for _ in range(3)]
        for frame, then in zip(given, (first, second, second), strict=True):
            assert np.array_equal(frame, then.image)

    def test_a_blanked_beam_shows_nothing(self, recorded):
        assert recorded.blank(True).blanked
        with pytest.raises(AcquisitionError, match="blanked"):
            recorded.acquire(REQUEST)

    def test_a_journal_without_frames_is_refused(self, told):
        with pytest.raises(JournalError, match="holds no frame"):
            Recorded(replace(told, frames=()))
