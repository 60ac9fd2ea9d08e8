"""Amorphous carbon: supporting films and contamination.

One periodic block of carbon atoms is made once in a process, always the same:
random positions at the density of evaporated films, none closer than a carbon
bond.  A film is the block repeated sideways, beginning elsewhere in every
specimen; contamination is what of a film lies below a surface of varying height.
Hydrogen is left out: it scatters almost nothing to the dark field.

Density: 2.0 g/cm³ (evaporated films: 1.8 to 2.1; Robertson, Mater. Sci. Eng. R
37 (2002) 129), that is 100 atoms/nm³.  Least distance: 0.13 nm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

from .specimen import Floats, Ints, Map

BLOCK_NM = (12.0, 12.0, 12.0)  # (y, x, z); as high as the thickest carbon there is
SLABS = 3  # of the block, so that thin carbon need not look at the rest
SHIFT_NM = 0.08  # the steps in which a specimen's block is moved
DENSITY_PER_NM3 = 100.0
CLOSEST_NM = 0.13
WAVES = 9  # of a patch's edge
SURFACE_PITCH_NM = 0.2  # of the nodes that a patch's surface is given at


@cache
def block() -> Floats:
    """The periodic block: (n, 3) positions (y, x, z) in nm, within ``BLOCK_NM``.

    Slab after slab, each with y ascending, so that a strip of it is a slice.
    """
    size = np.asarray(BLOCK_NM)
    count = round(float(size.prod()) * DENSITY_PER_NM3)
    rng = np.random.default_rng(20220131)
    atoms = np.asarray(_pack(rng.random((6 * count, 3)) * size, size, count, CLOSEST_NM))
    if len(atoms) < count:
        raise RuntimeError(f"only {len(atoms)} of {count} atoms fit the block")
    atoms = atoms[np.lexsort((atoms[:, 0], _slab(atoms[:, 2])))]
    atoms.setflags(write=False)
    return atoms


def _slab(height_nm: Floats) -> Ints:
    return np.asarray(height_nm * (SLABS / BLOCK_NM[2])).astype(np.int64)


@cache
def _slabs() -> Ints:
    """Where each slab of the block begins, and the last one ends."""
    return np.searchsorted(_slab(block()[:, 2]), np.arange(SLABS + 1))


def shift_yx_nm(words: Sequence[int]) -> Floats:
    """Where a block begins (2,), drawn from a specimen's seed or the like."""
    steps = np.rint(np.asarray(BLOCK_NM[:2]) / SHIFT_NM).astype(int)
    return np.asarray(np.random.default_rng(words).integers(0, steps) * SHIFT_NM)


def film(
    field_yx_nm: tuple[float, float],
    thickness_nm: float,
    shift_yx_nm: Floats,
    margin_nm: float = 1.0,
) -> Floats:
    """Atoms (n, 3) of a film that the beam enters at height 0, over a field and its margin."""
    low = -np.asarray(field_yx_nm) / 2 - margin_nm
    heights = np.full((2, 2), thickness_nm)
    span = float((-2 * low).max())
    atoms = deposit(low, heights, span, shift_yx_nm)
    return np.asarray(atoms[(np.abs(atoms[:, :2]) <= -low).all(axis=1)])


def deposit(
    corner_yx_nm: Floats,
    height_nm: Floats,
    pitch_nm: float,
    shift_yx_nm: Floats,
    floor_nm: Floats | None = None,
) -> Floats:
    """Atoms (n, 3) below a surface given on a grid; the nearest node decides.

    Args:
        corner_yx_nm: (2,) position of ``height_nm[0, 0]``.
        height_nm: (rows, columns) height of the surface at the nodes.
        pitch_nm: distance of the nodes.
        shift_yx_nm: (2,) where the block begins.
        floor_nm: (rows, columns) height above which there are atoms; 0 by default.
    """
    if height_nm.max() > BLOCK_NM[2]:
        raise ValueError(
            f"{height_nm.max()} nm of amorphous carbon; at most {BLOCK_NM[2]:g} nm are made"
        )
    return np.asarray(
        _deposit(
            block(),
            _slabs(),
            np.asarray(BLOCK_NM),
            np.asarray(shift_yx_nm, dtype=np.float64),
            np.asarray(corner_yx_nm, dtype=np.float64),
            np.ascontiguousarray(height_nm, dtype=np.float64),
            np.zeros_like(height_nm) if floor_nm is None else floor_nm,
            pitch_nm,
        )
    )


