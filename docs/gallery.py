"""Make the gallery: every specimen, difficulty, detector and imperfection.

    python docs/gallery.py

writes the pictures of docs/gallery.md.  Frames and fields are those of the
environments, with their noise; coherent detectors come from the shipped worlds.
"""

import io
from dataclasses import replace
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
from stemscout.simulators.specimens import SPECIMENS, default_difficulty, specimen_module
from stemscout.simulators.world import SHIPPED, Recipe, load_world, open_world, specimen_seed
from stemscout.views import style

HERE = Path(__file__).parent / "pictures" / "gallery"
SHOWN_NM = {"nanoparticles": 48.0, "composite": 96.0}  # of the whole fields; the others: all
GAMMA = {"composite": 0.4}  # sheets are faint beside oxides and gold


def show(axes, image, side_nm, title, low=0.5, high=99.7, gamma=1.0):
    if gamma != 1.0:
        image = np.maximum(image, 0.0) ** gamma
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


def within(specimen, side_nm):
    """The same with those features alone that are shown, so that they are counted alone."""
    shown = (np.abs(specimen.feature_yx_nm) <= side_nm / 2).all(axis=1)
    names = ("feature_class", "feature_yx_nm", "feature_angle_rad", "feature_outline")
    return replace(specimen, **{name: getattr(specimen, name)[shown] for name in names})


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
            specimen = within(m.world.specimen, side)
            dwell = source.reference.dwell_us
            whole = frame(m, (0.0, 0.0), side, 600, dwell)
            gamma = GAMMA.get(name, 1.0)
            said = f", gamma {gamma:g}" if gamma != 1.0 else ""
            show(row[0], whole, side, f"{name}, {level}: HAADF, {side:.3g} nm{said}", gamma=gamma)
            show(row[1], whole, side, "with the truth", gamma=gamma)
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
    """The shipped worlds, simulated by multislice, under every detector."""
    worlds = [load_world(p) for p in sorted(SHIPPED.glob("*.npz"))]
    side = 4.0
    with style.figure(12.6, 3.5 * len(worlds)) as fig:
        rows = fig.subplots(len(worlds), 4, squeeze=False)
        for row, world in zip(rows, worlds, strict=True):
            name = world.recipe.specimen
            dwell = specimen_module(name).LEVELS["medium"].dwell_us
            m = SimulatedMicroscope(world, 0, dwell)
            m.open()
            yx = world.specimen.feature_yx_nm
            half = world.recipe.field_nm / 2 - side / 2 - 0.01
            centre = yx[np.abs(yx).max(axis=1).argmin()]
            centre = tuple(float(v) for v in np.clip(centre, -half, half))
            for axes, detector in zip(row, world.coefficients, strict=True):
                image = frame(m, centre, side, 256, dwell, detector)
                show(axes, image, side, f"{name}: {detector.upper()}, multislice")
        save(fig, "detectors")


def fast_detectors():
    """Every specimen under both detectors of the fast renderer, about its first feature."""
    with style.figure(3.0 * len(SPECIMENS), 6.6) as fig:
        columns = fig.subplots(2, len(SPECIMENS), squeeze=False).T
        for column, name in zip(columns, SPECIMENS, strict=True):
            module = specimen_module(name)
            level = default_difficulty(name)
            dwell, side = module.LEVELS[level].dwell_us, 2 * module.FRAME_NM
            recipe = Recipe(
                name,
                level,
                *specimen_seed(0, "test"),
                module.FIELD_NM,
                detectors=("haadf", "maadf"),
            )
            m = SimulatedMicroscope(open_world(recipe), 0, dwell)
            m.open()
            half = (module.FIELD_NM - side) / 2 - 0.01
            centre = np.clip(m.world.specimen.feature_yx_nm[0], -half, half)
            for axes, detector in zip(column, ("haadf", "maadf"), strict=True):
                image = frame(m, tuple(map(float, centre)), side, 256, dwell, detector)
                show(axes, image, side, f"{name}: {detector.upper()}")
        save(fig, "fast")


def imperfections():
    """The same frames of one world, each imperfection alone and several times its default."""
    strong = {
        "none: Poisson noise alone": Imperfections(),
        "gain 3, offset 4 (scale of the first)": Imperfections(
            detector=DetectorResponse(3.0, 4.0, 0.0)
        ),
        "dark noise of 4 e": Imperfections(detector=DetectorResponse(1.0, 0.0, 4.0)),
        "saturation at 60 e": Imperfections(detector=DetectorResponse(1.0, 0.0, 0.0, 60.0)),
        "line jitter, 0.02 nm": Imperfections(jitter=LineJitter(0.02)),
        "fly-back, 0.2 nm": Imperfections(flyback=Flyback(0.2, 150.0)),
        "drift, 1 nm in the frame": Imperfections(drift=Drift(150.0, 2.0)),
        "scan rotation error": Imperfections(rotation=ScanRotationError(0.1)),
        "hysteresis after a move of 8 nm": Imperfections(hysteresis=Hysteresis(0.06, 0.5, 0.1)),
        "contamination grown by 8 frames": Imperfections(growth=ContaminationGrowth(4e-6, 0.25)),
        "damage: S at 3e4 barn, 8 frames": Imperfections(damage=BeamDamage({"S": 3e4})),
        "realistic: all at their defaults": PRESETS["realistic"],
    }
    recipe = Recipe("mos2", "easy", *specimen_seed(1, "test"), 16.0, margin_nm=6.0)
    world = open_world(recipe)
    with style.figure(17.0, 6.4) as fig:
        panels = fig.subplots(2, 6)
        for axes, (title, parts) in zip(panels.flat, strong.items(), strict=True):
            m = SimulatedMicroscope(world, 3, imperfections=parts)
            m.open()
            frame(m, (-4.0, -4.0), 1.0, 16, 12.0)
            if parts.evolves and not title.startswith("realistic"):
                for _ in range(8):
                    frame(m, (1.5, 1.5), 1.8, 96, 12.0)
            image = frame(m, (1.5, 1.5), 3.0, 192, 12.0)
            show(axes, image, 3.0, title)
            if title.startswith("none"):
                plain = axes.images[0].get_clim()
            if "gain" in title or "saturation" in title:
                axes.images[0].set_clim(plain)
            axes.title.set_fontsize(8.5)
        save(fig, "imperfections")


if __name__ == "__main__":
    HERE.mkdir(parents=True, exist_ok=True)
    for specimen in SPECIMENS:
        fields(specimen)
    detectors()
    fast_detectors()
    imperfections()
