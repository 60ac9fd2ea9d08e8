"""The simulated microscope: it scans a world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..hardware.costs import CostModel
from ..hardware.microscope import YX, Capabilities, Limits, ScanRegion, ScanRequest
from .evolution import Evolution
from .exposure import Exposure
from .imperfections import Imperfections, Scanner, named
from .imperfections.scanning import Displacement
from .scan import counts
from .specimens import specimen_module
from .virtual import F32, VirtualMicroscope
from .world import World


class SimulatedMicroscope(VirtualMicroscope):
    """Counts from a world at the requested dose.

    Args:
        world: what is scanned; its field is the limit of the scan.
        rng: where noise, jitter, drift and damage come from; an integer seeds
            a new generator.
        reference_dwell_us: what ``full_scale`` is stated for.
        costs: prices in time and charge.
        imperfections: ``pristine``, ``realistic``, or ``Imperfections``.

    Raises:
        Unsupported: damage or growth over a world that abTEM simulated.
        ValueError: distortions that lead beyond what the world shows.
    """

    def __init__(
        self,
        world: World,
        rng: np.random.Generator | int = 0,
        reference_dwell_us: float = 24.0,
        costs: CostModel | None = None,
        imperfections: str | Imperfections = "pristine",
    ) -> None:
        self.world = world
        self.rng = np.random.default_rng(rng)
        self.imperfections = named(imperfections)
        self.evolution = Evolution(world, self.imperfections, self.rng)
        reach = self.imperfections.reach_nm(world.field_yx_nm)
        shown = world.recipe.margin_nm
        if reach > shown + 1e-9:
            raise ValueError(
                f"the probe may be {reach:.2f} nm off and the world shows {shown:g} nm beyond its "
                f"field; make it with a margin_nm of at least {reach:.2f}"
            )
        distorts = self.imperfections.distorts
        self.scanner = Scanner(self.imperfections, self.rng) if distorts else None
        self._off: Displacement | None = None
        detectors = tuple(world.coefficients)
        limits = limits_over(world.field_yx_nm, detectors)
        electrons = world.optics.electrons_per_us * reference_dwell_us
        white = specimen_module(world.specimen.name).FULL_SCALE
        capabilities = Capabilities(
            name=f"simulated STEM over {world.specimen.name} ({world.recipe.renderer})",
            limits=limits,
            detectors=detectors,
            full_scale={
                k: (self._reading(0.0), self._reading(electrons * white[k])) for k in detectors
            },
            region_of_interest="native",
            can_abort=False,
            can_blank=True,
            can_blank_while_busy=True,
            units_verified=True,
            simulated=True,
        )
        super().__init__(capabilities, costs or CostModel(), world.optics.beam_current_pa)

    def _reading(self, electrons: float) -> float:
        counting, response = self.imperfections.counting, self.imperfections.detector
        counted = electrons if counting is None else counting.count_of(electrons)
        return counted if response is None else response.reading_of(counted)

    def _moved(self, by_yx_nm: YX, time_s: float) -> None:
        if self.scanner is not None:
            self.scanner.move(by_yx_nm, time_s)

    def _scan(self, request: ScanRequest, shift_yx_nm: YX) -> tuple[ScanRegion, dict[str, F32]]:
        true, offsets = request, None
        if self.scanner is not None:
            self._off = off = self.scanner.displacement(request, self.costs)
            true = replace(request, rotation_rad=request.rotation_rad + off.rotation_rad)
            shift_yx_nm = _sum(shift_yx_nm, off.mean_yx_nm)
            offsets = (off.by_row_nm, off.by_column_nm)
        data = counts(
            self.evolution.coefficients,
            self.world.grid,
            self.world.optics.electrons_per_us,
            true,
            shift_yx_nm,
            self.rng,
            offsets,
            self.imperfections.counting,
        )
        response = self.imperfections.detector
        if response is not None:
            data = {k: response.readings(v, self.rng) for k, v in data.items()}
        return request.region, data

    def _exposure(self, region: ScanRegion, shift_yx_nm: YX, dose: float, pixel: float) -> Exposure:
        """As scanned: off by what the scanner was off, and with what the beam destroyed."""
        if self._off is not None:
            region = replace(region, rotation_rad=region.rotation_rad + self._off.rotation_rad)
            shift_yx_nm = _sum(shift_yx_nm, self._off.mean_yx_nm)
        return self.evolution.expose(super()._exposure(region, shift_yx_nm, dose, pixel))


def limits_over(field_yx_nm: YX, detectors: tuple[str, ...]) -> Limits:
    """What a simulated microscope accepts over a field."""
    side = min(field_yx_nm)
    return Limits(
        field_yx_nm=field_yx_nm,
        fov_nm=(0.2, side),
        pixel_nm=(0.002, side),
        shape_px=(1, 4096),
        dwell_us=(0.1, 10_000.0),
        detectors=detectors,
        stage_nm=(-side / 2, side / 2),
        beam_shift_nm=(-side / 2, side / 2),
    )


def _sum(a: YX, b: YX) -> YX:
    return a[0] + b[0], a[1] + b[1]
