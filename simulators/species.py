"""What has a profile in the fast renderer: kinds of column, and two where one does not do.

Atoms above each other do not simply add up.  In a long column channelling makes
each brighter than one alone, and the two chalcogens of a pair (2H) scatter
coherently, to MAADF visibly more than twice what one of them does (1T).  Such a
kind has a second species, listed as ``Au:Au`` or ``S:S``, and each column counts
for it by its *share*, and for its own by the rest; so do the mixed columns of a
solid solution (``La:Sr``), whose second species is the substitute, and a metal that
stands in a chalcogen's place (``Mo:Mo``), in line with the other one of its pair.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from .specimens import specimen_module
from .specimens.specimen import Floats, Ints, Specimen

ABOVE_NM = 1e-6  # nearer to each other, columns lie one above the other
OUT_OF_PLANE_NM = 0.05  # the metals of a sheet stand at height 0, its chalcogens at 0.16 nm
IN_LINE_NM = 0.02  # so are atoms of a pair that relaxation has moved apart, by 0.005 nm at most


def _seconds(specimen: Specimen) -> list[str]:
    """By kind, what else a column can count as; "" for nothing else.

    Its substitute, one of a pair, or what is out of its plane.
    """
    module = specimen_module(specimen.name)
    twofold = (*getattr(module, "PAIRED", ()), *getattr(module, "RAISED", ()))
    return [k.substitute or (k.name if k.name in twofold else "") for k in specimen.kinds]


def species_of(specimen: Specimen) -> list[str]:
    """What has a profile, by name: each kind as such, and once more as its second species."""
    return [
        name
        for kind, second in zip(specimen.kinds, _seconds(specimen), strict=True)
        for name in ([kind.name, f"{kind.name}:{second}"] if second else [kind.name])
    ]


def first_species(specimen: Specimen) -> Ints:
    """Where each kind's own is among ``species_of``; its second one follows."""
    return np.cumsum([0, *(2 if second else 1 for second in _seconds(specimen))])[:-1]


def shares(specimen: Specimen, columns: Ints | None = None) -> Floats:
    """How much of each column (n,) counts as its kind's second species, from 0 to 1.

    Of a kind with a substitute it is what the specimen says.  An atom of a kind in its
    module's ``PAIRED`` counts as one of a pair while another of its kind stands above
    or below it, one of a kind in ``RAISED`` as such where it stands out of the middle plane.
    ``columns`` are those that are there, all by default.
    """
    chosen = slice(None) if columns is None else columns
    raised = getattr(specimen_module(specimen.name), "RAISED", ())
    kind, share = specimen.kind[chosen], np.zeros(len(specimen.kind[chosen]))
    for k, second in enumerate(_seconds(specimen)):
        if not second:
            continue
        here = np.flatnonzero(kind == k)
        if specimen.kinds[k].name in raised:
            share[here] = np.abs(specimen.height_nm[chosen][here]) > OUT_OF_PLANE_NM
        elif not specimen.kinds[k].substitute:
            share[here] = _in_line(specimen.positions_yx_nm[chosen][here])
        elif len(specimen.share):
            share[here] = specimen.share[chosen][here]
    return share


def contributions(specimen: Specimen, columns: Ints | None = None) -> tuple[Floats, Ints, Floats]:
    """What adds to the image: positions (n, 2), species (n,) and amplitudes (n,).

    A column contributes to each of its two species by its ``shares``; atoms that
    are listed one after the other and lie one above the other contribute as one.
    ``columns`` are those that are there, all by default.
    """
    chosen = slice(None) if columns is None else columns
    positions, kind = specimen.positions_yx_nm[chosen], specimen.kind[chosen]
    share = shares(specimen, columns)
    lowest = _lowest(positions, kind, share)
    amplitude = np.diff(lowest, append=len(kind)).astype(np.float64)
    if len(lowest) < len(kind):  # else nothing lies above anything, and copies are saved
        positions, kind, share = positions[lowest], kind[lowest], share[lowest]
    species = first_species(specimen)[kind]
    as_second = amplitude * share
    second = as_second > 0
    if not second.any():
        return positions, species, amplitude
    as_own = amplitude - as_second
    own = as_own > 0
    return (
        np.vstack([positions[own], positions[second]]),
        np.concatenate([species[own], species[second] + 1]),
        np.concatenate([as_own[own], as_second[second]]),
    )


def in_line(positions_yx_nm: Floats) -> Ints:
    """The column that each of the atoms (n, 2) stands in, (n,), numbered from 0."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(positions_yx_nm)
    pairs = cKDTree(positions_yx_nm).query_pairs(IN_LINE_NM, output_type="ndarray")
    joined = coo_array((np.ones(len(pairs)), pairs.T), (n, n))
    _, column = connected_components(joined, directed=False)
    return np.asarray(column, dtype=np.int64)


def in_line_with(specimen: Specimen, columns: Ints, gone: NDArray[np.bool_] | None) -> Ints:
    """``columns`` and whatever they change: what is in line with them, and not yet gone."""
    yx, lost = specimen.positions_yx_nm, specimen.positions_yx_nm[columns]
    low, high = lost.min(axis=0) - IN_LINE_NM, lost.max(axis=0) + IN_LINE_NM
    near = ((yx >= low) & (yx <= high)).all(axis=1)
    if gone is not None:
        near &= ~gone
    around = np.flatnonzero(near)
    distance, _ = cKDTree(lost).query(yx[around], distance_upper_bound=IN_LINE_NM)
    return np.asarray(around[distance <= IN_LINE_NM])


@numba.njit(cache=True, fastmath=False, nogil=True)
def _in_line(positions):
    """1.0 for each point (n, 2) that another is in line with, as the beam goes; else 0.0."""
    out = np.zeros(len(positions))
    order = np.argsort(positions[:, 0])
    for i in range(len(order)):
        for j in range(i + 1, len(order)):
            a, b = order[i], order[j]
            dy = positions[b, 0] - positions[a, 0]
            if dy > IN_LINE_NM:
                break
            dx = positions[b, 1] - positions[a, 1]
            if dy * dy + dx * dx <= IN_LINE_NM * IN_LINE_NM:
                out[a] = out[b] = 1.0
    return out


@numba.njit(cache=True, fastmath=False, nogil=True)
def _lowest(positions, kind, share):
    """The first of each run of columns that are alike and lie one above the other."""
    out = np.empty(len(kind), np.int64)
    n = 0
    for k in range(len(kind)):
        if (
            k == 0
            or kind[k] != kind[k - 1]
            or share[k] != share[k - 1]
            or abs(positions[k, 0] - positions[k - 1, 0]) > ABOVE_NM
            or abs(positions[k, 1] - positions[k - 1, 1]) > ABOVE_NM
        ):
            out[n] = k
            n += 1
    return out[:n]
