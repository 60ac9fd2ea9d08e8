"""What the guard promises; each test is named after one."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from math import nan

import numpy as np
import pytest

from stemscout.hardware import (
    AbortedError,
    AcquisitionError,
    ConnectionLost,
    LimitError,
    ScanRequest,
    StageMove,
    Unsupported,
)
from stemscout.hardware.emergency import CONFIRMED, NOT_CONFIRMED, UNTOUCHED
from stemscout.hardware.errors import JournalError, LeaseError, RefusedError
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal, read
from stemscout.hardware.lease import Lease

REQUEST = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))

DEADLINE_S = 0.2
MARGIN = 3.0  # that a busy machine may take longer


@pytest.fixture
def journal(tmp_path):
    with Journal(tmp_path) as made:
        yield made


@pytest.fixture
def guard(journal):
    """Makes opened guards, which are closed in the end."""
    made = []

    def make(microscope, **options):
        made.append(guarded(microscope, journal=journal, **options))
        made[-1].open()
        return made[-1]

    yield make
    for each in made:
        each.microscope.go.set()
        time.sleep(0.01)
        each.close()


def kinds(journal):
    return [r.kind for r in read(journal.path)]


def in_thread(function):
    """What a call in another thread brings: a list that holds it in the end."""
    brought = []

    def run():
        try:
            brought.append(function())
        except Exception as error:
            brought.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, brought


class TestLimits:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"centre_yx_nm": (nan, 0.0)},
            {"centre_yx_nm": (100.0, 0.0)},
            {"dwell_us": 1e9},
            {"shape_yx": (0, 20)},
        ],
    )
    def test_what_they_do_not_allow_is_never_sent(self, guard, moody, journal, wrong):
        microscope = moody()
        own = guard(microscope)
        with pytest.raises(LimitError):
            own.acquire(replace(REQUEST, **wrong))
        for move in (own.move_stage, own.set_beam_shift):
            with pytest.raises(LimitError):
                move((1e9, 0.0))
        assert microscope.calls == ["state"]
        assert kinds(journal)[1:] == ["refused"] * 3

    def test_a_person_may_allow_less_than_the_instrument(self, moody):
        microscope = moody()
        told = microscope.capabilities.limits
        careful = guarded(microscope, replace(told, field_yx_nm=(2.0, 2.0), max_charge_e=1e9))
        with careful:
            assert careful.open().limits.field_yx_nm == (2.0, 2.0)
            with pytest.raises(LimitError, match="reaches beyond the field of ±1 x ±1 nm"):
                careful.acquire(replace(REQUEST, centre_yx_nm=(2.0, 0.0)))

    def test_totals_end_it(self, moody):
        microscope = moody()
        price = microscope.costs.charge_e(REQUEST, 50.0)
        told = replace(microscope.capabilities.limits, max_charge_e=2.5 * price)
        with guarded(microscope, told) as careful:
            careful.acquire(REQUEST)
            careful.acquire(REQUEST)
            with pytest.raises(LimitError, match="charge of all frames"):
                careful.acquire(REQUEST)
        assert microscope.calls.count("acquire") == 2

    def test_a_frame_that_failed_counts_as_sent(self, moody):
        microscope = moody()
        microscope.fails["acquire"] = [RuntimeError("0x80040005")]
        price = microscope.costs.charge_e(REQUEST, 50.0)
        told = replace(microscope.capabilities.limits, max_charge_e=1.5 * price)
        with guarded(microscope, told) as careful:
            with pytest.raises(AcquisitionError, match="0x80040005"):
                careful.acquire(REQUEST)
            careful.blank(False)
            with pytest.raises(LimitError, match="charge of all frames"):
                careful.acquire(REQUEST)

    def test_the_dose_of_a_spot_adds_up(self, moody):
        microscope = moody()
        once = microscope.dose_e_per_a2
        told = replace(microscope.capabilities.limits, max_spot_dose_e_per_a2=1.5 * once)
        with guarded(microscope, told) as careful:
            careful.acquire(REQUEST)
            careful.acquire(replace(REQUEST, centre_yx_nm=(1.0, 0.0)))
            with pytest.raises(LimitError, match="dose of a spot"):
                careful.acquire(replace(REQUEST, centre_yx_nm=(0.0, 0.5)))


class TestStop:
    def stopped_in_mid_frame(self, guard, microscope):
        microscope.holds = True
        own = guard(microscope)
        thread, brought = in_thread(lambda: own.acquire(REQUEST))
        assert microscope.scanning.wait(5)
        began = time.perf_counter()
        told = own.stop("the red button")
        took = time.perf_counter() - began
        assert took < MARGIN * DEADLINE_S
        return own, told, thread, brought

    def test_in_mid_frame_it_is_aborted_and_blanked(self, guard, moody, journal, eventually):
        microscope = moody()
        own, told, thread, brought = self.stopped_in_mid_frame(guard, microscope)
        assert str(told) == CONFIRMED
        thread.join(5)
        assert isinstance(brought[0], AbortedError)
        assert microscope.state().blanked
        for verb in (lambda: own.acquire(REQUEST), lambda: own.move_stage((1.0, 0.0)), own.state):
            with pytest.raises(AbortedError, match="the red button"):
                verb()
        assert microscope.calls.count("acquire") == 1
        eventually(lambda: "stop" in kinds(journal))
        (record,) = [r for r in read(journal.path) if r.kind == "stop"]
        assert record.data["answer"] == CONFIRMED

    def test_where_the_beam_cannot_be_blanked_in_a_scan_it_is_after_the_abort(self, guard, moody):
        microscope = moody(while_busy=False)
        _, told, thread, _ = self.stopped_in_mid_frame(guard, microscope)
        thread.join(5)
        assert told.confirmed
        at = microscope.calls.index("blank")
        assert "abort" in microscope.calls[:at]

    def test_with_a_driver_that_hangs_the_answer_is_honest(self, guard, moody, journal, eventually):
        microscope = moody(while_busy=False)
        microscope.hangs = {"acquire"}
        own = guard(microscope)
        in_thread(lambda: own.acquire(REQUEST))
        assert microscope.scanning.wait(5)
        began = time.perf_counter()
        told = own.stop()
        assert time.perf_counter() - began < MARGIN * DEADLINE_S
        assert str(told) == NOT_CONFIRMED
        microscope.go.set()  # it comes back after all
        eventually(lambda: microscope._state.blanked)
        eventually(lambda: "blanked" in kinds(journal))

    def test_with_a_blanker_that_hangs_the_answer_is_honest(self, guard, moody):
        microscope = moody()
        microscope.hangs = {"blank"}
        told = guard(microscope).stop()
        assert str(told) == NOT_CONFIRMED
        assert told.seconds < MARGIN * DEADLINE_S

    def test_an_instrument_without_a_blanker_is_never_confirmed(self, guard, moody):
        assert str(guard(moody(can_blank=False)).stop()) == NOT_CONFIRMED

    def test_a_blanker_that_says_otherwise_is_not_confirmed(self, guard, moody, monkeypatch):
        microscope = moody()
        own = guard(microscope)
        monkeypatch.setattr(microscope, "state", lambda: replace(microscope._state, blanked=False))
        assert not own.stop().confirmed

    def test_a_scan_that_begins_at_that_moment_is_aborted_too(self, guard, moody):
        """An abort that comes just before the scan is lost on the driver, so it is repeated."""
        microscope = moody()
        microscope.holds = True
        own = guard(microscope)
        for _ in range(20):
            microscope.scanning.clear()
            thread, brought = in_thread(lambda: own.acquire(REQUEST))
            told = own.stop()
            thread.join(5)
            assert not thread.is_alive()
            assert isinstance(brought[0], AbortedError)
            assert told.confirmed
            own.rearm()
            own.blank(False)

    def test_only_a_person_lets_it_go_on(self, guard, moody):
        microscope = moody()
        own = guard(microscope)
        own.stop()
        own.rearm()
        with pytest.raises(AcquisitionError, match="the beam was blanked"):
            own.acquire(REQUEST)
        own.blank(False)
        assert own.acquire(REQUEST).image.any()

    def test_blanking_is_always_possible(self, guard, moody):
        own = guard(moody())
        own.stop()
        assert own.blank(True).blanked
        with pytest.raises(AbortedError):
            own.blank(False)


class TestTimeOuts:
    def test_a_driver_that_hangs_is_waited_for_no_longer_than_allowed(
        self, guard, moody, journal, monkeypatch, eventually
    ):
        monkeypatch.setattr("stemscout.hardware.careful.STATE_S", 0.05)
        microscope = moody()
        own = guard(microscope)
        microscope.hangs = {"acquire"}
        with pytest.raises(ConnectionLost, match=r"not answered acquire within 0\.05 s"):
            own.acquire(REQUEST, timeout_s=0.05)
        assert microscope.state().blanked
        with pytest.raises(ConnectionLost, match=r"state was not sent: the driver has not answer"):
            own.state()
        microscope.go.set()  # the frame comes after all, and its electrons were sent
        eventually(lambda: "late" in kinds(journal))
        (late,) = [r for r in read(journal.path) if r.kind == "late"]
        assert late.arrays["recorded"].shape == (20, 20)

    def test_closing_it_says_that_the_beam_is_not_confirmed(self, moody, monkeypatch):
        monkeypatch.setattr("stemscout.hardware.careful.BLANK_S", 0.05)
        monkeypatch.setattr("stemscout.hardware.careful.CLOSE_S", 0.05)
        microscope = moody()
        own = guarded(microscope)
        own.open()
        microscope.hangs = {"blank"}
        with pytest.raises(ConnectionLost, match=f"closed, and the {NOT_CONFIRMED}"):
            own.close()


class TestErrors:
    def test_the_drivers_text_is_kept_and_the_beam_blanked(self, guard, moody, journal, eventually):
        microscope = moody()
        own = guard(microscope)
        microscope.fails["acquire"] = [OSError("camera returned 0x80004005")]
        with pytest.raises(AcquisitionError, match="OSError: camera returned 0x80004005"):
            own.acquire(REQUEST)
        assert microscope.state().blanked
        assert microscope.calls.count("acquire") == 1  # it might have dosed the specimen
        eventually(lambda: "error" in kinds(journal))
        (record,) = [r for r in read(journal.path) if r.kind == "error"]
        assert "0x80004005" in record.data["text"]
        assert record.data["answer"] == CONFIRMED
        with pytest.raises(AcquisitionError, match="unblank it"):
            own.acquire(REQUEST)

    def test_what_may_be_repeated_is_once(self, guard, moody, journal):
        microscope = moody()
        own = guard(microscope)
        microscope.fails["move_stage"] = [RuntimeError("busy")]
        assert own.move_stage((1.0, 0.0)).stage_yx_nm == (1.0, 0.0)
        assert microscope.calls.count("move_stage") == 2
        microscope.fails["move_stage"] = [RuntimeError("busy"), RuntimeError("still busy")]
        with pytest.raises(AcquisitionError, match="still busy"):
            own.move_stage((2.0, 0.0))

    def test_a_scan_is_repeated_only_where_requests_are_remembered(self, guard, moody):
        microscope = moody(remembers_requests=True)
        asked = []
        scan = microscope.acquire
        microscope.acquire = lambda r, t: (asked.append(r.request_id), scan(r, t))[1]
        own = guard(microscope)
        microscope.fails["acquire"] = [ConnectionLost("the wire was cut")]
        assert own.acquire(REQUEST).request == REQUEST
        assert len(asked) == 2
        assert asked[0] == asked[1] != ""

    @pytest.mark.parametrize("verb", ["move_stage", "set_beam_shift"])
    def test_a_move_that_was_clamped_is_noticed(self, guard, moody, verb):
        microscope = moody()
        own = guard(microscope)
        microscope.clamps = True
        with pytest.raises(AcquisitionError, match=r"was sent to \(3, 0\) nm and reads \(0, 0\)"):
            getattr(own, verb)((3.0, 0.0))
        assert microscope._state.blanked

    def test_a_frame_of_another_shape_is_none(self, guard, moody, monkeypatch):
        microscope = moody()
        own = guard(microscope)
        frame = microscope.acquire(REQUEST)
        small = replace(frame, data={"recorded": np.zeros((3, 3), np.float32)})
        monkeypatch.setattr(microscope, "acquire", lambda *_: small)
        with pytest.raises(AcquisitionError, match="was asked for, and"):
            own.acquire(REQUEST)


class TestJournal:
    def test_a_frame_is_on_the_disk_before_it_is_seen(self, guard, moody, journal):
        own = guard(moody())
        for k in range(3):
            frame = own.acquire(REQUEST)
            record = list(read(journal.path))[-1]
            assert record.kind == "frame"
            assert np.array_equal(record.arrays["recorded"], frame.image), k
        assert kinds(journal) == ["open", *["command", "frame"] * 3]

    def test_where_it_cannot_be_written_nothing_is_sent(self, moody, tmp_path):
        microscope = moody()
        journal = Journal(tmp_path / "other")
        own = guarded(microscope, journal=journal)
        own.open()
        journal.close()
        with pytest.raises(JournalError):
            own.acquire(REQUEST)
        assert "acquire" not in microscope.calls
        own.close()

    def test_a_frame_that_cannot_be_kept_is_not_shown_and_ends_it(
        self, guard, moody, journal, monkeypatch
    ):
        microscope = moody()
        own = guard(microscope)
        write = journal.write

        def full(kind, *rest):
            if kind == "frame":
                raise JournalError("no space left")
            return write(kind, *rest)

        monkeypatch.setattr(journal, "write", full)
        with pytest.raises(JournalError, match="no space left"):
            own.acquire(REQUEST)
        assert own.stopped == "no space left"
        assert microscope.state().blanked

    def test_every_command_has_its_answer(self, guard, moody, journal):
        own = guard(moody())
        own.move_stage((1.0, 2.0))
        own.set_beam_shift((0.5, 0.0))
        own.blank(True)
        own.blank(False)
        own.acquire(REQUEST)
        records = list(read(journal.path))
        commands = [r.number for r in records if r.kind == "command"]
        answers = [r.data["to"] for r in records if r.kind in ("state", "frame")]
        assert commands == answers


class TestOwners:
    def test_two_owners_are_one_too_many(self, guard, moody):
        own = guard(moody())
        key = own.lease.take("alice", 60)
        with pytest.raises(LeaseError, match="alice has the microscope"):
            own.lease.take("bob", 60)
        for verb in (lambda: own.acquire(REQUEST), own.state, lambda: own.blank(True)):
            with pytest.raises(LeaseError, match="alice has the microscope"):
                verb()
        assert own.acquire(REQUEST, key=key).image.any()
        assert own.stop().confirmed  # anybody may
        with pytest.raises(LeaseError, match="alice has the microscope"):
            own.rearm()
        own.rearm(key=key)
        own.lease.release(key)
        assert own.blank(False) is not None

    def test_a_lease_that_ran_out_blanks_the_beam(self, guard, moody, journal, eventually):
        microscope = moody()
        own = guard(microscope)
        key = own.lease.take("alice", 0.1)
        eventually(lambda: microscope._state.blanked and own.lease.owner is None)
        with pytest.raises(LeaseError, match="has run out"):
            own.acquire(REQUEST, key=key)
        key = own.lease.take("bob", 60)
        own.blank(False, key=key)
        assert own.acquire(REQUEST, key=key).image.any()
        own.lease.release(key)
        eventually(lambda: "lost" in kinds(journal))

    def test_without_a_sign_of_life_the_beam_is_blanked(self, guard, moody, journal, eventually):
        microscope = moody()
        own = guard(microscope, heartbeat_s=1.0)
        for _ in range(6):
            own.alive()
            time.sleep(0.2)
        assert not microscope._state.blanked
        eventually(lambda: microscope._state.blanked)
        eventually(lambda: "lost" in kinds(journal))
        (lost,) = [r for r in read(journal.path) if r.kind == "lost"]
        assert "no call for" in lost.data["reason"]

    def test_who_waits_for_a_frame_is_not_lost(self, guard, moody):
        microscope = moody()
        microscope.holds = True
        own = guard(microscope, heartbeat_s=0.1)
        thread, brought = in_thread(lambda: own.acquire(REQUEST))
        time.sleep(0.4)
        microscope.go.set()
        thread.join(5)
        assert brought[0].image.any()

    @pytest.mark.parametrize("seconds", [0.0, -1.0, nan, float("inf")])
    def test_a_lease_of_no_time_is_refused(self, seconds):
        with pytest.raises(ValueError, match="above 0 and finite"):
            Lease().take("alice", seconds)


class TestModes:
    def test_a_dry_run_sends_nothing(self, guard, moody, journal):
        microscope = moody()
        own = guard(microscope, dry_run=True)
        frame = own.acquire(REQUEST)
        assert not frame.image.any()
        assert frame.charge_e == microscope.costs.charge_e(REQUEST, 50.0)
        assert own.move_stage((1.0, 0.0)).stage_yx_nm == (1.0, 0.0)
        assert own.set_beam_shift((0.0, 1.0)).beam_shift_yx_nm == (0.0, 1.0)
        assert own.state().stage_yx_nm == (1.0, 0.0)
        assert own.blank(True).blanked
        with pytest.raises(LimitError):
            own.move_stage((1e9, 0.0))
        assert own.stop().answer == UNTOUCHED
        assert microscope.calls == ["state"]
        assert kinds(journal).count("command") == 4

    def test_a_person_approves_of_each_action(self, guard, moody, journal):
        microscope, asked = moody(), []

        def approve(request):
            asked.append(request)
            return isinstance(request, StageMove)

        own = guard(microscope, approve=approve)
        own.move_stage((1.0, 0.0))
        with pytest.raises(RefusedError, match="did not approve of it; nothing was sent"):
            own.acquire(REQUEST)
        assert asked == [StageMove((1.0, 0.0)), REQUEST]
        assert "acquire" not in microscope.calls
        assert kinds(journal)[-1] == "refused"

    def test_what_was_stopped_while_a_person_thinks_is_not_sent(self, guard, moody):
        microscope = moody()
        own = guard(microscope, approve=lambda request: own.stop() is not None)
        with pytest.raises(AbortedError, match="was not sent"):
            own.acquire(REQUEST)
        assert "acquire" not in microscope.calls


class TestTheEnd:
    def test_the_beam_is_blanked_at_the_end_and_after_an_exception(self, moody):
        for trouble in (False, True):
            microscope = moody()
            try:
                with guarded(microscope) as own:
                    own.acquire(REQUEST)
                    if trouble:
                        raise KeyError("a bug elsewhere")
            except KeyError:
                pass
            assert microscope._state.blanked
            assert "close" in microscope.calls

    def test_no_thread_is_left(self, moody, eventually):
        before = threading.active_count()
        for _ in range(10):
            with guarded(moody()) as own:
                own.acquire(REQUEST)
        eventually(lambda: threading.active_count() <= before)

    def test_the_beam_of_one_that_nobody_holds_any_more_is_blanked(self, moody, eventually):
        microscope = moody()
        own = guarded(microscope)
        own.open()
        own.acquire(REQUEST)
        del own
        gc.collect()
        eventually(lambda: microscope._state.blanked)
        eventually(lambda: all(t.name != "watch" for t in threading.enumerate()))

    @pytest.mark.parametrize("end", ["pass", "sys.exit(3)", "raise ValueError('bug')"])
    def test_the_beam_is_blanked_when_the_process_ends(self, end, tmp_path):
        program = f"""
            import sys
            import numpy as np
            from stemscout.hardware.guard import guarded
            from stemscout.simulators.recorded import RecordedMicroscope
            class Telling(RecordedMicroscope):
                def close(self):
                    super().close()
                    print("blanked", self._state.blanked, flush=True)
            image = np.random.default_rng(0).random((64, 64))
            own = guarded(Telling(image, 0.05))
            own.open()
            {end}
        """
        ended = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.stdout == "blanked True\n"


def test_dose_limits_without_a_known_current_are_refused(moody, monkeypatch):
    microscope = moody()
    microscope._state = replace(microscope._state, beam_current_pa=None, current_source=None)
    careful = replace(microscope.capabilities.limits, max_charge_e=1e6)
    with guarded(microscope, careful) as own, pytest.raises(Unsupported, match="beam current"):
        own.acquire(REQUEST)