@dataclass(frozen=True)
class Patch:
    """A patch of contamination: a disc with a lobed edge that thins out outwards.

    Attributes:
        centre_yx_nm: its middle.
        radius_nm: on average.
        thickness_nm: in the middle.
        lobes: amplitude (of the radius) and phase of each wave of the edge.
    """

    centre_yx_nm: tuple[float, float]
    radius_nm: float
    thickness_nm: float
    lobes: tuple[tuple[float, float], ...]

    def edge_nm(self, angle_rad: Floats) -> Floats:
        """Distance (n,) of the edge from the middle, in directions from +x towards +y."""
        return self._edge_nm(np.exp(1j * np.asarray(angle_rad)))

    def outline_yx_nm(self, count: int = 96) -> Floats:
        """The edge as a closed polygon of ``count`` points (count, 2)."""
        angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
        ray = self.edge_nm(angle)[:, None] * np.column_stack([np.sin(angle), np.cos(angle)])
        return np.asarray(np.asarray(self.centre_yx_nm) + ray)

    def _edge_nm(self, direction: NDArray[np.complex128]) -> Floats:
        """The same for directions as x + iy of length 1: waves are powers of them."""
        waves = np.zeros_like(direction)
        for amplitude, phase in reversed(self.lobes):
            waves = (waves + amplitude * np.exp(1j * phase)) * direction
        return np.asarray(self.radius_nm * (1.0 + (waves * direction).real))

    def height_nm(self, points_yx_nm: Floats) -> Floats:
        """Thickness (n,) at points (n, 2): it rises smoothly over the outer half."""
        y, x = (points_yx_nm - np.asarray(self.centre_yx_nm)).T
        distance = np.hypot(y, x)
        out = np.zeros(len(distance))
        near = np.flatnonzero(distance < self.reach_nm)
        r = np.maximum(distance[near], 1e-12)
        inwards = 1.0 - r / self._edge_nm((x[near] + 1j * y[near]) / r)
        t = np.clip(2.0 * inwards, 0.0, 1.0)
        out[near] = self.thickness_nm * t * t * (3.0 - 2.0 * t)
        return out

    @property
    def reach_nm(self) -> float:
        """Beyond it there is nothing."""
        return (1.0 + sum(a for a, _ in self.lobes)) * self.radius_nm


def scatter_patches(
    rng: np.random.Generator,
    count: int,
    half_nm: float,
    radius_nm: tuple[float, float],
    thickness_nm: tuple[float, float],
) -> tuple[Patch, ...]:
    """Patches with their middles anywhere within ±``half_nm``."""
    patches = []
    for _ in range(count):
        y, x = rng.uniform(-half_nm, half_nm, 2)
        size, thickness = rng.uniform(*radius_nm), rng.uniform(*thickness_nm)
        # Broad lobes are large and fine ones small, as of a coast.
        amplitude = rng.uniform(0.3, 1.0, WAVES) * 0.16 / np.sqrt(np.arange(1, WAVES + 1))
        lobes = zip(amplitude, rng.uniform(0, 2 * np.pi, WAVES), strict=True)
        patches.append(Patch((y, x), size, thickness, tuple((a, p) for a, p in lobes)))
    return tuple(patches)


def thickness_map(patches: Sequence[Patch], side_nm: float, pitch_nm: float) -> Map:
    """How thick the contamination is over a field."""
    count = max(1, round(side_nm / pitch_nm))
    axis = (np.arange(count) - (count - 1) / 2) * pitch_nm
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    return Map(covered(patches, points).reshape(count, count), pitch_nm, "nm")


def covered(patches: Sequence[Patch], points_yx_nm: Floats) -> Floats:
    """Thickness (n,) of the thickest patch at points (n, 2)."""
    total = np.zeros(len(points_yx_nm))
    for patch in patches:
        np.maximum(total, patch.height_nm(points_yx_nm), out=total)
    return total


def contamination(patches: Sequence[Patch], half_nm: float, base_nm: float) -> Floats:
    """The atoms (n, 3) of patches that lie on ``base_nm``, within ±``half_nm``.

    Where patches overlap, the later one only adds what rises above the earlier.
    The nodes of all surfaces belong to one lattice through the middle of the
    field, so that no atom is counted twice and none depends on ``half_nm``.
    """
    if not patches:
        return np.empty((0, 3))
    # Wherever the first patch lies in this specimen decides where the block begins.
    shift = shift_yx_nm(np.asarray(patches[0].centre_yx_nm).view(np.uint32).tolist())
    parts = []
    for k, patch in enumerate(patches):
        middle, reach = np.asarray(patch.centre_yx_nm), patch.reach_nm
        if (np.abs(middle) > half_nm + reach).any():
            continue
        first = np.floor(np.maximum(middle - reach, -half_nm) / SURFACE_PITCH_NM).astype(int)
        last = np.ceil(np.minimum(middle + reach, half_nm) / SURFACE_PITCH_NM).astype(int)
        y, x = (np.arange(a, b + 1) * SURFACE_PITCH_NM for a, b in zip(first, last, strict=True))
        points = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1).reshape(-1, 2)
        below, above = (
            h.reshape(len(y), len(x))
            for h in (covered(patches[:k], points), patch.height_nm(points))
        )
        corner = np.array([y[0], x[0]])
        parts.append(deposit(corner, above, SURFACE_PITCH_NM, shift, below))
    atoms = np.vstack([*parts, np.empty((0, 3))])
    y, x = np.abs(atoms[:, 0]), np.abs(atoms[:, 1])  # by columns: rows would take much longer
    atoms = atoms.take(np.flatnonzero((y <= half_nm) & (x <= half_nm)), axis=0)
    atoms[:, 2] += base_nm
    return np.asarray(atoms)


