"""Where an episode's microscope comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import asdict, replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..hardware.costs import CostModel
from ..hardware.microscope import YX, Limits, Microscope
from ..simulators.images import read_image
from ..simulators.imperfections import Imperfections, named
from ..simulators.recorded import DETECTOR, RecordedMicroscope
from ..simulators.simulated import SimulatedMicroscope, limits_over
from ..simulators.specimens import FeatureClass, Specimen, check_difficulty, specimen_module
from ..simulators.world import (
    LARGEST_FIELD_NM,
    RENDERERS,
    Recipe,
    World,
    generate,
    open_world,
    shipped,
    specimen_seed,
    split_index,
)
from .labels import Image, contents, read_labels
from .numbers import is_number
from .reference import ReferenceFrame

FRAMES_ACROSS = 16  # reference frames along the shorter side of a field that has none of its own
LEAST_FRAME_PX = 16
DRAWS = 100  # of specimens, until one is wanted
REDRAWN = 1_000_000  # in the spawn key of what is drawn anew; nothing else counts so far


class Source(Protocol):
    """Makes the microscope of each episode."""

    field_yx_nm: YX
    reference: ReferenceFrame
    costs: CostModel
    limits: Limits
    classes: tuple[FeatureClass, ...] | None  # what may be found; None where nobody knows

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what is scanned, as JSON."""
        ...

    def microscope(self, seed: int, split: str, episode: int, specimen: int | None) -> Microscope:
        """The microscope of episode ``episode`` after ``reset(seed=seed)``."""
        ...

    def truth(self, microscope: Microscope) -> Specimen | None:
        """What is really there, where that is known."""
        ...


def noise_seed(seed: int, split: str, episode: int) -> np.random.SeedSequence:
    """Noise, jitter and drift of an episode."""
    return np.random.SeedSequence(seed, spawn_key=(split_index(split), episode, 1))


