"""One episode of a suite: run, scored, recorded so that anybody can replay it.

A record is plain data, as JSON holds it.  Scores follow from the trace alone: from the
frames that were asked for, the findings after each of them and the time the agent took
over it.  So ``replayed`` needs no agent: it takes the same frames on the same specimen
and scores them again.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, TypeVar

import numpy as np

from ..agents.agent import Agent, Finding
from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment, Step
from ..envs.registration import make_env
from ..envs.scan_env import ScanEnv
from ..hardware.microscope import ScanRequest
from ..simulators.simulated import SimulatedMicroscope
from .grades import grades
from .scores import flagged
from .suite import FREE, TRACKS, Job
from .threads import one_thread

Record = dict[str, Any]
Given = TypeVar("Given")
PATIENCE_S = 300.0  # for one decision: then the agent hangs
ALLOWANCE = 20  # frames, in those that the budget pays for, and then it is enough


@dataclass
class Trace:
    """What happened, step by step.

    Attributes:
        requests: every frame asked for, as the fields of ``ScanRequest``.
        latency_s: the agent's time for each, to the µs: what is below is noise, and noise takes
            most of a record's place.
        findings: all that were ever claimed, each once.
        claimed: after each frame the indices of those that stood; None where they had not
            changed.
        target: the agent's target of the frames that ``flagged`` shows it; None without one.
    """

    requests: list[dict[str, Any]]
    latency_s: list[float]
    findings: list[dict[str, Any]]
    claimed: list[list[int] | None]
    target: list[float] | None = None

    @classmethod
    def empty(cls) -> Trace:
        return cls([], [], [], [])

    def add(self, step: Step, known: dict[str, int]) -> None:
        """Take note of a step; ``known`` has the index of every finding by its content."""
        standing = []
        for finding in step.findings:
            points = np.asarray(finding.points_px, dtype=np.float64)
            if not (np.isfinite(points).all() and np.isfinite(finding.confidence)):
                raise ValueError(f"a finding that holds no numbers: {finding!r}")
            entry = {
                "frame": int(finding.frame),
                "points_px": points.tolist(),
                "label": str(finding.label),
                "confidence": float(finding.confidence),
            }
            index = known.setdefault(repr(entry), len(self.findings))
            if index == len(self.findings):
                self.findings.append(entry)
            standing.append(index)
        self.requests.append(asdict(step.request))
        self.latency_s.append(round(step.latency_s, 6))
        before = next((c for c in reversed(self.claimed) if c is not None), [])
        self.claimed.append(None if standing == before else standing)

    def standing(self) -> Iterator[list[Finding]]:
        """The findings after each frame."""
        all_of_them = [
            Finding(f["frame"], np.array(f["points_px"]), f["label"], f["confidence"])
            for f in self.findings
        ]
        now: list[Finding] = []
        for indices in self.claimed:
            if indices is not None:
                now = [all_of_them[k] for k in indices]
            yield now


def run_job(job: Job, patience_s: float = PATIENCE_S) -> Record:
    """Run an episode and score it.

    An agent that raises, returns rubbish, hangs or goes on for ever scores what it had by
    then, and ``ended`` says so.
    """
    began, cpu = time.perf_counter(), time.process_time()
    trace, ended = Trace.empty(), "the budget was spent"
    with one_thread():
        try:
            (agent,) = patiently(iter([job]), patience_s, lambda of: make_agent(**of.agent))
            env = environment_of(job, agent)
            if job.track == TRACKS[0] and agent.needs.action == FREE:
                raise ValueError(f"it chooses its own frames, and the track is {job.track}")
            _compiled(env, job)
        except Exception as error:
            return given_up(job, said(error))
        experiment = Experiment(env, agent, job.specimen, explain=False)
        known: dict[str, int] = {}
        most = 0
        try:
            for step in patiently(experiment, patience_s):
                trace.add(step, known)
                if step.index == 0:  # what the budget pays for is known once there is an episode
                    most = ALLOWANCE * experiment.context().frames
                if len(trace.requests) >= most:
                    ended = f"failed: more than {len(trace.requests)} frames"
                    break
            else:
                if not env.episode.exhausted and not env.episode.task.done:
                    ended = "the agent had nothing left to do"
            if not ended.startswith("failed"):
                (trace.target,) = patiently(iter([agent]), patience_s, lambda of: _asked(of, env))
        except Exception as error:
            ended = f"failed: {said(error)}"
        if not trace.requests:  # it may have failed before there was an episode
            env.reset(seed=job.specimen)
        scores = grades(env.episode, env.truth, trace, job, claims=_claims(agent))
    seconds = time.perf_counter() - began, time.process_time() - cpu
    privileged = agent.privileged or experiment.told_truth
    return _record(job, env, privileged, trace, scores, ended, seconds)


@cache
def _seen_to(environment: str, options: str) -> list[bool]:
    return []


def _compiled(env: ScanEnv, job: Job) -> None:
    """Take a first frame in this process: that kernels are compiled is not the agent's time."""
    done = _seen_to(job.environment, repr(job.options))
    if not done:
        env.reset(seed=job.specimen)
        env.episode.take(env.episode.reference.at((0.0, 0.0)))
        done.append(True)


