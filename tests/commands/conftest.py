"""Calls of the command line, as a user types them: each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

TIMEOUT_S = 120


@pytest.fixture(scope="session")
def stemscout():
    def call(*arguments, cwd=None):
        return subprocess.run(
            [sys.executable, "-m", "stemscout", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            cwd=cwd,
        )

    return call


@pytest.fixture(scope="session")
def refused():
    def check(done, *sentences):
        """Exit code 2, one sentence on standard error, nothing on standard output."""
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        for sentence in sentences:
            assert sentence in " ".join(done.stderr.replace("│", " ").split()), done.stderr
        assert done.stdout == ""

    return check


@pytest.fixture
def image(lattice_image, tmp_path) -> Path:
    path = tmp_path / "mine.png"
    Image.fromarray(lattice_image).save(path)
    return path


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STEMSCOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
