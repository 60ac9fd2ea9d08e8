"""How good a learned navigator is, on validation specimens and with the real detector."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ...envs.registration import NAMESPACE, make_env
from ..agent import Agent
from ..experiment import Experiment

IDS = {
    "graphene": f"{NAMESPACE}/GrapheneDefects-v0",
    "mos2": f"{NAMESPACE}/MoS2Defects-v0",
    "nio_lsmo": f"{NAMESPACE}/NiOPillars-v0",
    "bifeo3": f"{NAMESPACE}/FerroelectricDomains-v0",
    "nanoparticles": f"{NAMESPACE}/Nanoparticles-v0",
}
BUDGET = 0.4


def area(agent: Agent, specimen: str, difficulty: str, seed: int) -> float:
    """Under the steps of what was seen against charge, over the budget, of one episode."""
    env = make_env(
        IDS[specimen],
        difficulty=difficulty,
        split="validation",
        budget=BUDGET,
        terminate_when_done=False,
        action=agent.needs.action,
        observation=agent.needs.observation,
    )
    steps = Experiment(env, agent, seed=seed, explain=False).run()
    spent = np.array([s.spent for s in steps])
    gained = np.diff([0.0, *(s.fraction for s in steps)])
    return float(gained @ (BUDGET - spent)) / BUDGET


def areas(
    make: Callable[[], Agent], specimen: str, levels: Iterable[str], count: int
) -> dict[str, float]:
    """The mean over so many specimens, by difficulty."""
    agent = make()
    return {
        level: round(float(np.mean([area(agent, specimen, level, k) for k in range(count)])), 4)
        for level in levels
    }
