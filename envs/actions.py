"""Action codecs: between the numbers an agent gives and a ``ScanRequest``.

Every one of them decodes many actions at once, for environments that run side
by side; one action is the case of one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from ..hardware.microscope import YX, Limits, ScanRequest
from .reference import ReferenceFrame

Floats = NDArray[np.float64]
SAME_NM = 1e-6  # so near to each other, two centres are one
MOVE_FRAMES = 4.0  # reference frames that a full move goes
WIDEST_DWELL = 4.0  # of the operator: reference dwells
SHORTEST_DWELL = 1.0 / 16.0


@dataclass(frozen=True)
class Requests:
    """What several actions ask for, side by side; the pixels are the reference frame's.

    Attributes:
        centre_yx_nm: (n, 2).
        fov_yx_nm: (n, 2).
        dwell_us: (n,).
        at_limit: (n,) moves that the border stopped.
    """

    centre_yx_nm: Floats
    fov_yx_nm: Floats
    dwell_us: Floats
    at_limit: NDArray[np.bool_]


class ActionCodec(ABC):
    """An action space and its meaning.

    Args:
        field_yx_nm: what may be scanned.
        reference: the reference frame.
        limits: what the microscope accepts, where that is known.

    Attributes:
        space: of the actions.
    """

    space: gym.Space[Any]

    def __init__(
        self, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
    ) -> None:
        self.field_yx_nm, self.reference = field_yx_nm, reference
        self.half_yx_nm = reference.half_range_yx_nm(field_yx_nm)
        self._half = np.asarray(self.half_yx_nm)
        self._never = np.empty(0, dtype=bool)

    @property
    def cheapest(self) -> ScanRequest:
        """The frame that costs least."""
        return self.reference.at((0.0, 0.0))

    @abstractmethod
    def check(self, actions: Any, n: int) -> NDArray[Any]:
        """The actions (n, ...) as an array; ValueError for anything outside the space."""

    @abstractmethod
    def decode_all(self, actions: NDArray[Any], from_yx_nm: Floats) -> Requests:
        """What checked actions ask for, from the latest centres (n, 2)."""

    @abstractmethod
    def encode(self, request: ScanRequest, from_yx_nm: YX = (0.0, 0.0)) -> Any:
        """The action that asks for a request; ValueError where there is none."""

    def decode(self, action: Any, from_yx_nm: YX = (0.0, 0.0)) -> ScanRequest:
        """The request that an action asks for; ValueError for anything outside the space."""
        return self.request_of(self.decode_all(self.check([action], 1), np.array([from_yx_nm])), 0)

    def request_of(self, requests: Requests, k: int) -> ScanRequest:
        """One of several, for a microscope."""
        (y, x), (height, width) = requests.centre_yx_nm[k].tolist(), requests.fov_yx_nm[k].tolist()
        return ScanRequest(
            (y, x),
            (height, width),
            self.reference.shape_yx,
            float(requests.dwell_us[k]),
            0.0,
            self.reference.detectors,
        )

    def _reference_frames(self, centre_yx_nm: Floats, at_limit: Any = None) -> Requests:
        n = len(centre_yx_nm)
        if len(self._never) != n:  # what never changes is made once
            fov = np.asarray(self.reference.fov_yx_nm, dtype=np.float64)
            self._fov, self._dwell = np.tile(fov, (n, 1)), np.full(n, self.reference.dwell_us)
            self._never = np.zeros(n, dtype=bool)
            for shared in (self._fov, self._dwell, self._never):
                shared.setflags(write=False)
        never = self._never
        return Requests(
            centre_yx_nm, self._fov, self._dwell, never if at_limit is None else at_limit
        )

    def _need_reference(self, request: ScanRequest) -> None:
        if request != self.reference.at(request.centre_yx_nm):
            raise ValueError("this action space holds reference frames only, and this is another")


class _BoxCodec(ActionCodec):
    """Numbers in [-1, 1]; ``names`` says what they are."""

    names: tuple[str, ...]

    def __init__(
        self, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
    ) -> None:
        super().__init__(field_yx_nm, reference, limits)
        self.space = gym.spaces.Box(-1.0, 1.0, (len(self.names),), np.float32)

    def check(self, actions: Any, n: int) -> NDArray[Any]:
        try:
            values = np.asarray(actions)
        except ValueError as error:  # ragged
            raise ValueError(f"the action {actions!r}; {self._said}") from error
        if values.dtype.kind not in "fiu" or values.shape != (n, len(self.names)):
            raise ValueError(
                f"an action of type {values.dtype} and shape {values.shape[1:]}; {self._said}"
            )
        checked = values.astype(np.float64)
        if not np.abs(checked).max(initial=0.0) <= 1.0:  # NaN fails too
            raise ValueError(f"the action {values.tolist()}; {self._said}")
        return checked

    @property
    def _said(self) -> str:
        return f"it must be {len(self.names)} real numbers in [-1, 1]: {', '.join(self.names)}"

    def _action(self, values: Any, what: str) -> NDArray[np.float32]:
        action = np.asarray(values, dtype=np.float32)
        if np.abs(action).max() > 1.0 + 1e-6:
            raise ValueError(what)
        return np.clip(action, -1.0, 1.0)


class PositionAction(_BoxCodec):
    """``position``: the centre of a reference frame, in absolute coordinates.

    ``Box(-1, 1, (2,))`` holds (y, x) as fractions of the valid range, so that
    every action is a frame inside the field.
    """

    names = ("y", "x")

    def decode_all(self, actions: NDArray[Any], from_yx_nm: Floats) -> Requests:
        return self._reference_frames(actions * self._half)

    def encode(self, request: ScanRequest, from_yx_nm: YX = (0.0, 0.0)) -> NDArray[np.float32]:
        self._need_reference(request)
        centre = _fractions(request.centre_yx_nm, self.half_yx_nm)
        return self._action(
            centre,
            f"a frame at {request.centre_yx_nm} nm lies outside the valid centres "
            f"±{self.half_yx_nm} nm",
        )


class MoveAction(_BoxCodec):
    """``move``: a reference frame away from the latest one; from the middle at first.

    ``Box(-1, 1, (2,))`` holds (y, x) in units of four reference frames.  At the
    border the move stops, each axis for itself; the frame is taken there and
    paid for, and ``info["at_limit"]`` is true.
    """

    names = ("along y", "along x")

    def __init__(
        self, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
    ) -> None:
        super().__init__(field_yx_nm, reference, limits)
        self.reach_yx_nm = tuple(MOVE_FRAMES * f for f in reference.fov_yx_nm)

    def decode_all(self, actions: NDArray[Any], from_yx_nm: Floats) -> Requests:
        wanted = from_yx_nm + actions * np.asarray(self.reach_yx_nm)
        half = np.asarray(self.half_yx_nm)
        # A frame that another hand took may lie beyond: the way back is free.
        reached = np.clip(wanted, -half, half)
        return self._reference_frames(reached, (np.abs(wanted) > half + SAME_NM).any(axis=1))

    def encode(self, request: ScanRequest, from_yx_nm: YX = (0.0, 0.0)) -> NDArray[np.float32]:
        self._need_reference(request)
        way = [c - f for c, f in zip(request.centre_yx_nm, from_yx_nm, strict=True)]
        return self._action(
            [w / r for w, r in zip(way, self.reach_yx_nm, strict=True)],
            f"a move by {way} nm; one goes at most {self.reach_yx_nm} nm along either axis",
        )


class GridAction(ActionCodec):
    """``grid``: one of the cells, which lie half a reference frame apart, in raster order.

    ``Discrete(rows * columns)``.  The mask (``info["action_mask"]``,
    ``action_masks()``) is 0 where a frame was taken already; such a cell can be
    taken again, and is paid for again.
    """

    def __init__(
        self, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
    ) -> None:
        super().__init__(field_yx_nm, reference, limits)
        self.centres_yx_nm, self.shape_yx = reference.lattice(field_yx_nm, 0.5)
        self.space = gym.spaces.Discrete(len(self.centres_yx_nm))

    def check(self, actions: Any, n: int) -> NDArray[Any]:
        count = len(self.centres_yx_nm)
        said = f"it must be an integer from 0 to {count - 1}, the number of a cell"
        try:
            values = np.asarray(actions)
        except ValueError as error:
            raise ValueError(f"the action {actions!r}; {said}") from error
        if values.dtype.kind not in "iu" or values.shape != (n,):
            raise ValueError(
                f"an action of type {values.dtype} and shape {values.shape[1:]}; {said}"
            )
        if ((values < 0) | (values >= count)).any():
            raise ValueError(f"the action {values.tolist()}; {said}")
        return values.astype(np.int64)

    def decode_all(self, actions: NDArray[Any], from_yx_nm: Floats) -> Requests:
        return self._reference_frames(self.centres_yx_nm[actions])

    def cell_of(self, centre_yx_nm: YX) -> int | None:
        """The cell that a centre is that of, if any."""
        offset = np.abs(self.centres_yx_nm - np.asarray(centre_yx_nm)).max(axis=1)
        nearest = int(offset.argmin())
        return nearest if offset[nearest] <= SAME_NM else None

    def encode(self, request: ScanRequest, from_yx_nm: YX = (0.0, 0.0)) -> np.int64:
        self._need_reference(request)
        cell = self.cell_of(request.centre_yx_nm)
        if cell is None:
            raise ValueError(
                f"a frame at {request.centre_yx_nm} nm is none of the {len(self.centres_yx_nm)} "
                "cells, which lie half a frame apart"
            )
        return np.int64(cell)


class OperatorAction(_BoxCodec):
    """``operator``: where, how wide and how long: survey at low magnification, then zoom in.

    ``Box(-1, 1, (4,))`` holds (y, x) as fractions of the centres that are valid
    for that field of view; the field of view, on a logarithmic scale from half
    the reference frame to the whole field; the dwell, on a logarithmic scale from a
    sixteenth to four times the reference; both end where the microscope's limits do, and
    an axis of a single value decides nothing.  The pixels are as many as the reference
    frame's.
    """

    names = ("y", "x", "field of view", "dwell")

    def __init__(
        self, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
    ) -> None:
        super().__init__(field_yx_nm, reference, limits)
        fov = (reference.side_nm / 2, min(field_yx_nm))
        dwell = (SHORTEST_DWELL * reference.dwell_us, WIDEST_DWELL * reference.dwell_us)
        if limits is not None:
            pixels = min(reference.shape_yx), max(reference.shape_yx)
            finest, coarsest = limits.pixel_nm[0] * pixels[1], limits.pixel_nm[1] * pixels[0]
            fov = max(fov[0], finest, limits.fov_nm[0]), min(fov[1], coarsest, limits.fov_nm[1])
            dwell = max(dwell[0], limits.dwell_us[0]), min(dwell[1], limits.dwell_us[1])
        self.fov_nm, self.dwell_us = fov, dwell
        for what, (low, high) in (("field of view", fov), ("dwell", dwell)):
            if low > high * (1 + 1e-9):
                raise ValueError(
                    f"the microscope's limits leave the action 'operator' no {what}: from "
                    f"{low:g} to {high:g}; take another action"
                )

    @property
    def cheapest(self) -> ScanRequest:
        half = self.fov_nm[0]
        return ScanRequest(
            (0.0, 0.0),
            (half, half),
            self.reference.shape_yx,
            self.dwell_us[0],
            0.0,
            self.reference.detectors,
        )

    def decode_all(self, actions: NDArray[Any], from_yx_nm: Floats) -> Requests:
        fov = _scaled(actions[:, 2], self.fov_nm)
        half = (np.asarray(self.field_yx_nm)[None, :] - fov[:, None]) / 2
        return Requests(
            actions[:, :2] * half,
            np.repeat(fov[:, None], 2, axis=1),
            _scaled(actions[:, 3], self.dwell_us),
            np.zeros(len(actions), dtype=bool),
        )

    def encode(self, request: ScanRequest, from_yx_nm: YX = (0.0, 0.0)) -> NDArray[np.float32]:
        height, width = request.fov_yx_nm
        same = (request.shape_yx, request.detectors, request.rotation_rad) == (
            self.reference.shape_yx,
            self.reference.detectors,
            0.0,
        )
        if abs(height - width) > SAME_NM or not same:
            raise ValueError(
                "this action space holds square upright frames of "
                f"{self.reference.shape_yx} pixels only, and this is another"
            )
        half = ((self.field_yx_nm[0] - height) / 2, (self.field_yx_nm[1] - width) / 2)
        return self._action(
            [
                *_fractions(request.centre_yx_nm, half),
                _unscaled(height, self.fov_nm),
                _unscaled(request.dwell_us, self.dwell_us),
            ],
            f"a frame of {height:g} nm at {request.centre_yx_nm} nm for {request.dwell_us:g} µs "
            f"lies beyond fields of view of {self.fov_nm} nm, dwells of {self.dwell_us} µs or the "
            "field",
        )


def _fractions(centre_yx_nm: YX, half_yx_nm: YX) -> list[float]:
    """Centres as fractions of a valid range; of no range at all there is the middle only."""
    return [
        c / h if h > SAME_NM else (0.0 if abs(c) <= SAME_NM else np.inf)
        for c, h in zip(centre_yx_nm, half_yx_nm, strict=True)
    ]


def _scaled(value: Floats, ends: tuple[float, float]) -> Floats:
    low, high = np.log(ends[0]), np.log(ends[1])
    # Rounding must not lead beyond the ends, which may be a microscope's limits.
    return np.asarray(np.clip(np.exp(low + (value + 1.0) * 0.5 * (high - low)), *ends))


def _unscaled(value: float, ends: tuple[float, float]) -> float:
    low, high = np.log(ends[0]), np.log(ends[1])
    if high - low < 1e-9:
        return 0.0 if abs(np.log(value) - low) < 1e-6 else np.inf
    return float(2.0 * (np.log(value) - low) / (high - low) - 1.0)


ACTIONS: dict[str, type[ActionCodec]] = {
    "position": PositionAction,
    "move": MoveAction,
    "grid": GridAction,
    "operator": OperatorAction,
}


def action_codec(
    name: str, field_yx_nm: YX, reference: ReferenceFrame, limits: Limits | None = None
) -> ActionCodec:
    """The codec of a name.

    Raises:
        ValueError: an unknown name (the known ones are listed), or an action
            that the microscope's limits do not allow.
    """
    if not isinstance(name, str) or name not in ACTIONS:
        raise ValueError(f"unknown action {name!r}; there are: {', '.join(ACTIONS)}")
    return ACTIONS[name](field_yx_nm, reference, limits)
