"""Poisson noise, exactly and fast.

A Poisson variable of mean λ is the sum of two independent ones, of mean q and
λ - q.  For every pixel q is the largest of a ladder of means at most λ.  The
first part is drawn by inversion from a guide table (Chen & Asau, AIIE Trans. 6
(1974) 163): one uniform number picks a cell, and the cell holds where the
search begins.  The remainder is small; its count is nearly always 0, and it
needs an exponential only when one uniform number falls into the narrow strip in
which 1 - δ + δ²/2 cannot tell it from exp(-δ).  Means above the ladder are
halved until they are on it, and the halves are drawn one after the other.

The random numbers are those of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014),
whose key is one word of the caller's generator for each frame.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
STEP = 0.02  # between the means of the ladder, relative to what they grow by
ULP = 2.0**-53
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
TOP = 64.0  # its largest mean
CELL_BITS = 8  # of a uniform number, which pick the cell of a guide table


def poisson(expected: NDArray[np.float64], rng: np.random.Generator) -> F32:
    """Poisson counts of the same shape as ``expected``.

    Args:
        expected: means, at least 0.
        rng: one word is taken from it, however many counts there are.

    Raises:
        ValueError: a mean that is negative or no number.
    """
    out = np.empty(expected.shape, dtype=np.float32)
    key = np.uint64(rng.bit_generator.random_raw())
    means = np.ascontiguousarray(expected, dtype=np.float64)
    if not _draw(means.ravel(), key, *ladder(), out.ravel()):
        raise ValueError("an expected count is negative or not a number; it must be at least 0")
    return out


@cache
def ladder() -> tuple[
    NDArray[np.float64],
    NDArray[np.int64],
    NDArray[np.float64],
    NDArray[np.int16],
    NDArray[np.int64],
]:
    """Means; where each one's table starts; all tables; their guides; their lengths."""
    # Levels are equidistant in sqrt(λ), so that remainders grow like the noise.
    count = int(np.ceil(np.sqrt(TOP) / STEP)) + 1
    means = (np.arange(count, dtype=np.float64) * STEP) ** 2
    tables, starts, guides = [], [0], np.zeros((count, 2**CELL_BITS), dtype=np.int16)
    for k, mean in enumerate(means):
        table = _cumulative(float(mean))
        edges = np.arange(2**CELL_BITS) / 2**CELL_BITS
        guides[k] = np.searchsorted(table, edges, side="right")
        tables.append(table)
        starts.append(starts[-1] + len(table))
    offsets = np.array(starts[:-1], dtype=np.int64)
    lengths = np.array([len(t) for t in tables], dtype=np.int64)
    return means, offsets, np.concatenate(tables), guides, lengths


def _cumulative(mean: float) -> NDArray[np.float64]:
    """P(X <= n) for n = 0, 1 ..., up to 1."""
    from scipy.stats import poisson as distribution

    last = int(mean + 12.0 * np.sqrt(mean) + 25.0)  # beyond it lies less than a uniform's last bit
    table = distribution.cdf(np.arange(last + 1), mean)
    table = table[: int(np.searchsorted(table, 1.0 - 1e-16)) + 1]
    table[-1] = 1.0
    return np.asarray(table, dtype=np.float64)


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _word(state):
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _draw(expected, key, means, starts, tables, guides, lengths, out):
    """False where a mean is no mean."""
    highest = means.shape[0] - 1
    top = means[highest]
    state = key
    for n in range(expected.shape[0]):
        rest = expected[n]
        if not rest >= 0.0:
            return False
        parts = 1
        if rest > top:
            while rest > top:
                rest *= 0.5
                parts *= 2
        level = np.uint64(min(np.sqrt(rest) * (1.0 / STEP), highest * 1.0))
        # Rounding may have put it one too high.
        if means[level] > rest:
            level -= np.uint64(1)
        delta = rest - means[level]
        start = np.uint64(starts[level])
        last = start + np.uint64(lengths[level] - 1)
        total = np.int64(0)
        for _ in range(parts):
            state += GOLDEN
            word = _word(state)
            u = np.int64(word >> np.uint64(11)) * ULP
            k = start + np.uint64(guides[level, word >> np.uint64(64 - CELL_BITS)])
            while k < last and u >= tables[k]:
                k += np.uint64(1)
            total += np.int64(k - start)
            state += GOLDEN
            v = np.int64(_word(state) >> np.uint64(11)) * ULP
            # 1 - δ <= exp(-δ): below it the count is 0, and nothing else has to be known.
            if v >= 1.0 - delta:
                total += _small(v, delta)
        out[n] = total
    return True


@numba.njit(cache=True, fastmath=False, nogil=True)
def _small(v, delta):
    """A count of mean ``delta`` by inversion, term by term."""
    term = np.exp(-delta)
    below, m = term, 0
    while v >= below and m < 64:
        m += 1
        term *= delta / m
        below += term
    return m
