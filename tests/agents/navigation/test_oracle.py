"""The oracle's plans."""

from __future__ import annotations

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.registration import make_env


def test_the_oracle_plans_where_frames_truly_come_to_lie():
    """An action of 32 bits moves a frame by a hair, and points on its edge with it."""
    env = make_env("StemScout/Composite-v0", split="test", terminate_when_done=False)
    steps = Experiment(env, make_agent("oracle"), seed=0).run()
    assert steps[-1].fraction > 0.999


def test_the_oracle_plans_over_cells_where_actions_are_cells():
    env = make_env("StemScout/MoS2Defects-v0", action="grid", split="test")
    steps = Experiment(env, make_agent("oracle"), seed=0).run()
    assert steps[-1].fraction > 0.9
    cells = [env.actions.cell_of(s.request.centre_yx_nm) for s in steps]
    assert None not in cells
