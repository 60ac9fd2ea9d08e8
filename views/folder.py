"""What a run leaves on disk, written step by step."""

from __future__ import annotations

import csv
import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.experiment import Step

COLUMNS = (
    "index",
    "y_nm",
    "x_nm",
    "fov_y_nm",
    "fov_x_nm",
    "charge_e",
    "spent_rasters",
    "time_s",
    "latency_ms",
    "target",
    "task_fraction",
    "reason",
)
FILES = ("trajectory.csv", "run.json", "report.html")
PACKAGES = (
    "stemscout",
    "numpy",
    "scipy",
    "numba",
    "gymnasium",
    "scikit-learn",
    "scikit-optimize",
    "matplotlib",
)


class RunFolder:
    """``trajectory.csv``, ``frames/``, ``run.json`` and ``report.html`` of one run.

    Args:
        path: a folder that does not exist yet, or is empty.
        again: what an earlier part of the run left there is written anew.

    Raises:
        FileExistsError: it holds something; nothing is overwritten.
    """

    def __init__(self, path: str | Path, again: bool = False) -> None:
        self.path = Path(path)
        if (self.path.exists() or self.path.is_symlink()) and not self.path.is_dir():
            raise FileExistsError(f"{str(self.path)!r} is a file; name a folder for the run")
        if again:
            frames = (self.path / "frames").glob("*.npz")
            for old in (*(self.path / name for name in FILES), *frames):
                old.unlink(missing_ok=True)
        elif self.path.is_dir() and any(self.path.iterdir()):
            what = "a run" if (self.path / "run.json").exists() else "files"
            raise FileExistsError(
                f"{str(self.path)!r} already holds {what}; name a new or empty folder"
            )
        whole = self.path.absolute()
        ancestor = next(p for p in (whole, *whole.parents) if p.exists())
        if not ancestor.is_dir():
            raise FileExistsError(f"{str(ancestor)!r} is a file; {str(self.path)!r} cannot be made")
        if not os.access(ancestor, os.W_OK):
            raise PermissionError(f"{str(ancestor)!r} cannot be written to; name another folder")
        self._mine = False

    def add(self, step: Step) -> None:
        """Append a step to the trajectory and keep its frame; the first makes the folder."""
        self._create()
        frame = step.frame
        arrays: dict[str, Any] = {f"data_{name}": image for name, image in frame.data.items()}
        np.savez_compressed(
            self.path / "frames" / f"{step.index:05d}.npz",
            centre_yx_nm=frame.region.centre_yx_nm,
            fov_yx_nm=frame.region.fov_yx_nm,
            rotation_rad=frame.region.rotation_rad,
            dwell_us=frame.request.dwell_us,
            charge_e=np.nan if frame.charge_e is None else frame.charge_e,
            **arrays,
        )
        y, x = frame.region.centre_yx_nm
        row = (
            step.index,
            f"{y:.4f}",
            f"{x:.4f}",
            f"{frame.region.fov_yx_nm[0]:.4f}",
            f"{frame.region.fov_yx_nm[1]:.4f}",
            "" if frame.charge_e is None else f"{frame.charge_e:.0f}",
            f"{step.spent:.6f}",
            f"{step.time_s:.4f}",
            f"{step.latency_s * 1e3:.2f}",
            "" if step.target is None else f"{step.target:.6g}",
            f"{step.fraction:.6f}",
            step.explanation.sentence,
        )
        with self._trajectory("a") as handle:
            csv.writer(handle).writerow(row)

    def finish(self, summary: dict[str, Any], report: str) -> None:
        """Write ``run.json`` and ``report.html``."""
        self._create()
        whole = {"versions": versions(), **summary}
        (self.path / "run.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
        (self.path / "report.html").write_text(report, encoding="utf-8")

    def _create(self) -> None:
        if self._mine:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        try:  # exclusive, so that of two runs given one folder only one has it
            with self._trajectory("x") as handle:
                csv.writer(handle).writerow(COLUMNS)
        except FileExistsError as error:
            raise FileExistsError(f"{str(self.path)!r} was taken by another run") from error
        (self.path / "frames").mkdir(exist_ok=True)
        self._mine = True

    def _trajectory(self, mode: str) -> Any:
        return (self.path / "trajectory.csv").open(mode, newline="", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
