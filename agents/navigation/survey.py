"""What a survey tells of the candidates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...hardware.coordinates import scan_now
from ...hardware.microscope import State
from ..agent import Context
from .navigator import Candidates, Floats


def covariates(context: Context, candidates: Candidates, now: State | None = None) -> Floats | None:
    """Brightness and texture of the survey in the frame of each candidate: (n, 2).

    Mean and standard deviation over the frame's area, each with mean 0 and variance 1 over
    the candidates; a column without variance is left out.  None where there is no survey or
    nothing to see in it.  ``now`` is the instrument's state; None while it is as it was.
    """
    frame = context.survey
    if frame is None:
        return None
    image = frame.image.astype(np.float64)
    height, width = frame.request.pixel_yx_nm
    middle = (np.asarray(image.shape) - 1) / 2
    centre = scan_now(frame, frame.state if now is None else now)
    pixel = (candidates.centres_yx_nm - centre) / (height, width) + middle
    half = np.maximum(np.asarray(context.reference.fov_yx_nm) / (height, width) / 2, 0.5)
    low = np.clip(np.ceil(pixel - half), 0, np.asarray(image.shape) - 1).astype(np.int64)
    high = np.clip(np.floor(pixel + half) + 1, low + 1, image.shape).astype(np.int64)
    count = np.prod(high - low, axis=1)
    mean = _sums(image, low, high) / count
    square = _sums(image**2, low, high) / count
    shown = np.column_stack([mean, np.sqrt(np.maximum(square - mean**2, 0.0))])
    spread = shown.std(axis=0)
    told = spread > 1e-9 * np.maximum(1.0, np.abs(shown).max(axis=0))
    if not told.any():
        return None
    return np.asarray(((shown - shown.mean(axis=0)) / np.where(told, spread, 1.0))[:, told])


def _sums(image: Floats, low: NDArray[np.int64], high: NDArray[np.int64]) -> Floats:
    """Of the pixels between corners (n, 2), by a summed-area table."""
    table = np.zeros((image.shape[0] + 1, image.shape[1] + 1))
    table[1:, 1:] = image.cumsum(axis=0).cumsum(axis=1)
    (y0, x0), (y1, x1) = low.T, high.T
    return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])
