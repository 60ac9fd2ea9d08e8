"""Thermo Fisher microscopes through AutoScript TEM, behind the contract.

**Not verified on hardware.**  Written from the calls that AutoScript documents and that public code
makes; metres, radians and seconds throughout.  AutoScript is Thermo Fisher's own and is
installed by them; nothing of it is needed to import this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .emulated import NM, EmulatedMicroscope
from .errors import ConnectionLost
from .microscope import YX

SIDES = (128, 256, 512, 1024, 2048, 4096)
UNVERIFIED = "Thermo Fisher through AutoScript TEM, unverified on hardware"
DETECTORS = ("HAADF",)


class AutoScriptMicroscope(EmulatedMicroscope):
    """A microscope behind ``TemMicroscopeClient``, connected and in STEM mode.

    Each detector takes a scan of its own, so a frame is one detector's.

    Args:
        client: it.
        stage_position: makes AutoScript's ``StagePosition(x=, y=)``.
        detectors: by AutoScript's names.
        field_nm, stage_nm, shift_nm, name, simulated, calibrated: as of ``EmulatedMicroscope``.
    """

    one_detector = True

    def __init__(
        self,
        client: Any,
        stage_position: Callable[..., Any],
        detectors: Sequence[str] = DETECTORS,
        field_nm: float = 500.0,
        stage_nm: float = 0.0,
        shift_nm: float = 0.0,
        name: str = UNVERIFIED,
        simulated: bool = False,
        calibrated: bool = False,
    ) -> None:
        self._client, self._position = client, stage_position
        super().__init__(
            name, detectors, SIDES, field_nm, stage_nm, shift_nm, simulated, calibrated
        )

    def _read_stage(self) -> YX:
        at = self._client.specimen.stage.position
        return at.y / NM, at.x / NM

    def _set_stage(self, yx_nm: YX) -> None:
        to = self._position(x=yx_nm[1] * NM, y=yx_nm[0] * NM)
        self._client.specimen.stage.absolute_move(to)

    def _read_shift(self) -> YX:
        at = self._client.optics.deflectors.beam_shift
        return at.y / NM, at.x / NM

    def _set_shift(self, yx_nm: YX) -> None:
        self._client.optics.deflectors.beam_shift = (yx_nm[1] * NM, yx_nm[0] * NM)

    def _read_blanked(self) -> bool:
        return bool(self._client.optics.blanker.is_beam_blanked)

    def _set_blanked(self, on: bool) -> None:
        blanker = self._client.optics.blanker
        if on:
            blanker.blank()
        else:
            blanker.unblank()

    def _prepare(self, side: int, fov_nm: float, rotation_rad: float, dwell_us: float) -> None:
        self._client.optics.scan_field_of_view = fov_nm * NM
        self._client.optics.scan_rotation = rotation_rad

    def _read_scan(self) -> tuple[float, float]:
        optics = self._client.optics
        return float(optics.scan_field_of_view) / NM, float(optics.scan_rotation)

    def _take(self, detectors: Sequence[str], side: int, dwell_us: float) -> Mapping[str, Any]:
        (name,) = detectors
        image = self._client.acquisition.acquire_stem_image(name, side, dwell_us * 1e-6)
        return {name: image.data}


def remote(
    host: str,
    port: int = 9090,
    detectors: Sequence[str] = DETECTORS,
    field_nm: float = 500.0,
    stage_nm: float = 0.0,
    shift_nm: float = 0.0,
) -> AutoScriptMicroscope:
    """The microscope at an address; see ``AutoScriptMicroscope``.

    Unless it is said how far they may go, the stage stays where it is, and the beam shift is where
    it was after each frame.  For a frame it goes to the frame's centre, up to half of ``field_nm``
    along either axis; field of view and rotation of the scan stay as the last frame had them.

    Raises:
        ImportError: AutoScript TEM is not installed.
        ConnectionLost: it cannot be reached.
    """
    try:
        from autoscript_tem_microscope_client import TemMicroscopeClient
        from autoscript_tem_microscope_client.structures import StagePosition
    except ImportError as error:
        raise ImportError(
            "autoscript: (unverified on hardware) needs Thermo Fisher's AutoScript TEM, which they "
            "install"
        ) from error
    client = TemMicroscopeClient()
    try:
        client.connect(host, port)
    except Exception as error:  # it has errors of its own
        raise ConnectionLost(f"no AutoScript server at {host}:{port}: {error}") from error
    return AutoScriptMicroscope(client, StagePosition, detectors, field_nm, stage_nm, shift_nm)
