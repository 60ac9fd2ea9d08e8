"""What the agent looks for on the console's page: components, and the plane of descriptors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh import palettes
from bokeh.events import Pan, PanEnd, Reset, SelectionGeometry, Tap
from bokeh.models import (
    BoxSelectTool,
    ColumnDataSource,
    CustomJS,
    LassoSelectTool,
    LinearColorMapper,
    Range1d,
)
from numpy.typing import NDArray

from ...agents.agent import Explanation, Manifold
from .plots import BRIGHT, GREYS, INK, LINE, PAPER, plain, shades, thinned

PLANE_PX = 190  # its height beside components
SHOWN_POINTS = 1000  # frames in the plane
MARGIN, FILLED = 0.12, 0.5  # about the frames in it; of it that they take up, at least
GAP = 0.08  # between pictures, of their width
NAMES = 0.3  # below them, likewise
LASSO, BOX, POINT = WAYS = ("lasso", "box", "point")
# The star is where the pointer is, and the picture under it has a frame, without asking anybody.
DRAGGED = """
    if (plot.tags[0] != way) return;
    const {x, y} = cb_obj;
    star.data = {x: [x], y: [y]};
    const of = cells.data, found = {left: [], right: [], bottom: [], top: []};
    for (let i = 0; i < of.left.length; i++) {
        if (of.left[i] <= x && x < of.right[i] && of.bottom[i] <= y && y < of.top[i])
            for (const k in found) found[k] = [of[k][i]];
    }
    cell.data = found;
