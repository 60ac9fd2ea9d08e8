"""The contract: what every microscope, simulated, recorded or real, can do.

Positions and shapes are (y, x), rows down; lengths in nm, dwell in µs, beam
current in pA, charge in electrons, dose in e/Å².

Scan coordinates are the axes of the scan pattern about the optic axis, *after*
rotation.  A probe at scan coordinates (v, u) is deflected, at rotation φ, by

    y = v cos φ + u sin φ,    x = u cos φ - v sin φ,

so that a frame at φ = +π/2 about the axis equals ``np.rot90`` of the frame at
0.  A positive beam shift moves the probe towards positive specimen
coordinates; a positive stage move carries the specimen, and so its features in
the image, towards positive ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

YX = tuple[float, float]
Range = tuple[float, float]
VERBS = ("open", "state", "move_stage", "set_beam_shift", "acquire", "blank", "abort", "close")
UNITS_UNVERIFIED = "its units are unverified; no distance was held against a known specimen"


@dataclass(frozen=True, slots=True)
class ScanRegion:
    """A rectangle in scan coordinates: centre, height and width, rotation."""

    centre_yx_nm: YX
    fov_yx_nm: YX
    rotation_rad: float = 0.0


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """One sub-scan: where, how wide, how many pixels, how long, which detectors.

    Attributes:
        centre_yx_nm: in scan coordinates about the optic axis, after rotation.
        fov_yx_nm: height and width, outer edge to outer edge of the pixels.
        shape_yx: rows and columns; x is the fast axis.
        dwell_us: time at each pixel.
        rotation_rad: of the scan pattern; see the module.
        detectors: names out of ``Capabilities.detectors``.
        request_id: repeats with the same id are the same acquisition.
    """

    centre_yx_nm: YX
    fov_yx_nm: YX
    shape_yx: tuple[int, int]
    dwell_us: float
    rotation_rad: float = 0.0
    detectors: tuple[str, ...] = ("haadf",)
    request_id: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> ScanRequest:
        """From its fields as JSON has them, lists for tuples."""
        given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**given)

    @property
    def region(self) -> ScanRegion:
        return ScanRegion(self.centre_yx_nm, self.fov_yx_nm, self.rotation_rad)

    def dark(self) -> dict[str, NDArray[np.float32]]:
        """Readings, by detector, of a scan that no electron came to."""
        return {d: np.zeros(self.shape_yx, np.float32) for d in self.detectors}

    @property
    def pixel_yx_nm(self) -> YX:
        return self.fov_yx_nm[0] / self.shape_yx[0], self.fov_yx_nm[1] / self.shape_yx[1]


@dataclass(frozen=True, slots=True)
class StageMove:
    """An absolute stage position."""

    yx_nm: YX


@dataclass(frozen=True, slots=True)
class BeamShift:
    """An absolute beam shift."""

    yx_nm: YX


@dataclass(frozen=True, slots=True)
class Unblank:
    """The beam on again."""


@dataclass(frozen=True, slots=True)
class State:
    """What the instrument says of itself now.

    ``beam_current_pa`` is None where nobody knows it; ``current_source`` says
    whether it was measured or declared by a person.
    """

    stage_yx_nm: YX = (0.0, 0.0)
    beam_shift_yx_nm: YX = (0.0, 0.0)
    blanked: bool = False
    beam_current_pa: float | None = None
    current_source: Literal["measured", "declared"] | None = None


@dataclass(frozen=True)
class Limits:
    """Every range is inclusive; None means that there is no such limit.

    Attributes:
        field_yx_nm: the scan may reach half of it to either side of the axis.
        fov_nm: field of view along either axis.
        pixel_nm: pixel pitch along either axis.
        shape_px: pixels along either axis.
        dwell_us: dwell time.
        rotation_rad: rotation of the scan.
        stage_nm, beam_shift_nm: along either axis.
        detectors: names that may be asked for.
        max_dose_e_per_a2: dose of a single frame.
        max_dose_rate_e_per_a2_s: beam current over the area of a frame.
        max_spot_dose_e_per_a2: dose of all frames together, at any one spot.
        max_charge_e, max_time_s: of all frames together, beam-on charge and instrument time.
        stage_step_nm: length of a stage move.
        stage_speed_nm_per_s: length of a stage move over the time since the one before.
    """

    field_yx_nm: YX
    fov_nm: Range
    pixel_nm: Range
    shape_px: tuple[int, int]
    dwell_us: Range
    detectors: tuple[str, ...]
    rotation_rad: Range = (-6.283185307179586, 6.283185307179586)
    stage_nm: Range = (0.0, 0.0)
    beam_shift_nm: Range = (0.0, 0.0)
    max_dose_e_per_a2: float | None = None
    max_dose_rate_e_per_a2_s: float | None = None
    max_spot_dose_e_per_a2: float | None = None
    max_charge_e: float | None = None
    max_time_s: float | None = None
    stage_step_nm: float | None = None
    stage_speed_nm_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the instrument can do, told once by ``open``.

    Attributes:
        name: maker and model, as a person would say it.
        limits: what it accepts.
        detectors: names that a request may hold.
        full_scale: by detector, the readings at both ends of its range for
            the reference dwell, for display; readings may exceed it.
        region_of_interest: sub-scans are native, emulated, or not to be had.
        can_abort: an acquisition can be stopped half-way.
        can_blank: the beam can be blanked.
        can_blank_while_busy: also in the middle of an acquisition.
        units_verified: distances were held against a known specimen.
        simulated: no beam exists.
        remembers_requests: a request whose id it knows is answered as before, and no electron
            is sent again.
        stage_tolerance_nm, shift_tolerance_nm: how far off a read-back may be.
    """

    name: str
    limits: Limits
    detectors: tuple[str, ...]
    full_scale: Mapping[str, tuple[float, float]]
    region_of_interest: Literal["native", "emulated", "none"]
    can_abort: bool
    can_blank: bool
    can_blank_while_busy: bool
    units_verified: bool
    simulated: bool
    remembers_requests: bool = False
    stage_tolerance_nm: float = 1.0
    shift_tolerance_nm: float = 0.1


