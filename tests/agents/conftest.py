"""What tests of agents share: one thread, what agents are told, frames they might have taken."""

from __future__ import annotations

import pytest
import torch

from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.scripted import Raster
from stemscout.agents.workflow import Navigated
from stemscout.envs.registration import make_env


@pytest.fixture(scope="session")
def context_of():
    """The context of a validation specimen, truth and all, the frames of a raster of it, and it."""

    def made(name, seed=0, **options):
        env = make_env(name, split="validation", **options)
        agent = Navigated(Raster())
        agent.privileged = True  # for the truth in its context
        experiment = Experiment(env, agent, seed=seed, explain=False)
        experiment.run()
        context = experiment.context()
        return context, [s.frame for s in experiment.steps], context.truth

    return made


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small networks get slower with more, and sums round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
