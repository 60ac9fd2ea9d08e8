"""Procedurally generated specimens, one module each, its docstring the manual.

A specimen module has these names; everything else in the package reads them:

``NAME``, ``FIELD_NM`` (side of the default field), ``FRAME_NM`` and
``FRAME_PX`` (reference frame), ``SAMPLING_NM`` (of its fast worlds), ``OPTICS``,
``THICKNESS_NM`` (0 for a sheet), ``SLICE_NM`` (of the multislice simulation),
``THERMAL_SIGMA_NM`` (r.m.s. displacement along each axis, by symbol),
``FULL_SCALE`` (fraction of the beam shown white, by detector), ``LEVELS`` (by
difficulty, each with a ``dwell_us``), ``KINDS`` (of column), ``CLASSES`` (of
feature), ``CALIBRATED`` (windows that a class gets in the calibration, where
it is more than one), ``PAIRED`` (names of kinds of which two often stand in line
with the beam; the fast renderer has a profile for one of a pair), ``RAISED`` (names of
kinds that it has another profile for where they stand out of a sheet's plane), and

``generate(seed, difficulty, field_nm, margin_nm) -> Specimen``: the same seed
gives the same specimen, whatever the margin; columns reach ``margin_nm`` beyond
the field, features lie at least one context radius inside it.

``pair(feature_class, rng) -> (with, without, yx_nm)``: two small specimens that
differ by one feature of a class at ``yx_nm``; a wall is one domain continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from .specimen import DIFFICULTIES, FeatureClass, Kind, Map, Outline, Specimen

SPECIMENS = (
    "graphene",
    "mos2",
    "wse2",
    "nio_lsmo",
    "bifeo3",
    "nanoparticles",
    "composite",
)

__all__ = [
    "DIFFICULTIES",
    "SPECIMENS",
    "FeatureClass",
    "Kind",
    "Map",
    "Outline",
    "Specimen",
    "check_difficulty",
    "default_difficulty",
    "specimen_module",
    "specimen_of",
]


def specimen_module(name: str) -> ModuleType:
    """The module of a specimen by its name.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if name not in SPECIMENS:
        raise ValueError(f"unknown specimen {name!r}; there are: {', '.join(SPECIMENS)}")
    return import_module(f".{name}", __package__)


def specimen_of(class_names: Sequence[str]) -> str | None:
    """The name of the specimen that has just these classes, in order; None where none has."""
    for name in SPECIMENS:
        if tuple(c.name for c in specimen_module(name).CLASSES) == tuple(class_names):
            return name
    return None


def default_difficulty(name: str) -> str:
    """Medium, or the only difficulty that a specimen is made at."""
    levels = specimen_module(name).LEVELS
    return "medium" if "medium" in levels else str(next(iter(levels)))


def check_difficulty(name: str, difficulty: str) -> None:
    """Refuse a difficulty that is none, or that a specimen is not made at.

    Raises:
        ValueError: the message lists the possible ones.
    """
    if difficulty not in DIFFICULTIES:
        known = ", ".join(DIFFICULTIES)
        raise ValueError(f"unknown difficulty {difficulty!r}; there are: {known}")
    levels = specimen_module(name).LEVELS
    if difficulty not in levels:
        raise ValueError(f"{name} at {difficulty!r}; it is made only at: {', '.join(levels)}")
