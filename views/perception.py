"""Pictures of what a perception says, and of how right it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..agents.perception.dcnn import claims
from ..agents.perception.dcnn.polarisation import polarisation
from ..agents.perception.dcnn.segmenter import Segmentation
from ..agents.perception.dcnn.weights import Header
from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 3000  # columns, beyond which the dots that mark them are smaller
ARROW = 6.0  # times a displacement: picometres in a field of nanometres
LEAST = 20  # claims of a confidence, before their share is shown


def calibration_figure(header: Header) -> Figure:
    """Of what a network claims with a confidence, how much is right: the diagonal is honest.

    Two panels: scenes as the reference frame shows them, and over the whole spread of training.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    titles = ("as the reference frame", "over the spread of training")
    scores = header.card["scores"]
    for axes, own, title in zip(panels, scores.values(), titles, strict=True):
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=1, zorder=0)
        for k, channel in enumerate(header.channels):
            claimed = np.array(own[channel]["claimed_at"], dtype=float)
            right = np.array(own[channel]["right_at"], dtype=float)
            there = claimed >= LEAST
            middles = (np.arange(len(claimed)) + 0.5) / len(claimed)
            share = right[there] / claimed[there]
            marker = "os^vDP*X"[k // 10 % 8]
            axes.plot(
                middles[there], share, marker=marker, markersize=4, linewidth=1, color=f"C{k % 10}",
                label=channel,
            )  # fmt: skip
        axes.set(title=title, xlabel="confidence", xlim=(0, 1), ylim=(0, 1))
        axes.set_aspect("equal")
    panels[0].set_ylabel("share that is right")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.suptitle(f"The network for {header.specimen}")
    return figure


def overlay(
    axes: Axes,
    image: NDArray[np.floating],
    pixel_nm: float,
    seen: Segmentation,
    thresholds: Mapping[str, float],
) -> dict[str, int]:
    """What a network says of an image, over it: columns, areas, features; and of each how many.

    Columns are dots by their kind, but for those under contamination, which are guesses; point
    features rings by their class, with the confidence beside them, lines and cells as they run,
    areas hatched, and for BiFeO3 the polarisation as arrows, so many times too long as ``ARROW``
    says.

    Args:
        axes: to draw into, in nm from the upper left corner.
        image: (rows, columns).
        pixel_nm: of the image.
        seen: what a network says of it.
        thresholds: confidence from which features of each class are shown, as they are claimed.
    """
    rows, columns = image.shape
    extent = (0.0, columns * pixel_nm, rows * pixel_nm, 0.0)
    low, high = np.percentile(image, [0.5, 99.5])
    axes.imshow(image, cmap=style.MICROGRAPH, extent=extent, vmin=low, vmax=high)
    legend = seen.legend
    count = dict.fromkeys((*legend.kinds, *legend.features, *legend.as_area), 0)
    _areas(axes, seen, extent)
    for k, (kind, there) in enumerate(claims.columns(seen).items()):
        colour, _ = style.mark_of(k)
        yx = there.yx_px
        at = (seen.image_px(yx[claims.clear(legend, seen.probability, yx)]) + 0.5) * pixel_nm
        count[kind] = len(at)
        size = 1.2 if len(at) > DOTS else 2.2
        axes.plot(at[:, 1], at[:, 0], ".", ms=size, color=colour, label=f"{kind} ({len(at)})")
    everywhere = np.ones(seen.probability.shape[1:], dtype=np.bool_)
    found = claims.points(seen) + claims.lines(seen, everywhere) + claims.areas(seen, everywhere)
    found = [f for f in found if f.confidence >= thresholds[f.of.name]]
    for k, name in enumerate((*seen.legend.features, *seen.legend.as_area)):
        own = [f for f in found if f.of.name == name]
        count[name] = len(own)
        if own:
            _features(axes, own, pixel_nm, style.mark_of(k + 2))
    if seen.legend.specimen == "bifeo3":
        middles, vectors = polarisation(seen)
        at, way = (seen.image_px(middles) + 0.5) * pixel_nm, ARROW * vectors
        axes.quiver(
            at[:, 1], at[:, 0], way[:, 1], way[:, 0], angles="xy", scale_units="xy", scale=1.0,
            color=style.CLASS_COLOURS[4], width=0.002, label=f"Fe off the middle, {ARROW:g} times",
        )  # fmt: skip
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    style.scale_bar(axes, extent[1])
    return count


def _areas(axes: Axes, seen: Segmentation, extent: tuple[float, float, float, float]) -> None:
    """Hatched, with a border; each kind another way."""
    from matplotlib.patches import Rectangle

    for area, hatch in zip(seen.legend.areas, ("///", "...", "xxx"), strict=False):
        values = seen.channel(area)
        if not (values > 0.5).any():
            continue
        colour = style.CLASS_COLOURS[3]
        axes.contourf(
            values, levels=[0.5, 1.01], colors="none", hatches=[hatch], extent=extent,
            origin="upper",
        ).set(edgecolor=colour, linewidth=0.0, alpha=0.5)  # fmt: skip
        axes.contour(
            values, levels=[0.5], colors=colour, linewidths=0.8, extent=extent, origin="upper"
        )
        label = f"{area} ({(values > 0.5).mean():.0%})"
        axes.add_patch(Rectangle((0, 0), 0, 0, fc="none", ec=colour, hatch=hatch, label=label))


def _features(axes: Axes, own: list[claims.Found], pixel_nm: float, mark: tuple[str, str]) -> None:
    """Of one class."""
    colour, marker = mark
    of = own[0].of
    label = f"{of.name} ({len(own)})"
    for k, found in enumerate(own):
        yx = (found.points_px + 0.5) * pixel_nm
        once = label if k == 0 else None
        if of.shape != "point":
            axes.plot(yx[:, 1], yx[:, 0], color=colour, lw=1.8, label=once)
            continue
        axes.plot(
            yx[:, 1], yx[:, 0], marker, ms=11, mfc="none", mec=colour, mew=1.4, ls="", label=once
        )
        x, y = float(yx[0, 1]), float(yx[0, 0])
        axes.annotate(
            f"{found.confidence:.2f}", (x, y), (7, 5), textcoords="offset points",
            color=colour, fontsize=6, annotation_clip=True, clip_on=True,
        )  # fmt: skip
