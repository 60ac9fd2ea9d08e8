"""The test specimens, frozen: what every number of the benchmark was measured on.

    python -m stemscout.benchmarks.specimens

writes ``test_specimens.json`` beside this file: for each id and difficulty, of each of the first
30 test specimens its digest (species, positions to 1e-4 nm, features), and a hash of the
frames that ``flagged`` asks about.  A test makes specimens anew and compares; a change that
makes others raises the version of the ids.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from ..envs.registration import ENVIRONMENTS, make_env
from ..envs.sources import SpecimenSource
from ..simulators.specimens import specimen_module
from ..simulators.world import generate
from .scores import flagged_frames

FILE = Path(__file__).parent / "test_specimens.json"
COUNT = 30  # of each id and difficulty
ROUND_NM = 1e-4  # and radians


def sources() -> dict[str, SpecimenSource]:
    """Every id with specimens of its own at each of its difficulties, by a name in words."""
    found = {}
    for name in ENVIRONMENTS:
        if name.endswith(("Recorded-v0", "Live-v0")):
            continue
        kind = make_env(name).source
        assert isinstance(kind, SpecimenSource)
        for level in specimen_module(kind.specimen).LEVELS:
            source = make_env(name, difficulty=level).source
            assert isinstance(source, SpecimenSource)
            found[f"{name} {level}"] = source
    return found


def hashes_of(source: SpecimenSource, number: int) -> str:
    """Of test specimen ``number`` of an id at a difficulty: its digest, and its frames'."""
    specimen = generate(source.recipe(number, "test", 0, None))
    centres, labels = flagged_frames(specimen, source.reference, 0)
    rounded = np.rint(np.array(centres).reshape(-1, 2) / ROUND_NM).astype("<i8")
    angles = np.rint(specimen.feature_angle_rad / ROUND_NM).astype("<i8")
    asked = hashlib.sha256(angles.tobytes() + rounded.tobytes() + labels.tobytes())
    return f"{specimen.digest} {asked.hexdigest()[:8]}"


def frozen() -> dict[str, list[str]]:
    """The hashes in the package."""
    held: dict[str, list[str]] = json.loads(FILE.read_text())
    return held


def main() -> None:
    held = {name: [hashes_of(s, n) for n in range(COUNT)] for name, s in sources().items()}
    FILE.write_text(json.dumps(held, indent=1) + "\n")
    print(f"{FILE.name}: {sum(map(len, held.values()))} specimens")


if __name__ == "__main__":
    main()
