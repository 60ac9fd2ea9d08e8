"""Files that other programs open: calibrated for them, exact for us."""

from __future__ import annotations

import errno
import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from stemscout.simulators import exchange, files
from stemscout.simulators.images import read_image
from stemscout.simulators.world import Recipe, open_world
from stemscout.views import worlds as view

ORIGIN, SAMPLING = (-1.23, -2.5), 0.031
METADATA = {
    "stemscout": {"recipe": {"specimen": "graphene"}, "å": [1, None, 0.1], "x": "y" * 90_000}
}
ARRAYS = {
    "positions_yx_nm": np.random.default_rng(0).random((50, 2)),
    "kind": np.arange(50, dtype=np.uint8),
    "feature_outline": np.array([-1, 2]),
    "share": np.empty(0),
    "none_yx_nm": np.empty((0, 2)),
    "single": np.array(3.5),
    "across": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
    "seen": np.array([True, False]),
}


@pytest.fixture
def images():
    rng = np.random.default_rng(1)
    return {name: rng.random((30, 40), dtype=np.float32) for name in ("maadf", "abf")}


@pytest.fixture
def hspy():
    pytest.importorskip("h5py", reason="the extra 'files' is not installed")
    return pytest.importorskip("rsciio.hspy", reason="the extra 'files' is not installed")


@pytest.fixture(params=[".npz", ".hspy", ".tif"])
def path(request, tmp_path) -> Path:
    if request.param == ".hspy":
        request.getfixturevalue("hspy")
    return tmp_path / f"w{request.param}"


def export(path, images):
    exchange.export_images(path, images, SAMPLING, ORIGIN, METADATA, ARRAYS)


def test_everything_comes_back_exactly(path, images):
    export(path, images)
    read = exchange.import_images(path)
    assert list(read.images) == ["maadf", "abf"]
    for name, image in images.items():
        assert read.images[name].dtype == np.float32
        assert np.array_equal(read.images[name], image)
    assert read.sampling_nm == SAMPLING
    assert read.origin_yx_nm == ORIGIN
    assert read.metadata == METADATA
    assert list(read.arrays) == ([] if path.suffix == ".tif" else list(ARRAYS))
    for name, array in read.arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        assert array.shape == ARRAYS[name].shape
        assert np.array_equal(array, ARRAYS[name])
    assert list(path.parent.iterdir()) == [path], "something was left beside"


def test_hyperspy_sees_one_calibrated_signal_for_each_detector(hspy, images, tmp_path):
    """By RosettaSciIO's reader, which HyperSpy opens files with."""
    optics = {"beam_energy": 60.0, "convergence_angle": 30.0}
    exchange.export_images(tmp_path / "w.hspy", images, SAMPLING, ORIGIN, {}, None, optics)
    signals = hspy.file_reader(str(tmp_path / "w.hspy"))
    assert {s["metadata"]["General"]["title"] for s in signals} == set(images)
    for signal in signals:
        image = images[signal["metadata"]["General"]["title"]]
        assert np.array_equal(signal["data"], image)
        for axis, name, size, offset in zip(signal["axes"], "yx", image.shape, ORIGIN, strict=True):
            assert (axis["name"], axis["units"], axis["navigate"]) == (name, "nm", False)
            assert (axis["size"], axis["scale"], axis["offset"]) == (size, SAMPLING, offset)
        assert signal["metadata"]["Acquisition_instrument"]["TEM"] == optics
        assert signal["metadata"]["Signal"]["quantity"] == "fraction of the beam"


def test_the_arrays_are_there_to_be_read_in_hyperspy(hspy, images, tmp_path):
    export(tmp_path / "w.hspy", images)
    nodes = [s["original_metadata"] for s in hspy.file_reader(str(tmp_path / "w.hspy"))]
    (ours,) = (node["stemscout"] for node in nodes if node)
    assert np.array_equal(ours["arrays"]["positions_yx_nm"], ARRAYS["positions_yx_nm"])
    assert json.loads(str(ours["header"][0]))["metadata"] == METADATA


def test_hyperspy_sees_the_calibration_of_a_tiff(images, tmp_path):
    tiff = pytest.importorskip("rsciio.tiff", reason="the extra 'files' is not installed")
    export(tmp_path / "w.tif", images)
    (signal,) = tiff.file_reader(str(tmp_path / "w.tif"))
    assert np.array_equal(signal["data"], list(images.values()))
    for axis, offset in zip(signal["axes"][1:], ORIGIN, strict=True):
        assert axis["units"] == "nm"
        assert axis["scale"] == pytest.approx(SAMPLING, rel=1e-6)
        assert axis["offset"] == offset


