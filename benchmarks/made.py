"""With what a record was made, and whether two were made by the same code."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("stemscout", "numpy", "scipy", "numba", "gymnasium", "scikit-learn", "scikit-optimize")
ROOT = Path(__file__).resolve().parents[1]


@cache
def made() -> dict[str, Any]:
    """Versions and machine of this process; asked once, for it takes a while."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "versions": versions,
        "commit": commit(ROOT),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def code_of(made: Mapping[str, Any]) -> str:
    """By which code a record was made: the version of stemscout, and the commit where known.

    Other packages are recorded and not part of it: their patches come with every upgrade.
    """
    number = made["versions"].get("stemscout", "of no known version")
    return number if made["commit"] is None else f"{number} at commit {made['commit'][:12]}"


def commit(root: Path) -> str | None:
    """The git commit checked out in ``root``.

    None where it is no checkout, git cannot tell, or files of the commit were changed since;
    files that git does not know, as results are, do not count.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != root:
        return None
    if _git(root, "status", "--porcelain", "--untracked-files=no") != "":
        return None
    return _git(root, "rev-parse", "HEAD")


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None where it cannot say anything."""
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip()
