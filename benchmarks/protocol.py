"""The paper's protocol on one picture: run, scored, recorded so that anybody can score it again.

A picture has been scanned; what a workflow "measures" is one of its windows after another, in
batches (``agents/navigation/paper.py``).  After each batch the belief, a Gaussian process's mean
at every candidate, is held against the *true map*: the workflow's own target, with descriptors
that were fitted on all windows.

Steps are counted as the paper counts them: step n is the belief by which the n-th batch is
chosen, from the seed and n - 1 batches; step 1 is the seed's alone.  What was collected at step
n is what n batches have collected.

With descriptors fitted online sign, scale and zero of a component are free.  So its belief is
carried into the true map's units first, by the straight line that fits best over the windows
measured so far, which is all that anybody could check it on; with descriptors fitted on all
windows it is in these units already.  Both are then scaled alike, so that the true map goes from
0 to 1, and compared (``similarity``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.navigation.gp import Belief
from ..agents.navigation.navigator import Candidates, Situation
from ..agents.navigation.paper import Paper
from ..agents.outliers import otsu
from ..agents.workflow import Workflow
from ..hardware.microscope import ScanRequest
from .episode import PATIENCE_S, Record, patiently, said
from .pictures import RECORDED, SIDE, Picture, make_picture
from .similarity import structural_similarity
from .suite import Job
from .threads import one_thread
from .workflows import PREFIX, Setting

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
STEPS = (2, 10, 20, 30, 50)  # at which runs are read, as the paper's curve is
SHOWN = (2, 10, 30, 50)  # of which uncertainty is kept, for figures
LEVELS = 1000  # of a belief that is kept, over its range: what is finer nobody sees
BORDER = 3  # candidates along each edge that the notebooks do not count

Map = dict[str, Any]


@dataclass
class Trace:
    """What happened.

    Attributes:
        requests: every window, as the fields of the navigator's ``ScanRequest`` about its centre.
        taken: windows of the seed, and of each batch after it.
        latency_s: of each, the fits of perception and process after it included.
        truth: (841,) the true map.
        means: of the beliefs, from that by the seed alone on, as ``kept`` keeps a map.
        sigmas: of the steps in ``SHOWN``, by step.
        findings, claimed: none; records of all kinds have them.
    """

    requests: list[dict[str, Any]] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    latency_s: list[float] = field(default_factory=list)
    truth: list[float] = field(default_factory=list)
    means: list[Map] = field(default_factory=list)
    sigmas: dict[str, Map] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    claimed: list[list[int] | None] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Batch:
    """One decision, what is believed once it was carried out, and the time that both took."""

    requests: tuple[ScanRequest, ...]
    latency_s: float
    belief: Belief


class Windows:
    """What a workflow reads at the windows of a picture.

    Args:
        picture: that was scanned.
        setting: of the workflow.
        seed: of what is drawn in a run; what is fitted on all windows has seed 0, so that all
            runs on a picture have the same true map.
    """

    def __init__(self, picture: Picture, setting: Setting, seed: int) -> None:
        self.picture, self.setting, self.seed = picture, setting, seed
        self.workflow: Workflow = setting.made()
        navigator = self.workflow.navigator
        assert isinstance(navigator, Paper)
        self.navigator = navigator
        frames = (navigator.seeds.count or 1) + navigator.steps * navigator.batch
        self.context = picture.context(min(frames, SIDE**2))
        self.truth = true_map(picture, setting)

    def readings(self, measured: Indices) -> Floats:
        """The targets (k,) of the windows measured so far, by what is known now."""
        if self.setting.oracle_descriptors:
            return self.truth[measured]
        if len(measured) < 2:  # there is nothing to tell apart
            return np.full(len(measured), np.nan)
        perception, pursued = self.workflow.perception, self.workflow.scalarizer
        every = features_of(self.picture, self.setting)
        own = [every[k] for k in measured]
        candidates = self.navigator.candidates
        shares = candidates.shares(candidates.centres_yx_nm[measured])
        perception.fit(own, shares)
        pieces = perception.describe(own)
        pursued.fit(pieces, shares)
        return pursued(pieces)

    def run(self) -> Iterator[Batch]:
        """The protocol, one batch after another, the seed first."""
        self.navigator.reset(self.context, np.random.default_rng(np.random.SeedSequence(self.seed)))
        self.workflow.perception.reset(self.context, self.seed)
        self.workflow.scalarizer.check(self.workflow.perception.names)
        candidates = self.navigator.candidates
        measured, readings = np.zeros(0, dtype=np.int64), np.zeros(0)
        while True:
            began = time.perf_counter()
            decision = self.navigator.decide(self._situation(measured, readings))
            if decision is None:
                return
            centres = np.array([r.centre_yx_nm for r in decision.requests])
            measured = np.concatenate([measured, candidates.nearest(centres)])
            # Once for each batch: by being asked, an online fit learns.
            readings = self.readings(measured)
            belief = self.navigator.believe(self._situation(measured, readings))
            yield Batch(decision.requests, time.perf_counter() - began, belief)

    def _situation(self, measured: Indices, readings: Floats) -> Situation:
        centres = self.navigator.candidates.centres_yx_nm
        left = max(1, self.context.frames - len(measured))
        return Situation(centres[measured], readings, np.ones(len(measured)), left)


def picture_of(job: Job) -> Picture:
    """The picture of a job; a recorded one is the same whatever the seed."""
    name = job.environment.removeprefix(PREFIX)
    return make_picture(name, 0 if name in RECORDED else job.specimen)


def true_map(picture: Picture, setting: Setting) -> Floats:
    """The target (841,) of every window, descriptors fitted on all of them."""
    return _true_map(picture, _plain(setting), setting.beforehand)


def features_of(picture: Picture, setting: Setting) -> Sequence[Any]:
    """What the perception keeps of every window, in the order of the candidates."""
    return _features(picture, _plain(setting))


def _plain(setting: Setting) -> str:
    """What decides what is seen, for the caches: all but the navigator's options."""
    navigator = setting.made().navigator.settings
    return json.dumps({k: v for k, v in setting.options.items() if k not in navigator})


