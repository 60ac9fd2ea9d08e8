"""All scores of one episode, from what was asked for, claimed and thought.

Areas under curves are divided by what they run over, and so in [0, 1]; curves stay flat
beyond the end of a run.  What is not applicable is None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..envs import seen
from ..envs.episode import Episode
from ..simulators.exposure import Exposure
from ..simulators.simulated import SimulatedMicroscope
from ..simulators.specimens import Specimen
from .found import Found, claims_of, found
from .scores import Curve, flagged_frames, graded
from .suite import Job

if TYPE_CHECKING:
    from .episode import Trace

Floats = NDArray[np.float64]
SHARES = (0.25, 0.5, 0.9)  # of the features: the charge to each
AGAIN = 0.5  # of its area seen before, a frame is a revisit
ACROSS = 8  # points of a frame along either side that say so


def grades(
    episode: Episode, specimen: Specimen | None, trace: Trace, job: Job, claims: bool
) -> dict[str, Any]:
    """The scores of an episode.

    Args:
        episode: with at least the frames of the trace taken.
        specimen: the truth.
        trace: what happened.
        job: what was to be done.
        claims: the agent claims features, and is scored by what it found.

    Raises:
        ValueError: nobody knows what the specimen shows.
    """
    if specimen is None:
        raise ValueError(f"{job.environment} has no truth to score by")
    frames = episode.history[: len(trace.requests)]
    exposures = episode.exposures[: len(frames)]
    survey = 0.0 if episode.survey is None else episode.survey.charge_e or 0.0
    rasters = episode.budget.raster_charge_e
    charge = (survey + np.cumsum([f.charge_e or 0.0 for f in frames])) / rasters
    started = 0.0 if episode.survey is None else episode.survey.time_s
    clock = started + np.cumsum([f.time_s for f in frames]) + np.cumsum(trace.latency_s)
    tally = seen.Tally(seen.targets(specimen, episode.reference.side_nm))
    recall: list[float] = []
    first: dict[str, int] = {}
    for n, exposure in enumerate(exposures):
        tally.add(exposure)
        recall.append(tally.recall)
        for k in np.unique(specimen.feature_class[tally.seen]):
            first.setdefault(specimen.classes[int(k)].name, n)
    of_seen = Curve(charge, np.array(recall), job.budget)
    in_time = Curve(clock, of_seen.recall, allowed_s(episode, job.budget))
    latency = np.array(trace.latency_s or [0.0])
    present = len(np.unique(specimen.feature_class))
    return {
        "frames": len(frames),
        "charge": float(charge[-1]) if len(charge) else survey / rasters,
        "time_s": float(clock[-1]) if len(clock) else started,
        "seen": float(of_seen.recall[-1]) if len(frames) else 0.0,
        "seen_area": of_seen.area(),
        "seen_area_in_time": in_time.area(),
        "readings": {f"{r:g}": _read(of_seen, r) for r in job.readings},
        "charge_to": {f"{s:g}": of_seen.charge_to(s) for s in SHARES},
        "classes": {"present": present, "seen": len(first)},
        "first_of_class": {name: float(charge[n]) for name, n in first.items()},
        "destroyed": int(tally.destroyed.sum()),
        "revisits": revisits(exposures),
        "found": _found(trace, exposures, frames, specimen, charge, job) if claims else None,
        "flagged": _flagged(trace, episode, specimen),
        "latency_ms": {
            "median": 1e3 * float(np.median(latency)),
            "p95": 1e3 * float(np.percentile(latency, 95)),
            "mean": 1e3 * float(latency.mean()),
        },
        "curve": {
            "charge": charge.tolist(),
            "time_s": clock.tolist(),
            "seen": of_seen.recall.tolist(),
        },
    }


def allowed_s(episode: Episode, budget: float) -> float:
    """Instrument time of a budget spent on reference frames side by side, without thinking."""
    reference = episode.reference
    frame = reference.at((0.0, 0.0))
    count = budget * len(reference.lattice(episode.field_yx_nm)[0])
    return count * episode.costs.time_s(frame, reference.side_nm)


def revisits(exposures: Sequence[Exposure]) -> float:
    """Share of the frames of which at least half lay in earlier ones."""
    again = 0
    for n, exposure in enumerate(exposures):
        points = _points_of(exposure)
        before = np.zeros(len(points), dtype=bool)
        for earlier in exposures[:n]:
            before |= earlier.covers(points)
        again += bool(before.mean() >= AGAIN)
    return again / max(1, len(exposures))


def _points_of(exposure: Exposure) -> Floats:
    """Points (n, 2) all over a footprint, as good as upright."""
    (y, x), (h, w) = exposure.region.centre_yx_nm, exposure.region.fov_yx_nm
    part = (np.arange(ACROSS) + 0.5) / ACROSS - 0.5
    grid = np.stack(np.meshgrid(y + part * h, x + part * w, indexing="ij"), axis=-1)
    return np.asarray(grid.reshape(-1, 2) + np.asarray(exposure.shift_yx_nm))


def _read(curve: Curve, budget: float) -> dict[str, float]:
    """A run as it stood when a smaller budget was spent."""
    within = np.flatnonzero(curve.charge <= budget * (1 + 1e-9))
    recall = float(curve.recall[within[-1]]) if len(within) else 0.0
    return {"seen": recall, "seen_area": curve.area(budget)}


def _found(
    trace: Trace,
    exposures: Sequence[Exposure],
    frames: Sequence[Any],
    specimen: Specimen,
    charge: Floats,
    job: Job,
) -> dict[str, Any]:
    """Of the findings at the end, and the area under their F1 against charge."""
    shapes = [f.request.shape_yx for f in frames]
    now, f1 = Found(0.0, 0.0, 0.0, 0.0), []
    for findings, indices in zip(trace.standing(), trace.claimed, strict=True):
        if indices is not None:
            now = found(claims_of(findings, exposures, shapes), specimen)
        f1.append(now.f1)
    curve = Curve(charge, np.array(f1), job.budget)
    return {
        "precision": now.precision,
        "recall": now.recall,
        "f1": now.f1,
        "false": now.false,
        "area": curve.area(),
        "curve": f1,
    }


def _flagged(trace: Trace, episode: Episode, specimen: Specimen) -> dict[str, Any] | None:
    """Of the target that the agent gave the frames which all are asked about."""
    if trace.target is None or not isinstance(episode.microscope, SimulatedMicroscope):
        return None
    _, labels = flagged_frames(specimen, episode.reference, 0)
    result = graded(np.array(trace.target), labels)
    return {
        "average_precision": result.average_precision,
        "prevalence": result.prevalence,
        "frames": result.frames,
    }
