"""One episode in one figure: its path, what there was, what was claimed, what was believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..agents.agent import Explanation
from ..hardware.microscope import YX
from ..views import figures as pictures
from ..views import style
from .examples import Retaken, said_of
from .found import MOST, Verdicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

U8 = NDArray[np.uint8]
Bools = NDArray[np.bool_]
MAPS = 3  # of an agent, in a row of their own
# In inches: the side of an image, what is kept free about it, and a line of a legend.
SIDE, LEFT, RIGHT, ABOVE, BELOW, LINE = 2.35, 0.58, 0.72, 0.25, 0.48, 0.15
DIM = 0.38  # of the light where nothing was paid for
GREYS = 16  # of a picture: fewer make it smaller, and nobody tells them apart
# By form as much as by colour.
VERDICTS: dict[str, dict[str, Any]] = {
    "right": {"marker": "o", "ms": 6, "mfc": "#56b4e9", "mec": "black", "mew": 0.6},
    "wrong class": {"marker": "^", "ms": 7, "mfc": "#e69f00", "mec": "black", "mew": 0.6},
    "false": {"marker": "X", "ms": 7, "mfc": "#d55e00", "mec": "black", "mew": 0.6},
}
MISSED = "#5c6577"
PAPER, PAID = (224, 227, 233), (255, 255, 255)


def episode(again: Retaken, explanation: Explanation | None) -> Figure:
    """A panel for the path and one for what was seen, and for claims and beliefs if there are any.

    Args:
        again: the episode.
        explanation: the agent's, of its last frame; its maps make a row of their own.
    """
    maps = {} if explanation is None else explanation.maps
    beliefs = dict(list(maps.items())[:MAPS])
    first = 2 + (again.verdicts is not None)
    across = max(first, len(beliefs))
    down = 1 + bool(beliefs)
    height, width = again.specimen.field_yx_nm
    tall = SIDE * min(1.6, max(0.5, height / width))
    keys = LINE * max(2, -(-len(again.specimen.classes) // 2))
    slot_y, slot_x = tall + ABOVE + BELOW, SIDE + LEFT + RIGHT
    total_y, total_x = slot_y * down + keys, slot_x * across
    with style.figure(total_x, total_y) as fig:
        fig.set_layout_engine("none")  # all images alike, and what their marks mean below them

        right_of_others: list[Axes] = []

        def panel(row: int, column: int) -> Axes:
            left = (column * slot_x + LEFT) / total_x
            low = total_y - slot_y * row - ABOVE - tall - keys * (row > 0)
            axes = fig.add_axes((left, low / total_y, SIDE / total_x, tall / total_y))
            right_of_others.extend([axes] * (column > 0))
            return axes

        axes = panel(0, 0)
        _path(fig, axes, again)
        if again.frames:
            _key(axes, tall)
        axes = panel(0, 1)
        _seen(axes, again)
        _key(axes, tall, _classes(again))
        if again.verdicts is not None:
            axes = panel(0, 2)
            _findings(axes, again, again.verdicts)
            _key(axes, tall, _verdicts(again.verdicts))
        if beliefs:
            row = [panel(1, n) for n in range(len(beliefs))]
            pictures.maps(fig, row, beliefs, again.frames[-1].request.centre_yx_nm)
        for axes in right_of_others:
            axes.set_ylabel("")
    return fig


def caption_of(again: Retaken, explanation: Explanation | None) -> str:
    """What the panels show, in words."""
    said = [
        "Left: the specimen without noise, dimmed where nothing was paid for, and the frames in "
        "their order.",
        "Beside it what there is: filled or drawn through where it was seen, hollow or dotted "
        "where not; white is where frames were taken.",
    ]
    if again.verdicts is not None:
        said.append(
            "Then what it claimed: discs are right, triangles right but for their class, crosses "
            "false; grey is the truth, hollow or dotted where nobody claimed it."
        )
    if explanation is not None and explanation.maps:
        more = f", the first {MAPS} of its {len(explanation.maps)} maps"
        said.append(
            f"Below, what it believed at its last decision{more * (len(explanation.maps) > MAPS)}; "
            "the red cross is that frame."
        )
    return " ".join(said)


def _key(axes: Axes, tall: float, entries: tuple[list[Any], list[Any]] | None = None) -> None:
    """What marks mean, below the axes; ``tall`` is their height in inches."""
    handles, labels = entries or axes.get_legend_handles_labels()
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(-0.08, -(BELOW - 0.05) / tall),
        ncols=2,
        fontsize=7,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=1.0,
    )


def _path(fig: Figure, axes: Axes, again: Retaken) -> None:
    """The frames over the specimen; what was never paid for is dimmed."""
    low, high = np.percentile(again.image, [0.5, 99.8])
    light = np.clip((again.image - low) / max(high - low, 1e-12), 0.0, 1.0)
    light = np.rint(light * GREYS) / GREYS
    unseen = np.array([int(style.UNSEEN[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    dim = DIM * light[..., None] + (1 - DIM) * unseen
    shown = np.where(again.paid[..., None], light[..., None], dim)
    _lay(axes, np.rint(255 * shown).astype(np.uint8), again.specimen.field_yx_nm)
    style.scale_bar(axes, again.specimen.field_yx_nm[1])
    axes.set_title("The path over the specimen")
    if len(again.footprints_yx_nm):
        pictures.path(fig, axes, again.footprints_yx_nm)


def _seen(axes: Axes, again: Retaken) -> None:
    """What there is, filled where it was seen, over where frames were taken."""
    _lay(axes, _ground(again), again.specimen.field_yx_nm)
    axes.set_title("What was seen of what there is")
    style.features(axes, again.specimen, again.seen)


def _classes(again: Retaken) -> tuple[list[Any], list[Any]]:
    """The mark of each class, and how many of it were seen."""
    from matplotlib.lines import Line2D

    handles, labels = [], []
    for k, of in enumerate(again.specimen.classes):
        own = again.seen[again.specimen.feature_class == k]
        if len(own):
            colour, marker = style.mark_of(k)
            look = {"ls": "-", "lw": 2.2} if of.shape != "point" else {"ls": "", "marker": marker}
            handles.append(Line2D([], [], color=colour, **look))
            labels.append(f"{of.name}: {own.sum()} of {len(own)}")
    return handles, labels


def _findings(axes: Axes, again: Retaken, of: Verdicts) -> None:
    """What was claimed, by whether it is right, over what there is."""
    assert again.claims is not None
    _lay(axes, _ground(again), again.specimen.field_yx_nm)
    axes.set_title("What it claimed")
    style.features(axes, again.specimen, of.claimed >= MOST, MISSED)
    said = list(said_of(of))
    for verdict, look in VERDICTS.items():
        own = [c.points_yx_nm for c, v in zip(again.claims, said, strict=True) if v == verdict]
        points = np.array([p.mean(axis=0) for p in own if len(p)]).reshape(-1, 2)
        axes.plot(*points.T[::-1], ls="", **look)
        for line in (p for p in own if len(p) > 1):
            axes.plot(*line.T[::-1], color=look["mfc"], lw=1.6)


def _verdicts(of: Verdicts) -> tuple[list[Any], list[Any]]:
    """The mark of each verdict, and how many claims it holds for; and features missed."""
    from matplotlib.lines import Line2D

    said = list(said_of(of))
    handles = [Line2D([], [], ls="", **look) for look in VERDICTS.values()]
    labels = [f"{verdict} ({said.count(verdict)})" for verdict in VERDICTS]
    hollow = Line2D([], [], ls="", marker="o", ms=7, mfc="none", mec=MISSED, mew=1.4)
    return [*handles, hollow], [*labels, f"missed ({(of.claimed < MOST).sum()})"]


def _ground(again: Retaken) -> U8:
    """White where frames were taken."""
    return np.where(again.paid[..., None], PAID, PAPER).astype(np.uint8)


def _lay(axes: Axes, picture: U8, field_yx_nm: YX) -> None:
    h, w = field_yx_nm[0] / 2, field_yx_nm[1] / 2
    axes.imshow(picture, extent=(-w, w, h, -h), interpolation="none")
    style.nm_axes(axes)
    axes.set(xlim=(-w, w), ylim=(h, -h))
