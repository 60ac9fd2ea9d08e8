"""The one loop between an agent and an environment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..envs.scan_env import ScanEnv
from ..hardware.errors import AbortedError, MicroscopeError, RefusedError
from ..hardware.limits import check
from ..hardware.microscope import Frame, ScanRequest
from .agent import Agent, Context, Explanation, Finding, Rectangle
from .controls import APPROVE, AUTOMATIC, MANUAL, Controls
from .navigation.navigator import allowed

PERSON = "a person"


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


@dataclass(frozen=True, eq=False)
class Proposal:
    """What is about to be done.

    Attributes:
        step: its number.
        request: the frame.
        explanation: of the decision.
        by: the agent's name, or ``PERSON``.
    """

    step: int
    request: ScanRequest
    explanation: Explanation
    by: str


class Experiment(Controls):
    """Iterate over it, and it runs until the budget is spent.

    What a person may do meanwhile is in ``controls.py``.  What cannot be done of it is told
    (``refused``), and ends nothing.

    Args:
        env: built for what ``agent.needs``.
        agent: decides.
        seed: of the environment and the agent.
        specimen: shows this specimen of the split, whatever the seed.
        explain: asks the agent to explain itself; nobody reads that in a benchmark.
        record: told of every decision before it is carried out, and of every wish: a journal's
            ``write``.
        wishes: that a person had in an earlier part of it, by the step before which.
        mode: one of ``controls.MODES``.
        rest_s: after waiting for a person for so long the beam is blanked, and comes on again
            before the next frame; None is never.

    Attributes:
        steps: so far; maps and pictures are those of the latest that has some, descriptors those
            of the latest.
        proposal: what is about to be done, or waits for approval; None otherwise.
        forbidden: rectangles that a person forbade last.
        refused: sentences about wishes that could not be granted.
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
        mode: str = AUTOMATIC,
        rest_s: float | None = None,
    ) -> None:
        super().__init__(mode, rest_s)
        if seed < 0:
            raise ValueError(f"seed {seed}; it must be an integer >= 0")
        self.env = env
        self.agent = agent
        self.seed = seed
        self.specimen = specimen
        self.explain = explain
        self.record = record
        self.steps: list[Step] = []
        self.proposal: Proposal | None = None
        self.forbidden: Sequence[Rectangle] = ()
        self.refused: list[str] = []
        self.told_truth = False  # whatever the agent says of itself afterwards
        self._dark = False  # the beam was blanked while a person was waited for
        self._had = self._due = dict(wishes or {})

    def __iter__(self) -> Iterator[Step]:
        self.steps = []
        self._dark = False
        self._explained: int | None = None
        self._due = dict(self._had)
        options = {} if self.specimen is None else {"specimen": self.specimen}
        observation, _ = self.env.reset(seed=self.seed, options=options)
        context = self.context()
        self.told_truth = context.truth is not None
        self.agent.reset(context, self.seed)
        self._surveyed_s = self.env.episode.budget.spent_time_s
        while not self.env.episode.exhausted:
            self.proposal = None
            self._wait(lambda: not self.paused and not self._idle)
            if self.stopped:
                return
            self._grant_all()
            if self._idle:
                continue
            began, perceived = time.perf_counter(), self.agent.perceived_s
            action, explanation, by = self._decided(observation)
            if action is None:
                return
            decided = time.perf_counter() - began
            request = self.env.actions.decode(action, self.env.episode.at_yx_nm)
            self.proposal = Proposal(len(self.steps), request, explanation, by)
            decision = {"step": len(self.steps), "agent": by, "sentence": explanation.sentence}
            self.record("decision", decision)
            if by != PERSON and not self._approved():
                continue
            taken = len(self.env.episode.history)
            try:
                self._wake()
                observation, _, terminated, truncated, info = self.env.step(action)
            except AbortedError:  # somebody stopped the microscope, and so the experiment
                self.stopped = True
                return
            except RefusedError:
                self._forbid(request)
                continue
            if len(self.env.episode.history) == taken:
                return  # it cost more than was left
            self._stepping = False
            step = self._take_in(info["request"], explanation, decided, perceived)
            self._keep(step)
            yield step
            if terminated or truncated:
                return

    def _rest(self) -> None:
        """Electrons that show nobody anything are spared: the beam is blanked."""
        if self._dark:
            return
        try:
            self.env.episode.microscope.blank(True)
        except MicroscopeError as error:
            self.refused.append(f"the beam stays on while it waits: {error}")
        else:
            self._dark = True

    def _wake(self) -> None:
        """The beam comes on for the next frame, where it was blanked for rest."""
        if self._dark:
            self.env.episode.microscope.blank(False)
            self._dark = False

    def run(self) -> list[Step]:
        """All steps."""
        for _ in self:
            pass
        return self.steps

    def _keep(self, step: Step) -> None:
        """The latest maps and descriptors alone: those of thousands of steps fill the memory."""
        if self.steps and self.steps[-1].explanation.descriptors is not None:
            last = self.steps[-1]
            fewer = replace(last.explanation, descriptors=None, frames=(), manifold=None)
            self.steps[-1] = replace(last, explanation=fewer)
        if step.explanation.pictured:
            before = self._explained
            if before is not None:
                old = self.steps[before]
                plain = Explanation(old.explanation.sentence)
                self.steps[before] = replace(old, explanation=plain)
            self._explained = len(self.steps)
        self.steps.append(step)

    def _decided(self, observation: Any) -> tuple[Any, Explanation, str]:
        """The next action, why, and whose; None where the agent has nothing left to do."""
        if self._asked:
            centre = self._asked.pop(0)
            request = self.env.episode.reference.at(centre)
            action = self.env.actions.encode(request, self.env.episode.at_yx_nm)
            said = f"({centre[0]:.2f}, {centre[1]:.2f}) nm: {PERSON} asked for it"
            return action, Explanation(said), PERSON
        action = self.agent.act(observation)
        told = self.explain and action is not None
        explanation = self.agent.explain() if told else Explanation("")
        return action, explanation, self.agent.name

    def _approved(self) -> bool:
        """Whether the proposal may be carried out; a wish that comes meanwhile asks anew."""
        if self.mode != APPROVE:
            return True
        verdict = self._answered()
        if self.stopped or (verdict is None and self.mode == APPROVE):
            return False
        if verdict is False:
            assert self.proposal is not None
            self._forbid(self.proposal.request)
            return False
        return self.mode != MANUAL

    def _grant_all(self) -> None:
        """What a person wished since the last decision, and at this step of an earlier run."""
        at = len(self.steps)
        for had in self._due.pop(at, ()):
            self._grant(had)
        while self._wishes:
            wish = self._wishes.pop(0)
            try:
                self._grant(wish)
            except ValueError as error:
                self.refused.append(str(error))
                self.record(
                    "refused wish", {"step": len(self.steps), "wish": wish, "why": str(error)}
                )
            else:
                self.record("steer", {"step": len(self.steps), "wish": wish})

    def _grant(self, wish: Mapping[str, Any]) -> None:
        """Raises ValueError where it cannot be."""
        if "ask" in wish:
            self._take_up(wish["ask"])
        elif "agent" in wish:
            self._hand_over(wish["agent"], wish["options"])
        elif "budget" in wish:
            self._rebudget(wish["budget"])
        else:
            self.agent.steer(**wish)
            if wish.get("forbid") is not None:
                self.forbidden = tuple(wish["forbid"])

    def _take_up(self, centre: Sequence[float]) -> None:
        """A frame that a person asks for; ValueError where there can be none."""
        episode = self.env.episode
        request = episode.reference.at((float(centre[0]), float(centre[1])))
        check(request, episode.capabilities.limits, episode.beam_current_pa)
        if not allowed(np.array([request.centre_yx_nm]), self.context(), self.forbidden)[0]:
            raise ValueError("a frame there would touch what is forbidden; allow that first")
        self._asked.append(request.centre_yx_nm)

    def _hand_over(self, name: str, options: Mapping[str, Any]) -> None:
        """Another agent, which takes note of all frames so far."""
        from .catalogue import make_agent

        agent = make_agent(name, **options)
        if agent.needs != self.agent.needs:
            raise ValueError(
                f"{name} needs {agent.needs}, and this experiment was begun with {self.agent.needs}"
            )
        agent.reset(self.context(agent), self.seed)
        self.told_truth = self.told_truth or agent.privileged
        for frame in self.env.episode.history:
            agent.observe(frame)
        if self.forbidden:
            agent.steer(forbid=self.forbidden)
        self.agent = agent

    def _rebudget(self, rasters: float) -> None:
        """The agent goes on as it is, with another number of frames before it."""
        self.env.episode.budget.change(rasters)
        state = self.agent.save()
        self.agent.reset(self.context(), self.seed)
        self.agent.restore(state, self.env.episode.history)

    def _forbid(self, request: ScanRequest) -> None:
        """A person did not approve of a frame: the agent is to find another; else it ends."""
        y, x = request.centre_yx_nm
        half = min(request.pixel_yx_nm)
        spot = ((y - half, x - half), (y + half, x + half))
        forbid = [*self.forbidden, spot]
        self.agent.steer(forbid=forbid)
        self.forbidden = tuple(forbid)
        self.record("steer", {"step": len(self.steps), "wish": {"forbid": forbid}})

    def context(self, agent: Agent | None = None) -> Context:
        """What an agent, its own by default, is told before its first frame; truth only to the
        privileged."""
        agent = agent or self.agent
        env, episode = self.env, self.env.episode
        truth = env.truth
        classes = truth.classes if truth is not None else ()
        price = episode.price(episode.reference.at((0.0, 0.0))) + episode.upkeep
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
            truth=truth if agent.privileged else None,
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
