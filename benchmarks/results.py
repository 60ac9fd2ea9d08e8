"""A folder of results: one file for each episode, whole or not there, and one table of all.

    suite.json          what was compared, and its hash
    episodes/*.json.gz  a record for each episode, named by its job; ``compact`` tells its form
    results.parquet     the scores of all, a row for each; pandas, polars and DuckDB open it
    run.lock            held by the run that is under way

A folder belongs to one suite of one version, in one format; another's results never enter it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

from .compact import FORMAT, pack, unpack
from .made import code_of, made
from .suite import Job, Kind, Suite, kind_of

SUFFIX = ".json.gz"
TABLE = "results.parquet"


class Results:
    """The results of a suite in ``folder``, which is made where it is not there.

    Args:
        folder: of this suite, or new or empty.
        suite: whose results these are; None reads what is there.
        given: by what name or path the suite was given, for those who repeat it.

    Raises:
        ValueError: the folder holds results of another suite or in another format, or something
            else, or none; or its ``suite.json`` was edited.
        OSError: it cannot be written.
    """

    def __init__(self, folder: str | Path, suite: Suite | None = None, given: str = "") -> None:
        self.folder = Path(folder)
        mark = self.folder / "suite.json"
        held = _held(mark) if mark.is_file() else None
        if suite is None:
            if held is None:
                raise ValueError(f"{str(self.folder)!r} holds no results of a suite")
            self.suite: dict[str, Any] = held
            return
        self.suite = {
            **asdict(suite),
            "digest": suite.digest,
            "given": given or suite.name,
            "format": FORMAT,
        }
        if held is None:
            if self.folder.exists() and (not self.folder.is_dir() or _others(self.folder)):
                raise ValueError(f"{str(self.folder)!r} holds other things; name a new folder")
            self.folder.mkdir(parents=True, exist_ok=True)
            write(mark, json.dumps(self.suite, allow_nan=False).encode(), durable=True)
        elif held.get("digest") != suite.digest:
            raise ValueError(
                f"{str(self.folder)!r} holds results of suite {held.get('name')!r}, version "
                f"{held.get('version')}, hash {held.get('digest')}; this one is {suite.name!r}, "
                f"version {suite.version}, hash {suite.digest}; name another folder"
            )
        (self.folder / "episodes").mkdir(exist_ok=True)

    def missing(self, jobs: Iterable[Job], mixed: bool = False) -> list[Job]:
        """Those that have no whole record yet.

        Args:
            jobs: of the suite.
            mixed: the rest may be run by other code than the records that are there.

        Raises:
            ValueError: it would be, and that is not wanted.
        """
        missing, codes = [], set()
        for job in jobs:
            record = self._load(job.key)
            if record is None:
                missing.append(job)
            else:
                codes.add(code_of(record["made"]))
        others = sorted(codes - {code_of(made())})
        if missing and others and not mixed:
            raise ValueError(
                f"{str(self.folder)!r} holds episodes by stemscout {', '.join(others)}, and this "
                f"is {code_of(made())}; name another folder, or add --mixed to have both in one"
            )
        return missing

    def keep(self, key: str, record: Mapping[str, Any]) -> None:
        """Write a record; it appears complete or not at all."""
        self.put(key, packed(record, self.suite["digest"]))

    def put(self, key: str, content: bytes) -> None:
        """Write what ``packed`` made of a record; it appears complete or not at all."""
        write(self.path(key), content)

    def records(self) -> list[dict[str, Any]]:
        """All of the suite that are there and whole, by the names of their files."""
        wanted = {job.key for job in self.jobs()}
        found = (self._load(key) for key in self._keys() if key in wanted)
        return [record for record in found if record is not None]

    def jobs(self) -> list[Job]:
        """Every episode of the suite."""
        fields = Suite.__dataclass_fields__
        return Suite(**{k: self.suite[k] for k in fields if k in self.suite}).jobs()

    @property
    def kind(self) -> Kind:
        """What its records are of."""
        return kind_of(self.suite["environments"][0])

    def strangers(self) -> list[str]:
        """Files that are no whole record of an episode of the suite; no table counts them."""
        wanted = {job.key for job in self.jobs()}
        return [k + SUFFIX for k in self._keys() if k not in wanted or self._load(k) is None]

    def _keys(self) -> list[str]:
        names = (p.name for p in (self.folder / "episodes").glob(f"*{SUFFIX}"))
        return sorted(name.removesuffix(SUFFIX) for name in names)

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

    def path(self, key: str) -> Path:
        """Of the record of a job, by the job's key."""
        return self.folder / "episodes" / f"{key}{SUFFIX}"

    def _load(self, key: str) -> dict[str, Any] | None:
        """A record; None where there is none, or what is there is damaged or another's."""
        try:
            record = unpack(self.path(key).read_bytes())
            own = record["suite"] == self.suite["digest"] and Job.of(record["job"]).key == key
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if own and "made" in record else None


def read_table(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's table, as ``row_of`` made them.

    Raises:
        ValueError: there is no table yet.
    """
    import pyarrow.parquet as pq

    if not (folder / TABLE).is_file():
        raise ValueError(f"{str(folder)!r} has no {TABLE}; `stemscout bench run` writes it")
    rows: list[dict[str, Any]] = pq.read_table(folder / TABLE).to_pylist()
    return rows


def packed(record: Mapping[str, Any], digest: str) -> bytes:
    """The content of a record's file, with the suite that it is of and what made it."""
    return pack({"made": made(), **record, "suite": digest})


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


def write(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a file that is whole or not there, whatever stops the process.

    Where the power fails, a file that is not ``durable`` may be damaged.  A record is then found
    out by its checksum, and its episode run again; to wait for the disk each time would take
    longer than all else that is done with it.

    Raises:
        OSError: a full disk, or no leave; what was begun is removed.
    """
    whole = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with whole.open("xb") as part:
            part.write(content)
            if durable:
                part.flush()
                os.fsync(part.fileno())
    except BaseException:
        whole.unlink(missing_ok=True)
        raise
    whole.replace(path)


def _held(mark: Path) -> dict[str, Any]:
    """The suite of a folder; what is none, of another format or edited since is refused."""
    try:
        held = json.loads(mark.read_bytes())
    except ValueError:
        held = None
    if not (isinstance(held, dict) and "digest" in held):
        raise ValueError(f"{str(mark)!r} is no suite's; name another folder")
    if held.get("format") != FORMAT:
        raise ValueError(
            f"{str(mark.parent)!r} holds records in format {held.get('format', 1)}, and this "
            f"version of stemscout has format {FORMAT}; name another folder"
        )
    fields = {k: held[k] for k in Suite.__dataclass_fields__ if k in held}
    try:
        digest = Suite(**fields).digest
    except TypeError:  # some are gone
        digest = None
    if digest != held["digest"]:
        raise ValueError(
            f"{str(mark)!r} was edited: its hash, {held['digest']}, stands for another suite; put "
            "it back as it was, or name another folder"
        )
    return held


def _others(folder: Path) -> list[Path]:
    """What is in a folder besides what a run that was killed at once leaves."""
    return [p for p in folder.iterdir() if p.suffix != ".part"]
