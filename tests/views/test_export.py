"""A journal as files that other programs open."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from stemscout.hardware import ScanRequest
from stemscout.hardware.errors import JournalError
from stemscout.hardware.guard import guarded
from stemscout.hardware.journal import Journal
from stemscout.simulators.recorded import RecordedMicroscope
from stemscout.views.export import HSPY, NEXUS, PICTURE, export

h5py = pytest.importorskip("h5py")
rsciio = pytest.importorskip("rsciio.hspy")

REQUEST = ScanRequest((1.0, -2.0), (1.2, 1.0), (24, 20), 10.0, detectors=("recorded",))
PLACES = ((1.0, -2.0), (-3.0, 2.5), (0.5, 0.5))


@pytest.fixture
def run(tmp_path, lattice_image):
    """Three frames alike, and one of another shape, in a journal; the frames."""
    frames = []
    with (
        Journal(tmp_path / "run") as journal,
        guarded(RecordedMicroscope(lattice_image, 0.05), journal=journal) as own,
    ):
        for k, place in enumerate(PLACES):
            journal.write("decision", {"step": k, "sentence": f"reason {k}"})
            frames.append(own.acquire(replace(REQUEST, centre_yx_nm=place)))
        frames.append(own.acquire(replace(REQUEST, fov_yx_nm=(2.0, 2.0), shape_yx=(40, 40))))
    return tmp_path / "run", frames


def test_nexus_has_every_frame_with_its_axes(run, tmp_path):
    folder, frames = run
    export(folder, tmp_path / "out")
    with h5py.File(tmp_path / "out" / NEXUS) as file:
        entry = file[file.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry.attrs["default"] in entry
        for k, frame in enumerate(frames):
            data = entry[f"frame_{k:05d}"]
            assert data.attrs["NX_class"] == "NXdata"
            image = data[data.attrs["signal"]]
            assert np.array_equal(image, frame.image)
            for axis, centre, size, pitch in zip(
                data.attrs["axes"], frame.region.centre_yx_nm, frame.image.shape,
                frame.request.pixel_yx_nm, strict=True,
            ):  # fmt: skip
                assert data[axis].attrs["units"] == "nm"
                assert len(data[axis]) == size
                assert np.mean(data[axis]) == pytest.approx(centre)
                assert np.diff(data[axis]) == pytest.approx(pitch)
            assert data.attrs["charge_e"] == frame.charge_e
        assert list(entry["decisions/step"]) == [0, 1, 2]
        assert entry["decisions/sentence"][1] == b"reason 1"


def test_hyperspys_files_come_back_calibrated(run, tmp_path):
    folder, frames = run
    written = export(folder, tmp_path / "out")
    assert [p.name for p in written.files] == [NEXUS, HSPY, "frames-2.hspy", PICTURE]
    assert (written.frames, written.torn) == (4, 0)
    (stack,) = rsciio.file_reader(str(tmp_path / "out" / HSPY))
    assert stack["data"].shape == (3, 1, 24, 20)
    for k in range(3):
        assert np.array_equal(stack["data"][k, 0], frames[k].image)
    axes = {axis["name"]: axis for axis in stack["axes"]}
    assert axes["y"]["units"] == axes["x"]["units"] == "nm"
    assert (axes["y"]["scale"], axes["x"]["scale"]) == pytest.approx((0.05, 0.05))
    # The middle of the axes is the middle of the frame.
    assert axes["y"]["offset"] == pytest.approx(-23 / 2 * 0.05)
    where = stack["original_metadata"]["stemscout"]["centre_yx_nm"]
    assert np.allclose(where, [f.region.centre_yx_nm for f in frames[:3]])
    (other,) = rsciio.file_reader(str(tmp_path / "out" / "frames-2.hspy"))
    assert other["data"].shape == (1, 1, 40, 40)


class Coarse(RecordedMicroscope):
    """Its magnification has steps: it scans 2 % more than it is asked for, or 3 %."""

    def acquire(self, request, timeout_s=60.0):
        frame = super().acquire(request, timeout_s)
        more = 1.03 if request.centre_yx_nm == PLACES[2] else 1.02
        height, width = request.fov_yx_nm
        region = replace(frame.region, fov_yx_nm=(height * more, width * more))
        return replace(frame, region=region)


def test_both_are_calibrated_by_what_was_scanned(tmp_path, lattice_image):
    with (
        Journal(tmp_path / "run") as journal,
        guarded(Coarse(lattice_image, 0.05), journal=journal) as own,
    ):
        for place in PLACES:
            own.acquire(replace(REQUEST, centre_yx_nm=place))
    export(tmp_path / "run", tmp_path / "out")
    with h5py.File(tmp_path / "out" / NEXUS) as file:
        for k, more in enumerate((1.02, 1.02, 1.03)):
            for axis in "yx":
                there = file[f"experiment/frame_{k:05d}"][axis]
                assert np.diff(there) == pytest.approx(0.05 * more)
    for name, frames, more in ((HSPY, 2, 1.02), ("frames-2.hspy", 1, 1.03)):
        (stack,) = rsciio.file_reader(str(tmp_path / "out" / name))
        assert len(stack["data"]) == frames
        axes = {axis["name"]: axis for axis in stack["axes"]}
        for axis, size in zip("yx", (24, 20), strict=True):
            assert axes[axis]["scale"] == pytest.approx(0.05 * more)
            assert axes[axis]["offset"] == pytest.approx(-(size - 1) / 2 * 0.05 * more)
        fields = stack["original_metadata"]["stemscout"]["fov_yx_nm"]
        assert np.allclose(fields, [(1.2 * more, 1.0 * more)] * frames)


def test_a_torn_tail_is_left_out_and_told_of(run, tmp_path):
    folder, _ = run
    log = folder / "journal.log"
    whole = log.read_bytes()
    log.write_bytes(whole + b"\xf7rec")
    written = export(folder, tmp_path / "out")
    assert (written.frames, written.torn) == (4, 4)
    assert log.read_bytes() == whole + b"\xf7rec"


def test_the_picture_shows_frames_where_they_were_taken(run, tmp_path):
    folder, _ = run
    export(folder, tmp_path / "out")
    with Image.open(tmp_path / "out" / PICTURE) as picture:
        shown = np.asarray(picture.convert("RGB"), float)
    assert shown.shape[1] > 600
    grey = (np.ptp(shown, axis=2) < 6) & (shown.mean(axis=2) < 250)
    assert 0.01 < grey.mean() < 0.3


def test_nothing_is_written_over(run, tmp_path):
    folder, _ = run
    export(folder, tmp_path / "out")
    with pytest.raises(ValueError, match="is there already; name another folder"):
        export(folder, tmp_path / "out")


def test_without_frames_there_is_nothing_to_export(tmp_path, lattice_image):
    with (
        Journal(tmp_path / "run") as journal,
        guarded(RecordedMicroscope(lattice_image, 0.05), journal=journal),
    ):
        pass
    with pytest.raises(ValueError, match="holds no frame"):
        export(tmp_path / "run", tmp_path / "out")
    with pytest.raises(JournalError, match="there is no journal"):
        export(tmp_path / "nothing", tmp_path / "out")
