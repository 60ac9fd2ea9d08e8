"""Training by reinforcement: Stable-Baselines3's algorithms on rehearsed episodes.

What an algorithm is given stands in a file of YAML, one for each algorithm, by environment
(``hyper/``), in the manner of RL Baselines3 Zoo.  A training goes on exactly where it was killed,
and ends early where validation specimens say that nothing is gained any more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from ...envs.numbers import is_number
from ..perception.sightings import Layers
from ..strict_yaml import read_yaml
from . import checkpoint
from .actor import AS_FRAMES, algorithm_of, options_of
from .cloning import clone
from .detector import Detector
from .members import cells_of, pool
from .network import BeliefNet
from .own_belief import OwnBelief
from .policies import BELIEFS, Policies, State, state_of
from .rehearsal import Rehearsal
from .rehearsal_env import SCALE, RehearsalEnv
from .validation import IDS
from .weights import belief_of

HYPER = Path(__file__).with_name("hyper")
ON_POLICY = ("ppo", "maskable-ppo", "recurrent-ppo")
LEVELS = ("easy", "medium", "hard")
JUDGED, JUDGED_SEED = 64, 7  # validation episodes, side by side, always the same
LINEAR = "lin_"  # a learning rate that falls to nothing, as the zoo writes it


@dataclass(frozen=True)
class Settings:
    """What a training is given.

    Attributes:
        steps: frames, of all episodes together.
        side_by_side: episodes.
        specimens: of training, of all difficulties.
        budget: of an episode, in rasters.
        belief: that encodes the evidence: ``none``, ``frozen`` as it is in the package, or
            ``tuned``, a copy that is trained with the policy, which takes several times as long.
        curriculum: difficulties, in the order in which they join; all at once without.
        eased: share of the training by whose end all have joined.
        teacher: whose choices are cloned before; None for nobody's.
        cloned: frames of each episode for that.
        evaluate: episodes of each of those side by side, between two evaluations.
        patience: evaluations without any gain, after which the training ends.
        network: ``width`` and ``dilations``.
        brief: the network calculates in bfloat16 while it is trained; what is trained is kept in
            single precision, and decides in it afterwards.
        algorithm: arguments of the algorithm.
    """

    steps: int
    side_by_side: int = 32
    specimens: int = 1000
    budget: float = 0.4
    belief: str = "frozen"
    curriculum: tuple[str, ...] = ()
    eased: float = 0.5
    teacher: str | None = None
    cloned: int = 0
    evaluate: int = 5
    patience: int = 10
    network: Mapping[str, Any] = field(default_factory=dict)
    brief: bool = False
    algorithm: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, algorithm: str, env_id: str, path: Path | None = None) -> Settings:
        """From a file of YAML, the package's by default.

        Raises:
            ValueError: no such file or environment in it, unknown keys, or values of no use.
        """
        path = path or HYPER / f"{algorithm}.yaml"
        if not path.is_file():
            raise ValueError(f"no hyper-parameters: there is no file {path}")
        try:
            every = read_yaml(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        if not isinstance(every, dict) or env_id not in every:
            known = ", ".join(k for k in every if "/" in k) if isinstance(every, dict) else "none"
            raise ValueError(f"{path} has nothing for {env_id}; it has: {known}")
        given = every[env_id]
        if not isinstance(given, dict):
            raise ValueError(f"{path}: what stands under {env_id} is no table")
        names = [f.name for f in fields(cls)]
        unknown = [str(k) for k in given if k not in names]
        if unknown:
            raise ValueError(
                f"{path}: unknown key {', '.join(unknown)} under {env_id}; there are: "
                f"{', '.join(names)}"
            )
        if "steps" not in given:
            raise ValueError(f"{path}: {env_id} lacks steps")
        try:
            made = cls(**{**given, "curriculum": tuple(given.get("curriculum", ()))})
            made.check(algorithm)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, {env_id}: {error}") from error
        return made

    def check(self, algorithm: str) -> None:
        """Raises ValueError where something is of no use."""
        counts = ("steps", "side_by_side", "specimens", "evaluate", "patience")
        for name in counts:
            value = getattr(self, name)
            if not (is_number(value, Integral) and value >= 1):
                raise ValueError(f"{name} is {value!r}; it must be an integer, at least 1")
        if not (is_number(self.budget) and 0 < self.budget <= 1):
            raise ValueError(f"budget is {self.budget!r}; it must lie in (0, 1]")
        if not (is_number(self.eased) and 0 < self.eased <= 1):
            raise ValueError(f"eased is {self.eased!r}; it must lie in (0, 1]")
        if self.belief not in BELIEFS:
            raise ValueError(f"belief is {self.belief!r}; there are: {', '.join(BELIEFS)}")
        if self.belief == "tuned" and algorithm not in AS_FRAMES:
            raise ValueError(f"{algorithm} has no actor that prefers frames, and tunes no belief")
        unknown = [k for k in self.network if k not in ("width", "dilations")]
        if unknown:
            raise ValueError(f"network has no {', '.join(unknown)}; it has: width, dilations")
        if "n_steps" in self.algorithm or "seed" in self.algorithm:
            raise ValueError("n_steps is the length of an episode, and seed an option of its own")
        if not isinstance(self.brief, bool):
            raise ValueError(f"brief is {self.brief!r}; it must be true or false")
        if self.brief and algorithm not in AS_FRAMES:
            raise ValueError(f"{algorithm} has no actor that prefers frames, and none to be brief")
        if self.cloned and self.teacher is None:
            raise ValueError("cloned needs a teacher")
        if self.teacher is not None and algorithm not in ("ppo", "maskable-ppo"):
            raise ValueError(f"{algorithm} has no actor that prefers frames, and clones nobody")


@dataclass(frozen=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: frames so far.
        steps: at most.
        area: on validation, under the curve of discovery; the latest, and the best so far.
        best: the latter.
    """

    step: int
    steps: int
    area: float
    best: float


