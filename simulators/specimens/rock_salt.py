"""Rock salt that is fitted between the planes of a perovskite: NiO in La0.7Sr0.3MnO3.

Oxygen (and La) of the perovskite and oxygen of the rock salt are taken as one
face-centred lattice that goes on across the border, cube on cube, as in a coherent
interface; where the planes of the two phases are out of step along a facet, the
columns of NiO are shifted along the beam, so that no ion faces one of its own kind
(a pillar is sheared by that, by 0.016 nm from one column to the next).  Along the
beam both phases have their mean period at the border, 0.403 nm, each strained by
less than 4 %, and their own one far from it.  What a thicker crystal takes up in
misfit dislocations is spread evenly here.  That the perovskite ends with planes of
Mn before {100} facets and of O before {110} keeps La and Ni apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lattice import lattice, rotation
from .outlines import from_borders, inside, which
from .specimen import Floats

LSMO_NM, NIO_NM = 0.388, 0.418
CLOSEST_NM = 0.184  # columns of different phases
INTERFACE_NM = (LSMO_NM + NIO_NM) / 4  # between the planes of the two phases, unless strained
MOST_STRAIN = 0.0495
# Along the beam the two phases have one period where they meet, and each its own far from there.
SHARED_NM, SHARED_WITHIN_NM, DECAY_NM = (LSMO_NM + NIO_NM) / 2, 0.11, 0.5
REPEATS = 10  # of either phase through the thickness
TWIST_RAD, MOST_TWIST_NM = 0.008, 0.008  # standard deviation; how far it moves a corner at most


@dataclass(frozen=True)
class Grain:
    """A pillar or an inclusion.

    Attributes:
        outline_yx_nm: (corners, 2).
        origin_yx_nm: (2,) a column of the lattice in it.
        vectors_yx_nm: (2, 2) from a column to its neighbours, in rows.
    """

    outline_yx_nm: Floats
    origin_yx_nm: Floats
    vectors_yx_nm: Floats


def facets(yx: Floats, size: Floats, angle: float, origin: Floats) -> tuple[Floats, Floats]:
    """Low and high {100} facets (2,) about a point, in cells: a plane of Mn lies before each."""
    middle = (yx - origin) @ rotation(angle).T / LSMO_NM
    low, high = (np.floor(middle + s * size / 2 / LSMO_NM) + 0.5 - 0.25 * s for s in (-1, 1))
    return low, high


def grain_between(
    low: Floats,
    high: Floats,
    chamfer: Floats,
    angle: float,
    origin: Floats,
    twist_rad: float = 0.0,
) -> Grain:
    """Rock salt between facets, strained so that whole planes fit between those outside."""
    turn = rotation(angle)
    span = (high - low + 0.5) * LSMO_NM  # from plane to plane of the perovskite outside
    steps = np.rint((span - 2 * INTERFACE_NM) / (NIO_NM / 2))
    strain = (span - 2 * INTERFACE_NM) / steps / (NIO_NM / 2) - 1.0
    spacing = NIO_NM / 2 * (1.0 + np.clip(strain, -MOST_STRAIN, MOST_STRAIN))
    middle = (low + high) / 2 * LSMO_NM
    first = middle - steps * spacing / 2
    most = MOST_TWIST_NM / (span.max() / 2)
    twist = rotation(float(np.clip(twist_rad, -most, most)))
    if chamfer.any():
        apart = (span - steps * spacing).mean() / 2
        chamfer = _fitting(chamfer, spacing.mean(), apart)
    return Grain(
        _octagon(low, high, chamfer / LSMO_NM) @ turn + origin,
        ((first - middle) @ twist + middle) @ turn + origin,
        spacing[:, None] * twist @ turn,
    )


def _fitting(chamfer: Floats, spacing_nm: float, apart_nm: float) -> Floats:
    """The chamfers (4,) next to those wished at which a {110} facet leaves no seam.

    A chamfer passes midway between two {110} planes of the perovskite, half a cell apart
    along an axis; ahead of the outer one is the next such plane of the rock salt.  Where that
    is neither about its own spacing away nor so near that its columns make way for the next,
    a dark seam would remain.
    """
    cells = 0.25 + np.arange(int(chamfer.max() / LSMO_NM) + 2)
    step = spacing_nm / LSMO_NM
    ahead = (2 * apart_nm / LSMO_NM - 0.5 - (cells - 0.25)) % step / step
    fits = cells[(ahead > 0.8) | (ahead < 0.25)]
    return np.asarray(fits[np.abs(fits - chamfer[:, None] / LSMO_NM).argmin(axis=1)] * LSMO_NM)


def _octagon(low: Floats, high: Floats, c: Floats) -> Floats:
    """Corners (8, 2) in cells; (4, 2) where nothing is cut off them."""
    corners = np.array(
        [
            [low[0], low[1] + c[0]], [low[0], high[1] - c[1]], [low[0] + c[1], high[1]],
            [high[0] - c[2], high[1]], [high[0], high[1] - c[2]], [high[0], low[1] + c[3]],
            [high[0] - c[3], low[1]], [low[0] + c[0], low[1]],
        ]
    )  # fmt: skip
    return np.asarray((corners if c.any() else corners[::2]) * LSMO_NM)


def columns_of(grain: Grain, half_nm: float) -> Floats:
    """Columns of NiO in an outline (n, 2)."""
    middle = grain.outline_yx_nm.mean(axis=0)
    reach = np.abs(grain.outline_yx_nm - middle).max()
    yx, _ = lattice(grain.vectors_yx_nm, grain.origin_yx_nm - middle, reach)
    yx = yx + middle
    kept = inside(yx, grain.outline_yx_nm) & (np.abs(yx) <= half_nm).all(axis=1)
    return np.asarray(yx[kept])


def along_the_beam(
    yx: Floats, of_nio: NDArray[np.bool_], outlines: list[Floats], angle: float, origin: Floats
) -> tuple[Floats, Floats]:
    """How much longer columns (n,) are than they would be alone, and the heights they begin at."""
    period = np.where(of_nio, NIO_NM, LSMO_NM)
    distance = from_borders(yx, outlines, 6 * DECAY_NM)
    near = np.exp(-np.maximum(0.0, distance - SHARED_WITHIN_NM) / DECAY_NM)
    stretch = 1.0 + (SHARED_NM / period - 1.0) * near
    # In half cells of the perovskite from one of its La: where their sum is even there is
    # oxygen (or La) at height 0, where it is odd half a period above.
    sites = ((yx[of_nio] - origin) @ rotation(angle).T / (LSMO_NM / 2)).sum(axis=1)
    base = REPEATS / 2 * (SHARED_NM - period * stretch)  # the middles are at one height
    base[of_nio] += (sites + 1.0) % 2.0 * stretch[of_nio] * NIO_NM / 2
    return stretch, base


def apart(nio: Floats, angle: float, origin: Floats, outlines: list[Floats]) -> NDArray[np.bool_]:
    """Which columns of NiO (n,) are far enough from those of the perovskite.

    These stand on a square lattice of half a cell: four of them are around a point.
    """
    turn = rotation(angle)
    cell = np.floor((nio - origin) @ turn.T / (LSMO_NM / 2))
    clear = np.ones(len(nio), dtype=bool)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        site = (cell + corner) * (LSMO_NM / 2) @ turn + origin
        close = ((site - nio) ** 2).sum(axis=1) < CLOSEST_NM**2
        clear[close] &= which(site[close], outlines) >= 0
    return clear
