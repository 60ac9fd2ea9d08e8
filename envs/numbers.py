"""What counts as a number where people say one."""

from __future__ import annotations

from numbers import Real
from typing import Any


def is_number(value: Any, kind: type = Real) -> bool:
    """Whether a value is a number of a kind; True and False, to Python 1 and 0, are none."""
    return isinstance(value, kind) and not isinstance(value, bool)