class SpecimenSource:
    """A generated specimen under a simulated microscope.

    With the fast renderer the specimen follows the seed; with abtem it is the
    one in the package, and the seed varies the noise only.

    Args:
        specimen: its kind.
        difficulty: a level that it has.
        renderer: ``fast`` or ``abtem``.
        imperfections: of the instrument (``simulators.imperfections.named``).
        field_nm: side of the square field; None for the specimen's own.
        dose: of a reference frame, as a multiple of the level's: its dwell is.  What
            features need stays, so that below 1 some take several frames.
        defocus_nm: beyond that of the specimen's optics; needs are those in focus.

    Raises:
        ValueError: what there is not, or cannot be; also a field or a defocus that a
            shipped world does not have.
    """

    def __init__(
        self,
        specimen: str,
        difficulty: str = "medium",
        renderer: str = "fast",
        imperfections: str | Mapping[str, Any] | Imperfections = "pristine",
        field_nm: float | None = None,
        dose: float = 1.0,
        defocus_nm: float = 0.0,
    ) -> None:
        module = specimen_module(specimen)
        check_difficulty(specimen, difficulty)
        for option, value in (("field_nm", field_nm), ("dose", dose), ("defocus_nm", defocus_nm)):
            if not is_number(value) and not (value is None and option == "field_nm"):
                raise ValueError(f"{option} is {value!r}; it must be a number")
        if not 0 < dose < inf:
            raise ValueError(f"a dose of {dose} reference frames; it must be above 0 and finite")
        if renderer not in RENDERERS:
            known = ", ".join(RENDERERS)
            raise ValueError(f"unknown renderer {renderer!r}; there are: {known}")
        self.specimen, self.difficulty, self.renderer = specimen, difficulty, renderer
        self.open_world: Callable[[Recipe], World] = open_world  # or one that prepares them
        self.fixed = shipped(specimen, difficulty) if renderer == "abtem" else None
        if self.fixed and (field_nm is not None or defocus_nm):
            raise ValueError(
                "field_nm and defocus_nm go with renderer='fast'; a shipped world is what it is"
            )
        if field_nm is not None and not module.LEAST_FIELD_NM <= field_nm <= LARGEST_FIELD_NM:
            raise ValueError(
                f"a field of {field_nm} nm; of {specimen} it must be from "
                f"{module.LEAST_FIELD_NM:g} to {LARGEST_FIELD_NM:g} nm wide"
            )
        side = self.fixed.field_nm if self.fixed else field_nm or module.FIELD_NM
        self.field_yx_nm = (float(side), float(side))
        self.defocus_nm = float(defocus_nm)
        self.sampling_nm = module.SAMPLING_NM
        self.reference = ReferenceFrame(
            (module.FRAME_NM, module.FRAME_NM),
            (module.FRAME_PX, module.FRAME_PX),
            module.LEVELS[difficulty].dwell_us * dose,
        )
        self.classes = module.CLASSES
        self.limits = limits_over(self.field_yx_nm, self.reference.detectors)
        shortest, longest = self.limits.dwell_us
        if not shortest <= self.reference.dwell_us <= longest:
            raise ValueError(
                f"a dose of {dose:g} takes a dwell of {self.reference.dwell_us:g} µs; the "
                f"microscope allows {shortest:g} to {longest:g}"
            )
        self.costs = CostModel()
        self.imperfections = named(imperfections)
        self.margin_nm = self.imperfections.reach_nm(self.field_yx_nm)
        if not self.fixed:
            self.optics = self.recipe(0, "train", 0, None).optics  # refuses what cannot be
        if self.fixed:
            # Refused now and not at the first reset.
            SimulatedMicroscope(open_world(self.fixed), 0, imperfections=self.imperfections)

    @property
    def settings(self) -> dict[str, Any]:
        # A shipped world keeps the optics that it was simulated under.
        optics = open_world(self.fixed).optics if self.fixed else self.optics
        return {
            "specimen": self.specimen,
            "difficulty": self.difficulty,
            "renderer": self.renderer,
            "field_yx_nm": self.field_yx_nm,
            "optics": asdict(optics),
            "costs": asdict(self.costs),
            "imperfections": asdict(self.imperfections),
        }

    def recipe(self, seed: int, split: str, episode: int, specimen: int | None) -> Recipe:
        """Of the world that an episode shows."""
        if self.fixed is not None:
            return self.fixed
        shown = (seed, episode) if specimen is None else (specimen, 0)
        entropy, key = specimen_seed(shown[0], split, shown[1])
        field = self.field_yx_nm[0]
        return Recipe(
            self.specimen,
            self.difficulty,
            entropy,
            key,
            field,
            margin_nm=self.margin_nm,
            defocus_nm=self.defocus_nm,
        )

    def microscope(
        self, seed: int, split: str, episode: int, specimen: int | None
    ) -> SimulatedMicroscope:
        world = self.open_world(self.recipe(seed, split, episode, specimen))
        rng = np.random.default_rng(noise_seed(seed, split, episode))
        return SimulatedMicroscope(
            world, rng, self.reference.dwell_us, self.costs, self.imperfections
        )

    def showing(self, wanted: Callable[[Specimen], bool]) -> SpecimenSource:
        """The same source, but that other specimens are drawn anew (``first_wanted``)."""
        other = copy(self)
        other.open_world = partial(first_wanted, wanted, self.open_world)
        return other

    def truth(self, microscope: Microscope) -> Specimen | None:
        assert isinstance(microscope, SimulatedMicroscope)
        return microscope.world.specimen


