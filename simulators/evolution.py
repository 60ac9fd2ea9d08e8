"""A specimen that the beam changes: what an episode adds to a world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..hardware.errors import Unsupported
from . import fast
from .exposure import Exposure
from .imperfections import Imperfections
from .imperfections.damage import GONE, LEAVING, atoms_of_feature, strike
from .noise import key_of
from .world import World

F32 = NDArray[np.float32]


class Evolution:
    """The coefficients of a world as the beam leaves them; the world itself stays what it is.

    Args:
        world: made by the fast renderer, which alone can render a change.
        imperfections: what is switched on of growth and damage.
        rng: where chance comes from.

    Attributes:
        coefficients: by detector; the episode's own from the first change on.
        fragile: (k,) columns that the beam can take away.
        fragile_yx_nm, barn: (k, 2) where they stand, and (k,) their cross-sections.
        fate: (k,) what has become of them: ``THERE``, ``LEAVING`` or ``GONE``.

    Raises:
        Unsupported: a world of the abtem renderer.
    """

    def __init__(
        self, world: World, imperfections: Imperfections, rng: np.random.Generator
    ) -> None:
        if imperfections.evolves and world.recipe.renderer != "fast":
            raise Unsupported(
                "damage and contamination growth re-render the specimen, which only the fast "
                f"renderer can; this world is of the {world.recipe.renderer} renderer"
            )
        self.world = world
        self.imperfections = imperfections
        self.rng = rng
        self.coefficients: dict[str, F32] = dict(world.coefficients)
        self._own = False
        specimen = world.specimen
        barn = np.zeros(len(specimen.kind))
        if imperfections.damage is not None:
            barn = imperfections.damage.of_columns(specimen, world.optics.energy_kev)
        self.fragile = np.flatnonzero(barn > 0)
        self.fragile_yx_nm = specimen.positions_yx_nm[self.fragile]
        self.barn = barn[self.fragile]
        self.fate = np.zeros(len(self.fragile), dtype=np.uint8)

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(n,) columns of the specimen that are gone."""
        gone = np.zeros(len(self.world.specimen.kind), dtype=bool)
        gone[self.fragile[self.fate == GONE]] = True
        return gone

    def expose(self, exposure: Exposure) -> Exposure:
        """Let the electrons of a frame act; the same exposure with what they destroyed."""
        on = self.imperfections
        if not on.evolves or exposure.dose_e_per_a2 <= 0:
            return exposure
        if on.growth is not None:
            for name, image in self.own().items():
                on.growth.deposit(exposure, self.world.grid, self.per_nm(name), image)
        if on.damage is None:
            return exposure
        region = exposure.region
        leaving = strike(
            self.fragile_yx_nm,
            region.centre_yx_nm,
            region.fov_yx_nm,
            region.rotation_rad,
            exposure.shift_yx_nm,
            exposure.dose_e_per_a2,
            self.barn,
            key_of(self.rng),
            self.fate,
        )
        return replace(exposure, destroyed=self.leave()) if leaving else exposure

    def leave(self) -> tuple[int, ...]:
        """Take away the atoms that are leaving; the features that are destroyed by that."""
        columns, gone = self.fragile[self.fate == LEAVING], self.lost
        self.fate[self.fate == LEAVING] = GONE
        specimen, grid = self.world.specimen, self.world.grid
        for name, image in self.own().items():
            fast.remove(specimen, columns, grid, name, image, gone)
        near = [
            n
            for n, (k, yx) in enumerate(
                zip(specimen.feature_class, specimen.feature_yx_nm, strict=True)
            )
            if np.isin(columns, atoms_of_feature(specimen, int(k), yx)).any()
        ]
        return tuple(near)

    def own(self) -> dict[str, F32]:
        """The coefficients, of the episode's own from here on."""
        if not self._own:
            self.coefficients = {k: v.copy() for k, v in self.coefficients.items()}
            self._own = True
        return self.coefficients

    def per_nm(self, detector: str) -> float:
        """Fraction of the beam that a nanometre of grown carbon adds to a detector."""
        return fast.carbon_per_nm(self.world.specimen.name, detector)
