"""Perception times navigation: which part of a score is whose.

An agent of the package is called ``<perception>-<navigator>``, or by its navigator alone
where it has no perception.  Side by side, with true perception as one column and the oracle
as one row, they tell what navigation does alone and what both do together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..agents.catalogue import LOOKS_WITH
from .suite import label_of

NONE = "none"  # the column of navigators without perception
LEAST = 2  # navigators with as many perceptions each, or there is nothing to compare


@dataclass(frozen=True)
class Matrix:
    """Agents by their parts.

    Attributes:
        navigators: the rows.
        perceptions: the columns; navigators without perception come first.
        labels: of the agents, by (navigator, perception); not every pair is there.
    """

    navigators: tuple[str, ...]
    perceptions: tuple[str, ...]
    labels: Mapping[tuple[str, str], str]

    def alone(self, navigator: str, perception: str) -> str:
        """The agent of a cell; empty where there is none."""
        return self.labels.get((navigator, perception), "")

    def on_the_way_of(self, navigator: str, perception: str) -> str:
        """The agent of a cell, or one that goes the same way; empty where there is neither.

        A navigator that does not look at frames goes the same way with every perception.
        """
        own = self.alone(navigator, perception)
        if own or navigator in LOOKS_WITH:
            return own
        return self.alone(navigator, NONE)


def parts_of(name: str) -> tuple[str, str] | None:
    """Perception and navigator of an agent by its name; None of one's own agent's.

    >>> parts_of("dcnn-rvae-bo"), parts_of("grid")
    (('dcnn-rvae', 'bo'), ('none', 'grid'))
    """
    if ":" in name:
        return None
    perception, _, navigator = name.rpartition("-")
    return perception or NONE, navigator


def matrix_of(agents: Sequence[Mapping[str, Any]]) -> Matrix | None:
    """The matrix of a suite's agents; None with fewer than two navigators of two perceptions each.

    Of agents that differ in their options alone it holds the first.
    """
    labels: dict[tuple[str, str], str] = {}
    for agent in agents:
        parts = parts_of(str(agent["name"]))
        if parts is not None:
            labels.setdefault((parts[1], parts[0]), label_of(agent))
    navigators = tuple(dict.fromkeys(n for n, _ in labels))
    perceptions = tuple(dict.fromkeys(p for _, p in labels if p != NONE))
    crossed = [n for n in navigators if sum((n, p) in labels for p in perceptions) >= LEAST]
    if len(crossed) < LEAST:
        return None
    without = (NONE,) if any(p == NONE for _, p in labels) else ()
    return Matrix(navigators, without + perceptions, labels)
