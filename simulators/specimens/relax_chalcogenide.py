"""Relax the defects and the phase boundaries of the chalcogenides, once and offline.

    python -m stemscout.simulators.specimens.relax_chalcogenide

writes ``motifs/mos2.json`` and ``motifs/wse2.json``.  All is relaxed in Keating's
valence force field (Phys. Rev. 145 (1966) 637) with β = 0.3 α; its angles are
those of the crystal, prismatic in 2H and octahedral in 1T, and what no crystal
has an angle for has none.  Atoms farther off are held, so that all fits the
lattice around it.

Foreign atoms and antisites change the length of their bonds; the surroundings
follow out to 0.75 nm, those of two chalcogens on a metal's place to 0.345 nm.
Around vacancies the field moves nothing: the three metals beside a missing
chalcogen, or beside two, are drawn in by 0.010 nm, about the figure of
density-functional theory (Komsa et al., Phys. Rev. Lett. 109 (2012) 035503), and
the chalcogens within 0.345 nm follow.  For the neighbours of a missing metal no
figure is taken; they stay.

Boundaries: both phases have one lattice of metals, and edges follow zigzag
rows, so a period is one lattice constant long and the boundary coherent.  Two
kinds occur: ``out``, where the arm from a metal to its upper chalcogen points out
of the 1T phase, and ``in``.  In the lower layer the chalcogens of the two phases
stand 4/3 (``out``) or 5/3 (``in``) of a row apart: 1/3 or 2/3 of a chalcogen a
period is missing, one or two metals a period are five-fold, and every chalcogen
has its three metals.  One more row would leave too many by 2/3 or 1/3, and pairs of
them bonded to each other (0.201 nm for S and 0.224 nm for Se at ``in``, in this
field) beside a seven-fold metal; sheets that a beam has turned into 1T (Lin et
al., Nat. Nanotechnol. 9 (2014) 391) have lost chalcogens rather, so the poorer
boundary is made.  A five-fold metal has shorter bonds, by 0.037 nm ln(6/5), for the
sum of bond valences is kept (Brown and Altermatt, Acta Cryst. B 41 (1985) 244).
Rows out to 1.8 nm are free along and across; metals stay in their plane, as
how far a free strip would bow depends on its width alone.  1T is given the
lattice constant and the heights of 2H.

Bond lengths, in nm: Mo-S 0.2417, W-Se 0.2526, Mo-Se 0.2527, W-S 0.2405 (Schutte
et al., J. Solid State Chem. 70 (1987) 207, and Bronsema et al., Z. Anorg. Allg.
Chem. 540 (1986) 15); V-S 0.236 and V-Se 0.250, as in their 1T crystals; a metal
on a chalcogen's place is 0.2725 (Mo) or 0.2741 (W) from its neighbours, as in
the bulk metals; two chalcogens on a metal's place are a single bond, 0.205 (S)
or 0.234 (Se), from each other and from three others each, and such a bond is 1.7
times as stiff as Mo-S: about 240 N/m, as in S8, over 138 N/m (Wakabayashi et al.,
Phys. Rev. B 12 (1975) 659).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize

from .chalcogenide import EDGES, LOWER_1T, Material
from .mos2 import MATERIAL as MOS2
from .specimen import Floats, Ints
from .wse2 import MATERIAL as WSE2

FOLDER = Path(__file__).parent / "motifs"
BONDS_NM = {
    ("Mo", "S"): 0.2417, ("W", "Se"): 0.2526, ("Mo", "Se"): 0.2527, ("W", "S"): 0.2405,
    ("V", "S"): 0.236, ("V", "Se"): 0.250, ("Mo", "Mo"): 0.2725, ("W", "W"): 0.2741,
}  # fmt: skip
SINGLE_NM = {"S": 0.205, "Se": 0.234}
SINGLE_STIFFNESS = 1.7  # over a bond of the crystal
FREE_NM, CLUSTER_NM = 0.75, 1.2
BENDING = 0.3  # β over α
CONTEXT_NM = 0.32
NEAR_NM = 0.345  # motifs of that radius are never nearer to each other than twice this
INWARDS_NM = 0.010  # of the metals beside a vacancy
VALENCE_NM = 0.037  # of length to a factor e of bond valence
EDGE_FREE_NM, EDGE_REACH_NM = 1.8, 2.0
EDGE_MIDDLES = {"out": 1.0, "in": 0.5}  # the middle of the gap, in rows of metals


class Bond(NamedTuple):
    """Between two atoms, the second one shifted along x; how long and how stiff it is."""

    start: int
    end: int
    shift_nm: float
    natural_nm: float
    stiffness: float = 1.0


@dataclass(frozen=True, eq=False)
class Network:
    """Bonds, each in both directions, and angles between two that begin at one atom.

    Attributes:
        start, end: (b,) atoms.
        shift_nm: (b, 3) added to the end, where it lies in another period.
        natural_nm: (b,) lengths at rest.
        stiffness: (b,) in units of α.
        first, second: (a,) bonds of an angle.
        cosine: (a,) of the angle at rest.
    """

    start: Ints
    end: Ints
    shift_nm: Floats
    natural_nm: Floats
    stiffness: Floats
    first: Ints
    second: Ints
    cosine: Floats

    def vectors(self, points: Floats) -> Floats:
        return np.asarray(points[self.end] + self.shift_nm - points[self.start])


def network(
    points: Floats,
    bonds: list[Bond],
    loose: frozenset[int] = frozenset(),
    phase: Ints | None = None,
) -> Network:
    """Of bonds, with the angles that the points have.

    Args:
        points: (n, 3) where the crystal has them.
        bonds: each once.
        loose: atoms that take part in no angle.
        phase: (n,) -1 or 1 of one phase alone, 0 of both; no angle is between -1 and 1.
    """
    back = [b._replace(start=b.end, end=b.start, shift_nm=-b.shift_nm) for b in bonds]
    both = sorted([*bonds, *back])
    start, end = (np.array([b[k] for b in both], dtype=np.int64) for k in (0, 1))
    shift = np.array([[0.0, b.shift_nm, 0.0] for b in both])
    natural, stiffness = (np.array([b[k] for b in both]) for k in (3, 4))
    vectors = points[end] + shift - points[start]
    length = np.linalg.norm(vectors, axis=1)
    around: dict[int, list[int]] = {}
    for number, bond in enumerate(both):
        if bond.start not in loose and bond.end not in loose:
            around.setdefault(bond.start, []).append(number)
    side = np.zeros(len(points), dtype=np.int64) if phase is None else phase
    pairs = np.array(
        [
            (p, q)
            for own in around.values()
            for p, q in combinations(own, 2)
            if side[end[p]] * side[end[q]] >= 0
        ]
    )
    first, second = pairs.T
    cosine = (vectors[first] * vectors[second]).sum(axis=1) / length[first] / length[second]
    return Network(start, end, shift, natural, stiffness, first, second, cosine)


def relaxed(points: Floats, net: Network, free: np.ndarray) -> Floats:
    """Points (n, 3) after Keating's field has moved the coordinates (n, 3) that are free."""
    natural = net.natural_nm
    product = natural[net.first] * natural[net.second]
    dot, root = net.cosine * product, np.sqrt(product)

    def energy(flat: Floats) -> tuple[float, Floats]:
        moved = points.copy()
        moved[free] = flat
        r = net.vectors(moved)
        stretch = ((r**2).sum(axis=1) - natural**2) / natural
        a, b = r[net.first], r[net.second]
        bend = ((a * b).sum(axis=1) - dot) / root
        slope = np.zeros_like(moved)
        pull = (6 / 16 * net.stiffness * stretch / natural)[:, None] * r
        np.add.at(slope, net.end, pull)
        np.add.at(slope, net.start, -pull)
        turn = (6 / 8 * BENDING * bend / root)[:, None]
        np.add.at(slope, net.end[net.first], turn * b)
        np.add.at(slope, net.end[net.second], turn * a)
        np.add.at(slope, net.start[net.first], -turn * (a + b))
        value = 3 / 32 * (net.stiffness * stretch**2).sum() + 3 / 8 * BENDING * (bend**2).sum()
        return float(value), slope[free]

    done = minimize(energy, points[free], jac=True, method="L-BFGS-B",
                    options={"maxiter": 4000, "ftol": 1e-15, "gtol": 1e-9})  # fmt: skip
    out = points.copy()
    out[free] = done.x
    return out


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


