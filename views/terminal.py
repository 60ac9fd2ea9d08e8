"""The terminal: progress, interruption, lists and tables."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..agents.experiment import Experiment, Step


@contextmanager
def interruptible(experiment: Experiment) -> Iterator[None]:
    """The first Ctrl-C stops at the next frame; the third one at once."""
    pressed = 0

    def stop(number: int, frame: Any) -> None:
        nonlocal pressed
        pressed += 1
        if pressed > 2:
            raise KeyboardInterrupt
        again = "" if pressed == 1 else " Once more leaves without."
        console().print(f"Stopping after this frame, then writing everything.{again}")
        experiment.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def leaving_on_terminate() -> Iterator[None]:
    """A request to terminate ends the program as an exception does, so that beams are blanked."""

    def leave(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def progress(configuration: dict[str, Any]) -> Iterator[Callable[[Step], None]]:
    """A bar on standard error with the charge left, and how far perception has been behind."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[left]:.3f} rasters of charge left, frame {task.fields[frame]}"),
        TextColumn("{task.fields[behind]}"),
        TimeElapsedColumn(),
    )
    frames, late_s = 0, 0.0
    with Progress(*columns, console=console(), transient=True) as bar:
        total = configuration["budget"]
        task = bar.add_task(configuration["agent"], total=total, frame=0, left=total, behind="")

        def report(step: Step) -> None:
            nonlocal frames, late_s
            frames, late_s = frames + (step.behind_s > 0.0), late_s + step.behind_s
            words = f"perception behind in {frames}, by {late_s:.2f} s" if frames else ""
            left = max(0.0, total - step.spent)
            bar.update(task, completed=step.spent, frame=step.index + 1, left=left, behind=words)

        yield report


@contextmanager
def episodes() -> Iterator[Callable[[Any], None]]:
    """A bar on standard error for a suite: episodes, failures, time left, Dask's dashboard."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("episodes"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]} failed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task("", total=None, failed=0)

        def report(progress: Any) -> None:
            if progress.latest is None:
                if progress.dashboard:
                    bar.console.print(f"Dask's dashboard: {progress.dashboard}")
                if not progress.alone:
                    bar.console.print(
                        "The folder's file system has no locks: let no second run write into it"
                    )
                if progress.done:
                    bar.console.print(f"{progress.done} of {progress.total} episodes were there")
            elif progress.latest.failed:
                job = progress.latest.job
                bar.console.print(
                    f"{job.label} on specimen {job.specimen} of {job.environment}: "
                    f"{progress.latest.ended}"
                )
            bar.update(task, total=progress.total, completed=progress.done, failed=progress.failed)

        yield report


@contextmanager
def rows_of_tiles() -> Iterator[Callable[[int, int, float | None], None]]:
    """A bar on standard error for a simulation: rows done, rows, seconds left."""
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("row of tiles {task.completed} of {task.total}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    screen = console()
    with Progress(*columns, console=screen, transient=True) as bar:
        task = bar.add_task("", total=None, left="one tile is measured first")

        def report(done: int, total: int, left: float | None) -> None:
            if bar.tasks[task].total is None and left is not None:
                screen.print(f"{total - done} rows of tiles to simulate, about {duration(left)}")
            words = "" if left is None else f"about {duration(left)} left"
            bar.update(task, completed=done, total=total, left=words)

        yield report


@contextmanager
def steps(what: str, total: int) -> Iterator[Callable[[int, str], None]]:
    """A bar on standard error for a training: steps taken, and a word on how it goes."""
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}, step {task.completed} of {task.total}"),
        BarColumn(),
        TextColumn("{task.fields[word]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(what, total=total, word="")
        yield lambda done, word: bar.update(task, completed=done, word=word)


def duration(seconds: float) -> str:
    """As people say it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def console() -> Any:
    from rich.console import Console

    return Console(stderr=True)


def listing(lines: dict[str, Any], as_json: bool, unit: str = "") -> None:
    if as_json:
        print(json.dumps(lines))
        return
    width = max((len(name) for name in lines), default=0)
    for name, value in lines.items():
        print(f"{name:<{width}}  {value} {unit}".rstrip())


def paragraphs(sentences: list[str]) -> None:
    """Each on a line of its own, with an empty one behind the last."""
    print("\n".join(sentences), end="\n\n")


def table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps({"rows": rows}))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(_cell(v) for v in row.values()))
    Console(width=140).print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
