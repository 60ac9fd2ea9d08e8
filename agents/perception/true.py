"""True perception: what a frame shows, without error.

A bound, not a competitor: beside it, what is left to gain is a matter of navigation
alone.  It goes by where the instrument says its frames lie, as every perception does,
so that drift misleads it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...envs import seen
from ...hardware.coordinates import pixel_from_specimen, shift_of
from ...hardware.costs import ELECTRONS_PER_PA_US
from ...hardware.microscope import Frame, ScanRequest
from ...simulators.exposure import Exposure
from ..agent import Context, Finding
from .dcnn.legend import Truth
from .sightings import BLOCKS, FINER, Layers, Pieces, pieces

Floats = NDArray[np.float64]


class TruePerception:
    """Tells, of every frame, which features it shows.

    Its descriptors are the share of the recall that a frame shows, and the number
    of features of each class; a feature of which a part is shown counts as much.
    It claims what the frames so far have shown with the dose that it needs
    (``envs/seen.py``).
    """

    name = "true"
    privileged = True
    pursued = "recall"
    names: tuple[str, ...] = ()
    components = None

    def reset(self, context: Context, seed: int) -> None:
        """Raises ValueError where nobody knows the truth."""
        if context.truth is None:
            raise ValueError(
                "true perception needs the truth, and this microscope has none to tell"
            )
        self.truth = context.truth
        self.names = ("recall", *(c.name for c in self.truth.classes))
        self.current_pa = context.beam_current_pa or 0.0
        self.wanted = seen.targets(self.truth, context.reference.side_nm)
        count = np.isfinite(self.wanted.points_yx_nm).all(axis=2).sum(axis=1)
        self._each = 1.0 / np.maximum(count, 1)
        self._of_class = np.eye(len(self.truth.classes))[self.truth.feature_class]
        self._tally = seen.Tally(self.wanted)
        self._located: tuple[Layers, Truth, Pieces] | None = None  # for sightings, if asked
        self._taken = 0
        self._claims: list[Finding] = []

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    def features(self, frames: Sequence[Frame]) -> Floats:
        """Descriptors (n, 1 + classes): share of the recall, features of each class."""
        shown = np.array([self._shown(f) for f in frames]).reshape(len(frames), -1)
        return np.column_stack([shown @ self.wanted.weight, shown @ self._of_class])

    def sightings(self, frames: Sequence[Frame]) -> NDArray[np.float32]:
        """What is where in each frame (``perception/sightings.py``)."""
        if self._located is None:
            self._located = (Layers.of(self.truth.name), Truth.of(self.truth), pieces(self.truth))
        layers, truth, (yx, feature, amount) = self._located
        told = np.zeros((len(frames), len(layers.names), BLOCKS, BLOCKS), dtype=np.float32)
        for out, frame in zip(told, frames, strict=True):
            shape = frame.request.shape_yx
            px = (pixel_from_specimen(frame, yx) + 0.5) * BLOCKS / np.asarray(shape)
            block = np.floor(px).astype(np.int64)
            here = ((block >= 0) & (block < BLOCKS)).all(axis=1)
            row, column = block[here].T
            np.add.at(out, (self.truth.feature_class[feature[here]], row, column), amount[here])
            coarse = (BLOCKS * FINER, BLOCKS * FINER)
            at = frame.region
            look = ScanRequest(at.centre_yx_nm, at.fov_yx_nm, coarse, 1.0, at.rotation_rad)
            covered = truth.covered(look, coarse, layers.areas)
            by_block = covered.reshape(-1, BLOCKS, FINER, BLOCKS, FINER).mean(axis=(2, 4))
            out[len(layers.classes) :] = by_block
        return told

    def fit(self, features: Sequence[Floats], shares: Floats) -> None:
        """There is nothing to learn."""

    def describe(self, features: Sequence[Floats]) -> list[Floats]:
        return [f[None] for f in features]

    def save(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """The frames tell everything."""

    def reach(self, pixel_nm: float) -> tuple[float, str]:
        return 1.0, ""

    def findings(self, frames: Sequence[Frame]) -> list[Finding]:
        """Each feature once, in the frame that completed it."""
        for index, frame in enumerate(frames[self._taken :], start=self._taken):
            before = self._tally.seen.copy()
            self._tally.add(self._exposure(frame))
            new = np.flatnonzero(self._tally.seen & ~before)
            self._claims += [self._finding(int(k), index, frame) for k in new]
        self._taken = len(frames)
        return list(self._claims)

    def _shown(self, frame: Frame) -> Floats:
        """Which part (m,) of each feature lies in a frame that is fine enough for it."""
        exposure = self._exposure(frame)
        near = exposure.may_cover(*self.wanted.bounds_yx_nm)
        near &= exposure.pixel_nm <= self.wanted.max_pixel_nm * (1 + seen.ROUNDING)
        part = np.zeros(len(near))
        covered = exposure.covers(self.wanted.points_yx_nm[near])
        part[near] = covered.sum(axis=1) * self._each[near]
        return part

    def _exposure(self, frame: Frame) -> Exposure:
        """Where a frame lies, as the instrument reports it."""
        shift = shift_of(frame.state)
        pitch = frame.request.pixel_yx_nm
        electrons = self.current_pa * ELECTRONS_PER_PA_US * frame.request.dwell_us
        dose = electrons / (pitch[0] * pitch[1] * 100.0)
        return Exposure(frame.region, (float(shift[0]), float(shift[1])), max(pitch), dose)

    def _finding(self, feature: int, index: int, frame: Frame) -> Finding:
        """A point, the two ends of a segment, or the corners of a cell."""
        of = self.truth.classes[self.truth.feature_class[feature]]
        yx, angle = self.truth.feature_yx_nm[feature], self.truth.feature_angle_rad[feature]
        half = of.size_nm / 2
        if of.shape == "point":
            outline = np.zeros((1, 2))
        elif of.shape == "segment":
            outline = np.outer([-half, half], [np.sin(angle), np.cos(angle)])
        else:
            outline = np.array([[-half, -half], [-half, half], [half, half], [half, -half]])
        return Finding(index, pixel_from_specimen(frame, yx + outline), of.name, 1.0)
