"""Held-out instances of every class by multislice, to score networks on that fast images made.

    python -m stemscout.benchmarks.instances graphene --count 30 --folder instances

cuts a reference frame about each of so many features of every class out of test specimens,
no two at the same distance from its middle, simulates it with frozen-phonon multislice, and
scans it at the reference dose.  Simulated windows are kept in the folder, so that an
interrupted run goes on where it was, and networks are scored on the same ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..agents.perception.dcnn.card import plain
from ..agents.perception.dcnn.legend import Truth
from ..agents.perception.dcnn.scenes import Scene, resampled, standard
from ..agents.perception.dcnn.scoring import atoms, displacements, score
from ..agents.perception.dcnn.segmenter import Segmenter
from ..hardware.microscope import ScanRequest
from ..simulators import fast
from ..simulators.calibrate import with_film
from ..simulators.grid import Grid
from ..simulators.multislice import render
from ..simulators.scan import counts
from ..simulators.specimens import Specimen, specimen_module
from ..simulators.spline import coefficients_of
from ..simulators.world import multislice_settings, specimen_seed

COUNT = 30
MARGIN_NM = 0.15  # beyond the frame, for the spline and the source's blur
OFF = 0.3  # of the frame: how far a feature lies off its middle at most
FIRST = 500  # of the specimens' numbers: no suite has them
SPECIMENS = 400  # that are searched
CONFIGURATIONS = 1  # of phonons: a snapshot, in which every atom is off by some picometres
DETECTOR = "haadf"
F32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Instance:
    """A feature, and the frame that shows it.

    Attributes:
        specimen: that it is in.
        feature: its number there.
        centre_yx_nm: of the frame.
    """

    specimen: Specimen
    feature: int
    centre_yx_nm: tuple[float, float]


def instances(name: str, count: int, difficulty: str = "medium") -> list[Instance]:
    """So many features of every class, of test specimens that no suite has.

    Of a class that is a line or an area at most three are of one specimen.
    """
    module = specimen_module(name)
    half = module.FRAME_NM / 2
    left = dict.fromkeys(range(len(module.CLASSES)), count)
    found = []
    for number in range(FIRST, FIRST + SPECIMENS):
        if not left:
            break
        entropy, key = specimen_seed(number, "test")
        specimen = module.generate(np.random.SeedSequence(entropy, spawn_key=key), difficulty)
        border = specimen.field_yx_nm[0] / 2 - half
        for of in list(left):
            # By class, so that fewer instances are the first of more.
            rng = np.random.default_rng([number, 7, of])
            here = rng.permutation(np.flatnonzero(specimen.feature_class == of))
            for feature in here[: min(3, left[of])]:
                off = rng.uniform(-OFF, OFF, 2) * module.FRAME_NM
                centre = np.clip(specimen.feature_yx_nm[feature] + off, -border, border)
                found.append(Instance(specimen, int(feature), (float(centre[0]), float(centre[1]))))
                left[of] -= 1
            if not left[of]:
                del left[of]
    if left:
        lacking = ", ".join(module.CLASSES[k].name for k in left)
        raise ValueError(f"{name}: too few of {lacking} in {SPECIMENS} specimens")
    return found


def window_of(instance: Instance, sampling_nm: float) -> tuple[Specimen, Grid]:
    """What is simulated of an instance, about the origin."""
    side = specimen_module(instance.specimen.name).FRAME_NM + 2 * MARGIN_NM
    cut = instance.specimen.window(np.asarray(instance.centre_yx_nm), side)
    return with_film(cut), Grid.over((side, side), sampling_nm)


def by_multislice(instance: Instance, folder: Path | None) -> tuple[F32, Grid]:
    """Coefficients of an instance, as the abtem renderer makes them; kept in the folder."""
    module = specimen_module(instance.specimen.name)
    specimen, grid = window_of(instance, module.EXACT_SAMPLING_NM)
    at = [round(1000 * v) for v in instance.centre_yx_nm]
    kept = None if folder is None else folder / f"{instance.specimen.digest}-{at[0]}-{at[1]}"
    settings = multislice_settings(instance.specimen.name)
    settings = replace(settings, configurations=min(settings.configurations, CONFIGURATIONS))
    images = render(specimen.atoms(), grid, module.OPTICS, settings, kept)
    return coefficients_of(images[DETECTOR]), grid


def by_kernels(instance: Instance, folder: Path | None) -> tuple[F32, Grid]:
    """The same by the fast renderer, for comparison."""
    module = specimen_module(instance.specimen.name)
    specimen, grid = window_of(instance, module.SAMPLING_NM)
    kernels = fast.load_kernels(specimen.name)
    return fast.coefficients(specimen, grid, DETECTOR, kernels), grid


def scenes(
    found: list[Instance],
    image: Callable[[Instance, Path | None], tuple[F32, Grid]],
    folder: Path | None = None,
    seed: int = 0,
) -> Iterator[Scene]:
    """Reference frames of instances at the reference dose of their difficulty.

    Args:
        found: the instances.
        image: ``by_multislice`` or ``by_kernels``.
        folder: where simulated windows are kept.
        seed: of the noise.
    """
    for number, instance in enumerate(found):
        module = specimen_module(instance.specimen.name)
        coefficients, grid = image(instance, folder)
        dwell = module.LEVELS[instance.specimen.difficulty].dwell_us
        shape = (module.FRAME_PX, module.FRAME_PX)
        fov = (module.FRAME_NM, module.FRAME_NM)
        rng = np.random.default_rng([seed, number])
        about_origin = ScanRequest((0.0, 0.0), fov, shape, dwell)
        per_us = module.OPTICS.electrons_per_us
        frame = counts({DETECTOR: coefficients}, grid, per_us, about_origin, (0.0, 0.0), rng)
        where = ScanRequest(instance.centre_yx_nm, fov, shape, dwell)
        picture = resampled(standard(frame[DETECTOR]), shape)
        yield Scene(picture, Truth.of(instance.specimen), where)


def main() -> None:
    """The command of the module's text: a JSON object with the scores of a network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("specimen")
    parser.add_argument("--count", type=int, default=COUNT, help="instances of each class")
    parser.add_argument("--folder", type=Path, default=Path("instances"))
    parser.add_argument("--weights", help="a file; those in the package by default")
    parser.add_argument("--renderer", choices=("abtem", "fast"), default="abtem")
    given = parser.parse_args()
    try:
        segmenter = Segmenter(given.weights or given.specimen)
        if segmenter.specimen != given.specimen:
            raise ValueError(f"the network is for {segmenter.specimen}, not for {given.specimen}")
        found = instances(given.specimen, given.count)
    except ValueError as error:
        parser.error(str(error))
    image = by_multislice if given.renderer == "abtem" else by_kernels
    shown = list(scenes(found, image, given.folder / given.specimen))
    said: dict[str, Any] = plain(score(segmenter, shown))
    if segmenter.legend.kinds:
        said |= plain({"atoms": atoms(segmenter, shown)})
    if given.specimen == "bifeo3":
        said["displacement of Fe"] = displacements(segmenter, shown)
    print(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
