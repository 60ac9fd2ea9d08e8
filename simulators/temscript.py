"""A simulated microscope behind temscript's own server, to rehearse with and to test against.

temscript's ``NullMicroscope`` answers every call and has no STEM; this one scans a world, at the
magnification, rotation, beam shift and stage that it was given.
"""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..hardware.emulated import NM
from ..hardware.microscope import ScanRequest
from ..hardware.temscript import SENSOR_PX, SIZES, TemscriptMicroscope, connected
from .virtual import VirtualMicroscope

FIELD_AT_1X_M = 0.1  # side of a full image at magnification 1
KEYS = ("image_size", "binning", "dwell_time(s)")


def serve(microscope: VirtualMicroscope, detector: str) -> Any:
    """Serve a simulated microscope on a free port of the loopback; the server, which runs.

    Args:
        microscope: a simulated one.
        detector: of it, that is shown as ``HAADF``.
    """
    from temscript.null_microscope import NullMicroscope
    from temscript.server import MicroscopeHandler, MicroscopeServer

    microscope.open()

    class Tem(NullMicroscope):  # type: ignore[misc]
        """temscript's stand-in, with a specimen in it."""

        def get_stem_detectors(self) -> dict[str, Any]:
            return {"HAADF": {"type": "STEM_DETECTOR", "binnings": [1, 2, 4, 8]}}

        def is_stem_available(self) -> bool:
            return True

        def get_stem_acquisition_param(self) -> dict[str, Any]:
            return dict(self.given)

        def set_stem_acquisition_param(
            self, param: dict[str, Any], ignore_errors: bool = False
        ) -> None:
            # The stand-in's own refuses the binning.
            unknown = set(param) - set(KEYS)
            if unknown:
                raise ValueError(f"Unknown keys in parameter dictionary: {sorted(unknown)}")
            self.given |= param

        given: dict[str, Any] = {"image_size": "FULL", "binning": 1, "dwell_time(s)": 1e-6}

        def set_beam_blanked(self, mode: bool) -> None:
            super().set_beam_blanked(mode)
            microscope.blank(bool(mode))

        def acquire(self, *detectors: str) -> dict[str, Any]:
            size = {name: part for part, name in SIZES.items()}[self.given["image_size"]]
            n = SENSOR_PX // size // int(self.given["binning"])
            fov = FIELD_AT_1X_M / self._stem_magnification / size / NM
            stage = self._stage_pos["y"] / NM, self._stage_pos["x"] / NM
            shift = self._beam_shift[1] / NM, self._beam_shift[0] / NM
            microscope.move_stage(stage)
            microscope.set_beam_shift((float(shift[0]), float(shift[1])))
            dwell = self.given["dwell_time(s)"] * 1e6
            request = ScanRequest(
                (0.0, 0.0), (fov, fov), (n, n), dwell, float(self._stem_rotation), (detector,)
            )
            counts = microscope.acquire(request).image
            shown = np.clip(np.rint(counts), 0, np.iinfo(np.uint16).max).astype(np.uint16)
            return dict.fromkeys(detectors, shown)

    class Quiet(MicroscopeHandler):  # type: ignore[misc]
        """Its log belongs to nobody here."""

        def log_message(self, *_: Any) -> None:
            return

    server = MicroscopeServer(("127.0.0.1", 0), Tem)
    server.RequestHandlerClass = Quiet
    threading.Thread(target=server.serve_forever, name="temscript", daemon=True).start()
    return server


def served(microscope: VirtualMicroscope, detector: str) -> TemscriptMicroscope:
    """temscript's real server and client, with a simulated microscope behind them."""
    server = serve(microscope, detector)
    field = microscope.limits.field_yx_nm[0]
    return TemscriptMicroscope(
        connected("127.0.0.1", server.server_port),
        FIELD_AT_1X_M,
        field,
        field / 2,
        field / 2,
        f"temscript, {microscope.capabilities.name}",
        simulated=True,
        calibrated=True,
    )
