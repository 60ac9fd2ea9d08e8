"""The console's page in a real browser, as a person uses it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("panel")

from stemscout.agents.controls import APPROVE, MANUAL
from stemscout.hardware.journal import Journal, read
from stemscout.views.console import session as of

LONG = 0.4  # rasters: it is under way as long as a test takes


def test_it_begins_and_the_map_grows_and_it_can_be_paused(sessions, seats, eventually):
    session = sessions(budget=LONG)
    seat = seats(session)
    seat.reads("ready")
    seat.button("Start").click()
    seat.reads("frame 3 at")
    seat.button("Pause").click()
    seat.reads("paused")
    eventually(lambda: session.shown().phase == of.PAUSED)
    taken = session.shown().frames
    seat.button("Resume").click()
    eventually(lambda: session.shown().frames > taken + 2)


def test_everything_fits_a_small_screen(sessions, seats):
    page = seats(sessions()).page
    wide, tall = page.evaluate("[document.body.scrollWidth, document.body.scrollHeight]")
    assert (wide, tall) <= (1280, 800)


def test_what_comes_from_elsewhere_is_text(sessions, seats):
    seats(sessions()).reads("graphene <b>&")


class TestSteering:
    def test_a_component_that_is_tapped_is_pursued_and_in_the_journal(
        self, sessions, seats, eventually, tmp_path
    ):
        with Journal(tmp_path) as journal:
            session = sessions(journal=journal, budget=LONG, mode=APPROVE)
            seat = seats(session)
            seat.button("Start").click()
            for taken in range(6):
                eventually(lambda: session.shown().phase == of.ASKING)
                seat.button("Approve").click()
                eventually(lambda taken=taken: session.shown().frames == taken + 1)
            eventually(lambda: session.shown().explanation.components is not None)
            seat.page.wait_for_timeout(500)
            seat.page.mouse.click(*seat.at("components", (0.5, 1.6)))
            seat.reads("to be pursued from the next decision on: 1")
            eventually(lambda: session.shown().explanation.chosen == 1)
        wishes = [r.data["wish"] for r in read(tmp_path) if r.kind == "steer"]
        assert [w["target"] for w in wishes] == [1]

    def test_a_region_that_is_forbidden_is_never_scanned(self, sessions, seats, eventually):
        session = sessions("random", budget=0.2)
        seat = seats(session)
        seat.drag("map", "BoxSelectTool", (-10.0, -10.0), (4.0, 2.0))
        seat.reads("forbid it?")
        seat.button("Forbid the box").click()
        seat.button("Start").click()
        eventually(lambda: session.shown().over)
        (rectangle,) = session.shown().forbidden
        low, high = np.min(rectangle, axis=0), np.max(rectangle, axis=0)
        assert np.allclose([low, high], [(-10, -10), (4, 2)], atol=0.3)
        boxes = session.shown().footprints_yx_nm
        assert len(boxes) > 20
        apart = (boxes.max(axis=1) <= low + 1e-6) | (boxes.min(axis=1) >= high - 1e-6)
        assert apart.any(axis=1).all()

    def test_a_frame_is_taken_where_a_person_asks(self, sessions, seats, eventually):
        session = sessions(mode=MANUAL)
        seat = seats(session)
        seat.button("Start").click()
        seat.page.mouse.click(*seat.at("map", (3.0, -5.0)))
        seat.page.wait_for_timeout(500)
        seat.button("Take a frame here").click()
        eventually(lambda: session.shown().frames == 1)
        assert session.shown().latest.request.centre_yx_nm == pytest.approx((3.0, -5.0), abs=0.1)

    def test_a_step_waits_and_one_that_is_refused_is_not_taken(self, sessions, seats, eventually):
        session = sessions("grid", mode=APPROVE)
        seat = seats(session)
        seat.button("Start").click()
        seat.reads("waits for your approval")
        first = session.shown().proposal.request
        seat.button("Refuse").click()
        eventually(lambda: session.shown().proposal not in (None, first))
        seat.button("Approve").click()
        eventually(lambda: session.shown().frames == 1)
        assert session.shown().latest.request.centre_yx_nm != first.centre_yx_nm


class TestStop:
    @pytest.mark.parametrize("by", ["button", "key"])
    def test_it_blanks_and_says_what_is_so(self, sessions, seats, eventually, by):
        session = sessions(budget=LONG)
        seat = seats(session)
        seat.button("Start").click()
        seat.reads("frame 2 at")
        if by == "key":
            seat.page.keyboard.press("Escape")
        else:
            seat.button("STOP (Esc)").click()
        seat.reads("blanked (confirmed)")
        assert session.wait(10)
        assert session.shown().phase == of.STOPPED
        assert session.guard().seen().blanked


class TestManyPages:
    def test_a_page_that_is_loaded_again_finds_it_as_it_is(self, sessions, seats, eventually):
        session = sessions(mode=APPROVE)
        seat = seats(session)
        seat.button("Start").click()
        seat.button("Approve").click()
        eventually(lambda: session.shown().frames == 1)
        seat.page.reload()
        seat.reads("waits for your approval")
        seat.reads("frame 1 at")

    def test_closing_it_ends_nothing(self, sessions, seats, eventually):
        session = sessions(budget=LONG)
        seat = seats(session)
        seat.button("Start").click()
        seat.reads("frame 1 at")
        seat.page.close()
        taken = session.shown().frames
        eventually(lambda: session.shown().frames > taken + 3)

    def test_a_second_one_looks_on_and_may_stop(self, sessions, seats, eventually):
        session = sessions(budget=LONG)
        first, second = seats(session), seats(session)
        second.reads("looking on")
        assert second.button("Start").is_disabled()
        first.button("Start").click()
        second.reads("frame 2 at")
        second.button("STOP (Esc)").click()
        first.reads("blanked (confirmed)")
        assert session.wait(10)

    def test_control_is_free_again_when_its_page_is_gone(self, sessions, seats, eventually):
        session = sessions()
        first, second = seats(session), seats(session)
        first.page.close()
        eventually(lambda: session.lease.owner is None)
        second.button("Take control").click()
        eventually(second.button("Start").is_enabled)
