"""Arrays in the safetensors format."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stemscout.agents.perception.safetensors import from_bytes, read, to_bytes, write

ARRAYS = {
    "scalar": np.float32(2.5),
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "none": np.empty((0, 4), np.float32),
}


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "some.safetensors"
    write(path, ARRAYS, {"kind": "test"})
    arrays, metadata = read(path)
    assert metadata == {"kind": "test"}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == np.float32
        assert arrays[name].shape == np.shape(array)
        assert np.array_equal(arrays[name], array)


def test_the_bytes_are_those_of_the_format():
    """A length of eight bytes, little end first, a header in JSON, and plain numbers."""
    data = to_bytes({"a": np.array([1.0, 2.0])}, {})
    length = int.from_bytes(data[:8], "little")
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    assert header == {
        "__metadata__": {},
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    assert data[8 + length :] == np.array([1.0, 2.0], "<f4").tobytes()


def headed(header, numbers=b""):
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


def entry(**changed):
    return {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], **changed}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "too short"),
        (b"PK\x03\x04" * 100, "too short"),
        (to_bytes(ARRAYS, {})[:-1], "reaches beyond its end"),
        ((4).to_bytes(8, "little") + b"{{{{", "damaged"),
        (headed([1]), "damaged"),
        (headed({"a": 3}), "damaged"),
        (headed({"a": entry(dtype="F64")}, bytes(4)), "an array of F64; all must be F32"),
        (headed({"a": entry(shape=[2])}, bytes(4)), "damaged"),
        (headed({"a": entry(shape=["x"])}, bytes(4)), "damaged"),
        (headed({"a": entry(data_offsets=[-4, 0])}, bytes(4)), "reaches beyond its end"),
        (headed({"a": {"dtype": "F32"}}), "damaged"),
        (headed({"__metadata__": {"kind": 3}}), "its metadata are no strings"),
    ],
)
def test_damaged_data_are_refused(data, sentence):
    with pytest.raises(ValueError, match=f"^the data is no safetensors file.*{sentence}"):
        from_bytes(data)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors cannot be read: No such file"):
        read(tmp_path / "none.safetensors")
