"""Action codecs: between the numbers an agent gives and a ``ScanRequest``."""

from __future__ import annotations

from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX, ScanRequest
from .reference import ReferenceFrame


class ActionCodec(Protocol):
    """An action space and its meaning."""

    @property
    def space(self) -> gym.Space[Any]: ...

    def decode(self, action: Any) -> ScanRequest:
        """The request that an action asks for; ValueError for anything outside the space."""
        ...

    def encode(self, request: ScanRequest) -> Any:
        """The action that asks for a request; the inverse."""
        ...


class PositionAction:
    """``position``: the centre of a reference frame, in absolute coordinates.

    ``Box(-1, 1, (2,))`` holds (y, x) as fractions of the valid range, so that
    every action is a frame inside the field.
    """

    def __init__(self, field_yx_nm: YX, reference: ReferenceFrame) -> None:
        self.space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.reference = reference
        self.half_yx_nm = reference.half_range_yx_nm(field_yx_nm)

    def decode(self, action: Any) -> ScanRequest:
        try:
            values = np.asarray(action)
        except ValueError as error:  # ragged
            raise ValueError(f"the action {action!r}; it must be y and x in [-1, 1]") from error
        if values.dtype.kind not in "fiu" or values.shape != (2,):
            raise ValueError(
                f"an action of type {values.dtype} and shape {values.shape}; it must be two real "
                "numbers: y and x in [-1, 1]"
            )
        y, x = float(values[0]), float(values[1])
        if not (-1.0 <= y <= 1.0 and -1.0 <= x <= 1.0):  # NaN fails too
            raise ValueError(f"the action ({y:g}, {x:g}); both numbers must lie in [-1, 1]")
        return self.reference.at((y * self.half_yx_nm[0], x * self.half_yx_nm[1]))

    def encode(self, request: ScanRequest) -> NDArray[np.float32]:
        centre = [
            c / h if h > 0 else 0.0
            for c, h in zip(request.centre_yx_nm, self.half_yx_nm, strict=True)
        ]
        action = np.asarray(centre, dtype=np.float32)
        if np.abs(action).max() > 1.0 + 1e-6:
            raise ValueError(
                f"a frame at {request.centre_yx_nm} nm lies outside the valid centres "
                f"±{self.half_yx_nm} nm"
            )
        return np.clip(action, -1.0, 1.0)


ACTIONS = {"position": PositionAction}


def action_codec(name: str, field_yx_nm: YX, reference: ReferenceFrame) -> ActionCodec:
    """The codec of a name; ValueError lists the known ones."""
    if name not in ACTIONS:
        raise ValueError(f"unknown action {name!r}; there are: {', '.join(ACTIONS)}")
    return ACTIONS[name](field_yx_nm, reference)
