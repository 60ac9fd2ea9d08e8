"""The latency of every stack is told; how long it is, is no promise of a test."""

from __future__ import annotations

import pytest

from stemscout.benchmarks.latency import QUICK, STACKS, measured
from stemscout.hardware import ScanRequest

pytest.importorskip("grpc")


def test_every_stack_is_measured():
    request = ScanRequest((0.0, 0.0), (1.6, 1.6), (32, 32), 10.0, detectors=("recorded",))
    rows = measured(QUICK, request, 5)
    assert [row["stack"] for row in rows] == list(STACKS)
    for row in rows:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert (row["disk_ms"] > 0) == ("journal" in row["stack"] or "gRPC" in row["stack"])
    assert rows[0]["own_ms"] == 0.0
