"""One episode: recorded so that it can be replayed, whatever the agent does."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from stemscout.agents import catalogue
from stemscout.agents.agent import Agent, Finding, Needs
from stemscout.agents.navigation.scripted import Grid
from stemscout.agents.workflow import Navigated
from stemscout.benchmarks import episode as module
from stemscout.benchmarks.episode import given_up, replayed, run_job
from stemscout.benchmarks.replay import differences
from stemscout.benchmarks.results import row_of
from stemscout.benchmarks.suite import suite_of
from stemscout.envs.episode import Episode

SUITE = {
    "version": 1,
    "about": "a test",
    "environments": ["StemScout/GrapheneDefects-v0"],
    "difficulties": ["easy"],
    "specimens": 1,
    "budget": 0.1,
    "readings": [0.05],
}


def job(name, **change):
    """The contestant's episode of a suite with one agent."""
    return suite_of("x", {**SUITE, **change, "agents": [{"name": name}]}).jobs()[-1]


@pytest.fixture
def agent(monkeypatch):
    """Puts an agent of the test's own into the catalogue, by the name ``own``."""

    def put(kind, *arguments):
        entry = catalogue.Entry(lambda: kind(*arguments), "a test's own")
        monkeypatch.setitem(catalogue.AGENTS, "own", entry)
        return "own"

    return put


class Cells(Navigated):
    """A grid that claims something in every frame, and takes the first claim back later."""

    def __init__(self, fails_at=None, how=None):
        super().__init__(Grid())
        self.fails_at, self.how = fails_at, how

    def reset(self, context, seed):
        super().reset(context, seed)
        self.count = 0

    def act(self, observation):
        if self.count == self.fails_at:
            return self.how()
        return super().act(observation)

    def observe(self, frame):
        super().observe(frame)
        self.count += 1

    def findings(self):
        label = self.context.class_names[0]
        first = 0 if self.count < 5 else 1
        return [Finding(n, np.array([[20.0, 30.0]]), label, 0.5) for n in range(first, self.count)]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"survey": "low"},
        {"variants": [{"name": "worn", "imperfections": "realistic"}]},
        {"environments": ["StemScout/MoS2Defects-v0"], "difficulties": ["hard"]},
    ],
    ids=["as is", "with a survey", "with imperfections", "of another id"],
)
def test_a_record_replays_to_the_bit(agent, change):
    record = json.loads(json.dumps(run_job(job(agent(Cells), **change)), allow_nan=False))
    assert not record["failed"], record["ended"]
    assert record["scores"]["frames"] > 10
    assert record["scores"]["found"] is not None
    assert replayed(record) == record["scores"]


def test_linear_bo_is_asked_about_frames_and_replays_without_being_there(monkeypatch):
    wanted = job("linear-bo", environments=["StemScout/NiOPillars-v0"], budget=0.05, readings=[])
    record = json.loads(json.dumps(run_job(wanted)))
    assert 0.0 <= record["scores"]["flagged"]["average_precision"] <= 1.0
    monkeypatch.delitem(catalogue.AGENTS, "linear-bo")
    assert replayed(record) == record["scores"]


def test_scores_of_a_frame_that_was_not_taken_differ(agent):
    record = json.loads(json.dumps(run_job(job(agent(Cells)))))
    record["trace"]["requests"][3]["centre_yx_nm"] = [0.0, 0.0]
    assert list(differences(record["scores"], replayed(record)))


def test_a_record_of_another_specimen_is_refused(agent):
    record = json.loads(json.dumps(run_job(job(agent(Cells)))))
    record["specimen_digest"] = "0" * 16
    with pytest.raises(ValueError, match="it was made by another version"):
        replayed(record)


def boom():
    raise RuntimeError("the network is down")


def hangs():
    time.sleep(3.0)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (boom, "failed: RuntimeError: the network is down"),
        (lambda: np.array([7.0, 0.0]), "failed: ValueError: the action"),
        (lambda: "rubbish", "failed: ValueError"),
        (hangs, "failed: no decision within 0.5 s"),
    ],
    ids=["raises", "outside the space", "rubbish", "hangs"],
)
def test_an_agent_that_fails_scores_what_it_had_by_then(agent, how, said):
    run_job(job(agent(Cells)))  # compiles what is compiled, so that patience is the agent's
    record = run_job(job(agent(Cells, 6, how)), patience_s=0.5 if how is hangs else 60.0)
    assert record["failed"]
    assert record["ended"].startswith(said)
    assert record["scores"]["frames"] == 6
    assert replayed(json.loads(json.dumps(record))) == json.loads(json.dumps(record["scores"]))


class NoNumbers(Cells):
    def findings(self):
        return [Finding(0, np.array([[1.0, np.nan]]), "si3", 0.5)] if self.count > 2 else []


def test_findings_that_hold_no_numbers_are_a_failure(agent):
    record = run_job(job(agent(NoNumbers)))
    assert record["failed"]
    assert "a finding that holds no numbers" in record["ended"]
    json.dumps(record, allow_nan=False)


class SlowToSay(Cells):
    def target(self, frames):
        if len(frames) > 1:
            time.sleep(3.0)
        return np.zeros(len(frames))


