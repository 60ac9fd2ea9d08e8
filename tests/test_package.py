"""The repository is the package: layout, front door, registration."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stemscout

ROOT = Path(__file__).parent.parent
LAYERS = ("hardware", "simulators", "envs", "agents", "commands", "views", "benchmarks")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_listed_packages_are_the_folders_that_exist(project):
    found = {"stemscout"}
    for layer in LAYERS:
        for marker in (ROOT / layer).rglob("__init__.py"):
            found.add(".".join(["stemscout", *marker.parent.relative_to(ROOT).parts]))
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_every_python_file_of_a_layer_is_in_a_package():
    for layer in LAYERS:
        for path in (ROOT / layer).rglob("*.py"):
            assert (path.parent / "__init__.py").exists(), path


def test_version_is_said_once(project):
    assert project["project"]["version"] == stemscout.__version__


def test_the_seven_packages_of_the_mission_are_core(project):
    core = " ".join(project["project"]["dependencies"])
    for name in (
        "gymnasium",
        "stable-baselines3",
        "torch>=2.8",
        "scikit-optimize",
        "numpy",
        "abtem",
        "ase",
    ):
        assert name in core
    assert "torchvision" not in core


def test_extras_are_complete(project):
    instruments = {"live", "nion", "temscript", "bluesky"}
    assert {"train", "record", "files", "console", "dev", "all"} | instruments == set(
        project["project"]["optional-dependencies"]
    )


def test_constraints_pin_every_core_dependency(project):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    named = (x.split("==")[0].lower() for x in lines if x and not x.startswith("#"))
    pinned = {x.replace("_", "-") for x in named}
    for requirement in project["project"]["dependencies"]:
        assert requirement.split(">=")[0].lower() in pinned
    assert "torch==2.13.0" in lines


def test_imports_inside_the_package_are_relative():
    for path in [ROOT / "__init__.py", ROOT / "__main__.py"] + [
        p for layer in LAYERS for p in (ROOT / layer).rglob("*.py")
    ]:
        for line in path.read_text().splitlines():
            assert not line.strip().startswith(("import stemscout", "from stemscout")), path


def test_import_is_light():
    heavy = {"torch", "abtem", "ase", "sklearn", "skopt", "matplotlib", "numba", "scipy"}
    loaded = json.loads(fresh("import json, sys, stemscout; print(json.dumps(list(sys.modules)))"))
    assert not heavy & set(loaded)


@pytest.mark.parametrize(
    "code",
    [
        "import stemscout, gymnasium as g; e = g.make('StemScout/GrapheneDefects-v0')",
        "import gymnasium as g; e = g.make('stemscout:StemScout/GrapheneDefects-v0')",
        "import stemscout, gymnasium as g; g.register_envs(stemscout); stemscout.register_all();"
        "e = g.make('StemScout/GrapheneDefects-v0')",
    ],
)
def test_make_works_in_a_fresh_interpreter(code):
    assert "ok" in fresh(f"{code}; e.reset(seed=0); print('ok')")


def test_registration_is_idempotent():
    import gymnasium as gym

    before = {k: v for k, v in gym.registry.items() if k.startswith("StemScout/")}
    stemscout.register_all()
    after = {k: v for k, v in gym.registry.items() if k.startswith("StemScout/")}
    assert before == after
    assert set(before) == set(stemscout.ENVIRONMENTS)
    assert all(before[k] is after[k] for k in before)
