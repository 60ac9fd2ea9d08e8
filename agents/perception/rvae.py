"""rVAE perception: windows, and where each lies on a manifold that knows nothing of turns.

The unsupervised workflow of Creange et al. (2022): a frame is described by the content
latents of its windows, of a rotationally invariant variational autoencoder
(``invariant_vae``).  It is trained on the frames taken so far, a few steps after each, from
where it was; or it begins with weights that were trained beforehand.
"""

from __future__ import annotations

import base64
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.microscope import Frame
from ...simulators.specimens import specimen_of
from ..agent import Context
from . import array_files
from . import windows as cut

if TYPE_CHECKING:
    from .vae_training import Cut, Weights

Floats = NDArray[np.float64]
Patches = NDArray[np.float32]
DESCRIPTORS = ("fft", "raw")
FIRST_STEPS = 60
BATCH = 64
REACH = 2.0  # standard deviations of the prior, either way, that pictures of latents show
SHIPPED = Path(__file__).parent / "weights"
OWN = "shipped"  # weights: those in the package for the task's classes


class RvaePerception:
    """Sliding windows, a patch of each, the latents of a rotationally invariant VAE.

    A window that holds a pixel which was not scanned, or is no number, is left out; a frame
    without any window left is not described, and its target is NaN.  Latents keep their
    meaning from fit to fit, as far as training goes on from where it was.

    Args:
        descriptor: what a patch shows of its window: ``fft``, the logarithm of the paper's
            Fourier magnitude, which does not change with where a lattice lies; or ``raw``.
            In a trial on five validation specimens of each id of ``standard``, ``fft`` told
            frames with a feature from others better on three ids of four.
        window: side of a window, as a share of the frame.
        overlap: of neighbouring windows, as a share of a window.
        latents: of the content; all but angle, offset and scale.
        translation: shifts are no content either.
        scale: changes of scale are no content either.
        skip: the decoder's layers are all given the latents.
        training_steps: of Adam for each fit; the first has ``FIRST_STEPS`` and these.  0 leaves
            given weights as they are.
        weights: to begin with, trained with the same options: a safetensors file by
            ``save_weights``, the name of a specimen whose weights are in the package, or
            ``shipped``, those in the package for the task's classes. Weights of another specimen
            than the task's are a warm start like any other, and a warning says so.

    Raises:
        ValueError: no such descriptor or number; weights that are damaged, of another kind, or
            trained with other options or on patches that were cut otherwise.
    """

    name = "rvae"
    privileged = False
    pursued = "variation"

    def __init__(
        self,
        descriptor: str = "fft",
        window: float = 0.5,
        overlap: float = 0.5,
        latents: int = 2,
        translation: bool = False,
        scale: bool = False,
        skip: bool = False,
        training_steps: int = 2,
        weights: str | None = None,
    ) -> None:
        # Torch is loaded here, and not at the first decision, which is timed; and who bounds the
        # threads of all libraries can only bound those that are loaded.
        from .invariant_vae import MOST_LATENTS

        if descriptor not in DESCRIPTORS:
            known = ", ".join(DESCRIPTORS)
            raise ValueError(f"unknown descriptor {descriptor!r}; there are: {known}")
        cut.check(window, overlap)
        if not (is_number(latents, Integral) and 1 <= latents <= MOST_LATENTS):
            raise ValueError(f"{latents!r} latents; there must be 1 to {MOST_LATENTS}")
        fewest = 1 if weights is None else 0
        if not (is_number(training_steps, Integral) and training_steps >= fewest):
            raise ValueError(
                f"training_steps is {training_steps!r}; it must be an integer, at least {fewest}"
            )
        self.descriptor = descriptor
        self.window = window
        self.overlap = overlap
        self.latents = int(latents)
        self.translation, self.scale, self.skip = bool(translation), bool(scale), bool(skip)
        self.training_steps = int(training_steps)
        self.weights = weights
        self.names = tuple(f"latent {k}" for k in range(self.latents))
        self._trained = None if weights in (None, OWN) else self._loaded(weights)

    @property
    def cut(self) -> Cut:
        """How patches are cut from frames."""
        from .vae_training import Cut

        return Cut(self.descriptor, window=self.window)

    def _loaded(self, weights: Any) -> Weights:
        """What a file holds; ValueError where it does not go with the options."""
        from .invariant_vae import SIDE
        from .vae_training import load_weights

        known = _shipped()
        if not isinstance(weights, str) or (weights not in known and not Path(weights).is_file()):
            raise ValueError(
                f"no weights {weights!r}: neither a file nor shipped; "
                f"shipped are: {', '.join(known) or 'none'}"
            )
        trained = load_weights(known.get(weights, Path(weights)))
        if trained.cut != self.cut:
            raise ValueError(
                f"weights {weights}: they were trained on {trained.cut}, and {self.cut} are "
                "asked for"
            )
        network = trained.network
        asked = {
            "latents": (self.latents, network.latents),
            "translation": (self.translation, network.translation),
            "scale": (self.scale, network.scale),
            "skip": (self.skip, network.skip),
            "side": (SIDE, network.side),
        }
        for option, (wanted, found) in asked.items():
            if wanted != found:
                raise ValueError(
                    f"weights {weights}: they were trained with {option} {found}, and {wanted} is "
                    "asked for"
                )
        return trained

    def _loaded_for(self, specimen: str | None) -> Weights:
        """Those in the package for a specimen; ValueError where there are none."""
        if self._trained is not None and self._trained.specimen == specimen:
            return self._trained
        known = _shipped()
        if specimen not in known:
            of = "this task's classes" if specimen is None else f"the classes of {specimen}"
            raise ValueError(
                f"no weights are shipped for {of}; there are some for: {', '.join(known) or 'none'}"
            )
        return self._loaded(specimen)

    def reset(self, context: Context, seed: int) -> None:
        """Raises ValueError where ``shipped`` weights are asked for, and there are none."""
        from .invariant_vae import InvariantVAE
        from .vae_training import ANNEALED, Training

        specimen = specimen_of(context.class_names)
        if self.weights == OWN:
            self._trained = self._loaded_for(specimen)
        shown = None if self._trained is None else self._trained.specimen
        if None not in (shown, specimen) and shown != specimen:
            warnings.warn(
                f"weights {self.weights} were trained on {shown}, and the classes of this task are "
                f"those of {specimen}",
                stacklevel=2,
            )
        self.display = cut.Display.of(context)
        self.seed = seed % 2**32
        if self._trained is None:
            self.network = InvariantVAE(
                self.latents, self.translation, self.scale, self.skip, seed=self.seed
            )
            self._training = Training(self.network, self.seed)
        else:
            self.network = deepcopy(self._trained.network)
            self._training = Training(self.network, self.seed, done=ANNEALED)
        self._fitted = 0  # frames that the last fit had
        self._learned = False
        self._side_px = 0  # of a window

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "descriptor": self.descriptor,
            "window": self.window,
            "overlap": self.overlap,
            "latents": self.latents,
            "translation": self.translation,
            "scale": self.scale,
            "skip": self.skip,
            "training_steps": self.training_steps,
            "weights": self.weights,
        }

    def features(self, frames: Sequence[Frame]) -> list[Patches]:
        """Patches (k, 32, 32) of the k windows of each frame."""
        return [self.patches(self.display.shown(f)) for f in frames]

    def patches(self, image: Floats) -> Patches:
        """Patches (k, 32, 32) of an image (rows, columns), 0 at black and 1 at white."""
        found = cut.scanned_windows(image, self.window, self.overlap)
        self._side_px = found.shape[-1]
        if self.descriptor == "fft":
            found = np.log1p(cut.fourier_magnitude(found))
        return _resampled(np.asarray(found, dtype=np.float32))

    def fit(self, features: Sequence[Patches], shares: Floats) -> None:
        """Some steps further on the windows of all frames so far.

        Windows are drawn evenly, whatever their frames' ``shares`` are: what a search has
        found is to be told apart, too.  Of frames that it was fitted to already it learns
        nothing more.

        Args:
            features: (k, 32, 32) of each of n frames.
            shares: (n,) of the field that each frame stands for; they add up to 1.
        """
        if len(features) == self._fitted or not any(map(len, features)):
            return
        first = not self._learned and self._trained is None
        steps = self.training_steps + (FIRST_STEPS if first else 0)
        self._training.run(np.concatenate(list(features)), steps, BATCH)
        self._fitted, self._learned = len(features), True

    def describe(self, features: Sequence[Patches]) -> list[Floats]:
        """The content latents (k, latents) of the k windows of each frame."""
        if not self._learned or not any(map(len, features)):
            return [np.empty((0, self.latents)) for _ in features]
        found = self.network.content(np.concatenate(list(features))).astype(np.float64)
        return np.split(found, np.cumsum([len(f) for f in features])[:-1])

    def save(self) -> dict[str, Any]:
        """Beside plain numbers, the arrays as a safetensors file in base64."""
        arrays = array_files.to_bytes(self._training.save())
        return {
            "fitted": self._fitted,
            "learned": self._learned,
            "done": self._training.done,
            "arrays": base64.b64encode(arrays).decode(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        arrays = array_files.from_bytes(base64.b64decode(state["arrays"]), "the saved state")
        self._training.restore(arrays, state["done"])
        self._fitted, self._learned = state["fitted"], state["learned"]

    @property
    def components(self) -> Floats | None:
        """Pictures (latents, 32, 32) of what changes along each latent; None before any fit.

        The decoded picture at ``REACH`` less that at -``REACH``, the other latents at 0; for
        the pictures themselves see ``network.walk``.
        """
        if not self._learned:
            return None
        ends = REACH * np.eye(self.latents)
        shown = self.network.pictures(np.concatenate([ends, -ends])).astype(np.float64)
        return np.asarray(shown[: self.latents] - shown[self.latents :])

    def decoded(self, descriptors: Floats) -> Floats | None:
        if not self._learned:
            return None
        return self.network.pictures(descriptors).astype(np.float64)

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        """Half a window; of Fourier magnitudes, half the Nyquist frequency."""
        if self.descriptor == "raw":
            return self._side_px * pixel_nm / 2, "nm"
        return 0.25 / pixel_nm, "1/nm"


def _shipped() -> dict[str, Path]:
    """Files of weights in the package, by the specimen that they were trained on."""
    return {p.stem: p for p in sorted(SHIPPED.glob("*.safetensors"))}


def _resampled(pictures: Patches) -> Patches:
    """Pictures (k, rows, rows) of the network's size, averaged where they have more pixels."""
    from .invariant_vae import SIDE

    if pictures.shape[-1] == SIDE or not len(pictures):
        return pictures.reshape(len(pictures), SIDE, SIDE)
    import torch
    from torch.nn.functional import interpolate

    given = torch.from_numpy(pictures)[:, None]
    made = interpolate(given, (SIDE, SIDE), mode="bilinear", antialias=True)
    return np.asarray(made[:, 0].numpy())
