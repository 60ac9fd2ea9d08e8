"""Scalarizers: from what a perception says of frames to the one number that is pursued.

A perception describes a frame piece by piece: one piece for the whole of it, or one for each
of its windows or atoms.  A scalarizer makes of the descriptors (k, d) of these k pieces the
target of the frame.  Each is written as plain data, so that a person, a file or a saved run
may name it:

- ``"variation"``: the descriptor that varies most over the field, towards the longer tail of
  it there: what is rare is what is looked for;
- ``2`` or ``"oddity"``: one descriptor, by its number or its name;
- ``"distance"``, ``"farthest"``: how far the pieces are from the mean, in standard
  deviations (Mahalanobis); of the mean piece, or of the farthest;
- ``"rarity"``, ``"rarest"``: minus the logarithm of the density of pieces like it; of the
  mean piece, or of the rarest;
- ``{"direction": [0.6, -0.8]}``: along a direction in the space of descriptors;
- ``{"point": [0.3, -1.2]}``: how near the mean piece lies to a point in the plane of the first
  two descriptors, or in the space of as many as are given;
- ``{"region": [[-1, 0], [-1, 2], [0, 2]]}``: the share of the pieces that lie within a
  polygon in the plane of the first two descriptors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..envs.numbers import is_number

Floats = NDArray[np.float64]
Pieces = Sequence[Floats]
REFERENCE = 500  # pieces that a density is estimated from
FINEST = 1e-9  # relative; what is smaller is rounding


class Scalarizer(ABC):
    """The descriptors of frames to their targets.

    ``plain`` is what ``scalarizer_of`` makes the same one from, as JSON.
    """

    plain: Any

    def check(self, names: Sequence[str]) -> None:
        """ValueError where it does not go with descriptors of these names."""
        return

    def fit(self, pieces: Pieces, shares: Floats) -> None:
        """Learn what is usual.

        Args:
            pieces: of n frames, (k, d) for each.
            shares: (n,) of the field that each frame stands for; they add up to 1.
        """
        return

    @abstractmethod
    def __call__(self, pieces: Pieces) -> Floats:
        """Targets (n,); NaN for a frame without any piece."""

    @property
    def shown(self) -> tuple[int, float] | None:
        """The number of the one descriptor that is pursued, and its sign; None of several."""
        return None


class Component(Scalarizer):
    """One descriptor, chosen by a person, averaged over the pieces.

    Args:
        which: its number, from 0, or its name.
    """

    def __init__(self, which: int | str) -> None:
        if not (isinstance(which, str) or is_number(which, Integral)):
            raise ValueError(f"component {which!r}; it must be an integer >= 0, or a name")
        if not isinstance(which, str) and which < 0:
            raise ValueError(f"component {which}; it must be at least 0")
        self.plain = which if isinstance(which, str) else int(which)
        self.index = None if isinstance(which, str) else int(which)

    def check(self, names: Sequence[str]) -> None:
        if isinstance(self.plain, str):
            if self.plain not in names:
                known = ", ".join([*names, *WORDS])
                raise ValueError(f"unknown component {self.plain!r}; there are: {known}")
            self.index = list(names).index(self.plain)
        elif self.plain >= len(names):
            raise ValueError(f"component {self.plain}; there are components 0 to {len(names) - 1}")

    def __call__(self, pieces: Pieces) -> Floats:
        means = frame_means(pieces)
        assert self.index is not None
        if self.index >= means.shape[1]:
            raise ValueError(
                f"component {self.index}, but there are only {means.shape[1]} "
                f"(0 to {means.shape[1] - 1})"
            )
        return means[:, self.index]

    @property
    def shown(self) -> tuple[int, float] | None:
        return None if self.index is None else (self.index, 1.0)


class Variation(Scalarizer):
    """The descriptor whose frame means vary most over the field, its longer tail positive."""

    plain = "variation"

    def __init__(self) -> None:
        self.index, self.sign = 0, 1.0

    def fit(self, pieces: Pieces, shares: Floats) -> None:
        means = frame_means(pieces)
        there = np.isfinite(means).all(axis=1) & (shares > 0)
        if not there.any():
            return
        weights = shares[there] / shares[there].sum()
        centred = means[there] - weights @ means[there]
        variance = weights @ centred**2
        self.index = int(variance.argmax())
        skew = weights @ centred[:, self.index] ** 3
        self.sign = -1.0 if skew < 0 else 1.0

    def __call__(self, pieces: Pieces) -> Floats:
        return self.sign * frame_means(pieces)[:, self.index]

    @property
    def shown(self) -> tuple[int, float] | None:
        return self.index, self.sign


class _Unusual(Scalarizer):
    """By how unusual the pieces are, the frame's mean or its greatest."""

    greatest: ClassVar[bool] = False

    def fit(self, pieces: Pieces, shares: Floats) -> None:
        every, weights = _weighted(pieces, shares)
        self._learn(every, weights)

    def __call__(self, pieces: Pieces) -> Floats:
        of = np.max if self.greatest else np.mean
        return np.array([of(self._unusual(p)) if len(p) else np.nan for p in pieces], np.float64)

    @abstractmethod
    def _learn(self, every: Floats, weights: Floats) -> None:
        """From all pieces (n, d), whose weights add up to 1."""

    @abstractmethod
    def _unusual(self, pieces: Floats) -> Floats:
        """Of each of some pieces."""


