"""Two-dimensional crystals with pasted defects: what graphene and the chalcogenides share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import amorphous
from .lattice import lattice, rotation
from .motifs import Motif
from .outlines import cut_path, distance_to_path
from .specimen import Columns, Floats, Ints

GAP_NM = 0.05  # between what two motifs replace
NEAR = (0.4, 0.3, 0.2)  # shares near a boundary, at a patch's edge, in groups
HALO_NM = 1.2  # of lattice beyond what is asked for, so that motifs at the border are whole


@dataclass(frozen=True, eq=False)
class Sheet:
    """An ideal crystal and the motifs that fit into it.

    Attributes:
        vectors_yx_nm: (2, 2) rows are the lattice vectors.
        basis_yxz_nm: (b, 3) atoms about a lattice point.
        basis_kind: (b,) their kinds.
        symbols: of the kinds, in order.
        motifs: by name.
        turns: how often the lattice point's surroundings repeat in a full turn.
        carbon_height_nm: where contamination begins.
    """

    vectors_yx_nm: Floats
    basis_yxz_nm: Floats
    basis_kind: Ints
    symbols: tuple[str, ...]
    motifs: Mapping[str, Motif]
    turns: int
    carbon_height_nm: float


@dataclass(frozen=True)
class Grain:
    """Where a sheet lies: by how much it is turned, and the place of a lattice point."""

    angle_rad: float
    origin_yx_nm: Floats


@dataclass(frozen=True)
class Wish:
    """A defect to be placed: its class, its motif, and its context radius."""

    feature_class: int
    motif: str
    context_nm: float


@dataclass(frozen=True)
class Placed:
    """A motif at a lattice point of a grain, turned by ``turn`` of the sheet's turns.

    ``yx_nm`` is its middle, about which it takes up its radius; its feature may lie elsewhere.
    """

    wish: Wish
    grain: int
    cell: tuple[int, int]
    turn: int
    yx_nm: tuple[float, float]
    feature_yx_nm: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Barrier:
    """A boundary that motifs keep clear of: its path, and half its width."""

    path_yx_nm: Floats
    closed: bool
    half_width_nm: float


def wanted(counts: tuple[int, ...], share: float, least: int = 8) -> list[int]:
    """Classes of the points in a field that has a share of the default one's area."""
    total = max(least, round(sum(counts) * share))
    order = np.concatenate([(np.arange(n) + 0.5) / n for n in counts])
    classes = np.repeat(np.arange(len(counts)), counts)[np.argsort(order, kind="stable")]
    return [int(classes[k % len(classes)]) for k in range(total)]


def place(
    sheet: Sheet,
    wishes: list[Wish],
    grains: tuple[Grain, ...],
    grain_at: Callable[[Floats], Ints],
    barriers: tuple[Barrier, ...],
    patches: tuple[amorphous.Patch, ...],
    field_nm: float,
    rng: np.random.Generator,
) -> tuple[Placed, ...]:
    """Motifs in the field, clear of each other, of boundaries and of contamination.

    Args:
        sheet: the crystal.
        wishes: what is to be placed.
        grains: where the crystal lies.
        grain_at: which grain points (n, 2) belong to; -1 where no defect may be.
        barriers: the boundaries.
        patches: the contamination.
        field_nm: side of the field.
        rng: where chance comes from.

    Raises:
        ValueError: they do not fit.
    """
    found: list[Placed] = []
    taken, radii = np.empty((len(wishes), 2)), np.empty(len(wishes))
    open_wishes = list(wishes)
    outlines = [patch.outline_yx_nm() for patch in patches]
    for _ in range(80):
        if not open_wishes:
            return tuple(found)
        points = _wished(8 * len(open_wishes), barriers, patches, field_nm, rng)
        turns = rng.integers(sheet.turns, size=len(points))
        grain = grain_at(points)
        clear = _clearance(points, barriers, patches)
        edge = field_nm / 2 - np.abs(points).max(axis=1)
        waiting: list[Wish] = []
        tries = iter(range(len(points)))
        for wish in open_wishes:
            radius = sheet.motifs[wish.motif].radius_nm
            for k in tries:
                if grain[k] < 0 or clear[k] < radius + 0.15 or edge[k] < wish.context_nm + 0.15:
                    continue
                placed = _snapped(sheet, wish, points[k], grains, int(grain[k]), int(turns[k]))
                # A site of the lattice may lie nearer to something than the point did, and the
                # nearest of a lobed patch is not always in the direction of its middle.
                at = np.array([placed.yx_nm])
                if (
                    field_nm / 2 - np.abs(placed.feature_yx_nm).max() < wish.context_nm
                    or _clearance(at, barriers, patches)[0] < radius
                    or any(distance_to_path(at, line, True)[0] < radius for line in outlines)
                ):
                    continue
                n = len(found)
                gap = np.hypot(*(taken[:n] - placed.yx_nm).T) - radii[:n] - radius
                if n == 0 or gap.min() > GAP_NM:
                    taken[n], radii[n] = placed.yx_nm, radius
                    found.append(placed)
                    break
            else:
                waiting.append(wish)
        open_wishes = waiting
    if open_wishes:
        raise ValueError(f"{len(wishes)} defects do not fit into a field of {field_nm} nm")
    return tuple(found)


