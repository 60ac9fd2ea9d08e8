"""Poisson noise, exactly and fast.

A Poisson variable of mean λ is the sum of two independent ones, of mean q and
λ - q.  For every pixel q is the largest of a ladder of means at most λ.  The
first part is drawn from an alias table (Walker, ACM Trans. Math. Softw. 3
(1977) 253): one entry, one comparison, no search and no branch.  The remainder
is small; its count is nearly always 0, and it needs an exponential only where a
uniform number lies above 1 - δ, which is at most exp(-δ).  Means above the ladder
are first brought onto it by a draw of a multiple of its top, from tables of
their own; those above the multiples are drawn by transformed rejection
(Hörmann, Insur. Math. Econ. 12 (1993) 39).  Probabilities are held to 2⁻⁴⁰ of an
entry of a table.

The random numbers are those of SplitMix64 (Steele, Lea & Flood, OOPSLA 2014),
whose key is one word of the caller's generator for each frame.  One word makes
a pixel: its highest bits pick the entry, the next 40 are compared, and the
lowest 16 decide about the remainder, refined by a second word where they must.
"""

from __future__ import annotations

from functools import cache
from math import lgamma

import numba
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
STEP = 0.01  # between the square roots of the ladder's means
TOP = 100.0  # its largest mean
MULTIPLES = 10  # of it that have a table
MOST = 1e9  # beyond it the logarithms of rejection lose their digits
LEAST_PROBABILITY = 1e-18
ULP = 2.0**-53
LAYERS = 256  # of the ziggurat
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def poisson(expected: NDArray[np.float64], rng: np.random.Generator) -> F32:
    """Poisson counts of the same shape as ``expected``; above 2²⁴ rounded to float32.

    Args:
        expected: means, from 0 to 1e9.
        rng: one word is taken from it, however many counts there are.

    Raises:
        ValueError: a mean that is negative, above 1e9 or no number.
    """
    out = np.empty(expected.shape, dtype=np.float32)
    key = key_of(rng)
    means = np.ascontiguousarray(expected, dtype=np.float64)
    if not draw(means.ravel(), key, *ladder(), out.ravel()):
        raise ValueError(
            "an expected count is negative, above 1e9 or not a number; it must be from 0 to 1e9"
        )
    return out


@cache
def ladder() -> tuple[
    NDArray[np.float64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]
]:
    """Means; by table where it starts and the bits that pick an entry; all tables.

    The means are equidistant in the square root, so that remainders grow like
    the noise.  The tables of the multiples follow those of the means.
    """
    means = (np.arange(round(np.sqrt(TOP) / STEP) + 1) * STEP) ** 2
    multiples = TOP * np.arange(1, MULTIPLES + 1)
    bits, tables = np.zeros(len(means) + MULTIPLES, dtype=np.uint64), []
    numbers = np.arange(int(2 * multiples[-1]))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(numbers[1:]))])
    for k, mean in enumerate([*means, *multiples]):
        # Without a mean there is one outcome.
        log_mean = np.log(mean) if mean > 0 else -1e9
        near = slice(int(mean + 12.0 * np.sqrt(mean) + 25.0))
        chance = np.exp(numbers[near] * log_mean - mean - log_factorial[near])
        kept = np.flatnonzero(chance > LEAST_PROBABILITY)
        bits[k] = (len(kept) - 1).bit_length()
        padded = np.zeros(1 << int(bits[k]))
        padded[: len(kept)] = chance[kept] / chance[kept].sum()
        tables.append(_alias(padded, kept[0]))
    starts = np.cumsum([0, *(len(t) for t in tables[:-1])]).astype(np.uint64)
    return means, starts, bits, np.concatenate(tables)


@numba.njit(cache=True, fastmath=False)
def _alias(chance, first):
    """Entries of 64 bits: 40 of the share of an entry's own count, 12 of the other, 12 of its own.

    The entry's own count is ``first`` more than its place (Vose, IEEE Trans.
    Softw. Eng. 17 (1991) 972).
    """
    count = chance.shape[0]
    share = chance * count
    other = np.arange(count)
    poor, rich = np.empty(count, np.int64), np.empty(count, np.int64)
    poors = riches = 0
    for i in range(count):
        if share[i] < 1.0:
            poor[poors] = i
            poors += 1
        else:
            rich[riches] = i
            riches += 1
    while poors and riches:
        poors -= 1
        i, giver = poor[poors], rich[riches - 1]
        other[i] = giver
        share[giver] -= 1.0 - share[i]
        if share[giver] < 1.0:
            riches -= 1
            poor[poors] = giver
            poors += 1
    # Who is left over has a share of 1 but for rounding, and no other than itself.
    table = np.empty(count, np.uint64)
    for i in range(count):
        own = np.uint64(min(np.round(share[i] * 2.0**40), 2.0**40 - 1.0))
        counts = np.uint64((other[i] + first) << 12 | (i + first))
        table[i] = own << np.uint64(24) | counts
    return table


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _word(state):
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _uniform(word):
    """At least 0 and below 1."""
    return np.int64(word >> np.uint64(11)) * ULP


