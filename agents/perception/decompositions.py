"""Linear decompositions: samples as sums of a few components.

Each is fitted by ``fit(samples)`` on (n, m) samples, says how much of its ``patterns`` (c, m)
samples hold by ``transform(samples)`` (n, c), and is scikit-learn's but for N-FINDR, which has
none there.
"""

from __future__ import annotations

import warnings
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DECOMPOSITIONS = ("pca", "svd", "nmf", "ica", "nfindr")
INCREMENTAL = ("pca", "nmf")  # those of which scikit-learn has such a form
POSITIVE = ("nmf", "nfindr")  # amounts are at least 0, and a sign means nothing
MOST_ENDMEMBERS = 8  # abundances try every set of them
LONG = 1024  # values of a sample, beyond which their covariance costs more than few samples do
ONE = np.ones((1, 1))
SWEEPS = 10  # over all samples for each endmember, or until none is exchanged


class Decomposition(Protocol):
    """What all have."""

    patterns: Floats

    def fit(self, samples: Floats) -> None:
        """Learn from all samples (n, m), or from the new ones where it is incremental."""
        ...

    def transform(self, samples: Floats) -> Floats:
        """Amounts (n, c), in units in which every pattern has length 1."""
        ...


class Learned:
    """One of scikit-learn's.

    Args:
        name: ``pca``, ``svd``, ``nmf`` or ``ica``.
        count: components.
        seed: of those that begin at random.
        incremental: ``fit`` takes what is new, and keeps what it has learned before
            (``IncrementalPCA``, ``MiniBatchNMF``).
    """

    patterns: Floats

    def __init__(self, name: str, count: int, seed: int, incremental: bool = False) -> None:
        self.name = name
        self.incremental = incremental
        self._model = _model(name, count, seed, incremental)

    def fit(self, samples: Floats) -> None:
        if self.name == "svd" and samples.shape[1] == 1:  # scikit-learn's wants two values
            from sklearn.preprocessing import FunctionTransformer

            self._model, self._length = FunctionTransformer(), ONE[0]
            self.patterns = ONE
            return
        if self.name == "pca" and not self.incremental:
            self._model.set_params(svd_solver=_solver(*samples.shape))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unconverged fit is refitted one frame later
            if self.incremental:
                self._model.partial_fit(samples)
            else:
                self._fit(samples)
        of = self._model.mixing_.T if self.name == "ica" else self._model.components_
        self.patterns = np.asarray(of, dtype=np.float64)
        self._length = np.linalg.norm(self.patterns, axis=1)

    def _fit(self, samples: Floats) -> None:
        try:
            self._model.fit(samples)
        except np.linalg.LinAlgError:
            # LAPACK's fast singular values (gesdd) fail on a few harmless matrices.
            if self.name != "pca":
                raise
            self._model.set_params(svd_solver="covariance_eigh").fit(samples)

    def transform(self, samples: Floats) -> Floats:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            amounts = np.asarray(self._model.transform(samples), dtype=np.float64)
        return np.asarray(amounts * self._length)


class Endmembers:
    """N-FINDR: the samples that span the largest simplex, and what share others have of them.

    Endmembers by Winter (*Imaging Spectrometry V*, Proc. SPIE 3753, 1999, 266): in the space of
    the first c - 1 principal components, whatever sample makes the simplex larger takes an
    endmember's place, until none does.  Abundances are fully constrained, at least 0 and
    together 1 (Heinz & Chang, IEEE Transactions on Geoscience and Remote Sensing 39, 2001,
    529), found exactly: the least squares of every set of endmembers, and of those without a
    negative share the best.

    Args:
        count: endmembers, at most ``MOST_ENDMEMBERS``.
    """

    def __init__(self, count: int) -> None:
        self.count = count

    def fit(self, samples: Floats) -> None:
        points = np.zeros((len(samples), 0))
        if self.count > 1:
            model = _model("pca", self.count - 1, 0, False)
            points = model.set_params(svd_solver=_solver(*samples.shape)).fit_transform(samples)
        self.patterns: Floats = samples[_simplex(points, self.count)].copy()

    def transform(self, samples: Floats) -> Floats:
        return abundances(samples, self.patterns)


