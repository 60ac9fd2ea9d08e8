"""A microscope by what makes it, ``module:function``; or a sentence why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from .errors import ConnectionLost, MicroscopeError
from .microscope import VERBS, Microscope
from .wire import named


def made(factory: str, options: Mapping[str, Any]) -> Microscope:
    """What a factory gives for its options.

    Raises:
        ConnectionLost: there is no such module or function, it cannot be imported or called, or
            gives something else; with the error's own words.
        MicroscopeError: what the factory itself raises of these.
    """
    name, _, function = factory.partition(":")
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:  # whatever a module of somebody else's raises
        raise ConnectionLost(f"{factory}: {name} cannot be imported: {named(error)}") from error
    make = getattr(module, function, None)
    if not callable(make):
        what = "no" if make is None else f"a {type(make).__name__}, which is no callable, as"
        raise ConnectionLost(f"{factory}: {name} has {what} {function}")
    try:
        microscope = make(**options)
    except MicroscopeError:
        raise
    except (Exception, SystemExit) as error:
        raise ConnectionLost(f"{factory} failed: {named(error)}") from error
    lacking = [verb for verb in VERBS if not callable(getattr(microscope, verb, None))]
    if isinstance(microscope, type) or lacking:
        lacks = f"lacks {', '.join(lacking)}" if lacking else "is a class; give an object of it"
        raise ConnectionLost(
            f"{factory} gave a {type(microscope).__name__}, which is no microscope: it {lacks}"
        )
    given: Microscope = microscope
    return given
