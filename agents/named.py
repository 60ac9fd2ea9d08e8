"""What somebody else wrote, by its name: ``module:attribute``."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any


def named(name: str, what: str) -> Any:
    """An attribute of a module, looked for where Python looks, and in the working folder.

    Args:
        name: ``module:attribute``.
        what: it is called in a sentence.

    Raises:
        ValueError: whatever goes wrong, in one sentence.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise ValueError(f"no {what} {name!r}; it must be named as module:name")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(import_module(module), attribute)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        raise ValueError(f"no {what} {name!r}: {type(error).__name__}: {error}") from error
