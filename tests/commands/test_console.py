"""The console from the command line."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("panel")

from stemscout.hardware.journal import read

START = [sys.executable, "-m", "stemscout", "console"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "one of --env and --image"),
        (["--env", "StemScout/MoS2Defects-v0", "--image", "a.png"], "one of --env and --image"),
        (["--env", "StemScout/MoS2Defects-v0", "--pixel-nm", "0.1"], "only goes with --image"),
        (["--env", "StemScout/MoS2Defects-v0", "--mode", "asleep"], "unknown mode"),
        (["--env", "StemScout/MoS2Defects-v0", "--agent", "nobody"], "unknown agent"),
    ],
)
def test_what_makes_no_sense_is_refused(given, says, tmp_path):
    asked = [*START, *given, "--no-browser", "--out", str(tmp_path / "run")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stderr


def test_it_serves_a_run_and_ends_with_a_dark_beam(tmp_path, eventually):
    folder = tmp_path / "run"
    given = ["--env", "StemScout/GrapheneDefects-v0", "--agent", "grid", "--budget", "0.05"]
    asked = [*START, *given, "--no-browser", "--start", "--port", "0", "--out", str(folder)]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True) as running:
        address = running.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as page:
            assert b"StemScout" in page.read()
        eventually(lambda: (folder / "report.html").exists())
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 128 + signal.SIGTERM
    records = list(read(folder))
    assert records[0].data["agent"] == "grid"
    assert [r.kind for r in records].count("frame") == 12
    states = [r.data["blanked"] for r in records if r.kind == "state" and "blanked" in r.data]
    assert states[-1]