@dataclass(frozen=True, slots=True)
class Frame:
    """What came back for a request.

    Attributes:
        request: what was asked.
        region: what was scanned, as the instrument reports it.
        data: by detector, (rows, columns) arrays of readings.
        valid_rows: rows that were scanned; the rest holds zeros.
        charge_e: electrons sent, fly-back included unless blanked; None where
            the beam current is unknown.
        time_s: time taken, settling included.
        state: the instrument's state during the scan.
        metadata: whatever else the instrument says.
    """

    request: ScanRequest
    region: ScanRegion
    data: Mapping[str, NDArray[np.float32]]
    valid_rows: int
    charge_e: float | None
    time_s: float
    state: State
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def image(self) -> NDArray[np.float32]:
        """The first detector's readings."""
        return self.data[self.request.detectors[0]]


@runtime_checkable
class Microscope(Protocol):
    """Eight verbs.  Distances in nm, time-outs in s; errors as in ``errors``."""

    def open(self) -> Capabilities:
        """Connect and say what is possible; repeated calls are harmless."""
        ...

    def state(self) -> State:
        """What the instrument says of itself now."""
        ...

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        """Move, wait, and return the read-back; an error if it is off tolerance."""
        ...

    def set_beam_shift(self, yx_nm: YX) -> State:
        """Shift the beam without moving the specimen."""
        ...

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        """Scan once."""
        ...

    def blank(self, on: bool) -> State:
        """Blank or unblank the beam."""
        ...

    def abort(self) -> None:
        """Stop the acquisition under way; from any thread, never blocked by it."""
        ...

    def close(self) -> None:
        """Blank first, then let go; repeated calls are harmless."""
        ...