@lru_cache(maxsize=4)
def _features(picture: Picture, plain: str) -> Sequence[Any]:
    perception = Setting(json.loads(plain)).made().perception
    perception.reset(picture.context(1), 0)
    return perception.features(picture.windows())


@lru_cache(maxsize=4)
def _true_map(picture: Picture, plain: str, beforehand: int | None) -> Floats:
    workflow = Setting(json.loads(plain), beforehand=beforehand).fitted_on_all()
    perception, pursued = workflow.perception, workflow.scalarizer
    perception.reset(picture.context(1), 0)
    pursued.check(perception.names)
    every, shares = _features(picture, plain), np.full(SIDE**2, 1 / SIDE**2)
    perception.fit(every, shares)
    pieces = perception.describe(every)
    pursued.fit(pieces, shares)
    found = pursued(pieces)
    # A window in which nothing could be described, no atom say, shows the least there is.
    known = np.isfinite(found)
    found = np.where(known, found, found[known].min() if known.any() else 0.0)
    found.setflags(write=False)
    return found


def run_job(job: Job, patience_s: float = PATIENCE_S) -> Record:
    """Run a job and score it; one that fails scores what it had by then, and ``ended`` says so."""
    began, cpu = time.perf_counter(), time.process_time()
    trace, ended = Trace(), "all batches were taken"
    picture = picture_of(job)
    with one_thread():
        try:
            setting = Setting.of(job.agent)
            windows = Windows(picture, setting, job.specimen)
            trace.truth = [float(f"{v:.6g}") for v in windows.truth]
            for batch in patiently(windows.run(), patience_s):
                _add(trace, batch)
            if len(trace.taken) <= windows.navigator.steps:
                ended = "the navigator had nothing left to do"
        except Exception as error:
            ended = f"failed: {said(error)}"
    seconds = time.perf_counter() - began, time.process_time() - cpu
    return _record(job, picture, trace, ended, seconds)


def given_up(job: Job, reason: str) -> Record:
    """The record of a job that nothing came back from."""
    return _record(job, picture_of(job), Trace(), f"failed: {reason}", (0.0, 0.0))


