"""What a report says of the results themselves: how many, how long, and made by what.

Records of one folder may have been made by different versions or on different
machines: on a cluster, or where a run was resumed after an upgrade.  All are named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .figures import title_of
from .leaderboard import FEW, Scores
from .pairs import counted

Record = Mapping[str, Any]
SHOWN = 4  # values of one thing that differs; how many others there are is said


def facts(suite: Record, records: Sequence[Record], scores: Scores) -> dict[str, str]:
    """The box at the top of the page, in order."""
    contest = [r for r in records if not r["job"]["yardstick"]]
    specimens = sum(len(s) for s in scores.specimens.values())
    made = made_with(records)
    packages = dict.fromkeys(name for r in records for name in r["made"]["versions"])
    return {
        "suite": f"{suite['name']}, version {suite['version']}",
        "hash": suite["digest"],
        "track": suite["track"],
        "budget": f"{suite['budget']:g} rasters; survey: {suite['survey']}",
        "agents": str(len(scores.agents)),
        "specimens": f"{specimens} over {counted(len(scores.conditions), 'condition')}",
        "episodes": f"{len(contest)}, {sum(r['failed'] for r in contest)} failed",
        "processor time": f"{sum(r['cpu_s'] for r in records) / 60:.1f} min",
        "wall-clock time": f"{sum(r['wall_s'] for r in records) / 60:.1f} min, added up over the "
        "episodes",
        "versions": ", ".join(f"{name} {' and '.join(made[name])}" for name in packages),
        "machine": "; ".join(
            dict.fromkeys(
                "{processor}, {cores} cores, Python {python}".format(**r["made"]) for r in records
            )
        ),
    }


def unfinished(records: Sequence[Record], wanted: int) -> list[str]:
    """A sentence where a run has not ended: there may be agents that are not even in the table."""
    if len(records) >= wanted:
        return []
    return [
        f"Unfinished: {len(records)} of {wanted} episodes are there, the raster's included. Only "
        "specimens that all agents shown have a result for are counted."
    ]


def warnings(records: Sequence[Record]) -> list[str]:
    """Sentences about records that were not all made by the same versions on like machines."""
    mixed = {name: of for name, of in made_with(records).items() if len(of) > 1}
    found = []
    if "stemscout" in mixed:
        found.append(
            f"Made by different versions of stemscout: {_counts(mixed.pop('stemscout'))}. For that "
            "alone an agent may score differently on one specimen than on another."
        )
    if mixed:
        each = "; ".join(f"{name} {_counts(of)}" for name, of in mixed.items())
        found.append(
            f"Not all episodes were made under the same circumstances: {each}. Times compare only "
            "between like machines, and last digits of scores may differ."
        )
    return found


def sureness(scores: Scores) -> str:
    """What has to be known of the intervals, in a sentence; empty where they are what they say."""
    if not scores.population:
        return (
            "The specimens are no sample of others like them: scores are reported without claims "
            "about populations, with no intervals and no probability of improvement."
        )
    few = [f"{title_of(c)} ({len(scores.specimens[c])})" for c in scores.few]
    if not few:
        return ""
    return (
        f"Fewer than {FEW} specimens: {'; '.join(few)}. Intervals over so few claim more than "
        "they can; they are printed lighter."
    )


def made_with(records: Sequence[Record]) -> dict[str, Counter[str]]:
    """For each package and each fact about the machine: its values, and of how many records."""
    flat = [
        {**r["made"]["versions"], **{k: v for k, v in r["made"].items() if k != "versions"}}
        for r in records
    ]
    names = dict.fromkeys(name for of in flat for name in of)
    return {name: Counter(str(of.get(name, "none")) for of in flat) for name in names}


def _counts(of: Counter[str]) -> str:
    told = [f"{v} ({n} episode{'s' * (n > 1)})" for v, n in of.most_common(SHOWN)]
    more = len(of) - len(told)
    return ", ".join(told) + (f" and {more} others" if more else "")
