"""Episodes on the page: the best and the worst of each id, with path, findings and beliefs."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import figures
from .episode_figure import caption_of, episode
from .examples import (
    Example,
    NotShown,
    best_and_worst,
    explained,
    finding_rows,
    frame_rows,
    scores_of,
    taken_again,
    title_of,
)
from .leaderboard import Scores
from .tables import Rows, csv_of, csv_uri

LARGEST = 300_000  # bytes of a figure on the page,
RESOLUTIONS = (140, 90, 60, 40, 20)  # and what of it is no vector is made coarser until it is


@dataclass(frozen=True)
class Portrait:
    """One episode on the page.

    Attributes:
        name: of its files.
        title, caption: in words.
        svg: its picture; empty where there is none.
        frames: what it took, as rows.
        facts: the list below it.
        sentences: what else is said of it.
        findings: what it claimed, as rows.
    """

    name: str
    title: str
    caption: str
    svg: str
    frames: Rows
    facts: dict[str, str]
    sentences: list[str]
    findings: Rows

    @property
    def frames_uri(self) -> str:
        return csv_uri(self.frames)

    @property
    def findings_uri(self) -> str:
        return csv_uri(self.findings)


def portraits(
    records: Sequence[Mapping[str, Any]], scores: Scores, suite: Mapping[str, Any], parts: Path
) -> dict[str, list[Portrait]]:
    """The best and the worst episode of each id, by its name; none of them costs the page."""
    found: dict[str, list[Portrait]] = {}
    for example in best_and_worst(records, scores, suite):
        name = name_of(example)
        try:
            portrait = _portrait(example, name, parts)
        except Exception as error:  # an agent's maps, another version, a full disk
            why = f"It cannot be shown here: {type(error).__name__}: {error}"
            portrait = Portrait(name, title_of(example), why, "", [], {}, [], [])
        found.setdefault(figures.name_of(example.environment), []).append(portrait)
    return found


def portrait_of(
    name: str,
    records: Sequence[Mapping[str, Any]],
    scores: Scores,
    suite: Mapping[str, Any],
    parts: Path,
) -> list[Path]:
    """Make one of them and nothing else; where its files are.

    Raises:
        ValueError: no such episode, or one that cannot be shown; the message says why.
    """
    by_name = {name_of(e): e for e in best_and_worst(records, scores, suite)}
    if name not in by_name:
        raise ValueError(f"unknown figure {name!r}; of episodes there are: {', '.join(by_name)}")
    _portrait(by_name[name], name, parts)
    return sorted(parts.glob(f"{name}.*")) + sorted(parts.glob(f"{name}-findings.csv"))


def name_of(example: Example) -> str:
    """Of its files."""
    return f"{figures.name_of(example.environment).lower()}-{example.rank}"


def _portrait(example: Example, name: str, parts: Path) -> Portrait:
    again = taken_again(example.record)
    explanation, sentences = None, []
    try:
        explanation = explained(example.record, again.frames)
        sentences.append(f"Its last decision: {explanation.sentence}.")
    except NotShown as why:
        sentences.append(f"What it believed is not shown: {why}.")
    try:
        svg = _saved(episode(again, explanation), parts / name)
    except Exception as error:
        if explanation is None:
            raise
        svg = _saved(episode(again, None), parts / name)  # somebody else's maps may be anything
        sentences.append(f"Its maps cannot be drawn: {type(error).__name__}: {error}.")
        explanation = None
    frames, findings = frame_rows(again), finding_rows(again)
    (parts / f"{name}.csv").write_text(csv_of(frames), encoding="utf-8")
    if again.claims is not None:
        (parts / f"{name}-findings.csv").write_text(csv_of(findings), encoding="utf-8")
    caption = caption_of(again, explanation)
    return Portrait(
        name,
        title_of(example),
        caption,
        svg,
        frames,
        scores_of(example.record),
        sentences,
        findings,
    )


def _saved(figure: Any, path: Path) -> str:
    """The figure as SVG for the page; it is written to an SVG and a PDF file besides."""
    for dpi in RESOLUTIONS:  # of what is no vector
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=dpi)
        svg = buffer.getvalue()
        if len(svg) <= LARGEST:
            break
    path.with_suffix(".svg").write_text(svg, encoding="utf-8")
    figure.savefig(path.with_suffix(".pdf"), dpi=dpi)
    return svg[svg.index("<svg") :]
