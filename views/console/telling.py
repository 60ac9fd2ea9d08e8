"""What the console says in words: the head of the page, the gauges, and the log, as HTML.

Text that comes from elsewhere, names of files, classes or errors, is escaped.
"""

from __future__ import annotations

import json
from html import escape
from math import isfinite
from typing import Any

from .plots import BRIGHT, DIM
from .session import Shown

SHOWN_LINES = 40
TARGET_CHARACTERS = 48


def head(shown: Shown, title: str, in_control: bool) -> str:
    """What runs, and how it stands."""
    control = "" if in_control else " · <b>looking on</b>"
    return (
        f"<b style='font-size:16px'>StemScout</b> · {escape(title)} · "
        f"<b style='color:{BRIGHT}'>{escape(shown.phase)}</b>{control}"
    )


def gauges(shown: Shown, answered: str) -> str:
    """In a table; ``answered`` is the stop button's answer as it is now."""
    rows = {}  # what must not be overlooked first
    if shown.answer:
        rows["STOP"] = answered
    if shown.trouble:
        rows["failed"] = shown.trouble
    if shown.pending:
        rows["pending"] = "; ".join(shown.pending)
    rows["agent"] = f"{shown.agent}, {shown.mode}"
    if shown.explanation.target is not None:
        rows["pursues"] = target(shown.explanation.target)
    rows |= {
        "spent": f"{_charge(shown)}, {shown.frames} frames",
        "instrument time": f"{shown.time_s:.1f} s",
        "features seen": "nobody knows" if shown.fraction is None else f"{shown.fraction:.0%}",
        "decision": f"{shown.latency_ms:.1f} ms",
        "instrument": shown.beam,
    }
    if shown.proposal is not None and not shown.over:
        rows["next"] = shown.proposal.explanation.sentence
    return "<table style='border-spacing:8px 1px'>" + "".join(
        f"<tr><td style='color:{DIM};vertical-align:top;white-space:nowrap'>{escape(k)}</td>"
        f"<td>{escape(v)}</td></tr>"
        for k, v in rows.items()
    )


def target(plain: Any) -> str:
    """What is pursued, in a few words."""
    if isinstance(plain, dict) and "region" in plain:
        return f"a region of {len(plain['region'])} corners"
    if isinstance(plain, dict) and "point" in plain:
        return "the point (" + ", ".join(f"{v:.3g}" for v in plain["point"]) + ")"
    if isinstance(plain, int):
        return f"component {plain}"
    return plain if isinstance(plain, str) else json.dumps(plain)[:TARGET_CHARACTERS]


def log(shown: Shown) -> str:
    """The latest lines, the last first."""
    lines = "".join(f"<div>{escape(line)}</div>" for line in shown.log[-SHOWN_LINES:][::-1])
    return f"<div role='log' aria-label='log'>{lines}</div>"


def _charge(shown: Shown) -> str:
    of = f" of {shown.budget:.3g}" if isfinite(shown.budget) else ""
    return f"{shown.spent:.3f}{of} rasters"
