"""The best and the worst episode of each environment id, taken again to be looked at.

Frames and claims come from the record alone.  What the agent believed is no part of a
record: the agent runs once more on the same specimen with the same seed, and what it
believes is shown only where it takes the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Explanation
from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment
from ..envs import seen
from ..hardware.coordinates import corners
from ..hardware.microscope import Frame
from ..simulators.simulated import SimulatedMicroscope
from ..simulators.specimens import Specimen
from .episode import environment_of, patiently, replayed, retaken
from .found import MOST, Claim, Verdicts, claims_of, verdicts
from .leaderboard import Scores
from .replay import differences
from .suite import Job, label_of
from .threads import one_thread

Record = Mapping[str, Any]
Rows = list[dict[str, Any]]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
PIXELS = 300  # of the picture of a specimen, along its longer side
THINKING_S = 120.0  # of an agent over an episode: one that took longer is not run again


@dataclass(frozen=True)
class Example:
    """An episode that stands for others.

    Attributes:
        environment: its id.
        rank: ``best`` or ``worst``; ``only`` where there is one episode.
        record: of the episode.
    """

    environment: str
    rank: str
    record: Record


@dataclass(frozen=True, eq=False)
class Retaken:
    """An episode as its record tells it, and the truth beside it.

    Attributes:
        specimen: the truth.
        image: (rows, columns) of the specimen without noise, before the first frame.
        paid: (rows, columns) where a frame was taken.
        footprints_yx_nm: (n, 4, 2) corners of the frames, where the electrons truly went.
        seen: (m,) features that were seen.
        curve: ``charge`` and ``seen`` (n,) after each frame.
        claims: what the agent said at the end; None where it claims nothing.
        verdicts: on these claims.
        frames: as they were asked for and came back.
    """

    specimen: Specimen
    image: Floats
    paid: Bools
    footprints_yx_nm: Floats
    seen: Bools
    curve: Mapping[str, Sequence[float]]
    claims: Sequence[Claim] | None
    verdicts: Verdicts | None
    frames: Sequence[Frame] = field(default_factory=list)


def best_and_worst(
    records: Sequence[Record], scores: Scores, suite: Mapping[str, Any]
) -> list[Example]:
    """Those with the highest and the lowest area under the seen recall, for each id.

    Of all agents that do not know the truth, over the specimens that are counted.  Where
    several are equal, the first in the order of the suite is taken.
    """
    privileged = {r["job"]["label"] for r in records if r["privileged"]}
    levels, labels = list(suite["difficulties"]), [label_of(a) for a in suite["agents"]]
    variants = [name for name, _ in suite["variants"]]

    def order(record: Record) -> tuple[int, ...]:
        job = record["job"]
        return (
            levels.index(job["difficulty"]),
            variants.index(job["variant"]),
            labels.index(job["label"]),
            job["specimen"],
        )

    counted = [
        r
        for r in records
        if not r["job"]["yardstick"]
        and r["job"]["label"] not in privileged
        and r["job"]["specimen"] in scores.specimens.get(Job.of(r["job"]).condition, ())
    ]
    found = []
    for environment in suite["environments"]:
        own = sorted((r for r in counted if r["job"]["environment"] == environment), key=order)
        if not own:
            continue
        best = max(own, key=lambda r: r["scores"]["seen_area"])  # the first of equal ones
        worst = min(own, key=lambda r: r["scores"]["seen_area"])
        if best is worst:
            found.append(Example(environment, "only", best))
        else:
            found += [Example(environment, "best", best), Example(environment, "worst", worst)]
    return found


def taken_again(record: Record) -> Retaken:
    """An episode from its record, without the agent.

    Raises:
        ValueError: these versions make another specimen, or its frames other scores.
    """
    with one_thread():
        scores = replayed(record)
        wrong = next(differences(_shown(record["scores"]), _shown(scores)), None)
        if wrong is not None:
            raise ValueError(f"its frames give other scores here ({wrong})")
        env, trace = retaken(record)
        episode, specimen = env.episode, env.truth
        assert specimen is not None
        assert isinstance(episode.microscope, SimulatedMicroscope)
        world, reference = episode.microscope.world, episode.reference
        image = _smaller(world.image(reference.detectors[0]))
        exposures = episode.exposures
        centres = [
            ((np.arange(n) + 0.5) / n - 0.5) * side
            for n, side in zip(image.shape, specimen.field_yx_nm, strict=True)
        ]
        points = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1)
        paid = np.zeros(image.shape, dtype=bool)
        for exposure in exposures:
            paid |= exposure.covers(points)
        boxes = [corners(e.region) + np.asarray(e.shift_yx_nm) for e in exposures]
        claims = None
        if record["scores"]["found"] is not None:
            last = list(trace.standing())[-1:] or [[]]
            shapes = [f.request.shape_yx for f in episode.history]
            claims = claims_of(last[0], exposures, shapes)
        return Retaken(
            specimen=specimen,
            image=image,
            paid=paid,
            footprints_yx_nm=np.array(boxes).reshape(-1, 4, 2),
            seen=seen.seen_after(seen.targets(specimen, reference.side_nm), exposures),
            curve=scores["curve"],
            claims=claims,
            verdicts=None if claims is None else verdicts(claims, specimen),
            frames=episode.history,
        )


def _shown(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Those that stand beside the picture."""
    shown = {k: scores[k] for k in ("frames", "charge", "seen", "seen_area")}
    return shown | {"f1": None if scores["found"] is None else scores["found"]["f1"]}