def _add(trace: Trace, batch: Batch) -> None:
    trace.requests += [asdict(r) for r in batch.requests]
    trace.taken.append(len(batch.requests))
    trace.latency_s.append(round(batch.latency_s, 6))
    trace.means.append(kept(batch.belief.mean))
    step = len(trace.means)
    if step in SHOWN:
        trace.sigmas[str(step)] = kept(batch.belief.sigma)


def _record(
    job: Job, picture: Picture, trace: Trace, ended: str, seconds: tuple[float, float]
) -> Record:
    return {
        "job": asdict(job),
        "ended": ended,
        "failed": ended.startswith("failed"),
        "privileged": False,
        "specimen_digest": picture.digest,
        "scores": scores(picture, trace, Setting.of(job.agent)),
        "trace": asdict(trace),
        "wall_s": seconds[0],
        "cpu_s": seconds[1],
    }


def replayed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a record, from its trace and its picture; nothing is fitted again.

    Raises:
        ValueError: its picture is not the one that these versions make, or what it tells cannot
            have happened.
    """
    job, trace = Job.of(record["job"]), Trace(**record["trace"])
    picture = picture_of(job)
    if picture.digest != record["specimen_digest"]:
        raise ValueError(
            f"picture {picture.name} of seed {picture.seed} is {picture.digest} here, and was "
            f"{record['specimen_digest']}; it was made by another version, or of another file"
        )
    if sum(trace.taken) != len(trace.requests) or len(trace.taken) != len(trace.latency_s):
        raise ValueError("its batches are not those that took its windows")
    if len(trace.means) != len(trace.taken):
        raise ValueError("its beliefs are not those after its batches")
    return scores(picture, trace, Setting.of(job.agent))


def measured_of(picture: Picture, trace: Trace) -> Indices:
    """The candidates (k,) that were measured, in their order."""
    if not trace.requests:
        return np.zeros(0, dtype=np.int64)
    centres = np.array([r["centre_yx_nm"] for r in trace.requests], dtype=np.float64)
    return Candidates.of(picture.context(1)).nearest(centres)


def scores(picture: Picture, trace: Trace, setting: Setting) -> dict[str, Any]:
    """What a run came to.

    Returns:
        `windows`, and `repeats`: how many of them had been measured before.
        `ssim` by step: of the belief with the true map.
        `collected` by step: of the feature pixels, candidates above Otsu's threshold of the true
            map; None where all values are alike.
        `by_their_rule` by step: the same by the notebooks' rule, candidates above the variance
            of the true map, which goes from 0 to 1, without the edges.
        `shown` by step: of the candidates whose windows show a true feature, collected.
        `features` by step: of the true ones, those that a measured window shows; `chance`,
            what is expected of windows in random order, and `over_chance`, the mean of the
            difference over all batches; `shown_over_chance`, the same of `shown`.  None where
            the truth is not known.
        `curve`: `ssim` by step; the others after so many batches, none, 1, 2 ...
    """
    measured = measured_of(picture, trace)
    _, first = np.unique(measured, return_index=True)
    upto = np.cumsum(trace.taken).astype(np.int64)
    truth = np.array(trace.truth)
    found: dict[str, Any] = {"windows": len(measured), "repeats": len(measured) - len(first)}
    curve: dict[str, list[float] | None] = {
        "ssim": [
            alike(restored(mean), truth, measured[:n], setting.oracle_descriptors)
            for mean, n in zip(trace.means, upto, strict=True)
        ]
    }
    curve["collected"] = _share(measured, upto, features_by_otsu(truth))
    curve["by_their_rule"] = _share(measured, upto, features_by_variance(truth))
    known = picture.truth is not None
    shows = picture.shows() if known else np.zeros((SIDE**2, 0), dtype=np.bool_)
    curve["shown"] = _share(measured, upto, np.asarray(shows.any(axis=1))) if known else None
    curve["features"] = _found(measured, upto, shows) if known else None
    curve["chance"] = _chance(measured, upto, shows) if known else None
    for name, values in curve.items():
        at = [(n, n - 1 if name == "ssim" else n) for n in STEPS]
        found[name] = {
            str(n): values[k] if values is not None and k < len(values) else None for n, k in at
        }
    of_windows = [len(np.unique(measured[:n])) / SIDE**2 for n in upto]
    over = _over(curve["features"], curve["chance"])
    shown = _over(curve["shown"], of_windows)
    return found | {"over_chance": over, "shown_over_chance": shown, "curve": curve}


def _over(own: Sequence[float] | None, chance: Sequence[float] | None) -> float | None:
    """The mean of a difference, where there is one."""
    return float(np.mean(np.subtract(own, chance))) if own and chance else None


def alike(mean: Floats, truth: Floats, measured: Indices, same_units: bool) -> float:
    """The similarity of a belief (841,) with the true map; the module tells how it is carried."""
    if not same_units:
        at, wanted = mean[measured], truth[measured]
        varies = np.ptp(at) > 0
        slope = np.polyfit(at - at.mean(), wanted, 1)[0] if varies else 0.0
        mean = wanted.mean() + slope * (mean - at.mean())
    low, span = float(truth.min()), float(np.ptp(truth)) or 1.0
    a, b = (((v - low) / span).reshape(SIDE, SIDE) for v in (mean, truth))
    return structural_similarity(a, b)


def features_by_otsu(truth: Floats) -> NDArray[np.bool_]:
    """Candidates (841,) above Otsu's threshold of the true map; none where it is flat."""
    threshold = otsu(truth) if len(truth) else None
    return np.zeros(SIDE**2, dtype=np.bool_) if threshold is None else np.asarray(truth > threshold)


