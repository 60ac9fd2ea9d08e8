"""Runs a suite on Dask: on the cores of this machine, or on a cluster, by the same code.

An episode is one task.  Its record is written as soon as it comes back, whole or not at
all, so that whatever is killed, the same command finishes the rest: an episode that was
written is not run again, one that was not is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

from .episode import PATIENCE_S, Record, given_up, run_job
from .results import Results
from .suite import Job, Suite

AHEAD = 4  # tasks for each worker that are given out at once
LIVES = 3  # workers that an episode may outlive
JOIN_S = 60  # for the first worker of a cluster
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        done: episodes, those of earlier runs included.
        total: episodes of the suite.
        failed: of those done in this run.
        latest: the record that has just come, or None at the start.
        dashboard: address of Dask's, where there is one.
    """

    done: int
    total: int
    failed: int
    latest: Record | None
    dashboard: str | None


def run_suite(
    suite: Suite,
    results: Results,
    scheduler: str | None = None,
    patience_s: float = PATIENCE_S,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Run what is missing of a suite.

    Args:
        suite: what is compared.
        results: where its records go.
        scheduler: a number of local workers, the address of a Dask scheduler, or None for
            a worker for each core.
        patience_s: an agent that takes longer over a decision hangs, and has failed.
        on_progress: called at the start and after each episode.

    Raises:
        OSError: a full disk; every record written so far stays.
    """
    jobs = suite.jobs()
    missing = results.missing(jobs)
    done, failed = len(jobs) - len(missing), 0
    progress = Progress(done, len(jobs), failed, None, None)
    if not missing:
        on_progress(progress)
        return progress
    with _client(scheduler) as client:
        progress = Progress(done, len(jobs), failed, None, _dashboard(client))
        on_progress(progress)
        for job, record in _computed(client, missing, patience_s):
            results.keep(job.key, record)
            done, failed = done + 1, failed + record["failed"]
            progress = Progress(done, len(jobs), failed, record, progress.dashboard)
            on_progress(progress)
    return progress


def _computed(client: Any, jobs: list[Job], patience_s: float) -> Iterator[tuple[Job, Record]]:
    """Records as they come; few tasks are given out ahead, however many there are."""
    from distributed import as_completed

    waiting = iter(jobs)
    given: dict[str, Job] = {}

    def room() -> int:
        """How many more may be given out; a cluster may have grown since."""
        return int(AHEAD * max(1, sum(client.nthreads().values())) - len(given))

    def give(job: Job) -> Any:
        future = client.submit(
            _task, job, patience_s, key=f"episode-{job.key}", retries=0, pure=False
        )
        given[future.key] = job
        return future

    pool = as_completed([give(job) for job in islice(waiting, room())])
    for future in pool:
        job = given.pop(future.key)
        record, worker = _result(future, job)
        yield job, record
        if worker is not None:  # it has an agent that hangs in it
            client.restart_workers([worker], timeout=30, raise_for_error=False)
        for following in islice(waiting, max(0, room())):
            pool.add(give(following))


def _task(job: Job, patience_s: float) -> tuple[Record, str | None]:
    """On a worker: a record, and the worker's address where it has to be restarted."""
    from distributed import get_worker

    record = run_job(job, patience_s)
    hangs = record["ended"].startswith("failed: no decision")
    return record, get_worker().address if hangs else None


def _result(future: Any, job: Job) -> tuple[Record, str | None]:
    """What a task brought; an episode that takes its workers down with it has failed."""
    from distributed import KilledWorker

    try:
        record, worker = future.result()
    except KilledWorker:
        return given_up(job, "its workers died, again and again"), None
    except Exception as error:  # of a worker that lacks something, say
        return given_up(job, f"{type(error).__name__}: {error}"[:400]), None
    return record, worker


@contextmanager
def _client(scheduler: str | None) -> Iterator[Any]:
    """A Dask client: of an own cluster of single-threaded processes, or of one that exists."""
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": LIVES})
    if scheduler is not None and not scheduler.isdecimal():
        with Client(scheduler, timeout="10s") as client:
            try:
                client.wait_for_workers(1, timeout=JOIN_S)
            except TimeoutError as error:
                raise ValueError(
                    f"no worker has joined the scheduler at {scheduler} within {JOIN_S} s"
                ) from error
            yield client
        return
    os.environ.update(dict.fromkeys(THREADS, "1"))  # workers are started anew and inherit it
    workers = os.cpu_count() or 1 if scheduler is None else int(scheduler)
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _dashboard(client: Any) -> str | None:
    return getattr(client, "dashboard_link", None) or None
