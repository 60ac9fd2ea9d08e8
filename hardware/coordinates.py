"""The only conversion between specimen and scan coordinates.

With the stage at s, the beam shifted by b and the scan rotated by φ, scan
coordinates r lie at specimen coordinates  R(φ) r + b - s,  R as in
``microscope``.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, sin

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .costs import CostModel
from .errors import LimitError
from .microscope import YX, Frame, ScanRegion, State

Points = NDArray[np.float64]


def rotation(angle_rad: float) -> Points:
    """R(φ), acting on column vectors (y, x)."""
    c, s = cos(angle_rad), sin(angle_rad)
    return np.array([[c, s], [-s, c]])


def deflection(scan_yx_nm: ArrayLike, rotation_rad: float) -> Points:
    """Scan coordinates (..., 2) as deflections of the unrotated probe."""
    return np.asarray(np.asarray(scan_yx_nm, dtype=np.float64) @ rotation(rotation_rad).T)


def shift_of(state: State) -> Points:
    """By how much (2,) beam shift and stage carry the scan over the specimen."""
    return np.subtract(state.beam_shift_yx_nm, state.stage_yx_nm, dtype=np.float64)


def specimen_from_scan(scan_yx_nm: ArrayLike, state: State, rotation_rad: float = 0.0) -> Points:
    """Scan coordinates (..., 2) as specimen coordinates."""
    return np.asarray(deflection(scan_yx_nm, rotation_rad) + shift_of(state))


def scan_from_specimen(yx_nm: ArrayLike, state: State, rotation_rad: float = 0.0) -> Points:
    """Specimen coordinates (..., 2) as scan coordinates; the inverse."""
    of_axis = np.asarray(yx_nm, dtype=np.float64) - shift_of(state)
    return np.asarray(of_axis @ rotation(rotation_rad))


def origin_in_scan(state: State) -> YX:
    """Where the specimen's origin lies in scan coordinates: all that a state moves."""
    y, x = scan_from_specimen((0.0, 0.0), state).tolist()
    return y, x


def scan_now(frame: Frame, state: State) -> Points:
    """The middle (2,) of a frame in the scan coordinates of another state."""
    region = frame.region
    return scan_from_specimen(
        specimen_from_scan(region.centre_yx_nm, frame.state, region.rotation_rad), state
    )


def corners(region: ScanRegion) -> Points:
    """The four corners of a region (4, 2), as deflections, in order around it."""
    h, w = region.fov_yx_nm[0] / 2, region.fov_yx_nm[1] / 2
    box = np.array([[-h, -w], [-h, w], [h, w], [h, -w]]) + np.asarray(region.centre_yx_nm)
    return deflection(box, region.rotation_rad)


def footprint(region: ScanRegion, state: State) -> Points:
    """The same corners (4, 2) on the specimen."""
    return np.asarray(corners(region) + shift_of(state))


def pixel_offsets_nm(fov_nm: float, pixels: int) -> NDArray[np.float64]:
    """Centres of the pixels along one axis, about the middle of the frame."""
    return ((np.arange(pixels) + 0.5) / pixels - 0.5) * fov_nm


def specimen_from_pixel(frame: Frame, pixel_yx: ArrayLike) -> Points:
    """Pixels (..., 2) of a frame, (0, 0) the centre of the first, as specimen coordinates."""
    shape = np.asarray(frame.request.shape_yx, dtype=np.float64)
    offset = (np.asarray(pixel_yx, dtype=np.float64) + 0.5) / shape - 0.5
    scan = np.asarray(frame.region.centre_yx_nm) + offset * np.asarray(frame.region.fov_yx_nm)
    return specimen_from_scan(scan, frame.state, frame.region.rotation_rad)


def pixel_from_specimen(frame: Frame, yx_nm: ArrayLike) -> Points:
    """Specimen coordinates (..., 2) as pixels of a frame; the inverse."""
    scan = scan_from_specimen(yx_nm, frame.state, frame.region.rotation_rad)
    offset = (scan - np.asarray(frame.region.centre_yx_nm)) / np.asarray(frame.region.fov_yx_nm)
    return np.asarray((offset + 0.5) * np.asarray(frame.request.shape_yx) - 0.5)


@dataclass(frozen=True)
class Reach:
    """How to bring the probe to a target: what to set, and the time that moving takes."""

    scan_yx_nm: YX
    beam_shift_yx_nm: YX
    stage_yx_nm: YX
    time_s: float


def reach(
    target_yx_nm: YX,
    state: State,
    scan_half_yx_nm: YX,
    shift_half_nm: float,
    stage_half_nm: float,
    costs: CostModel,
    rotation_rad: float = 0.0,
) -> Reach:
    """Reach specimen coordinates by scan offset first, then beam shift, then stage.

    Args:
        target_yx_nm: where the centre of the frame shall lie on the specimen.
        state: where things stand now.
        scan_half_yx_nm: how far the scan's centre may lie off the axis.
        shift_half_nm: how far the beam may be shifted, along either axis.
        stage_half_nm: how far the stage may travel from its zero.
        costs: prices of the moves.
        rotation_rad: rotation of the scan.

    Raises:
        LimitError: the target is beyond all three together.
    """
    half = np.asarray(scan_half_yx_nm)
    scan = scan_from_specimen(target_yx_nm, state, rotation_rad)
    if (np.abs(scan) <= half + 1e-9).all():
        return Reach(_yx(scan), state.beam_shift_yx_nm, state.stage_yx_nm, 0.0)
    # The least further beam shift that brings the target back into the scan.
    excess = deflection(scan - np.clip(scan, -half, half), rotation_rad)
    wish = np.asarray(state.beam_shift_yx_nm) + excess
    shift = np.clip(wish, -shift_half_nm, shift_half_nm)
    moved = State(stage_yx_nm=state.stage_yx_nm, beam_shift_yx_nm=_yx(shift))
    scan = scan_from_specimen(target_yx_nm, moved, rotation_rad)
    if (np.abs(scan) <= half + 1e-9).all():
        return Reach(_yx(scan), _yx(shift), state.stage_yx_nm, costs.shift_time_s())
    # Beyond the shift: the stage brings the target towards the axis, as far as it travels.
    stage = np.clip(-np.asarray(target_yx_nm, dtype=np.float64), -stage_half_nm, stage_half_nm)
    rest = scan_from_specimen(target_yx_nm, State(stage_yx_nm=_yx(stage)), rotation_rad)
    excess = deflection(rest - np.clip(rest, -half, half), rotation_rad)
    if (np.abs(excess) > shift_half_nm + 1e-9).any():
        raise LimitError(
            f"target ({target_yx_nm[0]:g}, {target_yx_nm[1]:g}) nm is out of reach: the stage "
            f"travels ±{stage_half_nm:g} nm, the beam shifts by ±{shift_half_nm:g} nm, and the "
            f"scan reaches ±({half[0]:g}, {half[1]:g}) nm"
        )
    moved = State(stage_yx_nm=_yx(stage), beam_shift_yx_nm=_yx(excess))
    scan = scan_from_specimen(target_yx_nm, moved, rotation_rad)
    distance = stage - np.asarray(state.stage_yx_nm)
    time = costs.stage_time_s(_yx(distance)) + costs.shift_time_s()
    return Reach(_yx(scan), _yx(excess), _yx(stage), time)


def _yx(point: ArrayLike) -> YX:
    y, x = np.asarray(point, dtype=np.float64)
    return float(y), float(x)
