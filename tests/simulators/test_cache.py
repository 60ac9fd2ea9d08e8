"""The cache: whole worlds or none, whatever happens to their writers and their files."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from stemscout.simulators import cache
from stemscout.simulators.cache import Cache, default_root

A, B, C = "a" * 16, "b" * 16, "0123456789abcdef"
MADE = {"recipe": {"specimen": "graphene", "seed": 3}, "optics": {"energy_kev": 60.0}}
ARRAYS = {
    "coefficients_haadf": np.random.default_rng(0).random((60, 50), dtype=np.float32),
    "positions_yx_nm": np.random.default_rng(1).random((30, 2)),
    "kind": np.arange(30, dtype=np.uint8),
    "share": np.empty(0),
    "none_yx_nm": np.empty((0, 2)),
    "single": np.array(3.5),
    "across": np.asfortranarray(np.arange(6).reshape(2, 3)),
}


@pytest.fixture
def store(tmp_path):
    """A cache with the world A in it."""
    store = Cache(tmp_path / "cache")
    store.put(A, MADE, ARRAYS)
    return store


def assert_is_the_world(found):
    assert found is not None
    header, arrays = found
    assert header == MADE
    assert list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert np.array_equal(array, ARRAYS[name])


def files_of(store):
    return sorted(p for p in store.root.rglob("*") if p.is_file())


class TestKeeping:
    def test_what_was_put_is_what_is_got(self, store):
        assert_is_the_world(store.get(A))
        assert store.get(B) is None
        assert store.verify(A) == []
        assert store.verify(B) == [f"there is no world {B}"]

    def test_arrays_are_mapped_and_read_only(self, store):
        """All processes share the pages; the kernels get plain arrays."""
        _, arrays = store.get(A)
        for array in arrays.values():
            assert type(array) is np.ndarray
            assert isinstance(array.base, np.memmap)
            assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            arrays["kind"][0] = 1

    def test_a_map_outlives_its_file(self, store):
        _, arrays = store.get(A)
        store.clean(everything=True)
        assert np.array_equal(arrays["positions_yx_nm"], ARRAYS["positions_yx_nm"])

    def test_the_header_tells_what_made_it(self, store):
        whole = json.loads((store.root / A / "header.json").read_text())
        assert whole["header"] == MADE
        assert set(whole["versions"]) == {"stemscout", "abtem", "numpy"}
        assert set(whole["arrays"]["kind"]) == {"dtype", "shape", "bytes", "sha256"}

    def test_numpy_alone_reads_the_arrays(self, store):
        for name, array in ARRAYS.items():
            assert np.array_equal(np.load(store.root / A / f"{name}.npy"), array)

    def test_a_world_that_is_there_stays(self, store):
        before = (store.root / A).stat()
        store.put(A, {"another": 1}, {})
        assert (store.root / A).stat().st_ino == before.st_ino
        assert_is_the_world(store.get(A))

    def test_entries(self, store):
        assert Cache(store.root / "none").entries() == []
        store.put(B, {}, {"a": np.zeros(1000)})
        (store.root / C).mkdir()
        (store.root / "a file of the user").write_text("")
        entries = {e.digest: e for e in store.entries()}
        assert set(entries) == {A, B, C}
        assert entries[A].header == MADE
        assert 8000 < entries[B].bytes < 10_000
        assert entries[C].header == {}
        assert abs(entries[A].created - datetime.now(UTC)) < timedelta(minutes=1)

    @pytest.mark.parametrize(
        "digest", ["", "..", "../../etc", f"../{A}", f"{A}/..", "A" * 16, "abc", f"{A}\n", "/tmp"]
    )
    def test_only_addresses_lead_anywhere(self, store, digest):
        for call in (store.get, store.verify, store.rows_folder, store.forget_rows):
            with pytest.raises(ValueError, match="is no world's address"):
                call(digest)
        with pytest.raises(ValueError, match="is no world's address"):
            store.put(digest, {}, {})

    @pytest.mark.parametrize("name", ["../up", "a/b", "", "header"])
    def test_only_names_are_written(self, store, name):
        with pytest.raises(ValueError, match="an array named"):
            store.put(B, {}, {name: np.zeros(2)})

    def test_objects_are_refused(self, store):
        with pytest.raises(ValueError, match="holds objects"):
            store.put(B, {}, {"a": np.array([{}])})
        assert store.get(B) is None

    def test_where_it_lies(self, monkeypatch, tmp_path):
        monkeypatch.setenv("STEMSCOUT_CACHE", str(tmp_path))
        assert Cache().root == tmp_path == default_root()
        monkeypatch.setenv("STEMSCOUT_CACHE", "")
        assert default_root().name == "stemscout"

    def test_rows_of_an_unfinished_simulation(self, store):
        rows = store.rows_folder(B)
        assert rows == store.root / "unfinished" / B
        assert not rows.exists()
        rows.mkdir(parents=True)
        (rows / "row.npy").write_text("")
        assert [e.digest for e in store.entries()] == [A]
        store.forget_rows(B)
        store.forget_rows(B)
        assert not rows.exists()
        assert sorted(p.name for p in store.root.iterdir()) == [A, "unfinished"]


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-8])


def change_a_number(path):
    path.write_text(path.read_text().replace("60.0", "61.0"))


def make_it_a_folder(path):
    path.unlink()
    path.mkdir()


DAMAGE = {
    "flipped byte": ("positions_yx_nm.npy", flip_a_byte),
    "cut short": ("coefficients_haadf.npy", cut_short),
    "missing array": ("kind.npy", Path.unlink),
    "empty array": ("kind.npy", lambda path: path.write_bytes(b"")),
    "missing header": ("header.json", Path.unlink),
    "empty header": ("header.json", lambda path: path.write_bytes(b"")),
    "header of another kind": ("header.json", lambda path: path.write_text("[1, 2]")),
    "binary header": ("header.json", lambda path: path.write_bytes(b"\xff\xfe\x00")),
    "header of brackets": ("header.json", lambda path: path.write_text("[" * 100_000)),
    "folder for a header": ("header.json", make_it_a_folder),
    "folder for an array": ("kind.npy", make_it_a_folder),
    "another optics": ("header.json", change_a_number),
}


@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE)
class TestDamage:
    """A damaged world is never served: it is gone, and can be put again."""

    @pytest.mark.parametrize("opened", [False, True], ids=["unopened", "opened before"])
    def test_is_removed_and_rebuilt(self, store, name, damage, opened):
        if opened:
            assert store.get(A) is not None
        damage(store.root / A / name)
        assert store.get(A) is None
        assert list(store.root.iterdir()) == []
        store.put(A, MADE, ARRAYS)
        assert_is_the_world(store.get(A))

    def test_is_replaced_by_put(self, store, name, damage):
        damage(store.root / A / name)
        store.put(A, MADE, ARRAYS)
        assert_is_the_world(store.get(A))

    def test_is_named_by_verify_and_cleaned(self, store, name, damage):
        store.put(B, MADE, ARRAYS)
        damage(store.root / A / name)
        (problem,) = store.verify(A)
        assert name in problem
        assert store.clean(damaged=False) == 0
        assert store.clean() == 1
        assert [e.digest for e in store.entries()] == [B]

    def test_is_listed(self, store, name, damage):
        damage(store.root / A / name)
        assert [e.digest for e in store.entries()] == [A]

    def test_is_not_served_where_it_cannot_be_removed(self, store, name, damage, monkeypatch):
        def refused(*_):
            raise PermissionError(errno.EACCES, "Permission denied")

        damage(store.root / A / name)
        monkeypatch.setattr(Path, "rename", refused)
        assert store.get(A) is None


@pytest.mark.parametrize(("name", "damage"), DAMAGE.values(), ids=DAMAGE)
def test_reading_removes_nothing(store, name, damage):
    assert_is_the_world(store.read(A))
    damage(store.root / A / name)
    with pytest.raises((ValueError, FileNotFoundError), match=name):
        store.read(A)
    assert (store.root / A).is_dir()
    with pytest.raises(FileNotFoundError):
        store.read(B)


def test_what_a_reader_cannot_read_is_named_and_cleaned(store):
    """A whole world of an older format."""

    def reader(header, arrays):
        if header.get("format") == 1:
            raise ValueError("format 1; this version reads 2")

    store.put(B, {"format": 1}, ARRAYS)
    assert store.verify(A, reader) == store.verify(B) == []
    assert store.verify(B, reader) == ["format 1; this version reads 2"]
    assert store.clean() == 0
    assert store.clean(damaged=False, reader=reader) == 0
    assert store.clean(reader=reader) == 1
    assert [e.digest for e in store.entries()] == [A]


def test_a_header_of_another_world_is_damage(store):
    (store.root / A).rename(store.root / B)
    assert store.get(B) is None


def test_checksums_are_compared_once_and_whenever_a_file_changed(store, monkeypatch):
    compared = []
    whole = cache._check_sum
    monkeypatch.setattr(cache, "_check_sum", lambda *a: (compared.append(a[1]), whole(*a)))
    store.get(A)
    assert compared == list(ARRAYS)
    store.get(A)
    Cache(store.root).get(A)
    assert compared == list(ARRAYS)
    os.utime(store.root / A / "kind.npy")
    assert_is_the_world(store.get(A))
    assert compared == 2 * list(ARRAYS)


def put_at_once(root, barrier, results):
    barrier.wait(60)
    try:
        Cache(root).put(A, MADE, ARRAYS)
        found = Cache(root).get(A)
        results.put(found is not None and np.array_equal(found[1]["kind"], ARRAYS["kind"]))
    except Exception as error:
        results.put(repr(error))


# A writer that comes as far as its second array, says so, and stays there.
WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from stemscout.simulators import cache

write, count = cache._write_array, 0

def slow(*arguments):
    global count
    count += 1
    if count == 2:
        print("writing", flush=True)
        time.sleep(600)
    return write(*arguments)

cache._write_array = slow
cache.Cache(Path(sys.argv[1])).put(sys.argv[2], {}, {"a": np.zeros(100), "b": np.zeros(100)})
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of putting B into the cache, and the cache."""
    store = Cache(tmp_path / "cache")
    store.put(A, MADE, ARRAYS)
    command = [sys.executable, "-c", WRITER, str(store.root), B]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process, store
        process.kill()


