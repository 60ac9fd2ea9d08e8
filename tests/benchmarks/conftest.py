"""Folders of results that nobody ran: records with scores made up, in a moment."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from stemscout.benchmarks import results as results_module
from stemscout.benchmarks.episode import Trace
from stemscout.benchmarks.results import Results

MADE = {"versions": {"numpy": "2.4.6", "numba": "0.68.1"}, "python": "3.11.7", "cores": 2}


def scored(rng):
    area = float(rng.uniform(0.2, 0.4))
    return {
        "frames": 10,
        "seen": 2 * area,
        "seen_area": area,
        "seen_area_in_time": 0.9 * area,
        "charge_to": {"0.5": None},
        "found": None,
        "flagged": None,
        "latency_ms": {"median": 1.0, "p95": 2.0, "mean": 1.1},
        "curve": {"charge": [0.1], "time_s": [1.0], "seen": [2 * area]},
    }


@pytest.fixture
def made(monkeypatch):
    """With what the records are made: versions and machine, to be changed."""
    what = {**MADE, "versions": dict(MADE["versions"])}
    monkeypatch.setattr(results_module, "made", lambda: what)
    return what


@pytest.fixture
def made_up(tmp_path, made):
    """Makes a folder of a suite's results.

    ``change(job, record, rng)`` is what a test does to a record, and ``keep(job)`` which are
    there.  Scores depend on environment, specimen and label alone.
    """

    def make(name, suite, change=None, keep=lambda job: True):
        results = Results(tmp_path / name, suite)
        for job in filter(keep, suite.jobs()):
            seed = [job.specimen, *map(ord, f"{job.environment}{job.label}")]
            record = {
                "job": asdict(job),
                "ended": "the budget was spent",
                "failed": False,
                "privileged": job.label == "oracle",
                "specimen_digest": f"{job.environment} {job.specimen}",
                "scores": scored(np.random.default_rng(seed)),
                "trace": asdict(Trace.empty()),
                "wall_s": 1.0,
                "cpu_s": 1.0,
            }
            if change is not None:
                change(job, record, np.random.default_rng([7, *seed]))
            results.keep(job.key, record)
        return results.folder

    return make
