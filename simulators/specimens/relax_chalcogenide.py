"""Relax the defects of the chalcogenides, once and offline.

    python -m stemscout.simulators.specimens.relax_chalcogenide

writes ``motifs/mos2.json`` and ``motifs/wse2.json``.  A foreign atom changes
the length of its bonds; the surroundings, out to 0.75 nm, follow by Keating's
valence force field (Phys. Rev. 145 (1966) 637) with β = 0.3 α, all farther
atoms held.  In such a field the neighbours of a vacancy stay where they are;
density-functional theory moves them by about 0.01 nm (Komsa et al., Phys. Rev.
Lett. 109 (2012) 035503), less than the image shows, and that is left out.

Bond lengths, in nm: Mo-S 0.2417, W-Se 0.2526, Mo-Se 0.2527, W-S 0.2405 (Schutte
et al., J. Solid State Chem. 70 (1987) 207, and Bronsema et al., Z. Anorg. Allg.
Chem. 540 (1986) 15); V-S 0.236 and V-Se 0.250, as in their 1T crystals; a metal
on a chalcogen's place is 0.2725 (Mo) or 0.2741 (W) from its neighbours, as in
the bulk metals; two chalcogens on a metal's place are a single bond, 0.205 (S)
or 0.234 (Se), from three others each.
"""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from .chalcogenide import LOWER_1T, Material
from .mos2 import MATERIAL as MOS2
from .specimen import Floats, Ints
from .wse2 import MATERIAL as WSE2

FOLDER = Path(__file__).parent / "motifs"
BONDS_NM = {
    ("Mo", "S"): 0.2417, ("W", "Se"): 0.2526, ("Mo", "Se"): 0.2527, ("W", "S"): 0.2405,
    ("V", "S"): 0.236, ("V", "Se"): 0.250, ("Mo", "Mo"): 0.2725, ("W", "W"): 0.2741,
}  # fmt: skip
SINGLE_NM = {"S": 0.205, "Se": 0.234}
FREE_NM, CLUSTER_NM = 0.75, 1.2
BENDING = 0.3  # β over α
CONTEXT_NM = 0.32


def cluster(material: Material, centre: Floats) -> tuple[Floats, list[str]]:
    """Ideal atoms (n, 3) of the 2H phase about a point, and their symbols."""
    cells = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 2), axis=-1).reshape(-1, 2)
    points, symbols = [], []
    for basis in range(LOWER_1T):
        at = material.basis_yxz_nm[basis]
        yxz = np.column_stack([cells @ material.vectors_yx_nm + at[:2], np.full(len(cells), at[2])])
        near = np.hypot(*(yxz[:, :2] - centre).T) < CLUSTER_NM
        points.append(yxz[near])
        symbols += [material.symbols[material.sheet_kind(basis)]] * int(near.sum())
    return np.vstack(points) - [*centre, 0.0], symbols


def relaxed(points: Floats, symbols: list[str], pure: list[str], bond_nm: float) -> Floats:
    """Points (n, 3) after Keating's field has moved those within ``FREE_NM``."""
    reach = 1.15 * bond_nm
    bonds = np.array(
        [
            (i, j)
            for i, j in combinations(range(len(points)), 2)
            if pure[i] != pure[j] and np.linalg.norm(points[i] - points[j]) < reach
        ]
    )
    natural = np.array([_length(symbols[i], symbols[j], bond_nm) for i, j in bonds])
    ends: dict[int, list[tuple[int, float]]] = {}
    for (i, j), length in zip(bonds, natural, strict=True):
        ends.setdefault(int(i), []).append((int(j), length))
        ends.setdefault(int(j), []).append((int(i), length))
    angles, dots = [], []
    for i, around in ends.items():
        for (j, first), (k, second) in combinations(around, 2):
            a, b = points[j] - points[i], points[k] - points[i]
            cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            angles.append((i, j, k))
            dots.append((cosine * first * second, first * second))
    index, (dot, product) = np.array(angles), np.array(dots).T
    free = np.flatnonzero(np.hypot(*points[:, :2].T) < FREE_NM)

    def energy(flat: Floats) -> tuple[float, Floats]:
        moved = points.copy()
        moved[free] = flat.reshape(-1, 3)
        r = moved[bonds[:, 0]] - moved[bonds[:, 1]]
        stretch = ((r**2).sum(axis=1) - natural**2) / natural
        a, b = (moved[index[:, n]] - moved[index[:, 0]] for n in (1, 2))
        bend = ((a * b).sum(axis=1) - dot) / np.sqrt(product)
        slope = np.zeros_like(moved)
        pull = (12 / 16 * stretch / natural)[:, None] * r
        np.add.at(slope, bonds[:, 0], pull)
        np.add.at(slope, bonds[:, 1], -pull)
        turn = (6 / 8 * BENDING * bend / np.sqrt(product))[:, None]
        np.add.at(slope, index[:, 1], turn * b)
        np.add.at(slope, index[:, 2], turn * a)
        np.add.at(slope, index[:, 0], -turn * (a + b))
        value = 3 / 16 * (stretch**2).sum() + 3 / 8 * BENDING * (bend**2).sum()
        return float(value), slope[free].ravel()

    done = minimize(energy, points[free].ravel(), jac=True, method="L-BFGS-B",
                    options={"maxiter": 4000, "ftol": 1e-15, "gtol": 1e-9})  # fmt: skip
    out = points.copy()
    out[free] = done.x.reshape(-1, 3)
    return out


