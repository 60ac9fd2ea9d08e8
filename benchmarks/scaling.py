"""How many workers a suite may have: what Dask, the client and the disk cost beside episodes.

    python -m stemscout.benchmarks.scaling                          # prints the tables
    python -m stemscout.benchmarks.scaling --write docs/scaling.md  # puts them into the page

The scheduler and the workers are processes of their own here, as on a cluster, and this
process is the client, so that the processor time of each can be told apart.  Everything
goes the way of ``stemscout bench run``: ``run_suite``, with records written and all.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .episode import run_job
from .results import Results
from .runner import THREADS, run_suite
from .suite import Suite, suite_of

IDS = ("StemScout/GrapheneDefects-v0", "StemScout/NiOPillars-v0")
CONTEST = ("random", "raster", "grid", "oracle")
ONE_FRAME = 1.5 / 256  # rasters: pays for one reference frame of the default field, and not two
LABELS = 100  # of the short episodes' agent: so many run on each specimen, beside its yardstick
LENGTHS_S = (1.0, 10.0, 100.0)  # of episodes, in the table
IDLE_S = 10.0  # of watching what is spent where nothing is to be done
CROWD = 64  # idle workers more, to see what each costs the scheduler
BEATS = 200.0  # a second: Dask's workers report less often the more they are, and no more than that
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True)
class Speed:
    """A suite on so many workers.

    Attributes:
        workers: single-threaded processes.
        episodes: of the suite.
        seconds: of the run, its workers warm: all libraries loaded and compiled.
        seconds_whole: of the same run where its workers have to be started, and ended.
    """

    workers: int
    episodes: int
    seconds: float
    seconds_whole: float


@dataclass(frozen=True)
class Overhead:
    """What a task costs beside its episode; means over all tasks.

    Processor times of client and scheduler are beyond what they spend where nothing is to be done.

    Attributes:
        tasks, workers: how many.
        seconds: of the whole run, workers warm.
        episode_s: of an episode itself.
        worker_s: of a worker between two episodes: packing the record, Dask, waiting for work.
        worker_cpu_s: processor time of a worker beside the episode's.
        client_cpu_s: processor time of the client.
        scheduler_cpu_s: processor time of the scheduler.
        file_s: of the client, writing a record's file; partly the disk's.
        task_bytes, record_bytes: of a task as it goes to a worker, and of what comes back.
        idle: share of a core that the scheduler takes where nothing is to be done.
        beat_s: processor time of the scheduler for a worker's report that it is alive.
    """

    tasks: int
    workers: int
    seconds: float
    episode_s: float
    worker_s: float
    worker_cpu_s: float
    client_cpu_s: float
    scheduler_cpu_s: float
    file_s: float
    task_bytes: float
    record_bytes: float
    idle: float
    beat_s: float

    @property
    def client_s(self) -> float:
        """Of the client for a task: it computes, and it waits for the disk."""
        return self.client_cpu_s + self.file_s

    def most_workers(self, episode_s: float) -> dict[str, float]:
        """How many workers keep the scheduler, or the client, busy all the time.

        W workers ask for W / (episode + worker) tasks a second.  The client has a second's time
        for them; the scheduler has what itself and the workers' reports leave of it.
        """
        each = episode_s + self.worker_s
        left = max(0.0, 1.0 - self.idle - BEATS * self.beat_s)
        return {
            "scheduler": left * each / self.scheduler_cpu_s,
            "client": each / self.client_s,
        }


def plain_suite(specimens: int) -> Suite:
    """Episodes as the suite ``standard`` has them: two ids, four agents, the yardstick."""
    return _suite("scaling", IDS, specimens, 0.4, [{"name": name} for name in CONTEST])


def short_suite(tasks: int) -> Suite:
    """Episodes of one frame, about ``tasks`` of them: one agent under many labels."""
    specimens = max(1, tasks // LABELS)
    labels = [{"name": "random", "label": f"random {n}"} for n in range(tasks // specimens)]
    return _suite("short", IDS[:1], specimens, ONE_FRAME, labels)


def speeds(specimens: int, workers: Sequence[int]) -> Iterator[Speed]:
    """The same suite on more and more workers."""
    suite = plain_suite(specimens)
    for count in workers:
        with cluster(count) as address, watched(suite) as results:
            seconds = _run(suite, results, address)
        with watched(suite) as results:
            whole = _run(suite, results, str(count))
        yield Speed(count, len(suite.jobs()), seconds, whole)


def overhead(tasks: int, workers: int) -> Overhead:
    """What many short episodes cost beside themselves."""
    from distributed import Client

    suite = short_suite(tasks)
    jobs = suite.jobs()
    n = len(jobs)
    with cluster(workers) as address, Client(address) as watch, watched(suite) as results:
        idle = _idle(watch)
        with crowd(watch, CROWD):
            more = _idle(watch)["scheduler"] - idle["scheduler"]
        before = _clocks(watch)
        seconds = _run(suite, results, address)
        spent = {name: now - before[name] for name, now in _clocks(watch).items()}
        records = results.records()
    episode_s = sum(r["wall_s"] for r in records) / n
    return Overhead(
        tasks=n,
        workers=workers,
        seconds=seconds,
        episode_s=episode_s,
        worker_s=workers * seconds / n - episode_s,
        worker_cpu_s=(spent["workers"] - sum(r["cpu_s"] for r in records)) / n,
        client_cpu_s=(spent["client"] - seconds * idle["client"] - results.cpu_s) / n,
        scheduler_cpu_s=(spent["scheduler"] - seconds * idle["scheduler"]) / n,
        file_s=results.seconds / n,
        task_bytes=_sent(jobs[0], suite.digest),
        record_bytes=results.bytes / n,
        idle=idle["scheduler"],
        beat_s=max(0.0, more / (_beats(workers + CROWD) - _beats(workers))),
    )


class Watched(Results):
    """Results that know what it took to write them."""

    def __init__(self, folder: Path, suite: Suite) -> None:
        super().__init__(folder, suite)
        self.seconds = self.cpu_s = self.bytes = 0.0

    def put(self, key: str, content: bytes) -> None:
        began, cpu = time.perf_counter(), time.thread_time()
        super().put(key, content)
        self.seconds += time.perf_counter() - began
        self.cpu_s += time.thread_time() - cpu
        self.bytes += len(content)


def _suite(
    name: str, ids: Sequence[str], specimens: int, budget: float, agents: list[dict[str, str]]
) -> Suite:
    return suite_of(
        name,
        {
            "version": 1,
            "about": "what running it costs",
            "environments": list(ids),
            "difficulties": ["medium"],
            "specimens": specimens,
            "budget": budget,
            "agents": agents,
        },
    )


@contextmanager
def watched(suite: Suite) -> Iterator[Watched]:
    """Results in a folder that is gone afterwards."""
    with TemporaryDirectory() as folder:
        yield Watched(Path(folder) / "results", suite)


def _run(suite: Suite, results: Results, scheduler: str) -> float:
    """Seconds of a whole run."""
    began = time.perf_counter()
    run_suite(suite, results, scheduler)
    return time.perf_counter() - began


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """A scheduler and warm workers, each a process of its own; the scheduler's address."""
    from distributed import Client

    with TemporaryDirectory() as folder:
        told = Path(folder) / "scheduler.json"
        common = ["--scheduler-file", str(told), "--no-dashboard"]
        ways = [["scheduler", "--host", "127.0.0.1", "--port", "0", *common]]
        ways += [["worker", "--nthreads", "1", "--local-directory", folder, *common]] * workers
        environment = {**os.environ, **dict.fromkeys(THREADS, "1")}
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "dask", *way],
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for way in ways
        ]
        try:
            with Client(scheduler_file=str(told), timeout="60s") as client:
                client.wait_for_workers(workers, timeout=120)
                for job in {j.environment: j for j in plain_suite(1).jobs()}.values():
                    client.run(run_job, job)
                address = client.scheduler.address
            yield address
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