def given_up(job: Job, reason: str) -> Record:
    """The record of an episode that nothing came back from, not even an agent."""
    trace, env = Trace.empty(), environment_of(job, None)
    env.reset(seed=job.specimen)
    scores = grades(env.episode, env.truth, trace, job, claims=False)
    return _record(job, env, False, trace, scores, f"failed: {reason}", (0.0, 0.0))


def _record(
    job: Job,
    env: ScanEnv,
    privileged: bool,
    trace: Trace,
    scores: dict[str, Any],
    ended: str,
    seconds: tuple[float, float],
) -> Record:
    shown = env.episode.microscope
    assert isinstance(shown, SimulatedMicroscope)
    return {
        "job": asdict(job),
        "ended": ended,
        "failed": ended.startswith("failed"),
        "privileged": privileged,
        "specimen_digest": shown.world.specimen.digest,
        "scores": scores,
        "trace": asdict(trace),
        "wall_s": seconds[0],
        "cpu_s": seconds[1],
    }


def replayed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a record, from its trace alone.

    Raises:
        ValueError: its specimen is not the one that these versions make.
    """
    with one_thread():
        env, trace = retaken(record)
        claims = record["scores"]["found"] is not None
        return grades(env.episode, env.truth, trace, Job.of(record["job"]), claims=claims)


def retaken(record: Mapping[str, Any]) -> tuple[ScanEnv, Trace]:
    """The environment of a record with its frames taken, and what else happened in it.

    Raises:
        ValueError: its specimen is not the one that these versions make, or a frame is none of
            its track.
    """
    job, trace = Job.of(record["job"]), Trace(**record["trace"])
    env = environment_of(job, None)
    env.reset(seed=job.specimen)
    shown = env.episode.microscope
    assert isinstance(shown, SimulatedMicroscope)
    found = shown.world.specimen.digest
    if found != record["specimen_digest"]:
        raise ValueError(
            f"specimen {job.specimen} of {job.environment} is {found} here, and was "
            f"{record['specimen_digest']}; it was made by another version"
        )
    for given in trace.requests:
        request = ScanRequest.of(given)
        if job.track == TRACKS[0] and request != env.episode.reference.at(request.centre_yx_nm):
            raise ValueError(f"a frame that is no reference frame, and the track is {job.track}")
        env.episode.take(request)
    return env, trace


def environment_of(job: Job, agent: Agent | None) -> ScanEnv:
    """The environment of a job, built for what an agent needs."""
    needs: dict[str, Any] = {}
    if agent is not None:  # no more than these two: the rest is the suite's
        needs = {"action": agent.needs.action, "observation": agent.needs.observation}
    return make_env(
        job.environment,
        difficulty=job.difficulty,
        split=job.split,
        budget=job.budget,
        survey=job.survey,
        terminate_when_done=False,
        **needs,
        **job.options,
    )


class Hangs(RuntimeError):
    """An agent has taken longer over a decision than anybody waits."""


def patiently(
    things: Iterable[Given], patience_s: float, do: Callable[[Given], Any] = lambda thing: thing
) -> Iterator[Any]:
    """What is done with each of some things, each awaited for so long and no longer.

    The agent works in a thread of its own, one step at a time: one that hangs cannot be
    stopped, and is left behind.  What it raises is raised here.
    """
    steps: queue.Queue[tuple[Any, BaseException | None] | None] = queue.Queue()
    turn, over = threading.Semaphore(0), threading.Event()

    def work() -> None:
        try:
            with one_thread():
                turn.acquire()
                for thing in things:
                    steps.put((do(thing), None))
                    turn.acquire()
                    if over.is_set():
                        return
            steps.put(None)
        except Exception as error:
            steps.put((None, error))
        except BaseException as error:  # sys.exit() ends the agent, and not the worker
            ended = RuntimeError(f"{type(error).__name__}: {error}")
            steps.put((None, ended.with_traceback(error.__traceback__)))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            turn.release()
            try:
                step = steps.get(timeout=patience_s)
            except queue.Empty:
                raise Hangs(f"no decision within {patience_s:g} s") from None
            if step is None:
                return
            done, error = step
            if error is not None:
                raise error
            yield done
    finally:
        over.set()
        turn.release()


def _asked(agent: Agent, env: ScanEnv) -> list[float] | None:
    """What the agent thinks of the frames that all are asked about."""
    microscope = env.episode.microscope
    assert isinstance(microscope, SimulatedMicroscope)
    result = flagged(agent, microscope, env.episode.reference)
    return None if result is None else list(result.target)


def _claims(agent: Agent) -> bool:
    """Whether an agent claims features at all."""
    return type(agent).findings is not Agent.findings


def said(error: BaseException) -> str:
    """An error in one line, with where it was raised."""
    if isinstance(error, Hangs):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    at = f" ({frames[-1].name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{at}".replace("\n", " ")[:400]
