"""The page that one browser shows: plots, gauges, and the ways to steer and to stop.

It looks at the session again and again, and sends what has changed.  Whatever a person does goes
through the session, which refuses those who only look on.  Text that comes from elsewhere,
names of files, classes or errors, is escaped.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from html import escape as as_text
from typing import Any

import panel as pn

from ...agents.agent import Rectangle
from ...agents.catalogue import AGENTS
from ...agents.controls import AUTOMATIC, MODES
from ...agents.scalarizers import WORDS
from ...hardware.errors import LeaseError, MicroscopeError
from ...hardware.microscope import YX
from . import session as phases
from . import telling
from .frame import LatestFrame, Neighbours
from .latent import LASSO, PLANE_PX, WAYS, LatentPlane, Pictures
from .plots import BRIGHT, INK, NO_LAYER, PAPER, Discovery, Marks, SpecimenMap
from .session import Session, Shown
from .widgets import (
    CLOSE,
    STOP,
    StopKey,
    button,
    html,
    number,
    one_of,
    select,
    some_of,
)

EVERY_MS = 100
PATIENCE_S = 1.0  # with a browser that does not tell what it has drawn, such as a hidden one
STYLE = f"""
body {{ background: {PAPER}; color: {INK}; margin: 0; font: 13px/1.45 system-ui, sans-serif; }}
"""
PATH, FINDINGS, SEGMENTATION = OVER = ("path", "findings", "segmentation")
PICTURES = {
    "map": "map of the specimen with frames, findings, forbidden regions and the next frame",
    "frame": "the latest frame with what is found in it",
    "neighbours": "frames whose descriptors are nearest to the latest",
    "components": "components; the list named pursue has them, too",
    "plane": "frames in the plane of the first two descriptors; a point may be given by numbers",
    "discovery": "share of the features seen against charge",
}


class Page:
    """What one browser shows of a session.

    Args:
        session: may have other pages.
        title: what runs, for the head of the page.
        owner: whose page it is, for those who want control.
        export: writes the journal in other formats and says where; None where there is none.
        observes: why it may not take control; empty where it may.
        escape: whether that key stops; a notebook has other uses for it.
    """

    def __init__(
        self,
        session: Session,
        title: str = "",
        owner: str = "another page",
        export: Callable[[], str] | None = None,
        observes: str = "",
        escape: bool = True,
    ) -> None:
        self.session, self.title, self.owner, self.export = session, title, owner, export
        self.observes = observes
        self.key: str | None = None
        self.seen: Any = None
        self.box: Rectangle | None = None
        self._told = ""  # by a thread, to be said
        self._late: float | None = None  # until when what was sent may take to be drawn
        self._answers = False  # whether a browser tells of it
        classes = session.experiment.env.source.classes or ()
        marks = Marks(c.name for c in classes)
        self.map = SpecimenMap(session, marks, self._pointed, self._boxed)
        self.frame, self.neighbours = LatestFrame(marks), Neighbours()
        self.pictures = Pictures(self._aim)
        self.plane = LatentPlane(lambda corners: self._aim({"region": corners}), self._dragged)
        self.pictures_pane = pn.pane.Bokeh(self.pictures.plot, margin=CLOSE)
        self.curve = Discovery()
        self._make_widgets(escape)
        self.head, self.message = html(width=640, height=24), html(width=640, height=22)
        self.gauges, self.log = html(width=340, height=200), html(width=545, height=112)
        self.scale = html(width=545, height=20)
        self.legend = html(width=82, height=246)
        self.take_control(quietly=True)
        self.update()

    # What a person does.

    def take_control(self, quietly: bool = False) -> None:
        """Control for this page, where nobody else has it."""
        if self.observes:
            self.say("" if quietly else self.observes)
            return
        try:
            self.key = self.session.take(self.owner)
        except LeaseError as error:
            if not quietly:
                self.say(str(error))

    def leave(self) -> None:
        """The browser is gone: control is free again, and the run goes on."""
        key, self.key = self.key, None
        if key is not None:
            try:
                self.session.lease.release(key)
            except LeaseError:
                return

    def stop(self) -> None:
        """For every page, in control or not."""
        self.say(str(self.session.stop()))
        self._soon(self.update)

    def _do(self, action: Callable[[Any], object], done: str = "", steers: bool = True) -> None:
        """With the controls, and say that it is done; what is refused changes nothing."""
        try:
            action(self.session.controls(self.key, steers))
        except (ValueError, MicroscopeError) as error:
            self.say(str(error))
        else:
            self.say(done)
        self._soon(self.update)

    def _pointed(self, yx_nm: YX) -> None:
        self.y.value, self.x.value = (round(float(v), 3) for v in yx_nm)

    def _boxed(self, box: Rectangle) -> None:
        self.box = box
        (a, b), (c, d) = box
        self.say(f"A region from ({a:.2f}, {b:.2f}) to ({c:.2f}, {d:.2f}) nm: forbid it?")

    def _aim(self, target: Any) -> None:
        done = f"to be pursued from the next decision on: {json.dumps(target)[:120]}"
        self._do(lambda e: e.steer(target=target), done)

    def _dragged(self, point: tuple[float, float]) -> None:
        self.first.value, self.second.value = (float(f"{v:.4g}") for v in point)
        self._aim({"point": [float(v) for v in point]})

    def _forbid(self, _: Any) -> None:
        y, x, half = float(self.y.value), float(self.x.value), float(self.side.value) / 2
        drawn, self.box = self.box, None
        box = drawn or ((y - half, x - half), (y + half, x + half))
        self._do(lambda e: e.steer(forbid=[*e.forbidden, box]))

    def _ask(self, _: Any) -> None:
        place = (float(self.y.value), float(self.x.value))
        self._do(lambda e: e.ask(place))

    def _begin(self, _: Any) -> None:
        def go(experiment: Any) -> None:
            if self.session.phase == phases.READY:
                self.session.start()
            elif experiment.paused:
                experiment.resume()
            else:
                experiment.pause()

        self._do(go, steers=False)

    def _one(self, _: Any) -> None:
        def go(experiment: Any) -> None:
            experiment.step()
            self.session.start()

        self._do(go, steers=False)

    def _exported(self, _: Any) -> None:
        if self.export is None or self.observes:
            self.say(self.observes or "there is no journal to export")
            return
        self.say("exporting ...")
        # In a thread of its own: the stop button must not wait for it.
        threading.Thread(target=self._write, args=(self.export,), daemon=True).start()

    def _write(self, export: Callable[[], str]) -> None:
        try:
            self._told = export()
        except (OSError, ValueError, ImportError, MicroscopeError) as error:
            self._told = str(error)

    def say(self, sentence: str) -> None:
        """A line for the person at this page."""
        self.message.object = f"<span style='color:{BRIGHT}'>{as_text(sentence)}</span>"

    # What is shown.

    def update(self) -> None:
        """To the session as it is; a sign of life from whoever has control."""
        if self.key is not None:
            try:
                self.session.alive(self.key)
            except LeaseError:
                self.key = None
        if self._told:
            self.say(self._told)
            self._told = ""
        if self._late is not None and time.monotonic() < self._late:
            return
        shown = self.session.shown()
        drawn = (shown.version, shown.explanation, self.layer.value, tuple(self.over.value))
        told = (shown.pending, shown.beam, self.key)
        now = (drawn, shown.phase, shown.mode, shown.proposal, told)
        if now == self.seen:
            return
        before, self.seen = self.seen, now
        if before is None or before[0] != drawn:
            self._draw(shown)
        self.map.point_out(shown)
        self._tell(shown)
        if self._answers:
            self._late = time.monotonic() + PATIENCE_S
            self.keys.sent += 1

    def _soon(self, change: Callable[[], None]) -> None:
        """Change plots as soon as they may be: not while the browser's own event is heard."""
        document = pn.state.curdoc
        if document is None or document.session_context is None:
            change()
        else:
            document.add_next_tick_callback(change)

    def _drawn(self) -> None:
        """The browser has drawn all that it was sent."""
        self._answers, self._late = True, None

    def _draw(self, shown: Shown) -> None:
        self.layer.options = self.map.layers(shown)
        self.map.update(shown, self.layer.value)
        self.scale.object = self.map.scale
        over = self.over.value
        self.map.show(PATH in over, FINDINGS in over)
        told = shown.explanation
        if shown.latest is not None:
            episode = self.session.experiment.env.episode
            display = episode.display(shown.latest.frame)
            self.frame.update(shown, display, FINDINGS in over, SEGMENTATION in over)
            self.legend.object = self.frame.legend
            self.neighbours.update(told, lambda k: episode.display(episode.history[k]))
        self.pictures.update(told)
        self.plane.update(told)
        self.curve.update(shown)
        self._offer(told.names)

    def _offer(self, names: tuple[str, ...]) -> None:
        """What can be pursued by its name, for those who do not tap."""
        offered = [*names, *sorted(WORDS)]
        if self.word.options != offered:
            self.word.options = offered
            self.first.label, self.second.label = (*names, "first", "second")[:2]
        # Where there are no pictures, the plane takes their place.
        shown = bool(self.pictures.count)
        if self.pictures_pane.visible != shown:
            self.pictures_pane.visible = shown
            self.plane.plot.height = PLANE_PX + (0 if shown else self.pictures.height + 4)

    def _tell(self, shown: Shown) -> None:
        self.head.object = telling.head(shown, self.title, self.key is not None)
        self.gauges.object = telling.gauges(shown, self.session.answered())
        self.log.object = telling.log(shown)
        labels = {phases.READY: "Start", phases.PAUSED: "Resume"}
        self.begin.label = labels.get(shown.phase, "Pause")
        mine = self.key is not None and not self.session.read_only
        for widget in self.mine:
            widget.disabled = not mine or shown.over
        for widget in (self.begin, self.one):
            widget.disabled = self.key is None or shown.over
        for widget in (self.approve, self.refuse):
            widget.disabled = not mine or shown.phase != phases.ASKING
        self.control.disabled = self.key is not None or bool(self.observes)
        if self.mode.value != shown.mode:
            self.mode.value = shown.mode

    # How it is laid out.

    def _make_widgets(self, escape: bool) -> None:
        self.stop_button = pn.widgets.Button(
            label="STOP (Esc)" if escape else "STOP", width=190, height=46, stylesheets=[STOP],
            on_click=lambda _: self.stop(),
        )  # fmt: skip
        self.keys = StopKey(
            self.stop, self._drawn, pictures=PICTURES, escape=escape, width=1, height=1
        )
        self.begin = button("Start", self._begin, 74)
        self.one = button("Step", self._one, 50)
        self.control = button("Take control", lambda _: self.take_control(), 100)
        self.save = button("Export", self._exported, 70)
        self.approve = button("Approve", lambda _: self._do(lambda e: e.answer(True)), 72)
        self.refuse = button("Refuse", lambda _: self._do(lambda e: e.answer(False)), 72)
        self.mode = one_of(MODES, AUTOMATIC, 210)
        self.mode.param.watch(self._set_mode, "value")
        self.layer = select("Layer over the map", [NO_LAYER], 170)
        self.over = some_of(OVER, (PATH, FINDINGS), 230)
        self.way = one_of(WAYS, LASSO, 150)
        self.way.param.watch(
            lambda event: self._soon(lambda: self.plane.choose_by(event.new)), "value"
        )
        for shows in (self.layer, self.over):
            shows.param.watch(lambda _: self._soon(self.update), "value")
        side = round(min(self.session.experiment.env.source.reference.fov_yx_nm), 3)
        self.y, self.x = number("y (nm)", 0.0, 76), number("x (nm)", 0.0, 76)
        self.side = number("side (nm)", side, 76)
        self.ask = button("Frame here", self._ask, 84)
        self.forbid = button("Forbid", self._forbid, 60)
        self.allow = button("Allow all", lambda _: self._do(lambda e: e.steer(forbid=[])), 74)
        self.curiosity = number("exploration", 1.0)
        self.curious = button(
            "Set", lambda _: self._do(lambda e: e.steer(exploration=self.curiosity.value)), 50
        )
        self.budget = number("budget (rasters)", 0.4)
        self.allowed = button("Set", lambda _: self._do(lambda e: e.allow(self.budget.value)), 50)
        names = sorted(n for n, entry in AGENTS.items() if not n.startswith("true-"))
        self.agent = select("agent", names, 160)
        self.agent.value = self.session.experiment.agent.name
        self.switch = button("Switch", lambda _: self._do(lambda e: e.switch(self.agent.value)), 70)
        self.word = select("pursue", sorted(WORDS), 160)
        self.pursue = button("Pursue", lambda _: self._aim(self.word.value), 70)
        self.first, self.second = number("first", 0.0), number("second", 0.0)
        self.point = button("Pursue the point", self._pointed_at, 120)
        self.mine: Sequence[Any] = (
            self.mode, self.ask, self.forbid, self.allow, self.curious, self.allowed, self.switch,
            self.pursue, self.point,
        )  # fmt: skip

    def _pointed_at(self, _: Any) -> None:
        self._dragged((float(self.first.value), float(self.second.value)))

    def _set_mode(self, event: Any) -> None:
        if event.new != self.session.experiment.mode:
            self._do(lambda e: setattr(e, "mode", event.new))

    def view(self) -> Any:
        """The page, for a window of at least 1280 x 800."""
        low = (self.ask, self.forbid, self.allow, self.curious, self.allowed, self.switch)
        for widget in (*low, self.pursue, self.point, self.mode, self.approve, self.refuse):
            widget.param.update(align="end")
        head = pn.Row(
            self.stop_button, pn.Column(self.head, self.message), self.begin, self.one,
            self.control, self.save, self.keys,
        )  # fmt: skip
        left = pn.Column(
            pn.Row(self.layer, self.mode, self.approve, self.refuse),
            pn.pane.Bokeh(self.map.plot, margin=CLOSE),
            self.scale,
            self.log,
        )
        middle = pn.Column(
            self.over,
            pn.Row(pn.pane.Bokeh(self.frame.plot, margin=CLOSE), self.legend),
            pn.pane.Bokeh(self.neighbours.plot, margin=CLOSE),
            self.pictures_pane,
            pn.pane.Bokeh(self.plane.plot, margin=CLOSE),
            self.way,
        )
        right = pn.Column(
            self.gauges,
            pn.pane.Bokeh(self.curve.plot, margin=CLOSE),
            pn.Row(self.y, self.x, self.ask),
            pn.Row(self.side, self.forbid, self.allow),
            pn.Row(self.curiosity, self.curious, self.budget, self.allowed),
            pn.Row(self.word, self.pursue),
            pn.Row(self.first, self.second, self.point),
            pn.Row(self.agent, self.switch),
        )
        body = pn.Row(left, middle, right)
        styles = {"background": PAPER, "color": INK}
        return pn.Column(head, body, width=1280, height=800, styles=styles)