IDLERS = """
import asyncio, sys
from distributed import Worker

async def stay():
    idle = [Worker(sys.argv[1], nthreads=1) for _ in range(int(sys.argv[2]))]
    await asyncio.gather(*idle)
    await asyncio.Event().wait()

asyncio.run(stay())
"""


@contextmanager
def crowd(client: Any, count: int) -> Iterator[None]:
    """Idle workers, all in one process: what they cost the scheduler is what is wanted."""
    before = len(client.nthreads())
    process = subprocess.Popen(
        [sys.executable, "-c", IDLERS, client.scheduler.address, str(count)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        client.wait_for_workers(before + count, timeout=120)
        yield
    finally:
        process.terminate()
        process.wait()
        while len(client.nthreads()) > before:  # none of them is to get a task
            time.sleep(0.1)


def _clocks(client: Any) -> dict[str, float]:
    """Processor time so far of the client, the scheduler, and all workers together."""
    return {
        "client": time.process_time(),
        "scheduler": client.run_on_scheduler(time.process_time),
        "workers": sum(client.run(time.process_time).values()),
    }


def _idle(client: Any) -> dict[str, float]:
    """Processor time a second of each, where nothing is to be done."""
    before = _clocks(client)
    time.sleep(IDLE_S)
    return {name: (now - before[name]) / IDLE_S for name, now in _clocks(client).items()}


def _beats(workers: int) -> float:
    """Reports a second of so many workers."""
    from distributed.scheduler import heartbeat_interval

    return workers / float(heartbeat_interval(workers))


def _sent(*task: Any) -> int:
    """Bytes of a task's arguments on their way."""
    from distributed.protocol.serialize import serialize

    return sum(len(frame) for frame in serialize(task)[1])


def tables(times: Sequence[Speed], cost: Overhead) -> str:
    """Everything measured, in Markdown."""
    from .tables import markdown

    one = times[0]
    speed = [
        {
            "workers": s.workers,
            "episodes": s.episodes,
            "episodes a minute": f"{60 * s.episodes / s.seconds:.0f}",
            "ratio": f"{one.seconds / s.seconds:.2f}",
            "start and end included": f"{60 * s.episodes / s.seconds_whole:.0f}",
            "its ratio": f"{one.seconds_whole / s.seconds_whole:.2f}",
        }
        for s in times
    ]
    each = [
        ("an episode itself (1 frame)", _us(cost.episode_s)),
        ("a worker, beside the episode", _us(cost.worker_s)),
        ("of it, processor time", _us(cost.worker_cpu_s)),
        ("the scheduler, processor time", _us(cost.scheduler_cpu_s)),
        ("the client, processor time", _us(cost.client_cpu_s)),
        ("the client, writing the file", _us(cost.file_s)),
        ("files a second, if it did nothing else", f"{1 / cost.file_s:,.0f}"),
        ("bytes to a worker", f"{cost.task_bytes:,.0f}"),
        ("bytes back", f"{cost.record_bytes:,.0f}"),
        ("the scheduler, for a worker's report that it is alive", _us(cost.beat_s)),
        ("the scheduler, where nothing is to be done", f"{100 * cost.idle:.1f} % of a core"),
    ]
    most = [
        {"episodes of": f"{s:g} s"}
        | {f"the {who} is busy at": f"{n:,.0f} workers" for who, n in cost.most_workers(s).items()}
        | {"1,000 workers: tasks a second": f"{1000 / (s + cost.worker_s):,.0f}"}
        for s in LENGTHS_S
    ]
    parts = [
        markdown(speed),
        f"{cost.tasks:,} episodes of one frame, {cost.workers} workers, {cost.seconds:.0f} s:\n",
        markdown([{"for each task": what, "as measured": value} for what, value in each]),
        "Extrapolated from these:\n",
        markdown(most),
    ]
    return "\n".join(parts)


def put_into(page: str, measured: str) -> str:
    """A page with what was measured between its two marks.

    Raises:
        ValueError: it has no such marks.
    """
    block = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not block.search(page):
        raise ValueError(f"the page has no {BEGIN} before an {END}")
    return block.sub(lambda _: f"{BEGIN}\n{measured}{END}", page)


def _us(seconds: float) -> str:
    return f"{1e6 * seconds:,.0f} µs"


def main(arguments: Sequence[str] | None = None) -> Mapping[str, Any]:
    """Measure, print, and write where that is wanted."""
    parser = argparse.ArgumentParser(prog="python -m stemscout.benchmarks.scaling")
    parser.add_argument("--tasks", type=int, default=10_000, help="short episodes (10000)")
    parser.add_argument("--specimens", type=int, default=30, help="of the plain suite (30)")
    parser.add_argument("--workers", type=int, default=2, help="at most (2)")
    parser.add_argument("--write", type=Path, help="the page to put the tables into")
    given = parser.parse_args(arguments)
    for name in ("tasks", "specimens", "workers"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} {getattr(given, name)}; it must be at least 1")
    page = None if given.write is None else given.write.read_text(encoding="utf-8")
    if page is not None:
        put_into(page, "")  # refused before anything is measured
    cost = overhead(given.tasks, given.workers)
    times = list(speeds(given.specimens, sorted({1, given.workers})))
    measured = tables(times, cost)
    print(measured)
    if page is not None:
        given.write.write_text(put_into(page, measured), encoding="utf-8")
    return {"speeds": [asdict(s) for s in times], "overhead": asdict(cost)}


if __name__ == "__main__":
    main()
