"""The console's page in a real browser, as a person uses it."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("panel")

from stemscout.agents.controls import APPROVE, MANUAL
from stemscout.hardware.journal import Journal, read
from stemscout.views.console import session as of
from stemscout.views.console.page import PICTURES, Page

SOME_FRAME = re.compile(r"frame \d+ at")  # of a log that moves on
LONG = 0.4  # rasters: it is under way as long as a test takes
FOCUSED = """() => {
    let of = document.activeElement;
    while (of.shadowRoot && of.shadowRoot.activeElement) of = of.shadowRoot.activeElement;
    return of.tagName == "BUTTON" ? of.textContent : of.labels?.[0]?.textContent ?? of.tagName;
}"""
OUTLINE = """() => {
    let of = document.activeElement;
    while (of.shadowRoot && of.shadowRoot.activeElement) of = of.shadowRoot.activeElement;
    return parseFloat(getComputedStyle(of).outlineWidth);
}"""


def test_it_begins_and_the_map_grows_and_it_can_be_paused(sessions, seats, eventually):
    session = sessions(budget=LONG)
    seat = seats(session)
    seat.reads("ready")
    seat.button("Start").click()
    seat.reads(SOME_FRAME)
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


def test_everything_is_named_for_those_who_do_not_see_it(sessions, seats):
    page = seats(sessions()).page
    for name in (v for k, v in PICTURES.items() if k != "components"):  # there are none yet
        page.get_by_role("img", name=name).wait_for(state="attached")
    assert page.get_by_role("button", name="automatic").get_attribute("aria-pressed") == "true"
    assert page.get_by_role("button", name="manual").get_attribute("aria-pressed") == "false"


def test_what_a_network_sees_is_laid_over_the_latest_frame(sessions, seats, eventually):
    session = sessions("dcnn-bo")
    session.start()
    assert session.wait(60)
    seat = seats(session)
    assert seat.page.get_by_text("■").count() == 0
    seat.button("segmentation").click()
    seat.page.get_by_text("■").first.wait_for()


def test_a_browser_that_is_slow_is_sent_less(sessions):
    session = sessions()
    page = Page(session)
    session.start()
    assert session.wait(30)
    page.update()
    assert page.keys.sent == 0  # nobody told that anything is drawn
    page._drawn()
    session.stop()
    page.update()
    assert page.keys.sent == 1
    frames = page.seen
    session.stop("somebody else")
    page.update()
    assert page.seen is frames
    page._drawn()
    page.update()
    assert page.seen is not frames
    assert page.keys.sent == 2


def test_what_a_person_does_while_frames_come_in_ends_in_no_error(sessions, seats, caplog):
    session = sessions(budget=1.0)
    seat = seats(session)
    seat.button("Start").click()
    seat.reads(SOME_FRAME)
    for word in ("farthest", "distance") * 3:
        seat.page.get_by_label("pursue", exact=True).select_option(word)
        seat.button("Pursue").click()
        seat.reads(f'next decision on: "{word}"')
    assert "_pending_writes" not in caplog.text


class TestByKeyboard:
    """Without a mouse: the way is the tabulator's."""

    def press(self, page, *keys):
        for key in keys:
            page.keyboard.press(key)

    def test_the_tabulator_reaches_every_control(self, sessions, seats):
        page = seats(sessions()).page
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(FOCUSED))
        named = {"STOP (Esc)", "Start", "Frame here", "Forbid", "Pursue", "Pursue the point"}
        assert named | {"automatic", "lasso", "segmentation", "Switch"} <= reached
        assert {"Layer over the map", "pursue", "agent", "y (nm)", "side (nm)"} <= reached

    def test_focus_can_be_seen(self, sessions, seats):
        page = seats(sessions()).page
        page.get_by_role("img").first.wait_for(state="attached")
        for _ in range(30):
            page.keyboard.press("Tab")
            assert page.evaluate(OUTLINE) >= 2

    def test_a_component_is_chosen_and_a_region_forbidden(self, sessions, seats, eventually):
        session = sessions(mode=APPROVE)
        seat = seats(session)
        page = seat.page
        seat.button("Start").focus()
        self.press(page, "Enter")
        for taken in range(6):
            eventually(lambda: session.shown().phase == of.ASKING)
            eventually(seat.button("Approve").is_enabled)
            seat.button("Approve").focus()
            self.press(page, "Enter")
            eventually(lambda taken=taken: session.shown().frames == taken + 1)
        choice = page.get_by_label("pursue", exact=True)
        choice.get_by_text("component 2").wait_for(state="attached")
        choice.focus()
        self.press(page, "Home", "ArrowDown", "ArrowDown", "Tab", "Enter")
        seat.reads('to be pursued from the next decision on: "component 2"')
        eventually(lambda: session.shown().explanation.chosen == 2)
        page.get_by_label("y (nm)").focus()
        self.press(page, "Control+a", "4", "Enter")
        page.get_by_label("side (nm)").focus()
        self.press(page, "Control+a", "2", "Enter", "Tab")
        assert page.evaluate(FOCUSED) == "Forbid"
        self.press(page, "Enter")
        eventually(lambda: session.shown().forbidden)
        assert np.allclose(session.shown().forbidden, [[(3, -1), (5, 1)]])


