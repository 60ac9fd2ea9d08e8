"""A real browser, and sessions over guarded simulations."""

from __future__ import annotations

import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.watched import WatchedSource
from stemscout.hardware.guard import guarded
from stemscout.views.console.session import Session

BUDGET = 0.06  # fifteen frames


@pytest.fixture
def sessions(graphene):
    """Makes sessions over a guarded simulation, and ends them."""
    made = []

    def make(agent="linear-bo", journal=None, budget=BUDGET, **options):
        env = graphene(budget=budget)
        env.source = WatchedSource(env.source, lambda m: guarded(m, journal=journal))
        record = (lambda kind, data: None) if journal is None else journal.write
        experiment = Experiment(env, make_agent(agent), seed=0, record=record, **options)
        session = Session(experiment, guard=lambda: env.source.guard)
        made.append(session)
        return session

    yield make
    for session in made:
        session.experiment.stop()
        assert session.wait(30)
        session.experiment.env.close()


@pytest.fixture(scope="module")
def chromium(chromium_command):
    """It, driven from here."""
    path, *flags = chromium_command
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()
