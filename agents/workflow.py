"""A workflow: perception + scalarizer + navigator, composed into an agent."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import origin_in_scan, scan_from_specimen, specimen_from_scan
from ..hardware.microscope import YX, Frame, ScanRequest
from .agent import (
    Agent,
    ClassMap,
    Context,
    Explanation,
    Finding,
    Floats,
    Manifold,
    Rectangle,
)
from .navigation.navigator import Decision, Navigator, Situation
from .perception.perception import Classifier, Decoding, Perception, Segmenting
from .perception.sightings import Sighting
from .scalarizers import Pieces, Scalarizer, frame_means, scalarizer_of

SAME_SCALE = 1e-6  # relative; an action of 32 bits rounds the field of view
CELLS_YX = (5, 7)  # decoded pictures of a manifold
BEYOND = 0.12  # the outermost frames, of their range: so far a manifold is shown
ROUNDING = 1e-9  # frames; sums of equal prices must not miss the last one by it


class Navigated(Agent):
    """An agent that follows a navigator and looks at nothing.

    Args:
        navigator: where next.
    """

    def __init__(self, navigator: Navigator, name: str = "") -> None:
        self.navigator = navigator
        self.name = name or navigator.name
        self.privileged = navigator.privileged
        self.needs = navigator.needs

    def reset(self, context: Context, seed: int) -> None:
        self.context = context
        self.navigator.reset(context, np.random.default_rng(np.random.SeedSequence(seed)))
        self.frames: list[Frame] = []
        self.measured: list[Frame] = []  # those of the reference frame's scale
        self.centres: list[NDArray[np.float64]] = []  # of these
        self._numbers: list[int] = []  # of these, among all frames
        self.forbidden: list[tuple[Rectangle, YX | None]] = []
        self.waiting: list[ScanRequest] = []  # the rest of a batch
        self.decision: Decision | None = None
        self.request: ScanRequest | None = None

    def act(self, observation: Any) -> Any | None:
        if not self.waiting:
            self.decision = self.navigator.decide(self.situation())
            self.waiting = [] if self.decision is None else list(self.decision.requests)
        self.request = self.waiting.pop(0) if self.waiting else None
        if self.request is None:
            return None
        at = self.frames[-1].request.centre_yx_nm if self.frames else (0.0, 0.0)
        return self.context.actions.encode(self.request, at)

    def observe(self, frame: Frame) -> None:
        self.frames.append(frame)
        if self._comparable(frame):
            self._measure(frame)

    def situation(self) -> Situation:
        """What the navigator decides upon."""
        reference = self.context.reference.at((0.0, 0.0))
        return Situation(
            measured_yx_nm=self._positions(),
            targets=self._targets(),
            dose=np.array([_dose(f.request) for f in self.measured]) / _dose(reference),
            left=self._left(),
            forbidden=self._forbidden(),
            descriptors=self._descriptors(),
            sightings=self._sightings(),
            frames=tuple(self.frames),
        )

    def explain(self) -> Explanation:
        if self.decision is None or self.request is None:
            return Explanation(f"{self.name} has nothing left to do")
        y, x = self.request.centre_yx_nm
        sentence = f"({y:.2f}, {x:.2f}) nm: {self.decision.reason}"
        candidates = self.navigator.candidates
        maps = {k: candidates.field_map(v, unit) for k, (v, unit) in self.decision.maps.items()}
        return Explanation(sentence, maps)

    def steer(
        self,
        target: Any = None,
        forbid: Sequence[Rectangle] | None = None,
        exploration: float | None = None,
    ) -> None:
        if forbid is not None:  # first: another wish may be refused, and this one protects
            self.forbidden = [(_rectangle(r), self._origin()) for r in forbid]
            self.waiting = []
        if exploration is not None:
            self.navigator.steer(exploration)
        if target is not None:
            self._aim(target)
        self.waiting = []  # what was planned before the wish

    def save(self) -> dict[str, Any]:
        return {
            "navigator": self.navigator.save(),
            "forbidden": self.forbidden,
            "waiting": [asdict(r) for r in self.waiting],
            "decision": None if self.decision is None else self.decision.plain,
            "request": None if self.request is None else asdict(self.request),
        }

    def restore(self, state: Mapping[str, Any], frames: Sequence[Frame]) -> None:
        super().restore(state, frames)
        self.forbidden = [
            (_rectangle(r), None if origin is None else (origin[0], origin[1]))
            for r, origin in state["forbidden"]
        ]
        self.waiting = [ScanRequest.of(r) for r in state["waiting"]]
        decided = state["decision"]
        self.decision = None if decided is None else Decision.of(decided)
        asked = state["request"]
        self.request = None if asked is None else ScanRequest.of(asked)
        self.navigator.restore(state["navigator"], self.situation())

    @property
    def settings(self) -> dict[str, Any]:
        return {"navigator": {"name": self.navigator.name, **self.navigator.settings}}

    def _aim(self, target: Any) -> None:
        raise ValueError(f"{self.name} pursues no target that could be changed")

    def _comparable(self, frame: Frame) -> bool:
        """Whether a frame is of the reference frame's scale; a wide one shows other things."""
        asked, reference = frame.request, self.context.reference
        return asked.shape_yx == reference.shape_yx and all(
            abs(a / b - 1.0) < SAME_SCALE
            for a, b in zip(asked.fov_yx_nm, reference.fov_yx_nm, strict=True)
        )

    def _measure(self, frame: Frame) -> None:
        """Take in a frame of the reference frame's scale."""
        self.measured.append(frame)
        self._numbers.append(len(self.frames) - 1)
        centre = frame.region.centre_yx_nm
        self.centres.append(specimen_from_scan(centre, frame.state, frame.region.rotation_rad))

    def _positions(self) -> Floats:
        """Where the measured frames (k, 2) lie in scan coordinates as they are now.

        Requests are made in these, and a stage or beam shift moves them over the specimen.
        """
        if not self.centres:
            return np.empty((0, 2))
        return scan_from_specimen(self.centres, self.frames[-1].state)

    def _origin(self) -> YX | None:
        """Where the specimen's origin lies in scan coordinates now; None before any frame."""
        return origin_in_scan(self.frames[-1].state) if self.frames else None

    def _forbidden(self) -> tuple[Rectangle, ...]:
        """What no frame may touch, in scan coordinates as they are now.

        It was said in those of its own time, and means a piece of the specimen.
        """
        now = self._origin()
        if now is None:
            return tuple(r for r, _ in self.forbidden)
        first = origin_in_scan(self.frames[0].state)
        moved = [np.subtract(now, first if then is None else then) for _, then in self.forbidden]
        return tuple(
            _rectangle(np.add(r, by).tolist())
            for (r, _), by in zip(self.forbidden, moved, strict=True)
        )

    def _left(self) -> int:
        """Reference frames that the budget still pays for, this one included."""
        beam_on_us, reference = self.context.costs.beam_on_us, self.context.reference
        spent = sum(beam_on_us(f.request) for f in self.frames)
        left = self.context.frames - spent / beam_on_us(reference.at((0.0, 0.0)))
        return max(1, int(left + ROUNDING))

    def _targets(self) -> Floats:
        return np.full(len(self.measured), np.nan)

    def _descriptors(self) -> Floats | None:
        return None

    def _sightings(self) -> NDArray[np.float32] | None:
        return None


