"""The cache of simulated worlds, shared by all processes of a user.

A world lies in a folder named by its address, with a ``header.json`` (what made
it, and the checksum of every array) and one ``.npy`` file for each array, which
are memory-mapped, so that processes share their pages.  A folder is written
beside its place and renamed into it: it is whole or it is not there.  Two
writers of the same world write the same, and the second discards its own; what
a killed writer leaves is never served, and cleaned up.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import explained

VARIABLE = "STEMSCOUT_CACHE"
HEADER = "header.json"
UNFINISHED, PARTS = "unfinished", "parts"
PART_AGE_S = 24 * 3600.0  # a folder half written for longer belongs to a killed writer
ADDRESS = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Entry:
    """A cached world: its address, its size, and when it was made (seconds since 1970)."""

    digest: str
    bytes: int
    created_s: float


class Cache:
    """Worlds by address.

    Args:
        root: its folder; that of ``STEMSCOUT_CACHE``, or the platform's cache
            folder, by default.  It is made when something is put into it.
    """

    # Folders whose checksums this process has compared, by the state of their files.
    _verified: dict[Path, tuple[tuple[str, int, int], ...]] = {}

    def __init__(self, root: Path | None = None) -> None:
        self.root = Path(root) if root is not None else default_root()

    def get(self, digest: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Header and memory-mapped arrays of a world; None where there is none.

        A damaged entry is removed and not served: None, and the world is made anew.
        """
        folder = self._folder(digest)
        if not folder.is_dir():
            return None
        try:
            state = _state(folder)
            if self._verified.get(folder) != state:
                if _problems(folder):
                    raise ValueError("damaged")
                self._verified[folder] = state
            header = json.loads((folder / HEADER).read_text())
            arrays = {
                name: np.load(folder / f"{name}.npy", mmap_mode="r" if known["bytes"] else None)
                for name, known in header["arrays"].items()
            }
        except (OSError, ValueError, KeyError, TypeError):
            self._remove(folder)
            return None
        return header["world"], arrays

    def put(
        self, digest: str, world: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Path:
        """Keep a world under its address; one that is there stays as it is.

        Raises:
            OSError: the folder cannot be written or the disk is full; nothing is left behind.
        """
        folder = self._folder(digest)
        if folder.is_dir() and not _problems(folder):
            return folder
        self._remove(folder)
        part: Path | None = None
        try:
            (self.root / PARTS).mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(prefix=f"{digest}-", dir=self.root / PARTS))
            listed = {name: _write(part / f"{name}.npy", a) for name, a in arrays.items()}
            header = {"world": dict(world), "arrays": listed, "created_s": time.time()}
            text = json.dumps(header).encode()
            _write_bytes(part / HEADER, text)
            with contextlib.suppress(FileExistsError, OSError):
                part.rename(folder)  # fails where another writer was first
                part = None
            if not folder.is_dir():
                raise OSError(f"{str(folder)!r} could not be made")
        except OSError as error:
            raise explained(error, folder, arrays) from error
        finally:
            if part is not None:
                shutil.rmtree(part, ignore_errors=True)
        return folder

    def verify(self, digest: str) -> list[str]:
        """What is wrong with an entry, as sentences; empty where nothing is."""
        folder = self._folder(digest)
        return _problems(folder) if folder.is_dir() else [f"there is no world {digest}"]

    def entries(self) -> list[Entry]:
        """What there is, the oldest first; damaged entries too."""
        found = []
        for folder in self._folders():
            sizes = [p.stat().st_size for p in folder.iterdir() if p.is_file()]
            found.append(Entry(folder.name, sum(sizes), folder.stat().st_mtime))
        return sorted(found, key=lambda e: (e.created_s, e.digest))

    def clean(self, everything: bool = False, older_than_days: float | None = None) -> list[str]:
        """Remove damaged entries and what killed writers left; more if asked; their names."""
        if older_than_days is not None and not older_than_days >= 0:
            raise ValueError(f"older than {older_than_days} days; it must be at least 0")
        removed = []
        for entry in self.entries():
            old = older_than_days is not None and (
                time.time() - entry.created_s > older_than_days * 86400
            )
            if everything or old or self.verify(entry.digest):
                self._remove(self.root / entry.digest)
                removed.append(entry.digest)
        for part in self._inside(PARTS):
            if everything or time.time() - part.stat().st_mtime > PART_AGE_S:
                self._remove(part)
                removed.append(part.name)
        if everything:
            for rows in self._inside(UNFINISHED):
                self._remove(rows)
                removed.append(f"{UNFINISHED} {rows.name}")
        return removed

    def rows_folder(self, digest: str) -> Path:
        """Where an unfinished simulation keeps its rows."""
        return self.root / UNFINISHED / self._folder(digest).name

    def forget_rows(self, digest: str) -> None:
        """Remove the rows of a simulation that is finished."""
        shutil.rmtree(self.rows_folder(digest), ignore_errors=True)

    def _folder(self, digest: str) -> Path:
        if not ADDRESS.fullmatch(digest):
            raise ValueError(f"{digest!r} is not the address of a world: 8 to 64 digits of 0-9a-f")
        return self.root / digest

    def _folders(self) -> Iterator[Path]:
        if self.root.is_dir():
            for path in self.root.iterdir():
                if path.is_dir() and ADDRESS.fullmatch(path.name):
                    yield path

    def _inside(self, name: str) -> list[Path]:
        folder = self.root / name
        return sorted(folder.iterdir()) if folder.is_dir() else []

    def _remove(self, folder: Path) -> None:
        """Out of the way at once, then deleted: nobody sees half of it."""
        self._verified.pop(folder, None)
        if not folder.exists():
            return
        away = self.root / PARTS / f"{folder.name}-{os.getpid()}-{time.monotonic_ns()}"
        away.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def default_root() -> Path:
    """The folder of ``STEMSCOUT_CACHE``, or of the platform."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("stemscout", appauthor=False)) / "worlds"


def _write(path: Path, array: NDArray[Any]) -> dict[str, Any]:
    with path.open("wb") as handle:
        np.save(handle, np.ascontiguousarray(array), allow_pickle=False)
        handle.flush()
        os.fsync(handle.fileno())
    return {"bytes": int(array.nbytes), "file": path.stat().st_size, "sha256": _sha256(path)}


def _write_bytes(path: Path, text: bytes) -> None:
    with path.open("wb") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    files = sorted(p for p in folder.iterdir() if p.is_file())
    return tuple((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in files)


def _problems(folder: Path) -> list[str]:
    try:
        header = json.loads((folder / HEADER).read_text())
        listed = {name: (known["file"], known["sha256"]) for name, known in header["arrays"].items()}
        header["world"]["made"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"{HEADER} is not readable: {error}"]
    found = []
    for name, (size, checksum) in listed.items():
        path = folder / f"{name}.npy"
        if not path.is_file():
            found.append(f"{name}.npy is missing")
        elif path.stat().st_size != size:
            found.append(f"{name}.npy has {path.stat().st_size} bytes instead of {size}")
        elif _sha256(path) != checksum:
            found.append(f"{name}.npy does not have the checksum it was written with")
    return found
