"""Windows of frames and their Fourier descriptors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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


def fourier_magnitude(patches: Floats) -> Floats:
    """The paper's descriptor: |FFT| (..., s, s) under a square-root Hamming window.

    Zero frequency in the middle, cropped to the central half, where the
    reflections are.  (The paper zooms the crop back to the window's size, which
    adds samples but no information; here it stays as it is.)
    """
    side = patches.shape[-1]
    taper = np.sqrt(np.outer(np.hamming(side), np.hamming(side)))
    spectrum = np.fft.fftshift(np.abs(np.fft.fft2(patches * taper)), axes=(-2, -1))
    cut = side // 4
    return np.asarray(spectrum[..., cut : side - cut, cut : side - cut])
