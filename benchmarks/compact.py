"""A record as its file holds it: what its rows have in common once, and compressed.

``unpack`` gives back what ``pack`` was given, to the bit.  The file is JSON under gzip, for
whoever reads it without this package:

    trace.requests, trace.findings   {"count": n, "same": {field: value}, "each": {field: [n]}}
    trace.claimed                    null where nothing changed, else [k, ...]: the first k
                                     claims that stood before, and those that follow them
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

FORMAT = 2  # raised when files are read differently
LEVEL = 6  # of compression: 9 takes twice the time for 1 % less
Claims = Sequence[int] | None


def pack(record: Mapping[str, Any]) -> bytes:
    """The content of a record's file.

    Raises:
        ValueError: it holds what JSON has no word for.
    """
    trace = record["trace"]
    slim = {
        "requests": columns(trace["requests"]),
        "findings": columns(trace["findings"]),
        "claimed": list(changes(trace["claimed"])),
    }
    data = {**record, "trace": {**trace, **slim}}
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return gzip.compress(text.encode(), LEVEL, mtime=0)


def unpack(content: bytes) -> dict[str, Any]:
    """The record in the content of a file.

    Raises:
        ValueError: it is damaged, or no record's.
    """
    try:
        record: dict[str, Any] = json.loads(gzip.decompress(content))
        trace = record["trace"]
        trace["requests"] = rows(trace["requests"])
        trace["findings"] = rows(trace["findings"])
        trace["claimed"] = list(standing(trace["claimed"]))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"no whole record: {type(error).__name__}: {error}") from error
    return record


def columns(table: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rows of the same fields, each field once: its one value, or its value in each row."""
    same: dict[str, Any] = {}
    each: dict[str, list[Any]] = {}
    for name in table[0] if table else ():
        values = [row[name] for row in table]
        # By what is written: 0.0 equals -0.0, and 1 equals True, and yet they are not the same.
        if len(set(map(repr, values))) == 1:
            same[name] = values[0]
        else:
            each[name] = values
    if any(len(row) != len(same) + len(each) for row in table):
        raise ValueError("rows of different fields")
    return {"count": len(table), "same": same, "each": each}


def rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of ``columns``."""
    same, each = table["same"], table["each"]
    return [same | {k: of[n] for k, of in each.items()} for n in range(table["count"])]


def changes(claimed: Iterable[Claims]) -> Iterator[list[int] | None]:
    """What has changed: how many of the claims before still lead, and what follows them."""
    before: Sequence[int] = ()
    for now in claimed:
        if now is None:
            yield None
            continue
        pairs = enumerate(zip(before, now, strict=False))
        shorter = min(len(before), len(now))
        leading = next((n for n, (a, b) in pairs if a != b), shorter)
        yield [leading, *now[leading:]]
        before = now


def standing(changed: Iterable[Claims]) -> Iterator[list[int] | None]:
    """The claims of ``changes``."""
    before: list[int] = []
    for change in changed:
        if change is None:
            yield None
            continue
        before = before[: change[0]] + list(change[1:])
        yield list(before)
