"""One experiment that people watch, steer and stop; it knows nothing of pages.

The experiment runs in a thread of its own, and whoever looks on takes a ``Shown`` of it, plain
data of one moment.  Nobody who looks on, comes or goes alters the run.  One of them has control,
by a lease; everybody may stop it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...agents.agent import ClassMap, Explanation, Finding, Rectangle
from ...agents.controls import APPROVE
from ...agents.experiment import Experiment, Proposal, Step
from ...envs.mosaic import Mosaic
from ...hardware.coordinates import footprint, specimen_from_pixel
from ...hardware.emergency import NOT_CONFIRMED, UNTOUCHED, Stopped
from ...hardware.errors import LeaseError, MicroscopeError
from ...hardware.guard import Guard
from ...hardware.lease import Lease
from .growing import Growing

Floats = NDArray[np.float64]
READY, RUNNING, PAUSED, ASKING = "ready", "running", "paused", "waits for your approval"
STOPPED, ENDED, FAILED = OVER = "stopped", "ended", "failed"
LEASE_S = 10.0  # without a sign of life, whoever had control has lost it
REST_S = 5.0  # of waiting for a person, after which the beam is blanked
CELLS = 384  # of the map, along the longer side: what a screen shows of it
LINES = 200  # of the log that are kept
A2_NM2 = 100.0


@dataclass(frozen=True, eq=False)
class Shown:
    """What there is to see at one moment.

    Attributes:
        version: another number is another picture.
        phase: one of the words above.
        answer: of the stop button, in the guard's words; empty before.
        trouble: why it failed; empty otherwise.
        agent, mode: who decides, and how (``agents.controls.MODES``).
        frames: taken so far.
        spent, budget: charge in rasters; the budget is NaN before the first frame.
        time_s: instrument time.
        fraction: of the features seen; None where nobody knows the truth.
        latency_ms: of the latest decision.
        charge, recall: (n,) the discovery curve; recall is NaN without truth.
        footprints_yx_nm: (n, 4, 2) of the frames, in order.
        latest: the step of the latest frame; None before.
        explanation: of the latest decision that had something to show.
        segmented: what a network sees in the latest frame, where the agent has one.
        proposal: what is about to be done.
        pending: what people asked for and has not taken effect yet, in words.
        forbidden: rectangles, in nm.
        findings: by class, (k, 2) in nm, the middle of each claim.
        log: in plain words, the latest last.
        beam: what the instrument says of itself, in a line.
    """

    version: int
    phase: str
    answer: str
    trouble: str
    agent: str
    mode: str
    frames: int
    spent: float
    budget: float
    time_s: float
    fraction: float | None
    latency_ms: float
    charge: Floats
    recall: Floats
    footprints_yx_nm: Floats
    latest: Step | None
    explanation: Explanation
    segmented: ClassMap | None
    proposal: Proposal | None
    pending: tuple[str, ...]
    forbidden: tuple[Rectangle, ...]
    findings: dict[str, Floats]
    log: tuple[str, ...]
    beam: str

    @property
    def over(self) -> bool:
        """Whether no further frame is taken."""
        return self.phase in OVER


class Session:
    """Runs an experiment, and tells how it stands.

    Args:
        experiment: not begun yet; one that was run elsewhere is shown as far as it came.
        drive: runs it to its end and calls what it is given with every step; by default nothing
            else is done with the steps.
        guard: of the microscope, as soon as there is one; the stop button is its own.
        read_only: why nobody may steer it, such as "this is a replay"; empty where one may.

    Attributes:
        lease: who has control.
    """

    def __init__(
        self,
        experiment: Experiment,
        drive: Callable[[Callable[[Step], None]], Any] | None = None,
        guard: Callable[[], Guard | None] = lambda: None,
        read_only: str = "",
    ) -> None:
        self.experiment, self.guard, self.read_only = experiment, guard, read_only
        self.lease = Lease()
        self._drive = drive or self._alone
        self._lock = threading.Lock()
        self._version = 0
        self._phase, self._answer, self._trouble = READY, "", ""
        self._log: deque[str] = deque(maxlen=LINES)
        self._refused = 0  # sentences that were put into the log
        self._mosaic: Mosaic | None = None
        self._dose: Mosaic | None = None
        self._curve = Growing(2)  # charge and recall
        self._boxes = Growing(4, 2)
        self._latest: Step | None = None
        self._telling = Explanation("")
        self._segmented: ClassMap | None = None
        self._placed: tuple[int, dict[str, Floats]] = (-1, {})
        self._where: dict[int, tuple[Finding, Floats]] = {}  # of claims, by their ids
        self._thread = threading.Thread(target=self._run, name="experiment", daemon=True)
        if experiment.steps:
            for step in experiment.steps:
                self._take_in(step, now=False)
            self._phase = STOPPED if experiment.stopped else ENDED

    # For whoever looks on.

    def shown(self) -> Shown:
        """How it stands."""
        experiment = self.experiment
        with self._lock:
            self._note_refusals()
            latest, explanation, proposal = self._latest, self._telling, experiment.proposal
            if proposal is not None and proposal.explanation.telling:
                explanation = proposal.explanation
            return Shown(
                version=self._version,
                phase=self.phase,
                answer=self._answer,
                trouble=self._trouble,
                agent=experiment.agent.name,
                mode=experiment.mode,
                frames=len(self._curve.rows),
                spent=0.0 if latest is None else latest.spent,
                budget=np.nan if latest is None else experiment.env.episode.budget.total,
                time_s=0.0 if latest is None else latest.time_s,
                fraction=self._seen_share(),
                latency_ms=0.0 if latest is None else 1e3 * latest.latency_s,
                charge=self._curve.rows[:, 0],
                recall=self._curve.rows[:, 1],
                footprints_yx_nm=self._boxes.rows,
                latest=latest,
                explanation=explanation,
                segmented=self._segmented,
                proposal=proposal,
                pending=() if self._phase in OVER else experiment.pending,
                forbidden=tuple(experiment.forbidden),
                findings=self._places(),
                log=tuple(self._log),
                beam=self._beam(),
            )

    def mosaic(self) -> NDArray[np.float32] | None:
        """The map (rows, columns), NaN where nothing was measured; None before any frame."""
        with self._lock:
            return None if self._mosaic is None else self._mosaic.mean.astype(np.float32)

    def dose(self) -> NDArray[np.float32] | None:
        """Dose in e/Å² put into each cell of the map; None where no charge is known."""
        with self._lock:
            if self._dose is None:
                return None
            height, width = self.experiment.env.source.field_yx_nm
            cell = height * width / self._dose.total.size * A2_NM2
            return np.asarray(self._dose.total / cell, dtype=np.float32)

    @property
    def phase(self) -> str:
        """One of the words above."""
        experiment = self.experiment
        if self._phase != RUNNING:
            return self._phase
        if experiment.paused:
            return PAUSED
        asking = experiment.mode == APPROVE and experiment.proposal is not None
        return ASKING if asking else RUNNING

    @property
    def field_yx_nm(self) -> tuple[float, float]:
        """Sides of the map."""
        return self.experiment.env.source.field_yx_nm

    # For whoever steers.

    def start(self) -> None:
        """Begin, once; repeated calls are harmless."""
        with self._lock:
            if self._phase != READY:
                return
            self._phase = RUNNING
            self._version += 1
        self._thread.start()

    def take(self, owner: str) -> str:
        """Control, for whoever has the key; LeaseError where somebody else has it."""
        if self.lease.ran_out is not None:
            self.lease.end()
        return self.lease.take(owner, LEASE_S)

    def alive(self, key: str) -> None:
        """A sign of life from whoever has control; LeaseError where somebody else has.

        While the experiment waits for that person, it counts for whoever drives the microscope:
        the guard need not take silence for a loss.  While frames are taken it does not.
        """
        self.lease.check(key)
        guard = self.guard()
        if guard is not None and (self._phase != RUNNING or self.experiment.waiting):
            guard.alive()

    def controls(self, key: str | None, steers: bool = True) -> Experiment:
        """The experiment, for whoever has control.

        Args:
            key: of the lease.
            steers: whether what is done with it changes what is scanned; pausing does not.

        Raises:
            LeaseError: somebody else has, or nobody can.
        """
        if self.read_only and steers:
            raise LeaseError(self.read_only)
        if key is None:
            raise LeaseError("you are looking on; take control first")
        self.lease.check(key)
        return self.experiment

    def stop(self, reason: str = "a person pressed STOP") -> Stopped:
        """Nothing more is sent, and the beam is blanked; the guard's own answer.  For everybody."""
        guard = self.guard()
        if guard is not None:
            # The guard first: it answers in time whatever the experiment is doing.
            stopped = guard.stop(reason)
        elif self.read_only:
            stopped = Stopped(f"nothing was driven: {self.read_only}", 0.0)
        else:
            stopped = Stopped(UNTOUCHED, 0.0)
        self.experiment.stop()
        with self._lock:
            self._answer = stopped.answer
            self._say(f"stopped ({reason}): {stopped}")
        return stopped

    def note(self, sentence: str) -> None:
        """A line in the log."""
        with self._lock:
            self._say(sentence)

    def answered(self) -> str:
        """The stop button's answer as it is now: a beam may be dark later than in the first."""
        guard = self.guard()
        if self._answer != NOT_CONFIRMED or guard is None:
            return self._answer
        try:
            state = guard.seen()
        except MicroscopeError:
            return self._answer
        return f"{self._answer}; the instrument says blanked now" if state.blanked else self._answer

    def wait(self, seconds: float | None = None) -> bool:
        """Until the experiment is over, or so long; False while it is under way."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def leave(self, seconds: float) -> bool:
        """Nobody looks after it any more: what is under way ends, with a dark beam.

        Returns:
            Whether it was over within so many seconds, its report written.
        """
        if self._phase == RUNNING and not self.experiment.stopped:
            self.stop("the console was closed")
        self.experiment.stop()
        return self.wait(seconds)

    # The thread.

    def _alone(self, on_step: Callable[[Step], None]) -> None:
        for step in self.experiment:
            on_step(step)

    def _run(self) -> None:
        trouble = ""
        try:
            self._drive(self._take_in)
        except Exception as error:  # whatever it is, people are told
            trouble, phase = f"{type(error).__name__}: {error}", FAILED
            last = f"it failed: {error}"
        else:
            phase = STOPPED if self.experiment.stopped else ENDED
            last = f"the experiment has {phase}"
        self._darken()
        with self._lock:
            self._trouble, self._phase = trouble, phase
            self._say(last)

    def _darken(self) -> None:
        """Nobody looks through the beam any more: it is blanked, however the run ended."""
        guard = self.guard()
        if guard is None:
            return
        try:
            guard.blank(True)
        except MicroscopeError as error:
            with self._lock:
                self._say(f"{NOT_CONFIRMED}: {error}")

    def _take_in(self, step: Step, now: bool = True) -> None:
        episode = self.experiment.env.episode
        shown = episode.display(step.frame)
        segmented = self.experiment.agent.segmented(step.frame)
        charge = step.frame.charge_e
        with self._lock:
            if self._mosaic is None:
                self._mosaic = Mosaic(self.field_yx_nm, self._cells(step))
            self._mosaic.add(step.frame, shown)
            if charge is not None and isfinite(charge):
                if self._dose is None:
                    self._dose = Mosaic(self.field_yx_nm, self._cells(step))
                each = np.full(shown.shape, charge / shown.size, dtype=np.float32)
                self._dose.add(step.frame, each)
            self._curve.add((step.spent, step.fraction if self._knows_truth else np.nan))
            self._boxes.add(footprint(step.frame.region, step.frame.state))
            self._latest, self._segmented = step, segmented
            if step.explanation.telling:
                self._telling = step.explanation
            self._say(f"frame {step.index + 1} at {step.explanation.sentence}", now)

    # Under the lock.

    def _say(self, sentence: str, now: bool = True) -> None:
        """With the time of day, unless it was at another."""
        self._log.append(f"{time.strftime('%H:%M:%S')}  {sentence}" if now else sentence)
        self._version += 1

    def _note_refusals(self) -> None:
        for sentence in self.experiment.refused[self._refused :]:
            self._refused += 1
            self._say(f"refused: {sentence}")

    def _cells(self, step: Step) -> tuple[int, int]:
        """As fine as the reference frame's pixels, and no finer than a screen."""
        height, width = self.field_yx_nm
        pitch = max(max(height, width) / CELLS, min(step.request.pixel_yx_nm))
        return max(1, round(height / pitch)), max(1, round(width / pitch))

    def _beam(self) -> str:
        guard = self.guard()
        if guard is None:
            return self.read_only or "no instrument yet"
        try:
            state = guard.seen()
        except MicroscopeError as error:
            return str(error)
        current = state.beam_current_pa
        told = "" if current is None else f", {current:.3g} pA ({state.current_source})"
        words = f"beam {'blanked' if state.blanked else 'on'}{told}"
        if guard.stopped:
            return f"{words}; STOPPED: {guard.stopped}"
        return f"{words}; by the guard: {guard.secured}" if guard.secured else words

    def _places(self) -> dict[str, Floats]:
        """Of the claims so far, by class; made once for every frame, and each place once."""
        step = self._latest
        if step is None or self._placed[0] == step.index:
            return self._placed[1]
        frames = self.experiment.env.episode.history
        found: dict[str, list[Floats]] = {}
        known, self._where = self._where, {}
        for finding in step.findings:
            if 0 <= finding.frame < len(frames) and len(finding.points_px):
                # An agent claims the same ones again after every frame.
                _, place = known.get(id(finding), (None, None))
                if place is None:
                    middle = np.mean(finding.points_px, axis=0)
                    place = specimen_from_pixel(frames[finding.frame], middle)
                self._where[id(finding)] = finding, place  # it, so that no other has its id
                found.setdefault(finding.label, []).append(place)
        self._placed = step.index, {label: np.array(places) for label, places in found.items()}
        return self._placed[1]

    def _seen_share(self) -> float | None:
        known = self._knows_truth and len(self._curve.rows) > 0
        return float(self._curve.rows[-1, 1]) if known else None

    @property
    def _knows_truth(self) -> bool:
        return self.experiment.env.truth is not None
