"""Windows of frames, and what is kept of each: four descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.microscope import Frame
from ..agent import Context

Floats = NDArray[np.float64]
Descriptor = Literal["fft", "raw", "radial", "structure"]
DESCRIPTORS: tuple[Descriptor, ...] = ("fft", "raw", "radial", "structure")
SMALLEST = 4  # px a side; a spectrum of less has no reflections


def check(window: float, overlap: float) -> None:
    """ValueError unless both are shares: a window of a frame, and an overlap of a window."""
    sound = is_number(window) and is_number(overlap)
    if not (sound and 0 < window <= 1 and 0 <= overlap < 1):
        raise ValueError(
            f"window {window} and overlap {overlap}; they must lie in (0, 1] and [0, 1)"
        )


def windows(images: Floats, side_px: int, step_px: int) -> Floats:
    """Square windows (n, k, side, side) of images (n, rows, columns), in raster order."""
    if side_px > min(images.shape[1:]):
        raise ValueError(
            f"windows of {side_px} px from frames of {images.shape[1]} x {images.shape[2]} px; "
            "they must fit in"
        )
    every = np.lib.stride_tricks.sliding_window_view(images, (side_px, side_px), axis=(1, 2))
    chosen = every[:, ::step_px, ::step_px]
    return chosen.reshape(len(images), -1, side_px, side_px)


def side_of(share: float, rows: int, columns: int) -> int:
    """The side in px, even where it can be, of windows that are a share of an image."""
    side = max(SMALLEST, round(share * min(rows, columns)))
    side += side % 2
    return min(side, rows, columns)


@dataclass(frozen=True)
class Display:
    """What is black and what white, so that frames of whatever dwell are as bright.

    Attributes:
        full_scale: by detector, readings at either end for the reference dwell.
        dwell_us: that.
    """

    full_scale: Mapping[str, tuple[float, float]]
    dwell_us: float

    @classmethod
    def of(cls, context: Context) -> Display:
        return cls(context.full_scale, context.reference.dwell_us)

    def shown(self, frame: Frame) -> Floats:
        """Its first picture (rows, columns), 0 at black and 1 at white; NaN where not scanned."""
        black, white = self.full_scale[frame.request.detectors[0]]
        longer = frame.request.dwell_us / self.dwell_us
        image = (frame.image.astype(np.float64) / longer - black) / (white - black)
        image[frame.valid_rows :] = np.nan
        return np.asarray(image)


def scanned_windows(image: Floats, share: float, overlap: float) -> Floats:
    """Windows (k, side, side) of an image (rows, columns) that hold nothing but finite numbers.

    Args:
        share: of the image that a window's side is.
        overlap: of neighbouring windows, as a share of a window.
    """
    side = side_of(share, *image.shape)
    step = max(1, round(side * (1 - overlap)))
    found: Floats = windows(image[None], side, step)[0]
    if np.isfinite(image).all():
        return found
    there = np.isfinite(found).all(axis=(1, 2))
    return np.asarray(found[there], dtype=np.float64)


def fourier_magnitude(patches: Floats, zoom: int = 1) -> Floats:
    """The paper's descriptor: |FFT| (..., s, s) under a square-root Hamming window.

    Zero frequency in the middle, cropped to the central half, where the
    reflections are.

    Args:
        patches: (..., side, side).
        zoom: enlarge the crop so many times, by cubic splines as the paper does (2); it adds
            samples, and no information.
    """
    spectrum = magnitude(patches)
    side = patches.shape[-1]
    cut = side // 4
    cropped = np.asarray(spectrum[..., cut : side - cut, cut : side - cut])
    if zoom == 1:
        return cropped
    from scipy.ndimage import zoom as enlarged

    return np.asarray(enlarged(cropped, (1,) * (cropped.ndim - 2) + (zoom, zoom)))


def radial_power(patches: Floats) -> Floats:
    """The logarithm of the power spectrum (..., side // 2), averaged over rings one bin wide.

    Of windows of one pixel there is one ring.  The same however the specimen is turned, but for
    the square pixels.
    """
    side = patches.shape[-1]
    from_middle = np.arange(side) - side // 2
    ring = np.round(np.hypot(from_middle[:, None], from_middle)).astype(np.int64).ravel()
    power = magnitude(patches).reshape(*patches.shape[:-2], -1) ** 2
    bins = np.arange(max(1, side // 2))
    member = (ring == bins[:, None]) / np.maximum(np.bincount(ring)[: len(bins), None], 1)
    return np.asarray(np.log1p(power @ member.T))


def reflections(mean_power: Floats, count: int) -> NDArray[np.int64]:
    """The strongest local maxima (k, 2) of a power spectrum, one of each Friedel pair.

    Args:
        mean_power: (s, s), zero frequency in the middle; what lies less than two bins from it
            is no reflection.
        count: at most so many, strongest first.
    """
    from scipy.ndimage import maximum_filter

    side = mean_power.shape[0]
    y, x = np.indices(mean_power.shape) - side // 2
    half = (y > 0) | ((y == 0) & (x > 0))
    there = (maximum_filter(mean_power, 3) == mean_power) & half & (np.hypot(y, x) >= 2.0)
    there &= mean_power > mean_power.min()
    found = np.argwhere(there)
    order = np.argsort(-mean_power[tuple(found.T)], kind="stable")
    return np.asarray(found[order[:count]])


def structure_factors(magnitudes: Floats, at: NDArray[np.int64]) -> Floats:
    """|F| (..., k) of reflections: the root of the power within a bin of each.

    Divided by the root of the power of the whole spectrum but for its middle, so that
    brightness and dose do not matter.
    """
    power = np.pad(magnitudes**2, [(0, 0)] * (magnitudes.ndim - 2) + [(1, 1), (1, 1)])
    box = [power[..., at[:, 0] + i, at[:, 1] + j] for i in range(3) for j in range(3)]
    middle = magnitudes.shape[-1] // 2 + 1
    near = slice(middle - 1, middle + 2)
    whole = power.sum(axis=(-2, -1))
    rest = whole - power[..., near, near].sum(axis=(-2, -1))
    rest = np.maximum(rest, 1e-12 * np.maximum(whole, 1e-300))  # of frames without any contrast
    return np.asarray(np.sqrt(np.sum(box, axis=0) / rest[..., None]))


def magnitude(patches: Floats) -> Floats:
    """|FFT| (..., side, side) under a square-root Hamming window, zero frequency in the middle."""
    side = patches.shape[-1]
    taper = np.sqrt(np.outer(np.hamming(side), np.hamming(side)))
    return np.fft.fftshift(np.abs(np.fft.fft2(patches * taper)), axes=(-2, -1))
