"""What a real instrument and a real beam do to an image.

Each imperfection is a small object with a physical parameter, and off where it
is None.  The objects describe; an episode holds what they need to remember
(``Scanner``, ``Evolution``), seeded by the episode's own generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import hypot
from typing import Any

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


KINDS: dict[str, Any] = {
    "counting": Counting,
    "detector": DetectorResponse,
    "jitter": LineJitter,
    "flyback": Flyback,
    "drift": Drift,
    "rotation": ScanRotationError,
    "hysteresis": Hysteresis,
    "growth": ContaminationGrowth,
    "damage": BeamDamage,
}
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


def named(name: str | Mapping[str, Any] | Imperfections) -> Imperfections:
    """A preset by its name, or imperfections as plain data; ``Imperfections`` are what they are.

    Plain data names what is on, and its parameters:
    ``{"drift": {"speed_nm_per_min": 1.0}, "damage": {}}``.  What is not named is off, but for
    counting; ``{"counting": None}`` switches that off too.

    Raises:
        ValueError: an unknown name or parameter; the message lists the known ones.
    """
    if isinstance(name, Imperfections):
        return name
    if isinstance(name, Mapping):
        return _of(name)
    if name not in PRESETS:
        raise ValueError(f"unknown imperfections {name!r}; there are: {', '.join(PRESETS)}")
    return PRESETS[name]


def _of(data: Mapping[str, Any]) -> Imperfections:
    unknown = [str(k) for k in data if k not in KINDS]
    if unknown:
        raise ValueError(
            f"unknown imperfection {', '.join(unknown)}; there are: {', '.join(KINDS)}"
        )
    made: dict[str, Any] = {}
    for name, given in data.items():
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"{name} is {given!r}; it must name parameters, as {{}} does, or null")
        try:
            made[name] = None if given is None else KINDS[name](**given)
        except TypeError as error:
            known = ", ".join(f.name for f in fields(KINDS[name])) or "none"
            raise ValueError(f"{name}: {error}; its parameters: {known}") from error
    return Imperfections(**made)
