"""How far the console is behind a run, how soon it answers, and what it takes up.

    stemscout bench console --frames 2000 --json

A simulation is driven at a steady pace, and a page looks at it every tenth of a second, as the
server's do; all that it changes is written as it would be sent.  With a browser, the same is
seen from the other end of the wire.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.catalogue import make_agent
from ..agents.experiment import Experiment, Step
from ..envs.registration import make_env
from ..envs.watched import WatchedSource
from ..hardware.guard import guarded
from ..views.console.session import Session

FRAMES, PER_SECOND = 2000, 20.0
AGENT = "true-grid"  # claims, descriptors, and a decision that is soon made
ID = "StemScout/GrapheneDefects-v0"
BETWEEN = 10  # updates between one thing that a person does and the next
SETTLED = 200  # frames, after which all that is made once has been made
FRAMES_TOLD = re.compile(r", (\d+) frames</td>")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# Of what the page's models hold: frames that its gauges tell, and its message.
SAID = """() => {
    let text = "";
    for (const view of Bokeh.index.query(v => v.model.type.endsWith("HTML")))
        text += " " + view.model.text;
    return text;
}"""
# From a click until the page's message has changed, in ms.
CLICKED = """async (button) => {
    const said = () => {
        let text = "";
        for (const view of Bokeh.index.query(v => v.model.type.endsWith("HTML")))
            text += view.model.text.match(/next decision on: \\S+/)?.[0] ?? "";
        return text;
    };
    const before = said(), began = performance.now();
    button.click();
    while (said() == before && performance.now() - began < 5000)
        await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""


@dataclass(frozen=True)
class Reading:
    """What was measured between two numbers of frames; None of what was not.

    Attributes:
        frames: the second number.
        behind_ms, worst_behind_ms: from a frame to the map that shows it, the 95th percentile and
            the greatest.
        answer_ms: from what a person does to the page that shows it, while the page looks at
            the session, the 95th percentile.
        update_ms: what one look takes, the median.
        sent_kb: in one look, the median.
        memory_mb: of the process.
        pixels_mb: of it, those of the frames.
        pace: frames a second.
    """

    frames: int
    behind_ms: float | None
    worst_behind_ms: float | None
    answer_ms: float | None
    update_ms: float | None
    sent_kb: float | None
    memory_mb: float
    pixels_mb: float
    pace: float


def measured(
    frames: int = FRAMES,
    per_second: float = PER_SECOND,
    agent: str = AGENT,
    seed: int = 0,
    marks: int = 4,
) -> list[Reading]:
    """Without a browser: one reading at ``SETTLED`` frames, and ``marks`` after it.

    Raises:
        ValueError: fewer frames than ``SETTLED`` and the marks, or a pace that is not above 0.
    """
    from ..views.console.page import EVERY_MS, Page

    with _paced(frames, per_second, agent, seed) as (session, taken):
        page = Page(session, "measured")
        sent = _written(page)
        log = _Log(session, taken, marks, frames)
        session.start()
        due, looks = time.perf_counter(), 0
        while log.awaits:
            began = time.perf_counter()
            page.update()
            ended = time.perf_counter()
            log.looked(ended, ended - began, sent())
            looks += 1
            if looks % BETWEEN == 0:
                page.layer.value = page.layer.options[looks // BETWEEN % 2 * -1]
                # Whoever acts while the page looks waits for the look to end.
                log.answered(time.perf_counter() - began)
                sent()
            due = max(due + EVERY_MS / 1e3, time.perf_counter())
            time.sleep(due - time.perf_counter() if due > time.perf_counter() else 0)
        return log.readings


def browsed(
    frames: int = FRAMES,
    per_second: float = PER_SECOND,
    agent: str = AGENT,
    seed: int = 0,
    marks: int = 4,
) -> list[Reading]:
    """The same, as a browser without a head sees it; what it sends is not counted.

    Raises:
        ValueError: there is no Chromium, or as ``measured``.
    """
    from playwright.sync_api import sync_playwright

    from ..views.console.serving import Console

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise ValueError("there is no Chromium here; leave --browser out")
    with _paced(frames, per_second, agent, seed) as (session, taken), sync_playwright() as driver:
        console = Console(session, "measured")
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(console.address)
            page.get_by_role("button", name="Start").click()
            log = _Log(session, taken, marks, frames)
            pursue = page.get_by_role("button", name="Pursue", exact=True).element_handle()
            words, looks = page.get_by_label("pursue", exact=True), 0
            while log.awaits:
                began = time.perf_counter()
                told = FRAMES_TOLD.search(unescape(page.evaluate(SAID)))
                count = 0 if told is None else int(told[1])
                ended = time.perf_counter()
                log.looked(ended, ended - began, count=count)
                looks += 1
                if looks % BETWEEN == 0:
                    words.select_option(("distance", "farthest")[looks // BETWEEN % 2])
                    log.answered(page.evaluate(CLICKED, pursue) / 1e3)
                time.sleep(0.02)
            return log.readings
        finally:
            browser.close()
            console.close()


class _Log:
    """What was measured so far, and a reading at each of some numbers of frames."""

    def __init__(self, session: Session, taken: list[float], marks: int, frames: int) -> None:
        if frames <= SETTLED or marks < 1:
            raise ValueError(f"{frames} frames; there must be more than {SETTLED}")
        self._session, self._taken = session, taken
        self._due = [SETTLED, *np.linspace(SETTLED, frames, marks + 1)[1:].astype(int).tolist()]
        self.readings: list[Reading] = []
        self._shown = self._before = 0
        self._clear()

    def _clear(self) -> None:
        self._behind: list[float] = []
        self._answers: list[float] = []
        self._looks: list[float] = []
        self._sent: list[float] = []

    def looked(
        self, at: float, took_s: float, sent: float | None = None, count: int | None = None
    ) -> None:
        """The page has shown ``count`` frames; all that the session has, where it is not told."""
        now = self._session.shown().frames if count is None else count
        self._behind += [at - t for t in self._taken[self._shown : now]]
        self._shown = max(self._shown, now)
        self._looks.append(took_s)
        if sent is not None:
            self._sent.append(sent)
        while self._due and self._shown >= self._due[0]:
            self._read(self._due.pop(0))

    @property
    def awaits(self) -> bool:
        """Whether there is a reading to come."""
        now = self._session.shown()
        return bool(self._due) and not (now.over and self._shown >= now.frames)

    def answered(self, seconds: float) -> None:
        """Of what a person did."""
        self._answers.append(seconds)

    def _read(self, frames: int) -> None:
        taken = self._taken[self._before : self._shown]
        history = self._session.experiment.env.episode.history
        pixels = sum(image.nbytes for f in history for image in f.data.values())
        self.readings.append(
            Reading(
                frames=frames,
                behind_ms=_ms(self._behind, 95),
                worst_behind_ms=_ms(self._behind, 100),
                answer_ms=_ms(self._answers, 95),
                update_ms=_ms(self._looks, 50),
                sent_kb=round(float(np.median(self._sent)) / 1e3, 1) if self._sent else None,
                memory_mb=round(memory_mb(), 1),
                pixels_mb=round(pixels / 1e6, 1),
                pace=round((len(taken) - 1) / (taken[-1] - taken[0]), 1),
            )
        )
        self._before = self._shown
        self._clear()


@contextmanager
def _paced(
    frames: int, per_second: float, agent: str, seed: int
) -> Iterator[tuple[Session, list[float]]]:
    """A session over a guarded simulation, and when each of its frames was taken in."""
    if per_second <= 0:
        raise ValueError(f"{per_second:g} frames a second; there must be more than 0")
    reference_nm = make_env(ID).source.reference.side_nm
    side = reference_nm * (int(np.sqrt(frames)) + 1)
    env = make_env(ID, field_nm=side, budget=1.0, terminate_when_done=False)
    source = env.source = WatchedSource(env.source, guarded)
    experiment = Experiment(env, make_agent(agent), seed=seed)
    taken: list[float] = []

    def drive(on_step: Callable[[Step], None]) -> None:
        due = time.perf_counter()
        for step in experiment:
            on_step(step)
            taken.append(time.perf_counter())
            if len(taken) >= frames:
                return
            due = max(due + 1.0 / per_second, taken[-1])
            time.sleep(due - taken[-1])

    session = Session(experiment, drive, lambda: source.guard)
    try:
        yield session, taken
    finally:
        experiment.stop()
        session.wait()
        env.close()


def _written(page: Any) -> Callable[[], float]:
    """Put a page into a document; the bytes that have changed since one asked before."""
    from bokeh.document import Document
    from bokeh.protocol import Protocol

    document = Document()
    changes: list[Any] = []
    page.view().server_doc(document)
    document.on_change(changes.append)

    def sent() -> float:
        if not changes:
            return 0.0
        message = Protocol().create("PATCH-DOC", list(changes))
        changes.clear()
        buffers = sum(len(b.to_bytes()) for b in message.buffers)
        return float(len(message.content_json) + buffers)

    return sent


def memory_mb() -> float:
    """What the process has in memory, in MB; Linux tells it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return float(line.split()[1]) * 1024 / 1e6
    return np.nan


def _ms(seconds: list[float], percentile: float) -> float | None:
    return round(1e3 * float(np.percentile(seconds, percentile)), 1) if seconds else None
