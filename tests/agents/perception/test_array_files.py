"""Arrays in the safetensors format."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from stemscout.agents.perception.array_files import from_bytes, read, to_bytes, write

ARRAYS = {
    "scalar": np.float32(2.5),
    "matrix": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float16).reshape(2, 3).T,
    "none": np.empty((0, 4), np.float32),
}


def same(arrays):
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == np.shape(array)
        assert np.array_equal(arrays[name], array)


def test_what_is_written_is_read_again_here_and_elsewhere(tmp_path):
    path = tmp_path / "folder" / "some.safetensors"
    write(path, ARRAYS, {"kind": "test"})
    arrays, metadata = read(path)
    assert metadata == {"kind": "test"}
    same(arrays)
    same(load_file(path))


def test_bytes_are_those_of_a_file():
    same(from_bytes(to_bytes(ARRAYS)))


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04" * 100, to_bytes(ARRAYS)[:-1], (4).to_bytes(8, "little") + b"{{{{"]
)
def test_damaged_data_are_refused(data, tmp_path):
    with pytest.raises(ValueError, match=r"^the data is no safetensors file, or a damaged one: "):
        from_bytes(data)
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.safetensors is no safetensors file"):
        read(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"none\.safetensors cannot be read: there is no such"):
        read(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kind", ["bfloat16", "float8_e4m3fn"])
def test_numbers_that_numpy_has_not_are_refused(kind, tmp_path):
    import torch
    from safetensors.torch import save_file

    path = tmp_path / "theirs.safetensors"
    save_file({"w": torch.ones(2, 2).to(getattr(torch, kind))}, str(path))
    with pytest.raises(ValueError, match=r"theirs\.safetensors is no safetensors file, or a dam"):
        read(path)
    with pytest.raises(ValueError, match="the data is no safetensors file, or a damaged one"):
        from_bytes(path.read_bytes())