class TestSteering:
    def test_a_point_that_is_dragged_to_is_pursued_and_in_the_journal(
        self, sessions, seats, eventually, tmp_path
    ):
        with Journal(tmp_path) as journal:
            session = sessions("rvae-bo", journal=journal, budget=LONG, mode=APPROVE)
            seat = seats(session)
            seat.button("Start").click()
            for taken in range(4):
                eventually(lambda: session.shown().phase == of.ASKING)
                seat.button("Approve").click()
                eventually(lambda taken=taken: session.shown().frames == taken + 1)
            eventually(lambda: session.shown().explanation.manifold is not None)
            manifold = session.shown().explanation.manifold
            first, last = ((float(manifold.second[k]), float(manifold.first[k])) for k in (1, 3))
            seat.button("point").click()
            seat.reads(SOME_FRAME)
            seat.page.wait_for_timeout(700)
            seat.drag("plane", None, first, last)
            seat.reads("to be pursued from the next decision on")
            eventually(lambda: isinstance(session.shown().explanation.target, dict))
            seat.reads("the point (")
            # Another page, or this one loaded again, finds it there.
            seat.page.reload()
            seat.reads("the point (")
        (wish,) = [r.data["wish"] for r in read(tmp_path) if r.kind == "steer"]
        width = np.ptp(manifold.first), np.ptp(manifold.second)
        assert np.allclose(wish["target"]["point"], last[::-1], atol=0.05 * max(width))

    def test_a_box_about_frames_is_pursued(self, sessions, seats, eventually):
        session = sessions(mode=APPROVE)
        seat = seats(session)
        seat.button("Start").click()
        for taken in range(6):
            eventually(lambda: session.shown().phase == of.ASKING)
            seat.button("Approve").click()
            eventually(lambda taken=taken: session.shown().frames == taken + 1)
        eventually(lambda: len(session.shown().explanation.frames) == 6)
        of_frames = session.shown().explanation.descriptors[:, :2]
        seat.button("box").click()
        seat.page.wait_for_timeout(700)
        low, high = of_frames.min(axis=0), of_frames.max(axis=0)
        seat.drag("plane", None, low[::-1], high[::-1])
        seat.reads("a region of 4 corners")
        corners = np.array(session.shown().explanation.target["region"])
        assert np.allclose([corners.min(axis=0), corners.max(axis=0)], [low, high], rtol=0.1)

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
        seat.button("Forbid").click()
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
        seat.button("Frame here").click()
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
        seat.reads(SOME_FRAME)
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
        seat.reads(SOME_FRAME)

    def test_closing_it_ends_nothing(self, sessions, seats, eventually):
        session = sessions(budget=LONG)
        seat = seats(session)
        seat.button("Start").click()
        seat.reads(SOME_FRAME)
        seat.page.close()
        taken = session.shown().frames
        eventually(lambda: session.shown().frames > taken + 3)

    def test_a_second_one_looks_on_and_may_stop(self, sessions, seats, eventually):
        session = sessions(budget=LONG)
        first, second = seats(session), seats(session)
        second.reads("looking on")
        assert second.button("Start").is_disabled()
        first.button("Start").click()
        second.reads(SOME_FRAME)
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