def train(
    algorithm: str,
    env_id: str,
    settings: Settings,
    seed: int,
    kept: Path | None = None,
    tensorboard: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Policies:
    """A policy; what it is follows from the seed, however often its training was broken off.

    Args:
        algorithm: one of ``actor.ALGORITHMS``.
        env_id: of an environment whose detector was measured.
        settings: what it is given.
        seed: of everything.
        kept: a checkpoint, written at every evaluation; given again, training goes on there.
        tensorboard: a folder for its curves.
        report: told at every evaluation how far it is.

    Raises:
        ValueError: an unknown algorithm or environment, arguments that the algorithm does not
            take, or a checkpoint that is damaged or of another training.
    """
    specimen = specimen_for(env_id)
    torch.manual_seed(seed)
    belief = None if settings.belief == "none" else belief_of(specimen)
    rng, of_judge = np.random.default_rng([seed, 2]), np.random.default_rng(JUDGED_SEED)
    env = rehearsed(specimen, settings, belief, algorithm, rng)
    judge = rehearsed(specimen, settings, belief, algorithm, of_judge, judged=True)
    tuned = settings.belief == "tuned"
    own = OwnBelief(Layers.of(specimen), belief) if tuned else None
    model = model_of(algorithm, env, settings, seed, tensorboard, own)
    of = {"algorithm": algorithm, "env": env_id, "seed": seed, "settings": asdict(settings)}
    watch = Watch(env, judge, settings, kept, json.loads(json.dumps(of)), report)
    if kept is not None and kept.exists():
        watch.resume(model)
    elif settings.teacher is not None and settings.cloned:
        clone(model.policy.mlp_extractor.actor, env, settings.teacher, settings.cloned)
    if not watch.over and model.num_timesteps < settings.steps:
        left = settings.steps - model.num_timesteps
        model.learn(left, watch, reset_num_timesteps=False)
        if not watch.over:
            watch.look(model)
    card = {**of, "curve": watch.curve, "area": watch.best, "steps": int(model.num_timesteps)}
    state = state_of(algorithm, watch.best_state)
    return Policies(specimen, algorithm, dict(settings.network), settings.belief, (state,), card)


def specimen_for(env_id: str) -> str:
    """The kind of specimen of an environment; ValueError where no detector was measured for it."""
    for specimen, known in IDS.items():
        if known == env_id:
            return specimen
    known_ids = ", ".join(IDS.values())
    raise ValueError(f"nothing is rehearsed of {env_id!r}; of these it is: {known_ids}")


def rehearsed(
    specimen: str,
    settings: Settings,
    belief: BeliefNet | None,
    algorithm: str,
    rng: np.random.Generator,
    judged: bool = False,
) -> RehearsalEnv:
    """Episodes to train on, or of validation specimens.

    Raises:
        ValueError: a curriculum of difficulties that no specimen has.
    """
    shown = pool(specimen, JUDGED, "validation") if judged else pool(specimen, settings.specimens)
    rehearsal = Rehearsal(
        shown,
        Layers.of(specimen),
        cells_of(specimen),
        Detector.of(specimen),
        rng,
        JUDGED if judged else settings.side_by_side,
    )
    if unknown := [level for level in settings.curriculum if level not in LEVELS]:
        raise ValueError(f"no specimens are {', '.join(unknown)}; there are: {', '.join(LEVELS)}")
    if settings.curriculum and not judged:
        rehearsal.levels = settings.curriculum[:1]
    action = "place" if algorithm == "sac" else "frame"
    tuned = settings.belief == "tuned"
    return RehearsalEnv(rehearsal, None if tuned else belief, settings.budget, action, tuned)


def model_of(
    algorithm: str,
    env: RehearsalEnv,
    settings: Settings,
    seed: int,
    tensorboard: Path | None,
    own: OwnBelief | None = None,
) -> Any:
    """A model of Stable-Baselines3, before any training; ``own`` is tuned with it.

    Raises:
        ValueError: arguments that the algorithm does not take.
    """
    given = dict(settings.algorithm)
    rate = given.get("learning_rate")
    if isinstance(rate, str):
        given["learning_rate"] = _falling(rate)
    if algorithm in ON_POLICY:
        given["n_steps"] = env.frames  # a rollout is an episode of each
    made, policy, _ = algorithm_of(algorithm)
    try:
        return made(
            policy,
            env,
            policy_kwargs=options_of(algorithm, settings.network, own, settings.brief),
            seed=seed,
            device="cpu",
            tensorboard_log=None if tensorboard is None else str(tensorboard),
            **given,
        )
    except (TypeError, AssertionError) as error:
        raise ValueError(f"{algorithm} does not take these arguments: {error}") from error


def _falling(rate: str) -> Callable[[float], float]:
    """A learning rate that falls linearly to nothing: ``lin_1e-3``."""
    try:
        if not rate.startswith(LINEAR):
            raise ValueError(rate)
        first = float(rate.removeprefix(LINEAR))
    except ValueError as error:
        raise ValueError(f"a learning rate of {rate!r}; it must be lin_ and a number") from error
    return lambda left: first * left


def area(model: Any, env: RehearsalEnv) -> float:
    """What a model reaches on the same episodes every time: under the curve of discovery."""
    env.rehearsal.rng.bit_generator.state = np.random.default_rng(JUDGED_SEED).bit_generator.state
    maps, earned, state = env.reset(), 0.0, None
    starts = np.ones(env.num_envs, dtype=bool)
    masked = type(model).__name__ == "MaskablePPO"
    for _ in range(env.frames):
        masks = {"action_masks": env.action_masks()} if masked else {}
        actions, state = model.predict(
            maps, state=state, episode_start=starts, deterministic=True, **masks
        )
        env.step_async(actions)
        maps, rewards, starts, _ = env.step_wait()
        earned += float(rewards.mean())
    return earned / SCALE


class Watch(BaseCallback):
    """Evaluates, keeps the best, makes checkpoints, lets harder specimens join, and ends it.

    Attributes:
        curve: frames, and the area on validation, at every evaluation.
        best: of the latter.
        best_state: parameters then.
        over: nothing was gained for too long.
    """

    def __init__(
        self,
        env: RehearsalEnv,
        judge: RehearsalEnv,
        settings: Settings,
        kept: Path | None,
        of: dict[str, Any],
        report: Callable[[Progress], None],
    ) -> None:
        super().__init__()
        self.env, self.judge, self.settings = env, judge, settings
        self.kept, self.of, self.report = kept, of, report
        self.every = settings.evaluate * env.frames * env.num_envs
        self.curve: list[list[float]] = []
        self.best, self.since = -1.0, 0
        self.best_state: State = {}
        self.over = False

    def _on_rollout_start(self) -> None:
        done = int(self.model.num_timesteps)
        if not self.curve or done >= self.curve[-1][0] + self.every:
            self.look(self.model)
            if self.kept is not None:
                about = {"of": self.of, "curve": self.curve, "best": self.best, "since": self.since}
                checkpoint.save(self.kept, self.model, self.env, about, self.best_state)
        order = self.settings.curriculum
        if order:
            share = done / (self.settings.eased * self.settings.steps)
            self.env.rehearsal.levels = order[: 1 + int(share * len(order))]

    def _on_step(self) -> bool:
        return not self.over

    def look(self, model: Any) -> None:
        """How good it is on validation specimens."""
        done = int(model.num_timesteps)
        if self.curve and self.curve[-1][0] == done:
            return
        reached = area(model, self.judge)
        self.curve.append([done, reached])
        model.logger.record("validation/area", reached)
        if reached > self.best:
            self.best, self.since = reached, 0
            self.best_state = {k: v.detach().clone() for k, v in model.policy.state_dict().items()}
        else:
            self.since += 1
        self.over = self.since >= self.settings.patience
        self.report(Progress(done, self.settings.steps, reached, self.best))

    def resume(self, model: Any) -> None:
        """Go on where a checkpoint was made; ValueError where it is of another training."""
        assert self.kept is not None
        held = checkpoint.load(self.kept)
        about = held["about"]
        if about.get("of") != self.of:
            raise ValueError(f"{self.kept} is of another training; name another file, or remove it")
        checkpoint.restore(held, model, self.env)
        self.curve, self.best, self.since = about["curve"], about["best"], about["since"]
        self.best_state = held["best"]
        self.over = self.since >= self.settings.patience
