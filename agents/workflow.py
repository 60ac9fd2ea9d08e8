"""A workflow: perception + scalarizer + navigator, composed into an agent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hardware.coordinates import specimen_from_scan
from ..hardware.microscope import Frame, ScanRequest
from .agent import Agent, Context, Explanation, Finding, Floats
from .navigation.navigator import Decision, Navigator, Rectangle, Situation
from .perception.perception import Classifier, Perception


class Component:
    """The scalarizer of the linear workflow: one component.

    Args:
        index: chosen by a person; by default the one of the largest variance.
    """

    def __init__(self, index: int | None = None) -> None:
        if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
            raise ValueError(f"component {index!r}; it must be an integer >= 0")
        if index is not None and index < 0:
            raise ValueError(f"component {index}; it must be at least 0")
        self.index = index

    def __call__(self, descriptors: Floats, perception: Perception) -> Floats:
        index, sign = self.chosen(perception)
        if index >= descriptors.shape[1]:
            raise ValueError(
                f"component {index}, but there are only {descriptors.shape[1]} "
                f"(0 to {descriptors.shape[1] - 1})"
            )
        return sign * descriptors[:, index]

    def chosen(self, perception: Perception) -> tuple[int, float]:
        """The number of the component, and the sign under which it is pursued."""
        if self.index is None:
            return perception.largest, perception.rare
        return self.index, 1.0


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
        self.centres: list[NDArray[np.float64]] = []
        self.forbidden: list[Rectangle] = []
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
        centre = frame.region.centre_yx_nm
        self.centres.append(specimen_from_scan(centre, frame.state, frame.region.rotation_rad))

    def situation(self) -> Situation:
        """What the navigator decides upon."""
        reference = self.context.reference.at((0.0, 0.0))
        return Situation(
            measured_yx_nm=np.array(self.centres).reshape(-1, 2),
            targets=self._targets(),
            dose=np.array([_dose(f.request) for f in self.frames]) / _dose(reference),
            left=max(1, self.context.frames - len(self.frames)),
            forbidden=tuple(self.forbidden),
            descriptors=self._descriptors(),
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
        if target is not None:
            self._aim(target)
        if exploration is not None:
            self.navigator.steer(exploration)
        if forbid is not None:
            self.forbidden = list(forbid)
        self.waiting = []  # what was planned before the wish

    def save(self) -> dict[str, Any]:
        return {
            "navigator": self.navigator.save(),
            "forbidden": self.forbidden,
            "waiting": [asdict(r) for r in self.waiting],
        }

    def restore(self, state: Mapping[str, Any], frames: Sequence[Frame]) -> None:
        super().restore(state, frames)
        self.forbidden = [(tuple(a), tuple(b)) for a, b in state["forbidden"]]
        self.waiting = [ScanRequest.of(r) for r in state["waiting"]]
        self.navigator.restore(state["navigator"], self.situation())

    @property
    def settings(self) -> dict[str, Any]:
        return {"navigator": {"name": self.navigator.name, **self.navigator.settings}}

    def _aim(self, target: Any) -> None:
        raise ValueError(f"{self.name} pursues no target that could be changed")

    def _targets(self) -> Floats:
        return np.full(len(self.frames), np.nan)

    def _descriptors(self) -> Floats | None:
        return None


def _dose(request: ScanRequest) -> float:
    """Of a frame, in µs a square nm."""
    height, width = request.pixel_yx_nm
    return request.dwell_us / (height * width)


class Workflow(Navigated):
    """Perception says what a frame holds, a scalarizer what is wanted, a navigator where next.

    The perception is refitted whenever frames have come in, so all targets,
    earlier ones too, are those of what is known now.

    Args:
        perception: frame to descriptor.
        scalarizer: descriptors to the one number that is maximised.
        navigator: targets to the next frame.
    """

    def __init__(
        self, perception: Perception, scalarizer: Component, navigator: Navigator, name: str = ""
    ) -> None:
        super().__init__(navigator, name or f"{perception.name}-{navigator.name}")
        self.privileged = navigator.privileged or perception.privileged
        self.perception = perception
        self.scalarizer = scalarizer

    def reset(self, context: Context, seed: int) -> None:
        super().reset(context, seed)
        self.perception.reset(context, seed)
        self.seen: list[Floats] = []
        self._fitted = 0

    def observe(self, frame: Frame) -> None:
        if frame.image.shape != self.context.reference.shape_yx:
            raise ValueError(
                f"a frame of {frame.image.shape} px; {self.name} describes reference frames of "
                f"{self.context.reference.shape_yx} px"
            )
        super().observe(frame)
        self.seen.append(self.perception.features([frame])[0])

    def target(self, frames: Sequence[Frame]) -> Floats | None:
        if not self._learned() or not frames:
            return None
        return self._score(self._features(frames))

    def explain(self) -> Explanation:
        plain = super().explain()
        reference = self.context.reference
        chosen, sign = self.scalarizer.chosen(self.perception)
        pictures = self.perception.components
        if pictures is not None:
            pictures[chosen] *= sign  # shown as it is pursued
        return Explanation(
            plain.sentence,
            plain.maps,
            pictures,
            chosen,
            self.perception.reach(reference.fov_yx_nm[0] / reference.shape_yx[0]),
        )

    def save(self) -> dict[str, Any]:
        return {**super().save(), "component": self.scalarizer.index}

    def restore(self, state: Mapping[str, Any], frames: Sequence[Frame]) -> None:
        self.scalarizer = Component(state["component"])
        super().restore(state, frames)

    @property
    def settings(self) -> dict[str, Any]:
        perception = {"name": self.perception.name, **self.perception.settings}
        component = self.scalarizer.index
        return {**super().settings, "perception": perception, "component": component}

    def _aim(self, target: Any) -> None:
        self.scalarizer = Component(target)

    def _targets(self) -> Floats:
        if not self._learned():
            return super()._targets()
        return self._score(np.array(self.seen))

    def _descriptors(self) -> Floats | None:
        return self.perception.describe(np.array(self.seen)) if self._learned() else None

    def _score(self, features: Floats) -> Floats:
        return self.scalarizer(self.perception.describe(features), self.perception)

    def _learned(self) -> bool:
        """Fit to what has been seen, if there is more of it; True once there is anything."""
        if len(self.seen) < 2:
            return False
        if self._fitted != len(self.seen):
            self.perception.fit(np.array(self.seen), self._shares())
            self._fitted = len(self.seen)
        return True

    def _shares(self) -> Floats:
        """The share (n,) of the field that is nearer to each frame than to any other."""
        from scipy.spatial import cKDTree

        _, nearest = cKDTree(np.array(self.centres)).query(self.navigator.candidates.centres_yx_nm)
        return np.bincount(nearest, minlength=len(self.seen)) / len(nearest)

    def _features(self, frames: Sequence[Frame]) -> Floats:
        """Of frames; those already taken in are not computed again."""
        known = {id(f): k for k, f in enumerate(self.frames)}
        if all(id(f) in known for f in frames):
            return np.array([self.seen[known[id(f)]] for f in frames])
        return self.perception.features(frames)


class Finder(Workflow):
    """A workflow whose perception claims features."""

    perception: Classifier

    def findings(self) -> list[Finding]:
        return self.perception.findings(self.frames)
