"""Runs a suite on Dask: on the cores of this machine, or on a cluster, by the same code.

An episode is one task.  Its record is written as soon as it comes back, whole or not at
all, so that whatever is killed, the same command finishes the rest: an episode that was
written is not run again, one that was not is.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from .episode import PATIENCE_S
from .jobs import given_up, run_job
from .lock import alone_in
from .made import code_of, made
from .results import Results, packed
from .suite import Job, Suite

AHEAD = 4  # tasks for each worker that are given out at once
LIVES = 3  # workers that an episode may outlive
JOIN_S = 60.0  # for the first worker of a cluster, or another one after the last
LOOK_S = 5.0  # between looks at how many workers there are
PAUSE_S = 0.02  # where nothing has come back
AGAIN = "what was done is written, and the same command finishes the rest"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Done:
    """What a task sends back.

    Attributes:
        job: what was to be done.
        content: of the record's file; the worker has compressed it, so that little travels.
        ended, failed: as in the record.
        code: by which it was made.
        hangs: the worker's address where something hangs in it; it has to go.
    """

    job: Job
    content: bytes
    ended: str
    failed: bool
    code: str
    hangs: str | None = None


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        done: episodes, those of earlier runs included.
        total: episodes of the suite.
        failed: of those done in this run.
        latest: the episode that has just come, or None at the start.
        dashboard: address of Dask's, where there is one.
        alone: no other run can write into the folder; its file system may not know locks.
    """

    done: int
    total: int
    failed: int
    latest: Done | None
    dashboard: str | None
    alone: bool = True


def run_suite(
    suite: Suite,
    results: Results,
    scheduler: str | None = None,
    patience_s: float = PATIENCE_S,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    mixed: bool = False,
) -> Progress:
    """Run what is missing of a suite.

    Args:
        suite: what is compared.
        results: where its records go.
        scheduler: a number of local workers, the address of a Dask scheduler, or None for
            a worker for each core.
        patience_s: an agent that takes longer over a decision hangs, and has failed.
        on_progress: called at the start and after each episode.
        mixed: records may be by other code than those that are there, or than this process.

    Raises:
        ValueError: another run writes into the folder, or records by other code would.
        OSError: a full disk, or a cluster that is gone; every record written so far stays.
    """
    with alone_in(results.folder) as alone:
        jobs = suite.jobs()
        missing = results.missing(jobs, mixed)
        done, failed = len(jobs) - len(missing), 0
        progress = Progress(done, len(jobs), failed, None, None, alone)
        if not missing:
            on_progress(progress)
            return progress
        with _client(scheduler) as client:
            progress = Progress(done, len(jobs), failed, None, _dashboard(client), alone)
            on_progress(progress)
            for latest in _computed(client, missing, suite.digest, patience_s):
                if not mixed and latest.code != code_of(made()):
                    raise ValueError(
                        f"a worker has stemscout {latest.code}, and here it is {code_of(made())}; "
                        "let all have the same, or add --mixed"
                    )
                results.put(latest.job.key, latest.content)
                done, failed = done + 1, failed + latest.failed
                progress = Progress(done, len(jobs), failed, latest, progress.dashboard, alone)
                on_progress(progress)
    return progress


def _computed(client: Any, jobs: list[Job], digest: str, patience_s: float) -> Iterator[Done]:
    """Episodes as they come; few tasks are given out ahead, however many there are."""
    from distributed import as_completed

    cluster = _Workers(client)
    pool = as_completed(with_results=True, raise_errors=False)
    given: dict[str, Job] = {}
    waiting = deque(jobs)
    while waiting or given:
        for _ in range(min(len(waiting), AHEAD * cluster.threads() - len(given))):
            job = waiting.popleft()
            key = f"episode-{job.key}"
            given[key] = job
            pool.add(client.submit(_task, job, digest, patience_s, key=key, pure=False))
        batch = pool.next_batch(block=False)
        if not batch:
            time.sleep(PAUSE_S)
        for future, brought in batch:
            latest = _brought(future.status, brought, given.pop(future.key), digest)
            yield latest
            if latest.hangs is not None:
                cluster.replace(latest.hangs)


def _task(job: Job, digest: str, patience_s: float) -> Done:
    """On a worker: run an episode, and compress its record."""
    from distributed import get_worker

    with redirect_stdout(sys.stderr):  # an agent may print, and results may go to standard output
        record = run_job(job, patience_s)
    hangs = record["ended"].startswith("failed: no decision")
    return _done(job, record, digest, get_worker().address if hangs else None)


def _brought(status: str, brought: Any, job: Job, digest: str) -> Done:
    """What came of a task; an episode that takes its workers down with it has failed.

    Raises:
        ConnectionError: the scheduler is gone, and the tasks with it.
    """
    from distributed import KilledWorker

    if status == "finished":
        found: Done = brought
        return found
    if status != "error":
        raise ConnectionError(f"the scheduler is gone; {AGAIN}")
    _, error, _ = brought
    if isinstance(error, KilledWorker):
        reason = "its workers died, again and again"
    else:  # of a worker that lacks something, say
        reason = f"{type(error).__name__}: {error}"[:400]
    return _done(job, given_up(job, reason), digest)


def _done(job: Job, record: dict[str, Any], digest: str, hangs: str | None = None) -> Done:
    content = packed(record, digest)
    return Done(job, content, record["ended"], record["failed"], code_of(made()), hangs)


class _Workers:
    """How many workers a cluster has; it may grow and shrink while a suite is run."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._threads = 0
        self._looked = self._some = -float("inf")

    def threads(self) -> int:
        """Of all workers together, as of a moment ago: asking takes the scheduler's time.

        Raises:
            ConnectionError: there has been none for a minute, or the scheduler is gone.
        """
        now = time.monotonic()
        if now - self._looked < LOOK_S:
            return self._threads
        try:
            self._threads = sum(self._client.nthreads().values())
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ConnectionError(f"the scheduler is gone; {AGAIN}") from error
        self._looked = now
        if self._threads or self._some < 0:
            self._some = now
        if now - self._some > JOIN_S:
            raise ConnectionError(
                f"no worker is left, and none has joined within {JOIN_S:g} s; {AGAIN}"
            )
        return self._threads

    def replace(self, worker: str) -> None:
        """Restart a worker; one that nobody can restart leaves, and its tasks go to the others.

        The scheduler does both, and the client's own ``restart_workers`` only the first.
        """
        self._client.sync(
            self._client.scheduler.restart_workers,
            workers=[worker],
            wait_for_workers=False,
            on_error="return",
            stimulus_id=f"stemscout-hangs-{time.time()}",
        )
        self._looked = -float("inf")


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
                    f"no worker has joined the scheduler at {scheduler} within {JOIN_S:g} s"
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
