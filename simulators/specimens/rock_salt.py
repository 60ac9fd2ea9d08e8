"""Rock salt that is fitted between the planes of a perovskite: NiO in La0.7Sr0.3MnO3.

Oxygen (and La) of the perovskite and oxygen of the rock salt are taken as one
face-centred lattice that goes on across the border, cube on cube, as in a coherent
interface; where the planes of the two phases are out of step along a facet, the
columns of NiO are shifted along the beam, so that no ion faces one of its own kind
(a pillar is sheared by that, by 0.016 nm from one column to the next).  Along the
beam both phases have their mean period at the border, 0.403 nm, each strained by
less than 4 %, and their own one far from it.  What a thicker crystal takes up in
misfit dislocations is spread evenly here.  That the perovskite ends with planes of
Mn before {100} facets and of O before {110} keeps La and Ni apart.  Across the border
bonds are within 5 % of the mean of the two phases; an inclusion too small to be
strained so far that its planes fit pushes those of the perovskite outwards, by up to
0.007 nm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lattice import lattice, rotation
from .outlines import from_borders, inside, which
from .specimen import Floats

LSMO_NM, NIO_NM = 0.388, 0.418
INTERFACE_NM = (LSMO_NM + NIO_NM) / 4  # between the planes of the two phases: their mean bond
CLOSEST_NM = 0.952 * INTERFACE_NM  # columns of different phases
MOST_STRAIN = 0.0495
# Along the beam the two phases have one period where they meet, and each its own far from there.
SHARED_NM, AT_BORDER_NM, DECAY_NM = (LSMO_NM + NIO_NM) / 2, 0.11, 0.5
WAY_NM = 0.7  # from a border to where planes that make way for it stand in their place
REPEATS = 10  # of either phase through the thickness
TWIST_RAD, MOST_TWIST_NM = 0.008, 0.008  # standard deviation; how far it moves a corner at most


@dataclass(frozen=True)
class Grain:
    """A pillar or an inclusion.

    Attributes:
        outline_yx_nm: (corners, 2).
        origin_yx_nm: (2,) a column of the lattice in it.
        vectors_yx_nm: (2, 2) from a column to its neighbours, in rows.
        push_nm: (2,) how far the planes of the perovskite before its {100} facets make way.
    """

    outline_yx_nm: Floats
    origin_yx_nm: Floats
    vectors_yx_nm: Floats
    push_nm: Floats


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
    """Rock salt between facets, strained so that whole planes fit between those outside.

    Where that would take more than ``MOST_STRAIN``, those outside make way for the rest.
    """
    turn = rotation(angle)
    span = (high - low + 0.5) * LSMO_NM  # from plane to plane of the perovskite outside
    steps = np.rint((span - 2 * INTERFACE_NM) / (NIO_NM / 2))
    strain = (span - 2 * INTERFACE_NM) / steps / (NIO_NM / 2) - 1.0
    spacing = NIO_NM / 2 * (1.0 + np.clip(strain, -MOST_STRAIN, MOST_STRAIN))
    middle = (low + high) / 2 * LSMO_NM
    first = middle - steps * spacing / 2
    most = MOST_TWIST_NM / (span.max() / 2)
    twist = rotation(float(np.clip(twist_rad, -most, most)))
    gap = (span - steps * spacing) / 2
    if chamfer.any():
        chamfer = _fitting(chamfer, spacing.mean(), gap.mean())
    return Grain(
        _octagon(low, high, chamfer / LSMO_NM) @ turn + origin,
        ((first - middle) @ twist + middle) @ turn + origin,
        spacing[:, None] * twist @ turn,
        np.maximum(0.0, CLOSEST_NM - gap),
    )


def _fitting(chamfer: Floats, spacing_nm: float, apart_nm: float) -> Floats:
    """The chamfers (4,) next to those wished at which a {110} facet leaves no seam.

    A chamfer passes midway between two {110} planes of O of the perovskite, half a cell
    apart along an axis.  The first whole plane of the rock salt is farther from the outer
    of them than planes are from each other, by ``ahead`` spacings: 0.15 to 0.21 nm where
    that is 0.05 to 0.4.  Elsewhere one that is too near is missing, a dark seam.
    """
    cells = 0.25 + np.arange(int(chamfer.max() / LSMO_NM) + 2)
    step = spacing_nm / LSMO_NM
    ahead = (2 * apart_nm / LSMO_NM - 0.5 - (cells - 0.25)) % step / step
    fits = cells[(ahead > 0.05) & (ahead < 0.4)]
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
    near = np.exp(-np.maximum(0.0, distance - AT_BORDER_NM) / DECAY_NM)
    stretch = 1.0 + (SHARED_NM / period - 1.0) * near
    # In half cells of the perovskite from one of its La: where their sum is even there is
    # oxygen (or La) at height 0, where it is odd half a period above.
    sites = ((yx[of_nio] - origin) @ rotation(angle).T / (LSMO_NM / 2)).sum(axis=1)
    base = REPEATS / 2 * (SHARED_NM - period * stretch)  # the middles are at one height
    base[of_nio] += (sites + 1.0) % 2.0 * stretch[of_nio] * NIO_NM / 2
    return stretch, base


def making_way(yx: Floats, grains: list[Grain], angle: float) -> Floats:
    """Columns of the perovskite (n, 2) where the grains have pushed them.

    Those before a facet move by all of the grain's push, those beside it in proportion, as
    the grain is strained, and those ``WAY_NM`` from its border stay.
    """
    turn = rotation(angle)
    moved = yx.copy()
    for grain in grains:
        if not grain.push_nm.any():
            continue
        outline = grain.outline_yx_nm
        middle = outline.mean(axis=0)
        half = np.abs((outline - middle) @ turn.T).max(axis=0)
        away = from_borders(yx, [outline], WAY_NM)
        near = np.flatnonzero(away < WAY_NM)
        left = np.minimum(1.0, (WAY_NM - away[near]) / (WAY_NM - AT_BORDER_NM))
        side = np.clip((yx[near] - middle) @ turn.T / half, -1.0, 1.0)
        moved[near] += (left[:, None] * side * grain.push_nm) @ turn
    return moved


def apart(nio: Floats, angle: float, origin: Floats, grains: list[Grain]) -> NDArray[np.bool_]:
    """Which columns of NiO (n,) are far enough from those of the perovskite.

    These stand on a square lattice of half a cell: four of them are around a point.
    """
    outlines = [g.outline_yx_nm for g in grains]
    turn = rotation(angle)
    cell = np.floor((nio - origin) @ turn.T / (LSMO_NM / 2))
    clear = np.ones(len(nio), dtype=bool)
    for corner in ((0, 0), (0, 1), (1, 0), (1, 1)):
        site = (cell + corner) * (LSMO_NM / 2) @ turn + origin
        close = np.flatnonzero(((site - nio) ** 2).sum(axis=1) < CLOSEST_NM**2)
        close = close[which(site[close], outlines) < 0]
        away = making_way(site[close], grains, angle) - nio[close]
        clear[close] &= (away**2).sum(axis=1) >= CLOSEST_NM**2 * (1.0 - 1e-9)
    return clear
