"""One navigator on one target: run, scored, recorded so that anybody can score it again.

A hunt is an episode of a suite without a microscope: the navigator is told the noisy value of
every candidate that it has chosen, and the truth is known.

Scores at 50, 100, 200 and 500 observations are those of a prefix; after an early end they stay
what they were.  The time of a decision counts at N observations if it was taken with more than
0.8 N and at most N of them; where some were told first, all decisions count at their number.
A batch is one decision.  Scores follow from the record's trace, as those of episodes do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.navigation.navigator import Candidates, Navigator, Situation
from ..hardware.microscope import ScanRequest
from .contest import COUNTS, PREFIX, Length
from .episode import PATIENCE_S, Record, patiently, said
from .rivals import contestant
from .suite import Job
from .targets import SIDE, Target, context_for, make_target
from .threads import one_thread

Indices = NDArray[np.int64]
RECENT = 0.8  # of a count, above which decisions belong to it
GROWN = (100, 500)  # between these the memory is watched
NEAR = 3.0  # steps from a measured candidate within which a bump would have been noticed
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Trace:
    """What happened.

    Attributes:
        requests: every frame that the navigator asked for, as the fields of ``ScanRequest``.
        taken: frames of each decision: one, or a batch.
        latency_s: of each decision, to the µs.
        peak_mb: highest memory of the process until so many observations; where it is told.
        findings, claimed: none; records of all kinds have them.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    peak_mb: dict[str, float] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    claimed: list[list[int] | None] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """One decision: what was asked for, and the time it took; None where nothing was left."""

    requests: tuple[ScanRequest, ...] | None
    latency_s: float


def told_first(target: Target, count: int) -> Indices:
    """Candidates (count,) that a navigator is told of before it chooses: the same for all."""
    rng = np.random.default_rng(np.random.SeedSequence(target.seed, spawn_key=(2,)))
    return rng.permutation(SIDE * SIDE)[:count]


def hunt(navigator: Navigator, target: Target, length: Length) -> Iterator[Choice]:
    """Let a navigator loose on a target, one decision after another.

    Raises:
        ValueError: a decision of no frames, or of frames outside the field.
    """
    context = context_for(length.observations)
    candidates = Candidates.of(context)
    observed = target.observed.ravel()
    measured = told_first(target, length.told)
    navigator.reset(context, np.random.default_rng(np.random.SeedSequence(target.seed)))
    most = length.decisions or length.observations
    while len(measured) < length.observations and most > 0:
        most -= 1
        situation = Situation(
            measured_yx_nm=candidates.centres_yx_nm[measured],
            targets=observed[measured],
            dose=np.ones(len(measured)),
            left=length.observations - len(measured),
        )
        began = time.perf_counter()
        decision = navigator.decide(situation)
        took = time.perf_counter() - began
        if decision is None:
            yield Choice(None, took)
            return
        if not decision.requests:
            raise ValueError(f"{navigator.name} decided upon no frame")
        requests = decision.requests[: length.observations - len(measured)]
        measured = np.concatenate([measured, _indices(candidates, requests)])
        yield Choice(requests, took)


def _indices(candidates: Candidates, requests: tuple[ScanRequest, ...]) -> Indices:
    """The candidates (k,) that frames are nearest to, and so measure."""
    centres = np.array([r.centre_yx_nm for r in requests], dtype=np.float64).reshape(-1, 2)
    low, high = candidates.centres_yx_nm.min(axis=0), candidates.centres_yx_nm.max(axis=0)
    if not ((centres >= low - 1e-9) & (centres <= high + 1e-9)).all():
        raise ValueError(f"a frame at {centres.tolist()} nm, and the field ends at {high.tolist()}")
    return candidates.nearest(centres)


def run_job(job: Job, patience_s: float = PATIENCE_S) -> Record:
    """Run a hunt and score it; one that fails scores what it had by then, and ``ended`` says so."""
    began, cpu = time.perf_counter(), time.process_time()
    trace, ended, privileged = Trace(), "all observations were made", False
    length = Length.of(job.options)
    target = target_of(job)
    with one_thread():
        try:
            (navigator,) = patiently(iter([job]), patience_s, lambda of: contestant(**of.agent))
            privileged = navigator.privileged
            _forget_peak()
            at = length.told
            for choice in patiently(hunt(navigator, target, length), patience_s):
                trace.taken.append(len(choice.requests or ()))
                trace.latency_s.append(round(choice.latency_s, 6))
                trace.requests += [asdict(r) for r in choice.requests or ()]
                before, at = at, at + trace.taken[-1]
                peak = _peak_mb()
                trace.peak_mb |= {str(n): peak for n in GROWN if peak and before < n <= at}
                if choice.requests is None:
                    ended = "the navigator had nothing left to do"
        except Exception as error:
            ended = f"failed: {said(error)}"
    seconds = time.perf_counter() - began, time.process_time() - cpu
    return _record(job, target, trace, ended, privileged, seconds)


def given_up(job: Job, reason: str) -> Record:
    """The record of a hunt that nothing came back from."""
    return _record(job, target_of(job), Trace(), f"failed: {reason}", False, (0.0, 0.0))


def target_of(job: Job) -> Target:
    """The target of a job; its environment names it, and its specimen is the seed."""
    return make_target(job.environment.removeprefix(PREFIX), job.specimen)


