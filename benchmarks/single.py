"""One experiment from its first frame to its folder: run, record, score, report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..agents.experiment import Experiment, Step
from ..envs import seen
from ..hardware.microscope import Microscope
from ..simulators.simulated import SimulatedMicroscope
from ..views.folder import RunFolder
from ..views.report import Discovery, facts_of, render
from .scores import Curve, flagged, seen_curve
from .threads import one_thread


def record(
    experiment: Experiment,
    folder: RunFolder,
    configuration: Mapping[str, Any],
    command: str,
    on_step: Callable[[Step], None] = lambda step: None,
) -> dict[str, Any]:
    """Run an experiment, leave everything in ``folder``, and return the summary.

    ``run.json`` is this summary and the versions.  ``on_step`` is called after
    every frame; when it, or a person, stops the experiment, what was taken by
    then is written all the same.
    """
    with one_thread():
        for step in experiment:
            folder.add(step)
            on_step(step)
        env = experiment.env
        curve = None if env.truth is None else seen_curve(env.episode, env.truth)
        summary = summarise(experiment, configuration, curve)
        frames = [step.frame for step in experiment.steps]
        target = experiment.agent.target(frames) if frames else None
    discovery = None
    if env.truth is not None and curve is not None:
        shown = seen.seen_after(
            seen.targets(env.truth, env.source.reference.side_nm), env.episode.exposures
        )
        discovery = Discovery(env.truth, shown, curve.charge, curve.recall)
    page = render(
        title=f"{experiment.agent.name} on {summary['microscope']}",
        facts=facts_of(summary),
        episode=env.episode,
        steps=experiment.steps,
        agent=experiment.agent.name,
        command=command,
        target=target,
        discovery=discovery,
        privileged=experiment.agent.privileged,
    )
    folder.finish({**summary, "command": command}, page)
    return summary


def summarise(
    experiment: Experiment, configuration: Mapping[str, Any], curve: Curve | None
) -> dict[str, Any]:
    """What ``run.json`` says of an experiment that has ended; ``curve`` where truth exists."""
    env, steps = experiment.env, experiment.steps
    episode = env.episode
    budget = episode.budget
    if experiment.stopped:
        ended = "stopped by a person"
    elif env.terminate_when_done and episode.task.done:
        ended = "the task was done"
    elif len(steps) and not episode.exhausted:
        ended = "the agent had nothing left to do"
    else:
        ended = "the budget was spent"
    latencies = [s.latency_s * 1e3 for s in steps] or [0.0]
    perception = [s.perception_s * 1e3 for s in steps] or [0.0]
    behind = [s.behind_s * 1e3 for s in steps] or [0.0]
    return {
        "agent": {"name": experiment.agent.name, "privileged": experiment.agent.privileged},
        "microscope": episode.capabilities.name,
        "seed": experiment.seed,
        "configuration": {
            **configuration,
            "source": env.source.settings,
            "split": env.split,
            "task": episode.task.name,
            "terminate_when_done": env.terminate_when_done,
            "beam_current_pa": episode.beam_current_pa,
            "agent_settings": experiment.agent.settings,
            **_world(episode.microscope),
        },
        "budget": {
            "rasters": _known(budget.total),
            "charge_e": _known(budget.charge_e),
            "time_s": budget.time_s,
            "raster_charge_e": _known(budget.raster_charge_e),
        },
        "reference_frame": {
            "fov_yx_nm": episode.reference.fov_yx_nm,
            "shape_yx": episode.reference.shape_yx,
            "dwell_us": episode.reference.dwell_us,
        },
        "spent": {
            "frames": len(steps),
            "rasters": budget.spent,
            "charge_e": _known(budget.spent_charge_e),
            "time_s": budget.spent_time_s,
            "latency_ms_median": float(np.median(latencies)),
            "latency_ms_p95": float(np.percentile(latencies, 95)),
            "perception_ms_median": float(np.median(perception)),
            "behind_ms_median": float(np.median(behind)),
            "behind_share": float(np.mean(np.array(behind) > 0.0)),
            "behind_s": float(np.sum(behind)) / 1e3,
        },
        "ended": ended,
        "scores": _scores(experiment, curve),
    }


def _known(value: float) -> float | None:
    """None for what JSON has no number for: charge without a known beam current, or limit."""
    return value if np.isfinite(value) else None


def _world(microscope: Microscope) -> dict[str, Any]:
    if not isinstance(microscope, SimulatedMicroscope):
        return {}
    recipe = microscope.world.recipe
    return {"world": {**asdict(recipe), "digest": recipe.digest}}


def _scores(experiment: Experiment, curve: Curve | None) -> dict[str, Any]:
    if curve is None or not experiment.steps:
        return {"seen": None, "seen_area": None, "charge_to_half": None, "flagged": None}
    env = experiment.env
    result = None
    if isinstance(env.episode.microscope, SimulatedMicroscope):
        result = flagged(experiment.agent, env.episode.microscope, env.episode.reference)
    return {
        "seen": float(curve.recall[-1]),
        "seen_area": curve.area(),
        "charge_to_half": curve.charge_to(0.5),
        "flagged": None
        if result is None
        else {
            "average_precision": result.average_precision,
            "prevalence": result.prevalence,
            "frames": result.frames,
        },
    }