@numba.njit(cache=True, fastmath=False, nogil=True, inline="always")
def _drawn(word, table, starts, bits, tables):
    """A count from a table: by the word's highest bits and the 40 that follow them."""
    pick = bits[table]
    # Shifted in two, because a shift by all 64 bits is none.
    entry = tables[starts[table] + (word >> np.uint64(1) >> (np.uint64(63) - pick))]
    beyond = (word << pick) >> np.uint64(24) >= entry >> np.uint64(24)
    return np.int64((entry >> np.uint64(12) if beyond else entry) & np.uint64(0xFFF))


@numba.njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def draw(expected, key, means, starts, bits, tables, out):
    """False where a mean is no mean."""
    state = key
    highest = means.shape[0] - 1
    for n in range(expected.shape[0]):
        rest = expected[n]
        if not (rest >= 0.0 and rest <= MOST):
            return False
        total = 0
        if rest > TOP:
            if rest > MULTIPLES * TOP:
                out[n], state = _rejected(rest, state)
                continue
            multiple = np.int64(rest / TOP)
            rest -= multiple * TOP
            state += GOLDEN
            total += _drawn(_word(state), highest + multiple, starts, bits, tables)
        level = np.int64(np.sqrt(rest) * (1.0 / STEP))
        # Rounding may have put it one too high.
        if means[level] > rest:
            level -= 1
        delta = rest - means[level]
        state += GOLDEN
        word = _word(state)
        total += _drawn(word, level, starts, bits, tables)
        # 1 - δ <= exp(-δ): below it the count is 0, and nothing else has to be known.
        v = np.int64(word & np.uint64(0xFFFF))
        if v + 1.0 > 65536.0 * (1.0 - delta):
            state += GOLDEN
            total += _small((v + _uniform(_word(state))) / 65536.0, delta)
        out[n] = total
    return True


def key_of(rng: np.random.Generator) -> np.uint64:
    """One word of a generator: the key of whatever is drawn for one frame."""
    return np.uint64(rng.bit_generator.random_raw())


@cache
def ziggurat() -> NDArray[np.float64]:
    """Of the ``LAYERS`` layers under exp(-x²/2): edges, and heights at them (2, LAYERS + 1).

    The lowest holds the tail beyond its edge, and is as large as the others.
    """
    edge, area = 3.6541528853610088, 0.00492867323399  # of 256 layers (Marsaglia & Tsang 2000)
    x = np.empty(LAYERS + 1)
    x[0], x[1] = area / np.exp(-0.5 * edge * edge), edge
    for k in range(2, LAYERS):
        x[k] = np.sqrt(-2.0 * np.log(area / x[k - 1] + np.exp(-0.5 * x[k - 1] ** 2)))
    x[LAYERS] = 0.0
    return np.stack([x, np.exp(-0.5 * x * x)])


@numba.njit(cache=True, fastmath=False, nogil=True)
def uniform(state):
    """A number at least 0 and below 1, and the generator's next state."""
    state += GOLDEN
    return _uniform(_word(state)), state


@numba.njit(cache=True, fastmath=False, nogil=True)
def normal(state, layers):
    """A number of the normal distribution, and the generator's next state.

    By the ziggurat method (Marsaglia & Tsang, J. Stat. Softw. 5 (2000) 8): a word's lowest
    8 bits pick a layer, the next its sign, the highest 53 the place in it.
    """
    while True:
        state += GOLDEN
        word = _word(state)
        layer = np.int64(word & np.uint64(0xFF))
        value = _uniform(word) * layers[0, layer]
        sign = 1.0 if word & np.uint64(0x100) else -1.0
        if value < layers[0, layer + 1]:
            return sign * value, state
        if layer == 0:
            # The tail, by two exponentials.
            while True:
                u, state = uniform(state)
                v, state = uniform(state)
                beyond = -np.log(1.0 - u) / layers[0, 1]
                if -2.0 * np.log(1.0 - v) >= beyond * beyond:
                    return sign * (layers[0, 1] + beyond), state
        u, state = uniform(state)
        low, high = layers[1, layer], layers[1, layer + 1]
        if low + u * (high - low) < np.exp(-0.5 * value * value):
            return sign * value, state


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


@numba.njit(cache=True, fastmath=False, nogil=True, error_model="numpy")
def _rejected(mean, state):
    """A count of a large mean, and the generator's next state (Hörmann's PTRS)."""
    b = 0.931 + 2.53 * np.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    log_mean = np.log(mean)
    while True:
        state += GOLDEN
        u = _uniform(_word(state)) - 0.5
        state += GOLDEN
        v = 1.0 - _uniform(_word(state))
        edge = 0.5 - abs(u)
        k = np.floor((2.0 * a / edge + b) * u + mean + 0.43)
        if edge >= 0.07 and v <= squeeze:
            return k, state
        if not k >= 0.0 or (edge < 0.013 and v > edge):
            continue
        density = np.log(v * inverse / (a / (edge * edge) + b))
        if density <= k * log_mean - mean - lgamma(k + 1.0):
            return k, state
