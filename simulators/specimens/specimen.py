"""What a specimen is: projected atoms, what they are, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

DIFFICULTIES = ("easy", "medium", "hard")
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FeatureClass:
    """One kind of thing worth finding, and what it takes to see it.

    Attributes:
        name: the class as users read it.
        context_radius_nm: radius of the disc that must be imaged to call the
            feature seen; at most a third of the reference frame.
        tolerance_nm: how far a finding may lie from the truth.
        max_pixel_nm: coarser frames do not count.
        need_e_per_a2: dose at which an ideal observer tells the feature from
            its absence with d' = 5, in e/Å².
    """

    name: str
    context_radius_nm: float
    tolerance_nm: float
    max_pixel_nm: float
    need_e_per_a2: float


@dataclass(frozen=True, eq=False)
class Specimen:
    """A projected structure with complete ground truth.

    Specimen coordinates are (y, x) in nm about the centre of the field, rows
    down.  Atoms reach a little beyond the field, so that its border images
    like its middle.

    Attributes:
        name: the generator that made it.
        seed: the entropy and spawn key that it was made from, as plain data.
        difficulty: ``easy``, ``medium`` or ``hard``.
        field_yx_nm: height and width of the field.
        positions_yx_nm: (n, 2) projected positions.
        height_nm: (n,) heights along the beam.
        kind: (n,) index into ``kinds``.
        kinds: chemical symbols.
        classes: the feature classes of this specimen.
        feature_class: (m,) index into ``classes``.
        feature_yx_nm: (m, 2) true positions.
    """

    name: str
    seed: tuple[int, ...]
    difficulty: str
    field_yx_nm: tuple[float, float]
    positions_yx_nm: Floats
    height_nm: Floats
    kind: Ints
    kinds: tuple[str, ...]
    classes: tuple[FeatureClass, ...]
    feature_class: Ints
    feature_yx_nm: Floats

    def __post_init__(self) -> None:
        for array in (
            self.positions_yx_nm,
            self.height_nm,
            self.kind,
            self.feature_class,
            self.feature_yx_nm,
        ):
            array.setflags(write=False)

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def atoms(self, vacuum_nm: float = 0.2) -> Atoms:
        """The same specimen as ASE ``Atoms``, in Å, x and y as in the image.

        The cell encloses every atom and the vacuum above and below; its corner
        is at the least x and y of the atoms.
        """
        from ase import Atoms

        yx = self.positions_yx_nm * 10.0
        low = yx.min(axis=0)
        z = (self.height_nm - self.height_nm.min() + vacuum_nm) * 10.0
        span = yx.max(axis=0) - low
        return Atoms(
            symbols=[self.kinds[k] for k in self.kind],
            positions=np.column_stack([yx[:, 1] - low[1], yx[:, 0] - low[0], z]),
            cell=[span[1], span[0], float(z.max()) + vacuum_nm * 10.0],
            pbc=False,
            info={"corner_yx_nm": (float(low[0] / 10), float(low[1] / 10))},
        )
