"""A folder of results: one file for each episode, whole or not there, and one table of all.

    suite.json       what was compared, and its hash
    episodes/*.json  a record for each episode, named by its job
    results.parquet  the scores of all, a row for each; pandas, polars and DuckDB open it

A folder belongs to one suite of one version; another's results never enter it.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from .suite import Job, Suite

PACKAGES = ("stemscout", "numpy", "scipy", "numba", "gymnasium", "scikit-learn", "scikit-optimize")
TABLE = "results.parquet"


class Results:
    """The results of a suite in ``folder``, which is made where it is not there.

    Args:
        folder: of this suite, or new or empty.
        suite: whose results these are; None reads what is there.
        given: by what name or path the suite was given, for those who repeat it.

    Raises:
        ValueError: the folder holds results of another suite, or something else, or none.
        OSError: it cannot be written.
    """

    def __init__(self, folder: str | Path, suite: Suite | None = None, given: str = "") -> None:
        self.folder = Path(folder)
        mark = self.folder / "suite.json"
        held = _read(mark) if mark.is_file() else None
        if held is not None and not (isinstance(held, dict) and "digest" in held):
            raise ValueError(f"{str(mark)!r} is no suite's; name another folder")
        if suite is None:
            if held is None:
                raise ValueError(f"{str(self.folder)!r} holds no results of a suite")
            self.suite: dict[str, Any] = held
            return
        self.suite = {**asdict(suite), "digest": suite.digest, "given": given or suite.name}
        if held is None:
            if self.folder.exists() and (not self.folder.is_dir() or _others(self.folder)):
                raise ValueError(f"{str(self.folder)!r} holds other things; name a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            write(mark, self.suite)
        elif held.get("digest") != suite.digest:
            raise ValueError(
                f"{str(self.folder)!r} holds results of suite {held.get('name')!r}, version "
                f"{held.get('version')}, hash {held.get('digest')}; this one is {suite.name!r}, "
                f"version {suite.version}, hash {suite.digest}; name another folder"
            )
        (self.folder / "episodes").mkdir(exist_ok=True)

    def missing(self, jobs: Iterable[Job]) -> list[Job]:
        """Those that have no whole record yet."""
        return [job for job in jobs if self._load(job.key) is None]

    def keep(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record; it appears complete or not at all."""
        write(self._path(key), {**record, "made": made(), "suite": self.suite["digest"]})

    def records(self) -> list[dict[str, Any]]:
        """All that are there and whole, by the names of their files."""
        paths = sorted((self.folder / "episodes").glob("*.json"))
        return [r for r in (self._load(p.stem) for p in paths) if r is not None]

    def write_table(self) -> Path:
        """The scores of all records as one Parquet table; where it is."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        rows = [row_of(r) for r in self.records()]
        names = dict.fromkeys(name for row in rows for name in row)  # a row may lack some
        table = pa.table({name: [row.get(name) for row in rows] for name in names})
        path = self.folder / TABLE
        whole = path.with_suffix(".part")
        pq.write_table(table.replace_schema_metadata({"suite": json.dumps(self.suite)}), whole)
        whole.replace(path)
        return path

    def _path(self, key: str) -> Path:
        return self.folder / "episodes" / f"{key}.json"

    def _load(self, key: str) -> dict[str, Any] | None:
        """A record; None where there is none, or what is there is damaged or another's."""
        try:
            record = _read(self._path(key))
        except (OSError, ValueError):
            return None
        try:
            own = record["suite"] == self.suite["digest"] and Job.of(record["job"]).key == key
        except (KeyError, TypeError):
            return None
        return record if own else None


def row_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """One flat row of the table: the job, how it ended, and every score that is a number."""
    job = record["job"]
    row: dict[str, Any] = {
        "environment": job["environment"],
        "difficulty": job["difficulty"],
        "variant": job["variant"],
        "agent": job["label"],
        "specimen": job["specimen"],
        "budget": job["budget"],
        "yardstick": job["yardstick"],
        "privileged": record["privileged"],
        "ended": record["ended"],
        "failed": record["failed"],
        "wall_s": record["wall_s"],
        "cpu_s": record["cpu_s"],
    }
    for name, value in record["scores"].items():
        if name == "curve":
            continue
        if name in ("found", "flagged"):  # not applicable to all, and then of no number
            parts = FOUND if name == "found" else FLAGGED
            row |= {f"{name}_{k}": None if value is None else value[k] for k in parts}
        elif name == "readings":
            row |= {f"{k}_at_{at}": v for at, read in value.items() for k, v in read.items()}
        elif name == "first_of_class":
            row[name] = json.dumps(value)
        elif isinstance(value, dict):
            row |= {f"{name}_{k}": v for k, v in value.items()}
        else:
            row[name] = value
    return row


FOUND = ("precision", "recall", "f1", "false", "area")
FLAGGED = ("average_precision", "prevalence", "frames")


def made() -> dict[str, Any]:
    """With what a record was made: versions and machine."""
    versions = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {
        "versions": versions,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
    }


def write(path: Path, data: Any) -> None:
    """Write JSON so that a file is whole or not there, whatever stops the process.

    Raises:
        OSError: a full disk, or no leave; what was begun is removed.
    """
    whole = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with whole.open("x", encoding="utf-8") as part:
            json.dump(data, part, allow_nan=False)
            part.flush()
            os.fsync(part.fileno())
    except BaseException:
        whole.unlink(missing_ok=True)
        raise
    whole.replace(path)


def _others(folder: Path) -> list[Path]:
    """What is in a folder besides what a run that was killed at once leaves."""
    return [p for p in folder.iterdir() if p.suffix != ".part"]


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
