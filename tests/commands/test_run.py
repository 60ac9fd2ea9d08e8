"""Experiments from the command line: every call is a process of its own."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image


def test_help_reads_like_a_table_of_contents(stemscout):
    done = stemscout("--help")
    assert done.returncode == 0
    for word in ("demo", "run", "envs", "agents", "worlds", "simulate", "bench"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        ("demo",),
        ("run",),
        ("envs",),
        ("agents",),
        ("worlds",),
        ("simulate",),
        ("bench", "run"),
        ("bench", "throughput"),
        ("bench", "navigation"),
    ],
)
def test_every_command_has_help_with_an_example(stemscout, command):
    done = stemscout(*command, "--help")
    assert done.returncode == 0
    assert f"stemscout {' '.join(command)}" in done.stdout


def test_lists(stemscout):
    for command, known in (("envs", "StemScout/GrapheneDefects-v0"), ("agents", "linear-bo")):
        done = stemscout(command)
        assert done.returncode == 0
        assert known in done.stdout
        assert known in json.loads(stemscout(command, "--json").stdout)


def test_version(stemscout):
    import stemscout as package

    assert stemscout("--version").stdout.strip() == package.__version__


def test_a_recording_from_file_to_report(stemscout, image, tmp_path):
    out = tmp_path / "run"
    done = stemscout(
        *("run", "--image", image, "--pixel-nm", 0.05, "--agent", "linear-bo"),
        *("--budget", 0.05, "--seed", 0, "--out", out, "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == 14
    assert summary["scores"]["seen"] is None
    assert (out / "report.html").stat().st_size > 50_000


def test_labels_make_a_recording_scored_like_any_other(refused, stemscout, image, tmp_path):
    labels = {
        "unit": "px",
        "classes": [{"name": "spot"}],
        "features": [
            {"class": "spot", "position": [y, x]} for y in (60, 140, 220) for x in (80, 160, 240)
        ],
    }
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels))
    asked = ("run", "--image", image, "--pixel-nm", 0.05, "--agent", "oracle", "--labels")
    done = stemscout(*asked, path, "--budget", 0.1, "--out", tmp_path / "o", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]["seen"] == 1.0
    refused(stemscout(*asked, tmp_path / "none.json"), "none.json")


def test_the_same_seed_repeats_the_run(stemscout, tmp_path):
    paths = []
    for k in range(2):
        done = stemscout(
            *("run", "--env", "StemScout/GrapheneDefects-v0", "--agent", "linear-bo"),
            *("--budget", 0.08, "--seed", 3, "--out", tmp_path / str(k)),
        )
        assert done.returncode == 0, done.stderr
        with (tmp_path / str(k) / "trajectory.csv").open() as handle:
            rows = list(csv.DictReader(handle))
        paths.append([(r["y_nm"], r["x_nm"], r["target"]) for r in rows])
    assert paths[0] == paths[1]


def test_demo_needs_neither_torch_nor_abtem(tmp_path):
    code = (
        "import sys; sys.argv = ['stemscout', 'demo', '--out', 'here', '--json']\n"
        "from stemscout.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "assert not {'torch', 'abtem', 'ase'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == 14
    assert summary["scores"]["seen"] > 0
    assert (tmp_path / "here" / "report.html").exists()


def test_ctrl_c_stops_at_the_next_frame_and_writes_everything(stemscout, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "stemscout", "run", "--env", "StemScout/GrapheneDefects-v0"),
            *("--agent", "linear-bo", "--budget", "1.0", "--out", str(out)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("frames/*.npz"))) < 6:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    summary = json.loads((out / "run.json").read_text())
    frames = len(list(out.glob("frames/*.npz")))
    assert summary["ended"] == "stopped by a person"
    assert summary["spent"]["frames"] == frames < 256
    assert len((out / "trajectory.csv").read_text().splitlines()) == frames + 1
    assert (out / "report.html").exists()


@pytest.mark.parametrize(
    ("name", "pixel_nm", "frames"),
    [
        ("NiO_LSMO_435px.png", 0.046, 57),
        ("BFO_435px.png", 0.071, 57),
        ("Si-Graphene_435px.png", 0.0235, 57),
    ],
)
def test_the_papers_images(stemscout, images, tmp_path, name, pixel_nm, frames):
    """27 px frames of a 435 px image; 20 % of a raster of 17 x 17 is 57 of them."""
    done = stemscout(
        *("run", "--image", images / name, "--pixel-nm", pixel_nm, "--agent", "linear-bo"),
        *("--budget", 0.2, "--seed", 0, "--out", tmp_path / "o", "--json"),
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["spent"]["frames"] == frames
    assert summary["reference_frame"]["shape_yx"] == [27, 27]


def test_linear_bo_goes_to_the_pillars(stemscout, images, tmp_path):
    """On NiO-LSMO more of its frames lie on the pillars than the pillars' share of the field."""
    out = tmp_path / "o"
    done = stemscout(
        *("run", "--image", images / "NiO_LSMO_435px.png", "--pixel-nm", 0.046),
        *("--budget", 0.2, "--out", out),
    )
    assert done.returncode == 0, done.stderr
    whole = np.asarray(Image.open(images / "NiO_LSMO_435px.png"), dtype=float)
    tiles = whole[: 16 * 27, : 16 * 27].reshape(16, 27, 16, 27).swapaxes(1, 2).reshape(-1, 27, 27)
    contrast = tiles.std(axis=(1, 2))  # pillars are smoother than the matrix
    threshold = contrast.mean() - contrast.std()
    taken = [np.load(p)["data_recorded"].std() for p in sorted((out / "frames").glob("*.npz"))]
    share = np.mean(contrast < threshold)
    assert np.mean(np.array(taken[5:]) < threshold) > 1.5 * share


def test_a_survey_is_granted_and_paid_for(stemscout, tmp_path):
    asked = ("run", "--env", "StemScout/NiOPillars-v0", "--agent", "operator", "--budget", 0.1)
    with_it = stemscout(*asked, "--survey", "low", "--out", tmp_path / "a", "--json")
    assert with_it.returncode == 0, with_it.stderr
    without = stemscout(*asked, "--out", tmp_path / "b", "--json")
    frames = [json.loads(done.stdout)["spent"]["frames"] for done in (with_it, without)]
    assert frames[0] < frames[1]
    assert stemscout(*asked, "--survey", "all", "--out", tmp_path / "c").returncode == 2
