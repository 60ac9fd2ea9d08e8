"""Defocus of an incoherent image: what the probe's transfer loses, its spectrum loses.

An incoherent image is the object convolved with the probe, and its spectrum is the
object's times the transfer function of the probe, the autocorrelation of its pupil
(Kirkland, Advanced Computing in Electron Microscopy, 3rd ed. (2020), chapter 3; Black &
Linfoot, Proc. R. Soc. A 239 (1957) 522).  So the fast renderer, whose kernels were fitted
under one focus, shows another by the ratio of the two.  It holds as far as the
image is incoherent and the specimen thin beside the depth of focus.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..hardware.errors import Unsupported
from .optics import Optics

Floats = NDArray[np.float64]
F32 = NDArray[np.float32]
POINTS = 512  # across twice the transfer's reach, each way
LEAST = 0.02  # of the transfer in focus; where less is left, nothing is
FOCI = 7  # samples of the focal spread, from -2 to 2 standard deviations
MARGIN_NM = 1.0  # that an image is continued by, beyond its border


def defocused(image: F32, sampling_nm: float, optics: Optics, more_nm: float) -> F32:
    """An image, or its spline coefficients, at another focus.

    Args:
        image: (rows, columns) under ``optics``.
        sampling_nm: from node to node.
        optics: that it was rendered for.
        more_nm: defocus beyond that of ``optics``.

    Raises:
        Unsupported: optics with astigmatism, whose transfer is not round.
    """
    if more_nm == 0.0:
        return image
    reach, ratio = _ratio(optics, more_nm)
    edge = round(MARGIN_NM / sampling_nm)
    rows, columns = (fft.next_fast_len(n + 2 * edge, real=True) for n in image.shape)
    after = (rows - image.shape[0] - edge, columns - image.shape[1] - edge)
    padded = np.pad(image, ((edge, after[0]), (edge, after[1])), mode="reflect")
    k = np.hypot(
        fft.fftfreq(rows, sampling_nm)[:, None], fft.rfftfreq(columns, sampling_nm)[None, :]
    )
    kept = np.interp(k, reach, ratio).astype(np.float32)
    back = fft.irfft2(fft.rfft2(padded) * kept, padded.shape)
    inside = back[edge : edge + image.shape[0], edge : edge + image.shape[1]]
    return np.ascontiguousarray(inside, dtype=np.float32)


@cache
def _ratio(optics: Optics, more_nm: float) -> tuple[Floats, Floats]:
    """Spatial frequencies (n,) in 1/nm, and what is left there of the image in focus."""
    if optics.astigmatism_nm:
        raise Unsupported("another focus under astigmatism; leave out defocus_nm, or use abtem")
    k, sharp = transfer(optics)
    _, blurred = transfer(replace(optics, defocus_nm=optics.defocus_nm + more_nm))
    tells = sharp > LEAST
    return k, np.divide(blurred, sharp, out=np.zeros_like(k), where=tells)


@lru_cache(maxsize=32)
def transfer(optics: Optics) -> tuple[Floats, Floats]:
    """The incoherent transfer function: frequencies (n,) in 1/nm, and 1 at 0, falling to 0.

    Of the probe alone, without the source's size; averaged over the focal spread.
    """
    most = optics.semiangle_mrad * 1e-3 / optics.wavelength_nm
    axis = fft.fftfreq(POINTS, 1.0 / POINTS) * (4.4 * most / POINTS)
    k2 = axis[:, None] ** 2 + axis[None, :] ** 2
    lit = k2 <= most**2
    spread = np.linspace(-2.0, 2.0, FOCI) if optics.focal_spread_nm else np.zeros(1)
    weights = np.exp(-0.5 * spread**2)
    total = np.zeros(POINTS)
    for step, weight in zip(spread, weights / weights.sum(), strict=True):
        defocus = optics.defocus_nm + step * optics.focal_spread_nm
        # Aberrations in waves; underfocus is positive and has the sign opposite to C3's.
        l2 = optics.wavelength_nm**2 * k2
        chi = (
            k2
            * optics.wavelength_nm
            * (-defocus / 2 + optics.c3_nm * l2 / 4 + optics.c5_nm * l2**2 / 6)
        )
        pupil = np.where(lit, np.exp(-2j * np.pi * chi), 0.0)
        probe = np.abs(fft.ifft2(pupil)) ** 2
        total += weight * fft.fft2(probe)[0].real / probe.sum()
    half = POINTS // 2
    return axis[:half], total[:half]
