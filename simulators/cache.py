"""The cache of simulated worlds: one folder for each, named by its content's address.

A folder holds ``header.json`` (what made the world, and the checksum of every
array) and one ``.npy`` file for each array.  Arrays are opened memory-mapped and
read-only, so that all processes share the pages.  A folder is written under
another name and renamed when it is complete; nothing waits, and nothing that a
killed process leaves behind is ever served.

The cache lies in the platform's cache folder, or where ``STEMSCOUT_CACHE`` says.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .files import Arrays, check_arrays, flush, room_for, size_of

VARIABLE = "STEMSCOUT_CACHE"
HEADER = "header.json"
UNFINISHED = "unfinished"  # folder of the rows of simulations that were interrupted
ADDRESS = re.compile(r"[0-9a-f]{8,64}")
ARRAY = re.compile(r"[A-Za-z0-9_]+")
PARTS = ".*.part"  # folders that are being written, or were when their writer was killed
DAY_S = 86_400.0
TRIES = 5

Stamp = tuple[tuple[int, int, int], ...]  # inode, size and time of every file
_sound: dict[Path, Stamp] = {}  # folders whose checksums this process has verified


@dataclass(frozen=True)
class Entry:
    """A world in the cache.

    Attributes:
        digest: its address.
        header: what was put in; empty if it cannot be read.
        bytes: that it takes on the disk.
        created: when it was finished.
    """

    digest: str
    header: Mapping[str, Any]
    bytes: int
    created: datetime


def default_root() -> Path:
    """Where the cache lies: ``STEMSCOUT_CACHE``, or else the platform's cache folder."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("stemscout", appauthor=False)


