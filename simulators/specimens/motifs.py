"""Relaxed motifs, and how they are pasted into a lattice.

A motif is a small piece of relaxed structure about a point, together with the
sites of the ideal lattice that it replaces.  What surrounded it when it was
relaxed was rigid and ideal, so it fits without a seam wherever the lattice is
whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from .specimen import Floats

FOLDER = Path(__file__).parent / "motifs"


@dataclass(frozen=True, eq=False)
class Motif:
    """A relaxed defect.

    Attributes:
        origin_yx_nm: its middle, about the lattice's own origin.
        radius_nm: beyond it everything is ideal.
        sites_yxz_nm: (k, 3) about the middle: the ideal sites that it replaces.
        atoms_yxz_nm: (n, 3) about the middle.
        symbols: (n,) their elements.
        feature_yx_nm: where a person would point to, about the middle.
    """

    origin_yx_nm: Floats
    radius_nm: float
    sites_yxz_nm: Floats
    atoms_yxz_nm: Floats
    symbols: tuple[str, ...]
    feature_yx_nm: Floats


@dataclass(frozen=True, eq=False)
class Boundary:
    """A relaxed tilt boundary along x, one period of it.

    Attributes:
        name: of the coincidence lattice.
        period_nm: along x.
        half_width_nm: beyond it both sides are ideal.
        atoms_yx_nm: (n, 2) of one period, between ± the half-width.
        angles_rad: by how much the lattice is turned below (y < 0) and above.
        origins_yx_nm: where its origin is, on either side.
    """

    name: str
    period_nm: float
    half_width_nm: float
    atoms_yx_nm: Floats
    angles_rad: tuple[float, float]
    origins_yx_nm: tuple[Floats, Floats]


@dataclass(frozen=True, eq=False)
class Edge:
    """A relaxed coherent boundary of two phases, one period of it: by how much atoms move.

    Attributes:
        period_nm: along the boundary.
        reach_nm: beyond it on either side of the boundary's middle nothing moves.
        symbols: (n,) of the atoms of one period.
        sites_nm: (n, 3) where the crystals have them: across, along, height.
        moved_nm: (n, 3) by how much they move, likewise.
    """

    period_nm: float
    reach_nm: float
    symbols: tuple[str, ...]
    sites_nm: Floats
    moved_nm: Floats


@cache
def motifs(material: str) -> dict[str, Motif]:
    """The relaxed motifs of a material, by name."""
    return {
        name: Motif(
            origin_yx_nm=np.array(m["origin_yx_nm"]),
            radius_nm=m["radius_nm"],
            sites_yxz_nm=np.array(m["sites_yxz_nm"]).reshape(-1, 3),
            atoms_yxz_nm=np.array(m["atoms_yxz_nm"]).reshape(-1, 3),
            symbols=tuple(m["symbols"]),
            feature_yx_nm=np.array(m.get("feature_yx_nm", (0.0, 0.0))),
        )
        for name, m in _read(material)["motifs"].items()
    }


@cache
def boundaries(material: str) -> dict[str, Boundary]:
    """The relaxed boundaries of a material, by name."""
    return {
        name: Boundary(
            name=name,
            period_nm=b["period_nm"],
            half_width_nm=b["half_width_nm"],
            atoms_yx_nm=np.array(b["atoms_yx_nm"]),
            angles_rad=(b["angles_rad"][0], b["angles_rad"][1]),
            origins_yx_nm=(np.array(b["origins_yx_nm"][0]), np.array(b["origins_yx_nm"][1])),
        )
        for name, b in _read(material)["boundaries"].items()
    }


@cache
def edges(material: str) -> dict[str, Edge]:
    """The relaxed boundaries of two phases of a material, by name."""
    return {
        name: Edge(
            period_nm=b["period_nm"],
            reach_nm=b["reach_nm"],
            symbols=tuple(b["symbols"]),
            sites_nm=np.array(b["sites_nm"]),
            moved_nm=np.array(b["moved_nm"]),
        )
        for name, b in _read(material)["boundaries"].items()
    }


@cache
def _read(material: str) -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    found: dict[str, dict[str, dict]] = json.loads((FOLDER / f"{material}.json").read_text())  # type: ignore[type-arg]
    return found