"""


class Pictures:
    """What the agent looks for; a tap chooses one.

    Args:
        on_choice: called with its number.
    """

    def __init__(self, on_choice: Callable[[int], None], width: int = 345, height: int = 128):
        self.count, self.width, self.height = 0, width, height
        self.plot = plain("components",
            width, height, "Components: tap one to pursue it", x_range=Range1d(0, 1),
            y_range=Range1d(1 + NAMES, -0.05), tools="tap",
        )  # fmt: skip
        self.plot.axis.visible, self.plot.frame_align = False, False
        self.pictures = ColumnDataSource({"image": [], "x": []})
        self.mapper = LinearColorMapper(palette=palettes.diverging_palette(
            palettes.Blues256, palettes.Reds256, 256))  # fmt: skip
        self.plot.image(
            "image", x="x", y=0, dw=1, dh=1, source=self.pictures, color_mapper=self.mapper
        )
        self.frames = ColumnDataSource({k: [] for k in ("left", "right", "colour", "width")})
        self.plot.quad(
            left="left", right="right", top=0, bottom=1, source=self.frames, fill_alpha=0,
            line_color="colour", line_width="width",
        )  # fmt: skip
        self.names = ColumnDataSource({"x": [], "name": []})
        self.plot.text(
            "x", 1 + NAMES - 0.03, text="name", source=self.names, text_align="center",
            text_color=INK, text_font_size="11px",
        )  # fmt: skip

        def tapped(event: Any) -> None:
            k = int(event.x // (1 + GAP))
            if 0 <= k < self.count and 0 <= event.y <= 1:
                on_choice(k)

        self.plot.on_event(Tap, tapped)

    def update(self, explanation: Explanation) -> None:
        """To what was learned; nothing is drawn where there is nothing."""
        pictures = explanation.components
        self.count = 0 if pictures is None else len(pictures)
        if pictures is None:
            return
        left = np.arange(self.count) * (1 + GAP)
        limits = np.abs(pictures).max(axis=(1, 2), keepdims=True)
        scaled = (pictures / np.where(limits > 0, limits, 1.0)).astype(np.float32)
        self.mapper.update(low=-1.0, high=1.0)
        self.plot.x_range.update(start=-GAP, end=self._shown - GAP)
        self.pictures.data = {"image": list(scaled), "x": left}
        chosen = np.arange(self.count) == explanation.chosen
        self.frames.data = {
            "left": left, "right": left + 1,
            "colour": np.where(chosen, BRIGHT, LINE), "width": np.where(chosen, 4, 1),
        }  # fmt: skip
        names = [f"{k}, pursued" if on else f"{k}" for k, on in enumerate(chosen)]
        self.names.data = {"x": left + 0.5, "name": names}

    @property
    def _shown(self) -> float:
        """Its width in pictures: it holds all of them, and none is wider than tall."""
        tall = self.height - 30
        square = (self.width - 10) * (1.05 + NAMES) / tall
        return max(self.count * (1 + GAP) + GAP, square)


class LatentPlane:
    """Frames in the plane of the first two descriptors, over what these stand for.

    Args:
        on_region: called with the corners (n, 2) of a polygon.
        on_point: called with a place (first, second) that was dragged to, or tapped.

    Attributes:
        point: where the star is; None where there is none.
    """

    def __init__(
        self,
        on_region: Callable[[list[list[float]]], None],
        on_point: Callable[[tuple[float, float]], None],
        width: int = 345,
        height: int = PLANE_PX,
    ) -> None:
        self.point: tuple[float, float] | None = None
        self._pursued: Any = None
        self._followed: tuple[float, ...] | None = None
        self.plot = plain("plane",
            width, height, "", tools="lasso_select,box_select,wheel_zoom,pan,reset",
            x_range=Range1d(-1, 1), y_range=Range1d(-1, 1),
        )  # fmt: skip
        self.plot.xaxis.ticker.desired_num_ticks = 4
        self.tools = {
            LASSO: self.plot.select_one(LassoSelectTool), BOX: self.plot.select_one(BoxSelectTool)
        }  # fmt: skip
        self.decoded = ColumnDataSource({k: [] for k in ("image", "x", "y", "dw", "dh")})
        grey = LinearColorMapper(palette=GREYS, low=0, high=255)
        self.plot.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self.decoded, color_mapper=grey,
            global_alpha=0.8,
        )  # fmt: skip
        sides = ("left", "right", "bottom", "top")
        self.cells = ColumnDataSource({k: [] for k in sides})
        self.plot.quad(source=self.cells, fill_alpha=0, line_color=PAPER)
        self.cell = ColumnDataSource({k: [] for k in sides})
        self.plot.quad(source=self.cell, fill_alpha=0, line_color=BRIGHT, line_width=2)
        self.region = ColumnDataSource({"x": [], "y": []})
        self.plot.patch(
            "x", "y", source=self.region, fill_color=BRIGHT, fill_alpha=0.12, line_color=BRIGHT,
            line_width=2,
        )  # fmt: skip
        self.points = ColumnDataSource({"x": [], "y": [], "order": []})
        order = LinearColorMapper(palette=palettes.Viridis256)
        self.plot.scatter(
            "x", "y", source=self.points, size=7, line_color="white", line_width=0.7,
            fill_color={"field": "order", "transform": order},
        )  # fmt: skip
        self.latest = ColumnDataSource({"x": [], "y": []})
        self.plot.scatter(
            "x", "y", source=self.latest, size=14, fill_alpha=0, line_color=BRIGHT, line_width=2
        )
        self.star = ColumnDataSource({"x": [], "y": []})
        self.plot.scatter(
            "x", "y", source=self.star, size=19, marker="star", fill_color=BRIGHT,
            line_color="black",
        )  # fmt: skip
        self.choose_by(LASSO)

        def chosen(event: Any) -> None:
            if event.final and (corners := corners_of(event.geometry)):
                on_region(corners)

        def placed(event: Any) -> None:
            if self.plot.tags == [POINT] and event.x is not None:
                self.mark((float(event.x), float(event.y)))
                on_point((float(event.x), float(event.y)))

        def reset(_: Any) -> None:
            self._followed = None
            self._follow()

        self.plot.on_event(Reset, reset)
        self.plot.on_event(SelectionGeometry, chosen)
        self.plot.on_event(PanEnd, placed)
        self.plot.on_event(Tap, placed)
        given = {"plot": self.plot, "star": self.star, "cells": self.cells, "cell": self.cell}
        self.plot.js_on_event(Pan, CustomJS(args={**given, "way": POINT}, code=DRAGGED))

    def choose_by(self, way: str) -> None:
        """What dragging over it does: one of ``WAYS``."""
        self.plot.tags = [way]
        self.plot.toolbar.active_drag = self.tools.get(way)
        what = {LASSO: "Lasso", BOX: "Box", POINT: "Drag the star to"}[way]
        self.plot.title.text = f"{what} {'what' if way == POINT else 'a region'} to pursue"

    def mark(self, point: tuple[float, float] | None) -> None:
        """Put the star there, and a frame about the picture under it; None takes it away."""
        self.point = point
        x, y = ([], []) if point is None else ([point[0]], [point[1]])
        self.star.data = {"x": x, "y": y}
        self._frame()

    def _frame(self) -> None:
        """About the picture under the star."""
        of = {k: np.asarray(v, dtype=np.float64) for k, v in self.cells.data.items()}
        under = np.zeros(len(of["left"]), dtype=np.bool_)
        if self.point is not None:
            x, y = self.point
            under = (of["left"] <= x) & (x < of["right"]) & (of["bottom"] <= y) & (y < of["top"])
        self.cell.data = {k: v[under] for k, v in of.items()}

    def update(self, explanation: Explanation) -> None:
        """To what the frames so far were made into, what that stands for, and what is pursued."""
        of = explanation.descriptors
        if of is None or of.ndim != 2 or of.shape[1] < 2:
            return
        there = np.isfinite(of[:, :2]).all(axis=1)
        x, y = of[there, 0], of[there, 1]
        self.plot.xaxis.axis_label, self.plot.yaxis.axis_label = explanation.names[:2]
        if not len(x):
            return
        self._decode(explanation.manifold)
        some = thinned(len(x), SHOWN_POINTS)
        self.points.data = {"x": x[some], "y": y[some], "order": some}
        self._follow()
        self.latest.data = {"x": x[-1:], "y": y[-1:]}
        self._pursue(explanation.target)

    def _follow(self) -> None:
        """Show all frames, unless a person has zoomed or panned; again from a reset on."""
        across, along = self.plot.x_range, self.plot.y_range
        now = (across.start, across.end, along.start, along.end)
        x, y = (np.asarray(self.points.data[k]) for k in "xy")
        if self._followed not in (None, now) or not len(x):
            return
        for scale, values in ((across, x), (along, y)):
            low, high = float(values.min()), float(values.max())
            wide = scale.end - scale.start
            # As it was, while all are in it and fill it: else it would be laid out again and again.
            if self._followed is None or not (
                scale.start <= low and high <= scale.end and high - low > FILLED * wide
            ):
                margin = MARGIN * (high - low or 1.0)
                scale.update(start=low - margin, end=high + margin)
        self._followed = (across.start, across.end, along.start, along.end)

    def _decode(self, manifold: Manifold | None) -> None:
        if manifold is None:
            if len(self.cells.data["left"]):
                self.decoded.data = {k: [] for k in self.decoded.data}
                self.cells.data = {k: [] for k in self.cells.data}
            return
        half = [float(np.diff(a).mean()) / 2 for a in (manifold.second, manifold.first)]
        bottom, left = manifold.second - half[0], manifold.first - half[1]
        self.decoded.data = {
            "image": [tiled(manifold.pictures)], "x": left[:1], "y": bottom[:1],
            "dw": [2 * half[1] * len(left)], "dh": [2 * half[0] * len(bottom)],
        }  # fmt: skip
        below, aside = (a.ravel() for a in np.meshgrid(bottom, left, indexing="ij"))
        self.cells.data = {
            "left": aside, "right": aside + 2 * half[1], "bottom": below, "top": below + 2 * half[0]
        }  # fmt: skip

    def _pursue(self, target: Any) -> None:
        """Show a target that lies in the plane."""
        shape = target if isinstance(target, dict) else {}
        corners = np.asarray(shape.get("region", np.empty((0, 2))), dtype=np.float64)
        self.region.data = {"x": corners[:, 0], "y": corners[:, 1]}
        point = shape.get("point", ())
        if target != self._pursued:  # else the star stays: a person may be dragging it
            self.mark((point[0], point[1]) if len(point) == 2 else None)
        self._pursued = target
        self._frame()


def corners_of(geometry: dict[str, Any]) -> list[list[float]] | None:
    """The corners (n, 2) of what was drawn with a lasso or a box; None of anything else."""
    if geometry["type"] == "poly" and len(geometry["x"]) > 2:
        return [list(pair) for pair in zip(geometry["x"], geometry["y"], strict=True)]
    if geometry["type"] == "rect":
        x0, x1, y0, y1 = (float(geometry[k]) for k in ("x0", "x1", "y0", "y1"))
        return [[x0, y0], [x0, y1], [x1, y1], [x1, y0]]
    return None


def tiled(pictures: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures (rows, columns, height, width) side by side, upright where the plane's y is up."""
    rows, columns, height, width = pictures.shape
    upright = pictures[:, :, ::-1].transpose(0, 2, 1, 3)
    return shades(upright.reshape(rows * height, columns * width).astype(np.float32))
