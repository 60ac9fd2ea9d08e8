"""The rule of what has been seen.  It lives here and nowhere else.

A pure function of the truth and of where the electrons truly went.  A point
feature is seen when each of 13 fixed points of its context disc (the centre,
six at half and six at full radius) has received the dose its class needs from
frames that are sampled at least as finely as its ``max_pixel_nm``.  Doses of
different frames add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..simulators.exposure import Exposure
from ..simulators.specimens import Specimen

ROUNDING = 1e-9  # relative, of sums of doses
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Targets:
    """Sample points of every feature, and what they need.

    Attributes:
        points_yx_nm: (n, p, 2) sample points of n features.
        need_e_per_a2: (n,) dose that each point needs.
        max_pixel_nm: (n,) coarser frames do not count.
        weight: (n,) shares of the recall; they add up to 1.
    """

    points_yx_nm: Floats
    need_e_per_a2: Floats
    max_pixel_nm: Floats
    weight: Floats


def context_points(centre_yx_nm: Floats, radius_nm: float) -> Floats:
    """The 13 points (13, 2) of a context disc."""
    angles = np.arange(6) * np.pi / 3
    ring = np.column_stack([np.sin(angles), np.cos(angles)])
    unit = np.vstack([np.zeros((1, 2)), 0.5 * ring, ring])
    return np.asarray(centre_yx_nm + radius_nm * unit, dtype=np.float64)


def targets(specimen: Specimen) -> Targets:
    """What has to be imaged of a specimen."""
    classes = [specimen.classes[k] for k in specimen.feature_class]
    count = len(classes)
    points = [
        context_points(yx, c.context_radius_nm)
        for yx, c in zip(specimen.feature_yx_nm, classes, strict=True)
    ]
    return Targets(
        points_yx_nm=np.array(points).reshape(count, 13, 2),
        need_e_per_a2=np.array([c.need_e_per_a2 for c in classes]),
        max_pixel_nm=np.array([c.max_pixel_nm for c in classes]),
        weight=np.full(count, 1.0 / count),
    )


def dose(wanted: Targets, exposure: Exposure) -> Floats:
    """Dose (n, p) that one exposure gives to every sample point, in e/Å²."""
    fine = exposure.pixel_nm <= wanted.max_pixel_nm * (1 + ROUNDING)
    hit = exposure.covers(wanted.points_yx_nm) & fine[:, None]
    return np.asarray(hit * exposure.dose_e_per_a2)


def seen(wanted: Targets, received: Floats) -> Bools:
    """Which features (n,) a dose (n, p) suffices for."""
    enough = received >= wanted.need_e_per_a2[:, None] * (1 - ROUNDING)
    return np.asarray(enough.all(axis=1))


def seen_after(wanted: Targets, exposures: Iterable[Exposure]) -> Bools:
    """Which features (n,) a series of exposures has shown."""
    received = np.zeros(wanted.points_yx_nm.shape[:2])
    for exposure in exposures:
        received += dose(wanted, exposure)
    return seen(wanted, received)