class Distance(_Unusual):
    """Mahalanobis distance from the mean of all pieces."""

    plain = "distance"

    def _learn(self, every: Floats, weights: Floats) -> None:
        self._middle, self._axes = _whitening(every, weights)

    def _unusual(self, pieces: Floats) -> Floats:
        return np.asarray(np.linalg.norm((pieces - self._middle) @ self._axes, axis=1))


class Farthest(Distance):
    """The same of the piece that is farthest."""

    plain = "farthest"
    greatest = True


class Rarity(_Unusual):
    """Minus the logarithm of the density of pieces, a Gaussian kernel estimate.

    In whitened descriptors, with Scott's bandwidth for the number of pieces (D. W. Scott,
    *Multivariate Density Estimation*, Wiley 1992).
    """

    plain = "rarity"

    def _learn(self, every: Floats, weights: Floats) -> None:
        self._middle, self._axes = _whitening(every, weights)
        step = max(1, -(-len(every) // REFERENCE))
        chosen = weights[::step] > 0
        self._points = ((every[::step] - self._middle) @ self._axes)[chosen]
        self._weights = weights[::step][chosen] / weights[::step][chosen].sum()
        independent = 1.0 / (self._weights @ self._weights)
        self._width = independent ** (-1.0 / (4 + max(1, self._axes.shape[1])))

    def _unusual(self, pieces: Floats) -> Floats:
        from scipy.special import logsumexp

        apart = ((pieces - self._middle) @ self._axes)[:, None] - self._points
        exponent = -0.5 * (apart**2).sum(axis=2) / self._width**2
        return np.asarray(-logsumexp(exponent, b=self._weights, axis=1))


class Rarest(Rarity):
    """The same of the rarest piece."""

    plain = "rarest"
    greatest = True


class Direction(Scalarizer):
    """Along a direction in the space of descriptors.

    Args:
        of: (d,) its components; they need not be of length 1.
    """

    def __init__(self, of: Sequence[float]) -> None:
        self._of = _numbers(of, "a direction", 1)
        length = float(np.linalg.norm(self._of))
        if length == 0.0:
            raise ValueError("a direction of length 0 points nowhere")
        self.plain = {"direction": self._of.tolist()}
        self._of = self._of / length

    def check(self, names: Sequence[str]) -> None:
        if len(self._of) != len(names):
            raise ValueError(
                f"a direction of {len(self._of)} components; there are {len(names)} descriptors: "
                + ", ".join(names)
            )

    def __call__(self, pieces: Pieces) -> Floats:
        return np.asarray(frame_means(pieces) @ self._of)


class Point(Scalarizer):
    """How near the mean piece lies to a point in the space of descriptors.

    Minus the distance, each descriptor in its standard deviation over the field, so that what is
    nearer is told from what is farther wherever the point lies.

    Args:
        of: (m,) the first m descriptors of it; what the others are does not matter.
    """

    def __init__(self, of: Sequence[float]) -> None:
        self._of = _numbers(of, "a point", 1)
        self.plain = {"point": self._of.tolist()}
        self._scale = np.ones(len(self._of))

    def check(self, names: Sequence[str]) -> None:
        if len(self._of) > len(names):
            raise ValueError(
                f"a point of {len(self._of)} numbers; there are {len(names)} descriptors: "
                + ", ".join(names)
            )

    def fit(self, pieces: Pieces, shares: Floats) -> None:
        every, weights = _weighted(pieces, shares)
        if len(every):
            self._scale = _scale(every, weights)[: len(self._of)]

    def __call__(self, pieces: Pieces) -> Floats:
        apart = frame_means(pieces)[:, : len(self._of)] - self._of
        return np.asarray(-np.linalg.norm(apart / self._scale, axis=1))


class Region(Scalarizer):
    """The share of the pieces that lie within a polygon.

    Args:
        corners: (n, 2), at least three, in the plane of the first two descriptors.
    """

    def __init__(self, corners: Sequence[Sequence[float]]) -> None:
        self._corners = _numbers(corners, "a region", 2)
        if self._corners.shape[0] < 3 or self._corners.shape[1] != 2:
            raise ValueError(
                f"a region of shape {self._corners.shape}; it must have at least three corners of "
                "two numbers"
            )
        self.plain = {"region": self._corners.tolist()}

    def check(self, names: Sequence[str]) -> None:
        if len(names) < 2:
            raise ValueError(f"a region needs two descriptors; there is one: {', '.join(names)}")

    def __call__(self, pieces: Pieces) -> Floats:
        from matplotlib.path import Path

        polygon = Path(self._corners)
        within = (polygon.contains_points(p[:, :2]).mean() if len(p) else np.nan for p in pieces)
        return np.fromiter(within, np.float64, len(pieces))


WORDS: dict[str, type[Scalarizer]] = {
    of.plain: of for of in (Variation, Distance, Farthest, Rarity, Rarest)
}
SHAPES: dict[str, type[Direction] | type[Point] | type[Region]] = {
    "direction": Direction,
    "point": Point,
    "region": Region,
}


def scalarizer_of(plain: Any) -> Scalarizer:
    """The scalarizer that plain data names.

    Raises:
        ValueError: it names none; which names a perception's descriptors have is checked by
            ``Scalarizer.check``.
    """
    if isinstance(plain, str) and plain in WORDS:
        return WORDS[plain]()
    if not isinstance(plain, Mapping):
        return Component(plain)
    if len(plain) != 1 or next(iter(plain)) not in SHAPES:
        known = ", ".join(f"{{{s}: ...}}" for s in SHAPES)
        raise ValueError(
            f"unknown scalarizer {dict(plain)!r}; there are: {', '.join(WORDS)}, "
            f"a component, {known}"
        )
    ((shape, of),) = plain.items()
    return SHAPES[shape](of)


def frame_means(pieces: Pieces) -> Floats:
    """The mean piece (n, d) of each frame; NaN for a frame without any."""
    width = max((p.shape[1] for p in pieces), default=0)
    nothing = np.full(width, np.nan)
    means = [p[0] if len(p) == 1 else p.mean(axis=0) if len(p) else nothing for p in pieces]
    return np.array(means).reshape(len(pieces), width)


def _weighted(pieces: Pieces, shares: Floats) -> tuple[Floats, Floats]:
    """All finite pieces (n, d), each with its share of its frame's."""
    counts = np.array([len(p) for p in pieces])
    every = np.concatenate(list(pieces))
    weights = np.repeat(shares / np.maximum(counts, 1), counts)
    there = np.isfinite(every).all(axis=1)
    every, weights = every[there], weights[there]
    total = weights.sum()
    return every, weights / total if total > 0 else np.full(len(every), 1 / max(1, len(every)))


def _whitening(every: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Their mean (d,), and axes (d, a) along which they have unit variance; none where equal."""
    if not len(every):
        return np.zeros(every.shape[1]), np.zeros((every.shape[1], 0))
    middle = weights @ every
    centred = every - middle
    scale = _scale(every, weights)
    values, vectors = np.linalg.eigh((centred / scale * weights[:, None]).T @ (centred / scale))
    told = values > FINEST * max(1e-300, values.max(initial=0.0))
    return middle, (vectors[:, told] / np.sqrt(values[told])) / scale[:, None]


def _scale(every: Floats, weights: Floats) -> Floats:
    """Standard deviations (d,); infinite where nothing varies."""
    middle = weights @ every
    spread = np.sqrt(weights @ (every - middle) ** 2)
    varies = spread > FINEST * np.abs(middle)  # below it is rounding
    return np.where(varies, spread, np.inf)


def _numbers(of: Any, what: str, dimensions: int) -> Floats:
    """An array of finite numbers of so many dimensions."""
    try:
        found = np.asarray(of, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} {of!r}; it must be numbers") from error
    if found.ndim != dimensions or not found.size or not np.isfinite(found).all():
        raise ValueError(f"{what} {of!r}; it must be {dimensions}-dimensional, and finite")
    return found
