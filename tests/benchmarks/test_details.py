"""What stands beside the headline, by hand on small numbers."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.benchmarks.details import about, details
from stemscout.benchmarks.leaderboard import Scores, leaderboard

NOTHING = dict.fromkeys(
    ("seen_area_in_time", "seen", "latency_ms_median", "latency_ms_p95", "revisits", "destroyed"),
    0.0,
)


def row(agent, specimen, **given):
    return {
        **NOTHING,
        "environment": "StemScout/NiOPillars-v0",
        "difficulty": "easy",
        "variant": "as is",
        "agent": agent,
        "specimen": specimen,
        "budget": 0.4,
        "yardstick": False,
        "privileged": False,
        "failed": False,
        "seen_area": 0.2,
        "seen_area_at_0.1": 0.05 * (specimen + 1),
        "charge_to_0.25": None,
        "charge_to_0.5": None,
        "charge_to_0.9": None,
        "classes_present": 4,
        "classes_seen": specimen,
        "found_area": None,
        "found_false": None,
        "flagged_average_precision": None,
        "flagged_prevalence": 0.3,
        **given,
    }


def test_a_row_has_all_that_is_not_in_the_leaderboard():
    rows = [row("grid", n, **{"charge_to_0.25": 0.1 * n if n else None}) for n in range(4)]
    rows += [row("finder", n, found_area=0.5, found_false=float(n), revisits=0.1) for n in range(4)]
    scores = Scores(rows)
    grid, finder = details(scores, leaderboard(scores), (0.1,))
    assert set(grid) == {"agent", *about((0.1,))}
    assert grid["area at 0.1"].key == pytest.approx(0.05 * (2 + 3) / 2)  # the middle two
    assert grid["25 % at"].key == pytest.approx(0.2)  # two of four had it by then
    assert grid["90 % at"].text == "never"
    assert grid["classes"].key == pytest.approx(np.mean([0, 1, 2, 3]) / 4)
    assert grid["false"].text == "n/a"
    assert finder["false"].key == pytest.approx(1.5)
    assert finder["revisits"].key == pytest.approx(0.1)


def test_nobody_gains_in_flagged_by_failing():
    """Where an agent failed before it was asked it has what a coin would reach."""
    good = [row("good", n, flagged_average_precision=0.9) for n in range(4)]
    shy = [
        row("shy", n, flagged_average_precision=None if n else 1.0, failed=n > 0) for n in range(4)
    ]
    mute = [row("mute", n, flagged_prevalence=None) for n in range(4)]
    entries = {e.agent: e for e in leaderboard(Scores([*good, *shy, *mute]))}
    assert entries["good"].flagged.value == pytest.approx(0.9)
    assert entries["shy"].flagged.value == pytest.approx((1.0 + 3 * 0.3) / 4)
    assert entries["mute"].flagged is None
