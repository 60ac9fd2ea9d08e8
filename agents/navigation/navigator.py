"""What navigators share: candidates, what they decide upon, what they decide, the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...hardware.microscope import YX, Frame, ScanRequest, State
from ..agent import Context, FieldMap, Needs, Rectangle

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
PITCH = 0.5  # candidates lie half a frame apart
TIE = 1e-9  # of the range of values: what is nearer to the greatest is as great
EQUAL = 1e-12  # of the largest target: what varies less, varies by rounding
INSIDE_NM = 1e-6  # rounding; a frame's middle that is further out is out of the field
LARGEST = 1e100  # of a target: what is larger cannot be squared, and is no reading


@dataclass(frozen=True, eq=False)
class Situation:
    """What a navigator decides upon.

    Of the frames so far, those of the reference frame's scale have a target; a wide one
    measures no candidate, and is found in ``frames`` alone.

    Attributes:
        measured_yx_nm: (k, 2) centres of the frames of that scale, in their order.
        targets: (k,) their targets by what is known now, larger is better; NaN where
            there are none.  Infinite ones, and those beyond 1e100, are taken for none.
        dose: (k,) of each frame, that of a reference frame being 1; the variance of a
            target's noise is inverse to it.
        left: frames that the budget still pays for, this one included.
        forbidden: rectangles that no frame may touch.
        descriptors: (k, d) of these frames; None where nobody describes them.
        sightings: (k, layers, BLOCKS, BLOCKS) of these frames (``perception/sightings.py``);
            None where nobody asks for them.
        frames: all that were taken, of whatever scale, in their order.
    """

    measured_yx_nm: Floats
    targets: Floats
    dose: Floats
    left: int
    forbidden: Sequence[Rectangle] = ()
    descriptors: Floats | None = None
    sightings: NDArray[np.float32] | None = None
    frames: Sequence[Frame] = ()

    @property
    def state(self) -> State | None:
        """Of the instrument at the latest frame, on which hangs where scan coordinates lie."""
        return self.frames[-1].state if self.frames else None

    @property
    def known(self) -> Bools:
        """Frames (k,) that have a target."""
        return np.asarray(np.abs(self.targets) <= LARGEST)


@dataclass(frozen=True, eq=False)
class Candidates:
    """Frames to choose from, on a lattice.

    Attributes:
        centres_yx_nm: (n, 2) in raster order.
        shape: rows and columns of the lattice.
    """

    centres_yx_nm: Floats
    shape: tuple[int, int]

    @property
    def axes_nm(self) -> tuple[Floats, Floats]:
        """The positions of the rows and of the columns."""
        return self.centres_yx_nm[:: self.shape[1], 0], self.centres_yx_nm[: self.shape[1], 1]

    @classmethod
    def of(cls, context: Context, pitch: float = PITCH) -> Candidates:
        return cls(*context.reference.lattice(context.field_yx_nm, pitch))

    def field_map(self, values: Floats, unit: str) -> FieldMap:
        """One value for each candidate, as a map."""
        return FieldMap(values.reshape(self.shape), *self.axes_nm, unit)

    def nearest(self, yx_nm: Floats) -> NDArray[np.int64]:
        """Index of the candidate nearest to each of (k, 2) points."""
        y, x = self.axes_nm
        row = np.abs(yx_nm[:, :1] - y[None]).argmin(axis=1)
        column = np.abs(yx_nm[:, 1:] - x[None]).argmin(axis=1)
        return np.asarray(row * self.shape[1] + column)

    def allowed(self, context: Context, situation: Situation) -> Bools:
        """Those (n,) whose reference frames touch no forbidden rectangle."""
        return allowed(self.centres_yx_nm, context, situation.forbidden)

    def shares(self, yx_nm: Floats) -> Floats:
        """The share (k,) of the field that is nearest to each of (k, 2) points."""
        from scipy.spatial import cKDTree

        _, nearest = cKDTree(yx_nm).query(self.centres_yx_nm)
        return np.asarray(np.bincount(nearest, minlength=len(yx_nm)) / len(nearest))

    def free(self, context: Context, situation: Situation) -> Bools:
        """Those (n,) that are neither forbidden nor nearest to a frame that was taken.

        A frame that has left the field, because the stage has moved, takes none of them.
        """
        free = self.allowed(context, situation)
        measured = situation.measured_yx_nm
        if len(measured):
            free[self.nearest(measured[inside_field(context, measured)])] = False
        return free


def inside_field(context: Context, measured_yx_nm: Floats) -> Bools:
    """Which of the frames about (k, 2) lie in the field: the stage may have moved them out."""
    half = np.asarray(context.reference.half_range_yx_nm(context.field_yx_nm))
    return np.asarray((np.abs(measured_yx_nm) <= half + INSIDE_NM).all(axis=1))


def allowed(
    centres_yx_nm: Floats,
    context: Context,
    forbidden: Sequence[Rectangle],
    fov_yx_nm: YX | None = None,
) -> Bools:
    """Which of (n, 2) centres have frames, reference frames by default, that touch no rectangle."""
    half = np.asarray(fov_yx_nm or context.reference.fov_yx_nm) / 2
    free = np.ones(len(centres_yx_nm), dtype=bool)
    for rectangle in forbidden:
        low, high = np.min(rectangle, axis=0), np.max(rectangle, axis=0)
        free &= ~((centres_yx_nm - half < high) & (centres_yx_nm + half > low)).all(axis=1)
    return free


def standardised(targets: Floats) -> tuple[Floats, float, float] | None:
    """Targets (n,) of mean 0 and deviation 1, and their own two; None where all are equal."""
    if len(targets) < 2:
        return None
    top = float(np.abs(targets).max()) or 1.0  # units must not matter
    middle, scale = float(np.mean(targets / top)), float(np.std(targets / top))
    if scale < EQUAL:
        return None
    return (targets / top - middle) / scale, middle * top, scale * top


def greatest(values: Floats, free: Bools) -> int:
    """The first of the free candidates whose value is as great as any, but for rounding."""
    there = np.flatnonzero(free)
    of = values[there]
    top, least = of.max(), of.min()
    close = TIE * (top - least) if np.isfinite([top, least]).all() else 0.0
    return int(there[(of >= top - close).argmax()])


@dataclass(frozen=True, eq=False)
class Decision:
    """What is scanned next, why, and what is believed.

    Attributes:
        requests: one frame, or a batch of them in the order in which they are taken.
        reason: one plain sentence without its subject.
        maps: beliefs, one value for each candidate, with their units; NaN where
            a candidate was out of the question.
    """

    requests: tuple[ScanRequest, ...]
    reason: str
    maps: Mapping[str, tuple[Floats, str]] = field(default_factory=dict)

    @classmethod
    def at(
        cls,
        context: Context,
        centres_yx_nm: Floats,
        reason: str,
        maps: Mapping[str, tuple[Floats, str]] | None = None,
    ) -> Decision:
        """Reference frames at (q, 2) centres, or at one."""
        frames = [context.reference.at((y, x)) for y, x in np.atleast_2d(centres_yx_nm).tolist()]
        return cls(tuple(frames), reason, maps or {})

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON holds it; NaN as None."""
        maps = {
            name: [[None if np.isnan(v) else v for v in values.tolist()], unit]
            for name, (values, unit) in self.maps.items()
        }
        requests = [asdict(r) for r in self.requests]
        return {"requests": requests, "reason": self.reason, "maps": maps}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Decision:
        """From its plain data."""
        maps = {k: (np.array(v, dtype=np.float64), unit) for k, (v, unit) in plain["maps"].items()}
        requests = tuple(ScanRequest.of(r) for r in plain["requests"])
        return cls(requests, str(plain["reason"]), maps)

    @property
    def centre_yx_nm(self) -> YX:
        """Of the first frame."""
        return self.requests[0].centre_yx_nm


class Navigator(Protocol):
    """Given what has been measured, where next?

    A navigator takes no frame twice of its own accord: what lies nearest to a frame
    that was taken is no candidate any more.
    """

    name: str
    privileged: bool  # it is told the truth
    needs: Needs
    candidates: Candidates

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that was chosen before the run, as JSON."""
        ...

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        """Start over; all randomness comes from ``rng``."""
        ...

    def decide(self, situation: Situation) -> Decision | None:
        """The next frame, or the next few; None when no candidate is left."""
        ...

    def steer(self, exploration: float) -> None:
        """Set the curiosity; ValueError where there is none to set."""
        ...

    def save(self) -> dict[str, Any]:
        """State beyond what was measured, as JSON."""
        ...

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        """After ``reset``: go on as the navigator that saved ``state`` when all this was known."""
        ...
