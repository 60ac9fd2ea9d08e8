"""What navigators share that go by a trained network, and by what was sighted on the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from ...simulators.specimens import specimen_of
from ..agent import Context, Needs
from ..navigation.navigator import Candidates, Situation
from ..perception.sightings import Layers
from .evidence import Cells
from .laid import Laid


class Trained(Protocol):
    """What a file holds."""

    @property
    def specimen(self) -> str: ...


class ByNetwork:
    """Begins with the networks of a file, and lays what is sighted on the field.

    Args:
        given: a file, or what one holds; by default that in the package for the task's classes.
        member: which of its networks, which differ by the seed of their training; None for the one
            that was the median on validation specimens.
    """

    name = "by network"
    what: ClassVar[str]  # such a file holds; the option that names it, too
    privileged = False
    needs = Needs()
    goes_by_sightings = True
    candidates: Candidates

    def __init__(self, given: str | Trained | None = None, member: int | None = None) -> None:
        self.given, self.member = given, member

    @property
    def settings(self) -> dict[str, Any]:
        named = self.given if isinstance(self.given, str | None) else self.given.specimen
        return {self.what: named, "member": self.member}

    def loaded(self, name: str) -> Any:
        """What the file holds that is in the package for a specimen, or that of a path."""
        raise NotImplementedError

    def suits(self, held: Any, specimen: str) -> bool:
        """Whether what a file holds can serve on a kind of specimen."""
        return bool(held.specimen == specimen)

    def reset(self, context: Context, rng: np.random.Generator) -> None:
        """Raises ValueError where there is no such file, or it is for another specimen."""
        self.context, self.rng = context, rng
        specimen, given = specimen_of(context.class_names), self.given
        held: Any = given
        if isinstance(given, str | None):
            held = self.loaded(given or specimen or "")
        if specimen is not None and not self.suits(held, specimen):
            raise ValueError(f"the {self.what} for {held.specimen} is none for {specimen}")
        self.held, self.specimen = held, specimen or held.specimen
        self.layers = Layers.of(self.specimen)
        self.cells = Cells.of(context.field_yx_nm, context.reference.fov_yx_nm)
        self.laid = Laid(self.cells, len(self.layers.names))

    def steer(self, exploration: float) -> None:
        raise ValueError(f"{self.name} has no curiosity to set")

    def save(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state}

    def restore(self, state: Mapping[str, Any], situation: Situation) -> None:
        self.rng.bit_generator.state = state["rng"]