def _record(
    job: Job,
    target: Target,
    trace: Trace,
    ended: str,
    privileged: bool,
    seconds: tuple[float, float],
) -> Record:
    return {
        "job": asdict(job),
        "ended": ended,
        "failed": ended.startswith("failed"),
        "privileged": privileged,
        "specimen_digest": target.digest,
        "scores": scores(target, trace, Length.of(job.options)),
        "trace": asdict(trace),
        "wall_s": seconds[0],
        "cpu_s": seconds[1],
    }


def replayed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a record, from its trace alone.

    Raises:
        ValueError: its target is not the one that these versions make, or what it tells
            cannot have happened.
    """
    job, trace = Job.of(record["job"]), Trace(**record["trace"])
    target = target_of(job)
    if target.digest != record["specimen_digest"]:
        raise ValueError(
            f"target {target.name} of seed {target.seed} is {target.digest} here, and was "
            f"{record['specimen_digest']}; it was made by another version"
        )
    if sum(trace.taken) != len(trace.requests) or len(trace.taken) != len(trace.latency_s):
        raise ValueError("its decisions are not those that took its frames")
    return scores(target, trace, Length.of(job.options))


def scores(target: Target, trace: Trace, length: Length) -> dict[str, Any]:
    """What a hunt came to.

    Returns:
        `frames`, and `repeats`: how many of them measured a candidate that was measured before.
        `median_ms` and `p95_ms` by count: of the decisions that belong to it.
        `regret` by count: what the best measured candidate falls short of the greatest
            value, both without noise, over the range of values; None where there is no range.
        `share` by count: of the features, found; None without features.
        `covered` by count: share of the candidates within 3 steps of a measured one.
        `area`: under the share found against observations, over all that may be made.
        `grown_mb`: by how much the highest memory grew from 100 to 500 observations.
        `curve`: the observation at which each feature found was found, and of how many.

        Where some were told first, there are frames, repeats and times alone.
    """
    candidates = Candidates.of(context_for(length.observations))
    requests = tuple(ScanRequest.of(r) for r in trace.requests)
    told = told_first(target, length.told)
    taken = _indices(candidates, requests) if requests else np.zeros(0, dtype=np.int64)
    measured = np.concatenate([told, taken])
    _, first = np.unique(measured, return_index=True)
    again = int((~np.isin(np.arange(len(told), len(measured)), first)).sum())
    found: dict[str, Any] = {"frames": len(taken), "repeats": again, **_times(trace, length)}
    if length.told:
        return found
    counts = [n for n in COUNTS if n <= length.observations]
    at = found_at(target, measured)
    there = len(target.features)
    share = np.searchsorted(np.sort(at), np.arange(1, length.observations + 1), side="right")
    peaks = [trace.peak_mb.get(str(n)) for n in GROWN]
    return found | {
        "regret": {str(n): _regret(target, measured[:n]) for n in counts},
        "share": {str(n): float(share[n - 1] / there) if there else None for n in counts},
        "covered": {str(n): _covered(measured[:n]) for n in counts},
        "area": float(share.mean() / there) if there else None,
        "features": there,
        "grown_mb": None if None in peaks else peaks[1] - peaks[0],  # type: ignore[operator]
        "curve": {"at": [int(n) for n in np.sort(at[np.isfinite(at)])], "of": there},
    }


def found_at(target: Target, measured: Indices) -> NDArray[np.float64]:
    """The observation, from 1, at which each feature was found; infinite where it was not."""
    order = np.full(SIDE * SIDE, np.inf)
    # The first counts: written last.
    order[measured[::-1]] = np.arange(len(measured), 0, -1)
    return np.array([order[feature].min() for feature in target.features])


def _regret(target: Target, measured: Indices) -> float | None:
    span = float(np.ptp(target.values))
    if span == 0.0:
        return None
    best = target.values.ravel()[measured].max() if len(measured) else target.values.min()
    return float((target.values.max() - best) / span)


def _covered(measured: Indices) -> float:
    from scipy.ndimage import distance_transform_edt

    if not len(measured):
        return 0.0
    free = np.ones(SIDE * SIDE, dtype=bool)
    free[measured] = False
    return float((distance_transform_edt(free.reshape(SIDE, SIDE)) <= NEAR).mean())


def _times(trace: Trace, length: Length) -> dict[str, Any]:
    """Median and 95th percentile of the time of decisions, by number of observations."""
    took = np.array(trace.latency_s, dtype=np.float64) * 1e3
    taken = np.array(trace.taken, dtype=np.int64)
    known = length.told + taken.cumsum() - taken  # when each decision was taken
    if length.told:
        by = {length.told: took}
    else:
        counts = [n for n in COUNTS if n <= length.observations]
        by = {n: took[(known > RECENT * n) & (known <= n)] for n in counts}
    return {
        "median_ms": {str(n): float(np.median(t)) if len(t) else None for n, t in by.items()},
        "p95_ms": {str(n): float(np.percentile(t, 95)) if len(t) else None for n, t in by.items()},
    }


def _forget_peak() -> None:
    """Let the process's highest memory begin anew, where the system can: Linux."""
    with suppress(OSError):
        CLEAR.write_text("5")


def _peak_mb() -> float | None:
    """The highest memory of this process since; None where the system does not tell."""
    try:
        line = next(li for li in STATUS.read_text().splitlines() if li.startswith("VmHWM"))
    except (OSError, StopIteration):
        return None
    return int(line.split()[1]) / 1024
