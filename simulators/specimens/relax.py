"""Relax the defects and the grain boundaries of graphene, once and offline.

    python -m stemscout.simulators.specimens.relax

writes ``motifs/graphene.json``.  Every structure is first drawn by its rings: a
three-fold network is the dual of a triangulation whose vertices are the rings,
each with as many neighbours as it has members.  A rotated bond is a flipped
edge; two atoms fewer are one ring fewer; a boundary is where two rotated
triangular lattices of rings meet.  Springs bring the network near, and ASE's
Tersoff potential relaxes it inside a rigid ideal lattice, so that it fits
wherever it is pasted.

Potential: carbon as reoptimised for graphene by Lindsay & Broido, Phys. Rev. B
81 (2010) 205441; silicon and the mixing rules of Tersoff, Phys. Rev. B 39
(1989) 5566.  Positions are scaled from the potential's lattice constant to
0.246 nm.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import Delaunay, cKDTree

from .specimen import Floats, Ints

LATTICE = 2.46  # Å, of graphene
BEYOND = 4.6  # Å of rigid lattice around what relaxes: twice the potential's cutoff
BOUNDARIES = {"Σ7": (2, 1), "Σ13": (3, 1)}
FILE = Path(__file__).parent / "motifs" / "graphene.json"
# A, B (eV), lambda, mu (1/Å), beta, n, c, d, h, R, S (Å)
SPECIES = {
    "C": (1393.6, 430.0, 3.4879, 2.2119, 1.5724e-7, 0.72751, 38049.0, 4.3484, -0.930, 1.8, 2.1),
    "Si": (1830.8, 471.18, 2.4799, 1.7322, 1.1e-6, 0.78734, 100390.0, 16.217, -0.59825, 2.7, 3.0),
}
CHI = {("C", "Si"): 0.9776, ("Si", "C"): 0.9776}


def tersoff() -> Any:
    """ASE's calculator for C and Si."""
    from ase.calculators.tersoff import Tersoff, TersoffParameters

    table = {}
    for i, first in SPECIES.items():
        for j, second in SPECIES.items():
            a, b = sqrt(first[0] * second[0]), sqrt(first[1] * second[1])
            for k, third in SPECIES.items():
                inner, outer = sqrt(first[9] * third[9]), sqrt(first[10] * third[10])
                table[(i, j, k)] = TersoffParameters(
                    A=a,
                    B=b * CHI.get((i, j), 1.0),
                    lambda1=(first[2] + second[2]) / 2,
                    lambda2=(first[3] + second[3]) / 2,
                    lambda3=0.0,
                    beta=first[4],
                    n=first[5],
                    c=first[6],
                    d=first[7],
                    h=first[8],
                    m=3.0,
                    gamma=1.0,
                    R=(inner + outer) / 2,
                    D=(outer - inner) / 2,
                )
    return Tersoff(table)


def equilibrium() -> float:
    """The potential's lattice constant of graphene, in Å."""
    from ase import Atoms
    from scipy.optimize import minimize_scalar

    def energy(a: float) -> float:
        cell = [[a, 0, 0], [a / 2, a * sqrt(3) / 2, 0], [0, 0, 20]]
        atoms = Atoms(
            "C2", scaled_positions=[[0, 0, 0.5], [1 / 3, 1 / 3, 0.5]], cell=cell, pbc=True
        )
        atoms = atoms.repeat((4, 4, 1))
        atoms.calc = tersoff()
        return float(atoms.get_potential_energy())

    return float(minimize_scalar(energy, bounds=(2.4, 2.6), method="bounded").x)


def triangular(reach: float) -> Floats:
    """Ring centres (n, 2) of ideal graphene in units of the lattice constant."""
    n = int(reach) + 3
    i, j = np.meshgrid(np.arange(-2 * n, 2 * n + 1), np.arange(-n, n + 1))
    points = np.column_stack([(i + 0.5 * j).ravel(), (j * sqrt(3) / 2).ravel()])
    return np.asarray(points[np.hypot(*points.T) <= reach])


