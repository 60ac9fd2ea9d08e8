"""Experiments that follow drift, from the command line."""

from __future__ import annotations

import json

import pytest

from stemscout.hardware.journal import Journal, read
from stemscout.hardware.replayed import Told

SIM = ("--microscope", "sim://graphene?difficulty=easy", "--dwell-us", "24")


@pytest.mark.parametrize("agent", ["raster", "random", "linear-bo"])
def test_frames_at_the_edge_can_follow_too(stemscout, tmp_path, agent):
    """Raster begins in a corner: what noise moves the beam by must not lead out of the field."""
    out = tmp_path / "run"
    done = stemscout(
        "run", *SIM, "--agent", agent, "--drift-every", "1", "--budget-frames", "20",
        "--out", str(out), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spent"]["frames"] == 20
    assert len(Told.of(read(out)).frames) == 40  # each with its patch


@pytest.mark.parametrize("every", ["1", "4"])
def test_patches_are_paid_for_by_the_budget(stemscout, tmp_path, every):
    done = stemscout(
        "run", *SIM, "--agent", "random", "--drift-every", every, "--budget", "0.15",
        "--out", str(tmp_path / "run"), "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    spent = json.loads(done.stdout)["spent"]
    assert 0.07 < spent["rasters"] <= 0.15


def test_broken_off_it_goes_on_with_the_beam_shift_that_it_had(stemscout, tmp_path):
    """An instrument that begins anew has forgotten its beam shift."""
    out = tmp_path / "run"
    options = ("--agent", "grid", "--drift-every", "2", "--budget-frames", "9", "--out", str(out))
    done = stemscout("run", *SIM, *options)
    assert done.returncode == 0, done.stderr
    whole = list(read(out))
    sixth = [r.number for r in whole if r.kind == "frame"][5]
    cut = tmp_path / "cut"
    cut.mkdir()
    with Journal(cut) as journal:
        for record in whole[: sixth + 1]:
            journal.write(record.kind, record.data, record.arrays)
    assert max(map(abs, Told.of(read(cut)).state.beam_shift_yx_nm)) > 0.0
    done = stemscout("resume", str(cut), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["spent"]["frames"] == 9
    assert "otherwise than recorded" not in done.stderr
