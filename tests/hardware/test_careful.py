"""What goes wrong at the worst moment, and what the guard makes of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from stemscout.hardware import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    LimitError,
    ScanRequest,
    StageMove,
    emergency,
)
from stemscout.hardware.emergency import CONFIRMED, NOT_CONFIRMED, UNTOUCHED
from stemscout.hardware.errors import JournalError, LeaseError, RefusedError
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.microscope import Unblank

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


class Background:
    """A call in another thread."""

    def __init__(self, function):
        self.brought, self.raised = None, None
        self.thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        self.thread.start()

    def _run(self, function):
        try:
            self.brought = function()
        except Exception as error:
            self.raised = error

    def end(self):
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self


@pytest.fixture
def guard(moody):
    """Makes opened guards of moody microscopes; whatever hangs is let go in the end."""
    made = []

    def make(microscope=None, **options):
        made.append(guarded(microscope or moody(), **options))
        made[-1].open()
        return made[-1]

    yield make
    for own in made:
        own.microscope.go.set()
        own.microscope.fails.clear()
        own.leave()


class TestTheAnswerIsHonest:
    def test_where_nothing_was_sent_it_says_so(self, guard, moody):
        assert guarded(moody()).stop().answer == UNTOUCHED
        assert guard(dry_run=True).stop().answer == UNTOUCHED

    def test_after_closing_it_is_what_was_known_then(self, guard, monkeypatch):
        own = guard()
        own.close()
        assert own.stop().answer == CONFIRMED
        other = guard()
        lies = other.microscope._state
        monkeypatch.setattr(other.microscope, "blank", lambda on: lies)
        with pytest.raises(ConnectionLost, match="closed, and the beam NOT confirmed blanked"):
            other.close()
        assert other.stop().answer == NOT_CONFIRMED

    def test_a_blanker_that_does_nothing_is_noticed(self, guard, monkeypatch):
        own = guard()
        lies = own.microscope._state
        monkeypatch.setattr(own.microscope, "blank", lambda on: replace(lies, blanked=False))
        with pytest.raises(AcquisitionError, match="reads that it is not"):
            own.blank(True)
        monkeypatch.undo()
        own.blank(True)
        monkeypatch.setattr(own.microscope, "blank", lambda on: replace(lies, blanked=True))
        with pytest.raises(AcquisitionError, match="was to come on, and reads blanked"):
            own.blank(False)

    def test_one_that_cannot_be_blanked_closes_and_is_not_confirmed(self, guard, moody):
        own = guard(moody(can_blank=False))
        own.close()
        assert own.parting.answer == NOT_CONFIRMED

    def test_whoever_stops_hears_of_a_closing_that_takes_over_the_blanking(
        self, guard, moody, monkeypatch
    ):
        """As a script does that ends when its frame was stopped: it was dark, and not confirmed."""
        monkeypatch.setattr(emergency, "REPEATED_S", 0.1)  # so that the closing is first
        own = guard(moody(while_busy=False))
        own.microscope.holds = True

        def script():
            try:
                own.acquire(REQUEST)
            finally:
                own.close()

        scan = Background(script)
        own.microscope.scanning.wait(10)
        assert own.stop().answer == CONFIRMED
        assert isinstance(scan.end().raised, AbortedError)
        assert own.parting.answer == CONFIRMED

    def test_an_error_tells_what_became_of_the_beam(self, guard):
        own = guard()
        own.microscope.fails["acquire"] = [RuntimeError("camera dead")]
        with pytest.raises(AcquisitionError, match="camera dead") as raised:
            own.acquire(REQUEST)
        assert raised.value.__notes__ == [CONFIRMED]


class TestTheBeamStaysDark:
    def test_a_call_to_unblank_that_is_under_way_does_not_win(self, guard, eventually):
        own = guard()
        own.blank(True)
        own.microscope.hangs = {"blank"}
        unblanking = Background(lambda: own.blank(False))
        eventually(lambda: own.microscope.calls.count("blank") == 2)
        own.microscope.hangs = set()
        stopped = own.stop()
        assert stopped.answer == NOT_CONFIRMED  # it may come on yet
        own.microscope.go.set()
        assert isinstance(unblanking.end().raised, AbortedError)
        eventually(lambda: own.microscope._state.blanked)
        time.sleep(0.05)
        assert own.microscope._state.blanked
        assert own.secured is not None

    def test_blanking_and_aborting_are_tried_until_they_succeed(self, guard, eventually):
        own = guard()
        own.microscope.fails["blank"] = [RuntimeError("busy")] * 3
        assert own.stop().confirmed
        assert own.microscope.calls.count("blank") == 4

    def test_a_scan_whose_abort_fails_once_is_aborted(self, guard, monkeypatch):
        own = guard()
        own.microscope.holds = True
        scanning = Background(lambda: own.acquire(REQUEST))
        own.microscope.scanning.wait(10)
        abort, tried = own.microscope.abort, []

        def once_in_vain():
            tried.append(1)
            if len(tried) == 1:
                raise RuntimeError("not now")
            abort()

        monkeypatch.setattr(own.microscope, "abort", once_in_vain)
        assert own.stop().confirmed
        assert isinstance(scanning.end().raised, AbortedError)

    def test_closing_in_mid_frame_aborts_and_blanks(self, guard):
        own = guard(limits={"max_charge_e": 1e12})
        own.microscope.holds = True
        scanning = Background(lambda: own.acquire(REQUEST))
        own.microscope.scanning.wait(10)
        began = time.monotonic()
        own.close()
        assert time.monotonic() - began < 3.0
        assert isinstance(scanning.end().raised, AbortedError)
        assert own.microscope._state.blanked
        assert own.parting.confirmed

    def test_whoever_takes_a_lease_that_ran_out_finds_a_dark_beam(self, guard):
        for _ in range(10):
            own = guard()
            own.lease.take("alice", 0.02)
            while True:
                try:
                    key = own.lease.take("bob", 10)
                    break
                except LeaseError:
                    time.sleep(0.0005)
            assert own.microscope._state.blanked
            with pytest.raises(AcquisitionError, match="no sign of life from alice"):
                own.acquire(REQUEST, key=key)
            own.blank(False, key=key)
            assert own.acquire(REQUEST, key=key).image.any()

    def test_where_the_driver_hangs_in_a_question_the_heartbeat_is_listened_for_all_the_same(
        self, guard, monkeypatch, eventually
    ):
        monkeypatch.setattr("stemscout.hardware.careful.STATE_S", 0.05)
        own = guard(heartbeat_s=0.2)
        own.microscope.hangs = {"state"}
        with pytest.raises(ConnectionLost, match="has not answered state"):
            own.state()
        own.microscope.hangs = set()
        eventually(lambda: own.secured is not None, 5)


class TestWhoWaitsInVain:
    def test_what_waits_for_its_turn_is_not_sent_once_its_owner_is_lost(self, guard, eventually):
        own = guard()
        key = own.lease.take("alice", 0.3)
        own.microscope.holds = True
        first = Background(lambda: own.acquire(REQUEST, key=key))
        own.microscope.scanning.wait(10)
        queued = [Background(lambda: own.acquire(REQUEST, key=key)) for _ in range(3)]
        eventually(lambda: own.secured is not None, 10)
        own.microscope.go.set()
        for each in (first, *queued):
            assert each.end().raised is not None
        assert own.microscope.calls.count("acquire") == 1

    def test_nor_where_nobody_wants_it_any_more(self, guard):
        own = guard()
        with pytest.raises(AbortedError, match="nobody waits for it any more"):
            own.acquire(REQUEST, wanted=lambda: False)
        with pytest.raises(AbortedError, match="nobody waits for it any more"):
            own.move_stage((1.0, 0.0), wanted=lambda: False)
        assert own.microscope.calls == ["state"]

    def test_nor_after_its_time_out(self, guard):
        own = guard()
        own.microscope.holds = True
        first = Background(lambda: own.acquire(REQUEST))
        own.microscope.scanning.wait(10)
        with pytest.raises(ConnectionLost, match="another request is under way"):
            own.acquire(REQUEST, timeout_s=0.05)
        own.microscope.go.set()
        assert first.end().brought.image.any()
        assert own.microscope.calls.count("acquire") == 1

    @pytest.mark.parametrize("seconds", [0.0, -1.0, float("inf"), float("nan"), 1e300])
    def test_a_time_out_is_a_time(self, guard, seconds):
        own = guard()
        for call in (
            lambda: own.acquire(REQUEST, seconds),
            lambda: own.move_stage((0, 0), seconds),
        ):
            with pytest.raises(LimitError, match="a time-out of"):
                call()
        assert own.microscope.calls == ["state"]
        assert own.ledger.time_s == 0.0


class TestTheRecord:
    def test_a_journal_that_fails_keeps_nobody_from_blanking(self, guard, tmp_path, monkeypatch):
        with Journal(tmp_path) as journal:
            own = guard(journal=journal)

            def full(*_):
                raise JournalError("no space left")

            monkeypatch.setattr(journal, "write", full)
            with pytest.raises(JournalError):
                own.acquire(REQUEST)
            assert own.blank(True).blanked
            own.abort()
            assert own.microscope.calls.count("blank") >= 1
            assert own.microscope.calls[-1] == "abort"
            assert "acquire" not in own.microscope.calls

    def test_a_frame_that_cannot_be_written_down_is_the_last(self, guard, tmp_path, monkeypatch):
        with Journal(tmp_path) as journal:
            own = guard(journal=journal)
            acquire = own.microscope.acquire
            told = {("a", "key"): 1}
            monkeypatch.setattr(
                own.microscope,
                "acquire",
                lambda request, timeout_s: replace(acquire(request), metadata=told),
            )
            with pytest.raises(JournalError) as raised:
                own.acquire(REQUEST)
            assert raised.value.sent
            assert own.stopped is not None
            with pytest.raises(AbortedError):
                own.acquire(REQUEST)

    def test_a_frame_after_an_interrupt_is_recorded(self, guard, tmp_path, eventually, monkeypatch):
        with Journal(tmp_path) as journal:
            own = guard(journal=journal)
            own.microscope.holds = True
            wait = threading.Event.wait

            def interrupted(event, seconds=None):
                own.microscope.scanning.wait(10) if seconds and seconds > 30 else None
                if seconds and seconds > 30:
                    raise KeyboardInterrupt
                return wait(event, seconds)

            monkeypatch.setattr(own.microscope, "abort", lambda: None)
            monkeypatch.setattr(threading.Event, "wait", interrupted)
            with pytest.raises(KeyboardInterrupt):
                own.acquire(REQUEST)
            monkeypatch.undo()
            own.microscope.go.set()
            eventually(lambda: "late" in [r.kind for r in read(tmp_path)], 10)

    def test_what_was_sent_and_failed_is_marked_so(self, guard):
        own = guard()
        with pytest.raises(LimitError) as refused:
            own.acquire(replace(REQUEST, dwell_us=1e9))
        own.microscope.fails["acquire"] = [RuntimeError("camera dead")]
        with pytest.raises(AcquisitionError) as failed:
            own.acquire(REQUEST)
        assert (refused.value.sent, failed.value.sent) == (False, True)

    def test_where_a_charge_is_not_told_it_is_what_the_scan_costs(self, guard, monkeypatch):
        own = guard()
        acquire = own.microscope.acquire
        monkeypatch.setattr(
            own.microscope, "acquire", lambda r, timeout_s: replace(acquire(r), charge_e=None)
        )
        own.acquire(REQUEST)
        assert own.ledger.charge_e == own.costs.charge_e(REQUEST, 50.0)

    def test_a_move_that_failed_counts_as_one(self, guard):
        own = guard(limits={"stage_step_nm": 2.0, "stage_speed_nm_per_s": 1.0})
        own.microscope.clamps = True
        with pytest.raises(AcquisitionError, match="nm off"):
            own.move_stage((1.5, 0.0))
        with pytest.raises(LimitError, match="stage speed"):
            own.move_stage((1.5, 0.0))


class TestLettingGo:
    def test_who_opened_in_vain_lets_go(self, moody):
        own = guarded(moody(), limits={"fov_nm": (1e6, 2e6)})
        with pytest.raises(LimitError, match="nothing in common"):
            own.open()
        assert own.microscope.calls[-1] == "close"

    def test_a_limit_that_there_is_not_is_refused(self, moody):
        own = guarded(moody(), limits={"max_fun": 1.0})
        with pytest.raises(LimitError, match="no limit is called max_fun; there are: field_yx_nm"):
            own.open()

    def test_a_dry_run_leaves_without_a_word_to_the_beam(self, moody, monkeypatch):
        left = []
        microscope = moody()
        monkeypatch.setattr(microscope, "leave", lambda: left.append(1), raising=False)
        with guarded(microscope, dry_run=True) as own:
            own.acquire(REQUEST)
        assert left == [1]
        assert microscope.calls == ["state"]

    def test_a_driver_that_does_not_close_is_ended(self, moody, monkeypatch):
        monkeypatch.setattr("stemscout.hardware.careful.RETURNS_S", 0.1)
        microscope, killed = moody(), []
        monkeypatch.setattr(microscope, "kill", lambda: killed.append(1), raising=False)
        own = guarded(microscope)
        own.open()
        microscope.hangs = {"acquire"}
        scanning = Background(lambda: own.acquire(REQUEST))
        microscope.scanning.wait(10)
        with pytest.raises(ConnectionLost, match="closed, and the blanked"):
            own.close()
        assert killed == [1]
        microscope.go.set()
        scanning.end()


class TestApproval:
    def test_a_person_is_asked_before_the_beam_comes_on(self, guard):
        asked = []
        own = guard(approve=lambda request: bool(asked.append(request)))
        own.blank(True)
        with pytest.raises(RefusedError, match="the beam coming on"):
            own.blank(False)
        assert asked == [Unblank()]
        assert own.microscope._state.blanked
        with pytest.raises(RefusedError):
            own.move_stage((1.0, 0.0))
        assert asked[-1] == StageMove((1.0, 0.0))
