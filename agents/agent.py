"""What an agent is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..envs.actions import ActionCodec
from ..envs.reference import ReferenceFrame
from ..hardware.costs import CostModel
from ..hardware.microscope import YX, Frame, Limits
from ..simulators.specimens import Specimen

Floats = NDArray[np.float64]
Rectangle = tuple[YX, YX]  # two opposite corners, in nm


@dataclass(frozen=True)
class Needs:
    """The action and the observation that an agent wants; the environment is built to fit."""

    action: str = "position"
    observation: str = "default"


@dataclass(frozen=True)
class Context:
    """All that an agent knows before its first frame.

    Attributes:
        field_yx_nm: what may be scanned, about the optic axis.
        reference: the reference frame.
        limits: what the microscope accepts.
        actions: turns a request into an action.
        full_scale: by detector, readings at black and white.
        budget: charge that may be spent, in rasters.
        frames: reference frames that the budget pays for, after the survey.
        beam_current_pa: measured or declared; None where nobody knows it.
        class_names: what may be claimed, where the task has classes.
        tolerances_nm: how exact a claim must be, by class.
        costs: what frames and ways cost.
        survey: a first overview, where the suite grants one.
        truth: only for agents that are ``privileged``.
    """

    field_yx_nm: YX
    reference: ReferenceFrame
    limits: Limits
    actions: ActionCodec
    full_scale: Mapping[str, tuple[float, float]]
    budget: float
    frames: int
    beam_current_pa: float | None = None
    class_names: tuple[str, ...] = ()
    tolerances_nm: tuple[float, ...] = ()
    costs: CostModel = field(default_factory=CostModel)
    survey: Frame | None = None
    truth: Specimen | None = None


@dataclass(frozen=True)
class Finding:
    """A claimed feature.

    Attributes:
        frame: index of a frame that the agent took.
        points_px: (n, 2) in that frame's pixels: one for a point, a polyline for
            a wall, a closed polygon for a cell.
        label: the class claimed.
        confidence: in [0, 1].
    """

    frame: int
    points_px: Floats
    label: str
    confidence: float


@dataclass(frozen=True, eq=False)
class FieldMap:
    """A quantity over the field, for a picture.

    Attributes:
        values: (rows, columns).
        y_nm, x_nm: the positions of the rows and columns.
        unit: of the values.
    """

    values: Floats
    y_nm: Floats
    x_nm: Floats
    unit: str


@dataclass(frozen=True, eq=False)
class Manifold:
    """What descriptors stand for: decoded pictures over the plane of the first two.

    Attributes:
        pictures: (rows, columns, height, width); rows run along the second descriptor.
        second: (rows,) its values, ascending.
        first: (columns,) those of the first.
    """

    pictures: Floats
    second: Floats
    first: Floats


@dataclass(frozen=True, eq=False)
class ClassMap:
    """What is where in a frame, for a picture.

    Attributes:
        names: of what can be told.
        kinds: of each, ``feature``, ``column`` or ``area``.
        values: (rows, columns) over the rows that were scanned, in pixels of any size: 0 for
            nothing, k for ``names[k - 1]``.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why the agent chose what it chose: one plain sentence, and maps in nm.

    ``components`` are pictures of what the agent looks for, (k, rows, columns);
    ``chosen`` is the index of the one that it pursues; ``reach`` is half their
    width, and its unit.  ``descriptors`` (n, d) are what it has made of frames, the mean of each,
    by ``names`` (d); ``frames`` (n,) says of which, by their numbers.  ``manifold`` shows what
    they stand for, where they can be decoded, and ``target`` what is pursued, as plain data.
    """

    sentence: str
    maps: Mapping[str, FieldMap] = field(default_factory=dict)
    components: Floats | None = None
    chosen: int | None = None
    reach: tuple[float, str] = (1.0, "")
    names: tuple[str, ...] = ()
    descriptors: Floats | None = None
    frames: tuple[int, ...] = ()
    manifold: Manifold | None = None
    target: Any = None

    @property
    def pictured(self) -> bool:
        """Whether there are maps or components."""
        return bool(self.maps) or self.components is not None

    @property
    def telling(self) -> bool:
        """Whether there is more to it than the sentence."""
        return self.pictured or self.descriptors is not None


class Agent(ABC):
    """Decides where to scan next.

    An agent sees only what the microscope gave it: never the truth, never
    pixels that were not paid for.  The order of calls is ``reset``, then
    ``act`` and ``observe`` in turn.

    Attributes:
        perceived_s: the time since ``reset`` that went into looking at frames and learning
            from them, where an agent tells it from deciding.
    """

    name: str = "agent"
    needs: Needs = Needs()
    privileged: bool = False
    perceived_s: float = 0.0

    @abstractmethod
    def reset(self, context: Context, seed: int) -> None:
        """Start over on a new specimen."""

    @abstractmethod
    def act(self, observation: Any) -> Any | None:
        """An action of the space that ``needs`` names; None when nothing is left to do."""

    @abstractmethod
    def observe(self, frame: Frame) -> None:
        """Take note of a frame: the agent's own, or a person's."""

    def target(self, frames: Sequence[Frame]) -> Floats | None:
        """The scalar target (n,) of frames, by what was learned so far; None without one."""
        return None

    def findings(self) -> list[Finding]:
        """Everything claimed so far."""
        return []

    def maps(self) -> Mapping[str, FieldMap]:
        """Maps of properties, where the task asks for them."""
        return {}

    def explain(self) -> Explanation:
        """Of the latest decision."""
        return Explanation(f"{self.name} follows its plan")

    def segmented(self, frame: Frame) -> ClassMap | None:
        """What is where in a frame just observed, for a picture; None where nobody tells it."""
        return None

    def steer(
        self,
        target: Any = None,
        forbid: Sequence[Rectangle] | None = None,
        exploration: float | None = None,
    ) -> None:
        """A person's wish, for the next decision on.

        Args:
            target: what to pursue, in the agent's own terms.
            forbid: rectangles, (corner, corner) in nm, that no frame may touch: pieces of
                the specimen, in scan coordinates as they are when this is said.
            exploration: how much curiosity, 0 for none.

        Raises:
            ValueError: this agent cannot be steered that way.
        """
        raise ValueError(f"{self.name} cannot be steered")

    @property
    def settings(self) -> dict[str, Any]:
        """All that was chosen before the run, as JSON."""
        return {}

    def save(self) -> dict[str, Any]:
        """State beyond the frames seen, as arrays and JSON."""
        return {}

    def restore(self, state: Mapping[str, Any], frames: Sequence[Frame]) -> None:
        """After ``reset``: go on as the agent that saved ``state`` after ``frames``."""
        for frame in frames:
            self.observe(frame)
