"""Reading micrographs from files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stemscout.simulators.images import read_image

VALUES = np.random.default_rng(0).integers(0, 255, (20, 30)).astype(np.uint8)


def test_npy_png_and_tiff(tmp_path):
    import tifffile

    np.save(tmp_path / "a.npy", VALUES.astype(np.float32))
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", VALUES.astype(np.uint16) * 100)
    assert np.array_equal(read_image(tmp_path / "a.npy").image, VALUES)
    assert np.array_equal(read_image(tmp_path / "a.png").image, VALUES)
    assert np.array_equal(read_image(tmp_path / "a.tif").image, VALUES.astype(np.uint16) * 100)
    assert read_image(tmp_path / "a.png").pixel_nm is None


def test_sixteen_bit_png(tmp_path):
    Image.fromarray(VALUES.astype(np.uint16) * 200).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png").image, VALUES.astype(np.int32) * 200)


def test_what_rosettasciio_reads_with_its_calibration(tmp_path):
    hspy = pytest.importorskip("rsciio.hspy", reason="the extra 'files' is not installed")
    axes = [
        {"size": n, "name": a, "units": "Å", "scale": 0.5, "offset": 0.0, "navigate": False}
        for n, a in zip(VALUES.shape, "yx", strict=True)
    ]
    signal = {
        "data": VALUES,
        "axes": axes,
        "metadata": {"General": {"title": "made by a test"}, "Signal": {"signal_type": ""}},
        "original_metadata": {},
        "attributes": {"_lazy": False, "ragged": False},
        "package_info": {"package": "test", "package_version": "0"},
        "learning_results": {},
        "models": {},
        "tmp_parameters": {},
        "original_shape": VALUES.shape,
        "ragged": False,
    }
    hspy.file_writer(str(tmp_path / "a.hspy"), signal)
    read = read_image(tmp_path / "a.hspy")
    assert np.array_equal(read.image, VALUES)
    assert read.pixel_nm == pytest.approx(0.05)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image file at"):
        read_image(tmp_path / "none.png")


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.tif"])
def test_unreadable_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"this is not an image")
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_image(tmp_path / name)


def test_colours_are_refused(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"has colours \(mode RGB\)"):
        read_image(tmp_path / "a.png")


def test_pickled_arrays_are_never_loaded(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="cannot be read as an image"):
        read_image(tmp_path / "a.npy")


def test_several_arrays_under_one_name_are_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as handle:
        np.savez(handle, a=VALUES, b=VALUES)
    with pytest.raises(ValueError, match="it holds several arrays"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
def test_damaged_files_are_one_sentence_whatever_the_reader_stumbles_over(tmp_path, name):
    import tifffile

    path = tmp_path / name
    if name == "a.npy":
        np.save(path, VALUES)
    elif name == "a.png":
        Image.fromarray(VALUES).save(path)
    else:
        tifffile.imwrite(path, VALUES, compression="zlib")
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_image(path)
        except ValueError as error:
            assert "cannot be read as an image" in str(error)  # noqa: PT017  it may be readable


def test_unknown_endings(tmp_path):
    (tmp_path / "a.xyz123").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no reader knows the ending|need the extra"):
        read_image(tmp_path / "a.xyz123")
