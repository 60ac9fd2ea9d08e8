"""The test specimens are what they were when they were frozen."""

from __future__ import annotations

import pytest

from stemscout.benchmarks.specimens import COUNT, frozen, hashes_of, sources

SOURCES = sources()


def test_every_id_and_difficulty_is_frozen_with_thirty_specimens():
    held = frozen()
    assert list(held) == list(SOURCES)
    for hashes in held.values():
        assert len(hashes) == COUNT == 30
        assert len(set(hashes)) == COUNT


@pytest.mark.parametrize("name", SOURCES)
def test_the_first_and_the_last_are_what_they_were(name):
    for number in (0, COUNT - 1):
        assert hashes_of(SOURCES[name], number) == frozen()[name][number]


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_all_are_what_they_were(name):
    assert [hashes_of(SOURCES[name], n) for n in range(COUNT)] == frozen()[name]


def test_a_hash_tells_specimens_and_their_features_apart():
    source = SOURCES["StemScout/GrapheneDefects-v0 easy"]
    other = SOURCES["StemScout/GrapheneDefects-v0 medium"]
    assert hashes_of(source, 0) == hashes_of(source, 0)
    assert len({hashes_of(source, 0), hashes_of(source, 1), hashes_of(other, 0)}) == 3
