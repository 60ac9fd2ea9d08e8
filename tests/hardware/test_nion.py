"""Nion Swift's simulated instrument, in a process of its own, through the conformance suite."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from stemscout.hardware import AbortedError, LimitError, ScanRequest
from stemscout.hardware.adapter import Adapter
from stemscout.hardware.conformance import CHECKS, Bench, alike
from stemscout.hardware.emergency import CONFIRMED
from stemscout.hardware.guard import guarded

pytestmark = pytest.mark.skipif(
    find_spec("nion") is None or find_spec("nion.usim_device") is None,
    reason="nionswift-usim is not installed: stemscout[nion]",
)
# Its noise is the same at every dwell, so frames are averaged.
BENCH = Bench(ScanRequest((0.0, 0.0), (80.0, 64.0), (80, 64), 10.0), frames=9)


@pytest.fixture(scope="module")
def nion():
    adapter = Adapter("stemscout.hardware.nion:simulated")
    own = guarded(adapter)
    own.open()
    yield own
    own.close()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_conformance(check, nion, conforms):
    own = nion
    own.open()
    own.blank(False)
    conforms(check, own, BENCH)


@pytest.fixture
def ready(nion):
    nion.open()
    nion.rearm()
    nion.blank(False)
    yield nion
    nion.rearm()
    nion.move_stage((0.0, 0.0))
    nion.set_beam_shift((0.0, 0.0))


def shift_of(a, b):
    """By how many pixels (y, x) features of ``b`` lie off those of ``a``, by cross-correlation."""
    spectrum = np.fft.fft2(a - a.mean()).conj() * np.fft.fft2(b - b.mean())
    peak = np.unravel_index(np.fft.ifft2(spectrum).real.argmax(), a.shape)
    return tuple(int((p + n // 2) % n - n // 2) for p, n in zip(peak, a.shape, strict=True))


WIDE = ScanRequest((0.0, 0.0), (128.0, 128.0), (128, 128), 1.0)


class TestGeometry:
    """By cross-correlation; the simulator draws its flakes at whole pixels, so one is allowed."""

    @pytest.mark.parametrize("shape", [(64, 64), (64, 40), (40, 64)])
    @pytest.mark.parametrize("offset", [(0, 0), (-20, 12), (24, -16)])
    def test_a_sub_scan_is_the_crop_of_a_wide_one(self, ready, shape, offset):
        part = replace(
            WIDE, centre_yx_nm=tuple(map(float, offset)), fov_yx_nm=tuple(map(float, shape)),
            shape_yx=shape,
        )  # fmt: skip
        wide = BENCH.image(ready, WIDE)
        top, left = (64 + o - s // 2 for o, s in zip(offset, shape, strict=True))
        crop = wide[top : top + shape[0], left : left + shape[1]]
        found = shift_of(crop, BENCH.image(ready, part))
        assert np.abs(found).max() <= 1

    @pytest.mark.parametrize("shape", [(64, 64), (80, 64), (64, 80)])
    def test_a_quarter_turn_is_rot90(self, ready, shape):
        straight = replace(WIDE, fov_yx_nm=tuple(map(float, shape)), shape_yx=shape)
        turned = replace(
            straight, rotation_rad=np.pi / 2, fov_yx_nm=straight.fov_yx_nm[::-1],
            shape_yx=shape[::-1],
        )  # fmt: skip
        image = np.rot90(BENCH.image(ready, straight), 1)
        found = BENCH.image(ready, turned)
        assert np.abs(shift_of(image, found)).max() <= 1
        assert alike(image, found) > 0.9

    @pytest.mark.parametrize("angle", [0.3, -1.1])
    @pytest.mark.parametrize("offset", [(0.0, 0.0), (-14.0, 9.0)])
    def test_an_oblique_scan_is_the_wide_one_turned(self, ready, angle, offset):
        """By any angle: (v, u) along the scan lies at (v cos + u sin, u cos - v sin)."""
        turned = replace(
            WIDE, centre_yx_nm=offset, rotation_rad=angle, fov_yx_nm=(56.0, 40.0), shape_yx=(56, 40)
        )
        v, u = np.meshgrid(
            *(o + np.arange(n) + 0.5 - n / 2 for o, n in zip(offset, turned.shape_yx, strict=True)),
            indexing="ij",
        )
        wide, found = BENCH.image(ready, WIDE), BENCH.image(ready, turned)

        def seen(angle):
            y, x = v * np.cos(angle) + u * np.sin(angle), u * np.cos(angle) - v * np.sin(angle)
            return map_coordinates(wide, np.array([y, x]) + 63.5, order=1)

        assert np.abs(shift_of(seen(angle), found)).max() <= 1
        assert alike(seen(angle), found) > 0.9 > alike(seen(-angle), found)

    def test_stage_moves_features_along_and_beam_shift_against(self, ready):
        first = BENCH.image(ready, WIDE)
        ready.move_stage((8.0, -12.0))
        assert np.abs(np.subtract(shift_of(first, BENCH.image(ready, WIDE)), (8, -12))).max() <= 1
        ready.move_stage((0.0, 0.0))
        ready.set_beam_shift((8.0, -12.0))
        assert np.abs(np.subtract(shift_of(first, BENCH.image(ready, WIDE)), (-8, 12))).max() <= 1


class TestWhatItsDocumentationDoesNotSay:
    def test_pixels_that_are_not_square_are_refused(self, ready):
        with pytest.raises(LimitError, match="square ones only"):
            ready.acquire(replace(WIDE, fov_yx_nm=(128.0, 64.0)))

    def test_a_stage_move_of_a_metre_is_refused(self, ready):
        with pytest.raises(LimitError, match="stage position 1e"):
            ready.move_stage((1e9, 0.0))

    def test_every_detector_gives_its_own_channel(self, ready):
        frame = ready.acquire(replace(WIDE, detectors=("maadf", "haadf")))
        assert set(frame.data) == {"maadf", "haadf"}

    def test_the_same_seed_gives_the_same_noise(self):
        shown = []
        for _ in range(2):
            with guarded(Adapter("stemscout.hardware.nion:simulated", {"seed": 5})) as own:
                shown.append(own.acquire(WIDE).image)
        assert np.array_equal(*shown)


def test_a_frame_is_stopped_and_the_beam_blanked(ready):
    long = replace(WIDE, dwell_us=500.0)  # 8 s
    brought = []

    def scan():
        try:
            brought.append(ready.acquire(long))
        except Exception as error:
            brought.append(error)

    thread = threading.Thread(target=scan)
    thread.start()
    time.sleep(0.5)
    told = ready.stop()
    thread.join(10)
    assert isinstance(brought[0], AbortedError)
    assert told.answer == CONFIRMED
    assert told.seconds < 3 * 0.2
