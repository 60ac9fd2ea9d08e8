"""What is measured of the console is told; how much it is, is no promise of a test."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("panel")

from stemscout.benchmarks import responsiveness
from stemscout.benchmarks.responsiveness import measured


def test_it_is_read_at_numbers_of_frames(monkeypatch):
    monkeypatch.setattr(responsiveness, "SETTLED", 20)
    monkeypatch.setattr(responsiveness, "BETWEEN", 2)
    readings = measured(60, 10.0, marks=2)
    assert [r.frames for r in readings] == [20, 40, 60]
    for r in readings:
        assert 0 < r.behind_ms <= r.worst_behind_ms
        assert r.answer_ms > 0
        assert r.update_ms > 0
        assert r.sent_kb > 10
        assert 0 < r.pixels_mb < r.memory_mb
        assert 0 < r.pace < 15
    assert np.diff([r.pixels_mb for r in readings]).min() > 0


def test_few_frames_tell_nothing():
    with pytest.raises(ValueError, match="100 frames; there must be more than 200"):
        measured(100)
    with pytest.raises(ValueError, match="0 frames a second"):
        measured(300, 0.0)
