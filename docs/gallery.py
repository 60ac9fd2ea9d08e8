"""Make the gallery: every specimen, difficulty, detector and imperfection.

    python docs/gallery.py

writes the pictures of docs/gallery.md.  Frames and fields are those of the
environments, with their noise; coherent detectors come from the shipped worlds.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from stemscout.envs.sources import SpecimenSource
from stemscout.simulators.imperfections import (
    PRESETS,
    BeamDamage,
    ContaminationGrowth,
    DetectorResponse,
    Drift,
    Flyback,
    Hysteresis,
    Imperfections,
    LineJitter,
    ScanRotationError,
)
from stemscout.simulators.simulated import SimulatedMicroscope
from stemscout.simulators.specimens import SPECIMENS, specimen_module
from stemscout.simulators.world import SHIPPED, Recipe, load_world, open_world, specimen_seed
from stemscout.views import style

HERE = Path(__file__).parent / "pictures" / "gallery"
SHOWN_NM = {"nanoparticles": 48.0, "composite": 96.0}  # of the whole fields; the others: all


def show(axes, image, side_nm, title, low=0.5, high=99.7):
    limits = np.percentile(image, [low, high])
    axes.imshow(
        image,
        cmap=style.MICROGRAPH,
        extent=(0, side_nm, side_nm, 0),
        vmin=limits[0],
        vmax=max(limits[1], limits[0] + 1e-9),
        interpolation="antialiased",
    )
    axes.set(xticks=[], yticks=[])
    style.scale_bar(axes, side_nm)
    axes.set_title(title)


def save(fig, name):
    """As JPEG: noise does not compress otherwise."""
    picture = Image.open(io.BytesIO(style.png(fig))).convert("RGB")
    picture.thumbnail((1500, 2400))
    picture.save(HERE / f"{name}.jpg", quality=80, optimize=True)


def frame(microscope, centre, side_nm, pixels, dwell_us, detector="haadf"):
    from stemscout.hardware import ScanRequest

    request = ScanRequest(centre, (side_nm, side_nm), (pixels, pixels), dwell_us, 0.0, (detector,))
    return microscope.acquire(request).image


def fields(name):
    """One row for each difficulty: the field with its truth, and a reference frame's view."""
    module = specimen_module(name)
    levels = list(module.LEVELS)
    legend = 0.2 * -(-len(module.CLASSES) // 3)
    with style.figure(12.6, (4.3 + legend) * len(levels)) as fig:
        rows = fig.subplots(len(levels), 3, squeeze=False)
        for row, level in zip(rows, levels, strict=True):
            source = SpecimenSource(name, level)
            m = source.microscope(0, "test", 0, None)
            m.open()
            side = SHOWN_NM.get(name, module.FIELD_NM) * (1 - 1e-9)
            specimen = m.world.specimen
            dwell = source.reference.dwell_us
            whole = frame(m, (0.0, 0.0), side, 600, dwell)
            show(row[0], whole, side, f"{name}, {level}: HAADF, {side:.3g} nm")
            show(row[1], whole, side, "with the truth")
            row[1].images[0].set_extent((-side / 2, side / 2, side / 2, -side / 2))
            style.features(row[1], specimen)
            row[1].set(xlim=(-side / 2, side / 2), ylim=(side / 2, -side / 2))
            style.legend_below(row[1], 3)
            row[1].get_legend().set_bbox_to_anchor((0, -0.02))
            row[2].text(0, -legend / 4.2 - 0.02, " ", transform=row[2].transAxes)
            points = [k for k, c in enumerate(specimen.feature_class)]
            yx = specimen.feature_yx_nm[points[0]]
            half = (module.FIELD_NM - module.FRAME_NM) / 2
            centre = tuple(float(v) for v in np.clip(yx, -half, half))
            near = m.acquire(source.reference.at(centre)).image
            named = specimen.classes[specimen.feature_class[points[0]]].name
            show(row[2], near, module.FRAME_NM, f"reference frame, {dwell:g} µs: {named}")
        save(fig, name)


def detectors():
    """The shipped worlds under every detector, and MAADF of the fast renderer beside."""
    paths = sorted(SHIPPED.glob("*.npz"))
    worlds = [load_world(p) for p in paths]
    with style.figure(12.6, 3.5 * len(worlds)) as fig:
        rows = fig.subplots(len(worlds), 4, squeeze=False)
        for row, world in zip(rows, worlds, strict=True):
            module = specimen_module(world.recipe.specimen)
            m = SimulatedMicroscope(world, 0, module.LEVELS["medium"].dwell_us)
            m.open()
            for axes, name in zip(row, world.coefficients, strict=True):
                side = 5.0
                image = frame(m, (0.0, 0.0), side, 256, module.LEVELS["medium"].dwell_us, name)
                show(axes, image, side, f"{world.recipe.specimen}: {name.upper()}, multislice")
        save(fig, "detectors")


def imperfections():
    """The same frames of one world, each imperfection alone and several times its default."""
    strong = {
        "none: Poisson noise alone": Imperfections(),
        "detector: offset, dark noise": Imperfections(
            detector=DetectorResponse(1.0, 4.0, 4.0, 60.0)
        ),
        "line jitter, 0.02 nm": Imperfections(jitter=LineJitter(0.02)),
        "fly-back, 0.2 nm": Imperfections(flyback=Flyback(0.2, 150.0)),
        "drift, 1 nm in the frame": Imperfections(drift=Drift(150.0, 2.0)),
        "scan rotation error": Imperfections(rotation=ScanRotationError(0.1)),
        "hysteresis after a move of 8 nm": Imperfections(hysteresis=Hysteresis(0.06, 0.5, 0.1)),
        "contamination grown by 8 frames": Imperfections(growth=ContaminationGrowth(1.2e-6, 0.25)),
        "damage: MoS2 at 3e3 barn, 8 frames": Imperfections(damage=BeamDamage({"S": 3e3})),
        "realistic: all at their defaults": PRESETS["realistic"],
    }
    recipe = Recipe("mos2", "easy", *specimen_seed(1, "test"), 16.0, margin_nm=6.0)
    world = open_world(recipe)
    with style.figure(15.0, 6.6) as fig:
        panels = fig.subplots(2, 5)
        for axes, (title, parts) in zip(panels.flat, strong.items(), strict=True):
            m = SimulatedMicroscope(world, 3, imperfections=parts)
            m.open()
            frame(m, (-4.0, -4.0), 1.0, 16, 12.0)
            if parts.evolves and title[0] != "r":
                for _ in range(8):
                    frame(m, (1.5, 1.5), 1.8, 96, 12.0)
            image = frame(m, (1.5, 1.5), 3.0, 192, 12.0)
            show(axes, image, 3.0, title)
            axes.title.set_fontsize(8.5)
        save(fig, "imperfections")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for specimen in SPECIMENS:
        fields(specimen)
    detectors()
    imperfections()