def network(points: Floats, triangles: Ints) -> tuple[Floats, Ints]:
    """The dual: an atom in each triangle, a bond across each edge that two share."""
    atoms = points[triangles].mean(axis=1)
    edges: dict[tuple[int, int], list[int]] = {}
    for n, triangle in enumerate(triangles):
        for k in range(3):
            edge = sorted((int(triangle[k]), int(triangle[k - 1])))
            edges.setdefault((edge[0], edge[1]), []).append(n)
    bonds = [pair for pair in edges.values() if len(pair) == 2]
    return atoms, np.array(bonds)


def sprung(atoms: Floats, bonds: Ints, free: np.ndarray, length: float) -> Floats:
    """Atoms (n, 2) after springs of ``length`` along the bonds have moved the free ones."""
    moved = atoms.copy()
    for _ in range(4000):
        along = moved[bonds[:, 1]] - moved[bonds[:, 0]]
        distance = np.hypot(*along.T)[:, None]
        pull = 0.15 * (distance - length) * along / np.maximum(distance, 1e-9)
        step = np.zeros_like(moved)
        np.add.at(step, bonds[:, 0], pull)
        np.add.at(step, bonds[:, 1], -pull)
        moved[free] += step[free]
    return moved


def relaxed(positions: Floats, symbols: list[str], fixed: np.ndarray, cell: Any = None) -> Floats:
    """Positions (n, 3) in Å after the Tersoff potential has moved those not fixed."""
    from ase import Atoms
    from ase.constraints import FixAtoms
    from ase.optimize import FIRE

    atoms = Atoms(symbols, positions=positions, cell=cell, pbc=False if cell is None else [1, 0, 0])
    atoms.calc = tersoff()
    atoms.set_constraint(FixAtoms(np.flatnonzero(fixed)))
    FIRE(atoms, logfile=None).run(fmax=0.03, steps=1200)
    return np.asarray(atoms.positions)


def bound(atoms: Floats, period: float = 0.0) -> Ints:
    """Indices of atoms (n, 2) that have two neighbours: ASE's calculator fails on fewer."""
    kept = np.arange(len(atoms))
    for _ in range(3):
        images = np.vstack(
            [atoms[kept] + [s * period, 0.0] for s in ((-1, 0, 1) if period else (0,))]
        )
        near = cKDTree(images).query_ball_point(atoms[kept], 0.75)
        kept = kept[np.array([len(n) for n in near]) > 2]
    return kept


def motif(
    a: float,
    origin: tuple[float, float],
    radius: float,
    triangles_of: Any = None,
    removed: Iterable[tuple[float, float]] = (),
    silicon: Iterable[tuple[float, float]] = (),
    lifted: float = 0.0,
    nudged: float = 0.0,
) -> dict[str, Any]:
    """Relax one defect.

    Args:
        a: the potential's lattice constant in Å.
        origin: the point, in units of a about a ring's centre, that the motif
            is centred on.
        radius: what may move, in Å; all beyond stays ideal.
        triangles_of: changes the triangulation of ring centres; None keeps it.
        removed: sites (in units of a) from which atoms are taken.
        silicon: places (in units of a) where silicon stands, replacing an atom there.
        lifted: height in Å at which silicon starts.
        nudged: share by which the first two neighbours of what was removed
            start towards each other, so that they may bond.

    Returns:
        ``radius_nm``, the ``sites_yxz_nm`` of the ideal lattice that it replaces,
        ``symbols`` and ``atoms_yxz_nm``.
    """
    points = triangular((radius + BEYOND) / a + 2.5) - origin
    ideal, bonds = network(points, Delaunay(points).simplices)
    fixed_ideal = np.hypot(*ideal.T) > radius / a
    atoms, symbols = ideal, ["C"] * len(ideal)
    if triangles_of is not None:
        points, triangles = triangles_of(points)
        atoms, bonds = network(points, triangles)
        symbols = ["C"] * len(atoms)
        free = np.hypot(*atoms.T) <= radius / a
        atoms = sprung(atoms, bonds, free, 1 / sqrt(3))
    gone = [int(np.hypot(*(atoms - r).T).argmin()) for r in removed]
    if nudged and gone:
        around = np.argsort(np.hypot(*(atoms - atoms[gone[0]]).T))[1:3]
        middle = atoms[around].mean(axis=0)
        atoms = atoms.copy()
        atoms[around] += nudged * (middle - atoms[around])
    height = np.zeros(len(atoms))
    extra = []
    for place in silicon:
        distance = np.hypot(*(atoms - place).T)
        nearest = int(distance.argmin())
        if distance[nearest] < 0.1 and nearest not in gone:
            symbols[nearest] = "Si"
            height[nearest] = lifted / a
        else:
            extra.append(place)
    kept = np.setdiff1d(np.arange(len(atoms)), gone)
    inside = np.hypot(*atoms.T) <= (radius + BEYOND) / a
    kept = kept[inside[kept]]
    kept = kept[bound(atoms[kept])]
    start = np.column_stack([atoms[kept], height[kept]])
    names = [symbols[k] for k in kept]
    for place in extra:
        start = np.vstack([start, [*place, lifted / a]])
        names.append("Si")
    fixed = np.hypot(*start[:, :2].T) > radius / a
    done = relaxed(start * a, names, fixed) / a * LATTICE / 10.0
    own = ~fixed
    flat = np.pad(ideal[~fixed_ideal], ((0, 0), (0, 1)))
    return {
        "radius_nm": round(radius / 10.0 * LATTICE / a, 4),
        "sites_yxz_nm": np.round(flat[:, [1, 0, 2]] * LATTICE / 10, 5).tolist(),
        "symbols": [n for n, k in zip(names, own, strict=True) if k],
        "atoms_yxz_nm": np.round(done[own][:, [1, 0, 2]], 5).tolist(),
    }