def test_imagej_sees_pixel_and_detectors(images, tmp_path):
    import tifffile

    export(tmp_path / "w.tif", images)
    with tifffile.TiffFile(tmp_path / "w.tif") as tiff:
        assert tiff.is_imagej
        assert tiff.imagej_metadata["unit"] == "nm"
        assert tiff.imagej_metadata["Labels"] == list(images)
        many, length = tiff.pages[0].tags["XResolution"].value
    assert length / many == pytest.approx(SAMPLING, rel=1e-6)


def test_a_recording_of_it_keeps_the_pixel_size(hspy, images, tmp_path):
    exchange.export_images(tmp_path / "w.hspy", {"abf": images["abf"]}, SAMPLING, ORIGIN, {})
    read = read_image(tmp_path / "w.hspy")
    assert np.array_equal(read.image, images["abf"])
    assert read.pixel_nm == pytest.approx(SAMPLING)


class TestOfOthers:
    """Files that another program wrote, or wrote again."""

    def first(self, hspy, path):
        """The signal that carries the world."""
        return next(s for s in hspy.file_reader(str(path)) if s["original_metadata"])

    def rewritten(self, hspy, path, **changes):
        """It, as a program might save it again."""
        first = self.first(hspy, path)
        first |= {"package_info": {}, "models": {}, "learning_results": {}, "tmp_parameters": {}}
        again = path.with_name("again.hspy")
        hspy.file_writer(str(again), {**first, **changes}, show_progressbar=False)
        return again

    def test_a_crop_keeps_its_place_and_the_world(self, hspy, images, tmp_path):
        export(tmp_path / "w.hspy", images)
        (first, *_) = (
            s for s in hspy.file_reader(str(tmp_path / "w.hspy")) if s["original_metadata"]
        )
        y, x = first["axes"]
        y = {**y, "size": 10, "offset": ORIGIN[0] + 5 * SAMPLING}
        crop = self.rewritten(hspy, tmp_path / "w.hspy", data=first["data"][5:15], axes=[y, x])
        read = exchange.import_images(crop)
        assert np.array_equal(read.images["maadf"], images["maadf"][5:15])
        assert read.origin_yx_nm == (ORIGIN[0] + 5 * SAMPLING, ORIGIN[1])
        assert set(read.arrays) == set(ARRAYS)

    @pytest.mark.parametrize(("unit", "scale"), [("Å", 0.31), ("µm", 0.031e-3), ("m", 0.031e-9)])
    def test_units_of_length_become_nm(self, hspy, images, tmp_path, unit, scale):
        export(tmp_path / "w.hspy", images)
        axes = [
            {"size": n, "name": a, "units": unit, "scale": scale, "offset": 0.0, "navigate": False}
            for n, a in zip((30, 40), "yx", strict=True)
        ]
        other = self.rewritten(hspy, tmp_path / "w.hspy", axes=axes, original_metadata={})
        read = exchange.import_images(other)
        assert read.sampling_nm == pytest.approx(SAMPLING)
        assert (read.metadata, read.arrays) == ({}, {})

    @pytest.mark.parametrize(
        ("units", "scales", "sentence"),
        [
            (("nm", "nm"), (0.1, 0.2), "they must be square"),
            (("1/nm", "1/nm"), (0.1, 0.1), "is in '1/nm'; it must be a length"),
        ],
    )
    def test_no_calibration_no_images(self, hspy, images, tmp_path, units, scales, sentence):
        export(tmp_path / "w.hspy", images)
        axes = [
            {"size": n, "name": a, "units": u, "scale": s, "offset": 0.0, "navigate": False}
            for n, a, u, s in zip((30, 40), "yx", units, scales, strict=True)
        ]
        other = self.rewritten(hspy, tmp_path / "w.hspy", axes=axes)
        with pytest.raises(ValueError, match=sentence):
            exchange.import_images(other)

    def test_a_foreign_tiff(self, images, tmp_path):
        import tifffile

        tifffile.imwrite(tmp_path / "a.tif", images["abf"])
        with pytest.raises(ValueError, match="were not exported from a world"):
            exchange.import_images(tmp_path / "a.tif")

    def test_a_world_is_no_set_of_images(self, tmp_path):
        files.save(tmp_path / "w.npz", {"specimen": {}}, {})
        with pytest.raises(ValueError, match="it is a world"):
            exchange.import_images(tmp_path / "w.npz")


@pytest.fixture(scope="module")
def wide():
    """A world with a margin, which its image leaves out."""
    return open_world(Recipe("graphene", "easy", 3, (2, 0, 0), 6.0, margin_nm=0.4))