def decomposition(name: str, count: int, seed: int, incremental: bool = False) -> Decomposition:
    """One of ``DECOMPOSITIONS`` by its name."""
    return Endmembers(count) if name == "nfindr" else Learned(name, count, seed, incremental)


def abundances(samples: Floats, endmembers: Floats) -> Floats:
    """Fully constrained shares (n, c) of endmembers (c, m) in samples (n, m).

    Each row is at least 0 and adds up to 1; of all such it leaves the least squared residual.
    """
    count = len(endmembers)
    gram, wanted = endmembers @ endmembers.T, samples @ endmembers.T
    scale = max(float(np.abs(gram).max()), 1e-300)
    gram, wanted = gram / scale, wanted / scale
    best = np.full(len(samples), np.inf)
    shares = np.zeros((len(samples), count))
    for size in range(1, count + 1):
        for chosen in combinations(range(count), size):
            of = list(chosen)
            # Stationary where the gradient is the same along all of them, and they add up to 1.
            system = np.ones((size + 1, size + 1))
            system[:size, :size], system[size, size] = gram[np.ix_(of, of)], 0.0
            right = np.column_stack([wanted[:, of], np.ones(len(samples))])
            found = (np.linalg.pinv(system) @ right.T).T[:, :size]
            left = np.einsum("nk,kl,nl->n", found, gram[np.ix_(of, of)], found)
            left -= 2 * (found * wanted[:, of]).sum(axis=1)
            better = (found >= 0).all(axis=1) & (np.abs(found.sum(axis=1) - 1) < 1e-6)
            better &= left < best
            best[better] = left[better]
            row = np.zeros((int(better.sum()), count))
            row[:, of] = found[better]
            shares[better] = row
    return shares


def _simplex(points: Floats, count: int) -> list[int]:
    """The indices of those points (n, c - 1) whose simplex is larger than all its neighbours."""
    # A first guess that needs no chance: the farthest, and then the farthest from those so far.
    chosen = [int((points**2).sum(axis=1).argmax())]
    while len(chosen) < count:
        apart = ((points[:, None] - points[chosen]) ** 2).sum(axis=2).min(axis=1)
        chosen.append(int(apart.argmax()))
    padded = np.column_stack([np.ones(len(points)), points])
    for _ in range(SWEEPS):
        before = list(chosen)
        for k in range(count):
            # The volume is linear in each corner: its cofactors tell that of all points at once.
            others = padded[chosen]
            cofactors = np.array([_cofactor(others, k, j) for j in range(count)])
            volume = np.abs(padded @ cofactors)
            if volume.max() > volume[chosen[k]] * (1 + 1e-9):
                chosen[k] = int(volume.argmax())
        if chosen == before:
            break
    return chosen


def _cofactor(matrix: Floats, row: int, column: int) -> float:
    rest = np.delete(np.delete(matrix, row, axis=0), column, axis=1)
    sign = -1.0 if (row + column) % 2 else 1.0
    return float(sign * np.linalg.det(rest)) if rest.size else 1.0


def _model(name: str, count: int, seed: int, incremental: bool) -> Any:
    from sklearn import decomposition as of

    if name == "pca":
        return of.IncrementalPCA(count) if incremental else of.PCA(count)
    if name == "svd":
        return of.TruncatedSVD(count, random_state=seed)
    if name == "nmf" and incremental:
        return of.MiniBatchNMF(count, init="nndsvda", random_state=seed)
    if name == "nmf":
        return of.NMF(count, init="nndsvda", random_state=seed, max_iter=300)
    return of.FastICA(
        count, whiten="unit-variance", whiten_solver="eigh", random_state=seed, max_iter=400
    )


def _solver(count: int, length: int) -> str:
    """Of principal components, for ``count`` samples of ``length`` values; both are exact.

    There are mostly many short samples, for which their covariance is by far the fastest; of few
    long ones, whole windows, the covariance would be the larger matrix.
    """
    return "full" if count < length and length > LONG else "covariance_eigh"