def flipped(points: Floats) -> tuple[Floats, Ints]:
    """Stone and Wales' rotated bond: the edge through the origin is flipped."""
    triangles = Delaunay(points).simplices
    i, j = (int(np.hypot(*(points - r).T).argmin()) for r in ((-0.5, 0.0), (0.5, 0.0)))
    both = (triangles == i).any(axis=1) & (triangles == j).any(axis=1)
    ends = [int(t[(t != i) & (t != j)][0]) for t in triangles[both]]
    new = [[ends[0], ends[1], i], [ends[0], ends[1], j]]
    return points, np.vstack([triangles[~both], new])


def fewer(points: Floats, fan: bool) -> tuple[Floats, Ints]:
    """A divacancy: the ring at the origin is gone; its neighbours close up (5-8-5 or 555-777)."""
    centre = int(np.hypot(*points.T).argmin())
    triangles = Delaunay(points).simplices
    angle = np.arctan2(points[:, 1], points[:, 0])
    ring = np.flatnonzero(np.abs(np.hypot(*points.T) - 1.0) < 1e-6)
    ring = ring[np.argsort(angle[ring])]
    triangles = triangles[~(triangles == centre).any(axis=1)]
    if fan:
        new = [[ring[0], ring[k], ring[k + 1]] for k in range(1, 5)]
    else:
        new = [[ring[k], ring[k + 1], ring[(k + 2) % 6]] for k in (0, 2, 4)]
        new.append([ring[0], ring[2], ring[4]])
    triangles = np.vstack([triangles, new])
    others = np.delete(np.arange(len(points)), centre)
    return points[others], np.searchsorted(others, triangles)


def _eight(points: Floats) -> tuple[Floats, Ints]:
    return fewer(points, fan=True)


def _three(points: Floats) -> tuple[Floats, Ints]:
    return fewer(points, fan=False)


def boundary(a: float, n: int, m: int) -> dict[str, Any]:
    """Relax one period of the symmetric tilt boundary (n, m)|(m, n) along x.

    Returns:
        ``period_nm``, ``half_angle_rad``, ``half_width_nm``, ``atoms_yx_nm`` of
        one period between ± the half-width, and the ``origin_yx_nm`` of the ring
        lattice on either side (below, above), as relaxation has moved it.
    """
    period = float(np.hypot(n + 0.5 * m, m * sqrt(3) / 2))
    best = None
    for gap in np.linspace(0.0, 0.9, 19):
        for shift in np.linspace(0.0, 1.0, 24, endpoint=False):
            found = _meeting(n, m, gap, shift * period)
            if found is not None and (best is None or found[0] < best[0]):
                best = found
    if best is None:
        raise RuntimeError(f"no arrangement of 5- and 7-rings was found for ({n}, {m})")
    _, points, origins, angles = best
    triangles = Delaunay(points).simplices
    atoms, bonds = network(points, triangles)
    inner = (np.abs(atoms[:, 0]) < 3.5 * period) & (np.abs(atoms[:, 1]) < 7.5)
    # Springs on a wide ribbon, Tersoff on three periods of it.
    atoms = sprung(atoms, bonds, inner & (np.abs(atoms[:, 1]) < 4.0), 1 / sqrt(3))
    three = (atoms[:, 0] >= -1.5 * period - 1e-6) & (atoms[:, 0] < 1.5 * period - 1e-6)
    three &= np.abs(atoms[:, 1]) < 6.5
    ribbon = atoms[three]
    ribbon = ribbon[bound(ribbon, 3 * period)]
    start = np.column_stack([ribbon, np.zeros(len(ribbon))]) * a
    low = start[:, 1] < -5.0 * a
    done = relaxed(start, ["C"] * len(start), low, [3 * period * a, 60.0, 20.0]) / a
    return _strip(done, origins, angles, period)


