"""What a job of a suite is: an episode in an environment, or a hunt on a target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import episode, hunt
from .episode import PATIENCE_S, Record
from .suite import Job


def run_job(job: Job, patience_s: float = PATIENCE_S) -> Record:
    """Run a job and score it."""
    return hunt.run_job(job, patience_s) if job.hunts else episode.run_job(job, patience_s)


def given_up(job: Job, reason: str) -> Record:
    """The record of a job that nothing came back from."""
    return hunt.given_up(job, reason) if job.hunts else episode.given_up(job, reason)


def replayed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a record, from its trace alone."""
    hunts = Job.of(record["job"]).hunts
    return hunt.replayed(record) if hunts else episode.replayed(record)
