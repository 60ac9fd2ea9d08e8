"""The pictures of a run.  Each function takes plain data and returns a PNG file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Explanation, FieldMap
from ..agents.experiment import Step
from ..envs.episode import Episode
from ..envs.mosaic import Mosaic
from ..hardware.coordinates import footprint
from ..hardware.microscope import Frame
from ..simulators.specimens import Specimen
from . import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
CELLS_MOST = 1200
FRAMES_MOST = 300  # as vectors: more make a heavy file


def _extent(field_yx_nm: tuple[float, float]) -> tuple[float, float, float, float]:
    h, w = field_yx_nm[0] / 2, field_yx_nm[1] / 2
    return (-w, w, h, -h)


def show_episode(axes: Axes, episode: Episode) -> None:
    """The specimen as an episode has seen it."""
    pitch = episode.reference.fov_yx_nm[0] / episode.reference.shape_yx[0]
    shown = ((frame, episode.display(frame)) for frame in episode.history)
    show_frames(axes, episode.field_yx_nm, pitch, shown)


def show_frames(
    axes: Axes,
    field: tuple[float, float],
    pitch_nm: float,
    frames: Iterable[tuple[Frame, NDArray[np.float32]]],
) -> None:
    """Frames where they were taken, with a scale bar: grey where measured, dark blue elsewhere.

    Args:
        axes: to draw on.
        field: sides in nm.
        pitch_nm: of the pixels that are drawn, at least.
        frames: each with its readings, alike in scale.
    """
    cells = [min(CELLS_MOST, max(1, round(side / pitch_nm))) for side in field]
    mosaic = Mosaic(field, (cells[0], cells[1]))
    for frame, values in frames:
        mosaic.add(frame, values)
    image = np.ma.masked_invalid(mosaic.mean)
    axes.set_facecolor(style.UNSEEN)
    shown = np.asarray(image.compressed())
    low, high = np.percentile(shown, [0.5, 99.8]) if len(shown) else (0.0, 1.0)
    axes.imshow(
        image,
        cmap=style.MICROGRAPH,
        extent=_extent(field),
        vmin=low,
        vmax=max(high, low + 1e-9),
        interpolation="antialiased",
    )
    style.nm_axes(axes)
    style.scale_bar(axes, field[1])


def path(fig: Figure, axes: Axes, footprints_yx_nm: Floats) -> None:
    """The footprints (n, 4, 2) of frames on the specimen, by their order, and the way between."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import ListedColormap, Normalize
    from matplotlib.ticker import MaxNLocator

    centres = footprints_yx_nm.mean(axis=1)
    order = np.arange(1, len(centres) + 1)
    bright = ListedColormap(colormaps[style.ORDER](np.linspace(style.ORDER_FROM, 1.0, 256)))
    mappable = ScalarMappable(Normalize(1, max(2, len(order))), bright)
    colours = mappable.to_rgba(order) if len(order) > 1 else ["white"]
    boxes = PolyCollection(
        list(footprints_yx_nm[..., ::-1]),
        facecolor="none",
        edgecolor=colours,
        linewidth=0.9,
        rasterized=len(centres) > FRAMES_MOST,
    )
    axes.plot(*centres.T[::-1], color="white", lw=0.5, alpha=0.55, zorder=boxes.zorder)
    axes.add_collection(boxes)
    ends: dict[str, Any] = {"ms": 5, "mfc": "white", "mec": "black", "mew": 0.7}
    ends["zorder"] = 6  # above the scale bar
    axes.plot(*centres[0, ::-1], "o", label="first frame", **ends)
    axes.plot(*centres[-1, ::-1], "s", label="last frame", **ends)
    style.colour_bar(fig, mappable, axes, "frame number", MaxNLocator(6, integer=True))


def footprints(episode: Episode) -> Floats:
    """Of the frames (n, 4, 2), by what the instrument reports."""
    boxes = [footprint(f.region, f.state) for f in episode.history]
    return np.array(boxes).reshape(-1, 4, 2)


def specimen_seen(
    episode: Episode, specimen: Specimen | None = None, seen: Bools | None = None
) -> bytes:
    """The specimen as the agent has seen it, the path over it, and the truth where it is known."""
    panels = 2 if specimen is None else 3
    height, width = episode.field_yx_nm
    tall = min(1.6, max(0.5, height / width))
    with style.figure(5.0 * panels, 4.6 * tall + 0.4) as fig:
        axes = fig.subplots(1, panels, squeeze=False)[0]
        for ax in axes:
            show_episode(ax, episode)
        axes[0].set_title("The specimen as seen")
        axes[1].set_title("The path over it")
        if episode.history:
            path(fig, axes[1], footprints(episode))
            style.legend_below(axes[1])
        if specimen is not None and seen is not None:
            axes[2].set_title("The truth, for comparison")
            style.features(axes[2], specimen, seen)
            style.legend_below(axes[2])
        return style.png(fig)


def show_map(fig: Figure, axes: Axes, title: str, field: FieldMap, cmap: str) -> None:
    step = [np.diff(a).min() / 2 if len(a) > 1 else 0.5 for a in (field.y_nm, field.x_nm)]
    image = axes.pcolormesh(
        _edges(field.x_nm, step[1]),
        _edges(field.y_nm, step[0]),
        field.values,
        cmap=cmap,
        rasterized=True,  # as vectors, thousands of squares make a heavy file
    )
    axes.set_facecolor("#b9bec7")  # candidates that were out of the question
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_title(title)
    style.nm_axes(axes)
    style.colour_bar(fig, image, axes, field.unit)