def _length(a: str, b: str, default: float) -> float:
    return BONDS_NM.get((a, b), BONDS_NM.get((b, a), default))


def _motif(
    origin: Floats, sites: Floats, atoms: Floats, symbols: list[str], radius: float
) -> dict[str, Any]:
    return {
        "origin_yx_nm": np.round(origin, 6).tolist(),
        "radius_nm": radius,
        "sites_yxz_nm": np.round(sites, 6).tolist(),
        "symbols": symbols,
        "atoms_yxz_nm": np.round(atoms, 5).reshape(-1, 3).tolist(),
    }


def motifs_of(material: Material) -> dict[str, Any]:
    """Every defect of a material, those of one chalcogen in both layers."""
    names = tuple(material.need_e_per_a2)
    bond = BONDS_NM[(material.metal, material.chalcogen)]
    metal_at, upper_at = material.basis_yxz_nm[0, :2], material.basis_yxz_nm[1, :2]
    h = material.half_thickness_nm
    made: dict[str, Any] = {}
    none = np.empty((0, 3))
    for layer, z in (("upper", h), ("lower", -h)):
        one = np.array([[0.0, 0.0, z]])
        made[f"{names[0]}, {layer}"] = _motif(upper_at, one, none, [], CONTEXT_NM)
    both = np.array([[0.0, 0.0, h], [0.0, 0.0, -h]])
    made[names[1]] = _motif(upper_at, both, none, [], CONTEXT_NM)
    made[names[2]] = _motif(metal_at, np.zeros((1, 3)), none, [], CONTEXT_NM)

    def substituted(origin: Floats, z: float, symbol: str) -> dict[str, Any]:
        points, pure = cluster(material, origin)
        at = int(np.linalg.norm(points - [0.0, 0.0, z], axis=1).argmin())
        symbols = [symbol if k == at else s for k, s in enumerate(pure)]
        moved = relaxed(points, symbols, pure, bond)
        # What moves by less than a picometre stays the lattice's own.
        own: Ints = np.flatnonzero(np.linalg.norm(moved - points, axis=1) > 1e-3)
        own = np.union1d(own, [at])
        return _motif(origin, points[own], moved[own], [symbols[k] for k in own],
                      max(CONTEXT_NM, 0.1 + float(np.hypot(*points[own, :2].T).max())))  # fmt: skip

    for name, symbol in zip(names[3:5], material.others[:2], strict=True):
        made[name] = substituted(metal_at, 0.0, symbol)
    for layer, z in (("upper", h), ("lower", -h)):
        made[f"{names[5]}, {layer}"] = substituted(upper_at, z, material.others[2])
        made[f"{names[6]}, {layer}"] = substituted(upper_at, z, material.metal)
    made[names[7]] = _two_chalcogens(material, metal_at)
    return made


def _two_chalcogens(material: Material, origin: Floats) -> dict[str, Any]:
    """A pair of chalcogens on a metal's place pushes its neighbours outwards."""
    points, pure = cluster(material, origin)
    h, single = material.half_thickness_nm, SINGLE_NM[material.chalcogen]
    around = np.array(
        [k for k, s in enumerate(pure)
         if s == material.chalcogen and np.hypot(*points[k, :2]) < 0.7 * material.lattice_nm]
    )  # fmt: skip
    middle = int(np.linalg.norm(points, axis=1).argmin())
    moved = points[around].copy()
    height = single / 2
    outwards = np.sqrt(single**2 - (h - height) ** 2) / np.hypot(*moved[:, :2].T)
    moved[:, :2] *= np.maximum(outwards, 1.0)[:, None]
    sites = np.vstack([points[[middle]], points[around]])
    atoms = np.vstack([[[0, 0, height], [0, 0, -height]], moved])
    return _motif(origin, sites, atoms, [material.chalcogen] * len(atoms), CONTEXT_NM)


def main() -> None:
    for material in (MOS2, WSE2):
        made = motifs_of(material)
        for name, motif in made.items():
            sites, atoms = np.array(motif["sites_yxz_nm"]), np.array(motif["atoms_yxz_nm"])
            most = np.linalg.norm(atoms - sites, axis=1).max() if len(sites) == len(atoms) else 0.0
            print(f"{material.name} {name}: {len(atoms)} atoms, up to {most:.4f} nm off")
        path = FOLDER / f"{material.name}.json"
        path.write_text(json.dumps({"motifs": made, "boundaries": {}}))


if __name__ == "__main__":
    main()
