"""The run's report: one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.experiment import Step
from ..envs.episode import Episode
from ..hardware.microscope import UNITS_UNVERIFIED
from ..simulators.specimens import Specimen
from . import figures, style

TEMPLATE = Path(__file__).parent / "report.html.j2"


@dataclass(frozen=True)
class Figure:
    """A picture on the page, what it shows, and the words under it."""

    title: str
    image: str
    caption: str
    narrow: bool


@dataclass(frozen=True, eq=False)
class Discovery:
    """What the truth says of a run; plain data, so that the page needs no scoring."""

    specimen: Specimen
    seen: NDArray[np.bool_]
    charge: NDArray[np.float64]
    recall: NDArray[np.float64]


def render(
    title: str,
    facts: Mapping[str, str],
    episode: Episode,
    steps: Sequence[Step],
    agent: str,
    command: str,
    target: NDArray[np.float64] | None = None,
    discovery: Discovery | None = None,
    privileged: bool = False,
) -> str:
    """The page as HTML.

    Args:
        title: the heading.
        facts: what stands in the box at the top, in order.
        episode: as it ended.
        steps: of the experiment.
        agent: its name.
        command: what repeats the run.
        target: (n,) of every frame by what the agent knew at the end.
        discovery: where truth exists.
        privileged: the agent was told the truth.
    """
    from jinja2 import Environment, select_autoescape

    environment = Environment(autoescape=select_autoescape(default=True, default_for_string=True))
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        title=title,
        facts=facts,
        figures=_figures(episode, steps, agent, target, discovery, privileged),
        steps=steps,
        command=command,
        last=steps[-1].explanation.sentence if steps else "no frame was taken",
    )


def _figures(
    episode: Episode,
    steps: Sequence[Step],
    agent: str,
    target: NDArray[np.float64] | None,
    discovery: Discovery | None,
    privileged: bool,
) -> list[Figure]:
    found: list[Figure] = []

    def add(title: str, image: bytes | None, caption: str, narrow: bool = False) -> None:
        if image is not None:
            found.append(Figure(title, style.data_uri(image), caption, narrow))

    with_truth = discovery is not None
    if discovery is None:
        picture = figures.specimen_seen(episode)
    else:
        picture = figures.specimen_seen(episode, discovery.specimen, discovery.seen)
    add(
        "The specimen",
        picture,
        "Left: every frame where it was taken, as the agent has seen it; dark blue was never "
        "scanned. Beside it the frames in the order of the path."
        + (f" The truth was {'told to' if privileged else 'hidden from'} the agent." * with_truth),
    )
    believing = [s for s in steps if s.explanation.maps]
    if believing:
        add(
            "What the agent believed at its last decision",
            figures.beliefs(believing[-1].explanation, believing[-1]),
            "Posterior mean and standard deviation of the target, and the acquisition function "
            "whose maximum chose the last frame. Grey candidates were out of the question: "
            "measured already, or forbidden.",
        )
    learned = [s for s in steps if s.explanation.components is not None]
    if learned:
        add(
            "What the agent looks for",
            figures.components(learned[-1].explanation),
            "Components of the windowed Fourier magnitudes, fitted on the frames of this run only. "
            "The chosen one is the target.",
        )
    if discovery is not None:
        budget = episode.budget.total
        add(
            "Discovery",
            figures.discovery(discovery.charge, discovery.recall, budget, agent),
            "Share of all features that received the dose they need, against the charge spent.",
            narrow=target is not None,
        )
    add(
        "The target along the way",
        figures.targets(target),
        "The component's score in each frame, by what the agent knew at the end.",
        narrow=discovery is not None,
    )
    add(
        "Frames",
        figures.frames(episode, steps, target),
        "Those with the highest target at the end, or the last ones where there is no target.",
    )
    return found


def _of(rasters: float | None) -> str:
    return "" if rasters is None else f" of {rasters:.3f}"


def facts_of(summary: Mapping[str, Any]) -> dict[str, str]:
    """The box at the top of the page, from a run's summary."""
    spent, scores = summary["spent"], summary["scores"]
    verified = summary["configuration"]["source"].get("units_verified", True)
    facts = {
        "agent": summary["agent"]["name"]
        + (" (privileged: it was told the truth)" if summary["agent"]["privileged"] else ""),
        "microscope": summary["microscope"],
        **({} if verified else {"units": UNITS_UNVERIFIED}),
        "seed": str(summary["seed"]),
        "frames": str(spent["frames"]),
        "charge": f"{spent['rasters']:.3f} rasters{_of(summary['budget']['rasters'])}",
        "electrons": "unknown" if spent["charge_e"] is None else f"{spent['charge_e']:.3g}",
        "instrument time": f"{spent['time_s']:.1f} s",
        "decision": f"{spent['latency_ms_median']:.1f} ms (median)",
    }
    if spent["perception_ms_median"] > 0.0 or spent["behind_share"] > 0.0:
        late = spent["behind_share"]
        exceeds = (
            f"longer than the scan that feeds it in {late:.0%} of the frames, "
            f"by {spent['behind_s']:.2f} s in all"
            if late > 0.0
            else "never longer than the scan that feeds it"
        )
        facts["perception"] = f"{spent['perception_ms_median']:.1f} ms (median), {exceeds}"
    facts["ended"] = summary["ended"]
    if scores.get("seen") is not None:
        facts["features seen"] = f"{scores['seen']:.0%}"
        facts["area under the curve"] = f"{scores['seen_area']:.3f}"
    if scores.get("flagged") is not None:
        facts["flagged (average precision)"] = (
            f"{scores['flagged']['average_precision']:.2f}, "
            f"prevalence {scores['flagged']['prevalence']:.2f}"
        )
    return facts