def _smaller(image: NDArray[np.float32]) -> Floats:
    """At most so many pixels to a side; each is the mean of what it holds."""
    from PIL import Image

    rows, columns = image.shape
    part = min(1.0, PIXELS / max(rows, columns))
    size = max(1, round(part * columns)), max(1, round(part * rows))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BOX)
    return np.asarray(resized, dtype=np.float64)


class NotShown(Exception):
    """Why nobody can tell what an agent believed, in a sentence."""


def explained(record: Record, frames: Sequence[Frame]) -> Explanation:
    """The agent's explanation of its last frame, by running it again.

    Args:
        record: of the episode.
        frames: that it took then.

    Raises:
        NotShown: it takes other frames here, cannot be made, fails, or took so long that no
            report waits for it.
    """
    job = Job.of(record["job"])
    if not frames:
        raise NotShown("it took no frame")
    thought = record["scores"]["latency_ms"]["mean"] * len(frames) / 1e3
    if thought > THINKING_S:
        raise NotShown(
            f"its decisions took {thought:.0f} s, and a report waits for {THINKING_S:g} s"
        )
    explanation: Explanation | None = None
    try:
        with one_thread():
            (agent,) = patiently(iter([job]), THINKING_S, lambda of: make_agent(**of.agent))
            experiment = Experiment(environment_of(job, agent), agent, job.specimen)
            steps = patiently(experiment, THINKING_S)
            for frame, step in zip(frames, steps, strict=False):
                if step.request != frame.request:
                    break
                explanation = step.explanation if step.index == len(frames) - 1 else None
    except (Exception, SystemExit) as error:
        raise NotShown(f"the agent fails here ({type(error).__name__}: {error})") from error
    if explanation is None:
        raise NotShown("it does not take the same frames here")
    return explanation


def title_of(example: Example) -> str:
    """Which episode it is."""
    job = example.record["job"]
    variant = "" if job["variant"] == "as is" else f", {job['variant']}"
    return (
        f"{example.rank.capitalize()}: {job['label']} on specimen {job['specimen']}, "
        f"{job['difficulty']}{variant}"
    )


def scores_of(record: Record) -> dict[str, str]:
    """What stands below its picture."""
    scores = record["scores"]
    found, survey = scores["found"], record["job"]["survey"]
    return {
        **({} if survey == "none" else {"survey": f"{survey}, not in the picture"}),
        "frames": str(scores["frames"]),
        "charge": f"{scores['charge']:.2f} rasters",
        "area": f"{scores['seen_area']:.2f}",
        "seen": f"{scores['seen']:.0%}",
        "F1": "n/a, it claims nothing" if found is None else f"{found['f1']:.2f}",
        "ended": record["ended"],
    }


def frame_rows(again: Retaken) -> Rows:
    """The frames: number, centre, sides, charge so far in rasters, share seen by then."""
    return [
        {
            "n": n + 1,
            "y_nm": round(float(box[:, 0].mean()), 4),
            "x_nm": round(float(box[:, 1].mean()), 4),
            "height_nm": frame.region.fov_yx_nm[0],
            "width_nm": frame.region.fov_yx_nm[1],
            "charge": charge,
            "seen": share,
        }
        for n, (box, frame, charge, share) in enumerate(
            zip(
                again.footprints_yx_nm,
                again.frames,
                again.curve["charge"],
                again.curve["seen"],
                strict=True,
            )
        )
    ]


def finding_rows(again: Retaken) -> Rows:
    """The claims and what is said of each, and the features that nobody claimed."""
    if again.claims is None or again.verdicts is None:
        return []
    of, specimen = again.verdicts, again.specimen
    rows = []
    for n, (claim, verdict) in enumerate(zip(again.claims, said_of(of), strict=True)):
        y, x = claim.points_yx_nm.mean(axis=0) if len(claim.points_yx_nm) else (np.nan, np.nan)
        rows.append(
            {
                "class": claim.label,
                "y_nm": round(float(y), 4),
                "x_nm": round(float(x), 4),
                "verdict": verdict,
                "right": round(float(of.right[n]), 4),
                "truly": of.otherwise[n] or (claim.label if of.right[n] > 0 else ""),
                "feature": "" if of.feature[n] < 0 else int(of.feature[n]),
            }
        )
    for k in np.flatnonzero(of.claimed < MOST):
        y, x = specimen.feature_yx_nm[k]
        name = specimen.classes[specimen.feature_class[k]].name
        rows.append(
            {
                "class": "",
                "y_nm": round(float(y), 4),
                "x_nm": round(float(x), 4),
                "verdict": "missed",
                "right": round(float(of.claimed[k]), 4),
                "truly": name,
                "feature": int(k),
            }
        )
    return rows


def said_of(of: Verdicts) -> Iterator[str]:
    """Of each claim: ``right``, ``wrong class`` or ``false``."""
    for right, otherwise in zip(of.right, of.otherwise, strict=True):
        yield "right" if right >= MOST else "wrong class" if otherwise else "false"