def _clearance(
    points: Floats, barriers: tuple[Barrier, ...], patches: tuple[amorphous.Patch, ...]
) -> Floats:
    """How far points (n, 2) are from the nearest boundary and contamination, in nm."""
    clear = np.full(len(points), np.inf)
    for barrier in barriers:
        distance = distance_to_path(points, barrier.path_yx_nm, barrier.closed)
        np.minimum(clear, distance - barrier.half_width_nm, out=clear)
    for patch in patches:
        y, x = (points - np.asarray(patch.centre_yx_nm)).T
        np.minimum(clear, np.hypot(y, x) - patch.edge_nm(np.arctan2(y, x)), out=clear)
    return clear


def _wished(
    count: int,
    barriers: tuple[Barrier, ...],
    patches: tuple[amorphous.Patch, ...],
    field_nm: float,
    rng: np.random.Generator,
) -> Floats:
    """Where defects would like to be (count, 2)."""
    half = field_nm / 2
    where, spread = rng.random(count), rng.exponential(0.7, count)
    points = rng.uniform(-half, half, (count, 2))
    hubs = rng.uniform(-half, half, (max(2, count // 96), 2))
    grouped = hubs[rng.integers(len(hubs), size=count)] + rng.normal(0, 1.1, (count, 2))
    side, which = rng.choice([-1.0, 1.0], count), rng.random(count)
    angle = rng.uniform(0, 2 * np.pi, count)
    at_barrier, at_patch, in_group = np.cumsum(NEAR)
    if barriers:
        chosen = where < at_barrier
        barrier = barriers[0]
        middles, along = cut_path(barrier.path_yx_nm, 0.5, barrier.closed)
        inner = (np.abs(middles) < half).all(axis=1)
        if inner.any():
            middles, along = middles[inner], along[inner]
            k = (which * len(middles)).astype(int)[chosen]
            normal = np.column_stack([np.cos(along[k]), -np.sin(along[k])])
            away = side[chosen] * (barrier.half_width_nm + 0.7 + spread[chosen])
            points[chosen] = middles[k] + away[:, None] * normal
    if patches:
        chosen = (where >= at_barrier) & (where < at_patch)
        number = (which * len(patches)).astype(int)
        for k, patch in enumerate(patches):
            own = chosen & (number == k)
            radius = patch.edge_nm(angle[own]) + 0.7 + spread[own]
            ray = np.column_stack([np.sin(angle[own]), np.cos(angle[own])])
            points[own] = np.asarray(patch.centre_yx_nm) + radius[:, None] * ray
    chosen = (where >= at_patch) & (where < in_group)
    points[chosen] = grouped[chosen]
    return points


def _snapped(
    sheet: Sheet, wish: Wish, yx: Floats, grains: tuple[Grain, ...], grain: int, turn: int
) -> Placed:
    """The motif's place nearest to a point, at one of its orientations."""
    own = grains[grain]
    vectors, inverse, arm = _frame(sheet, wish.motif, own.angle_rad, turn)
    u = (yx - arm - own.origin_yx_nm) @ inverse
    i, j = round(float(u[0])), round(float(u[1]))
    middle = i * vectors[0] + j * vectors[1] + own.origin_yx_nm + arm
    turned = rotation(own.angle_rad + turn * 2 * np.pi / sheet.turns)
    feature = middle + sheet.motifs[wish.motif].feature_yx_nm @ turned
    at, shown = ((float(p[0]), float(p[1])) for p in (middle, feature))
    return Placed(wish, grain, (i, j), turn, at, shown)


def _frame(sheet: Sheet, motif: str, angle_rad: float, turn: int) -> tuple[Floats, Floats, Floats]:
    vectors = sheet.vectors_yx_nm @ rotation(angle_rad)
    arm = sheet.motifs[motif].origin_yx_nm @ rotation(angle_rad + turn * 2 * np.pi / sheet.turns)
    (a, b), (c, d) = vectors
    inverse = np.array([[d, -b], [-c, a]]) / (a * d - b * c)
    return vectors, inverse, arm


@cache
def _pasted(sheet: Sheet, motif: str, turn: int) -> tuple[Ints, Floats, Floats, Ints]:
    """A turned motif about its lattice point: sites (i, j, basis), atoms (y, x), heights, kinds."""
    own = sheet.motifs[motif]
    turned = rotation(turn * 2 * np.pi / sheet.turns)
    sites = own.sites_yxz_nm.copy()
    sites[:, :2] = (sites[:, :2] + own.origin_yx_nm) @ turned
    index = np.full((len(sites), 3), -1, dtype=np.int64)
    for k, basis in enumerate(sheet.basis_yxz_nm):
        cells = (sites[:, :2] - basis[:2]) @ np.linalg.inv(sheet.vectors_yx_nm)
        whole = np.rint(cells)
        same = (np.abs(cells - whole).max(axis=1) < 0.05) & (np.abs(sites[:, 2] - basis[2]) < 0.02)
        index[same, :2], index[same, 2] = whole[same], k
    if (index[:, 2] < 0).any():
        raise ValueError(f"the motif {motif!r} does not fit its lattice")
    atoms = (own.atoms_yxz_nm[:, :2] + own.origin_yx_nm) @ turned
    kinds = np.array([sheet.symbols.index(s) for s in own.symbols], dtype=np.int64)
    return index, atoms, own.atoms_yxz_nm[:, 2], kinds


def atoms(
    sheet: Sheet,
    placed: tuple[Placed, ...],
    grains: tuple[Grain, ...],
    kept: Callable[[int, int, Floats], np.ndarray],
    patches: tuple[amorphous.Patch, ...],
    half_nm: float,
    extra: tuple[Floats, Floats, Ints] | None = None,
) -> Columns:
    """Positions, heights and kinds of all atoms within ±``half_nm``.

    Args:
        sheet: the crystal.
        placed: the motifs in it.
        grains: where it lies.
        kept: which sites (n,) of a grain and basis exist, by their positions.
        patches: the contamination on it.
        half_nm: half the side of the square.
        extra: atoms that come besides: positions, heights, kinds.
    """
    parts: list[tuple[Floats, Floats, Ints]] = [] if extra is None else [extra]
    for number, grain in enumerate(grains):
        turn = rotation(grain.angle_rad)
        cells, index = lattice(sheet.vectors_yx_nm @ turn, grain.origin_yx_nm, half_nm + HALO_NM)
        low = index.min(axis=0)
        row = np.full(index.max(axis=0) - low + 1, -1)
        row[index[:, 0] - low[0], index[:, 1] - low[1]] = np.arange(len(cells))
        there = np.ones((len(sheet.basis_kind), len(cells)), dtype=bool)
        for defect in placed:
            if defect.grain != number:
                continue
            replaced, yx, heights, kinds = _pasted(sheet, defect.wish.motif, defect.turn)
            i, j = (replaced[:, k] + defect.cell[k] - low[k] for k in range(2))
            known = (i >= 0) & (j >= 0) & (i < row.shape[0]) & (j < row.shape[1])
            gone = row[i[known], j[known]]
            there[replaced[known, 2][gone >= 0], gone[gone >= 0]] = False
            point = np.array(defect.cell) @ sheet.vectors_yx_nm @ turn + grain.origin_yx_nm
            parts.append((yx @ turn + point, heights, kinds))
        for k, (basis, kind) in enumerate(zip(sheet.basis_yxz_nm, sheet.basis_kind, strict=True)):
            sites = cells + basis[:2] @ turn
            own = sites[there[k] & kept(number, k, sites)]
            parts.append((own, np.full(len(own), basis[2]), np.full(len(own), kind)))
    carbon = amorphous.contamination(patches, half_nm, sheet.carbon_height_nm)
    if len(carbon):
        kind = np.full(len(carbon), sheet.symbols.index("C"))
        parts.append((carbon[:, :2], carbon[:, 2], kind))
    positions = np.vstack([p for p, _, _ in parts])
    inside = (np.abs(positions) <= half_nm).all(axis=1)
    return {
        "positions_yx_nm": positions[inside],
        "height_nm": np.concatenate([h for _, h, _ in parts])[inside],
        "kind": np.concatenate([k for _, _, k in parts]).astype(np.int64)[inside],
    }