def _rectangle(corners: Sequence[Sequence[float]]) -> Rectangle:
    """Two corners in nm; ValueError where they are none."""
    plain = np.asarray(corners, dtype=np.float64)
    if plain.shape != (2, 2) or not np.isfinite(plain).all():
        raise ValueError(f"a forbidden rectangle {corners!r}; it must be two corners (y, x) in nm")
    (a, b), (c, d) = plain.tolist()
    return (a, b), (c, d)


def _dose(request: ScanRequest) -> float:
    """Of a frame, in µs a square nm."""
    height, width = request.pixel_yx_nm
    return request.dwell_us / (height * width)


class Workflow(Navigated):
    """Perception says what a frame holds, a scalarizer what is wanted, a navigator where next.

    The perception is refitted whenever frames have come in, so all targets,
    earlier ones too, are those of what is known now.  It describes frames of the
    reference frame's scale and learns from no others.

    Args:
        perception: frame to descriptor.
        scalarizer: descriptors to the one number that is maximised.
        navigator: targets to the next frame.
    """

    def __init__(
        self,
        perception: Perception,
        scalarizer: Scalarizer,
        navigator: Navigator,
        name: str = "",
    ) -> None:
        super().__init__(navigator, name or f"{perception.name}-{navigator.name}")
        self.privileged = navigator.privileged or perception.privileged
        self.perception = perception
        self.scalarizer = scalarizer

    def reset(self, context: Context, seed: int) -> None:
        super().reset(context, seed)
        self.perceived_s = 0.0
        self.perception.reset(context, seed)
        self.scalarizer.check(self.perception.names)
        self.seen: list[Any] = []  # features of the measured frames
        self.sighted: list[Any] = []  # what was sighted in them, where the navigator asks
        self._fitted = 0
        self._pieces: Pieces = ()  # of these, by what was learned from all of them
        self._means: Floats | None = None  # of their pieces

    def target(self, frames: Sequence[Frame]) -> Floats | None:
        """None before there is anything to learn from, and where a frame is of another scale."""
        if not frames or not all(map(self._comparable, frames)) or not self._learned():
            return None
        return self.scalarizer(self._described(frames))

    def explain(self) -> Explanation:
        plain = super().explain()
        reference = self.context.reference
        shown, pictures = self.scalarizer.shown, self.perception.components
        means = self._means
        if shown is not None and pictures is not None:
            pictures[shown[0]] *= shown[1]  # shown as it is pursued
        return Explanation(
            plain.sentence,
            plain.maps,
            pictures,
            None if shown is None else shown[0],
            self.perception.reach(reference.fov_yx_nm[0] / reference.shape_yx[0]),
            tuple(self.perception.names),
            means,
            tuple(self._numbers[: len(self._pieces)]),
            None if means is None else self._manifold(means),
            self.scalarizer.plain,
        )

    def segmented(self, frame: Frame) -> ClassMap | None:
        if not hasattr(self.perception, "segmented"):
            return None
        return cast(Segmenting, self.perception).segmented(frame)

    def save(self) -> dict[str, Any]:
        learned = self.perception.save()
        return {**super().save(), "scalarizer": self.scalarizer.plain, "perception": learned}

    def restore(self, state: Mapping[str, Any], frames: Sequence[Frame]) -> None:
        self.scalarizer = scalarizer_of(state["scalarizer"])
        self.scalarizer.check(self.perception.names)
        self.perception.restore(state["perception"])
        super().restore(state, frames)

    @property
    def settings(self) -> dict[str, Any]:
        perception = {"name": self.perception.name, **self.perception.settings}
        return {
            **super().settings,
            "perception": perception,
            "scalarizer": self.scalarizer.plain,
        }

    def _aim(self, target: Any) -> None:
        wanted = scalarizer_of(target)
        wanted.check(self.perception.names)
        self.scalarizer = wanted
        if self._fitted:
            self.scalarizer.fit(self._pieces, self._shares)

    def _measure(self, frame: Frame) -> None:
        super()._measure(frame)
        with self._perceiving():
            self.seen.append(self.perception.features([frame])[0])
            if getattr(self.navigator, "goes_by_sightings", False):
                self.sighted.append(cast(Sighting, self.perception).sightings([frame])[0])

    def _targets(self) -> Floats:
        return self.scalarizer(self._pieces) if self._learned() else super()._targets()

    def _descriptors(self) -> Floats | None:
        return self._means if self._learned() else None

    def _sightings(self) -> NDArray[np.float32] | None:
        return np.array(self.sighted) if self.sighted else super()._sightings()

    def _learned(self) -> bool:
        """Fit to what has been seen, if there is more of it; True once there is anything."""
        if len(self.seen) < 2:
            return False
        if self._fitted != len(self.seen):
            with self._perceiving():
                self._shares = self.navigator.candidates.shares(self._positions())
                self.perception.fit(self.seen, self._shares)
                self._pieces = self.perception.describe(self.seen)
                self._means = frame_means(self._pieces)
                self.scalarizer.fit(self._pieces, self._shares)
            self._fitted = len(self.seen)
        return True

    @contextmanager
    def _perceiving(self) -> Iterator[None]:
        """What is done within counts as perception's time."""
        began = time.perf_counter()
        yield
        self.perceived_s += time.perf_counter() - began

    def _manifold(self, means: Floats) -> Manifold | None:
        """Over the plane in which the frames' means (n, d) lie; what else there is, as on average.

        None where nothing can be decoded, or there is no plane.
        """
        there = means[np.isfinite(means).all(axis=1)]
        if not hasattr(self.perception, "decoded") or not len(there) or there.shape[1] < 2:
            return None
        low, high = there[:, :2].min(axis=0), there[:, :2].max(axis=0)
        margin = BEYOND * np.where(high > low, high - low, 1.0)
        width = high - low + 2 * margin
        first, second = (
            low[k] - margin[k] + width[k] * (np.arange(cells) + 0.5) / cells
            for k, cells in enumerate(CELLS_YX[::-1])
        )
        at = np.tile(there.mean(axis=0), (*CELLS_YX, 1))
        at[..., 0], at[..., 1] = first, second[:, None]
        decoded = cast(Decoding, self.perception).decoded(at.reshape(-1, at.shape[-1]))
        if decoded is None:
            return None
        return Manifold(decoded.reshape(*CELLS_YX, *decoded.shape[1:]), second, first)

    def _described(self, frames: Sequence[Frame]) -> Pieces:
        """Of frames; those already taken in are not looked at again."""
        known = {id(f): k for k, f in enumerate(self.measured)}
        if all(id(f) in known for f in frames):
            return [self._pieces[known[id(f)]] for f in frames]
        return self.perception.describe(self.perception.features(frames))


class Finder(Workflow):
    """A workflow whose perception claims features."""

    perception: Classifier

    def findings(self) -> list[Finding]:
        with self._perceiving():
            return self.perception.findings(self.frames)
