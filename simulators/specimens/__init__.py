"""Procedurally generated specimens, one module each, its docstring the manual."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from .specimen import DIFFICULTIES, FeatureClass, Specimen

SPECIMENS = ("graphene",)

__all__ = ["DIFFICULTIES", "SPECIMENS", "FeatureClass", "Specimen", "specimen_module"]


def specimen_module(name: str) -> ModuleType:
    """The module of a specimen by its name.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in SPECIMENS:
        raise ValueError(f"unknown specimen {name!r}; there are: {', '.join(SPECIMENS)}")
    return import_module(f".{name}", __package__)
