"""Images as coefficients of a cubic B-spline, which can be sampled anywhere.

(Unser, Aldroubi & Eden, IEEE Trans. Signal Process. 41 (1993) 821.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


def coefficients_of(image: NDArray[np.floating]) -> F32:
    """Coefficients (h, w) of the cubic B-spline through ``image`` (h, w)."""
    from scipy.ndimage import spline_filter

    return np.ascontiguousarray(spline_filter(image, order=3, mode="mirror"), dtype=np.float32)


def image_of(coefficients: F32) -> F32:
    """The values (h, w) at the nodes of a spline with ``coefficients`` (h, w)."""
    from scipy.ndimage import correlate1d

    weights = np.array([1.0, 4.0, 1.0]) / 6.0
    whole = correlate1d(coefficients, weights, axis=0, mode="mirror")
    return np.asarray(correlate1d(whole, weights, axis=1, mode="mirror"), dtype=np.float32)
