"""Inner loops that paint truth into channels."""

from __future__ import annotations

from math import exp

import numba
import numpy as np


@numba.njit(cache=True, fastmath=False, nogil=True)
def blobs(points, channel, sigma, out):
    """Paint Gaussians of height 1 about points (n, 2), in pixels; the greater where two overlap."""
    rows, columns = out.shape[1], out.shape[2]
    for n in range(points.shape[0]):
        y, x, s = points[n, 0], points[n, 1], sigma[n]
        reach = 3.0 * s
        if y < -reach or x < -reach or y > rows - 1 + reach or x > columns - 1 + reach:
            continue
        layer = out[channel[n]]
        for i in range(max(0, int(y - reach)), min(rows, int(y + reach) + 2)):
            for j in range(max(0, int(x - reach)), min(columns, int(x + reach) + 2)):
                squared = (i - y) * (i - y) + (j - x) * (j - x)
                if squared <= reach * reach:
                    value = np.float32(exp(-0.5 * squared / (s * s)))
                    if value > layer[i, j]:
                        layer[i, j] = value


@numba.njit(cache=True, fastmath=False, nogil=True)
def discs(points, radius, out):
    """Set what lies within a radius, in pixels, of points (n, 2)."""
    rows, columns = out.shape
    for n in range(points.shape[0]):
        y, x = points[n, 0], points[n, 1]
        if y < -radius or x < -radius or y > rows - 1 + radius or x > columns - 1 + radius:
            continue
        for i in range(max(0, int(y - radius)), min(rows, int(y + radius) + 2)):
            for j in range(max(0, int(x - radius)), min(columns, int(x + radius) + 2)):
                if (i - y) * (i - y) + (j - x) * (j - x) <= radius * radius:
                    out[i, j] = True
