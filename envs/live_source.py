"""A live microscope: opened once, and the same in every episode."""

from __future__ import annotations

from dataclasses import asdict, replace
from numbers import Integral, Real
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..hardware.costs import CostModel
from ..hardware.limits import check
from ..hardware.microscope import YX, Capabilities, Frame, Limits, Microscope, ScanRequest, State
from ..simulators.specimens import FeatureClass, Specimen
from .budget import ROUNDING, Budget, BudgetError
from .episode import LooksBesides
from .numbers import is_number
from .reference import ReferenceFrame
from .sources import FRAMES_ACROSS

LIVE_FRAME_PX = 64
LIVE_DWELL_US = 1.0


@runtime_checkable
class KnowsCosts(Protocol):
    """A microscope that knows its prices."""

    costs: CostModel


class LiveSource:
    """One microscope, opened once and kept: the same in every episode.

    Args:
        microscope: opened here and never again; whoever made it closes it.
        frame_nm: side of the reference frame; by default a sixteenth of the
            field's shorter side.
        frame_px: its pixels along either side; 64 by default.
        dwell_us: its dwell; by default 1 µs.
        detector: that frames are taken with; by default the first.
        beam_current_pa: declared by a person, where the instrument knows none.
        address: how the microscope was found, for the record.

    Defaults go to the nearest value that the microscope's limits allow; what is
    given is taken as it is, or refused.

    Raises:
        ValueError: a reference frame or detector that the microscope does not have,
            no sub-scans, or a current that it knows itself.
        MicroscopeError: what the microscope raises when it is opened; a dose limit
            without a known beam current.
    """

    classes: tuple[FeatureClass, ...] | None = None

    def __init__(
        self,
        microscope: Microscope,
        frame_nm: float | None = None,
        frame_px: int | None = None,
        dwell_us: float | None = None,
        detector: str | None = None,
        beam_current_pa: float | None = None,
        address: str | None = None,
    ) -> None:
        self.live, self.address = microscope, address
        self.capabilities = microscope.open()
        self.limits = limits = self.capabilities.limits
        self.field_yx_nm = limits.field_yx_nm
        self.costs = microscope.costs if isinstance(microscope, KnowsCosts) else CostModel()
        if self.capabilities.region_of_interest == "none":
            raise ValueError(f"{self.capabilities.name} scans its whole field only; no sub-scans")
        if detector is not None and detector not in self.capabilities.detectors:
            known = ", ".join(self.capabilities.detectors)
            raise ValueError(f"unknown detector {detector!r}; there are: {known}")
        _need_positive("frame_nm", frame_nm)
        _need_positive("frame_px", frame_px, Integral)
        _need_positive("dwell_us", dwell_us)
        _need_positive("beam_current_pa", beam_current_pa)
        known_pa = microscope.state().beam_current_pa
        if beam_current_pa is not None and known_pa is not None:
            raise ValueError(
                f"a beam current of {beam_current_pa:g} pA is declared and the microscope itself "
                f"says {known_pa:g} pA; leave out beam_current_pa"
            )
        self.beam_current_pa = beam_current_pa
        self.current_pa = known_pa if beam_current_pa is None else beam_current_pa
        usual = min(self.field_yx_nm) / FRAMES_ACROSS
        side = float(_held(usual, limits.fov_nm) if frame_nm is None else frame_nm)
        px = int(_usual_px(side, limits) if frame_px is None else frame_px)
        dwell = float(_held(LIVE_DWELL_US, limits.dwell_us) if dwell_us is None else dwell_us)
        named = detector or self.capabilities.detectors[0]
        self.reference = ReferenceFrame((side, side), (px, px), dwell, (named,))
        check(self.reference.at((0.0, 0.0)), limits, self.current_pa)

    def rasters(self, charge_e: float) -> float:
        """A charge in rasters of the field; BudgetError where no beam current is known."""
        whole = Budget.relative(
            1.0, self.field_yx_nm, self.reference, self.costs, self.current_pa
        ).raster_charge_e
        if not is_number(charge_e) or not 0 < charge_e <= whole * (1 + ROUNDING):
            raise BudgetError(
                f"a charge of {charge_e!r} e; it must be above 0, and at most one raster of the "
                f"whole field, {whole:.3g} e"
            )
        return min(charge_e / whole, 1.0)

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "microscope": self.capabilities.name,
            "address": self.address,
            "units_verified": self.capabilities.units_verified,
            "field_yx_nm": self.field_yx_nm,
            "declared_beam_current_pa": self.beam_current_pa,
            "costs": asdict(self.costs),
        }

    def microscope(self, seed: int, split: str, episode: int, specimen: int | None) -> KeptOpen:
        """The one there is, whatever the arguments."""
        made = LookingBesides if isinstance(self.live, LooksBesides) else KeptOpen
        return made(self.live, self.capabilities, self.costs, self.beam_current_pa)

    def truth(self, microscope: Microscope) -> Specimen | None:
        return None