def _meeting(
    n: int, m: int, gap: float, shift: float
) -> tuple[float, Floats, tuple[Floats, Floats], tuple[float, float]] | None:
    """Ring centres of two grains that meet at y = 0, if only 5- and 7-rings appear."""
    vector = np.array([n + 0.5 * m, m * sqrt(3) / 2])
    mirrored = np.array([m + 0.5 * n, n * sqrt(3) / 2])
    period = float(np.hypot(*vector))
    angles = tuple(-float(np.arctan2(v[1], v[0])) for v in (vector, mirrored))
    lattice = triangular(14.0)
    sides = []
    for angle in angles:
        c, s = np.cos(angle), np.sin(angle)
        sides.append(lattice @ np.array([[c, s], [-s, c]]))
    origins = (np.array([0.0, -gap / 2]), np.array([shift, gap / 2]))
    below, above = sides[0] + origins[0], sides[1] + origins[1]
    points = np.vstack([below[below[:, 1] < 0.0], above[above[:, 1] >= 0.0]])
    tree = cKDTree(points)
    close = tree.query_pairs(0.62)
    points = np.delete(points, sorted({max(p) for p in close}), axis=0)
    if cKDTree(points).query_pairs(0.62):
        return None
    triangles = Delaunay(points).simplices
    degree = np.bincount(triangles.ravel(), minlength=len(points))
    near = (np.abs(points[:, 0]) < 1.5 * period) & (np.abs(points[:, 1]) < 4.0)
    odd = degree[near] != 6
    if not odd.any() or not np.isin(degree[near], (5, 6, 7)).all():
        return None
    sizes = np.bincount(degree[near], minlength=8)
    if sizes[5] != sizes[7]:
        return None
    edges = points[triangles] - np.roll(points[triangles], 1, axis=1)
    spread = np.hypot(edges[..., 0], edges[..., 1])
    local = (np.abs(points[triangles].mean(axis=1)) < [1.5 * period, 3.0]).all(axis=1)
    return float(odd.sum() + ((spread[local] - 1) ** 2).mean()), points, origins, angles  # type: ignore[return-value]


def _strip(
    done: Floats,
    origins: tuple[Floats, Floats],
    angles: tuple[float, float],
    period: float,
) -> dict[str, Any]:
    """One period about the boundary, and how either side's lattice continues it."""
    width = 8.0 / LATTICE
    moved = []
    for side, (origin, angle) in enumerate(zip(origins, angles, strict=True)):
        c, s = np.cos(angle), np.sin(angle)
        rings = triangular(14.0)
        atoms, _ = network(rings, Delaunay(rings).simplices)
        ideal = atoms @ np.array([[c, s], [-s, c]]) + origin
        y = done[:, 1]
        far = (np.abs(y) > 0.7 * width) & (np.abs(y) < 1.4 * width) & ((y > 0) == bool(side))
        tree = cKDTree(ideal)
        offset = np.zeros(2)
        for _ in range(20):  # the nearest site of the ideal lattice, moved bodily
            _, nearest = tree.query(done[far, :2] - offset)
            offset = (done[far, :2] - ideal[nearest]).mean(axis=0)
        moved.append(origin + offset)
    one = (done[:, 0] >= -0.5 * period) & (done[:, 0] < 0.5 * period)
    one &= np.abs(done[:, 1]) <= width
    scale = LATTICE / 10.0
    return {
        "period_nm": round(period * scale, 5),
        "angles_rad": list(angles),
        "half_width_nm": round(width * scale, 4),
        "origins_yx_nm": [np.round(o[::-1] * scale, 5).tolist() for o in moved],
        "atoms_yx_nm": np.round(done[one][:, [1, 0]] * scale, 5).tolist(),
    }


