"""Thermo Fisher (FEI) microscopes through temscript's own server, behind the contract.

temscript (BSD-3-Clause) is an optional extra (``stemscout[temscript]``).  Its server runs on the
microscope's computer (``temscript-server``), this client anywhere.  **Not verified on hardware:**
the scale of the scan and the directions of its axes are for the facility to calibrate, and to prove
by the conformance suite and a grating.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .emulated import NM, EmulatedMicroscope
from .errors import ConnectionLost
from .microscope import YX

SENSOR_PX = 2048  # to a side of a full image at binning 1
SIZES = {1: "FULL", 2: "HALF", 4: "QUARTER"}  # by what part of the side they show
BINNINGS = (1, 2, 4, 8)
# Pixels to a side, and the part and binning that give them; rather a part than no binning.
IMAGES = {SENSOR_PX // s // b: (s, b) for s in SIZES for b in reversed(BINNINGS)}
UNVERIFIED = "Thermo Fisher through temscript, unverified on hardware"


class TemscriptMicroscope(EmulatedMicroscope):
    """A microscope behind temscript's ``RemoteMicroscope``, or anything like it.

    Args:
        client: what has temscript's methods.
        field_at_1x_m: side of a full image at magnification 1; it is to be calibrated.
        field_nm, stage_nm, shift_nm, name, simulated, calibrated: as of ``EmulatedMicroscope``.
    """

    def __init__(
        self,
        client: Any,
        field_at_1x_m: float,
        field_nm: float,
        stage_nm: float,
        shift_nm: float,
        name: str = UNVERIFIED,
        simulated: bool = False,
        calibrated: bool = False,
    ) -> None:
        self._client, self._scale_m, self._size = client, field_at_1x_m, 1
        detectors = sorted(client.get_stem_detectors())
        if not detectors:
            raise ConnectionLost("the microscope names no STEM detector; is STEM switched on?")
        super().__init__(
            name, detectors, tuple(IMAGES), field_nm, stage_nm, shift_nm, simulated, calibrated
        )

    def _read_stage(self) -> YX:
        stage = self._client.get_stage_position()
        return stage["y"] / NM, stage["x"] / NM

    def _set_stage(self, yx_nm: YX) -> None:
        self._client.set_stage_position({"y": yx_nm[0] * NM, "x": yx_nm[1] * NM})

    def _read_shift(self) -> YX:
        x, y = self._client.get_beam_shift()
        return y / NM, x / NM

    def _set_shift(self, yx_nm: YX) -> None:
        self._client.set_beam_shift((yx_nm[1] * NM, yx_nm[0] * NM))

    def _read_blanked(self) -> bool:
        return bool(self._client.get_beam_blanked())

    def _set_blanked(self, on: bool) -> None:
        self._client.set_beam_blanked(bool(on))

    def _prepare(self, side: int, fov_nm: float, rotation_rad: float, dwell_us: float) -> None:
        self._size, binning = IMAGES[side]
        whole_m = fov_nm * NM * self._size
        self._client.set_stem_magnification(self._scale_m / whole_m)
        self._client.set_stem_rotation(rotation_rad)
        self._client.set_stem_acquisition_param(
            {
                "image_size": SIZES[self._size],
                "binning": binning,
                "dwell_time(s)": dwell_us * 1e-6,
            }
        )

    def _read_scan(self) -> tuple[float, float]:
        whole_m = self._scale_m / self._client.get_stem_magnification()
        return whole_m / NM / self._size, float(self._client.get_stem_rotation())

    def _take(self, detectors: Sequence[str], side: int, dwell_us: float) -> Mapping[str, Any]:
        taken: Mapping[str, Any] = self._client.acquire(*detectors)
        return taken


def remote(
    host: str,
    port: int,
    field_at_1x_m: float,
    field_nm: float = 500.0,
    stage_nm: float = 0.0,
    shift_nm: float = 0.0,
) -> TemscriptMicroscope:
    """The microscope behind a temscript server; see ``TemscriptMicroscope``.

    Unless it is said how far they may go, the stage stays where it is, and the beam shift is where
    it was after each frame.  For a frame it goes to the frame's centre, up to half of ``field_nm``
    along either axis; field of view and rotation of the scan stay as the last frame had them.
    """
    return TemscriptMicroscope(connected(host, port), field_at_1x_m, field_nm, stage_nm, shift_nm)


def connected(host: str, port: int) -> Any:
    """temscript's client of a server, over JSON: its other transport unpickles what it is sent."""
    try:
        from temscript import RemoteMicroscope
    except ImportError as error:
        raise ImportError(
            "temscript: (unverified on hardware) needs pip install 'stemscout[temscript]'"
        ) from error
    try:
        return RemoteMicroscope((host, port), transport="JSON", timeout=60.0)
    except (OSError, ValueError) as error:
        raise ConnectionLost(f"no temscript server at {host}:{port}: {error}") from error
