"""The simulated microscope: it scans a world."""

from __future__ import annotations

import numpy as np

from ..hardware.costs import CostModel
from ..hardware.microscope import YX, Capabilities, Limits, ScanRegion, ScanRequest
from .scan import scan_batch
from .specimens import specimen_module
from .virtual import F32, VirtualMicroscope
from .world import World


class SimulatedMicroscope(VirtualMicroscope):
    """Poisson counts from a world at the requested dose.

    Args:
        world: what is scanned; its field is the limit of the scan.
        rng: where the noise comes from; an integer seeds a new generator.
        reference_dwell_us: what ``full_scale`` is stated for.
        costs: prices in time and charge.
    """

    def __init__(
        self,
        world: World,
        rng: np.random.Generator | int = 0,
        reference_dwell_us: float = 24.0,
        costs: CostModel | None = None,
    ) -> None:
        self.world = world
        self.rng = np.random.default_rng(rng)
        detectors = tuple(world.coefficients)
        side = min(world.field_yx_nm)
        limits = Limits(
            field_yx_nm=world.field_yx_nm,
            fov_nm=(0.2, side),
            pixel_nm=(0.002, side),
            shape_px=(1, 4096),
            dwell_us=(0.1, 10_000.0),
            detectors=detectors,
            stage_nm=(-side / 2, side / 2),
            beam_shift_nm=(-side / 2, side / 2),
        )
        electrons = world.optics.electrons_per_us * reference_dwell_us
        white = specimen_module(world.specimen.name).FULL_SCALE
        capabilities = Capabilities(
            name=f"simulated STEM over {world.specimen.name} ({world.recipe.renderer})",
            limits=limits,
            detectors=detectors,
            full_scale={k: (0.0, electrons * white[k]) for k in detectors},
            region_of_interest="native",
            can_abort=False,
            can_blank=True,
            can_blank_while_busy=True,
            units_verified=True,
            simulated=True,
        )
        super().__init__(capabilities, costs or CostModel(), world.optics.beam_current_pa)

    def _scan(self, request: ScanRequest, shift_yx_nm: YX) -> tuple[ScanRegion, dict[str, F32]]:
        (data,) = scan_batch([self.world], [request], [self.rng], [shift_yx_nm])
        return request.region, data
