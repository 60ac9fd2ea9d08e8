"""The cache of simulated worlds: one folder for each, named by its content's address.

A folder holds ``header.json`` (what made the world, and the checksum of every
array) and one ``.npy`` file for each array.  Arrays are opened memory-mapped and
read-only, so that all processes share the pages.  A folder is written under
another name and renamed when it is complete; nothing waits, and nothing that a
killed process leaves behind is ever served.

The cache lies in the platform's cache folder, or where ``STEMSCOUT_CACHE`` says.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .files import Arrays, check_arrays, flush, room_for, size_of

VARIABLE = "STEMSCOUT_CACHE"
HEADER = "header.json"
UNFINISHED = "unfinished"  # folder of the rows of simulations that were interrupted
ADDRESS = re.compile(r"[0-9a-f]{8,64}")
PARTS = ".*.part"  # folders that are being written, or were when their writer was killed
DAY_S = 86_400.0
TRIES = 5
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)

Read = tuple[dict[str, Any], dict[str, NDArray[Any]]]  # header and arrays of a world
Reader = Callable[[dict[str, Any], dict[str, NDArray[Any]]], object]
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

    def get(self, digest: str) -> Read | None:
        """Header and arrays of a world, as ``read`` gives them; None if it is not there.

        A damaged world is removed, so that it can be put again.
        """
        folder = self._folder(digest)
        if not folder.is_dir():
            return None
        try:
            return self.read(digest)
        except (ValueError, FileNotFoundError):
            with suppress(OSError):  # a cache that others keep cannot be mended, but is not served
                self._remove(folder)
            return None

    def read(self, digest: str) -> Read:
        """Header and arrays of a world, memory-mapped and read-only; nothing is ever removed.

        Every file's size is checked at every call, its checksum at the first
        in a process and whenever a file has changed.

        Raises:
            ValueError: it is damaged.
            FileNotFoundError: it is not there, or a part of it.
        """
        folder = self._folder(digest)
        whole = _read_header(folder)
        stamp = _stamp(folder, whole)
        if _sound.get(folder.absolute()) != stamp:
            for name, array in whole["arrays"].items():
                _check_sum(folder, name, array["sha256"])
        arrays = {name: _open(folder, name, a) for name, a in whole["arrays"].items()}
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
        with room_for(folder, size_of(arrays)), self.writable():
            self.root.mkdir(parents=True, exist_ok=True)
            if self.get(digest) is not None:
                return
            part, out = self._begin(digest)
            try:
                sums = {name: _write_array(part, name, array) for name, array in arrays.items()}
                _write_header(out, digest, header, sums)
                flush(part)
                for _ in range(TRIES):
                    if _renamed(part, folder):
                        flush(self.root)
                        return
                    if self.get(digest) is not None:  # another writer was first: the same world
                        return
                raise OSError(f"{folder} is damaged and cannot be removed; remove it by hand")
            finally:
                with suppress(OSError):
                    out.close()
                shutil.rmtree(part, ignore_errors=True)

    def verify(self, digest: str, reader: Reader | None = None) -> list[str]:
        """What is wrong with a world, a sentence each; empty where nothing is.

        Args:
            digest: its address.
            reader: takes header and arrays, and raises ``ValueError`` where it
                cannot read them, as those of an older format.
        """
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
        if reader is not None and not problems:
            try:
                reader(*self.read(digest))
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
                with suppress(ValueError, FileNotFoundError):
                    whole = _read_header(folder)
                    header, created = whole["header"], whole["created"]
                found.append(Entry(folder.name, header, size, datetime.fromtimestamp(created, UTC)))
        return found

    def clean(
        self,
        everything: bool = False,
        older_than_days: float | None = None,
        damaged: bool = True,
        reader: Reader | None = None,
    ) -> int:
        """Remove what killed writers left, and of the rest what is asked for.

        Args:
            everything: every world, and the rows of unfinished simulations.
            older_than_days: worlds and unfinished simulations that are older.
            damaged: worlds that do not agree with their checksums.
            reader: as for ``verify``; with ``damaged``, what it cannot read.

        Returns:
            How many were removed.

        Raises:
            OSError: no leave to remove them.
        """
        if older_than_days is not None and not older_than_days >= 0:
            raise ValueError(f"older than {older_than_days} days; it must be at least 0")
        latest = -np.inf if older_than_days is None else time.time() - older_than_days * DAY_S
        with self.writable():
            swept = [self._sweep(part) for part in self.root.glob(PARTS) if part.is_dir()]
        doomed = []
        for entry in self.entries():
            old = entry.created.timestamp() < latest
            if everything or old or (damaged and self.verify(entry.digest, reader)):
                doomed.append(self.root / entry.digest)
        rows = (self.root / UNFINISHED).glob("*")
        doomed += [r for r in rows if everything or r.stat().st_mtime < latest]
        with self.writable():
            for folder in doomed:
                self._remove(folder)
        return sum(swept) + len(doomed)

    def rows_folder(self, digest: str) -> Path:
        """Where an unfinished simulation keeps its rows; it need not exist."""
        self._folder(digest)
        return self.root / UNFINISHED / digest

    def forget_rows(self, digest: str) -> None:
        """Remove the rows of a simulation that is finished."""
        with suppress(OSError):
            self._remove(self.rows_folder(digest))

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
            _delete(aside)

    def _sweep(self, part: Path) -> bool:
        """Remove a half-written folder, unless its writer lives."""
        try:
            with (part / HEADER).open("r+") as header:
                if not _lock(header) and time.time() - part.stat().st_mtime < DAY_S:
                    return False
                self._remove(part)
        except BlockingIOError:
            return False
        except (FileNotFoundError, IsADirectoryError):
            self._remove(part)  # killed before it began, or while it was removed, or not ours
        return True

    def _begin(self, digest: str) -> tuple[Path, IO[str]]:
        """A new folder to write into, and its open header.

        The header is locked while it is open.  The system drops the lock of a
        killed process, and so ``clean`` knows the folders that nobody writes.
        """
        for _ in range(TRIES):
            part = self.root / f".{digest}.{secrets.token_hex(4)}.part"
            part.mkdir()
            with suppress(FileNotFoundError, BlockingIOError):  # it was cleaned away just now
                out = (part / HEADER).open("x")
                _lock(out)
                if (part / HEADER).exists():
                    return part, out
        raise OSError(f"the cache {self.root} is being cleaned all the time; try again")

    @contextmanager
    def writable(self) -> Iterator[None]:
        """Turn errors of a cache that cannot be written into one sentence; others pass."""
        try:
            yield
        except OSError as error:
            about = self.root if error.filename is None else Path(str(error.filename))
            ours = about.is_relative_to(self.root) or self.root.is_relative_to(about)
            # Where no folder can be made, as in /proc, the system says that there is none.
            unmade = error.errno == errno.ENOENT and not self.root.is_dir()
            if not ours or not (unmade or error.errno in NOT_WRITABLE):
                raise
            raise OSError(
                f"the cache {self.root} cannot be written ({error.strerror}); name a folder of "
                f"your own in the variable {VARIABLE}"
            ) from error


def _lock(file: IO[str]) -> bool:
    """Lock a file at once; False where the file system has no locks.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _delete(folder: Path) -> None:
    """Delete a folder in which writers that had found it before it was renamed come and go."""
    for _ in range(TRIES):
        try:
            return shutil.rmtree(folder)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise


