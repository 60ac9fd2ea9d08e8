"""What tests of agents share: what an agent is told, and frames that it might have taken."""

from __future__ import annotations

import pytest

from stemscout.agents.experiment import Experiment
from stemscout.agents.navigation.scripted import Raster
from stemscout.agents.workflow import Navigated
from stemscout.envs.registration import make_env


class Knowing(Navigated):
    privileged = True


@pytest.fixture(scope="session")
def context_of():
    """The context of a validation specimen, truth and all, the frames of a raster of it, and it."""

    def made(name, seed=0, **options):
        env = make_env(name, split="validation", **options)
        agent = Knowing(Raster())
        agent.privileged = True
        experiment = Experiment(env, agent, seed=seed, explain=False)
        experiment.run()
        context = experiment.context()
        return context, [s.frame for s in experiment.steps], context.truth

    return made
