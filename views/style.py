"""What every figure has in common: type, colours, scale bars, axes in nm."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from math import floor, log10
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..simulators.specimens import FeatureClass, Specimen

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import Locator

MICROGRAPH = "gray"
BELIEF = "viridis"
UNCERTAINTY = "cividis"
ORDER = "plasma"
ORDER_FROM = 0.3  # of its range: what is darker cannot be told from a micrograph
UNSEEN = "#20243f"  # as unlike a micrograph as can be
# Okabe and Ito's colours, which colour-blind people tell apart; then another marker.
CLASS_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00")
CLASS_MARKERS = ("o", "s", "D", "^")

RC: dict[str, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "figure.dpi": 140,
    "savefig.bbox": "tight",
    "savefig.pad_inches": 0.06,
    "axes.grid": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@contextmanager
def figure(width: float, height: float, **options: Any) -> Iterator[Figure]:
    """A figure in inches in the house's style; it never touches pyplot's state."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(cast("Any", RC)):
        yield Figure(figsize=(width, height), layout="constrained", **options)


def png(fig: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()


def data_uri(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode()


def nm_axes(axes: Axes) -> None:
    axes.set_xlabel("x (nm)")
    axes.set_ylabel("y (nm)")
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)


def round_length(about: float) -> float:
    """The nearest of 1, 2 or 5 times a power of ten that does not exceed ``about``."""
    power = 10.0 ** floor(log10(about))
    return max(m for m in (1, 2, 5) if m * power <= about * (1 + 1e-9)) * power


def scale_bar(axes: Axes, width_nm: float, colour: str = "white") -> None:
    """A bar of a round length, about a fifth of ``width_nm``, in the lower left corner."""
    from matplotlib.offsetbox import AnchoredOffsetbox, AuxTransformBox, TextArea, VPacker
    from matplotlib.patches import Rectangle

    length = round_length(width_nm / 4)
    bar = AuxTransformBox(axes.transData)
    bar.add_artist(Rectangle((0, 0), length, width_nm * 0.008, fc=colour, ec="none"))
    label = f"{length:g} nm" if length >= 0.1 else f"{length * 1000:g} pm"
    text = TextArea(label, textprops={"color": colour, "size": 8, "weight": "bold"})
    box = AnchoredOffsetbox(
        "lower left", child=VPacker(children=[text, bar], align="center", pad=0, sep=2), pad=0.4
    )
    box.patch.set(facecolor="black", edgecolor="none", alpha=0.55)
    axes.add_artist(box)


def legend_below(axes: Axes, columns: int = 2) -> None:
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(0, -0.14),
        ncols=columns,
        fontsize=8,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=1.0,
    )


def mark_of(k: int) -> tuple[str, str]:
    """Colour and marker of the class with index ``k``."""
    colours = len(CLASS_COLOURS)
    return CLASS_COLOURS[k % colours], CLASS_MARKERS[k // colours % len(CLASS_MARKERS)]


def features(
    axes: Axes,
    specimen: Specimen,
    seen: NDArray[np.bool_] | None = None,
    ink: str | None = None,
) -> None:
    """Mark the true features: points by markers, segments by lines, cells by squares.

    With ``seen`` (m,) those that were seen are filled or drawn through; ``ink`` is one
    colour for all classes.
    """
    states = ((None, ""),) if seen is None else ((True, ", seen"), (False, ", not seen"))
    for k, feature_class in enumerate(specimen.classes):
        of_class = specimen.feature_class == k
        if not of_class.any():
            continue
        own, marker = mark_of(k)
        colour = ink or own
        for state, word in states:
            chosen = of_class if seen is None else of_class & (seen == state)
            label = f"{feature_class.name}{word} ({chosen.sum()})"
            yx = specimen.feature_yx_nm[chosen]
            if feature_class.shape == "point":
                face = colour if state else "none"
                axes.plot(
                    *yx.T[::-1], marker, ms=7, mfc=face, mec=colour, mew=1.4, ls="", label=label
                )
                continue
            lines = _extended(yx, specimen.feature_angle_rad[chosen], feature_class)
            whole, dashed = state is not False, ":" if state is False else "-"
            axes.plot([], [], ls=dashed, color=colour, lw=2.2, label=label)
            _draw(axes, lines, colour, dashed, 2.2 if whole else 1.4)


def _extended(yx_nm: NDArray[np.float64], angle: NDArray[np.float64], c: FeatureClass) -> Any:
    """Lines (n, p, 2) in (x, y): a segment along its direction, a cell around its square."""
    half = c.size_nm / 2
    if c.shape == "segment":
        step = half * np.column_stack([np.cos(angle), np.sin(angle)])
        return np.stack([yx_nm[:, ::-1] - step, yx_nm[:, ::-1] + step], axis=1)
    corners = 0.92 * half * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]])
    return yx_nm[:, None, ::-1] + corners


def _draw(axes: Axes, lines: Any, colour: str, style: str, width: float) -> None:
    """As one path with gaps: in a vector file a path for each of hundreds would be heavy."""
    gaps = np.full((len(lines), 1, 2), np.nan)
    points = np.concatenate([lines, gaps], axis=1).reshape(-1, 2)
    axes.plot(*points.T, ls=style, color=colour, lw=width, solid_capstyle="butt")


def colour_bar(
    fig: Figure, artist: Any, axes: Any, label: str, ticks: Locator | None = None
) -> None:
    """Beside an image; as tall as it is, and in the room kept free for it, without a layout."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if isinstance(fig.get_layout_engine(), ConstrainedLayoutEngine):
        bar = fig.colorbar(artist, ax=axes, shrink=0.85, pad=0.02, ticks=ticks)
    else:
        bar = fig.colorbar(artist, cax=axes.inset_axes((1.03, 0.0, 0.045, 1.0)), ticks=ticks)
    bar.set_label(label)
    bar.outline.set_linewidth(0.5)