def recipes() -> dict[str, dict[str, Any]]:
    """How each defect is drawn: the arguments of ``motif`` by name."""
    bond = 1 / sqrt(3)
    ring, atom, middle = (0.0, 0.0), (0.0, bond), (0.5, 0.0)
    neighbours = [(0.0, bond), (0.5, -bond / 2), (-0.5, -bond / 2)]
    two = [(0.0, bond / 2), (0.0, -bond / 2)]
    lattice = triangular(4.0)
    atoms, _ = network(lattice, Delaunay(lattice).simplices)
    within = {r: [(x, y) for x, y in atoms if np.hypot(x, y) < r] for r in (0.7, 1.6)}
    return {
        "si3": {"origin": atom, "radius": 5.2, "silicon": [(0.0, 0.0)], "lifted": 1.0},
        "si4": {"origin": middle, "radius": 5.8, "removed": two, "silicon": [(0.0, 0.0)]},
        "si cluster": {"origin": atom, "radius": 6.4, "removed": [(0.0, 0.0)],
                       "silicon": neighbours, "lifted": 0.3},
        "single vacancy": {"origin": atom, "radius": 5.8, "removed": [(0.0, 0.0)], "nudged": 0.25},
        "divacancy 5-8-5": {"origin": ring, "radius": 7.2, "triangles_of": _eight,
                            "twofold": True},
        "divacancy 555-777": {"origin": ring, "radius": 7.2, "triangles_of": _three},
        "stone-wales": {"origin": middle, "radius": 6.6, "triangles_of": flipped},
        "hole 6": {"origin": ring, "radius": 6.0, "removed": within[0.7]},
        "hole 24": {"origin": ring, "radius": 7.4, "removed": within[1.6]},
    }  # fmt: skip


def motif_of(a: float, recipe: dict[str, Any]) -> dict[str, Any]:
    """A relaxed defect, as it is kept."""
    own = dict(recipe)
    twofold = own.pop("twofold", False)
    origin = [own["origin"][1] * 0.246, own["origin"][0] * 0.246]
    made = {**motif(a, **own), "origin_yx_nm": origin}
    return {**made, "feature_yx_nm": axis(made["atoms_yxz_nm"])} if twofold else made


def axis(atoms_yxz_nm: list[list[float]]) -> list[float]:
    """Where the twofold axis of a defect stands that its motif is not centred on.

    The ring that 5-8-5 loses is not in its middle: the octagon closes up half a lattice constant
    beside it.
    """
    from scipy.optimize import minimize

    atoms = np.array(atoms_yxz_nm)[:, :2]
    tree = cKDTree(atoms)

    def unlike(middle: Floats) -> float:
        near = atoms[np.hypot(*(atoms - middle).T) < 0.45]
        distance, _ = tree.query(2 * middle - near)
        return float((distance**2).mean())

    steps = np.arange(-0.2, 0.21, 0.02)
    coarse = min(((y, x) for y in steps for x in steps), key=lambda yx: unlike(np.array(yx)))
    found = minimize(unlike, coarse, method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-12})
    return [float(v) for v in np.round(found.x, 5)]


def main() -> None:
    a = equilibrium()
    print(f"the potential's lattice constant is {a:.4f} Å")
    made: dict[str, Any] = {}
    for name, recipe in recipes().items():
        made[name] = motif_of(a, recipe)
        sites = len(made[name]["sites_yxz_nm"])
        print(f"{name}: {len(made[name]['symbols'])} atoms for {sites} sites", flush=True)
    periods = {}
    for name, (n, m) in BOUNDARIES.items():
        periods[name] = boundary(a, n, m)
        print(f"{name}: {len(periods[name]['atoms_yx_nm'])} atoms in a period")
    FILE.write_text(json.dumps({"lattice_nm": LATTICE / 10, "motifs": made, "boundaries": periods}))
    print(f"{FILE.name}: {FILE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
