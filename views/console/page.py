"""The page that one browser shows: plots, gauges, and the ways to steer and to stop.

It looks at the session again and again, and sends what has changed.  Whatever a person does goes
through the session, which refuses those who only look on.  Text that comes from elsewhere,
names of files, classes or errors, is escaped.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from html import escape
from math import isfinite
from typing import Any

import panel as pn
from panel.custom import JSComponent

from ...agents.agent import Rectangle
from ...agents.catalogue import AGENTS
from ...agents.controls import AUTOMATIC, MODES
from ...agents.scalarizers import WORDS
from ...hardware.errors import LeaseError, MicroscopeError
from ...hardware.microscope import YX
from . import session as phases
from .plots import (
    BRIGHT,
    INK,
    LINE,
    NO_LAYER,
    PAPER,
    Discovery,
    LatentPlane,
    LatestFrame,
    Pictures,
    SpecimenMap,
)
from .session import Session, Shown

EVERY_MS = 100
SHOWN_LINES = 40
CLOSE = (2, 4)  # px about whatever stands on the page
STYLE = f"""
body {{ background: {PAPER}; color: {INK}; margin: 0; font: 13px/1.45 system-ui, sans-serif; }}
"""
WIDGET = f"""
:host {{ color: {INK}; font-size: 12px; }}
.bk-input, select.bk-input {{ background: #20252d; color: {INK}; border-color: {LINE};
  font-size: 12px; height: 28px; padding: 2px 6px; }}
.bk-btn {{ background: #2a313b !important; color: {INK} !important; border-color: {LINE};
  font-size: 12px; padding: 4px 8px; }}
