"""Kept rows: whole and our own, or computed again, however many processes keep them."""

from __future__ import annotations

import errno
import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from stemscout.simulators import files
from stemscout.simulators.cache import Cache
from stemscout.simulators.rows import Rows

OURS, OTHER = {"atoms": "a", "grid": [1, 2]}, {"atoms": "b", "grid": [1, 2]}
IMAGES = np.random.default_rng(0).random((2, 3, 40), dtype=np.float32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "unfinished" / "rows"


@pytest.fixture
def rows(folder):
    rows = Rows(folder, OURS)
    rows.save(0, IMAGES)
    return rows


def test_a_row_comes_back_exactly(rows, folder):
    found = Rows(folder, OURS).load(0, IMAGES.shape)
    assert found.dtype == np.float32
    assert np.array_equal(found, IMAGES)
    assert rows.load(3, IMAGES.shape) is None
    assert sorted(p.name for p in folder.iterdir()) == ["row-00000.npz", "simulation.json"]


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


DAMAGE = {
    "flipped byte": flip_a_byte,
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-40]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "of another kind": lambda path: np.savez(path, images=IMAGES),
    "an array in its place": lambda path: path.open("wb").write(b"\x93NUMPY"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_row_is_not_served_and_can_be_saved_again(rows, folder, damage):
    damage(folder / "row-00000.npz")
    assert rows.load(0, IMAGES.shape) is None
    rows.save(0, IMAGES)
    assert np.array_equal(rows.load(0, IMAGES.shape), IMAGES)


def test_a_row_of_another_place_simulation_or_size_is_not_served(rows, folder, tmp_path):
    other = Rows(tmp_path / "other", OTHER)
    other.save(3, IMAGES)
    shutil.copy(tmp_path / "other" / "row-00003.npz", folder / "row-00003.npz")
    shutil.copy(folder / "row-00000.npz", folder / "row-00006.npz")
    assert rows.load(3, IMAGES.shape) is None
    assert rows.load(6, IMAGES.shape) is None
    assert rows.load(0, (2, 3, 41)) is None


def test_the_mark_is_written_once(rows, folder):
    before = (folder / "simulation.json").stat()
    rows.save(3, IMAGES)
    Rows(folder, OURS)
    assert (folder / "simulation.json").stat().st_ino == before.st_ino
    assert json.loads((folder / "simulation.json").read_text())["simulation"] == OURS


def test_another_simulation_is_refused(rows, folder):
    with pytest.raises(ValueError, match="holds another simulation; name an empty folder"):
        Rows(folder, OTHER)


@pytest.mark.parametrize("text", ["", '{"digest": "a', "[1]", "null", "\x00\xff"])
def test_an_unreadable_mark_is_none(rows, folder, text):
    (folder / "simulation.json").write_text(text)
    other = Rows(folder, OTHER)
    assert other.load(0, IMAGES.shape) is None
    with pytest.raises(ValueError, match="holds another simulation"):
        rows.save(3, IMAGES)


def test_a_folder_that_vanishes_is_made_again(rows, folder, monkeypatch):
    """Before a row is saved, and in the middle of it."""
    shutil.rmtree(folder)
    rows.save(0, IMAGES)
    assert np.array_equal(Rows(folder, OURS).load(0, IMAGES.shape), IMAGES)
    flush = files.flush

    def removed(path):
        monkeypatch.setattr(files, "flush", flush)
        shutil.rmtree(folder)
        flush(path)

    monkeypatch.setattr(files, "flush", removed)
    rows.save(3, IMAGES)
    assert np.array_equal(Rows(folder, OURS).load(3, IMAGES.shape), IMAGES)
    assert not list(folder.glob(".*")), "a part was left"


def save_many(folder, barrier, results):
    try:
        barrier.wait(60)
        rows = Rows(folder, OURS)
        for n in range(40):
            rows.save(3 * (n % 4), IMAGES)
            found = rows.load(3 * (n % 4), IMAGES.shape)
            assert found is None or np.array_equal(found, IMAGES)
        results.put(True)
    except Exception as error:
        results.put(repr(error))


def test_two_writers_and_one_that_is_through(tmp_path):
    """Both keep the same rows, while a third forgets them now and then."""
    store, digest = Cache(tmp_path), "0123abcd"
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    given = (store.rows_folder(digest), barrier, results)
    writers = [context.Process(target=save_many, args=given) for _ in range(2)]
    for process in writers:
        process.start()
    barrier.wait(60)
    while any(process.is_alive() for process in writers) and results.empty():
        store.forget_rows(digest)
        writers[0].join(0.05)
    assert [results.get(timeout=60) for _ in writers] == [True] * 2
    for process in writers:
        process.join(60)
    store.forget_rows(digest)
    assert not list(store.root.glob(".*.part")), "a folder was taken away and not deleted"


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ENOTEMPTY, errno.EACCES])
def test_a_writer_may_come_or_go_while_rows_are_forgotten(tmp_path, monkeypatch, code):
    """It found the folder just before that was taken away."""
    store, digest = Cache(tmp_path), "0123abcd"
    Rows(store.rows_folder(digest), OURS).save(0, IMAGES)
    rmtree = shutil.rmtree

    def disturbed(path):
        monkeypatch.setattr(shutil, "rmtree", rmtree)
        raise OSError(code, "in between")

    monkeypatch.setattr(shutil, "rmtree", disturbed)
    store.forget_rows(digest)
    left = [p for p in store.root.rglob("*") if p.is_file()]
    assert bool(left) == (code == errno.EACCES), "the rows of a killed writer are swept later"


def test_a_full_disk_leaves_no_part_and_says_so(rows, folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match=r"^no room for .*row-00003.npz: it needs up to"):
        rows.save(3, IMAGES)
    assert sorted(p.name for p in folder.iterdir()) == ["row-00000.npz", "simulation.json"]