def _bonds(points: Floats, symbols: list[str], pure: list[str], bond_nm: float) -> list[Bond]:
    """Those of the crystal, as long as the symbols at their ends want it."""
    return [
        Bond(i, j, 0.0, _length(symbols[i], symbols[j], bond_nm))
        for i, j in combinations(range(len(points)), 2)
        if pure[i] != pure[j] and np.linalg.norm(points[i] - points[j]) < 1.15 * bond_nm
    ]


def _length(a: str, b: str, default: float) -> float:
    return BONDS_NM.get((a, b), BONDS_NM.get((b, a), default))


def _within(points: Floats, radius_nm: float) -> np.ndarray:
    """Which coordinates (n, 3) belong to points within a radius of the middle."""
    return np.repeat(np.hypot(*points[:, :2].T)[:, None] < radius_nm, 3, axis=1)


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


def names_of(material: Material) -> list[str]:
    """Every defect of a material, those of one chalcogen in both layers."""
    one, both, metal, *foreign, other, antisite, two, _ = material.need_e_per_a2
    layers = ("upper", "lower")
    return [
        *(f"{one}, {k}" for k in layers), both, metal, *foreign,
        *(f"{n}, {k}" for k in layers for n in (other, antisite)), two,
    ]  # fmt: skip


def motif_of(material: Material, name: str) -> dict[str, Any]:
    """One defect, relaxed."""
    index = list(material.need_e_per_a2).index(name.split(",")[0])
    z = material.half_thickness_nm * (-1.0 if name.endswith("lower") else 1.0)
    metal_at, chalcogen_at = material.basis_yxz_nm[0, :2], material.basis_yxz_nm[1, :2]
    if index < 2:
        return _vacancy(material, chalcogen_at, (z,) if index == 0 else (z, -z))
    if index == 2:
        return _motif(metal_at, np.zeros((1, 3)), np.empty((0, 3)), [], CONTEXT_NM)
    if index in (3, 4):
        return _substituted(material, metal_at, 0.0, material.others[index - 3])
    if index in (5, 6):
        symbol = material.others[2] if index == 5 else material.metal
        return _substituted(material, chalcogen_at, z, symbol)
    return _two_chalcogens(material, metal_at)


