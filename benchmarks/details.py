"""What stands beside the headline: smaller budgets, how soon, how varied, and at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import statistics
from .leaderboard import Entry, Scores
from .statistics import Interval
from .tables import Cell, Rows

ABOUT = {
    "25 % at": "rasters after which half of the specimens had a quarter of it seen",
    "90 % at": "the same of nine tenths",
    "classes": "share of the classes present of which one was seen",
    "false": "false findings",
    "revisits": "share of the frames of which at least half lay in earlier ones",
    "destroyed": "features that the beam destroyed",
    "p95 ms": "95th percentile of the time of a decision, the mean over episodes",
}


def details(scores: Scores, entries: Sequence[Entry], readings: Sequence[float]) -> Rows:
    """A row of cells for each agent, best area first; ``agent`` is its name.

    Areas at smaller budgets are interquartile means, the others means, with the intervals of
    the leaderboard.
    """
    return [{"agent": e.agent, **_cells(scores, e, readings)} for e in entries]


def about(readings: Sequence[float]) -> dict[str, str]:
    """What each column of ``details`` means, in order."""
    return {f"area at {r:g}": f"area over a budget of {r:g} rasters" for r in readings} | ABOUT


def _cells(scores: Scores, entry: Entry, readings: Sequence[float]) -> dict[str, Cell]:
    agent = entry.agent

    def mean(column: str) -> Any:
        return scores.interval(statistics.mean, scores.strata(agent, column))

    found: dict[str, Interval | None] = {}
    for r in readings:
        values = scores.strata(agent, f"seen_area_at_{r:g}")
        found[f"area at {r:g}"] = scores.interval(statistics.interquartile_mean, values)
    for share in (0.25, 0.9):
        found[f"{100 * share:g} % at"] = scores.charge_to(agent, share)
    seen, present = (scores.strata(agent, f"classes_{k}") for k in ("seen", "present"))
    shares = [s / p for s, p in zip(seen, present, strict=True)]
    found["classes"] = scores.interval(statistics.mean, shares)
    claims = scores.found(agent) is not None
    false = [np.nan_to_num(s) for s in scores.strata(agent, "found_false")] if claims else None
    found["false"] = None if false is None else scores.interval(statistics.mean, false)
    found["revisits"], found["destroyed"] = mean("revisits"), mean("destroyed")
    cells = {name: Cell.of(of) for name, of in found.items()}
    return cells | {"p95 ms": Cell(f"{entry.latency_ms[1]:.3g}", entry.latency_ms[1])}