.bk-btn.bk-active {{ background: #0072b2 !important; color: white !important; }}
.bk-btn[disabled], .bk-input[disabled] {{ opacity: 0.45; }}
.bk-btn:focus-visible, .bk-input:focus-visible {{ outline: 2px solid {BRIGHT}; }}
"""
STOP = """
.bk-btn { background: #c8102e !important; color: white !important; font-size: 18px;
  font-weight: 700; border: 2px solid #ff8090; letter-spacing: 0.08em; }
.bk-btn:focus-visible { outline: 3px solid white; }
"""


class StopKey(JSComponent):  # type: ignore[misc]  # Panel's types are not followed
    """Escape, anywhere on the page, is the stop button.

    Args:
        on_stop: called without arguments.
    """

    _esm = """
    export function render({ model }) {
      const pressed = event => { if (event.key === "Escape") model.send_msg("stop"); };
      document.addEventListener("keydown", pressed, true);
      model.on("remove", () => document.removeEventListener("keydown", pressed, true));
      return document.createElement("span");
    }
    """

    def __init__(self, on_stop: Callable[[], None], **size: Any) -> None:
        super().__init__(**size)
        self._on_stop = on_stop

    def _handle_msg(self, msg: Any) -> None:
        if msg == "stop":
            self._on_stop()


class Page:
    """What one browser shows of a session.

    Args:
        session: may have other pages.
        title: what runs, for the head of the page.
        owner: whose page it is, for those who want control.
        export: writes the journal in other formats and says where; None where there is none.
        observes: why it may not take control; empty where it may.
    """

    def __init__(
        self,
        session: Session,
        title: str = "",
        owner: str = "another page",
        export: Callable[[], str] | None = None,
        observes: str = "",
    ) -> None:
        self.session, self.title, self.owner, self.export = session, title, owner, export
        self.observes = observes
        self.key: str | None = None
        self.seen: Any = None
        self.box: Rectangle | None = None
        self._told = ""  # by a thread, to be said
        self.map = SpecimenMap(session, self._pointed, self._boxed)
        self.frame = LatestFrame()
        self.pictures = Pictures(self._aim)
        self.plane = LatentPlane(lambda corners: self._aim({"region": corners}))
        self.curve = Discovery()
        self._make_widgets()
        self.head, self.gauges = _html(width=600), _html(width=340, height=212)
        self.message, self.log = _html(width=1240, height=20), _html(width=540, height=112)
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
        self.update()

    def _do(self, action: Callable[[Any], object], done: str = "", steers: bool = True) -> None:
        """With the controls, and say that it is done; what is refused changes nothing."""
        try:
            action(self.session.controls(self.key, steers))
        except (ValueError, MicroscopeError) as error:
            self.say(str(error))
        else:
            self.say(done)
        self.update()

    def _pointed(self, yx_nm: YX) -> None:
        self.y.value, self.x.value = (round(float(v), 3) for v in yx_nm)

    def _boxed(self, box: Rectangle) -> None:
        self.box = box
        (a, b), (c, d) = box
        self.say(f"A region from ({a:.2f}, {b:.2f}) to ({c:.2f}, {d:.2f}) nm: forbid it?")

    def _aim(self, target: Any) -> None:
        done = f"to be pursued from the next decision on: {json.dumps(target)[:120]}"
        self._do(lambda e: e.steer(target=target), done)

    def _forbid(self, _: Any) -> None:
        if self.box is None:
            self.say("draw a box on the map first, with its box tool")
            return
        box, self.box = self.box, None
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
        self.message.object = f"<span style='color:{BRIGHT}'>{escape(sentence)}</span>"

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
        shown = self.session.shown()
        told = (shown.pending, shown.beam, self.key)
        now = (shown.version, shown.phase, shown.mode, shown.proposal, self.layer.value, told)
        if now == self.seen:
            return
        before, self.seen = self.seen, now
        if before is None or before[0] != now[0] or before[4] != now[4]:
            self._draw(shown)
        self.map.point_out(shown)
        self._tell(shown)

    def _draw(self, shown: Shown) -> None:
        self.layer.options = self.map.layers(shown)
        self.map.update(shown, self.layer.value)
        step = shown.latest
        if step is not None:
            self.frame.update(shown, self.session.experiment.env.episode.display(step.frame))
        self.pictures.update(shown.explanation)
        self.plane.update(shown.explanation)
        self.curve.update(shown)

    def _tell(self, shown: Shown) -> None:
        control = "" if self.key else " · <b>looking on</b>"
        self.head.object = (
            f"<b style='font-size:16px'>StemScout</b> · {escape(self.title)} · "
            f"<b style='color:{BRIGHT}'>{escape(shown.phase)}</b>{control}"
        )
        rows = {}  # what must not be overlooked first
        if shown.answer:
            rows["STOP"] = self.session.answered()
        if shown.trouble:
            rows["failed"] = shown.trouble
        if shown.pending:
            rows["pending"] = "; ".join(shown.pending)
        rows |= {
            "agent": f"{shown.agent}, {shown.mode}",
            "spent": f"{_charge(shown)}, {shown.frames} frames",
            "instrument time": f"{shown.time_s:.1f} s",
            "features seen": "nobody knows" if shown.fraction is None else f"{shown.fraction:.0%}",
            "decision": f"{shown.latency_ms:.1f} ms",
            "instrument": shown.beam,
        }
        if shown.proposal is not None and not shown.over:
            rows["next"] = shown.proposal.explanation.sentence
        self.gauges.object = "<table style='border-spacing:8px 1px'>" + "".join(
            f"<tr><td style='color:#8fa0b3;vertical-align:top;white-space:nowrap'>{escape(k)}</td>"
            f"<td>{escape(v)}</td></tr>"
            for k, v in rows.items()
        )
        lines = "".join(f"<div>{escape(s)}</div>" for s in shown.log[-SHOWN_LINES:][::-1])
        self.log.object = f"<div role='log' aria-label='log'>{lines}</div>"
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

    def _make_widgets(self) -> None:
        self.stop_button = pn.widgets.Button(
            label="STOP (Esc)", width=190, height=46, stylesheets=[STOP],
            on_click=lambda _: self.stop(),
        )  # fmt: skip
        self.keys = StopKey(on_stop=self.stop, width=1, height=1)
        self.begin = _button("Start", self._begin, 74)
        self.one = _button("Step", self._one, 50)
        self.control = _button("Take control", lambda _: self.take_control(), 100)
        self.approve = _button("Approve", lambda _: self._do(lambda e: e.answer(True)), 72)
        self.refuse = _button("Refuse", lambda _: self._do(lambda e: e.answer(False)), 72)
        self.mode = pn.widgets.RadioButtonGroup(
            options=list(MODES), value=AUTOMATIC, width=210, margin=CLOSE, stylesheets=[WIDGET]
        )
        self.mode.param.watch(self._set_mode, "value")
        self.layer = _select("Layer over the map", [NO_LAYER], 170)
        self.layer.param.watch(lambda _: self.update(), "value")
        self.y, self.x = _number("y (nm)", 0.0), _number("x (nm)", 0.0)
        self.ask = _button("Take a frame here", self._ask, 130)
        self.forbid = _button("Forbid the box", self._forbid, 110)
        self.allow = _button("Allow all", lambda _: self._do(lambda e: e.steer(forbid=[])), 80)
        self.curiosity = _number("exploration", 1.0)
        self.curious = _button(
            "Set", lambda _: self._do(lambda e: e.steer(exploration=self.curiosity.value)), 50
        )
        self.budget = _number("budget (rasters)", 0.4)
        self.allowed = _button("Set", lambda _: self._do(lambda e: e.allow(self.budget.value)), 50)
        names = sorted(n for n, entry in AGENTS.items() if not n.startswith("true-"))
        self.agent = _select("agent", names, 160)
        self.agent.value = self.session.experiment.agent.name
        self.switch = _button(
            "Switch", lambda _: self._do(lambda e: e.switch(self.agent.value)), 70
        )
        self.word = _select("pursue", sorted(WORDS), 130)
        self.pursue = _button("Pursue", lambda _: self._aim(self.word.value), 70)
        self.save = _button("Export", self._exported, 70)
        self.mine: Sequence[Any] = (
            self.mode, self.ask, self.forbid, self.allow, self.curious, self.allowed, self.switch,
            self.pursue,
        )  # fmt: skip

    def _set_mode(self, event: Any) -> None:
        if event.new != self.session.experiment.mode:
            self._do(lambda e: setattr(e, "mode", event.new))

    def view(self) -> Any:
        """The page, for a window of at least 1280 x 800."""
        low = (self.ask, self.curious, self.allowed, self.switch, self.pursue)
        for widget in (*low, self.mode, self.approve, self.refuse):
            widget.param.update(align="end")
        said = (self.head, self.begin, self.one, self.control, self.save, self.keys)
        head = pn.Row(self.stop_button, *said)
        left = pn.Column(
            pn.Row(self.layer, self.mode, self.approve, self.refuse),
            pn.pane.Bokeh(self.map.plot, margin=CLOSE),
            self.log,
        )
        middle = pn.Column(
            pn.pane.Bokeh(self.frame.plot, margin=CLOSE),
            pn.pane.Bokeh(self.pictures.plot, margin=CLOSE),
            pn.pane.Bokeh(self.plane.plot, margin=CLOSE),
        )
        right = pn.Column(
            self.gauges,
            pn.pane.Bokeh(self.curve.plot, margin=CLOSE),
            pn.Row(self.y, self.x, self.ask),
            pn.Row(self.forbid, self.allow),
            pn.Row(self.curiosity, self.curious, self.budget, self.allowed),
            pn.Row(self.word, self.pursue),
            pn.Row(self.agent, self.switch),
        )
        body = pn.Row(left, middle, right)
        return pn.Column(head, self.message, body, width=1280, height=800)


def _charge(shown: Shown) -> str:
    of = f" of {shown.budget:.3g}" if isfinite(shown.budget) else ""
    return f"{shown.spent:.3f}{of} rasters"


def _html(**size: Any) -> Any:
    styles = {"color": INK, "overflow-y": "auto", "font-size": "12px"}
    return pn.pane.HTML("", styles=styles, margin=CLOSE, **size)


def _button(name: str, on_click: Callable[[Any], None], width: int) -> Any:
    return pn.widgets.Button(
        label=name, width=width, margin=CLOSE, on_click=on_click, stylesheets=[WIDGET]
    )


def _number(name: str, value: float) -> Any:
    return pn.widgets.FloatInput(
        label=name, value=value, width=92, margin=CLOSE, stylesheets=[WIDGET]
    )


def _select(name: str, options: list[str], width: int) -> Any:
    return pn.widgets.Select(
        label=name, options=options, width=width, margin=CLOSE, stylesheets=[WIDGET]
    )
