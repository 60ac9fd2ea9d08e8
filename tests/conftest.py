"""What tests share: real images where they are, small worlds, synthetic micrographs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from stemscout.envs.registration import make_env
from stemscout.hardware.conformance import Skipped
from stemscout.simulators.cache import VARIABLE
from stemscout.simulators.world import Recipe, open_world

# How long an example takes says nothing of what it tests.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_configure():
    """Who is started in the background of a script hears no Ctrl-C, nor do those it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Tests, and the commands they start, keep their worlds to themselves."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ[VARIABLE]
    else:
        os.environ[VARIABLE] = before


@pytest.fixture(scope="session")
def eventually():
    """Waits for what other threads and processes bring about."""

    def wait(condition, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def conforms():
    """One check of the conformance suite, of a microscope that is open."""

    def run(check, microscope, bench):
        try:
            check(microscope, bench)
        except Skipped as reason:
            pytest.skip(str(reason))

    return run


@pytest.fixture(scope="session")
def chromium_command() -> list[str]:
    """The system's Chromium without a head, and what keeps it from asking anything elsewhere."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium here")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    return [path, *flags]


@pytest.fixture(scope="session")
def images() -> Path:
    """The folder of recorded micrographs."""
    folder = os.environ.get("STEMSCOUT_IMAGES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STEMSCOUT_IMAGES does not name a folder of recorded micrographs")
    return Path(folder)


@pytest.fixture(scope="session")
def world():
    """A small graphene world by the fast renderer."""
    return open_world(Recipe("graphene", "easy", 3, (2, 0, 0), 8.0))


@pytest.fixture(scope="session")
def lattice_image() -> np.ndarray:
    """A synthetic micrograph (288, 320) uint8: a square lattice with two bright patches."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:288, :320]
    image = 60 + 40 * (np.cos(2 * np.pi * y / 8.3) + np.cos(2 * np.pi * x / 9.1)) / 2
    for cy, cx in ((80, 90), (200, 240)):
        inside = (y - cy) ** 2 + (x - cx) ** 2 < 40**2
        image[inside] = 110 + 40 * np.cos(2 * np.pi * (y[inside] + x[inside]) / 6.0)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def graphene():
    """Makes bare graphene environments, as the experiment loop uses them."""

    def make(**options):
        defaults = {"difficulty": "medium", "split": "test", "terminate_when_done": False}
        return make_env("StemScout/GrapheneDefects-v0", **{**defaults, **options})

    return make


@pytest.fixture
def recorded(lattice_image):
    """Makes bare environments over the synthetic micrograph."""

    def make(**options):
        return make_env("StemScout/Recorded-v0", image=lattice_image, pixel_nm=0.05, **options)

    return make
