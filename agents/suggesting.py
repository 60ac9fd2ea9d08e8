"""Any agent as an optimizer of bluesky-adaptive: it suggests a frame, and ingests what it showed.

The protocol is that of bluesky-adaptive 1.0 (``suggest``, ``ingest``, ``get_best_points``,
``should_stop``), which is duck-typed, so nothing of it is imported.  The RunEngine takes the
frames, by ``hardware/bluesky_devices.py``; the agent's environment is handed them, and keeps
budget, history and observations as in any other experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..envs.live import LiveEnv
from ..hardware.bluesky_devices import ScanDetector
from ..hardware.costs import CostModel
from ..hardware.microscope import YX, Capabilities, Frame, Microscope, ScanRequest, State
from .agent import Agent
from .experiment import Experiment

ID = "_id"


class Handed:
    """A microscope whose frames others take: it gives the one that it was handed.

    Args:
        microscope: that others drive.
    """

    def __init__(self, microscope: Microscope) -> None:
        self._own = microscope
        self.frame: Frame | None = None
        self.costs: CostModel = getattr(microscope, "costs", CostModel())

    def open(self) -> Capabilities:
        return self._own.open()

    def state(self) -> State:
        return self._own.state()

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        return self._own.move_stage(yx_nm, timeout_s)

    def set_beam_shift(self, yx_nm: YX) -> State:
        return self._own.set_beam_shift(yx_nm)

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        frame, self.frame = self.frame, None
        assert frame is not None
        return frame

    def blank(self, on: bool) -> State:
        return self._own.blank(on)

    def abort(self) -> None:
        self._own.abort()

    def close(self) -> None:
        """The microscope is others'."""


class Suggesting:
    """An agent behind ``suggest`` and ``ingest``, and what evaluates the frames for it.

    Args:
        agent: any one; it sees what the microscope gives, as ever.
        detector: that takes the frames; its ``y`` and ``x`` are the actuators.
        seed: of the agent.
        options: of ``LiveEnv``: ``frames=``, ``budget=``, ``beam_current_pa=`` and so on; frames
            are those of the detector.

    Example:
        >>> own = Suggesting(make_agent("linear-bo"), detector, frames=30)  # doctest: +SKIP
        >>> problem = OptimizationProblem(  # doctest: +SKIP
        ...     own, [detector.y, detector.x], [detector], own.evaluate)
        >>> RE(optimize(problem, iterations=None))  # doctest: +SKIP
    """

    def __init__(self, agent: Agent, detector: ScanDetector, seed: int = 0, **options: Any) -> None:
        frame = detector.frame
        if frame.fov_yx_nm[0] != frame.fov_yx_nm[1] or frame.shape_yx[0] != frame.shape_yx[1]:
            raise ValueError("agents take square frames; the detector's are not")
        self.agent, self.detector = agent, detector
        self._handed = Handed(detector.microscope)
        self.env = LiveEnv(
            self._handed,
            action=agent.needs.action,
            observation=agent.needs.observation,
            frame_nm=frame.fov_yx_nm[0],
            frame_px=frame.shape_yx[0],
            dwell_us=frame.dwell_us,
            detector=frame.detectors[0],
            **options,
        )
        self._seen, _ = self.env.reset(seed=seed)
        agent.reset(Experiment(self.env, agent, seed).context(), seed)
        self._asked: dict[int, Any] = {}  # actions
        self._frames: dict[int, Frame] = {}
        self._number = 0
        self._over: str | None = None

    def suggest(self, num_points: int | None = None) -> list[dict[str, Any]]:
        """Where the next frame should be: the detector's ``y`` and ``x``, in nm.

        Raises:
            ValueError: several at once, which an agent does not suggest; or it has nothing left.
        """
        if num_points not in (None, 1):
            raise ValueError(f"{num_points} points; an agent suggests one frame at a time")
        if self._over is not None:
            raise ValueError(f"{self.agent.name} suggests nothing more: {self._over}")
        action = self.agent.act(self._seen)
        if action is None:
            self._over = "the agent has nothing left to do"
            raise ValueError(f"{self.agent.name} suggests nothing more: {self._over}")
        codec = self.env.actions
        at = np.array([self.env.episode.at_yx_nm])
        request = codec.request_of(codec.decode_all(codec.check([action], 1), at), 0)
        self._number += 1
        self._asked[self._number] = action
        y, x = request.centre_yx_nm
        return [{self.detector.y.name: y, self.detector.x.name: x, ID: self._number}]

    def evaluate(self, uid: Any, suggestions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The evaluation function: the latest frame, and the agent's target in it if it has one."""
        (suggestion,) = suggestions
        number, frame = self.detector.latest
        target = self.agent.target([frame])
        self._frames[int(suggestion[ID])] = frame
        value = float("nan") if target is None else float(target[0])
        return [{ID: suggestion[ID], "target": value, "frame": number}]

    def ingest(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Let the agent see the frames of what it suggested.

        Raises:
            ValueError: what it has not suggested, or nobody has evaluated.
        """
        for point in points:
            number = point.get(ID)
            if number not in self._asked or number not in self._frames:
                raise ValueError(f"{number!r} was not suggested here, or not evaluated")
            action = self._asked.pop(number)
            frame = self._handed.frame = self._frames.pop(number)
            self._seen, _, _, truncated, _ = self.env.step(action)
            self.agent.observe(frame)
            if truncated:
                self._over = "the budget is spent"

    def get_best_points(self) -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
        """The frame with the greatest target by what the agent knows now; none without a target."""
        history = self.env.episode.history
        targets = self.agent.target(history) if history else None
        if targets is None or not np.isfinite(targets).any():
            return []
        best = int(np.nanargmax(targets))
        y, x = history[best].request.centre_yx_nm
        where = {self.detector.y.name: y, self.detector.x.name: x}
        return [(best + 1, where, {"target": float(targets[best])})]

    def should_stop(self) -> tuple[bool, str | None]:
        """Whether the budget is spent."""
        return self._over is not None, self._over