def first_wanted(
    wanted: Callable[[Specimen], bool], opened: Callable[[Recipe], World], recipe: Recipe
) -> World:
    """The world of a recipe, or, where its specimen is not wanted, of the first drawn that is.

    Draw n comes from the recipe's spawn key with ``REDRAWN + n`` behind it.

    Raises:
        ValueError: none of ``DRAWS`` was wanted.
    """
    world = opened(recipe)
    if wanted(world.specimen):
        return world
    for draw in range(1, DRAWS):
        other = replace(recipe, spawn_key=(*recipe.spawn_key, REDRAWN + draw))
        if wanted(generate(other)):
            return opened(other)
    raise ValueError(f"none of {DRAWS} specimens of {recipe.specimen} is what the task needs")


class RecordedSource:
    """A recorded image; frames are a sixteenth of its shorter side.

    Args:
        image: a path, or an array (rows, columns).
        pixel_nm: side of a pixel; may be left out where the file says it.
        labels: what the image shows, a file or its content (``envs/labels.py``).

    Attributes:
        specimen: the labels as ground truth; None without.

    Raises:
        FileNotFoundError: no such image or labels.
        ValueError: no pixel size, an image too small, or what
            ``RecordedMicroscope``, ``read_image`` and ``read_labels`` refuse.
    """

    def __init__(
        self,
        image: str | Path | NDArray[Any],
        pixel_nm: float | None = None,
        labels: str | Path | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.path = str(Path(image).resolve()) if isinstance(image, str | Path) else None
        if isinstance(image, str | Path):
            recorded = read_image(image)
            values = recorded.image
            pixel_nm = recorded.pixel_nm if pixel_nm is None else pixel_nm
            options.setdefault("name", Path(image).name)
        else:
            values = np.asarray(image)
        if pixel_nm is None:
            raise ValueError("the image does not say its pixel size; give pixel_nm")
        for option, value in (("pixel_nm", pixel_nm), ("electrons", options.get("electrons"))):
            if value is not None and not is_number(value):
                raise ValueError(f"{option} is {value!r}; it must be a number")
        self.image, self.pixel_nm, self.options = values, pixel_nm, options
        first = self._new(np.random.SeedSequence(0))  # refuses what cannot be replayed
        side = min(values.shape) // FRAMES_ACROSS
        if side < LEAST_FRAME_PX:
            raise ValueError(
                f"an image of {values.shape[0]} x {values.shape[1]} px; its shorter side must "
                f"have at least {FRAMES_ACROSS * LEAST_FRAME_PX} px, for frames of "
                f"{LEAST_FRAME_PX} px"
            )
        self.field_yx_nm = first.limits.field_yx_nm
        self.reference = ReferenceFrame(
            (side * pixel_nm, side * pixel_nm),
            (side, side),
            first.limits.dwell_us[0],
            (DETECTOR,),
        )
        self.costs, self.limits = first.costs, first.limits
        shape = (int(values.shape[0]), int(values.shape[1]))
        what = Image(shape, pixel_nm, side * pixel_nm, first.dose_e_per_a2)
        self.labels = str(Path(labels).resolve()) if isinstance(labels, str | Path) else None
        self.specimen = None if labels is None else read_labels(labels, what)
        self.classes = None if self.specimen is None else self.specimen.classes

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "sha256": hashlib.sha256(np.ascontiguousarray(self.image).tobytes()).hexdigest(),
            "pixel_nm": self.pixel_nm,
            "shape_yx": self.image.shape,
            "electrons": self.options.get("electrons"),
            "costs": asdict(self.costs),
            "labels": None
            if self.specimen is None
            else {"path": self.labels, **contents(self.specimen)},
        }

    def _new(self, noise: np.random.SeedSequence) -> RecordedMicroscope:
        assert self.pixel_nm is not None
        rng = np.random.default_rng(noise)
        return RecordedMicroscope(self.image, self.pixel_nm, rng=rng, **self.options)

    def microscope(
        self, seed: int, split: str, episode: int, specimen: int | None
    ) -> RecordedMicroscope:
        return self._new(noise_seed(seed, split, episode))

    def truth(self, microscope: Microscope) -> Specimen | None:
        return self.specimen
