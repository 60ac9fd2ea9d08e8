"""A microscope as devices of Bluesky: a centre that can be set, and a detector that scans there.

They satisfy ``bluesky.protocols`` and need none of its code, so they import without it.  They are
devices neither of ophyd nor of ophyd-async, and use no class of either: what asks for an
``ophyd.Device``, its components and signals finds none here.

The RunEngine does not stop a detector by itself, neither when it pauses nor when a plan fails: so
``pause``, ``stop`` and ``unstage`` abort the scan here, and ``unstage`` blanks the beam.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from .errors import AbortedError, MicroscopeError
from .microscope import Frame, Microscope, ScanRequest

JOIN_S = 30.0  # for which a scan that was aborted is waited for
KEPT = 64  # frames, by their uid


class Done:
    """A status of Bluesky: something under way that ends well or badly."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[Done], None]] = []
        self._error: BaseException | None = None

    def finish(self, error: BaseException | None = None) -> None:
        """It has ended."""
        with self._lock:
            self._error = error
            self._event.set()
            waiting, self._callbacks = self._callbacks, []
        for callback in waiting:
            callback(self)

    def add_callback(self, callback: Callable[[Done], None]) -> None:
        """Call when it has ended, at once if it has."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def exception(self, timeout: float | None = 0.0) -> BaseException | None:
        """What it ended with; TimeoutError where it has not in time."""
        if not self._event.wait(timeout):
            raise TimeoutError("it has not ended yet")
        return self._error

    @property
    def done(self) -> bool:
        return self._event.is_set()

    @property
    def success(self) -> bool:
        return self._event.is_set() and self._error is None


class Coordinate:
    """One coordinate of the next frame's centre, in nm: a ``Movable`` that is there at once.

    Args:
        name: of the device.
    """

    parent = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.value, self._at = 0.0, time.time()

    def set(self, value: float) -> Done:
        self.value, self._at = float(value), time.time()
        there = Done()
        there.finish()
        return there

    def read(self) -> dict[str, Any]:
        return {self.name: {"value": self.value, "timestamp": self._at}}

    def describe(self) -> dict[str, Any]:
        return {self.name: {"source": "next frame", "dtype": "number", "shape": [], "units": "nm"}}

    @property
    def position(self) -> float:
        return self.value

    @property
    def hints(self) -> dict[str, Any]:
        return {"fields": [self.name]}


class ScanDetector:
    """Takes a frame where ``y`` and ``x`` say, whenever it is triggered.

    Args:
        microscope: guarded.
        frame: as every frame is, but for its centre.
        name: of the device; its fields are ``<name>_<detector>`` and ``<name>_uid``, the number
            that ``frame_of`` knows the frame by.
    """

    parent = None

    def __init__(self, microscope: Microscope, frame: ScanRequest, name: str = "stem") -> None:
        self.microscope, self.frame, self.name = microscope, frame, name
        self.y, self.x = Coordinate(f"{name}_y"), Coordinate(f"{name}_x")
        self._scan: threading.Thread | None = None
        self._last: tuple[int, Frame, float] | None = None
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._count = 0
        self._pausing = False

    def stage(self) -> list[Any]:
        """Open the microscope, and unblank its beam."""
        self.microscope.open()
        self.microscope.blank(False)
        return [self]

    def unstage(self) -> list[Any]:
        """Abort what is under way, and blank the beam; the RunEngine unstages whatever happens."""
        self._abort()
        self.microscope.blank(True)
        return [self]

    def pause(self) -> None:
        """Abort the frame under way; from its checkpoint the plan takes it again."""
        self._pausing = True
        self._abort()
        self._pausing = False

    def resume(self) -> None:
        return

    def stop(self, *, success: bool = False) -> None:
        self._abort()

    def trigger(self) -> Done:
        """Begin a frame."""
        under_way = Done()
        centre = (self.y.value, self.x.value)
        request = replace(self.frame, centre_yx_nm=centre)

        def scan() -> None:
            try:
                frame = self.microscope.acquire(request)
            except Exception as error:
                # What a pause aborts has not failed, and a plan that is rewound asks for it again.
                wished = self._pausing and isinstance(error, AbortedError)
                under_way.finish(None if wished else error)
                return
            self._count += 1
            self._last = self._count, frame, time.time()
            self._kept[self._count] = frame
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            under_way.finish()

        self._scan = threading.Thread(target=scan, name="scan", daemon=True)
        self._scan.start()
        return under_way

    def read(self) -> dict[str, Any]:
        if self._last is None:
            raise RuntimeError(f"{self.name} was not triggered")
        uid, frame, at = self._last
        found: dict[str, Any] = {
            f"{self.name}_{detector}": {"value": image, "timestamp": at}
            for detector, image in frame.data.items()
        }
        found[f"{self.name}_uid"] = {"value": uid, "timestamp": at}
        return found

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = {
            f"{self.name}_{detector}": {
                "source": "microscope",
                "dtype": "array",
                "shape": list(self.frame.shape_yx),
            }
            for detector in self.frame.detectors
        }
        told[f"{self.name}_uid"] = {"source": "microscope", "dtype": "integer", "shape": []}
        return told

    def frame_of(self, uid: int) -> Frame:
        """A frame by its number; KeyError for one that is long gone."""
        return self._kept[uid]

    @property
    def latest(self) -> tuple[int, Frame]:
        """The latest frame, and its number."""
        if self._last is None:
            raise RuntimeError(f"{self.name} was not triggered")
        return self._last[0], self._last[1]

    def _abort(self) -> None:
        scan = self._scan
        if scan is None or not scan.is_alive():
            return
        with suppress(MicroscopeError):
            self.microscope.abort()
        scan.join(JOIN_S)
