"""Drift, followed by the beam shift: a patch is looked at again and again, and kept in place.

The patch's image is held against its first one by cross-correlation; by what it has moved, the beam
is shifted.  So scan coordinates go on meaning the same places of the specimen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .coordinates import deflection
from .costs import CostModel
from .errors import LimitError, Unsupported
from .limits import check
from .microscope import YX, Capabilities, Frame, Limits, Microscope, ScanRequest, State

LEAST = 0.3  # correlation of the patch, moved back, with its first image: below it is not the same
F32 = NDArray[np.float32]


class DriftCorrected:
    """A microscope whose specimen stands still.

    What the patch costs is added to the frame that follows it; ``due`` tells beforehand.  States
    are told without what the beam was shifted to follow.

    Args:
        microscope: that drifts; with a beam shift.
        patch: that is looked at, in scan coordinates; it must be recognisable.
        every: frames between two looks.
        most_nm: that it may have moved between two looks; a quarter of the patch's smaller side by
            default.  Of a periodic specimen it should be less than half a period.
        margin_nm: by which the field is narrower on each side, so that frames that were shifted
            to follow stay in what the microscope can reach.

    Attributes:
        drift_yx_nm: of the specimen since the first look, as far as it is known.
        lost: looks at which the patch was not recognised; then the drift is held to be what it was.
    """

    def __init__(
        self,
        microscope: Microscope,
        patch: ScanRequest,
        every: int = 10,
        most_nm: float | None = None,
        margin_nm: float = 0.0,
    ) -> None:
        if every < 1:
            raise ValueError(f"a look every {every} frames; it must be at least 1")
        if not margin_nm >= 0:
            raise ValueError(f"a margin of {margin_nm} nm; it must be at least 0")
        self.microscope, self.patch, self.every = microscope, patch, every
        self.most_nm = min(patch.fov_yx_nm) / 4 if most_nm is None else most_nm
        self.margin_nm = margin_nm
        self.drift_yx_nm: YX = (0.0, 0.0)
        self.lost = 0
        self._limits: Limits | None = None
        self._first: F32 | None = None
        self._taken = 0
        self._rest: YX | None = None  # the beam shift without what follows

    def open(self) -> Capabilities:
        told = self.microscope.open()
        if told.limits.beam_shift_nm[1] <= 0:
            raise Unsupported(f"{told.name} has no beam shift, and cannot follow drift")
        height, width = (side - 2 * self.margin_nm for side in told.limits.field_yx_nm)
        if min(height, width) <= 0:
            raise ValueError(f"a margin of {self.margin_nm:g} nm leaves nothing of the field")
        limits = replace(told.limits, field_yx_nm=(height, width))
        # Doses are the microscope's own affair, which knows the current.
        self._limits = replace(limits, max_dose_e_per_a2=None, max_dose_rate_e_per_a2_s=None)
        return replace(told, limits=limits)

    @property
    def due(self) -> ScanRequest | None:
        """The patch, where it is looked at before the next frame."""
        return self.patch if self._taken % self.every == 0 else None

    @property
    def costs(self) -> CostModel:
        """What frames cost, as the microscope has it."""
        own: Any = self.microscope
        return getattr(own, "costs", CostModel())

    @property
    def last_exposure(self) -> Any:
        """Where electrons truly went, of a simulated microscope."""
        return getattr(self.microscope, "last_exposure", None)

    def state(self) -> State:
        return self._still(self.microscope.state())

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        """Move; the patch is another one from then on."""
        state = self.microscope.move_stage(yx_nm, timeout_s)
        self._first = None
        return self._still(state)

    def set_beam_shift(self, yx_nm: YX) -> State:
        self._rest = yx_nm
        return self._follow()

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        """Scan once; before every so many frames look at the patch."""
        if self._limits is not None:
            check(request, self._limits)
        lost = self.lost
        look = None if self.due is None else self._look(timeout_s)
        self._taken += 1
        try:
            frame = self.microscope.acquire(request, timeout_s)
        except LimitError as error:
            if max(map(abs, self.drift_yx_nm)) <= self.margin_nm:
                raise
            raise self._too_far("the margin about the field allows for", error) from error
        note = {**frame.metadata, "drift_yx_nm": list(self.drift_yx_nm)}
        if self.lost > lost:
            note["drift_lost"] = True
        frame = replace(frame, state=self._still(frame.state), metadata=note)
        if look is None:
            return frame
        both = (frame.charge_e, look.charge_e)
        charge = None if None in both else sum(c for c in both if c is not None)
        return replace(frame, charge_e=charge, time_s=frame.time_s + look.time_s)

    def blank(self, on: bool) -> State:
        return self._still(self.microscope.blank(on))

    def abort(self) -> None:
        self.microscope.abort()

    def close(self) -> None:
        self.microscope.close()

    def _look(self, timeout_s: float) -> Frame:
        """Take the patch, and shift the beam by what it has moved."""
        frame = self.microscope.acquire(self.patch, timeout_s)
        if self._first is None:
            self._first = frame.image.copy()
            self.drift_yx_nm = (0.0, 0.0)
            self._follow()
            return frame
        moved, likeness = displacement(self._first, frame.image, self._most_px())
        if likeness < LEAST:
            self.lost += 1
            return frame
        pitch = self.patch.pixel_yx_nm
        off = deflection((moved[0] * pitch[0], moved[1] * pitch[1]), self.patch.rotation_rad)
        before = self.drift_yx_nm
        self.drift_yx_nm = (before[0] + float(off[0]), before[1] + float(off[1]))
        self._follow()
        return frame

    def _most_px(self) -> float:
        return self.most_nm / min(self.patch.pixel_yx_nm)

    def _follow(self) -> State:
        if self._rest is None:
            self._rest = self.microscope.state().beam_shift_yx_nm
        wanted = tuple(r + d for r, d in zip(self._rest, self.drift_yx_nm, strict=True))
        try:
            return self._still(self.microscope.set_beam_shift((wanted[0], wanted[1])))
        except LimitError as error:
            raise self._too_far("the beam shift can follow", error) from error

    def _too_far(self, what: str, error: LimitError) -> LimitError:
        y, x = self.drift_yx_nm
        return LimitError(
            f"the specimen has drifted by ({y:.2f}, {x:.2f}) nm, further than {what}: {error}"
        )

    def _still(self, state: State) -> State:
        """A state without what the beam was shifted to follow."""
        y, x = state.beam_shift_yx_nm
        if self._rest is None:
            return state
        return replace(state, beam_shift_yx_nm=(y - self.drift_yx_nm[0], x - self.drift_yx_nm[1]))


def displacement(first: F32, now: F32, most_px: float) -> tuple[YX, float]:
    """By how many pixels (y, x) an image has moved, and how alike it is, moved back.

    Circular cross-correlation of the images under a Hann window, its maximum refined by a
    parabola along each axis.

    Args:
        first, now: (rows, columns) alike.
        most_px: the longest way that is looked for, along either axis.
    """
    window = np.outer(np.hanning(first.shape[0]), np.hanning(first.shape[1]))
    a, b = ((image - image.mean()) * window for image in (first, now))
    spectrum = np.fft.rfft2(a).conj() * np.fft.rfft2(b)
    surface = np.fft.irfft2(spectrum, s=first.shape)
    offsets = [np.fft.fftfreq(n, 1 / n) for n in first.shape]
    far = (np.abs(offsets[0]) > most_px)[:, None] | (np.abs(offsets[1]) > most_px)[None, :]
    best = np.unravel_index(np.where(far, -np.inf, surface).argmax(), surface.shape)
    moved = []
    for axis in (0, 1):
        line = surface[:, best[1]] if axis == 0 else surface[best[0], :]
        n, k = len(line), int(best[axis])
        low, top, high = line[k - 1], line[k], line[(k + 1) % n]
        curved = low - 2 * top + high
        between = 0.5 * (low - high) / curved if curved < 0 else 0.0
        moved.append(float(offsets[axis][k] + np.clip(between, -0.5, 0.5)))
    likeness = _likeness(first, now, (round(moved[0]), round(moved[1])))
    return (moved[0], moved[1]), likeness


def _likeness(first: F32, now: F32, moved: tuple[int, int]) -> float:
    """Pearson correlation of what both images show, one of them moved back."""
    rows, columns = first.shape
    dy, dx = moved
    a = first[max(0, -dy) : rows - max(0, dy), max(0, -dx) : columns - max(0, dx)]
    b = now[max(0, dy) : rows - max(0, -dy), max(0, dx) : columns - max(0, -dx)]
    if a.size < 4 or not a.std() or not b.std():
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])