@numba.njit(cache=True, fastmath=False)
def _deposit(atoms, slabs, size, shift, low, heights, floor, pitch):
    """Atoms of the repeated block that lie between floor and surface."""
    rows, columns = heights.shape
    high = low + np.array([rows - 1, columns - 1]) * pitch
    first = np.floor((low - shift) / size[:2]).astype(np.int64)
    last = np.floor((high - shift) / size[:2]).astype(np.int64)
    deep = size[2] / (len(slabs) - 1)
    out = np.empty((1024, 3))
    n = 0
    for s in range(min(len(slabs) - 1, int(np.ceil(heights.max() / deep)))):
        own = atoms[slabs[s] : slabs[s + 1]]
        # Where the surface rises into the slab: of every row from the first node to the last,
        # and a node more on either side, which rounding cannot bridge.
        left, right = np.full(rows, np.inf), np.full(rows, -np.inf)
        top, bottom = rows, -1
        for i in range(rows):
            for j in range(columns):
                if heights[i, j] > max(s * deep, floor[i, j]) and floor[i, j] < (s + 1) * deep:
                    left[i] = min(left[i], max(low[1], low[1] + (j - 1) * pitch))
                    right[i] = min(high[1], low[1] + (j + 1) * pitch)
                    top, bottom = min(top, i), i
        if bottom < 0:
            continue
        above = max(low[0], low[0] + (top - 1) * pitch)
        below = min(high[0], low[0] + (bottom + 1) * pitch)
        leftmost, rightmost = left.min(), right.max()
        for ty in range(first[0], last[0] + 1):
            y0 = ty * size[0] + shift[0]
            begin = np.searchsorted(own[:, 0], above - y0)
            end = np.searchsorted(own[:, 0], below - y0, side="right")
            for tx in range(first[1], last[1] + 1):
                x0 = tx * size[1] + shift[1]
                if x0 > rightmost or x0 + size[1] < leftmost:
                    continue
                if n + end - begin > out.shape[0]:
                    larger = np.empty((2 * (n + end - begin), 3))
                    larger[:n] = out[:n]
                    out = larger
                for k in range(begin, end):
                    y, x, z = own[k, 0] + y0, own[k, 1] + x0, own[k, 2]
                    if y < low[0] or y > high[0]:
                        continue
                    i = int((y - low[0]) / pitch + 0.5)
                    if x < left[i] or x > right[i]:
                        continue
                    j = int((x - low[1]) / pitch + 0.5)
                    # Written in any case, and kept by counting it: what lies under a surface
                    # is more than a processor can guess.
                    out[n, 0], out[n, 1], out[n, 2] = y, x, z
                    n += int(floor[i, j] <= z) & int(z < heights[i, j])
    return out[:n].copy()


@numba.njit(cache=True, fastmath=False)
def _pack(candidates, size, count, closest):
    """Keep candidates, in order, that are nowhere closer than ``closest`` (periodic)."""
    cells = np.empty(3, np.int64)
    for k in range(3):
        cells[k] = int(size[k] / closest)
    # A cell is at least ``closest`` wide; several atoms may share it.
    room = 4
    held = np.zeros((cells[0], cells[1], cells[2]), np.int64)
    member = np.zeros((cells[0], cells[1], cells[2], room), np.int64)
    kept = np.empty((count, 3))
    n = 0
    home = np.empty(3, np.int64)
    for c in range(candidates.shape[0]):
        if n == count:
            break
        p = candidates[c]
        for k in range(3):
            home[k] = min(int(p[k] / size[k] * cells[k]), cells[k] - 1)
        if held[home[0], home[1], home[2]] == room:
            continue
        clear = True
        for a in range(-1, 2):
            for b in range(-1, 2):
                for d in range(-1, 2):
                    i = (home[0] + a) % cells[0]
                    j = (home[1] + b) % cells[1]
                    l = (home[2] + d) % cells[2]  # noqa: E741
                    for m in range(held[i, j, l]):
                        r2 = 0.0
                        for k in range(3):
                            t = abs(p[k] - kept[member[i, j, l, m], k])
                            t = min(t, size[k] - t)
                            r2 += t * t
                        if r2 < closest * closest:
                            clear = False
        if clear:
            kept[n] = p
            member[home[0], home[1], home[2], held[home[0], home[1], home[2]]] = n
            held[home[0], home[1], home[2]] += 1
            n += 1
    return kept[:n]
