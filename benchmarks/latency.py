"""What stands between an agent and an instrument, and what it costs for each frame.

    python -m stemscout.benchmarks.latency --frames 200 --json

An instrument that answers at once, and Nion Swift's simulated one where it is installed, are asked
for the same frame bare, guarded, with a journal, in a process of their own, and over gRPC.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..hardware.adapter import Adapter
from ..hardware.guard import guarded
from ..hardware.journal import Journal
from ..hardware.microscope import Microscope, ScanRequest
from ..hardware.remote import RemoteMicroscope
from ..hardware.server import Server
from ..simulators.recorded import DETECTOR, RecordedMicroscope

FRAMES = 200
WARM = 10
SIDE = 192  # pixels of the image that the quick instrument replays
QUICK = "stemscout.benchmarks.latency:quick"
USIM = "stemscout.hardware.nion:simulated"
STACKS = ("bare", "guard", "guard + journal", "process", "process + guard + journal", "gRPC + all")


def quick() -> RecordedMicroscope:
    """An instrument that answers at once: a replayed image of noise."""
    image = np.random.default_rng(0).random((SIDE, SIDE))
    return RecordedMicroscope(image, 0.05)


def measured(factory: str, request: ScanRequest, frames: int = FRAMES) -> list[dict[str, Any]]:
    """Milliseconds a frame, one row for each of ``STACKS``.

    Args:
        factory: ``module:function`` that makes the instrument.
        request: the frame that is asked for.
        frames: of each stack; medians are told.
    """
    rows: list[dict[str, Any]] = []
    for stack in STACKS:
        with _stacked(factory, stack) as (microscope, journal):
            for _ in range(WARM):
                microscope.acquire(request)
            times, waited = [], 0.0 if journal is None else journal.synced_s
            for _ in range(frames):
                began = time.perf_counter()
                microscope.acquire(request)
                times.append(time.perf_counter() - began)
            disk = 0.0 if journal is None else (journal.synced_s - waited) / frames
        median, p95 = np.median(times) * 1e3, np.percentile(times, 95) * 1e3
        bare = rows[0]["median_ms"] if rows else median
        rows.append(
            {
                "stack": stack,
                "median_ms": round(float(median), 3),
                "p95_ms": round(float(p95), 3),
                "disk_ms": round(disk * 1e3, 3),
                "own_ms": round(float(median) - bare - disk * 1e3, 3),
            }
        )
    return rows


@cache
def _here(factory: str) -> Microscope:
    """The instrument in this process; Nion's stack can be made once in one."""
    module, _, name = factory.partition(":")
    made: Microscope = getattr(import_module(module), name)()
    return made


@contextmanager
def _stacked(factory: str, stack: str) -> Iterator[tuple[Microscope, Journal | None]]:
    """A microscope behind what a stack names, opened, and the journal in it."""
    with ExitStack() as undo:
        if "process" in stack or stack.startswith("gRPC"):
            microscope: Microscope = Adapter(factory)
        else:
            microscope = _here(factory)
        journal = None
        if "journal" in stack or stack.startswith("gRPC"):
            folder = undo.enter_context(tempfile.TemporaryDirectory())
            journal = undo.enter_context(Journal(Path(folder)))
        if "guard" in stack or stack.startswith("gRPC"):
            microscope = guarded(microscope, journal=journal)
            if stack.startswith("gRPC"):
                server = undo.enter_context(Server(microscope))
                microscope = RemoteMicroscope(f"grpc://127.0.0.1:{server.port}")
        microscope.open()
        undo.callback(microscope.close)
        microscope.blank(False)
        yield microscope, journal


def report(frames: int = FRAMES) -> dict[str, list[dict[str, Any]]]:
    """Both instruments, as far as they are installed."""
    quick_frame = ScanRequest((0.0, 0.0), (3.2, 3.2), (64, 64), 10.0, detectors=(DETECTOR,))
    found = {"answers at once": measured(QUICK, quick_frame, frames)}
    if find_spec("nion") is not None and find_spec("nion.usim_device") is not None:
        usim = ScanRequest((0.0, 0.0), (64.0, 64.0), (64, 64), 1.0)
        found["Nion Swift, simulated, 64 x 64 at 1 µs"] = measured(USIM, usim, frames)
    return found


def main() -> None:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = report(given.frames)
    if given.json:
        print(json.dumps(found, indent=1), flush=True)
        os._exit(0)  # Nion's threads would keep the process
    for instrument, rows in found.items():
        print(f"\n{instrument}\n{'':28} median    p95   disk    own  (ms a frame)")
        for row in rows:
            numbers = "".join(
                f"{row[k]:7.2f}" for k in ("median_ms", "p95_ms", "disk_ms", "own_ms")
            )
            print(f"{row['stack']:28}{numbers}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
