"""Atoms found by a segmentation network, and where the surroundings of each lie on a manifold.

The paper's third workflow (Creange et al. 2022), as far as it was published: a network finds the
atoms, and a rotationally invariant VAE is trained on patches that are centred on them, so
that what it tells apart are surroundings, and neither how they are turned nor where the window
happened to lie.  Its notebook is not public in full; this is a reconstruction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...envs.numbers import is_number
from ...hardware.microscope import Frame
from ..agent import ClassMap, Context
from .dcnn.claims import columns
from .dcnn.perception import check_classes, network_for
from .dcnn.segmenter import Segmentation, Segmenter
from .rvae import Patches, RvaePerception

if TYPE_CHECKING:
    from .vae_training import Cut

Floats = NDArray[np.float64]
AROUND_NM = 0.3  # half the side of a patch: the first and second neighbours of most atoms
TAIL_PX = 2  # beyond a patch; pixels farther away change what is splined in it by 1 % or less
MOST = 40  # atoms of a frame; more are thinned out evenly, lest a dense frame weigh more


class DcnnRvaePerception(RvaePerception):
    """A network's columns, a patch about each, the latents of a rotationally invariant VAE.

    A column nearer than a patch reaches to the frame's border, or to a pixel that was not scanned
    or is no number, has no patch.  A frame without any patch is not described, and its target
    is NaN.

    Args:
        network: as of ``DcnnPerception``.
        around_nm: half the side of a patch.
        kinds: of the columns that have patches, one or several of the network's; all by default.
        options: of ``RvaePerception``, but for ``window``, ``overlap`` and ``descriptor``: patches
            are pixels.  The weights in the package are of windows, and so are none for it.

    Raises:
        ValueError: no such weights, kinds or numbers, or options of windows.
    """

    name = "dcnn-rvae"

    def __init__(
        self,
        network: str | None = None,
        around_nm: float = AROUND_NM,
        kinds: str | Sequence[str] | None = None,
        latents: int = 2,
        translation: bool = False,
        scale: bool = False,
        skip: bool = False,
        training_steps: int = 2,
        weights: str | None = None,
    ) -> None:
        if not (is_number(around_nm) and 0 < around_nm < np.inf):
            raise ValueError(f"around_nm is {around_nm!r}; it must be above 0 and finite")
        self.around_nm = float(around_nm)  # which weights are held against
        super().__init__(
            descriptor="raw",
            latents=latents,
            translation=translation,
            scale=scale,
            skip=skip,
            training_steps=training_steps,
            weights=weights,
        )
        self.network_name = network
        self.kinds = (kinds,) if isinstance(kinds, str) else None if kinds is None else tuple(kinds)
        self.segmenter = None if network is None else Segmenter(network)
        self._check_kinds()

    @property
    def cut(self) -> Cut:
        from .vae_training import Cut

        return Cut("raw", around_nm=self.around_nm)

    def reset(self, context: Context, seed: int) -> None:
        super().reset(context, seed)
        if self.network_name is None:
            self.segmenter = network_for(context.class_names, self.segmenter)
            self._check_kinds()
        assert self.segmenter is not None
        check_classes(self.segmenter, context.class_names)
        self._looked: tuple[Frame, Segmentation] | None = None  # the latest

    def _check_kinds(self) -> None:
        if self.segmenter is None:
            return
        known = self.segmenter.legend.kinds
        unknown = [k for k in self.kinds or () if k not in known]
        if unknown or not known:
            raise ValueError(
                f"columns {', '.join(unknown) or 'of any kind'}; the network for "
                f"{self.segmenter.specimen} finds: {', '.join(known) or 'none'}"
            )

    @property
    def settings(self) -> dict[str, Any]:
        plain = {
            k: v
            for k, v in super().settings.items()
            if k not in ("descriptor", "window", "overlap")
        }
        kinds = None if self.kinds is None else list(self.kinds)
        return {
            "network": self.network_name,
            "around_nm": self.around_nm,
            "kinds": kinds,
            **plain,
        }

    def features(self, frames: Sequence[Frame]) -> list[Patches]:
        """Patches (k, 32, 32) about the k columns of each frame."""
        return [self._about_columns(f) for f in frames]

    def _about_columns(self, frame: Frame) -> Patches:
        from .invariant_vae import SIDE

        assert self.segmenter is not None
        image = self.display.shown(frame)[: frame.valid_rows]
        pixel = np.asarray(frame.request.pixel_yx_nm)
        nothing = np.empty((0, SIDE, SIDE), dtype=np.float32)
        there = np.isfinite(image)
        if not there.any() or not self.segmenter.takes(image.shape, frame.request.pixel_yx_nm):
            return nothing
        if np.min(np.asarray(image.shape) * pixel) < 2 * self.around_nm:
            return nothing
        seen = self.segmenter.look(image, frame.request.pixel_yx_nm)
        self._looked = (frame, seen)
        at = self._columns(seen)
        reach = self.around_nm / pixel
        inside = (at >= reach - 0.5) & (at <= np.asarray(image.shape) - 0.5 - reach)
        at = at[inside.all(axis=1)]
        if not there.all():
            at = at[~_touching(~there, at, reach)]
            # A spline through pixels that are no numbers has none anywhere.
            image = np.where(there, image, np.median(image[there]))
        if not len(at):
            return nothing
        return cut_about(image, at[:: -(-len(at) // MOST)], reach, SIDE)

    def _columns(self, seen: Segmentation) -> Floats:
        """Where columns are (n, 2), in the image's pixels, row by row."""
        kinds = self.kinds or seen.legend.kinds
        found = columns(seen)
        at = np.concatenate([seen.image_px(found[k].yx_px) for k in kinds])
        return np.asarray(at[np.lexsort((at[:, 1], at[:, 0]))])

    def segmented(self, frame: Frame) -> ClassMap | None:
        if self._looked is None or self._looked[0] is not frame:
            return None
        return self._looked[1].class_map

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        return self.around_nm, "nm"


def _touching(gone: NDArray[np.bool_], at_px: Floats, reach_px: Floats) -> NDArray[np.bool_]:
    """Which patches (n,) hold pixels (rows, columns) that are gone, or are splined from such."""
    low = np.maximum(np.floor(at_px - reach_px).astype(int) - TAIL_PX, 0)
    high = np.ceil(at_px + reach_px).astype(int) + TAIL_PX + 1
    boxes = zip(*low.T, *high.T, strict=True)
    return np.array([gone[a:c, b:d].any() for a, b, c, d in boxes], dtype=np.bool_)


def cut_about(image: Floats, at_px: Floats, reach_px: Floats, side: int) -> Patches:
    """Patches (n, side, side) of an image about places (n, 2), cubic between its pixels.

    Args:
        image: (rows, columns).
        at_px: (n, 2).
        reach_px: (2,) half a patch along rows and columns.
        side: pixels of a patch.
    """
    from scipy.ndimage import map_coordinates

    steps = (np.arange(side) + 0.5) / side * 2 - 1
    rows = at_px[:, 0, None, None] + reach_px[0] * steps[None, :, None]
    columns_ = at_px[:, 1, None, None] + reach_px[1] * steps[None, None, :]
    shape = (len(at_px), side, side)
    at = np.stack([np.broadcast_to(rows, shape), np.broadcast_to(columns_, shape)])
    return np.asarray(map_coordinates(image, at, order=3, mode="nearest"), dtype=np.float32)
