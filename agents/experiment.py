"""The one loop between an agent and an environment."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..envs.scan_env import ScanEnv
from ..hardware.errors import AbortedError, RefusedError
from ..hardware.microscope import YX, Frame, ScanRequest
from .agent import Agent, Context, Explanation, Finding


@dataclass(frozen=True)
class Step:
    """One turn of the loop, as plain data; every output derives from these.

    Attributes:
        index: from 0.
        request: what was asked.
        frame: what came back.
        target: the frame's target by what the agent knew right after it.
        findings: all claims so far.
        explanation: of the decision that led here; empty where nobody asks for it.
        latency_s: all of the agent's own time over this frame: deciding, taking it in, its
            target, its findings.  Not its explanation, which is made for people alone.
        perception_s: the part of it that went into looking and learning, where the agent
            tells it from deciding.
        scan_s: instrument time of the frame, the way to it included.
        spent: charge so far, in rasters.
        time_s: instrument time so far.
        fraction: of the task done; for people and scores, never for agents.
    """

    index: int
    request: ScanRequest
    frame: Frame
    target: float | None
    findings: tuple[Finding, ...]
    explanation: Explanation
    latency_s: float
    perception_s: float
    scan_s: float
    spent: float
    time_s: float
    fraction: float

    @property
    def behind_s(self) -> float:
        """By how much perception exceeds the scan that feeds it; 0 where it keeps up."""
        return max(0.0, self.perception_s - self.scan_s)


class Experiment:
    """Iterate over it, and it runs until the budget is spent.

    ``pause``, ``resume``, ``stop`` and ``steer`` may be called from any thread;
    they take effect before the next frame.

    Args:
        env: built for what ``agent.needs``.
        agent: decides.
        seed: of the environment and the agent.
        specimen: shows this specimen of the split, whatever the seed.
        explain: asks the agent to explain itself; nobody reads that in a benchmark.
        record: told of every decision before it is carried out, and of every wish: a journal's
            ``write``.
        wishes: that a person had in an earlier part of it, by the step before which.
    """

    def __init__(
        self,
        env: ScanEnv,
        agent: Agent,
        seed: int = 0,
        specimen: int | None = None,
        explain: bool = True,
        record: Callable[[str, dict[str, Any]], object] = lambda kind, data: None,
        wishes: Mapping[int, Sequence[Mapping[str, Any]]] | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed {seed}; it must be an integer >= 0")
        self.env = env
        self.agent = agent
        self.seed = seed
        self.specimen = specimen
        self.explain = explain
        self.record = record
        self.steps: list[Step] = []
        self.stopped = False
        self.told_truth = False  # whatever the agent says of itself afterwards
        self._go = threading.Event()
        self._go.set()
        self._wishes: list[dict[str, Any]] = []
        self._had = dict(wishes or {})

    def __iter__(self) -> Iterator[Step]:
        self.steps = []
        options = {} if self.specimen is None else {"specimen": self.specimen}
        observation, _ = self.env.reset(seed=self.seed, options=options)
        context = self.context()
        self.told_truth = context.truth is not None
        self.agent.reset(context, self.seed)
        self._surveyed_s = self.env.episode.budget.spent_time_s
        while not self.env.episode.exhausted:
            self._go.wait()
            if self.stopped:
                return
            for had in self._had.get(len(self.steps), ()):
                self.agent.steer(**had)
            while self._wishes:
                wish = self._wishes.pop(0)
                self.agent.steer(**wish)
                self.record("steer", {"step": len(self.steps), "wish": wish})
            began, perceived = time.perf_counter(), self.agent.perceived_s
            action = self.agent.act(observation)
            if action is None:
                return
            decided = time.perf_counter() - began
            explanation = self.agent.explain() if self.explain else Explanation("")
            decision = {"step": len(self.steps), "agent": self.agent.name}
            self.record("decision", {**decision, "sentence": explanation.sentence})
            taken = len(self.env.episode.history)
            try:
                observation, _, terminated, truncated, info = self.env.step(action)
            except AbortedError:  # somebody stopped the microscope, and so the experiment
                self.stopped = True
                return
            except RefusedError as error:
                self._forbid(error)
                continue
            if len(self.env.episode.history) == taken:
                return  # it cost more than was left
            step = self._take_in(info["request"], explanation, decided, perceived)
            self.steps.append(step)
            yield step
            if terminated or truncated:
                return

    def run(self) -> list[Step]:
        """All steps."""
        for _ in self:
            pass
        return self.steps

    def pause(self) -> None:
        self._go.clear()

    def resume(self) -> None:
        self._go.set()

    def stop(self) -> None:
        """Take no further frame."""
        self.stopped = True
        self._go.set()

    def steer(
        self,
        target: Any = None,
        forbid: Sequence[tuple[YX, YX]] | None = None,
        exploration: float | None = None,
    ) -> None:
        """Pass a person's wish to the agent before its next decision."""
        self._wishes.append({"target": target, "forbid": forbid, "exploration": exploration})

    def _forbid(self, error: RefusedError) -> None:
        """A person did not approve of a frame: the agent is to find another; else it ends."""
        assert isinstance(error.request, ScanRequest)
        y, x = error.request.centre_yx_nm
        half = min(error.request.pixel_yx_nm)
        forbid = [((y - half, x - half), (y + half, x + half))]
        self.agent.steer(forbid=forbid)
        self.record("steer", {"step": len(self.steps), "wish": {"forbid": forbid}})

    def context(self) -> Context:
        """What the agent is told before its first frame; truth only to the privileged."""
        env, episode = self.env, self.env.episode
        truth = env.truth
        classes = truth.classes if truth is not None else ()
        price = episode.price(episode.reference.at((0.0, 0.0)))
        paid = 0.0 if episode.survey is None else episode.price(episode.survey.request)
        return Context(
            field_yx_nm=episode.field_yx_nm,
            reference=episode.reference,
            limits=episode.capabilities.limits,
            actions=env.actions,
            full_scale=episode.capabilities.full_scale,
            budget=episode.budget.total,
            frames=int((episode.budget.total - paid) / price * (1 + 1e-9)),
            beam_current_pa=episode.beam_current_pa,
            class_names=tuple(c.name for c in classes),
            tolerances_nm=tuple(c.tolerance_nm for c in classes),
            costs=episode.costs,
            survey=episode.survey,
            truth=truth if self.agent.privileged else None,
        )

    def _take_in(
        self,
        request: ScanRequest,
        explanation: Explanation,
        decided_s: float,
        perceived_s: float,
    ) -> Step:
        episode = self.env.episode
        frame = episode.history[-1]
        began = time.perf_counter()
        self.agent.observe(frame)
        target = self.agent.target([frame])
        findings = tuple(self.agent.findings())
        latency = decided_s + time.perf_counter() - began
        before = self.steps[-1].time_s if self.steps else self._surveyed_s
        return Step(
            index=len(self.steps),
            request=request,
            frame=frame,
            target=None if target is None else float(target[0]),
            findings=findings,
            explanation=explanation,
            latency_s=latency,
            perception_s=self.agent.perceived_s - perceived_s,
            scan_s=episode.budget.spent_time_s - before,
            spent=episode.budget.spent,
            time_s=episode.budget.spent_time_s,
            fraction=episode.task.fraction,
        )