def motifs_of(material: Material) -> dict[str, Any]:
    """All of them."""
    return {name: motif_of(material, name) for name in names_of(material)}


def _at(points: Floats, z: float) -> int:
    return int(np.linalg.norm(points - [0.0, 0.0, z], axis=1).argmin())


def _substituted(material: Material, origin: Floats, z: float, symbol: str) -> dict[str, Any]:
    points, pure = cluster(material, origin)
    at = _at(points, z)
    symbols = [symbol if k == at else s for k, s in enumerate(pure)]
    bond = BONDS_NM[(material.metal, material.chalcogen)]
    net = network(points, _bonds(points, symbols, pure, bond))
    moved = relaxed(points, net, _within(points, FREE_NM))
    # What moves by less than a picometre stays the lattice's own.
    own: Ints = np.flatnonzero(np.linalg.norm(moved - points, axis=1) > 1e-3)
    own = np.union1d(own, [at])
    return _motif(origin, points[own], moved[own], [symbols[k] for k in own],
                  max(CONTEXT_NM, 0.1 + float(np.hypot(*points[own, :2].T).max())))  # fmt: skip


def _vacancy(material: Material, origin: Floats, heights: tuple[float, ...]) -> dict[str, Any]:
    """Missing chalcogens: the metals beside them come in, and what is near follows."""
    points, pure = cluster(material, origin)
    gone = [_at(points, z) for z in heights]
    kept = np.setdiff1d(np.arange(len(points)), gone)
    sites, symbols = points[kept], [pure[k] for k in kept]
    bond = BONDS_NM[(material.metal, material.chalcogen)]
    net = network(sites, _bonds(sites, symbols, symbols, bond))
    start = sites.copy()
    distance = np.hypot(*sites[:, :2].T)
    metal = np.array([s == material.metal for s in symbols])
    beside = metal & (distance < 0.7 * material.lattice_nm)
    start[beside, :2] *= (1.0 - INWARDS_NM / distance[beside])[:, None]
    moved = relaxed(start, net, _within(sites, NEAR_NM) & ~metal[:, None])
    own = np.flatnonzero(distance < NEAR_NM)
    return _motif(origin, np.vstack([points[gone], sites[own]]), moved[own],
                  [symbols[k] for k in own], CONTEXT_NM)  # fmt: skip


def _two_chalcogens(material: Material, origin: Floats) -> dict[str, Any]:
    """A pair of chalcogens on a metal's place, each bonded to the other and to three more."""
    points, pure = cluster(material, origin)
    single, middle = SINGLE_NM[material.chalcogen], _at(points, 0.0)
    bond = BONDS_NM[(material.metal, material.chalcogen)]
    above = np.array([0.0, 0.0, single / 2])
    sites = np.vstack([points, points[middle]])
    start = sites.copy()
    start[middle], start[-1] = above, -above
    symbols = [*pure, material.chalcogen]
    symbols[middle] = material.chalcogen
    pair = (middle, len(points))
    bonds = [b for b in _bonds(points, pure, pure, bond) if middle not in b[:2]]
    bonds.append(Bond(*pair, 0.0, single, SINGLE_STIFFNESS))
    for k in np.flatnonzero(np.hypot(*points[:, :2].T) < 0.7 * material.lattice_nm):
        if k != middle:
            own_half = pair[0 if points[k, 2] > 0 else 1]
            bonds.append(Bond(own_half, int(k), 0.0, single, SINGLE_STIFFNESS))
    moved = relaxed(start, network(sites, bonds, frozenset(pair)), _within(sites, NEAR_NM))
    own = np.flatnonzero(np.hypot(*sites[:, :2].T) < NEAR_NM)
    return _motif(origin, sites[own[own < len(points)]], moved[own],
                  [symbols[k] for k in own], CONTEXT_NM)  # fmt: skip


