"""A journal seen again: the same page, and nothing driven or written."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("panel")

import numpy as np

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.replayed import ReplayedSource
from stemscout.hardware.errors import LeaseError
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.replayed import Replayed, Told
from stemscout.views.console import session as of
from stemscout.views.console.replay import replay

BUDGET = 0.06  # fifteen frames
FAST = 1e4


@pytest.fixture
def journalled(sessions, tmp_path):
    """An experiment over a simulation that was steered, and what its journal tells."""

    def make(agent="linear-bo", **options):
        with Journal(tmp_path) as journal:
            session = sessions(agent, journal=journal, **options)
            session.experiment.steer(exploration=3.0)
            session.experiment.ask((2.0, -3.0))
            session.start()
            assert session.wait(60)
            session.experiment.env.close()
        return session, Told.of(read(tmp_path))

    return make


@pytest.fixture
def again(graphene):
    """Makes sessions that replay, and ends them."""
    made = []

    def make(told, agent="linear-bo", specimen=None, **options):
        env = graphene(budget=BUDGET)
        env.source = source = ReplayedSource(env.source, told)
        experiment = Experiment(
            env, make_agent(agent), seed=0, specimen=specimen, wishes=told.wishes
        )
        made.append(replay(experiment, source.replayed, **{"speed": FAST, **options}))
        return made[-1]

    yield make
    for session in made:
        session.experiment.stop()
        assert session.wait(30)


def test_it_decides_as_it_did_and_shows_what_was_shown(journalled, again):
    first, told = journalled()
    session = again(told)
    session.start()
    assert session.wait(60)
    then, now = first.shown(), session.shown()
    assert now.phase == of.ENDED
    assert now.frames == then.frames == 15
    assert np.array_equal(now.footprints_yx_nm, then.footprints_yx_nm)
    assert np.array_equal(now.recall, then.recall)
    assert np.array_equal(session.mosaic(), first.mosaic(), equal_nan=True)
    both = zip(first.experiment.steps, session.experiment.steps, strict=True)
    for one, other in both:
        assert one.explanation.sentence == other.explanation.sentence
        assert one.findings == other.findings
    said = " ".join(now.log)
    assert "the journal ends here, after frame 15" in said
    assert "otherwise" not in said
    assert now.beam == "this is a replay"


def test_a_live_one_is_seen_again_without_its_instrument(live, tmp_path):
    from stemscout.envs.live import LiveEnv

    with Journal(tmp_path) as journal:
        first = live("linear-bo", journal=journal, frames=8)
        first.start()
        assert first.wait(60)
    told = Told.of(read(tmp_path))
    replayed, agent = Replayed(told), make_agent("linear-bo")
    needs = {"action": agent.needs.action, "observation": agent.needs.observation}
    env = LiveEnv(replayed, frame_nm=1.0, dwell_us=24.0, frames=8, **needs)
    session = replay(Experiment(env, agent, seed=0), replayed, speed=FAST)
    session.start()
    assert session.wait(60)
    then, now = first.shown(), session.shown()
    assert (now.phase, now.frames, now.fraction) == (of.ENDED, 8, None)
    assert np.array_equal(now.footprints_yx_nm, then.footprints_yx_nm)
    assert "otherwise" not in " ".join(now.log)


def test_another_decision_than_the_recorded_one_is_told(journalled, again):
    _, told = journalled()
    session = again(replace(told, wishes={}))
    session.start()
    assert session.wait(60)
    assert session.shown().frames == 15
    told_of = [line for line in session.shown().log if "decides otherwise than recorded" in line]
    assert len(told_of) == 1
    assert "before frame 1" in told_of[0]  # that a person asked for


def test_another_specimen_than_the_recorded_one_is_told(journalled, again):
    _, told = journalled()
    session = again(told, specimen=7)
    session.start()
    assert session.wait(60)
    said = " ".join(session.shown().log)
    assert "frame 1 is simulated otherwise today than it was recorded" in said


def test_it_ends_where_the_journal_does(journalled, again):
    _, told = journalled()
    session = again(replace(told, frames=told.frames[:4]))
    session.start()
    assert session.wait(60)
    assert (session.shown().phase, session.shown().frames) == (of.ENDED, 4)
    assert "the journal ends here, after frame 4" in " ".join(session.shown().log)


def test_a_torn_tail_is_told(journalled, again):
    _, told = journalled()
    assert "17 bytes at the end of the journal are no whole record" in " ".join(
        again(told, torn=17).shown().log
    )


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_that_is_none_is_refused(journalled, again, speed):
    _, told = journalled()
    with pytest.raises(ValueError, match="frames a second; it must be above 0"):
        again(told, speed=speed)


def test_it_is_paused_and_not_steered(journalled, again, eventually):
    _, told = journalled()
    session = again(told)
    key = session.take("somebody")
    with pytest.raises(LeaseError, match="this is a replay"):
        session.controls(key)
    session.controls(key, steers=False).step()
    session.start()
    eventually(lambda: session.shown().frames == 1 and session.shown().phase == of.PAUSED)
    session.controls(key, steers=False).resume()
    assert session.wait(60)
    assert session.shown().frames == 15


def test_stop_says_that_nothing_was_driven(journalled, again, eventually):
    _, told = journalled()
    session = again(told, speed=0.1)
    session.start()
    eventually(lambda: session.shown().frames == 1)
    assert session.stop().answer == "nothing was driven: this is a replay"
    assert session.wait(5)  # and not the ten seconds to the next frame
    assert session.shown().phase == of.STOPPED


def test_on_the_page(journalled, again, seats, eventually, tmp_path):
    _, told = journalled()
    before = (tmp_path / "journal.log").read_bytes()
    session = again(told, speed=20.0)
    seat = seats(session)
    seat.reads("ready")
    for name in ("Frame here", "Forbid", "Pursue", "Switch"):
        assert seat.button(name).is_disabled()
    seat.button("Step").click()
    seat.reads("frame 1 at (2.00, -3.00) nm: a person asked for it")
    seat.reads("paused")
    assert session.shown().frames == 1
    seat.button("Resume").click()
    seat.reads("the journal ends here, after frame 15")
    seat.reads("ended")
    seat.button("STOP (Esc)").click()
    seat.reads("nothing was driven: this is a replay")
    assert (tmp_path / "journal.log").read_bytes() == before
