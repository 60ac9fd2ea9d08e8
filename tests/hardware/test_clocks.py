"""Somebody sets the machine's clock while a microscope is driven: nothing comes of it."""

from __future__ import annotations

import time

import pytest

from stemscout.hardware import LimitError
from stemscout.hardware.errors import LeaseError
from stemscout.hardware.guard import guarded
from stemscout.hardware.lease import Lease

LOOKS_S = 0.3  # in which the watch looks a few times
LOST_S = 15.0  # far longer than a lease or a heartbeat here, and shorter than a jump


@pytest.fixture(params=[1e6, -1e6], ids=["forwards", "backwards"])
def set_clock(request, monkeypatch):
    """Sets the clock by so many seconds."""
    now = time.time

    def jump():
        monkeypatch.setattr(time, "time", lambda: now() + request.param)

    return jump


@pytest.fixture
def driven(moody):
    """Makes opened guards, which are closed in the end."""
    made = []

    def make(**options):
        microscope = moody()
        made.append(guarded(microscope, **options))
        made[-1].open()
        return microscope, made[-1]

    yield make
    for each in made:
        each.close()


def test_a_lease_ends_when_it_would_have_ended(monkeypatch, set_clock):
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    lease = Lease()
    key = lease.take("alice", 10)
    set_clock()
    for _ in range(3):  # a sign of life each
        now += 9
        lease.check(key)
        assert lease.ran_out is None
    now += 11
    with pytest.raises(LeaseError, match="has run out"):
        lease.check(key)
    assert lease.ran_out == "alice"
    with pytest.raises(LeaseError, match="is being made safe; ask again"):
        lease.take("bob", 10)
    lease.end()
    assert lease.take("bob", 10)


def test_whoever_has_a_lease_keeps_it_and_loses_it_in_time(driven, set_clock, eventually):
    microscope, own = driven()
    own.lease.take("alice", 2.0)
    set_clock()
    time.sleep(LOOKS_S)
    assert own.lease.owner == "alice"
    assert not microscope._state.blanked
    eventually(lambda: microscope._state.blanked and own.lease.owner is None, LOST_S)


def test_whoever_was_heard_of_is_not_lost_and_whoever_falls_silent_is(
    driven, set_clock, eventually
):
    microscope, own = driven(heartbeat_s=2.0)
    own.alive()
    set_clock()
    time.sleep(LOOKS_S)
    assert own.secured is None
    eventually(lambda: microscope._state.blanked, LOST_S)


def test_the_stage_moves_as_slowly_as_it_is_to(driven, set_clock):
    _, own = driven(limits={"stage_speed_nm_per_s": 1.0})
    own.move_stage((1.0, 0.0))
    set_clock()
    with pytest.raises(LimitError, match="stage speed"):
        own.move_stage((5.0, 0.0))
    time.sleep(0.1)
    assert own.move_stage((1.05, 0.0)).stage_yx_nm == (1.05, 0.0)
