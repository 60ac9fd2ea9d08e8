"""What waits for a person: the beam rests, signs of life count, wishes are pending."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("panel")

from stemscout.agents.controls import APPROVE, MANUAL
from stemscout.hardware.errors import LeaseError, Unsupported
from stemscout.hardware.journal import Journal, read
from stemscout.views.console import session as of

REST_S = 0.05
SILENCE_S = 0.4


def started(session, eventually, phase):
    """Begun, and waiting; the key of whoever has control."""
    key = session.take("somebody")
    session.start()
    eventually(lambda: session.shown().phase == phase and session.experiment.waiting)
    return key


class TestTheBeamRests:
    def test_it_is_blanked_while_a_person_thinks_and_comes_on_for_the_next_frame(
        self, live, eventually, tmp_path
    ):
        with Journal(tmp_path) as journal:
            session = live(journal=journal, mode=APPROVE, rest_s=REST_S)
            key = started(session, eventually, of.ASKING)
            eventually(lambda: session.guard().seen().blanked)
            assert "beam blanked" in session.shown().beam
            session.controls(key).answer(True)
            eventually(lambda: session.shown().frames == 1)
            assert session.shown().latest.frame.charge_e > 0
            eventually(lambda: session.guard().seen().blanked)
        sent = [(r.data["verb"], r.data.get("on")) for r in read(tmp_path) if r.kind == "command"]
        first = sent.index(("acquire", None))
        assert sent[first - 2 : first + 2] == [
            ("blank", True), ("blank", False), ("acquire", None), ("blank", True)
        ]  # fmt: skip

    def test_a_pause_is_a_rest_too(self, live, eventually):
        session = live(rest_s=REST_S)
        session.experiment.pause()
        started(session, eventually, of.PAUSED)
        eventually(lambda: session.guard().seen().blanked)
        session.experiment.resume()
        assert session.wait(30)
        assert session.shown().frames == 8
        assert all(not step.frame.state.blanked for step in session.experiment.steps)

    def test_whoever_is_quick_finds_it_on(self, live, eventually):
        session = live(mode=APPROVE, rest_s=30.0)
        started(session, eventually, of.ASKING)
        assert not session.guard().seen().blanked

    def test_what_cannot_be_blanked_is_told_and_ends_nothing(self, live, eventually, monkeypatch):
        session = live(rest_s=REST_S)

        def unable(on):
            raise Unsupported("there is no blanker here")

        monkeypatch.setattr(session.microscope, "blank", unable)
        session.experiment.pause()
        started(session, eventually, of.PAUSED)
        told = "the beam stays on while it waits: there is no blanker here"
        eventually(lambda: any(told in line for line in session.shown().log))
        session.experiment.resume()
        eventually(lambda: session.shown().frames == 8)

    def test_stop_ends_a_rest(self, live, eventually):
        session = live(mode=APPROVE, rest_s=REST_S)
        started(session, eventually, of.ASKING)
        eventually(lambda: session.guard().seen().blanked)
        assert session.stop().confirmed
        assert session.wait(10)
        assert session.shown().phase == of.STOPPED


class TestSignsOfLife:
    def test_those_of_whoever_is_waited_for_count(self, live, eventually):
        session = live(mode=APPROVE, heartbeat_s=SILENCE_S)
        key = started(session, eventually, of.ASKING)
        until = time.monotonic() + 3 * SILENCE_S
        while time.monotonic() < until:
            session.alive(key)
            time.sleep(0.02)
        assert session.guard().secured is None
        eventually(lambda: session.guard().secured is not None)  # silent now
        assert "no call for" in session.shown().beam

    def test_while_frames_are_taken_they_do_not(self, live, eventually, monkeypatch):
        session = live(heartbeat_s=SILENCE_S)
        act = session.experiment.agent.act

        def slow(observation):
            until = time.monotonic() + 60
            while session.guard().secured is None and time.monotonic() < until:
                session.alive(key)
                time.sleep(0.02)
            return act(observation)

        monkeypatch.setattr(session.experiment.agent, "act", slow)
        key = session.take("somebody")
        session.start()
        eventually(lambda: session.guard().secured is not None)
        eventually(lambda: session.guard().seen().blanked)

    def test_a_rest_without_anybody_ends_nothing(self, live, eventually):
        session = live(mode=APPROVE, heartbeat_s=SILENCE_S, rest_s=REST_S)
        key = started(session, eventually, of.ASKING)
        eventually(lambda: session.guard().secured is not None)
        session.controls(key).answer(True)
        eventually(lambda: session.shown().frames == 1)

    def test_nobody_else_gives_them(self, live):
        session = live()
        session.take("somebody")
        with pytest.raises(LeaseError):
            session.alive("rubbish")


class TestPending:
    def test_a_wish_is_pending_until_it_takes_effect(self, sessions, eventually):
        session = sessions()
        session.experiment.pause()
        key = started(session, eventually, of.PAUSED)
        experiment = session.controls(key)
        experiment.steer(target=1, exploration=2.0)
        experiment.ask((1.0, -2.0))
        experiment.switch("grid")
        experiment.allow(0.2)
        experiment.steer(forbid=[((0.0, 0.0), (1.0, 1.0))])
        assert session.shown().pending == (
            "pursue 1, exploration 2",
            "a frame at (1.00, -2.00) nm",
            "grid takes over",
            "a budget of 0.2 rasters",
            "1 region forbidden",
        )
        experiment.resume()
        eventually(lambda: session.shown().frames >= 2)
        assert session.shown().pending == ()

    def test_frames_that_are_queued_are_pending(self, sessions, eventually):
        session = sessions(mode=MANUAL)
        experiment = session.experiment
        experiment.pause()
        key = started(session, eventually, of.PAUSED)
        for y in (0.0, 2.0, 4.0):
            session.controls(key).ask((y, 0.0))
        experiment.step()
        eventually(lambda: session.shown().frames == 1)
        assert session.shown().pending == (
            "a frame at (2.00, 0.00) nm",
            "a frame at (4.00, 0.00) nm",
        )


class TestOneAtATime:
    def test_a_step_is_one_frame(self, sessions, eventually):
        session = sessions("grid")
        key = session.take("somebody")
        session.controls(key, steers=False).step()
        session.start()
        for taken in (1, 2):
            eventually(lambda taken=taken: session.shown().frames == taken)
            eventually(lambda: session.shown().phase == of.PAUSED and session.experiment.waiting)
            assert session.shown().frames == taken
            session.controls(key, steers=False).step()
        session.experiment.resume()
        assert session.wait(30)
        assert session.shown().frames == 15
