"""What a real instrument and a real beam do to an image.

Each imperfection is a small object with a physical parameter, and off where it
is None.  The objects describe; an episode holds what they need to remember
(``Scanner``, ``Evolution``), seeded by the episode's own generator.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot

from .contamination import ContaminationGrowth
from .counting import EVERY_ELECTRON, Counting
from .damage import BeamDamage
from .detector import DetectorResponse
from .scanning import (
    Drift,
    Flyback,
    Hysteresis,
    LineJitter,
    Scanner,
    ScanRotationError,
)

__all__ = [
    "PRESETS",
    "BeamDamage",
    "ContaminationGrowth",
    "Counting",
    "DetectorResponse",
    "Drift",
    "Flyback",
    "Hysteresis",
    "Imperfections",
    "LineJitter",
    "ScanRotationError",
    "Scanner",
    "named",
]


@dataclass(frozen=True)
class Imperfections:
    """All imperfections of an instrument; None switches one off.

    Counting alone is on where nothing is said, since no instrument is without
    it; None shows what is expected, free of noise.
    """

    counting: Counting | None = EVERY_ELECTRON
    detector: DetectorResponse | None = None
    jitter: LineJitter | None = None
    flyback: Flyback | None = None
    drift: Drift | None = None
    rotation: ScanRotationError | None = None
    hysteresis: Hysteresis | None = None
    growth: ContaminationGrowth | None = None
    damage: BeamDamage | None = None

    def reach_nm(self, field_yx_nm: tuple[float, float]) -> float:
        """How far the probe can be from where it should be, in a field."""
        parts = (self.jitter, self.flyback, self.drift, self.hysteresis)
        shifted = sum(p.reach_nm for p in parts if p is not None)
        # A scan that is turned is turned about the optic axis: most at the corners.
        turned = 0.0 if self.rotation is None else self.rotation.most_rad * hypot(*field_yx_nm) / 2
        return shifted + turned

    @property
    def distorts(self) -> bool:
        """Whether the probe is ever anywhere else than asked for."""
        parts = (self.jitter, self.flyback, self.drift, self.rotation, self.hysteresis)
        return any(p is not None for p in parts)

    @property
    def evolves(self) -> bool:
        """Whether the beam changes the specimen."""
        return self.growth is not None or self.damage is not None


PRESETS = {
    "pristine": Imperfections(),
    # What a well-kept, aberration-corrected instrument shows after an hour of settling.
    "realistic": Imperfections(
        detector=DetectorResponse(offset=1.5, dark_noise=0.6, saturation_e=60_000.0),
        jitter=LineJitter(),
        flyback=Flyback(),
        drift=Drift(),
        rotation=ScanRotationError(),
        hysteresis=Hysteresis(),
        growth=ContaminationGrowth(),
        damage=BeamDamage(),
    ),
}


def named(name: str | Imperfections) -> Imperfections:
    """A preset by its name; ``Imperfections`` are what they are.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    if isinstance(name, Imperfections):
        return name
    if name not in PRESETS:
        raise ValueError(f"unknown imperfections {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]
