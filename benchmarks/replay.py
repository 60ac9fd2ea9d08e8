"""Are results what they say? Recorded frames and findings are scored again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..agents.catalogue import AGENTS, make_agent
from .jobs import replayed
from .results import Results
from .suite import Job
from .workflows import Setting

CLOSE = 1e-6  # elsewhere; on the same platform and versions replays agree to the bit


@dataclass(frozen=True)
class Verified:
    """What came of replaying.

    Attributes:
        replayed: episodes that were replayed.
        to_the_bit: whose scores are what they were.
        close: whose scores are within 1e-6 of what they were.
        differ: what is wrong with the others, and with what is no record, in a sentence each.
        missing: episodes of the suite that have no whole record.
    """

    replayed: int = 0
    to_the_bit: int = 0
    close: int = 0
    differ: list[str] = field(default_factory=list)
    missing: int = 0


def verify_folder(folder: Path, sample: int | None = None, seed: int = 0) -> Verified:
    """Replay the episodes of a folder, or a sample of them.

    Raises:
        ValueError: the folder holds no results, or the sample is none.
    """
    if sample is not None and sample < 1:
        raise ValueError(f"a sample of {sample} episodes; it must be at least 1")
    results = Results(folder)
    records, strangers = results.records(), results.strangers()
    missing = len(results.jobs()) - len(records)
    if not records:
        raise ValueError(f"{str(folder)!r} holds no finished episode")
    if sample is not None and sample < len(records):
        chosen = np.random.default_rng(seed).permutation(len(records))[:sample]
        records = [records[k] for k in sorted(chosen)]
    bits = near = 0
    differ = []
    for record in records:
        said = f"{record['job']['label']} on specimen {record['job']['specimen']}"
        try:
            again = replayed(record)
            _plausible(record)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            differ.append(f"{said}: {type(error).__name__}: {error}")
            continue
        wrong = list(differences(record["scores"], again))
        if again == record["scores"]:
            bits += 1
        elif not wrong:
            near += 1
        else:
            differ.append(f"{said}: {'; '.join(wrong[:3])}")
    differ += [f"{name} is damaged, or no episode of this suite" for name in strangers]
    return Verified(len(records), bits, near, differ, missing)


def _plausible(record: Mapping[str, Any]) -> None:
    """What no replay tells: ValueError where a record says what cannot be."""
    if min(record["trace"]["latency_s"], default=0.0) < 0.0:
        raise ValueError("a decision that took less than no time")
    if record["failed"] != record["ended"].startswith("failed"):
        raise ValueError(f"it ended with {record['ended']!r}, and failed is {record['failed']}")
    job = Job.of(record["job"])
    agent = Setting.of(job.agent).options if job.kind == "protocol" else job.agent
    if agent["name"] in AGENTS and not record["failed"]:
        knows = make_agent(**agent).privileged
        if knows != record["privileged"]:
            raise ValueError(f"{agent['name']} is privileged: {knows}, and the record says not so")


def differences(was: Any, now: Any, at: str = "scores") -> Iterator[str]:
    """Where two trees of plain data differ by more than rounding."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in sorted({*was, *now}):
            yield from differences(was.get(key), now.get(key), f"{at}.{key}")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for n, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from differences(a, b, f"{at}[{n}]")
    elif isinstance(was, float) and isinstance(now, float):
        if not abs(was - now) <= CLOSE * max(1.0, abs(was)):
            yield f"{at} is {now:g}, and was {was:g}"
    elif was != now:
        yield f"{at} is {now!r}, and was {was!r}"
