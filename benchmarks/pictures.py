"""Pictures on which the paper's protocol is run: whole images, cut into windows beforehand.

| picture              | what                                                                 |
|----------------------|----------------------------------------------------------------------|
| `nio`                | NiO pillars in La,Sr manganite, the paper's image                    |
| `bfo`                | BiFeO3 with one domain wall, the paper's image                       |
| `graphene`           | graphene, silicon, holes and contamination, the paper's image        |
| `simulated-nio`      | test specimen of the seed, of medium difficulty: a field of 8        |
| `simulated-bfo`      | reference frames a side, scanned once at the reference dose as one   |
| `simulated-graphene` | picture of 512 x 512 px; the truth is known                          |

The paper's images come from the folder that ``STEMSCOUT_IMAGES`` names, as its notebooks render
them.  Windows are an eighth of the side, as the paper's 128 px of 1024, and overlap by three
quarters: 29 x 29 of them.  (The notebooks leave out the last row and column: 28 x 28.)
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Context
from ..agents.navigation.navigator import Candidates
from ..envs.actions import PositionAction
from ..envs.reference import ReferenceFrame
from ..envs.sources import SpecimenSource
from ..hardware.microscope import Frame, Limits, ScanRequest, State
from ..simulators.images import read_image
from ..simulators.specimens import Specimen, specimen_module
from .targets import FOLDER, no_image

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ACROSS = 8  # windows that lie side by side
SIDE = 29  # candidates along y and x: windows at three quarters of overlap
DIFFICULTY, SPLIT = "medium", "test"
DETECTOR = "haadf"
# File, pixel in nm by the lattice's spacing, and what it shows.
RECORDED: Mapping[str, tuple[str, float, str]] = {
    "nio": ("NiO_LSMO_435px.png", 0.046, "nio_lsmo"),
    "bfo": ("BFO_435px.png", 0.071, "bifeo3"),
    "graphene": ("Si-Graphene_435px.png", 0.0235, "graphene"),
}
SIMULATED: Mapping[str, str] = {f"simulated-{k}": of for k, (_, _, of) in RECORDED.items()}
PICTURES = (*RECORDED, *SIMULATED)


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, and what may be known of it.

    Attributes:
        name, seed: from which it was made.
        image: (rows, rows) readings.
        pixel_nm: side of a pixel.
        dwell_us: of a pixel.
        full_scale: readings at black and white.
        material: the kind of specimen, whose classes it may show.
        truth: the specimen; None of a recorded image.
    """

    name: str
    seed: int
    image: NDArray[np.float32]
    pixel_nm: float
    dwell_us: float
    full_scale: tuple[float, float]
    material: str
    truth: Specimen | None = None

    @property
    def side_nm(self) -> float:
        return len(self.image) * self.pixel_nm

    @property
    def window_nm(self) -> float:
        return self.side_nm / ACROSS

    @property
    def digest(self) -> str:
        """A hash of its readings."""
        return hashlib.sha256(np.ascontiguousarray(self.image).tobytes()).hexdigest()[:16]

    def context(self, frames: int) -> Context:
        """What navigator and perception are told before they begin.

        Candidates lie half a reference frame apart, and windows a quarter of their side.  So the
        navigator's reference frame is half a window, and its field half a window less than the
        picture: then the candidates are the windows' centres.
        """
        half, field = self.window_nm / 2, self.side_nm - self.window_nm / 2
        px = max(1, round(half / self.pixel_nm))
        reference = ReferenceFrame((half, half), (px, px), self.dwell_us, (DETECTOR,))
        module = specimen_module(self.material)
        limits = Limits(
            field_yx_nm=(field, field),
            fov_nm=(half, field),
            pixel_nm=(half / px / 2, half),
            shape_px=(1, len(self.image)),
            dwell_us=(self.dwell_us, self.dwell_us),
            detectors=reference.detectors,
        )
        return Context(
            field_yx_nm=(field, field),
            reference=reference,
            limits=limits,
            actions=PositionAction((field, field), reference),
            full_scale={DETECTOR: self.full_scale},
            budget=frames / SIDE**2,
            frames=frames,
            class_names=tuple(c.name for c in module.CLASSES),
            tolerances_nm=tuple(c.tolerance_nm for c in module.CLASSES),
        )

    @property
    def centres_yx_nm(self) -> Floats:
        """Of the windows (841, 2), about the picture's middle, in raster order."""
        return Candidates.of(self.context(1)).centres_yx_nm

    def windows(self) -> list[Frame]:
        """Each window as a frame of its own, in the order of the candidates.

        Pixels are whole: a window may lie half of one beside its candidate.
        """
        side = round(len(self.image) / ACROSS)
        first = np.round(self.centres_yx_nm / self.pixel_nm + (len(self.image) - side) / 2)
        first = first.astype(np.int64)
        fov, middle = side * self.pixel_nm, (len(self.image) - side) / 2
        frames = []
        for (row, column), (y, x) in zip(
            first.tolist(), ((first - middle) * self.pixel_nm).tolist(), strict=True
        ):
            request = ScanRequest(
                (y, x), (fov, fov), (side, side), self.dwell_us, detectors=(DETECTOR,)
            )
            pixels = self.image[row : row + side, column : column + side]
            data = {DETECTOR: pixels}
            frames.append(Frame(request, request.region, data, side, None, 0.0, State()))
        return frames

    def shows(self) -> Bools:
        """Which true features (841, m) lie within each window.

        Raises:
            ValueError: nobody knows the truth.
        """
        if self.truth is None:
            raise ValueError(f"picture {self.name} is a recorded image: nobody knows its truth")
        apart = np.abs(self.centres_yx_nm[:, None] - self.truth.feature_yx_nm)
        return np.asarray((apart <= self.window_nm / 2).all(axis=2))


@lru_cache(maxsize=4)
def make_picture(name: str, seed: int) -> Picture:
    """A picture, the same one for the same name and seed.

    Raises:
        ValueError: an unknown name, or the image of one is not there.
    """
    if name in SIMULATED:
        return _simulated(name, seed)
    if name not in RECORDED:
        raise ValueError(f"unknown picture {name!r}; there are: {', '.join(PICTURES)}")
    why = missing(name)
    if why is not None:
        raise ValueError(f"picture {name} is not at hand: {why}")
    file, pixel_nm, material = RECORDED[name]
    image = read_image(Path(os.environ[FOLDER]) / file).image.astype(np.float32)
    scale = (float(image.min()), float(image.max()))
    return Picture(name, seed, image, pixel_nm, 1.0, scale, material)


def missing(name: str) -> str | None:
    """Why a picture cannot be made here, in a sentence; None where it can."""
    return no_image(RECORDED[name][0]) if name in RECORDED else None


def _simulated(name: str, seed: int) -> Picture:
    material = SIMULATED[name]
    module = specimen_module(material)
    side_nm, px = ACROSS * module.FRAME_NM, ACROSS * module.FRAME_PX
    source = SpecimenSource(material, DIFFICULTY, field_nm=side_nm)
    microscope = source.microscope(seed, SPLIT, 0, None)
    scale = microscope.open().full_scale[DETECTOR]
    dwell = source.reference.dwell_us
    request = ScanRequest((0.0, 0.0), (side_nm, side_nm), (px, px), dwell, detectors=(DETECTOR,))
    image = microscope.acquire(request).image
    return Picture(
        name, seed, image, side_nm / px, dwell, scale, material, source.truth(microscope)
    )
