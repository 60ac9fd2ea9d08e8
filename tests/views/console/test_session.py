"""An experiment that people watch, steer and stop, without any page."""

from __future__ import annotations

import time

import numpy as np
import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.controls import APPROVE, MANUAL
from stemscout.agents.experiment import Experiment
from stemscout.hardware.errors import LeaseError
from stemscout.hardware.journal import Journal, read
from stemscout.views.console import session as of

BUDGET = 0.06  # fifteen frames


class TestLookingOn:
    def test_before_it_begins_there_is_nothing_and_nothing_fails(self, sessions):
        shown = sessions().shown()
        assert (shown.phase, shown.frames, shown.latest) == (of.READY, 0, None)
        assert shown.fraction is None

    def test_the_map_grows_with_every_frame(self, sessions, eventually):
        session = sessions()
        session.start()
        eventually(lambda: session.shown().frames >= 3)
        session.experiment.pause()
        eventually(lambda: session.shown().phase == of.PAUSED)
        some = np.isfinite(session.mosaic()).mean()
        assert 0 < some < BUDGET
        session.experiment.resume()
        assert session.wait(30)
        shown = session.shown()
        assert (shown.phase, shown.frames) == (of.ENDED, 15)
        assert np.isfinite(session.mosaic()).mean() > some
        assert shown.footprints_yx_nm.shape == (15, 4, 2)
        assert shown.charge == pytest.approx([s.spent for s in session.experiment.steps])
        assert shown.recall == pytest.approx([s.fraction for s in session.experiment.steps])
        assert shown.fraction == shown.recall[-1]
        assert "frame 15 at (" in shown.log[-2]
        assert "beam blanked" in shown.beam

    def test_the_dose_put_into_it_adds_up_to_the_charge(self, sessions):
        session = sessions()
        session.start()
        assert session.wait(30)
        dose = session.dose()
        field = np.prod(session.field_yx_nm) * of.A2_NM2
        sent = sum(s.frame.charge_e for s in session.experiment.steps)
        assert dose.mean() * field == pytest.approx(sent, rel=0.02)
        assert (dose[np.isnan(session.mosaic())] == 0).all()

    def test_findings_lie_on_the_map_by_class(self, sessions):
        session = sessions("true-grid")
        session.start()
        assert session.wait(30)
        shown = session.shown()
        claimed = {f.label for f in shown.latest.findings}
        assert claimed
        assert set(shown.findings) == claimed
        half = np.array(session.field_yx_nm) / 2
        assert all((np.abs(places) <= half).all() for places in shown.findings.values())

    def test_looking_alters_nothing(self, sessions, graphene):
        session = sessions()
        session.start()
        while not session.wait(0.001):
            session.shown(), session.mosaic(), session.dose()
        alone = Experiment(graphene(budget=BUDGET), make_agent("linear-bo"), seed=0).run()
        for one, other in zip(session.experiment.steps, alone, strict=True):
            assert np.array_equal(one.frame.image, other.frame.image)

    def test_the_same_moment_has_the_same_number(self, sessions):
        session = sessions()
        session.start()
        assert session.wait(30)
        assert session.shown().version == session.shown().version

    def test_what_breaks_it_is_told(self, sessions, eventually):
        session = sessions()

        def broken(request):
            raise RuntimeError("the roof came down")

        session.experiment.env.step = broken
        session.start()
        eventually(lambda: session.shown().phase == of.FAILED)
        assert "the roof came down" in session.shown().trouble
        assert session.guard().seen().blanked
        assert "the roof came down" in session.shown().log[-1]


class TestControl:
    def test_one_has_it_and_others_look_on(self, sessions):
        session = sessions()
        key = session.take("first")
        assert session.controls(key) is session.experiment
        with pytest.raises(LeaseError, match="first has the microscope"):
            session.take("second")
        with pytest.raises(LeaseError, match="looking on"):
            session.controls(None)
        session.lease.release(key)
        session.take("second")

    def test_whoever_gives_no_sign_of_life_loses_it(self, sessions, monkeypatch):
        monkeypatch.setattr(of, "LEASE_S", 0.05)
        session = sessions()
        key = session.take("first")
        time.sleep(0.1)
        with pytest.raises(LeaseError):
            session.controls(key)
        session.controls(session.take("second"))

    def test_a_replay_cannot_be_steered(self, sessions):
        session = sessions()
        session.read_only = "this is a replay"
        with pytest.raises(LeaseError, match="this is a replay"):
            session.controls(session.take("first"))

    def test_wishes_that_cannot_be_are_told_and_end_nothing(self, sessions, eventually):
        session = sessions(mode=MANUAL)
        session.start()
        session.controls(session.take("first")).ask((500.0, 0.0))
        eventually(lambda: any("refused:" in line for line in session.shown().log))
        assert session.shown().phase == of.RUNNING

    def test_what_waits_for_approval_is_shown(self, sessions, eventually):
        session = sessions(mode=APPROVE)
        session.start()
        eventually(lambda: session.shown().phase == of.ASKING)
        first = session.shown().proposal
        assert session.shown().frames == 0
        session.controls(session.take("first")).answer(True)
        eventually(lambda: session.shown().frames == 1)
        assert session.shown().latest.request == first.request


class TestStop:
    def test_it_blanks_and_says_so_whoever_has_control(self, sessions, eventually, tmp_path):
        with Journal(tmp_path) as journal:
            session = sessions(journal=journal)
            session.take("somebody else")
            session.start()
            eventually(lambda: session.shown().frames >= 2)
            assert session.stop().answer == "blanked (confirmed)"
            assert session.wait(10)
            shown = session.shown()
            assert (shown.phase, shown.answer) == (of.STOPPED, "blanked (confirmed)")
            assert "beam blanked" in shown.beam
            assert "STOPPED" in shown.beam
            session.experiment.env.close()
        records = [r.kind for r in read(tmp_path)]
        assert "stop" in records
        assert records.count("frame") == shown.frames

    def test_it_ends_what_waits(self, sessions, eventually):
        session = sessions(mode=APPROVE)
        session.start()
        eventually(lambda: session.shown().phase == of.ASKING)
        session.stop()
        assert session.wait(10)
        assert session.shown().frames == 0

    def test_before_anything_was_opened_it_says_so(self, sessions):
        assert sessions().stop().answer == "nothing was sent; the beam is as it was"