class TestWriters:
    def test_several_at_once_leave_one_world(self, tmp_path):
        context = multiprocessing.get_context("spawn")
        barrier, results = context.Barrier(3), context.Queue()
        root = tmp_path / "cache"
        writers = [
            context.Process(target=put_at_once, args=(root, barrier, results)) for _ in range(3)
        ]
        for process in writers:
            process.start()
        assert [results.get(timeout=120) for _ in writers] == [True] * 3
        for process in writers:
            process.join(60)
        assert [p.name for p in root.iterdir()] == [A]
        assert Cache(root).verify(A) == []

    def test_the_second_discards_its_own(self, store, monkeypatch):
        """Another writer finishes between our last byte and our new name."""
        rename = cache._renamed

        def late(part, folder):
            monkeypatch.setattr(cache, "_renamed", rename)
            store.put(B, MADE, ARRAYS)
            return rename(part, folder)

        monkeypatch.setattr(cache, "_renamed", late)
        store.put(B, MADE, ARRAYS)
        assert_is_the_world(store.get(B))
        assert sorted(p.name for p in store.root.iterdir()) == [A, B]

    def test_a_killed_one_leaves_nothing_that_is_served(self, writer):
        process, store = writer
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert store.get(B) is None
        assert [e.digest for e in store.entries()] == [A]
        assert len(list(store.root.iterdir())) == 2, "the half-written folder"
        assert store.clean() == 1
        assert [p.name for p in store.root.iterdir()] == [A]
        (store.root / f".{B}.1234.part" / "header.json").mkdir(parents=True)
        assert store.clean() == 1, "not even a folder for a header keeps one"
        store.put(B, MADE, ARRAYS)
        assert_is_the_world(store.get(B))

    def test_a_living_one_is_not_cleaned_away(self, writer):
        _, store = writer
        assert store.clean() == 0
        assert len(list(store.root.iterdir())) == 2
        store.put(B, MADE, ARRAYS)  # nor does it keep anybody waiting
        assert_is_the_world(store.get(B))

    def test_an_interrupted_one_leaves_nothing(self, store, monkeypatch):
        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(cache, "_write_array", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put(B, MADE, ARRAYS)
        assert [p.name for p in store.root.iterdir()] == [A]

    def test_where_the_file_system_has_no_locks(self, store, monkeypatch):
        """A half-written folder is then left alone for a day."""

        def flock(*_):
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr(cache.fcntl, "flock", flock)
        store.put(B, MADE, ARRAYS)
        assert_is_the_world(store.get(B))
        part = store.root / f".{C}.1234.part"
        part.mkdir()
        (part / "header.json").write_text("")
        assert store.clean() == 0
        old = time.time() - 2 * 86_400
        os.utime(part, (old, old))
        assert store.clean() == 1


class TestCleaning:
    def test_nothing_to_clean(self, store):
        assert store.clean() == 0
        assert store.clean(older_than_days=1) == 0
        assert Cache(store.root / "none").clean(everything=True) == 0

    def test_everything(self, store):
        store.rows_folder(B).mkdir(parents=True)
        assert store.clean(everything=True) == 2
        assert files_of(store) == []
        assert store.get(A) is None

    def test_by_age(self, store, monkeypatch):
        rows = store.rows_folder(B)
        rows.mkdir(parents=True)
        now = time.time()
        monkeypatch.setattr(cache.time, "time", lambda: now + 3 * 86_400)
        store.put(C, MADE, ARRAYS)
        assert store.clean(older_than_days=4) == 0
        assert store.clean(older_than_days=2) == 2
        assert [e.digest for e in store.entries()] == [C]
        assert not rows.exists()

    @pytest.mark.parametrize("days", [-1.0, float("nan")])
    def test_no_negative_age(self, store, days):
        with pytest.raises(ValueError, match="it must be at least 0"):
            store.clean(older_than_days=days)

    def test_what_is_not_ours_stays(self, store):
        (store.root / "notes").mkdir()
        (store.root / ".notes.part").write_text("")
        store.clean(everything=True)
        assert sorted(p.name for p in store.root.iterdir()) == [".notes.part", "notes"]
