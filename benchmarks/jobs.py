"""What a job of a suite is: an episode in an environment, a hunt on a target, or the protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import episode, hunt, protocol
from .episode import PATIENCE_S, Record
from .suite import Job

KINDS: Mapping[str, Any] = {"episode": episode, "hunt": hunt, "protocol": protocol}


def run_job(job: Job, patience_s: float = PATIENCE_S) -> Record:
    """Run a job and score it."""
    record: Record = KINDS[job.kind].run_job(job, patience_s)
    return record


def given_up(job: Job, reason: str) -> Record:
    """The record of a job that nothing came back from."""
    record: Record = KINDS[job.kind].given_up(job, reason)
    return record


def replayed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a record, from its trace alone."""
    scores: dict[str, Any] = KINDS[Job.of(record["job"]).kind].replayed(record)
    return scores