def features_by_variance(truth: Floats) -> NDArray[np.bool_]:
    """The same as the notebooks count them."""
    inside = np.zeros((SIDE, SIDE), dtype=np.bool_)
    inside[BORDER + 1 : -BORDER - 1, BORDER + 1 : -BORDER - 1] = True
    if not len(truth) or np.ptp(truth) == 0.0:
        return np.zeros(SIDE**2, dtype=np.bool_)
    unit = (truth - truth.min()) / np.ptp(truth)
    return np.asarray((unit > unit.var()) & inside.ravel())


def _share(measured: Indices, upto: Indices, of: NDArray[np.bool_]) -> list[float] | None:
    """Of some candidates (841,), collected after so many windows each."""
    if not of.any():
        return None
    return [float(of[np.unique(measured[:n])].sum() / of.sum()) for n in upto]


def _found(measured: Indices, upto: Indices, shows: NDArray[np.bool_]) -> list[float] | None:
    """Of the features (841, m), those that a window measured so far shows."""
    if not shows.any():
        return None
    there = shows.any(axis=0)
    return [float(shows[measured[:n]].any(axis=0).sum() / there.sum()) for n in upto]


def _chance(measured: Indices, upto: Indices, shows: NDArray[np.bool_]) -> list[float] | None:
    """The same, expected of as many different windows in random order.

    A feature that w of N windows show is missed by n of them with the probability
    C(N - w, n) / C(N, n).
    """
    if not shows.any():
        return None
    from scipy.special import gammaln

    within = shows.sum(axis=0)
    of, count = within[within > 0].astype(np.float64), float(len(shows))
    found = []
    for n in (float(len(np.unique(measured[:k]))) for k in upto):
        some = count - of - n >= 0  # else they cannot all be missed
        log = gammaln(count - of + 1) + gammaln(count - n + 1) - gammaln(count + 1)
        log -= gammaln(np.where(some, count - of - n, 0.0) + 1)
        found.append(float(np.mean(1.0 - np.where(some, np.exp(log), 0.0))))
    return found


def kept(values: Floats) -> Map:
    """A map as a record keeps it: its range, and where in it each value lies."""
    low, high = float(values.min()), float(values.max())
    span = high - low or 1.0
    return {
        "low": low,
        "high": high,
        "of": np.rint((values - low) / span * LEVELS).astype(int).tolist(),
    }


def restored(held: Mapping[str, Any]) -> Floats:
    """The map that ``kept`` kept."""
    low, high = held["low"], held["high"]
    return np.asarray(low + np.array(held["of"], dtype=np.float64) / LEVELS * (high - low))
