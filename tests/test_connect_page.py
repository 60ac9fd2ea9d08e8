"""docs/connect-your-microscope.md, followed as it is written, from an empty folder."""

from __future__ import annotations

import ast
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stemscout.hardware import autoscript, pyjem, temscript
from stemscout.hardware.conformance import CHECKS
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.errors import JournalError
from stemscout.hardware.journal import read

PAGE = Path(__file__).parents[1] / "docs" / "connect-your-microscope.md"
# What the page takes for granted: an instrument's own software, in metres and seconds, (x, y).
VENDOR = """
import threading

import numpy as np

PITCH = 0.25e-9  # of the specimen's picture


class Client:
    def __init__(self, address):
        assert address == "192.168.0.7"
        noise = np.fft.rfft2(np.random.default_rng(0).normal(size=(1024, 1024)))
        k = np.hypot(np.fft.fftfreq(1024)[:, None], np.fft.rfftfreq(1024)[None])
        smooth = np.fft.irfft2(noise * np.exp(-((k / 0.05) ** 2)))
        self._specimen = 20_000 + 5_000 * smooth / smooth.std()
        self._stage, self._shift, self._blanked = (0.0, 0.0), (0.0, 0.0), False
        self._stop = threading.Event()

    def screen_current(self):
        return 20e-12

    def stage(self):
        return self._stage

    def beam_shift(self):
        return self._shift

    def is_blanked(self):
        return self._blanked

    def move_stage(self, x, y):
        self._stage = (x, y)

    def set_beam_shift(self, x, y):
        self._shift = (x, y)

    def blank(self, on):
        self._blanked = on

    def stop_scan(self):
        self._stop.set()

    def scan(self, centre, size, pixels, dwell, rotation):
        self._stop.clear()
        u, v = (
            c + ((np.arange(n) + 0.5) / n - 0.5) * s
            for c, s, n in zip(centre, size, pixels, strict=True)
        )
        v, u = np.meshgrid(v, u, indexing="ij")
        x = u * np.cos(rotation) - v * np.sin(rotation) + self._shift[0] - self._stage[0]
        y = v * np.cos(rotation) + u * np.sin(rotation) + self._shift[1] - self._stage[1]
        if self._stop.wait(pixels[0] * pixels[1] * dwell):
            return None
        return self._specimen[np.rint(y / PITCH).astype(int), np.rint(x / PITCH).astype(int)]
"""
JAMMED = """
def jammed(self, x, y):
    raise RuntimeError("the stage is jammed")


Client.move_stage = jammed
"""


def blocks(language):
    """Code of the page, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def commands(verb):
    """Command lines of the page, as lists of words, by their verb."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [w[1:] for w in words if w[:2] == ["stemscout", verb]]


def typed(words):
    """What a shell would run for ``stemscout ...``, in the tests' own environment."""
    return [sys.executable, "-m", "stemscout", *words]


@pytest.fixture
def folder(tmp_path):
    """What whoever reads has made after the first block."""
    adapter, *_ = blocks("python")
    name = re.match(r"# (\w+\.py)\n", adapter)
    assert name is not None
    (tmp_path / name[1]).write_text(adapter)
    (tmp_path / "vendor.py").write_text(VENDOR)
    return tmp_path


def test_from_an_empty_folder_to_a_conforming_adapter_that_was_stopped_in_mid_frame(
    folder, eventually
):
    """Sections 1 to 5: every block of Python in order, and ``stemscout stop`` meanwhile."""
    script = folder / "page.py"
    script.write_text("\n".join(blocks("python")[1:]))
    followed = subprocess.Popen(
        [sys.executable, script.name],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        followed.stdin.write("y\ny\n")  # a person approves of the beam, and of a frame
        followed.stdin.flush()

        def scans():
            try:
                sent = [r for r in read(folder / "runs" / "first") if r.kind == "command"]
            except JournalError:  # there is none yet
                return followed.poll() is not None
            return any(r.data["verb"] == "acquire" for r in sent)

        eventually(scans, 240.0)
        (stop,) = commands("stop")
        done = subprocess.run(typed(stop), cwd=folder, capture_output=True, text=True, check=False)
        told, _ = followed.communicate(timeout=60)
    finally:
        followed.kill()
        followed.communicate()
    kept = re.findall(r"^kept +(\w+)$", told, re.MULTILINE)
    assert kept == list(CHECKS), told
    assert done.stdout.strip() == CONFIRMED, done.stderr
    assert followed.returncode == 0, told
    assert "stopped" in told.splitlines()[-1]


def test_what_a_driver_refuses_in_mid_suite_is_a_failed_check_and_the_next_follows(folder):
    with (folder / "vendor.py").open("a") as vendor:
        vendor.write(JAMMED)
    (folder / "page.py").write_text("\n".join(blocks("python")[1:3]))
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    broken = re.findall(r"^BROKEN (\w+) (.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in broken] == ["stage_carries_the_features"], done.stdout
    assert "the stage is jammed" in broken[0][1]
    assert done.stdout.count("kept  ") == len(CHECKS) - 1


def test_an_experiment_is_run_on_it_and_it_is_served(folder):
    """Section 6, as it is typed."""
    (run,) = (words for words in commands("run") if "my_microscope:make" in words)
    done = subprocess.run(
        typed(run), cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "unverified" in done.stderr
    assert (folder / "runs" / "mine" / "report.html").exists()
    pytest.importorskip("grpc")
    (serve,) = (words for words in commands("serve") if "my_microscope:make" in words)
    server = subprocess.Popen(
        typed([*serve, "--port", "0"]),
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert server.stdout.readline().startswith("My microscope at grpc://127.0.0.1:")
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=60)
    finally:
        server.kill()
        server.communicate()


def test_its_bench_is_one_that_square_software_takes():
    (call,) = re.findall(r"^wide = ScanRequest(\(.*\))$", blocks("python")[2], re.MULTILINE)
    tree = ast.parse(f"f{call}", mode="eval").body
    _, (height, width), (rows, columns), _ = (ast.literal_eval(a) for a in tree.args)
    assert (height, rows) == (width, columns)
    for sides in (autoscript.SIDES, pyjem.SIDES, temscript.IMAGES):
        assert {rows, rows // 2} <= set(sides)