def _renamed(part: Path, folder: Path) -> bool:
    """Give a complete folder its name; False if the name is taken."""
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _write_array(folder: Path, name: str, array: NDArray[Any]) -> dict[str, Any]:
    """Write one ``.npy`` file; what the header says about it.

    NumPy's own writer does not say that the disk was full, only that less was
    written than was asked.
    """
    array = np.asarray(array, order="C")
    front = BytesIO()
    npy.write_array_header_1_0(front, npy.header_data_from_array_1_0(array))
    pieces = (front.getvalue(), array.reshape(-1).view(np.uint8).data)
    checksum = hashlib.sha256()
    with (folder / f"{name}.npy").open("xb") as out:
        for piece in pieces:
            out.write(piece)
            checksum.update(piece)
        out.flush()
        os.fsync(out.fileno())
    return {
        "dtype": array.dtype.str,
        "shape": list(array.shape),
        "bytes": sum(len(piece) for piece in pieces),
        "sha256": checksum.hexdigest(),
    }


def _write_header(
    out: IO[str], digest: str, header: Mapping[str, Any], arrays: Mapping[str, Any]
) -> None:
    whole = {
        "digest": digest,
        "created": time.time(),
        "versions": {name: version(name) for name in ("stemscout", "abtem", "numpy")},
        "header": dict(header),
        "arrays": dict(arrays),
    }
    whole = json.loads(json.dumps(whole))  # as it will be read
    json.dump({**whole, "sha256": _sum(whole)}, out, indent=1)
    out.flush()
    os.fsync(out.fileno())


def _read_header(folder: Path) -> dict[str, Any]:
    """The header of a world, checked against its own checksum.

    Raises:
        ValueError: it is damaged, or belongs to another world.
        FileNotFoundError: there is none.
    """
    try:
        whole = json.loads((folder / HEADER).read_text())
        sound = whole.pop("sha256") == _sum(whole) and whole["digest"] == folder.name
    except IsADirectoryError as error:
        raise ValueError(f"{folder / HEADER} is damaged: it is a folder") from error
    except RecursionError as error:  # thousands of brackets; its own words tell of Python's stack
        raise ValueError(f"{folder / HEADER} is damaged: it is nested too deeply") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / HEADER} is damaged: {error}") from error
    if not sound:
        raise ValueError(f"{folder / HEADER} is damaged: its checksum is another")
    return dict(whole)


def _sum(whole: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def _stamp(folder: Path, whole: Mapping[str, Any]) -> Stamp:
    """What tells an unchanged folder; the sizes are checked against the header.

    Raises:
        ValueError: a file is longer or shorter than it was written, or is a folder.
        FileNotFoundError: a file is missing.
    """
    stats = {name: (folder / f"{name}.npy").stat() for name in whole["arrays"]}
    for name, array in whole["arrays"].items():
        if not S_ISREG(stats[name].st_mode):
            raise ValueError(f"{folder / name}.npy is damaged: it is no file")
        if stats[name].st_size != array["bytes"]:
            raise ValueError(
                f"{folder / name}.npy has {stats[name].st_size} bytes; it was written with "
                f"{array['bytes']}"
            )
    every = (os.stat(folder / HEADER), *stats.values())
    return tuple((s.st_ino, s.st_size, s.st_mtime_ns) for s in every)


def _check_sum(folder: Path, name: str, sha256: str) -> None:
    with (folder / f"{name}.npy").open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ValueError(f"{folder / name}.npy is damaged: its checksum is another")


def _open(folder: Path, name: str, array: Mapping[str, Any]) -> NDArray[Any]:
    """An array of a world, as a plain read-only view of the mapped file.

    Numba finds the compiled kernel of a plain array three times as fast as that
    of a ``numpy.memmap``.
    """
    mapped = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    if [mapped.dtype.str, list(mapped.shape)] != [array["dtype"], array["shape"]]:
        raise ValueError(
            f"{folder / name}.npy holds {mapped.dtype} {mapped.shape}; it was written as "
            f"{array['dtype']} {tuple(array['shape'])}"
        )
    return np.asarray(mapped)
