"""Numbers as people read them, and tables of them as Markdown, LaTeX and CSV."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from .statistics import Interval

NEVER = 1e9  # sorts behind every charge
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Cell:
    """A number of a table as people read it, as it is sorted, and its interval."""

    text: str
    key: float
    range: str = ""

    @classmethod
    def of(cls, found: Interval | None) -> Cell:
        """Of a statistic; what is not applicable is sorted last, what never came first."""
        if found is None or np.isnan(found.value):
            return cls("n/a", -NEVER)
        if np.isnan(found.low):  # it was never asked how sure it is
            sure = np.isfinite(found.value)
            return cls(_two(found.value), float(found.value)) if sure else cls("never", NEVER)
        low, high = (_two(v) if np.isfinite(v) else "never" for v in (found.low, found.high))
        if not np.isfinite(found.value):
            return cls("never", NEVER, f"{low} to never" if low != "never" else "")
        return cls(_two(found.value), float(found.value), f"{low} to {high}")

    @property
    def whole(self) -> str:
        """Value and interval in one line."""
        return self.text + (f" ({self.range})" if self.range else "")


def markdown(rows: Rows) -> str:
    """A table in Markdown."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(v) for v in r.values()] for r in rows)]
    plain = str.maketrans({"|": "\\|", "<": "&lt;", ">": "&gt;"})
    return "".join("| " + " | ".join(c.translate(plain) for c in of) + " |\n" for of in lines)


def latex(rows: Rows) -> str:
    """A table in LaTeX, with booktabs' rules."""
    special = str.maketrans(
        {c: f"\\{c}" for c in "&%$#_{}"}
        | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    )
    head = list(rows[0])
    lines = [
        " & ".join(str(v).translate(special) for v in r) for r in (head, *map(dict.values, rows))
    ]
    body = " \\\\\n".join(lines[1:])
    columns = "l" + "r" * (len(head) - 1)
    return (
        f"\\begin{{tabular}}{{{columns}}}\n\\toprule\n{lines[0]} \\\\\n\\midrule\n{body} \\\\\n"
        "\\bottomrule\n\\end{tabular}\n"
    )


def csv_of(rows: Rows) -> str:
    """Rows as CSV."""
    buffer = io.StringIO()
    if rows:
        writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return buffer.getvalue()


def csv_uri(rows: Rows) -> str:
    """Rows as a file to download."""
    return "data:text/csv;base64," + base64.b64encode(csv_of(rows).encode()).decode()


def _two(value: float) -> str:
    """Two digits, and no minus before nothing."""
    return f"{round(float(value), 2) + 0.0:.2f}"
