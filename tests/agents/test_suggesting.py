"""Our devices and agents under a real RunEngine and bluesky-adaptive's plans."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

pytest.importorskip("bluesky", reason="bluesky is not installed: stemscout[bluesky]")
adaptive = pytest.importorskip("bluesky_adaptive.plans")

from bluesky import RunEngine  # noqa: E402
from bluesky.plan_stubs import mv, trigger_and_read  # noqa: E402
from bluesky.plans import count  # noqa: E402
from bluesky.preprocessors import run_decorator, stage_decorator  # noqa: E402
from bluesky.protocols import Movable, Pausable, Readable, Stageable, Stoppable  # noqa: E402
from bluesky.utils import FailedStatus, RunEngineInterrupted  # noqa: E402
from bluesky_adaptive.protocols import (  # noqa: E402
    OptimizationProblem,
    Optimizer,
    SupportsStoppingCriteria,
)

from stemscout.agents.catalogue import make_agent  # noqa: E402
from stemscout.agents.experiment import Experiment  # noqa: E402
from stemscout.agents.suggesting import Suggesting  # noqa: E402
from stemscout.envs.live import LiveEnv  # noqa: E402
from stemscout.hardware import AbortedError, ScanRequest  # noqa: E402
from stemscout.hardware.bluesky_devices import Coordinate, Done, ScanDetector  # noqa: E402
from stemscout.hardware.guard import guarded  # noqa: E402
from stemscout.simulators.recorded import RecordedMicroscope  # noqa: E402

FRAME = ScanRequest((0.0, 0.0), (1.0, 1.0), (20, 20), 10.0, detectors=("recorded",))


class Held(RecordedMicroscope):
    """Its scans wait until they are aborted or let go."""

    def __init__(self, image):
        super().__init__(image, 0.05)
        self.holds, self.scanning = False, threading.Event()
        self.aborted, self.go = threading.Event(), threading.Event()

    def acquire(self, request, timeout_s=60.0):
        self.scanning.set()
        if self.holds:
            self.aborted.clear()
            while not self.go.wait(0.001):
                if self.aborted.is_set():
                    raise AbortedError("the scan was aborted")
        return super().acquire(request, timeout_s)

    def abort(self):
        self.aborted.set()


@pytest.fixture
def detector(lattice_image):
    own = guarded(Held(lattice_image))
    own.open()
    yield ScanDetector(own, FRAME)
    own.microscope.go.set()
    own.close()


@pytest.fixture
def engine():
    return RunEngine(call_returns_result=True)


def test_they_are_what_bluesky_takes(detector):
    assert isinstance(detector, Readable)
    assert isinstance(detector, Stageable)
    assert isinstance(detector, Pausable)
    assert isinstance(detector, Stoppable)
    assert isinstance(detector.y, Movable)
    assert isinstance(detector.y, Readable)


def test_a_run_takes_frames_where_it_was_told(engine, detector):
    documents = []

    @stage_decorator([detector])
    @run_decorator()
    def plan():
        for y, x in ((0.0, 0.0), (2.0, -1.5)):
            yield from mv(detector.y, y, detector.x, x)
            yield from trigger_and_read([detector, detector.y, detector.x])

    engine(plan(), lambda name, document: documents.append((name, document)))
    events = [d for name, d in documents if name == "event"]
    assert [(e["data"]["stem_y"], e["data"]["stem_x"]) for e in events] == [(0, 0), (2.0, -1.5)]
    for event in events:
        frame = detector.frame_of(event["data"]["stem_uid"])
        assert np.array_equal(event["data"]["stem_recorded"], frame.image)
    assert frame.request.centre_yx_nm == (2.0, -1.5)
    assert detector.microscope.state().blanked


def test_a_pause_aborts_the_frame_and_it_is_taken_again(engine, detector):
    microscope = detector.microscope.microscope
    microscope.holds = True

    def pause():
        assert microscope.scanning.wait(5)
        engine.request_pause(defer=False)

    thread = threading.Thread(target=pause)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        engine(count([detector], 1))
    thread.join()
    assert microscope.aborted.is_set()
    assert engine.state == "paused"
    microscope.holds = False
    detector.microscope.blank(False)
    result = engine.resume()
    assert result.exit_status == "success"
    assert detector.latest[1].image.any()
    assert detector.microscope.state().blanked


def test_an_aborted_run_aborts_the_scan_and_blanks(engine, detector):
    microscope = detector.microscope.microscope
    microscope.holds = True

    def stop():
        assert microscope.scanning.wait(5)
        engine.request_pause(defer=False)

    threading.Thread(target=stop).start()
    with pytest.raises(RunEngineInterrupted):
        engine(count([detector], 1))
    engine.abort()
    assert detector.microscope.state().blanked


def test_unstaging_in_mid_scan_aborts_it_before_it_blanks(engine, detector):
    """Whatever ended the plan; no pause came before, and nobody else aborts."""
    microscope = detector.microscope.microscope
    microscope.holds = True
    under_way = []

    def plan():
        under_way.append(detector.trigger())
        assert microscope.scanning.wait(5)
        yield from ()
        raise KeyError("a bug of the plan")

    with pytest.raises(KeyError, match="a bug of the plan"):
        engine(stage_decorator([detector])(plan)())
    assert microscope.aborted.is_set()
    assert isinstance(under_way[0].exception(), AbortedError)
    assert detector.microscope.state().blanked


def test_a_frame_that_fails_ends_the_run_and_blanks(engine, detector, monkeypatch):
    def fail(*_):
        raise OSError("0x80004005")

    monkeypatch.setattr(detector.microscope.microscope, "acquire", fail)
    with pytest.raises(FailedStatus):
        engine(count([detector], 1))
    assert detector.microscope.state().blanked


def test_a_status_tells_those_who_come_late(detector):
    status, told = Done(), []
    with pytest.raises(TimeoutError):
        status.exception(0.01)
    status.add_callback(told.append)
    status.finish(ValueError("no"))
    status.add_callback(told.append)
    assert told == [status, status]
    assert status.done
    assert not status.success
    assert isinstance(status.exception(), ValueError)
    assert Coordinate("y").set(3.0).success


class TestSuggesting:
    @pytest.mark.parametrize("name", ["linear-bo", "grid", "random"])
    def test_under_bluesky_adaptive_it_goes_where_it_would_anyhow(
        self, engine, detector, lattice_image, name
    ):
        own = Suggesting(make_agent(name), detector, seed=3, frames=9)
        assert isinstance(own, Optimizer)
        assert isinstance(own, SupportsStoppingCriteria)
        problem = OptimizationProblem(own, [detector.y, detector.x], [detector], own.evaluate)
        detector.stage()
        engine(adaptive.optimize(problem, iterations=None))
        detector.unstage()
        went = [f.request.centre_yx_nm for f in own.env.episode.history]
        alone = guarded(RecordedMicroscope(lattice_image, 0.05))
        agent = make_agent(name)
        env = LiveEnv(
            alone, action=agent.needs.action, observation=agent.needs.observation,
            frame_nm=1.0, frame_px=20, dwell_us=10.0, frames=9,
        )  # fmt: skip
        steps = Experiment(env, agent, seed=3).run()
        env.close()
        assert np.allclose(went, [s.request.centre_yx_nm for s in steps])
        assert own.should_stop() == (True, "the budget is spent")
        if name == "linear-bo":
            ((number, where, outcome),) = own.get_best_points()
            assert 1 <= number <= 9
            assert set(where) == {"stem_y", "stem_x"}
            assert np.isfinite(outcome["target"])
        else:
            assert own.get_best_points() == []

    def test_it_refuses_what_it_cannot(self, detector):
        own = Suggesting(make_agent("random"), detector, frames=2)
        with pytest.raises(ValueError, match="suggests one frame at a time"):
            own.suggest(3)
        with pytest.raises(ValueError, match="was not suggested here"):
            own.ingest([{"_id": 99, "target": 1.0}])

    def test_after_the_budget_it_suggests_nothing(self, detector):
        own = Suggesting(make_agent("random"), detector, frames=1)
        (point,) = own.suggest()
        detector.y.set(point["stem_y"])
        detector.x.set(point["stem_x"])
        status = detector.trigger()
        deadline = time.monotonic() + 5
        while not status.done and time.monotonic() < deadline:
            time.sleep(0.01)
        own.ingest(own.evaluate("uid", [point]))
        with pytest.raises(ValueError, match="suggests nothing more: the budget is spent"):
            own.suggest()