def test_an_agent_that_hangs_over_the_frames_that_all_are_asked_about(agent):
    wanted = job(agent(SlowToSay), environments=["StemScout/NiOPillars-v0"])
    agent(Cells)
    run_job(wanted)  # compiles what is compiled, so that patience is the agent's
    agent(SlowToSay)
    record = run_job(wanted, patience_s=1.0)
    assert record["ended"] == "failed: no decision within 1 s"
    assert record["scores"]["frames"] > 10
    assert record["scores"]["flagged"] is None


class Unmade(Cells):
    def __init__(self):
        raise RuntimeError("no GPU on this worker")


def test_an_agent_that_cannot_be_made_leaves_a_record(agent):
    wanted = job(agent(Cells))  # it could be made when the suite was checked
    agent(Unmade)
    record = run_job(wanted)
    assert record["ended"].startswith("failed: RuntimeError: no GPU on this worker")
    assert record["scores"]["seen"] == 0.0


def test_an_agent_that_stops_is_no_failure(agent):
    record = run_job(job(agent(Cells, 6, lambda: None)))
    assert (record["failed"], record["ended"]) == (False, "the agent had nothing left to do")


class Tiny(Agent):
    """Takes the smallest frames there are, for ever."""

    name = "tiny"

    def __init__(self):
        self.needs = type(self.needs)("operator")

    def reset(self, context, seed):
        pass

    def act(self, observation):
        return np.array([0.0, 0.0, -1.0, -1.0], dtype=np.float32)

    def observe(self, frame):
        pass


def test_frames_end_somewhere(agent, monkeypatch):
    monkeypatch.setattr("stemscout.benchmarks.episode.ALLOWANCE", 2)
    record = run_job(job(agent(Tiny), track="free-frame"))
    assert record["failed"]
    assert "more than" in record["ended"]


def test_a_worker_that_never_came_back_leaves_a_record_too():
    record = given_up(job("grid"), "it has brought down 3 workers")
    assert record["failed"]
    assert record["scores"]["seen"] == record["scores"]["seen_area"] == 0.0
    assert row_of(record)["seen_at_0.05"] == 0.0


def test_thinking_counts_in_time_and_not_in_charge(agent):
    class Slow(Cells):
        def act(self, observation):
            time.sleep(0.05)
            return super().act(observation)

    quick, slow = (run_job(job(agent(kind)))["scores"] for kind in (Cells, Slow))
    assert slow["seen_area"] == quick["seen_area"]
    assert slow["time_s"] > quick["time_s"] + 0.04 * slow["frames"]
    assert slow["latency_ms"]["median"] > 45.0


def test_claiming_counts_as_thinking(agent):
    class SlowToClaim(Cells):
        def findings(self):
            time.sleep(0.02)
            return super().findings()

    record = run_job(job(agent(SlowToClaim)))
    assert min(record["trace"]["latency_s"]) >= 0.02
    assert all(t == round(t, 6) for t in record["trace"]["latency_s"]), "to the µs"


def test_nobody_asks_for_explanations(agent):
    class Mute(Cells):
        def explain(self):
            raise AssertionError("explanations are for people")

    record = run_job(job(agent(Mute)))
    assert not record["failed"], record["ended"]


def test_an_agent_that_exits_ends_itself_and_no_worker(agent):
    def leaves():
        raise SystemExit(3)

    record = run_job(job(agent(Cells, 4, leaves)))
    assert record["failed"]
    assert "SystemExit: 3" in record["ended"]
    assert record["scores"]["frames"] == 4


class Hides(Cells):
    """Asks for the truth, and forgets that it did."""

    def __init__(self):
        super().__init__()
        self.privileged = True

    def reset(self, context, seed):
        super().reset(context, seed)
        self.privileged = False


def test_whoever_was_told_the_truth_is_marked_whatever_it_says_later(agent):
    assert run_job(job(agent(Hides)))["privileged"]


@dataclass(frozen=True)
class More(Needs):
    """What an agent may want, and what it may not."""

    dose: float = 4.0


class Greedy(Cells):
    needs = More()


class Turns(Cells):
    """In the end it wants frames of its own."""

    def __init__(self):
        super().__init__()
        self.needs = Needs("operator")


def test_the_track_is_kept_whatever_an_agent_needs_later(agent):
    record = run_job(replace(job("grid"), agent={"name": agent(Turns)}))
    assert record["ended"].startswith("failed: ValueError: it chooses its own frames")
    assert record["scores"]["frames"] == 0


def test_that_kernels_are_compiled_is_not_the_agents_time(monkeypatch):
    """The first frame in a process is taken before the agent is waited for."""
    real, taken = Episode.take, []

    def take(self, request):
        if not taken:
            time.sleep(1.5)
        taken.append(request)
        return real(self, request)

    monkeypatch.setattr(Episode, "take", take)
    monkeypatch.setattr(module, "_seen_to", cache(lambda *of: []))
    record = run_job(job("grid"), patience_s=1.0)
    assert not record["failed"]
    assert len(taken) == record["scores"]["frames"] + 1


def test_an_agent_has_no_say_in_the_specimen(agent):
    record = run_job(job(agent(Greedy)))
    assert replayed(record) == record["scores"]