class KeptOpen:
    """A live microscope as one episode sees it: it was open before, and stays so after.

    Stage and beam shift are told from where they stood when the episode began, so
    that the field lies about the axis wherever the stage is.  Of where its electrons
    went nothing is known but what its frames report.

    Args:
        microscope: open.
        capabilities: what it said when it was opened.
        costs: prices in time and charge.
        declared_pa: the beam current, where the instrument knows none.
    """

    def __init__(
        self,
        microscope: Microscope,
        capabilities: Capabilities,
        costs: CostModel,
        declared_pa: float | None = None,
    ) -> None:
        self.live, self.capabilities = microscope, capabilities
        self.costs, self.declared_pa = costs, declared_pa
        first = microscope.state()
        self._stage, self._shift = first.stage_yx_nm, first.beam_shift_yx_nm

    def open(self) -> Capabilities:
        """What is known already; nothing is sent."""
        return self.capabilities

    def state(self) -> State:
        return self._told(self.live.state())

    def move_stage(self, yx_nm: YX, timeout_s: float = 30.0) -> State:
        return self._told(self.live.move_stage(_sum(yx_nm, self._stage, 1), timeout_s))

    def set_beam_shift(self, yx_nm: YX) -> State:
        return self._told(self.live.set_beam_shift(_sum(yx_nm, self._shift, 1)))

    def acquire(self, request: ScanRequest, timeout_s: float = 60.0) -> Frame:
        """Scan once; a scan that takes longer than the time-out is waited for."""
        wait = max(timeout_s, 2.0 * self.costs.time_s(request))
        frame = self.live.acquire(request, wait)
        charge = frame.charge_e
        if charge is None and self.declared_pa is not None:
            scanned = 0.0 if frame.state.blanked else frame.valid_rows / request.shape_yx[0]
            charge = scanned * self.costs.charge_e(request, self.declared_pa)
        return replace(frame, charge_e=charge, state=self._told(frame.state))

    def blank(self, on: bool) -> State:
        return self._told(self.live.blank(on))

    def abort(self) -> None:
        self.live.abort()

    def close(self) -> None:
        self.live.close()

    def _told(self, state: State) -> State:
        if state.beam_current_pa is None and self.declared_pa is not None:
            state = replace(state, beam_current_pa=self.declared_pa, current_source="declared")
        return replace(
            state,
            stage_yx_nm=_sum(state.stage_yx_nm, self._stage, -1),
            beam_shift_yx_nm=_sum(state.beam_shift_yx_nm, self._shift, -1),
        )


class LookingBesides(KeptOpen):
    """The same of a microscope that takes a patch besides (``episode.LooksBesides``)."""

    live: Any

    @property
    def patch(self) -> ScanRequest:
        """What is taken besides."""
        patch: ScanRequest = self.live.patch
        return patch

    @property
    def every(self) -> int:
        """Before every so many frames."""
        return int(self.live.every)

    @property
    def due(self) -> ScanRequest | None:
        """The patch, where the next frame is charged for it."""
        due: ScanRequest | None = self.live.due
        return due


def _sum(a: YX, b: YX, sign: int) -> YX:
    return a[0] + sign * b[0], a[1] + sign * b[1]


def _held(value: float, allowed: tuple[float, float]) -> float:
    return min(max(value, allowed[0]), allowed[1])


def _usual_px(side_nm: float, limits: Limits) -> int:
    """The usual number of pixels, or the nearest that limits allow."""
    finest, coarsest = limits.pixel_nm
    most = limits.shape_px[1] if finest == 0 else min(limits.shape_px[1], side_nm / finest)
    least = max(limits.shape_px[0], side_nm / coarsest)
    return int(_held(LIVE_FRAME_PX, (np.ceil(least - 1e-9), np.floor(most + 1e-9))))


def _need_positive(name: str, value: Any, kind: type = Real) -> None:
    """None, or a number of a kind above 0."""
    if value is None:
        return
    if not is_number(value, kind) or not 0 < float(value) < float("inf"):
        what = "an integer" if kind is Integral else "a finite number"
        raise ValueError(f"{name} is {value!r}; it must be {what} above 0")
