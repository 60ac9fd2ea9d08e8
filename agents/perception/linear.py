"""Linear perception: windows, what is kept of each, decomposed into a few components.

The linear workflow of Creange et al. (2022): a frame is described by how much
of each component its windows hold.  Components are fitted on the frames taken
so far and on nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.microscope import Frame
from ..agent import Context
from ..scalarizers import frame_means
from . import windows as cut
from .decompositions import (
    DECOMPOSITIONS,
    INCREMENTAL,
    MOST_ENDMEMBERS,
    POSITIVE,
    Decomposition,
    decomposition,
)

Floats = NDArray[np.float64]
SETTLED = 5  # frames from which on components keep their numbers and signs
SAME = 0.5  # cosine above which a component is one that was there before
REFLECTIONS = 12  # of the structure-factor descriptor


class LinearPerception:
    """Sliding windows, a descriptor of each, linear decomposition.

    A window that holds a pixel which was not scanned, or is no number, is left out; a frame
    without any window left is not described, and its target is NaN.  To NMF what is below
    black is black.

    Args:
        decomposition: ``pca``, ``svd``, ``nmf`` or ``ica``, as scikit-learn has them, or
            ``nfindr``: endmembers and fully constrained abundances.
        n_components: how many.  Where there are fewer samples, or values in each, the last ones
            are not there yet: frames hold 0 of them, and their pictures are blank.
        window: side of a window, as a share of the frame.
        overlap: of neighbouring windows, as a share of a window; the paper's 0.75.
        descriptor: ``fft``, the paper's Fourier magnitude; ``raw``, the pixels; ``radial``,
            the power spectrum by spatial frequency alone; ``structure``, the magnitudes of
            the strongest reflections.
        zoom: of ``fft``: the paper enlarges the cropped spectrum twice.
        incremental: of ``pca`` and ``nmf``: learn from new frames alone, by scikit-learn's
            incremental forms, rather than from all anew.

    Raises:
        ValueError: no such decomposition, descriptor or number.
    """

    name = "linear"
    privileged = False
    pursued = "variation"

    def __init__(
        self,
        decomposition: str = "pca",
        n_components: int = 4,
        window: float = 0.5,
        overlap: float = 0.75,
        descriptor: str = "fft",
        zoom: int = 1,
        incremental: bool = False,
    ) -> None:
        if decomposition not in DECOMPOSITIONS:
            known = ", ".join(DECOMPOSITIONS)
            raise ValueError(f"unknown decomposition {decomposition!r}; there are: {known}")
        if descriptor not in cut.DESCRIPTORS:
            known = ", ".join(cut.DESCRIPTORS)
            raise ValueError(f"unknown descriptor {descriptor!r}; there are: {known}")
        if not (is_number(n_components, Integral) and n_components >= 1):
            raise ValueError(f"{n_components} components; there must be at least 1")
        if decomposition == "nfindr" and n_components > MOST_ENDMEMBERS:
            raise ValueError(f"{n_components} endmembers; there may be {MOST_ENDMEMBERS}")
        cut.check(window, overlap)
        if not (is_number(zoom, Integral) and zoom >= 1):
            raise ValueError(f"zoom {zoom!r}; it must be an integer, at least 1")
        if zoom != 1 and descriptor != "fft":
            raise ValueError(f"zoom {zoom} of {descriptor}; only the descriptor fft is zoomed")
        if not isinstance(incremental, bool):
            raise ValueError(f"incremental {incremental!r}; it must be true or false")
        if incremental and decomposition not in INCREMENTAL:
            raise ValueError(
                f"{decomposition} is not incremental; these are: {', '.join(INCREMENTAL)}"
            )
        self.decomposition = decomposition
        self.n_components = int(n_components)
        self.window = window
        self.overlap = overlap
        self.descriptor = descriptor
        self.zoom = int(zoom)
        self.incremental = incremental
        self.names = tuple(f"component {k}" for k in range(n_components))

    def reset(self, context: Context, seed: int) -> None:
        self.display = cut.Display.of(context)
        self.seed = seed % 2**32
        self.model: Decomposition | None = None
        self._before: Floats | None = None  # components of the last fit, once they are settled
        self._steps: list[int] = []  # after so many frames each an incremental model has learned
        self._again: list[int] = []  # such steps of a run that goes on
        self._sign = np.ones(0)
        self._order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self._reflections: NDArray[np.int64] | None = None

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "decomposition": self.decomposition,
            "n_components": self.n_components,
            "window": self.window,
            "overlap": self.overlap,
            "descriptor": self.descriptor,
            "zoom": self.zoom,
            "incremental": self.incremental,
        }

    def features(self, frames: Sequence[Frame]) -> list[Floats]:
        """What is kept of the k windows of each frame, (k, ...)."""
        return [self.described(self.display.shown(f)) for f in frames]

    def described(self, image: Floats) -> Floats:
        """What is kept of an image (rows, columns), 0 at black and 1 at white."""
        found = cut.scanned_windows(image, self.window, self.overlap)
        if self.descriptor == "raw":
            return np.array(found)
        if self.descriptor == "radial":
            return cut.radial_power(found)
        if self.descriptor == "structure":
            return cut.magnitude(found)
        return cut.fourier_magnitude(found, self.zoom)

    def fit(self, features: Sequence[Floats], shares: Floats) -> None:
        """Learn the components from all windows seen so far.

        Until ``SETTLED`` frames are there, components are put in the order of the
        variance that they have over the field, and signed so that their longer
        tail there is positive: what is rare is what is looked for.  From then on
        each keeps its number and its sign from fit to fit, as long as it is
        recognised, so that a person's choice stays what it was.  ``shares`` makes up for
        a search that has looked mostly where it found something.

        Args:
            features: (k, ...) of each of n frames.
            shares: (n,) of the field that each frame stands for; they add up to 1.
        """
        there = [k for k, f in enumerate(features) if len(f)]
        if not there:
            return
        if self.descriptor == "structure" and self._before is None:
            self._find_reflections(features)
        samples = self._samples(features)
        self._learn(features, samples)
        assert self.model is not None
        scores = np.split(self.model.transform(samples), np.cumsum([len(f) for f in features])[:-1])
        means, weights = frame_means(scores)[there], shares[there]
        weights = (
            weights / weights.sum() if weights.sum() > 0 else np.full(len(there), 1 / len(there))
        )
        centred = means - weights @ means
        variance = weights @ centred**2
        skew = weights @ centred**3
        self._order = np.argsort(-variance, kind="stable")
        self._sign = np.where(skew < 0, -1.0, 1.0)
        if self._before is not None and len(self._before) == len(self._order):
            self._recognise(self._before)
        if self.decomposition in POSITIVE:
            self._sign = np.ones(len(self._order))
        if len(there) >= SETTLED:
            self._before = (self.model.patterns * self._sign[:, None])[self._order]

    def _learn(self, features: Sequence[Floats], samples: Floats) -> None:
        """Fit the model, anew or further."""
        if self._again:
            first, *rest = self._again
            self._again = []
            self._learn(features[:first], self._samples(features[:first]))
            for upto in rest:
                self._learn(features[:upto], samples)
        if self._steps and self.model is not None:
            new = features[self._steps[-1] :]
            # What is too little for a step waits for the next one.
            if sum(map(len, new)) >= self.n_components:
                self.model.fit(self._samples(new))
                self._steps.append(len(features))
            return
        count = min(self.n_components, *samples.shape)
        # Of samples that do not vary independent components are not defined, and of one sample
        # principal ones neither.
        same = np.ptp(samples, axis=0).max() == 0
        name = self.decomposition if not same else "pca" if len(samples) > 1 else "svd"
        incremental = self.incremental and count == self.n_components and not same
        self.model = decomposition(name, count, self.seed, incremental)
        self.model.fit(samples)
        self._steps = [len(features)] if incremental else []

    def _find_reflections(self, features: Sequence[Floats]) -> None:
        power = np.mean([(f**2).mean(axis=0) for f in features if len(f)], axis=0)
        found = cut.reflections(power, REFLECTIONS)
        middle = np.array(power.shape)[None] // 2  # where there is no contrast, there is none
        self._reflections = found if len(found) else middle

    def _samples(self, features: Sequence[Floats]) -> Floats:
        """All windows, (n, m)."""
        every = np.concatenate(list(features))
        self.shape = every.shape[1:]
        if self._reflections is not None:
            every = cut.structure_factors(every, self._reflections)
        samples = every.reshape(len(every), -1)
        return np.maximum(samples, 0.0) if self.decomposition == "nmf" else samples

    def _recognise(self, before: Floats) -> None:
        """Give the components the numbers and signs that they had."""
        from scipy.optimize import linear_sum_assignment

        assert self.model is not None
        now = self.model.patterns
        if self.decomposition in POSITIVE:  # all are alike in what all samples have in common
            before, now = before - before.mean(axis=0), now - now.mean(axis=0)
        lengths = np.linalg.norm(before, axis=1)[:, None] * np.linalg.norm(now, axis=1)
        cosine = before @ now.T / np.maximum(lengths, 1e-300)
        likeness = cosine if self.decomposition in POSITIVE else np.abs(cosine)
        _, self._order = linear_sum_assignment(-likeness)
        for old, new in enumerate(self._order):
            if abs(cosine[old, new]) > SAME:
                self._sign[new] = np.sign(cosine[old, new])

    def describe(self, features: Sequence[Floats]) -> list[Floats]:
        """How much of each component (k, n_components) the k windows of each frame hold."""
        if self.model is None or not any(map(len, features)):  # no window was left
            return [np.empty((0, self.n_components)) for _ in features]
        samples = self._samples(features)
        scores = np.zeros((len(samples), self.n_components))  # 0 of what is not there yet
        found = self.model.transform(samples) * self._sign
        scores[:, : len(self._order)] = found[:, self._order]
        return np.split(scores, np.cumsum([len(f) for f in features])[:-1])

    def save(self) -> dict[str, Any]:
        found = self._reflections
        return {
            "before": None if self._before is None else self._before.tolist(),
            "steps": self._steps,
            "reflections": None if found is None else found.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        before, found = state["before"], state["reflections"]
        self._before = None if before is None else np.array(before)
        self._again = list(state["steps"])
        self._reflections = None if found is None else np.array(found)

    @property
    def components(self) -> Floats | None:
        """Pictures (n_components, rows, columns) of what is kept; None before the first fit."""
        if self.model is None:
            return None
        patterns = self.model.patterns * self._sign[:, None]
        signed = np.zeros((self.n_components, patterns.shape[1]))
        signed[: len(patterns)] = patterns[self._order]
        if self._reflections is not None or self.descriptor == "radial":
            return signed[:, None]
        return signed.reshape(-1, *self.shape)

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        """The cropped spectrum ends at half the Nyquist frequency."""
        if self.descriptor == "raw":
            return self.shape[0] * pixel_nm / 2, "nm"
        return 0.25 / pixel_nm, "1/nm"
