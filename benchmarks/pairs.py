"""Two folders of results, episode by episode: what they share, and why not the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from .figures import title_of
from .leaderboard import Condition
from .results import Results, row_of
from .suite import Job, Suite

Place = tuple[str, Condition, int]  # label, condition, specimen
Episode = Mapping[str, Any]  # its row, its job, and the digest of its specimen
Pair = tuple[Episode, Episode]
SIDES = ("A", "B")
# What decides an episode besides who is where.
SETTINGS = tuple(
    f.name
    for f in fields(Job)
    if f.name
    not in ("environment", "difficulty", "variant", "agent", "label", "specimen", "yardstick")
)


@dataclass(frozen=True)
class Held:
    """What a folder holds, without its traces: contestants' rows, jobs and specimens."""

    suite: Mapping[str, Any]
    episodes: Mapping[Place, Episode]
    made: Mapping[str, list[str]]

    @property
    def labels(self) -> list[str]:
        """Agents that have results, in the suite's order."""
        there = {label for label, _, _ in self.episodes}
        return [a for a in _suite_of(self.suite).labels if a in there]


def held_in(folder: str | Path) -> Held:
    """What a folder holds.

    Raises:
        ValueError: no results, no finished episode, or hunts of navigators.
    """
    results = Results(folder)
    if results.kind != "episode":
        what, shown = {
            "hunt": ("hunts of navigators", "bench navigation` sets navigators"),
            "protocol": ("runs of the paper's protocol", "paper` sets workflows"),
        }[results.kind]
        raise ValueError(
            f"{str(folder)!r} holds {what}, and only episodes are compared; "
            f"`stemscout {shown} beside each other"
        )
    episodes: dict[Place, Episode] = {}
    made: dict[str, set[str]] = {}
    for record in results.records():
        for name, value in _flat(record["made"]):
            made.setdefault(name, set()).add(value)
        if not record["job"]["yardstick"]:
            row = row_of(record)
            place = (row["agent"], condition_of(row), row["specimen"])
            kept = {"row": row, "job": record["job"], "specimen": record["specimen_digest"]}
            episodes[place] = kept
    if not episodes:
        raise ValueError(f"{str(folder)!r} holds no finished episode")
    return Held(results.suite, episodes, {name: sorted(v) for name, v in made.items()})


def _flat(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions and machine, each under its own name."""
    found: list[tuple[str, str]] = []
    for name, value in made.items():
        found += _flat(value) if isinstance(value, Mapping) else [(name, str(value))]
    return found


def condition_of(row: Mapping[str, Any]) -> Condition:
    """Of a row of the table of results."""
    return row["environment"], row["difficulty"], row["variant"]


def _suite_of(held: Mapping[str, Any]) -> Suite:
    return Suite(**{k: held[k] for k in Suite.__dataclass_fields__ if k in held})


def paired(a: Held, b: Held) -> tuple[dict[str, list[Pair]], list[str]]:
    """The pairs of each agent, by condition and specimen; and what is left out, in sentences."""
    pairs: dict[str, list[Pair]] = {label: [] for label in a.labels if label in b.labels}
    left: Counter[str] = Counter()
    others: dict[str, set[tuple[Condition, int]]] = {}
    for place in sorted(set(a.episodes) & set(b.episodes)):
        x, y = a.episodes[place], b.episodes[place]
        why = _settings_apart(a, x, b, y)
        if why:
            left[why] += 1
        elif x["specimen"] != y["specimen"]:
            others.setdefault(title_of(place[1]), set()).add(place[1:])
            left["specimens"] += 1
        else:
            pairs[place[0]].append((x, y))
    notes = []
    count = left.pop("specimens", 0)
    if count:
        where = "; ".join(f"{len(of)} of {name}" for name, of in others.items())
        notes.append(
            f"{_are(count)} left out, on specimens of the same number that were made "
            f"differently in A and B: {where}."
        )
    notes += [f"{_are(n)} left out: {why}." for why, n in left.items()]
    notes += _one_sided(a, b, set(pairs))
    for label, of in pairs.items():
        told = {(str(x["job"]["agent"]), str(y["job"]["agent"])) for x, y in of}
        notes += [f"{label} is {x} in A and {y} in B." for x, y in sorted(told) if x != y]
    return {label: of for label, of in pairs.items() if of}, notes


def _settings_apart(a: Held, x: Episode, b: Held, y: Episode) -> str:
    """Which settings of two episodes differ; empty where none does."""
    both = [(s, x["job"].get(s), y["job"].get(s)) for s in SETTINGS]
    both.append(("track", a.suite["track"], b.suite["track"]))
    return ", ".join(f"{s} is {v} in A and {w} in B" for s, v, w in both if v != w)


def _one_sided(a: Held, b: Held, labels: set[str]) -> list[str]:
    """Episodes that only one folder has, of agents that both have; and what is not finished."""
    notes = []
    for side, own, other in zip(SIDES, (a, b), (b, a), strict=True):
        lone = [p for p in own.episodes if p[0] in labels and p not in other.episodes]
        if lone:
            by = Counter(title_of(c) for _, c, _ in lone)
            where = "; ".join(f"{n} of {name}" for name, n in sorted(by.items()))
            notes.append(f"{_are(len(lone))} in {side} only: {where}.")
        jobs = [job for job in _suite_of(own.suite).jobs() if not job.yardstick]
        missing = len(jobs) - len(own.episodes)
        if missing:
            notes.append(f"{side} lacks {missing} of the {len(jobs)} episodes of its suite.")
    return notes


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + "s" * (count != 1)


def _are(count: int) -> str:
    return counted(count, "episode") + (" is" if count == 1 else " are")
