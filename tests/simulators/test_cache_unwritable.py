"""The cache where nothing can be written: no room, no leave, no such place; one sentence each."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stemscout.simulators import cache
from stemscout.simulators.cache import Cache

A, B = "a" * 16, "b" * 16
MADE = {"recipe": {"specimen": "graphene", "seed": 3}}
ARRAYS = {"kind": np.arange(30, dtype=np.uint8)}


@pytest.fixture
def store(tmp_path):
    """A cache with the world A in it."""
    store = Cache(tmp_path / "cache")
    store.put(A, MADE, ARRAYS)
    return store


@pytest.mark.parametrize("at", ["_write_array", "_write_header", "flush"])
def test_a_full_disk_leaves_nothing_and_says_so(store, monkeypatch, at):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, at, full)
    with pytest.raises(OSError, match=rf"^no room for .*{B}: it needs up to 1 MB; nothing"):
        store.put(B, MADE, ARRAYS)
    assert [p.name for p in store.root.iterdir()] == [A]


def test_a_disk_that_runs_full_in_mid_array(store):
    """NumPy's own writer would say how much it wrote, and not that the disk is full."""
    code = (
        "import resource, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from stemscout.simulators.cache import Cache\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "Cache(Path(sys.argv[1])).put(sys.argv[2], {}, {'a': np.zeros(300_000)})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.root), B], capture_output=True, text=True
    )
    assert "OSError: no room for" in done.stderr
    assert "it needs up to 3 MB" in done.stderr
    assert [p.name for p in store.root.iterdir()] == [A]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written(store, monkeypatch, code):
    def refused(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OSError, match=r"cannot be written \(.*STEMSCOUT_CACHE") as caught:
        store.put(B, MADE, ARRAYS)
    assert "\n" not in str(caught.value)


def test_work_in_a_folder_that_cannot_be_written(store, tmp_path):
    """Errors about the cache are told as such, those about other files as they are."""
    for about in (store.root / "unfinished" / B, store.root, tmp_path, None):
        refusal = OSError(errno.EROFS, "Read-only file system", about and str(about))
        told = pytest.raises(OSError, match=r"cannot be written \(.*STEMSCOUT_CACHE")
        with told, store.writable():
            raise refusal
    for error in (
        OSError(errno.EROFS, "Read-only file system", "/etc/passwd"),
        OSError(errno.ECONNREFUSED, "Connection refused"),
        FileExistsError("'w.npz' exists; nothing is overwritten"),
    ):
        with pytest.raises(type(error), match=re.escape(str(error))), store.writable():
            raise error


def test_cleaning_a_folder_that_cannot_be_written(store, monkeypatch):
    def refused(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(OSError, match=r"cannot be written \(.*STEMSCOUT_CACHE"):
        store.clean(everything=True)


def test_a_root_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        store = Cache(root)
        assert store.get(A) is None
        assert store.entries() == []
        assert store.clean(everything=True) == 0
        with pytest.raises(OSError, match=r"cannot be written \("):
            store.put(A, MADE, ARRAYS)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_another_user(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="cannot be written"):
        Cache(tmp_path / "cache").put(A, MADE, ARRAYS)
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a place where no folder is made")
def test_a_root_that_cannot_be_made():
    """The system then says "No such file or directory", which is no use to anybody."""
    store = Cache(Path("/proc/stemscout/cache"))
    assert store.get(A) is None
    assert store.clean(everything=True) == 0
    with pytest.raises(OSError, match=r"^the cache /proc/.* cannot be written \(.*STEMSCOUT_CACHE"):
        store.put(A, MADE, ARRAYS)


def test_what_is_missing_in_a_cache_that_is_there(store):
    """Then the folder is not to blame."""
    with pytest.raises(FileNotFoundError, match=f"{B}'$"), store.writable():
        (store.root / B).stat()
