"""The page of promises names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "safety.md"


def test_every_test_that_is_named_exists():
    whole = "\n".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| promise", "|---"))]
    assert len(rows) > 25
    for row in rows:
        named = re.findall(r"\b(?:Test\w+|test_\w+(?:\.py)?)\b", row.rsplit("|", 2)[1])
        assert named, row
        for name in named:
            if name.endswith(".py"):
                assert list((ROOT / "tests").rglob(name)), name
            else:
                assert re.search(rf"(def|class) {name}\b", whole), name
