"""STOP in the middle of a frame, on an instrument that is slow, as a person sees it."""

from __future__ import annotations

import pytest

pytest.importorskip("panel")

from stemscout.agents.controls import APPROVE
from stemscout.hardware.journal import Journal, read
from stemscout.views.console import session as of


@pytest.fixture
def scanning(live, seats, eventually):
    """A page of a session in the middle of its third frame."""

    def begin(**options):
        session = live(**options)
        seat = seats(session)
        seat.button("Step").click()
        eventually(lambda: session.shown().frames == 1)
        seat.button("Step").click()
        eventually(lambda: session.shown().frames == 2)
        seat.reads("frame 2 at")
        session.microscope.holds = True
        seat.button("Resume").click()
        assert session.microscope.scanning.wait(60)
        return session, seat

    return begin


@pytest.mark.parametrize("by", ["button", "key"])
def test_in_mid_frame_it_is_aborted_and_the_beam_is_blanked(scanning, by, tmp_path):
    with Journal(tmp_path) as journal:
        session, seat = scanning(journal=journal)
        if by == "key":
            seat.page.keyboard.press("Escape")
        else:
            seat.button("STOP (Esc)").click()
        seat.reads("blanked (confirmed)")
        assert session.microscope.state().blanked
        assert session.wait(30)
        seat.reads("stopped")
        assert (session.shown().phase, session.shown().frames) == (of.STOPPED, 2)
        assert not session.microscope.go.is_set()  # the frame did not come to its end
    stops = [r.data for r in read(tmp_path) if r.kind == "stop"]
    assert [s["answer"] for s in stops] == ["blanked (confirmed)"]
    assert stops[0]["seconds"] < 0.6


def test_a_beam_that_stays_on_is_said_to(scanning):
    session, seat = scanning()
    session.microscope.stuck = True
    seat.button("STOP (Esc)").click()
    seat.reads("beam NOT confirmed blanked")
    assert session.wait(30)
    session.microscope.stuck = False
    seat.reads("the instrument says blanked now")


def test_it_is_stopped_by_one_who_looks_on(scanning, seats):
    session, seat = scanning()
    other = seats(session)
    other.reads("looking on")
    other.button("STOP (Esc)").click()
    other.reads("blanked (confirmed)")
    seat.reads("blanked (confirmed)")
    assert session.wait(30)


def test_while_a_person_thinks_the_page_says_that_the_beam_is_blanked(live, seats, eventually):
    session = live(mode=APPROVE, rest_s=0.2)
    seat = seats(session)
    seat.button("Start").click()
    seat.reads("waits for your approval")
    seat.reads("beam blanked")
    seat.button("Approve").click()
    eventually(lambda: session.shown().frames == 1)


def test_what_was_asked_for_is_pending_until_it_takes_effect(live, seats, eventually):
    session = live("linear-bo", frames=200)
    seat = seats(session)
    seat.button("Step").click()
    eventually(lambda: session.shown().frames == 1)
    seat.reads("paused")
    seat.button("Frame here").click()
    seat.reads("a frame at (0.00, 0.00) nm")
    seat.button("Step").click()
    seat.reads("a person asked for it")
    eventually(lambda: session.shown().pending == ())
    seat.page.get_by_text("pending", exact=True).wait_for(state="detached")
