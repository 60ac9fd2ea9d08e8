"""The console's controls: how they look, and the key that stops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent

from .plots import BRIGHT, INK, LINE

CLOSE = (2, 4)  # px about whatever stands on the page
WIDGET = f"""
:host {{ color: {INK}; font-size: 12px; }}
.bk-input, select.bk-input {{ background: #20252d; color: {INK}; border-color: {LINE};
  font-size: 12px; height: 28px; padding: 2px 6px; }}
.bk-btn {{ background: #2a313b !important; color: {INK} !important; border-color: {LINE};
  font-size: 12px; padding: 4px 8px; }}
.bk-btn.bk-active {{ background: #0072b2 !important; color: white !important; }}
.bk-spin-btn {{ display: none !important; }}
.bk-btn[disabled], .bk-input[disabled] {{ opacity: 0.45; }}
.bk-btn:focus-visible, .bk-input:focus-visible {{
  outline: 3px solid {BRIGHT} !important; outline-offset: 1px; z-index: 1;
}}
"""
STOP = """
.bk-btn { background: #c8102e !important; color: white !important; font-size: 18px;
  font-weight: 700; border: 2px solid #ff8090; letter-spacing: 0.08em; }
.bk-btn:focus-visible { outline: 3px solid white !important; outline-offset: 1px; }
"""


class StopKey(JSComponent):  # type: ignore[misc]  # Panel's types are not followed
    """Escape, anywhere on the page, is the stop button.

    It gives the plots names, too, for those who do not see them, and says which buttons are down.

    And it tells when the browser has drawn what it was sent: a browser that is slow is to be sent
    less, for what piles up on its way is ever older when it is seen.

    Args:
        on_stop: called without arguments.
        on_drawn: likewise, at the beginning and whenever ``sent`` has changed and was drawn.
        pictures: by the name of each plot, what it shows.
        escape: whether the key is heard; a notebook has other uses for it.
    """

    pictures = param.Dict(default={})
    escape = param.Boolean(default=True)
    sent = param.Integer(default=0)

    _esm = """
    export function render({ model }) {
      const pressed = event => {
        if (model.escape && event.key === "Escape") model.send_msg("stop");
      };
      const name = () => {
        for (const view of Bokeh.index.query(v => v.model.name in model.pictures)) {
          view.el.setAttribute("role", "img");
          view.el.setAttribute("aria-label", model.pictures[view.model.name]);
          if (view.canvas_view) view.canvas_view.events_el.tabIndex = -1;  // it hears no key
        }
        for (const view of Bokeh.index.query(v => v._buttons)) {
          for (const button of view._buttons)
            button.setAttribute("aria-pressed", button.classList.contains("bk-active"));
        }
      };
      const drawn = () => requestAnimationFrame(() => setTimeout(() => model.send_msg("drawn")));
      model.on("sent", drawn);
      drawn();
      const often = setInterval(name, 500);
      document.addEventListener("keydown", pressed, true);
      model.on("remove", () => {
        clearInterval(often);
        document.removeEventListener("keydown", pressed, true);
      });
      return document.createElement("span");
    }
    """

    def __init__(
        self, on_stop: Callable[[], None], on_drawn: Callable[[], None], **options: Any
    ) -> None:
        super().__init__(**options)
        self._on_stop, self._on_drawn = on_stop, on_drawn

    def _handle_msg(self, msg: Any) -> None:
        if msg == "stop":
            self._on_stop()
        elif msg == "drawn":
            self._on_drawn()


def html(**size: Any) -> Any:
    """Text in the console's type, as HTML."""
    styles = {"color": INK, "overflow-y": "auto", "font-size": "12px"}
    return pn.pane.HTML("", styles=styles, margin=CLOSE, **size)


def button(name: str, on_click: Callable[[Any], None], width: int) -> Any:
    """It, with its name as its label."""
    return pn.widgets.Button(
        label=name, width=width, margin=CLOSE, on_click=on_click, stylesheets=[WIDGET]
    )


def number(name: str, value: float, width: int = 92) -> Any:
    """A field for a number."""
    return pn.widgets.FloatInput(
        label=name, value=value, width=width, margin=CLOSE, stylesheets=[WIDGET]
    )


def select(name: str, options: Sequence[str], width: int) -> Any:
    """A choice of one."""
    return pn.widgets.Select(
        label=name, options=list(options), width=width, margin=CLOSE, stylesheets=[WIDGET]
    )


def one_of(options: Sequence[str], value: str, width: int) -> Any:
    """Buttons side by side, one of which is down."""
    return pn.widgets.RadioButtonGroup(
        options=list(options), value=value, width=width, margin=CLOSE, stylesheets=[WIDGET]
    )


def some_of(options: Sequence[str], value: Sequence[str], width: int) -> Any:
    """Buttons side by side, any of which may be down."""
    return pn.widgets.CheckButtonGroup(
        options=list(options), value=list(value), width=width, margin=CLOSE, stylesheets=[WIDGET]
    )