class TestWorlds:
    """A whole world, out and in again."""

    def rewritten(self, hspy, path, change):
        """As HyperSpy would save it after an edit of one signal."""
        import h5py

        with h5py.File(path, "r+") as file:
            change(file["Experiments/haadf"])
        return path

    def test_it_comes_back(self, hspy, wide, tmp_path):
        view.export(wide, tmp_path / "w.hspy")
        back = view.imported(tmp_path / "w.hspy")
        assert back.recipe == wide.recipe
        assert back.digest == wide.digest
        assert np.array_equal(back.image("haadf"), wide.image("haadf"))

    def test_hyperspy_is_told_the_beam_and_the_place(self, hspy, wide, tmp_path):
        view.export(wide, tmp_path / "w.hspy")
        signal = hspy.file_reader(str(tmp_path / "w.hspy"))[0]
        optics = wide.optics
        assert signal["metadata"]["Acquisition_instrument"]["TEM"] == {
            "beam_energy": optics.energy_kev,
            "convergence_angle": optics.semiangle_mrad,
        }
        for axis in signal["axes"]:  # the image is the field, about the origin
            assert axis["offset"] == pytest.approx(-3.0, abs=1e-6)
            assert axis["offset"] + (axis["size"] - 1) * axis["scale"] == pytest.approx(3.0)

    @pytest.mark.parametrize("pixel", [0.5, np.nan])
    def test_an_image_that_was_edited_is_refused(self, hspy, wide, tmp_path, pixel):
        view.export(wide, tmp_path / "w.hspy")

        def edit(signal):
            signal["data"][5, 5] = pixel

        path = self.rewritten(hspy, tmp_path / "w.hspy", edit)
        with pytest.raises(ValueError, match=r"its image of haadf was changed .* as a recording"):
            view.imported(path)

    def test_an_image_of_another_name_is_refused(self, hspy, wide, tmp_path):
        view.export(wide, tmp_path / "w.hspy")

        def rename(signal):
            signal["metadata/General"].attrs["title"] = "filtered"

        path = self.rewritten(hspy, tmp_path / "w.hspy", rename)
        with pytest.raises(ValueError, match="its image of filtered was changed"):
            view.imported(path)

    def test_a_calibration_that_was_edited_is_refused(self, hspy, wide, tmp_path):
        view.export(wide, tmp_path / "w.hspy")

        def rescale(signal):
            for axis in ("axis-0", "axis-1"):
                signal[axis].attrs["scale"] = 0.05

        path = self.rewritten(hspy, tmp_path / "w.hspy", rescale)
        with pytest.raises(ValueError, match="its calibration was changed"):
            view.imported(path)


class TestRefused:
    def test_nothing_is_overwritten(self, path, images):
        path.write_text("another's")
        with pytest.raises(FileExistsError, match="nothing is overwritten"):
            export(path, images)
        assert path.read_text() == "another's"

    def test_unknown_endings(self, images, tmp_path):
        for name in ("w.png", "w.zspy", "w"):
            with pytest.raises(ValueError, match=r"one of \.npz, \.hspy, \.tif"):
                exchange.check_suffix(tmp_path / name)
            with pytest.raises(ValueError, match=r"one of \.npz, \.hspy, \.tif"):
                export(tmp_path / name, images)
        exchange.check_suffix(None)

    def test_without_the_extra_it_says_which(self, monkeypatch, tmp_path):
        monkeypatch.setattr(exchange, "find_spec", lambda _: None)
        with pytest.raises(ValueError, match=r"needs the extra 'files' \(pip install"):
            exchange.check_suffix(tmp_path / "w.hspy")
        exchange.check_suffix(tmp_path / "w.tif")

    @pytest.mark.parametrize(
        "images",
        [
            {},
            {"a": np.zeros((2, 3)), "b": np.zeros((3, 2))},
            {"a": np.zeros((2, 3, 4))},
        ],
    )
    def test_images_that_do_not_belong_together(self, images, tmp_path):
        with pytest.raises(ValueError, match=r"all \(rows, columns\) alike"):
            exchange.export_images(tmp_path / "w.tif", images, 0.1, (0, 0), {})

    def test_a_full_disk_leaves_nothing(self, path, images, monkeypatch):
        def full(*_, **__):
            raise OSError(errno.ENOSPC, "No space left on device")

        usage = namedtuple("usage", "free")(0)
        monkeypatch.setattr(exchange.shutil, "disk_usage", lambda _: usage)
        monkeypatch.setattr(np, "savez_compressed", full)
        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match=r"^no room for .* it needs up to"):
            export(path, images)
        assert not list(path.parent.iterdir())

    def test_no_file(self, path):
        with pytest.raises(FileNotFoundError, match="no file at"):
            exchange.import_images(path)

    def test_damaged_files(self, path, images):
        export(path, images)
        whole = path.read_bytes()
        for content in (b"", b"text", whole[: len(whole) // 2]):
            path.write_bytes(content)
            with pytest.raises(ValueError, match="cannot be read: "):
                exchange.import_images(path)
