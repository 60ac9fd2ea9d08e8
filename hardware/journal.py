"""The record of all that was sent to an instrument and all that came back.

A file that only grows.  Each record is a marker, a length, a checksum and a message (``wire.py``),
and holds the hash of all before it: so a byte that is changed is noticed, and a record that is
missing or moved anywhere but at the very end.  A record is on the disk before ``write`` returns;
what a crash leaves of one that was not is a torn tail, which is told of, and cut when the journal
is opened again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from .errors import JournalError
from .wire import Arrays, pack, unpack

BEGIN = b"stemscout journal 1\n"
MARKER = b"\xf7record\n"
HEAD = struct.Struct("<8sII32s")  # marker, length, CRC-32 of what follows it, chain
LARGEST = 2**30  # bytes of a record
CHAIN = hashlib.sha256(BEGIN).digest()  # what the first record follows
NAME = "journal.log"


@dataclass(frozen=True)
class Record:
    """One of a journal.

    Attributes:
        number: from 0.
        kind: what it is of, such as ``command``, ``frame``, ``error``, ``decision``.
        at: seconds since 1970, by the clock of the machine that wrote it.
        data: whatever JSON holds.
        arrays: beside it.
    """

    number: int
    kind: str
    at: float
    data: dict[str, Any]
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Journal:
    """A journal that is written; opened again, it goes on where it ended.

    ``write`` may be called from any thread.

    Args:
        path: of the file, or of a folder, in which it is ``journal.log``.

    Attributes:
        count: records in it.
        cut: bytes of a torn tail, which were cut when it was opened.
        synced_s: time that was spent in waiting for the disk.

    Raises:
        JournalError: it is being written by somebody else, is damaged, or cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        given = Path(path)
        self.path = given if given.suffix == ".log" else given / NAME
        self._lock = threading.Lock()
        self.failed: str | None = None
        self.synced_s = 0.0
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise JournalError(f"{self.path} cannot be written: {error.strerror}") from error
        try:
            self._own()
            self._go_on()
        except BaseException:
            os.close(self._file)
            raise

    def _own(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise JournalError(f"{self.path} is being written by another process") from error
        except OSError:
            pass  # a file system without locks

    def _go_on(self) -> None:
        """Find the end, and cut what a crash left behind it."""
        begun = os.pread(self._file, len(BEGIN), 0)
        if len(begun) < len(BEGIN) and BEGIN.startswith(begun):  # cut short when it was made
            self._sized(0)
            self._put(BEGIN)
            _sync_folder(self.path.parent)
        self._end, self.count, self._chain = len(BEGIN), 0, CHAIN
        self.cut = self._find_end()

    def _find_end(self) -> int:
        """Take in all that is whole behind what is known, and cut the rest; its bytes."""
        with self.path.open("rb") as file:
            for record in _scanned(file, self.path, (self._end, self._chain, self.count)):
                self._end, self._chain, self.count = record.end, record.chain, self.count + 1
        cut = os.fstat(self._file).st_size - self._end
        if cut:
            self._sized(self._end)
        return cut

    def write(
        self, kind: str, data: Mapping[str, Any] | None = None, arrays: Arrays | None = None
    ) -> int:
        """Append a record; it is on the disk when this returns its number.

        Raises:
            JournalError: it is nothing that a journal can hold, or could not be written, and
                nothing of it is left; or an earlier one could not be written.
        """
        try:
            body = pack({"kind": kind, "at": time.time(), "data": dict(data or {})}, arrays)
        except (TypeError, ValueError, RecursionError) as error:
            raise JournalError(f"a record of {kind} that cannot be written: {error}") from error
        if len(body) > LARGEST:
            raise JournalError(f"a record of {len(body)} bytes; the largest has {LARGEST}")
        with self._lock:
            if self.failed is not None:
                raise JournalError(self.failed)
            if os.fstat(self._file).st_size != self._end:
                self._find_end()  # somebody pressed Ctrl-C in the middle of the last one
            chain = hashlib.sha256(self._chain + body).digest()
            checked = zlib.crc32(body, zlib.crc32(chain))
            whole = HEAD.pack(MARKER, len(body), checked, chain) + body
            try:
                self._put(whole)
            except OSError as error:
                self.failed = (
                    f"{self.path} cannot be written ({error.strerror}), so nothing more is sent; "
                    "make room and begin again, or resume it"
                )
                self._undo()
                raise JournalError(self.failed) from error
            number = self.count
            self._chain, self._end, self.count = chain, self._end + len(whole), number + 1
            return number

    def close(self) -> None:
        """Let go of the file; repeated calls are harmless."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1
            self.failed = f"{self.path} is closed"

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _put(self, whole: bytes) -> None:
        view = memoryview(whole)
        while view:
            view = view[os.write(self._file, view) :]
        began = time.perf_counter()
        os.fdatasync(self._file)
        self.synced_s += time.perf_counter() - began

    def _undo(self) -> None:
        with suppress(OSError):  # else it is a torn tail, which the next to open it cuts
            self._sized(self._end)

    def _sized(self, size: int) -> None:
        os.ftruncate(self._file, size)
        os.fdatasync(self._file)


def read(path: str | Path) -> Iterator[Record]:
    """The records of a journal, one after the other; a torn tail (``torn``) is left out.

    Args:
        path: of the file or of the folder that it is in; it may be being written.

    Raises:
        JournalError: no such file, or a damaged one; the sound records before come first.
    """
    with _opened(path) as file:
        for number, found in enumerate(_scanned(file, Path(file.name))):
            try:
                told, arrays = unpack(found.body)
                yield Record(number, told["kind"], told["at"], told["data"], arrays)
            except (KeyError, ValueError) as error:
                raise JournalError(
                    f"{file.name}: record {number} cannot be read: {error}"
                ) from error


def torn(path: str | Path) -> int:
    """Bytes at the end of a journal that are no whole record; nothing is changed.

    Of one that is being written they may be its next record.

    Args:
        path: of the file or of the folder that it is in.

    Raises:
        JournalError: no such file, or a damaged one.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        end = len(BEGIN) if file.read(len(BEGIN)) == BEGIN else 0
        file.seek(0)
        for found in _scanned(file, Path(file.name)):
            end = found.end
        return max(0, size - end)  # it may have grown meanwhile


def _opened(path: str | Path) -> BinaryIO:
    given = Path(path)
    try:
        return (given / NAME if given.is_dir() else given).open("rb")
    except OSError as error:
        raise JournalError(f"there is no journal at {given}: {error.strerror}") from error


@dataclass(frozen=True)
class _Found:
    body: bytes
    chain: bytes
    end: int


def _scanned(
    file: BinaryIO, path: Path, behind: tuple[int, bytes, int] = (len(BEGIN), CHAIN, 0)
) -> Iterator[_Found]:
    """The records of a file as bytes, up to its end or a torn tail.

    Args:
        file: open.
        path: for messages.
        behind: the byte at which to begin, the chain there, and how many records came before.
    """
    begun = file.read(len(BEGIN))
    if begun != BEGIN and BEGIN.startswith(begun):
        return  # it is only just being made
    if begun != BEGIN:
        raise JournalError(f"{path} is no journal")
    at, chain, number = behind
    while True:
        found = _record(file, at)
        if found is None:
            if _follows(file, at):
                raise JournalError(
                    f"{path} is damaged at byte {at}, after {number} sound records, and others "
                    "follow; it is left as it is"
                )
            return
        if found.chain != hashlib.sha256(chain + found.body).digest():
            raise JournalError(
                f"{path}: record {number}, at byte {at}, does not follow the one before it; one "
                "was changed or is missing"
            )
        yield found
        at, chain, number = found.end, found.chain, number + 1


def _record(file: BinaryIO, at: int) -> _Found | None:
    """The record that begins somewhere; None where none is whole there."""
    file.seek(at)
    head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    marker, length, checked, chain = HEAD.unpack(head)
    if marker != MARKER or length > LARGEST:
        return None
    body = file.read(length)
    if len(body) < length or zlib.crc32(body, zlib.crc32(chain)) != checked:
        return None
    return _Found(body, chain, at + HEAD.size + length)


def _follows(file: BinaryIO, at: int) -> bool:
    """Whether a whole record begins anywhere beyond: then this is no torn tail, but damage."""
    file.seek(at)
    rest = file.read()
    place = rest.find(MARKER, 1)
    while place >= 0:
        if _record(file, at + place) is not None:
            return True
        place = rest.find(MARKER, place + 1)
    return False


def _sync_folder(folder: Path) -> None:
    """So that the file's name is on the disk, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
