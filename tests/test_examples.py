"""Every example runs as it stands."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
SAID = {
    "first_loop": "of the defects seen in 51 frames",
    "own_agent": "brightest: ",
    "own_task": "until a feature was touched",
    "own_image": "of what the labels name was seen",
    "train_ppo": "ppo: ",
    "record_dataset": "read back unchanged",
}


def test_all_of_them_are_run():
    assert {p.stem for p in EXAMPLES.glob("*.py")} == set(SAID)


@pytest.mark.parametrize("name", SAID)
def test_runs(name, tmp_path, lattice_image):
    if name == "record_dataset" and importlib.util.find_spec("minari") is None:
        pytest.skip("minari, of the extra `record`, is not installed")
    arguments = []
    if name == "train_ppo":
        arguments = ["512"]
    if name == "own_image":
        Image.fromarray(lattice_image).save(tmp_path / "image.png")
        labels = {
            "unit": "px",
            "classes": [{"name": "patch"}],
            "features": [{"class": "patch", "position": p} for p in ([80, 90], [200, 240])],
        }
        (tmp_path / "labels.json").write_text(json.dumps(labels))
        arguments = [tmp_path / "image.png", "0.05", tmp_path / "labels.json"]
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{name}.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MINARI_DATASETS_PATH": str(tmp_path / "datasets")},
    )
    assert done.returncode == 0, done.stderr
    assert SAID[name] in done.stdout
