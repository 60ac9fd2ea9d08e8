"""A record's file: small, and giving back what was put in, to the bit."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.benchmarks.compact import changes, columns, pack, rows, standing, unpack
from stemscout.benchmarks.episode import Trace, replayed, run_job
from stemscout.benchmarks.results import packed
from stemscout.benchmarks.suite import suite_of

numbers = st.floats(allow_nan=False, allow_infinity=False)
pairs = st.tuples(numbers, numbers)
FIXED = {
    "centre_yx_nm": [0.0, 0.0],
    "fov_yx_nm": [1.5, 1.5],
    "shape_yx": [64, 64],
    "dwell_us": 10.0,
    "rotation_rad": 0.0,
    "detectors": ["haadf"],
    "request_id": "",
}
WAYS = {
    "fixed frames": {"centre_yx_nm": pairs},
    "other fields": {"centre_yx_nm": pairs, "fov_yx_nm": pairs},
    "dwell": {"dwell_us": numbers},
    "rotation": {"rotation_rad": st.one_of(numbers, st.sampled_from([0.0, -0.0, 1e-320]))},
    "shape": {"shape_yx": st.tuples(st.integers(1, 4096), st.integers(1, 4096))},
    "detectors": {"detectors": st.lists(st.sampled_from(["haadf", "maadf", "bf"]), min_size=1)},
    "their own names": {"request_id": st.text()},
    "numbers that are equal and not the same": {"dwell_us": st.sampled_from([1, 1.0, True])},
}
findings = st.builds(
    lambda frame, points, label, confidence: {
        "frame": frame,
        "points_px": points,
        "label": label,
        "confidence": confidence,
    },
    st.integers(0, 200),
    st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=1, max_size=5),
    st.sampled_from(["si3", "si4"]),
    numbers,
)
claims = st.lists(st.one_of(st.none(), st.lists(st.integers(0, 9), max_size=9)), max_size=20)


def text(data):
    """What says whether two are the same to the bit: the sign of 0.0, and 1 or 1.0 or true."""
    return json.dumps(data, sort_keys=True)


@pytest.mark.parametrize("way", WAYS)
@given(data=st.data())
def test_requests_come_back_to_the_bit(way, data):
    frames = st.fixed_dictionaries({k: WAYS[way].get(k, st.just(v)) for k, v in FIXED.items()})
    requests = data.draw(st.lists(frames, max_size=12))
    trace = {"requests": requests, "latency_s": [], "findings": [], "claimed": [], "target": None}
    assert text(unpack(pack({"trace": trace}))["trace"]) == text(trace)


@given(st.lists(findings, max_size=12), claims, st.lists(numbers, max_size=64))
def test_claims_come_back_to_the_bit(found, claimed, target):
    trace = {"requests": [], "findings": found, "claimed": claimed, "target": target}
    record = {"trace": trace, "scores": {"curve": {"seen": target}}}
    assert text(unpack(pack(record))) == text(record)


def test_what_frames_have_in_common_is_there_once():
    table = columns([FIXED, {**FIXED, "centre_yx_nm": [3.0, 1.0]}])
    assert table["each"] == {"centre_yx_nm": [[0.0, 0.0], [3.0, 1.0]]}
    assert table["same"] == {k: v for k, v in FIXED.items() if k != "centre_yx_nm"}
    assert rows(columns([])) == []
    with pytest.raises(ValueError, match="rows of different fields"):
        columns([FIXED, {**FIXED, "weather": "bad"}])


def test_claims_that_grow_are_told_by_what_is_new():
    claimed = [[0], [0, 1], None, [0, 1, 2, 3], [1, 2, 3], []]
    assert list(changes(claimed)) == [[0, 0], [1, 1], None, [2, 2, 3], [0, 1, 2, 3], [0]]
    assert list(standing(changes(claimed))) == claimed


@pytest.fixture(scope="module")
def record():
    """An episode as long as those of the suite ``standard``."""
    suite = suite_of(
        "x",
        {
            "version": 1,
            "about": "a test",
            "environments": ["StemScout/GrapheneDefects-v0"],
            "difficulties": ["medium"],
            "specimens": 1,
            "readings": [0.1, 0.2],
            "agents": [{"name": "random"}],
        },
    )
    return json.loads(json.dumps(run_job(suite.jobs()[-1])))


def test_an_episode_of_the_standard_takes_5_kB_at_most(record):
    content = packed(record, "0" * 16)
    assert record["scores"]["frames"] == 102
    assert len(content) <= 5000
    again = unpack(content)
    assert {k: again[k] for k in record} == record
    assert set(again["scores"]["curve"]) == {"charge", "time_s", "seen"}
    assert Trace(**again["trace"]) == Trace(**record["trace"])
    assert replayed(again) == record["scores"]


def test_others_can_read_it(record):
    plain = json.loads(gzip.decompress(packed(record, "0" * 16)))
    assert plain["trace"]["requests"]["count"] == plain["scores"]["frames"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-9],
        lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
        lambda content: b'{"trace": {}}',
        lambda content: gzip.compress(b"[]"),
        lambda content: gzip.compress(b'{"trace": {"requests": {"count": 3}}}'),
    ],
    ids=["empty", "torn", "without its end", "one bit", "no gzip", "no record", "other rows"],
)
def test_what_is_damaged_is_noticed(record, damage):
    with pytest.raises(ValueError, match="no whole record"):
        unpack(damage(pack(record)))


def test_what_json_has_no_word_for_is_refused(record):
    with pytest.raises(ValueError, match="not JSON compliant"):
        pack({**record, "wall_s": float("nan")})