class Cache:
    """Worlds by their address, under ``root``; any number of processes may share it."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = default_root() if root is None else Path(root)

    def get(self, digest: str) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
        """Header and arrays of a world, memory-mapped and read-only; None if it is not there.

        Every file's size is checked at every call, its checksum at the first
        in a process and whenever a file has changed.  A damaged world is
        removed, so that it can be put again.
        """
        folder = self._folder(digest)
        if not folder.is_dir():
            return None
        try:
            whole = _read_header(folder)
            stamp = _stamp(folder, whole)
            if _sound.get(folder.absolute()) != stamp:
                for name, array in whole["arrays"].items():
                    _check_sum(folder, name, array["sha256"])
            arrays = {name: _open(folder, name, a) for name, a in whole["arrays"].items()}
        except (ValueError, FileNotFoundError):
            self._remove(folder)
            return None
        _sound[folder.absolute()] = stamp
        return whole["header"], arrays

    def put(self, digest: str, header: Mapping[str, Any], arrays: Arrays) -> None:
        """Keep a world; one that is already there stays as it is.

        Raises:
            ValueError: no address; an array of objects, or with an odd name.
            OSError: no room, or no leave to write; nothing is left behind.
        """
        folder = self._folder(digest)
        check_arrays(arrays)
        for name in arrays:
            if not ARRAY.fullmatch(name):
                raise ValueError(f"an array named {name!r}; letters, digits and _ are allowed")
        if self.get(digest) is not None:
            return
        with room_for(folder, size_of(arrays)), self._writable(), self._part(digest) as (part, out):
            sums = {name: _write_array(part, name, array) for name, array in arrays.items()}
            _write_header(out, digest, header, sums)
            flush(part)
            while not _renamed(part, folder):
                if self.get(digest) is not None:  # another writer was first; its world is the same
                    return
            flush(self.root)

    def verify(self, digest: str) -> list[str]:
        """What is wrong with a world, a sentence each; empty where nothing is."""
        folder = self._folder(digest)
        if not folder.is_dir():
            return [f"there is no world {digest}"]
        try:
            whole = _read_header(folder)
        except (ValueError, OSError) as error:
            return [str(error)]
        problems = []
        for name, array in whole["arrays"].items():
            try:
                _check_sum(folder, name, array["sha256"])
                _open(folder, name, array)
            except (ValueError, OSError) as error:
                problems.append(str(error))
        return problems

    def entries(self) -> list[Entry]:
        """Every world, damaged ones included, by address."""
        found = []
        for folder in self._folders():
            header: dict[str, Any] = {}
            with suppress(FileNotFoundError):  # cleaned away in the meantime
                created = folder.stat().st_mtime
                size = sum(file.stat().st_size for file in folder.iterdir())
                with suppress(ValueError):
                    whole = _read_header(folder)
                    header, created = whole["header"], whole["created"]
                found.append(Entry(folder.name, header, size, datetime.fromtimestamp(created, UTC)))
        return found

    def clean(
        self, everything: bool = False, older_than_days: float | None = None, damaged: bool = True
    ) -> int:
        """Remove what killed writers left, and of the rest what is asked for.

        Args:
            everything: every world, and the rows of unfinished simulations.
            older_than_days: worlds and unfinished simulations that are older.
            damaged: worlds that do not agree with their checksums.

        Returns:
            How many were removed.
        """
        if older_than_days is not None and not older_than_days >= 0:
            raise ValueError(f"older than {older_than_days} days; it must be at least 0")
        latest = -np.inf if older_than_days is None else time.time() - older_than_days * DAY_S
        doomed = [part for part in self.root.glob(PARTS) if not _is_written(part)]
        for entry in self.entries():
            old = entry.created.timestamp() < latest
            if everything or old or (damaged and self.verify(entry.digest)):
                doomed.append(self.root / entry.digest)
        for rows in (self.root / UNFINISHED).glob("*"):
            if everything or rows.stat().st_mtime < latest:
                doomed.append(rows)
        for folder in doomed:
            self._remove(folder)
        return len(doomed)

    def rows_folder(self, digest: str) -> Path:
        """Where an unfinished simulation keeps its rows; it need not exist."""
        self._folder(digest)
        return self.root / UNFINISHED / digest

    def forget_rows(self, digest: str) -> None:
        """Remove the rows of a simulation that is finished."""
        shutil.rmtree(self.rows_folder(digest), ignore_errors=True)

    def _folder(self, digest: str) -> Path:
        if not ADDRESS.fullmatch(digest):
            raise ValueError(f"{digest!r} is no world's address; that is 8 to 64 of 0-9 and a-f")
        return self.root / digest

    def _folders(self) -> list[Path]:
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if ADDRESS.fullmatch(p.name) and p.is_dir())

    def _remove(self, folder: Path) -> None:
        """Take a folder away in one step, then delete it; open maps of it stay valid."""
        _sound.pop(folder.absolute(), None)
        aside = self.root / f".{folder.name.strip('.')}.{secrets.token_hex(4)}.part"
        with suppress(FileNotFoundError):  # another process was first
            folder.rename(aside)
            shutil.rmtree(aside)

    @contextmanager
    def _writable(self) -> Iterator[None]:
        """Turn a folder that cannot be written into one sentence."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            yield
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise OSError(
                f"the cache {self.root} cannot be written ({error.strerror}); name a folder of "
                f"your own in the variable {VARIABLE}"
            ) from error

    @contextmanager
    def _part(self, digest: str) -> Iterator[tuple[Path, IO[str]]]:
        """A folder to write into, and its open header; removed at the end if it is still there.

        The header is locked while it is open: the system drops the lock of a
        killed process, and so ``clean`` knows the folders that nobody writes.
        """
        for _ in range(TRIES):
            part = self.root / f".{digest}.{secrets.token_hex(4)}.part"
            part.mkdir()
            with suppress(FileNotFoundError, BlockingIOError), (part / HEADER).open("x") as out:
                _lock(out)
                if not (part / HEADER).exists():  # cleaned away before it was locked
                    continue
                try:
                    yield part, out
                finally:
                    shutil.rmtree(part, ignore_errors=True)
                return
        raise OSError(f"the cache {self.root} is being cleaned all the time; try again")
