"""Linear perception: windowed Fourier magnitudes, decomposed into a few components.

The linear workflow of Creange et al. (2022): a frame is described by how much
of each component its windows hold.  Components are fitted on the frames taken
so far and on nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.microscope import Frame
from ..agent import Context
from .windows import fourier_magnitude, windows

Floats = NDArray[np.float64]
DECOMPOSITIONS = ("pca", "svd", "nmf", "ica")
SETTLED = 5  # frames from which on components keep their numbers and signs
SAME = 0.5  # cosine above which a component is one that was there before


class LinearPerception:
    """Sliding windows, Fourier magnitude, linear decomposition.

    Args:
        decomposition: ``pca``, ``svd``, ``nmf`` or ``ica``, as scikit-learn has them.
        n_components: how many; fewer where there are fewer samples.
        window: side of a window, as a share of the frame.
        overlap: of neighbouring windows, as a share of a window; the paper's 0.75.
    """

    name = "linear"
    privileged = False

    def __init__(
        self,
        decomposition: str = "pca",
        n_components: int = 4,
        window: float = 0.5,
        overlap: float = 0.75,
    ) -> None:
        if decomposition not in DECOMPOSITIONS:
            known = ", ".join(DECOMPOSITIONS)
            raise ValueError(f"unknown decomposition {decomposition!r}; there are: {known}")
        if not (is_number(n_components, Integral) and n_components >= 1):
            raise ValueError(f"{n_components} components; there must be at least 1")
        if not (0 < window <= 1 and 0 <= overlap < 1):
            raise ValueError(
                f"window {window} and overlap {overlap}; they must lie in (0, 1] and [0, 1)"
            )
        self.decomposition = decomposition
        self.n_components = n_components
        self.window = window
        self.overlap = overlap

    def reset(self, context: Context, seed: int) -> None:
        self.full_scale = context.full_scale
        self.seed = seed % 2**32
        self.model: Any = None
        self.largest = 0
        self.rare = 1.0
        self._settled = False
        self._sign = np.ones(0)
        self._order: NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "decomposition": self.decomposition,
            "n_components": self.n_components,
            "window": self.window,
            "overlap": self.overlap,
        }

    def features(self, frames: Sequence[Frame]) -> Floats:
        """Fourier magnitudes (n, k, s, s) of the k windows of each of n frames."""
        black, white = self.full_scale[frames[0].request.detectors[0]]
        images = np.array([f.image for f in frames], dtype=np.float64)
        return self.magnitudes((images - black) / (white - black))

    def magnitudes(self, images: Floats) -> Floats:
        """The same of images (n, rows, columns), 0 at black and 1 at white."""
        side = max(4, round(self.window * min(images.shape[1:])))
        side += side % 2
        side = min(side, min(images.shape[1:]))
        step = max(1, round(side * (1 - self.overlap)))
        return fourier_magnitude(windows(images, side, step))

    def fit(self, features: Floats, shares: Floats) -> None:
        """Learn the components from all windows seen so far.

        Until ``SETTLED`` frames are there, components are put in the order of the
        variance that they have over the field, and signed so that their longer
        tail there is positive: what is rare is what is looked for.  From then on
        each keeps its number and its sign from fit to fit, as long as it is
        recognised, so that a person's choice stays what it was; ``largest`` and
        ``rare`` say which varies most, and on which side its longer tail is, by
        what is known now.  ``shares`` makes up for a search that has looked mostly
        where it found something.

        Args:
            features: (n, k, s, s) of n frames.
            shares: (n,) of the field that each frame stands for; they add up to 1.
        """
        samples = features.reshape(-1, features.shape[-2] * features.shape[-1])
        count = min(self.n_components, *samples.shape)
        self.shape = features.shape[-2:]
        # Independent components of samples that do not vary are not defined.
        name = "pca" if np.ptp(samples, axis=0).max() == 0 else self.decomposition
        before = self.components if self._settled else None
        self.model = _model(name, count, self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an unconverged fit is refitted one frame later
            scores = np.asarray(self.model.fit_transform(samples), dtype=np.float64)
        self._patterns = self.model.mixing_.T if name == "ica" else self.model.components_
        length = np.linalg.norm(self._patterns, axis=1)
        frames = (scores * length).reshape(len(features), -1, count).mean(axis=1)
        centred = frames - shares @ frames
        variance = shares @ centred**2
        skew = (shares @ centred**3) / np.maximum(variance, 1e-100) ** 1.5
        self._order = np.argsort(-variance, kind="stable")
        self._sign = np.where(skew < 0, -1.0, 1.0)
        if before is not None and len(before) == count:
            self._recognise(before.reshape(count, -1))
        if self.decomposition == "nmf":
            self._sign = np.ones(count)
            skew = np.ones(count)
        self.largest = int(variance[self._order].argmax())
        tail = (self._sign * skew)[self._order[self.largest]]
        self.rare = -1.0 if tail < 0 else 1.0
        self._settled = len(features) >= SETTLED

    def _recognise(self, before: Floats) -> None:
        """Give the components the numbers and signs that they had."""
        from scipy.optimize import linear_sum_assignment

        lengths = np.linalg.norm(before, axis=1)[:, None] * np.linalg.norm(self._patterns, axis=1)
        cosine = before @ self._patterns.T / np.maximum(lengths, 1e-300)
        _, self._order = linear_sum_assignment(-np.abs(cosine))
        for old, new in enumerate(self._order):
            if abs(cosine[old, new]) > SAME:
                self._sign[new] = np.sign(cosine[old, new])

    def describe(self, features: Floats) -> Floats:
        """How much of each component (n, components) the frames (n, k, s, s) hold."""
        samples = features.reshape(-1, features.shape[-2] * features.shape[-1])
        scores = np.asarray(self.model.transform(samples), dtype=np.float64) * self._sign
        frames = scores.reshape(*features.shape[:2], -1).mean(axis=1)
        return np.asarray(frames[:, self._order])

    @property
    def components(self) -> Floats | None:
        """Pictures (components, s, s) in Fourier space; None before the first fit."""
        if self.model is None:
            return None
        signed = self._patterns * self._sign[:, None]
        return np.asarray(signed[self._order].reshape(-1, *self.shape))

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        """The cropped spectrum ends at half the Nyquist frequency."""
        return 0.25 / pixel_nm, "1/nm"


def _model(name: str, count: int, seed: int) -> Any:
    from sklearn import decomposition

    if name == "pca":
        return decomposition.PCA(count, svd_solver="full")
    if name == "svd":
        return decomposition.TruncatedSVD(count, random_state=seed)
    if name == "nmf":
        return decomposition.NMF(count, init="nndsvda", random_state=seed, max_iter=300)
    return decomposition.FastICA(count, whiten="unit-variance", random_state=seed, max_iter=400)
