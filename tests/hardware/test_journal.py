"""No electron unrecorded: what was acknowledged is there after whatever happens."""

from __future__ import annotations

import os
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some

from stemscout.hardware import ScanRegion, ScanRequest, State, wire
from stemscout.hardware.errors import AcquisitionError, JournalError, LimitError
from stemscout.hardware.journal import BEGIN, HEAD, Journal, read, torn
from stemscout.hardware.microscope import Frame

FRAMES = some.arrays(
    st.sampled_from(["<f4", "<f8", "<i2", "u1", ">f4", "?"]),
    some.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
DATA = st.dictionaries(st.text(), PLAIN, max_size=4)


@pytest.fixture
def written(tmp_path):
    """A journal of five records, and what it holds."""
    held = []
    with Journal(tmp_path) as journal:
        for k in range(5):
            image = np.full((3, 4), k, np.float32)
            held.append(({"k": k, "text": "é" * k}, image))
            assert journal.write("frame", held[-1][0], {"haadf": image}) == k
    return tmp_path / "journal.log", held


def endless():
    """A list that holds itself."""
    itself = []
    itself.append(itself)
    return itself


def deep():
    """Lists in lists, more than may be."""
    inner = []
    for _ in range(100_000):
        inner = [inner]
    return inner


def bounds(path):
    """Where each record begins, and the end."""
    whole, at, found = path.read_bytes(), len(BEGIN), [len(BEGIN)]
    while at < len(whole):
        at += HEAD.size + HEAD.unpack_from(whole, at)[1]
        found.append(at)
    return found


class TestMessages:
    @given(data=DATA, arrays=st.dictionaries(st.text(), FRAMES, max_size=3))
    def test_what_is_packed_comes_back(self, data, arrays):
        told, found = wire.unpack(wire.pack(data, arrays))
        assert told == data
        assert set(found) == set(arrays)
        for name, array in arrays.items():
            assert found[name].shape == array.shape
            assert np.array_equal(found[name], array, equal_nan=array.dtype.kind == "f")

    @given(st.binary(max_size=200))
    def test_rubbish_is_refused_with_a_sentence(self, rubbish):
        with pytest.raises(ValueError, match="this is no message"):
            wire.unpack(rubbish)

    @given(st.integers(0, 10_000), st.integers(0, 255))
    def test_a_message_with_another_byte_is_refused_or_one_of_numbers(self, at, byte):
        message = bytearray(wire.pack({"a": [1, 2]}, {"x": np.zeros((2, 3), np.float32)}))
        message[at % len(message)] = byte
        arrays = {}
        with suppress(ValueError):
            _, arrays = wire.unpack(bytes(message))
        assert all(a.dtype.kind in wire.KINDS for a in arrays.values())

    def test_objects_are_no_numbers(self):
        with pytest.raises(ValueError, match="must hold numbers"):
            wire.pack({}, {"x": np.array([object()])})

    def test_a_frame_comes_back(self):
        request = ScanRequest((1.0, 2.0), (3.0, 4.0), (2, 3), 5.0, 0.1, ("haadf",), "id")
        metadata = {"gain": np.float32(2), "tilt": np.array([1.0, 2.0]), "when": None}
        frame = Frame(
            request, ScanRegion((1.0, 2.0), (3.0, 4.0), 0.1),
            {"haadf": np.ones((2, 3), np.float32)}, 2, None, 0.5,
            State((1.0, 2.0), (0.0, 1.0), True, 40.0, "measured"), metadata,
        )  # fmt: skip
        again = wire.frame_of(*wire.unpack(wire.pack(*wire.frame_data(frame))))
        assert again.request == frame.request
        assert again.region == frame.region
        assert again.state == frame.state
        assert (again.valid_rows, again.charge_e, again.time_s) == (2, None, 0.5)
        assert np.array_equal(again.image, frame.image)
        assert again.metadata == {"gain": 2.0, "tilt": [1.0, 2.0], "when": None}

    @pytest.mark.parametrize("read_as", [wire.request_of, wire.state_of, wire.capabilities_of])
    def test_what_is_something_else_is_refused(self, read_as):
        with pytest.raises(ValueError, match=r"this is no|these are no"):
            read_as({"colour": "red"})

    def test_errors_keep_their_kind_and_their_text(self):
        again = wire.error_of(wire.error_data(LimitError("too far")))
        assert type(again) is LimitError
        assert str(again) == "too far"
        foreign = wire.error_of(wire.error_data(RuntimeError("0x80004005")))
        assert type(foreign) is AcquisitionError
        assert str(foreign) == "RuntimeError: 0x80004005"


class TestSound:
    def test_what_was_written_comes_back(self, written):
        path, held = written
        for record, (data, image) in zip(read(path), held, strict=True):
            assert (record.kind, record.data) == ("frame", data)
            assert np.array_equal(record.arrays["haadf"], image)

    def test_it_goes_on_where_it_ended(self, written):
        path, _ = written
        with Journal(path) as journal:
            assert (journal.count, journal.cut) == (5, 0)
            assert journal.write("end") == 5
        assert [r.number for r in read(path.parent)] == list(range(6))

    def test_it_can_be_read_while_it_is_written(self, tmp_path):
        with Journal(tmp_path) as journal:
            for k in range(3):
                journal.write("frame", {"k": k})
                assert [r.data["k"] for r in read(tmp_path)] == list(range(k + 1))

    def test_one_writes_at_a_time(self, tmp_path):
        other = pytest.raises(JournalError, match="being written by another process")
        with Journal(tmp_path), other:
            Journal(tmp_path)
        Journal(tmp_path).close()

    @pytest.mark.parametrize(
        ("data", "arrays"),
        [
            ({"a": {(1, 2): 3}}, None),
            ({"a": endless()}, None),
            ({"a": deep()}, None),
            (5, None),
            ({}, {"haadf": np.array([object()])}),
            ({}, {"haadf": [[1.0], [1.0, 2.0]]}),
        ],
        ids=["keys", "endless", "deep", "no mapping", "objects", "ragged"],
    )
    def test_what_it_cannot_hold_is_refused_and_leaves_it_as_it_was(self, written, data, arrays):
        path, _ = written
        before = path.read_bytes()
        with Journal(path) as journal:
            with pytest.raises(JournalError, match="a record of note that cannot be written"):
                journal.write("note", data, arrays)
            assert path.read_bytes() == before
            assert journal.write("note", {"text": "sound"}) == 5
        assert [r.number for r in read(path)] == list(range(6))

    def test_a_closed_one_takes_nothing(self, tmp_path):
        journal = Journal(tmp_path)
        journal.close()
        journal.close()
        with pytest.raises(JournalError, match="is closed"):
            journal.write("frame")


@pytest.mark.parametrize("at", ["write", "fdatasync"])
def test_ctrl_c_in_the_middle_of_a_record_breaks_no_chain(tmp_path, monkeypatch, at):
    """Whether its bytes were on the disk already or not."""
    with Journal(tmp_path) as journal:
        journal.write("frame", {"k": 0})
        call = getattr(os, at)

        def pressed(handle, *rest):
            call(handle, *(bytes(r)[:30] for r in rest))
            raise KeyboardInterrupt

        monkeypatch.setattr(os, at, pressed)
        with pytest.raises(KeyboardInterrupt):
            journal.write("frame", {"k": 1})
        monkeypatch.undo()
        journal.write("frame", {"k": 2})
    kept = [r.data["k"] for r in read(tmp_path)]
    assert kept == ([0, 2] if at == "write" else [0, 1, 2])


class TestTornTail:
    def test_wherever_it_was_cut_all_before_is_there(self, written):
        path, _ = written
        whole, starts = path.read_bytes(), bounds(path)
        for size in range(starts[3] + 1, len(whole), 7):
            path.write_bytes(whole[:size])
            kept = sum(b <= size for b in starts[1:])
            assert torn(path) == size - starts[kept]
            with Journal(path) as journal:
                assert journal.count == kept
                assert journal.cut == size - starts[kept]
                journal.write("end")
            assert [r.kind for r in read(path)] == ["frame"] * kept + ["end"]

    def test_whoever_only_reads_learns_of_it_and_changes_nothing(self, written):
        path, _ = written
        whole, starts = path.read_bytes(), bounds(path)
        assert torn(path) == torn(path.parent) == 0
        path.write_bytes(whole[:-5])
        path.chmod(0o400)
        assert torn(path) == torn(path.parent) == len(whole) - 5 - starts[4]
        assert len(list(read(path))) == 4
        assert path.read_bytes() == whole[:-5]

    def test_one_that_is_being_written_may_be_asked_too(self, tmp_path):
        with Journal(tmp_path) as journal:
            assert torn(tmp_path) == 0
            journal.write("frame")
            assert torn(tmp_path) == 0

    def test_zeros_that_a_file_system_leaves_are_a_torn_tail(self, written):
        path, _ = written
        path.write_bytes(path.read_bytes() + bytes(5000))
        with Journal(path) as journal:
            assert (journal.count, journal.cut) == (5, 5000)

    def test_a_beginning_cut_short_is_begun_anew(self, tmp_path):
        path = tmp_path / "journal.log"
        path.write_bytes(BEGIN[:7])
        assert torn(path) == 7
        with Journal(path) as journal:
            journal.write("begin")
        assert len(list(read(path))) == 1


class TestDamage:
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
    def test_no_changed_byte_goes_unnoticed(self, written, at, flip):
        path, _ = written
        whole, starts = path.read_bytes(), bounds(path)
        at = at % len(whole)
        changed = bytearray(whole)
        changed[at] ^= flip
        path.write_bytes(changed)
        found = []
        with suppress(JournalError):
            found.extend(record.number for record in read(path))
        path.write_bytes(whole)
        # What comes before is still read, and nothing after.
        assert found == list(range(sum(b <= at for b in starts[1:])))

    def test_a_damaged_one_is_left_as_it_is(self, written):
        path, _ = written
        whole = bytearray(path.read_bytes())
        whole[bounds(path)[2] + 60] ^= 1
        path.write_bytes(whole)
        with pytest.raises(JournalError, match=r"after 2 sound records, and others follow"):
            Journal(path)
        assert path.read_bytes() == whole

    def test_a_record_that_is_missing_is_noticed(self, written):
        path, _ = written
        whole, starts = path.read_bytes(), bounds(path)
        path.write_bytes(whole[: starts[1]] + whole[starts[2] :])
        with pytest.raises(JournalError, match=r"record 1, at byte .*, does not follow"):
            list(read(path))

    def test_a_record_that_was_moved_is_noticed(self, written):
        path, _ = written
        whole, starts = path.read_bytes(), bounds(path)
        second, third = whole[starts[1] : starts[2]], whole[starts[2] : starts[3]]
        path.write_bytes(whole[: starts[1]] + third + second + whole[starts[3] :])
        with pytest.raises(JournalError, match=r"record 1, at byte .*, does not follow"):
            list(read(path))
        with pytest.raises(JournalError, match=r"record 1, at byte .*, does not follow"):
            torn(path)

    def test_whole_records_cut_off_the_end_are_not_noticed(self, written):
        """So nobody may promise it: nothing in a file tells that there was more."""
        path, _ = written
        path.write_bytes(path.read_bytes()[: bounds(path)[3]])
        assert torn(path) == 0
        assert [r.number for r in read(path)] == [0, 1, 2]

    def test_something_else_is_no_journal(self, tmp_path):
        path = tmp_path / "journal.log"
        path.write_text("dear diary")
        with pytest.raises(JournalError, match="is no journal"):
            Journal(path)
        assert path.read_text() == "dear diary"
        with pytest.raises(JournalError, match="there is no journal"):
            list(read(tmp_path / "elsewhere"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="cannot be written"):
        Journal(tmp_path / "deeper")