def _edges(positions: NDArray[np.float64], half_step: float) -> NDArray[np.float64]:
    middle = (positions[1:] + positions[:-1]) / 2
    return np.concatenate([[positions[0] - half_step], middle, [positions[-1] + half_step]])


def beliefs(explanation: Explanation, step: Step) -> bytes | None:
    """Posterior mean, uncertainty and acquisition at a step; None without a belief."""
    if not explanation.maps:
        return None
    with style.figure(4.6 * len(explanation.maps), 4.0) as fig:
        row = fig.subplots(1, len(explanation.maps), squeeze=False)[0]
        maps(fig, row, explanation.maps, step.request.centre_yx_nm)
        fig.suptitle("+  the frame chosen by them", x=0.01, ha="left", fontsize=9, color="#c33")
        return style.png(fig)


def maps(
    fig: Figure,
    panels: Sequence[Axes],
    of: Mapping[str, FieldMap],
    at_yx_nm: tuple[float, float],
) -> None:
    """Each map by its name in a panel of its own, and the point chosen by them."""
    colours = (style.BELIEF, style.UNCERTAINTY, "inferno")
    for k, (axes, (name, field)) in enumerate(zip(panels, of.items(), strict=True)):
        show_map(fig, axes, name[0].upper() + name[1:], field, colours[k % 3])
        y, x = at_yx_nm
        axes.plot(x, y, "P", ms=9, mfc="#ff5555", mec="white", mew=1.0)


def components(explanation: Explanation) -> bytes | None:
    """The components with the chosen one marked; None without any."""
    pictures = explanation.components
    if pictures is None:
        return None
    half, unit = explanation.reach
    with style.figure(3.2 * len(pictures), 2.9) as fig:
        row = fig.subplots(1, len(pictures), squeeze=False)[0]
        for k, (axes, picture) in enumerate(zip(row, pictures, strict=True)):
            limit = float(np.abs(picture).max()) or 1.0
            signed = picture.min() < 0
            image = axes.imshow(
                picture,
                cmap="RdBu_r" if signed else style.BELIEF,
                vmin=-limit if signed else 0.0,
                vmax=limit,
                extent=(-half, half, half, -half),
            )
            chosen = k == explanation.chosen
            axes.set_title(f"{k}, chosen" if chosen else f"{k}", color="#b34700" if chosen else "k")
            for spine in axes.spines.values():
                spine.set(visible=True, color="#d55e00" if chosen else "#888888")
                spine.set_linewidth(3.0 if chosen else 0.6)
            axes.set_xlabel(f"x frequency ({unit})")
            if k == 0:
                axes.set_ylabel(f"y frequency ({unit})")
            style.colour_bar(fig, image, axes, "loading")
        return style.png(fig)


def discovery(
    charge: NDArray[np.float64], recall: NDArray[np.float64], budget: float, name: str
) -> bytes:
    """Seen recall against charge, as the step function that it is."""
    with style.figure(5.2, 3.4) as fig:
        axes = fig.subplots()
        x = np.concatenate([[0.0], charge, [budget]])
        y = np.concatenate([[0.0], recall, [recall[-1] if len(recall) else 0.0]])
        axes.step(x, y, where="post", lw=1.8, color="#0072b2", label=name)
        axes.plot([0, 1], [0, 1], ls=":", lw=1.0, color="#777777", label="in proportion to area")
        axes.set(
            xlim=(0, budget),
            ylim=(0, 1.02),
            xlabel="charge spent (rasters of the field)",
            ylabel="features seen (share of all)",
        )
        axes.legend(frameon=False, loc="best")
        return style.png(fig)


def targets(values: Floats | None) -> bytes | None:
    """The target (n,) of each frame, all by the same knowledge; None without a target."""
    if values is None or not len(values):
        return None
    with style.figure(5.2, 3.4) as fig:
        axes = fig.subplots()
        index = np.arange(1, len(values) + 1)
        axes.plot(index, values, "o", ms=3.5, color="#0072b2", alpha=0.8)
        best = np.maximum.accumulate(values)
        axes.step(index, best, where="post", lw=1.2, color="#d55e00", label="best so far")
        axes.set(xlabel="frame number", ylabel="target (component score, arbitrary units)")
        axes.legend(frameon=False, loc="best")
        return style.png(fig)


def frames(
    episode: Episode, steps: Sequence[Step], target: Floats | None, most: int = 6
) -> bytes | None:
    """The frames with the highest target (n,), or the last ones where there is none."""
    if not steps:
        return None
    if target is None:
        best = list(steps[-most:])
    else:
        best = [steps[k] for k in np.argsort(-target, kind="stable")[:most]]
    values = np.concatenate([episode.display(s.frame).ravel() for s in steps])
    low, high = np.percentile(values, [0.5, 99.8])
    with style.figure(2.25 * len(best), 2.6) as fig:
        row = fig.subplots(1, len(best), squeeze=False)[0]
        for axes, step in zip(row, best, strict=True):
            width = step.frame.region.fov_yx_nm[1]
            height = step.frame.region.fov_yx_nm[0]
            axes.imshow(
                episode.display(step.frame),
                cmap=style.MICROGRAPH,
                vmin=low,
                vmax=max(high, low + 1e-9),
                extent=(0, width, height, 0),
            )
            axes.set_xticks([])
            axes.set_yticks([])
            style.scale_bar(axes, width)
            value = "" if target is None else f": {target[step.index]:.3g}"
            axes.set_title(f"frame {step.index + 1}{value}")
        return style.png(fig)
