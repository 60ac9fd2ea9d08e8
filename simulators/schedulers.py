"""Where tasks are computed: in this process, by processes of this machine, or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

HERE = "1"  # starts no process


def check_scheduler(scheduler: str) -> None:
    """Refuse what names no scheduler, before anything is computed.

    Raises:
        ValueError: neither a number of processes nor an address.
    """
    number = scheduler.isdecimal() and int(scheduler) >= 1
    protocol, separator, host = scheduler.partition("://")
    if not number and not (protocol and separator and host):
        raise ValueError(
            f"scheduler {scheduler!r}; it must be a number of processes, at least 1, or the "
            "address of a Dask scheduler as tcp://host:8786"
        )


@contextmanager
def computed(
    tasks: Iterator[tuple[int, Any]], scheduler: str
) -> Iterator[tuple[int, Iterator[tuple[int, Any]]]]:
    """How many workers there are, and the (number, result) of lazy tasks as they come.

    Args:
        tasks: (number, lazy Dask object).
        scheduler: a number of local processes, or the address of a Dask
            scheduler (``tcp://host:8786``).
    """
    check_scheduler(scheduler)
    if scheduler == HERE:
        yield 1, ((number, task.compute(scheduler="synchronous")) for number, task in tasks)
        return
    from dask.distributed import Client, LocalCluster, as_completed

    cluster: Any = None
    if scheduler.isdecimal():
        cluster = LocalCluster(
            n_workers=int(scheduler), threads_per_worker=1, dashboard_address=None
        )
        client = Client(cluster)
    else:
        client = Client(scheduler, timeout="10s")
    try:
        workers = max(1, sum(client.nthreads().values()))
        futures = {client.compute(task): number for number, task in tasks}
        finished = as_completed(list(futures), with_results=True)
        yield workers, ((futures[future], result) for future, result in finished)
    finally:
        client.close()
        if cluster is not None:
            cluster.close()
