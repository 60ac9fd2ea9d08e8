"""Where on the specimen how many electrons went, as far as the instrument reports it."""

from __future__ import annotations

from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from .coordinates import corners, rotation, specimen_from_scan
from .costs import ELECTRONS_PER_PA_US
from .microscope import Limits, ScanRegion, ScanRequest, State

SIDE = 64  # points to a side of a tile
FINEST = 2048  # points to a side of the widest frame at most
ROUNDING = 1e-9  # in nm
FINER = 4  # points to a side of the narrowest frame, where that allows it


Tile = tuple[int, int]
Points = NDArray[np.bool_] | tuple[slice, slice]  # within a tile


class DoseMap:
    """The dose, in e/Å², at points of a square lattice over the specimen.

    It is kept at points rather than in cells, so that frames that touch are not held to overlap;
    an overlap narrower than the pitch may be missed.

    Args:
        pitch_nm: of the lattice.
    """

    def __init__(self, pitch_nm: float) -> None:
        self.pitch_nm = pitch_nm
        self._tiles: dict[tuple[int, int], NDArray[np.float32]] = {}

    @classmethod
    def over(cls, limits: Limits) -> DoseMap:
        """As fine as the frames of an instrument need, and as coarse as its widest allows."""
        narrowest, widest = limits.fov_nm
        return cls(max(narrowest / FINER, min(widest, max(limits.field_yx_nm)) / FINEST))

    def add(self, region: ScanRegion, state: State, dose_e_per_a2: float) -> None:
        """A region, seen from a state, has received a dose."""
        for tile, inside in self._reached(region, state):
            self._tiles.setdefault(tile, np.zeros((SIDE, SIDE), np.float32))[inside] += (
                dose_e_per_a2
            )

    def most(self, region: ScanRegion, state: State) -> float:
        """The greatest dose so far at any point of a region."""
        most = 0.0
        for tile, inside in self._reached(region, state):
            if tile in self._tiles:
                most = max(most, float(self._tiles[tile][inside].max(initial=0.0)))
        return most

    def _reached(self, region: ScanRegion, state: State) -> list[tuple[Tile, Points]]:
        """The points of a region, by tiles; that nearest its middle where it holds none."""
        if region.rotation_rad == 0.0:  # the common case, and the fast one
            return self._upright(region, state)
        pitch, angle = self.pitch_nm, region.rotation_rad
        middle = specimen_from_scan(region.centre_yx_nm, state, angle)
        edges = specimen_from_scan((0.0, 0.0), state) + corners(region)
        low = [floor(v / pitch) for v in edges.min(axis=0)]
        high = [ceil(v / pitch) for v in edges.max(axis=0)]
        half = np.asarray(region.fov_yx_nm) / 2
        found: list[tuple[Tile, Points]] = []
        for ty in range(low[0] // SIDE, high[0] // SIDE + 1):
            for tx in range(low[1] // SIDE, high[1] // SIDE + 1):
                steps = np.arange(SIDE)
                y, x = (ty * SIDE + steps) * pitch, (tx * SIDE + steps) * pitch
                grid = np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)
                off = (grid - middle) @ rotation(angle)
                # Points on a border belong to one of two frames that touch there.
                here = (off >= -half - ROUNDING) & (off < half - ROUNDING)
                inside = np.asarray(here.all(axis=-1))
                if inside.any():
                    found.append(((ty, tx), inside))
        return found or [self._nearest(middle)]

    def _upright(self, region: ScanRegion, state: State) -> list[tuple[Tile, Points]]:
        middle = specimen_from_scan(region.centre_yx_nm, state)
        half = np.asarray(region.fov_yx_nm) / 2
        first, last = (
            np.ceil((middle + sign * half - ROUNDING) / self.pitch_nm).astype(int).tolist()
            for sign in (-1, 1)
        )
        spans = [_tiles(a, b) for a, b in zip(first, last, strict=True)]
        found: list[tuple[Tile, Points]] = [
            ((ty, tx), (rows, columns)) for ty, rows in spans[0] for tx, columns in spans[1]
        ]
        return found or [self._nearest(middle)]

    def _nearest(self, yx_nm: NDArray[np.float64]) -> tuple[Tile, Points]:
        y, x = np.rint(yx_nm / self.pitch_nm).astype(int).tolist()
        rows, columns = (slice(k % SIDE, k % SIDE + 1) for k in (y, x))
        return (y // SIDE, x // SIDE), (rows, columns)


def _tiles(first: int, last: int) -> list[tuple[int, slice]]:
    """Points from the first up to the last, by tiles."""
    if last <= first:
        return []
    return [
        (t, slice(max(first - t * SIDE, 0), min(last - t * SIDE, SIDE)))
        for t in range(first // SIDE, (last - 1) // SIDE + 1)
    ]


def dose_of(request: ScanRequest, beam_current_pa: float) -> float:
    """The dose of a frame, in e/Å², at any of its pixels."""
    pixel_a2 = request.pixel_yx_nm[0] * request.pixel_yx_nm[1] * 100.0
    return beam_current_pa * ELECTRONS_PER_PA_US * request.dwell_us / pixel_a2
