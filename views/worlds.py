"""The picture of a world."""

from __future__ import annotations

from ..simulators.world import World
from . import style


def picture(world: World) -> bytes:
    """Each detector's image with the features marked, as a PNG file."""
    specimen = world.specimen
    h, w = specimen.field_yx_nm[0] / 2, specimen.field_yx_nm[1] / 2
    with style.figure(6.0 * len(world.coefficients), 5.8) as fig:
        row = fig.subplots(1, len(world.coefficients), squeeze=False)[0]
        for axes, name in zip(row, world.coefficients, strict=True):
            image = axes.imshow(
                world.image(name) * 100, cmap=style.MICROGRAPH, extent=(-w, w, h, -h)
            )
            style.nm_axes(axes)
            style.scale_bar(axes, 2 * w)
            style.colour_bar(fig, image, axes, "collected (% of the beam)")
            axes.set_title(f"{specimen.name}, {name.upper()}, {world.recipe.renderer}")
            for k, feature_class in enumerate(specimen.classes):
                yx = specimen.feature_yx_nm[specimen.feature_class == k]
                axes.plot(
                    yx[:, 1],
                    yx[:, 0],
                    "o",
                    ms=11,
                    mfc="none",
                    mec=style.CLASS_COLOURS[k],
                    mew=1.2,
                    label=feature_class.name,
                )
            axes.legend(loc="upper right", fontsize=8, framealpha=0.8)
        return style.png(fig)
