"""A real browser, and sessions over guarded simulations."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.envs.live import LiveEnv
from stemscout.envs.watched import WatchedSource
from stemscout.hardware.errors import AbortedError
from stemscout.hardware.guard import guarded
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.views.console.session import Session

BUDGET = 0.06  # fifteen frames
WHERE = """([name, x, y]) => {
    const plot = Bokeh.documents.map(d => d.get_model_by_name(name)).find(m => m);
    const view = Bokeh.index.find_one(plot);
    const box = view.el.getBoundingClientRect();
    const frame = view.frame;
    return [box.x + frame.x_scale.compute(x), box.y + frame.y_scale.compute(y)];
}"""
CHOOSE = """([name, tool]) => {
    const plot = Bokeh.documents.map(d => d.get_model_by_name(name)).find(m => m);
    plot.toolbar.tools.find(t => t.type == tool).active = true;
}"""


class Seat:
    """Somebody at a page."""

    def __init__(self, page, address, token=""):
        self.page, self.wrong = page, []
        page.set_default_timeout(15_000)
        page.on("console", lambda m: m.type == "error" and self.wrong.append(m.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda r: self._asked(r.url, address))
        page.goto(address)
        if token:
            page.get_by_label("Token").fill(token)
            self.button("Come in").click()
        self.button("STOP (Esc)").wait_for()

    def _asked(self, url, address):
        if not url.startswith((address, "data:", "blob:")):
            self.wrong.append(f"asked for {url}")

    def button(self, name):
        return self.page.get_by_role("button", name=name, exact=True)

    def reads(self, text):
        self.page.get_by_text(text).first.wait_for()

    def at(self, plot, yx):
        return self.page.evaluate(WHERE, [plot, yx[1], yx[0]])

    def drag(self, plot, tool, first, last):
        if tool is not None:
            self.page.evaluate(CHOOSE, [plot, tool])
        mouse = self.page.mouse
        mouse.move(*self.at(plot, first))
        mouse.down()
        mouse.move(*self.at(plot, last), steps=8)
        mouse.up()


class Slow(SimulatedMicroscope):
    """A simulated microscope whose scans last until they are let go or aborted.

    Attributes:
        holds: whether they do.
        scanning: set while one is under way.
        stuck: its blanker does nothing, and says so.
    """

    def __init__(self, world):
        super().__init__(world, 0, 24.0)
        self.capabilities = replace(self.capabilities, can_abort=True)
        self.holds, self.stuck = False, False
        self.scanning, self.go, self.aborted = (threading.Event() for _ in range(3))

    def acquire(self, request, timeout_s=60.0):
        self.aborted.clear()
        self.scanning.set()
        try:
            while self.holds and not self.go.wait(0.001):
                if self.aborted.is_set():
                    raise AbortedError("the scan was aborted")
            return super().acquire(request, timeout_s)
        finally:
            self.scanning.clear()

    def blank(self, on):
        return super().blank(on and not self.stuck)

    def abort(self):
        self.aborted.set()


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


@pytest.fixture
def live(world):
    """Makes sessions on a slow microscope with a guard, and ends them; it is ``.microscope``."""
    made = []

    def make(agent="grid", journal=None, heartbeat_s=None, frames=8, **options):
        microscope = Slow(world)
        guard = guarded(microscope, journal=journal, heartbeat_s=heartbeat_s)
        decides = make_agent(agent)
        needs = {"action": decides.needs.action, "observation": decides.needs.observation}
        env = LiveEnv(guard, frame_nm=1.0, dwell_us=24.0, frames=frames, **needs)
        record = (lambda kind, data: None) if journal is None else journal.write
        experiment = Experiment(env, decides, seed=0, record=record, **options)
        session = Session(experiment, guard=lambda: guard)
        session.microscope = microscope
        made.append(session)
        return session

    yield make
    for session in made:
        session.microscope.go.set()
        session.microscope.stuck = False
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


@pytest.fixture
def seats(chromium):
    """Opens pages of a session; ``door`` and ``token`` where one has to come in."""
    from stemscout.views.console.serving import Console

    consoles, contexts, seated = {}, [], []

    def sit(session, door=None, token="", **size):
        if session not in consoles:
            consoles[session] = Console(session, "graphene <b>&", door)
        shown = {"width": 1280, "height": 800, **size}
        context = chromium.new_context(viewport=shown, ignore_https_errors=True)
        contexts.append(context)
        seated.append(Seat(context.new_page(), consoles[session].address, token))
        return seated[-1]

    yield sit
    for context in contexts:
        context.close()
    for console in consoles.values():
        console.close()
    for seat in seated:
        assert seat.wrong == []