def edge(material: Material, name: str) -> tuple[Floats, list[str], Ints]:
    """Ideal atoms of one period of a boundary.

    Returns:
        Where (n, 3), as (across, along, z), across being from 1T to 2H and 0 at a row
        of metals; symbols; and (n,) phases: -1 of 1T alone, 1 of 2H alone, 0 of both.
    """
    a, h = material.lattice_nm, material.half_thickness_nm
    sign, middle = (1 if name == "out" else -1), EDGE_MIDDLES[name]
    points, symbols, phase = [], [], []
    for row in range(-11, 13):
        # Across in thirds of a row, height, phase; and along, in halves of the period.
        for thirds, z, own, halves in (
            (0, 0.0, 0, row), (2 * sign, h, 0, row), (2 * sign, -h, 1, row), (sign, -h, -1, row + 1)
        ):  # fmt: skip
            across = row + thirds / 3
            if own * (across - middle) >= 0:
                points.append((across * a * np.sqrt(3) / 2, halves % 2 * a / 2, z))
                symbols.append(material.metal if thirds == 0 else material.chalcogen)
                phase.append(own)
    return np.array(points), symbols, np.array(phase)


def boundary_of(material: Material, name: str) -> dict[str, Any]:
    """One period of a boundary, and by how much the field moves its atoms."""
    points, symbols, phase = edge(material, name)
    a, bond = material.lattice_nm, BONDS_NM[(material.metal, material.chalcogen)]
    metal = np.array([s == material.metal for s in symbols])
    pairs = [
        (i, j, t)
        for i in np.flatnonzero(metal).tolist()
        for j in np.flatnonzero(~metal).tolist()
        for t in (-a, 0.0, a)
        if np.linalg.norm(points[j] + [0.0, t, 0.0] - points[i]) < 1.15 * bond
    ]
    fold = np.bincount([i for i, _, _ in pairs], minlength=len(points))
    natural = bond + VALENCE_NM * np.log(np.maximum(fold, 1) / 6)
    bonds = [Bond(i, j, t, float(natural[i])) for i, j, t in pairs]
    away = np.abs(points[:, 0] - EDGE_MIDDLES[name] * a * np.sqrt(3) / 2)
    free = np.repeat((away < EDGE_FREE_NM)[:, None], 3, axis=1)
    free[metal, 2] = False
    moved = relaxed(points, network(points, bonds, phase=phase), free) - points
    own = away < EDGE_REACH_NM
    return {
        "period_nm": a,
        "reach_nm": EDGE_REACH_NM,
        "symbols": [s for s, k in zip(symbols, own, strict=True) if k],
        "sites_nm": np.round(points[own], 6).tolist(),
        "moved_nm": (np.round(moved[own], 5) + 0.0).tolist(),
    }


def boundaries_of(material: Material) -> dict[str, Any]:
    """Both kinds of boundary."""
    return {name: boundary_of(material, name) for name in EDGES}


def main() -> None:
    for material in (MOS2, WSE2):
        made = motifs_of(material)
        for name, motif in made.items():
            sites, atoms = np.array(motif["sites_yxz_nm"]), np.array(motif["atoms_yxz_nm"])
            most = 0.0
            if len(atoms):
                apart = np.linalg.norm(atoms[:, None] - sites[None], axis=2)
                most = apart.min(axis=1).max()
            print(f"{material.name} {name}: {len(atoms)} atoms, up to {most:.4f} nm off")
        edges = boundaries_of(material)
        for name, period in edges.items():
            most = np.linalg.norm(period["moved_nm"], axis=1).max()
            print(f"{material.name} boundary, {name}: {len(period['symbols'])} atoms, "
                  f"up to {most:.4f} nm off")  # fmt: skip
        path = FOLDER / f"{material.name}.json"
        path.write_text(json.dumps({"motifs": made, "boundaries": edges}))


if __name__ == "__main__":
    main()
