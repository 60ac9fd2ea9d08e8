"""A specimen that the beam changes: what an episode adds to a world."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..hardware.errors import Unsupported
from . import fast
from .exposure import Exposure
from .imperfections import Imperfections
from .imperfections.damage import atoms_of_feature
from .world import World

F32 = NDArray[np.float32]


class Evolution:
    """The coefficients of a world as the beam leaves them; the world itself stays what it is.

    Args:
        world: made by the fast renderer, which alone can render a change.
        imperfections: what is switched on of growth and damage.
        rng: where chance comes from.

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
        self.lost = np.zeros(len(specimen.kind), dtype=bool)
        damage = imperfections.damage
        barn = np.zeros(len(specimen.kind))
        if damage is not None:
            barn = damage.of_columns(specimen, world.optics.energy_kev)
        self._fragile = np.flatnonzero(barn > 0)
        self._barn = barn[self._fragile]

    def expose(self, exposure: Exposure) -> Exposure:
        """Let the electrons of a frame act; the same exposure with what they destroyed."""
        on = self.imperfections
        if not on.evolves or exposure.dose_e_per_a2 <= 0:
            return exposure
        if on.growth is not None:
            where, grown = on.growth.thickness(exposure, self.world.grid)
            if grown.size:
                for name, image in self._changed().items():
                    image[where] += grown * np.float32(self._per_nm(name))
        destroyed: tuple[int, ...] = ()
        if on.damage is not None and len(self._fragile):
            destroyed = self._damaged(exposure)
        return replace(exposure, destroyed=destroyed)

    def _damaged(self, exposure: Exposure) -> tuple[int, ...]:
        assert self.imperfections.damage is not None
        specimen, grid = self.world.specimen, self.world.grid
        under = exposure.covers(specimen.positions_yx_nm[self._fragile])
        under &= ~self.lost[self._fragile]
        chosen = np.flatnonzero(under)
        gone = self.imperfections.damage.lost(self._barn[chosen], exposure.dose_e_per_a2, self.rng)
        columns = self._fragile[chosen[gone]]
        if not len(columns):
            return ()
        self.lost[columns] = True
        for name, image in self._changed().items():
            fast.remove(specimen, columns, grid, name, image)
        near = [
            n
            for n, (k, yx) in enumerate(
                zip(specimen.feature_class, specimen.feature_yx_nm, strict=True)
            )
            if np.isin(columns, atoms_of_feature(specimen, int(k), yx)).any()
        ]
        return tuple(near)

    def _changed(self) -> dict[str, F32]:
        """The coefficients, the episode's own from the first change on."""
        if not self._own:
            self.coefficients = {k: v.copy() for k, v in self.coefficients.items()}
            self._own = True
        return self.coefficients

    def _per_nm(self, detector: str) -> float:
        return fast.carbon_per_nm(self.world.specimen.name, detector)
