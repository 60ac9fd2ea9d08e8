"""The map and the discovery curve on the console's page, and what its plots have in common.

Each plot holds its sources, and takes what is shown.
Positions are nm on the specimen, rows down, as everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import numpy as np
from bokeh import palettes
from bokeh.events import SelectionGeometry, Tap
from bokeh.models import (
    ColumnDataSource,
    CrosshairTool,
    LinearColorMapper,
    MetricLength,
    Range1d,
    ScaleBar,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from ...agents.agent import FieldMap
from ...agents.experiment import Step
from ...hardware.coordinates import footprint
from ...hardware.microscope import YX, ScanRequest, State
from .. import style
from .session import Session, Shown

Floats = NDArray[np.float64]
INK, DIM, PAPER, LINE, BRIGHT = "#d5dbe3", "#93a3b5", "#14171c", "#667180", "#f5c542"
NO_LAYER, DOSE = "none", "dose (e/Å²)"
GREYS = (style.UNSEEN, *palettes.gray(255))
MARKERS = {"o": "circle", "s": "square", "D": "diamond", "^": "triangle"}
SHOWN_PATH = 500  # footprints that are drawn: the latest
SHOWN_CURVE = 400  # points of the discovery curve
LAYER, CLEAR = palettes.viridis(255), (0, 0, 0, 0)


def add_scale_bar(plot: Any) -> None:
    """Over a plot whose axes are in nm."""
    bar = ScaleBar(
        range=plot.x_range, unit="nm", dimensional=MetricLength(),
        location="bottom_left", background_fill_color=PAPER, background_fill_alpha=0.7,
        label_text_color="white", bar_line_color="white", border_line_color=None,
    )  # fmt: skip
    plot.add_layout(bar)


def plain(name: str, width: int, height: int, title: str, **options: Any) -> Any:
    """A figure in the console's colours, dark for the microscope's room."""
    made = figure(name=name, width=width, height=height, title=title, **options)
    made.background_fill_color = made.border_fill_color = PAPER
    made.outline_line_color = LINE
    made.title.text_color, made.title.text_font_size = INK, "12px"
    made.toolbar.logo, made.toolbar.autohide = None, True
    made.grid.grid_line_color = None
    made.min_border_right, made.min_border_top = 8, 4
    for axis in made.axis:
        axis.axis_label_text_color = axis.major_label_text_color = INK
        axis.axis_line_color = axis.major_tick_line_color = LINE
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "11px"
    return made


class Marks:
    """Which colour and marker stand for which class, the same all over a page and a report.

    Args:
        names: of the classes, in their order, as far as they are known beforehand.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = list(names)

    def of(self, label: str) -> tuple[str, str]:
        """Colour, and Bokeh's name of a marker."""
        if label not in self._names:
            self._names.append(label)
        colour, marker = style.mark_of(self._names.index(label))
        return colour, MARKERS[marker]


class SpecimenMap:
    """All that was seen at true scale, the way there, what comes next, and what is claimed.

    Args:
        session: is shown.
        marks: of the classes.
        on_point: called with a place (y, x) that was tapped.
        on_box: called with the corners of a box that was drawn.

    Attributes:
        scale: what the colours of the layer over it stand for, as HTML.
    """

    def __init__(
        self,
        session: Session,
        marks: Marks,
        on_point: Callable[[YX], None],
        on_box: Callable[[tuple[YX, YX]], None],
        side_px: int = 540,
    ) -> None:
        self.session, self.marks = session, marks
        self._findings, self.scale = True, ""
        height, width = session.field_yx_nm
        tall = round(side_px * min(1.3, height / width))
        self.plot = plain(
            "map",
            side_px,
            tall,
            "The specimen as it was seen",
            x_range=Range1d(-width / 2, width / 2),
            y_range=Range1d(height / 2, -height / 2),
            tools="pan,box_select,tap,reset,save",
            x_axis_label="x (nm)",
            y_axis_label="y (nm)",
            match_aspect=True,
        )
        self.plot.add_tools(WheelZoomTool(), CrosshairTool(line_color=LINE))
        self.plot.toolbar.active_scroll = self.plot.select_one(WheelZoomTool)
        self.plot.toolbar.active_drag = None
        self.plot.background_fill_color = style.UNSEEN
        whole = {"x": -width / 2, "y": -height / 2, "dw": width, "dh": height}
        self.image = ColumnDataSource({"image": [np.zeros((1, 1), dtype=np.uint8)]})
        grey = LinearColorMapper(palette=GREYS, low=0, high=255)
        self.plot.image("image", source=self.image, color_mapper=grey, **whole)
        self.layer = ColumnDataSource({k: [] for k in ("image", "x", "y", "dw", "dh")})
        colours = LinearColorMapper(palette=LAYER, low=0.5, high=255.5, low_color=CLEAR)
        self.plot.image(
            "image", x="x", y="y", dw="dw", dh="dh", source=self.layer, color_mapper=colours,
            global_alpha=0.6,
        )  # fmt: skip
        self.boxes = ColumnDataSource({"x": [], "y": []})
        frames = self.plot.line("x", "y", source=self.boxes, line_color="#8aa0b8", line_width=0.7)
        self.way = ColumnDataSource({"x": [], "y": []})
        way = self.plot.line("x", "y", source=self.way, line_color="white", line_alpha=0.35)
        self.path = (frames, way)
        self.refused = ColumnDataSource({k: [] for k in ("left", "right", "top", "bottom")})
        self.plot.quad(
            source=self.refused, fill_color="#d55e00", fill_alpha=0.15, hatch_pattern="/",
            hatch_color="#d55e00", hatch_alpha=0.7, line_color="#d55e00",
        )  # fmt: skip
        self.claims: dict[str, ColumnDataSource] = {}
        self.claimed: list[Any] = []  # what draws them
        self.next = ColumnDataSource({"xs": [], "ys": []})
        self.plot.patches(
            "xs", "ys", source=self.next, fill_color=BRIGHT, fill_alpha=0.12, line_color=BRIGHT,
            line_width=2.5,
        )  # fmt: skip
        add_scale_bar(self.plot)

        def boxed(event: Any) -> None:
            shape = event.geometry
            if event.final and shape["type"] == "rect":
                on_box(((shape["y0"], shape["x0"]), (shape["y1"], shape["x1"])))

        self.plot.on_event(Tap, lambda event: on_point((event.y, event.x)))
        self.plot.on_event(SelectionGeometry, boxed)

    def layers(self, shown: Shown) -> list[str]:
        """Names of the maps that can be laid over it."""
        return [NO_LAYER, *shown.explanation.maps, DOSE]

    def update(self, shown: Shown, layer: str) -> None:
        """To the frames so far, with a layer by its name over it; not to what comes next."""
        mosaic = self.session.mosaic()
        if mosaic is not None:
            self.image.data = {"image": [shades(mosaic)]}
        self._lay(shown, layer)
        boxes = shown.footprints_yx_nm[-SHOWN_PATH:]
        lines = outlines(boxes)
        self.boxes.data = {"x": lines[:, 1], "y": lines[:, 0]}
        centres = boxes.mean(axis=1)
        self.way.data = {"x": centres[:, 1], "y": centres[:, 0]}
        for label, places in sorted(shown.findings.items()):
            if label not in self.claims:
                self._claim(label)
            self.claims[label].data = {"x": places[:, 1], "y": places[:, 0]}
        for label in self.claims.keys() - shown.findings.keys():
            self.claims[label].data = {"x": [], "y": []}

    def show(self, path: bool, findings: bool) -> None:
        """Whether the frames' path and the claims are drawn."""
        self._findings = findings
        for drawn in self.path:
            drawn.visible = path
        for drawn in self.claimed:
            drawn.visible = findings

    def point_out(self, shown: Shown) -> None:
        """What comes next, and what is refused."""
        proposal = None if shown.over else shown.proposal
        at = np.empty((0, 4, 2))
        if proposal is not None:
            at = outline(proposal.request, shown.latest)[None]
        self.next.data = {"xs": list(at[..., 1]), "ys": list(at[..., 0])}
        low = np.array([np.min(r, axis=0) for r in shown.forbidden]).reshape(-1, 2)
        high = np.array([np.max(r, axis=0) for r in shown.forbidden]).reshape(-1, 2)
        self.refused.data = {
            "left": low[:, 1], "right": high[:, 1], "top": low[:, 0], "bottom": high[:, 0]
        }  # fmt: skip

    def _claim(self, label: str) -> None:
        colour, marker = self.marks.of(label)
        self.claims[label] = ColumnDataSource({"x": [], "y": []})
        drawn = self.plot.scatter(
            "x", "y", source=self.claims[label], size=9, fill_alpha=0, line_width=2,
            line_color=colour, marker=marker, legend_label=label,
        )  # fmt: skip
        drawn.visible = self._findings
        self.claimed.append(drawn)
        legend = self.plot.legend
        legend.background_fill_color, legend.background_fill_alpha = PAPER, 0.7
        legend.label_text_color, legend.label_text_font_size = INK, "11px"
        legend.border_line_color, legend.click_policy = None, "hide"
        legend.padding, legend.spacing, legend.location = 4, 0, "top_right"

    def _lay(self, shown: Shown, layer: str) -> None:
        field = shown.explanation.maps.get(layer)
        height, width = self.session.field_yx_nm
        if layer == DOSE and (dose := self.session.dose()) is not None:
            values, place = dose, (-width / 2, -height / 2, width, height)
            values, title = np.where(dose > 0, dose, np.nan), DOSE
        elif field is not None:
            values, place = field.values.astype(np.float32), extent(field)
            title = f"{layer} ({field.unit})" if field.unit else layer
        else:
            self.layer.data = {k: [] for k in self.layer.data}
            self.scale = ""
            return
        there = values[np.isfinite(values)]
        low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 1.0)
        high = max(high, low + 1e-12)
        self.scale = scale(title, low, high)
        x, y, dw, dh = place
        shown_as = in_bytes(values, low, high)
        self.layer.data = {"image": [shown_as], "x": [x], "y": [y], "dw": [dw], "dh": [dh]}


class Discovery:
    """Share of the features seen against charge; without truth, charge against frames."""

    def __init__(self, width: int = 340, height: int = 180) -> None:
        self.plot = plain("discovery",
            width, height, "Discovery", tools="", x_axis_label="charge (rasters)",
            y_axis_label="seen", x_range=Range1d(0, 1), y_range=Range1d(0, 1.02),
        )  # fmt: skip
        self.curve = ColumnDataSource({"x": [], "y": []})
        self.plot.step(
            "x", "y", source=self.curve, mode="after", line_color="#56b4e9", line_width=2
        )
        self.plot.line([0, 1], [0, 1], line_color=DIM, line_dash="dotted")

    def update(self, shown: Shown) -> None:
        """To the curve so far."""
        if np.isfinite(shown.budget):
            self.plot.x_range.update(end=max(shown.budget, 1e-6))
        if shown.fraction is None:
            if shown.frames:
                self.plot.title.text = "Discovery: the truth is not known"
            return
        some = thinned(shown.frames, SHOWN_CURVE)
        x, y = (np.concatenate([[0.0], along[some]]) for along in (shown.charge, shown.recall))
        self.curve.data = {"x": x, "y": y}


def shades(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Readings as 1 (black) to 255 (white) between their percentiles; 0 for what was not seen."""
    there = values[np.isfinite(values)]
    low, high = np.percentile(there, [0.5, 99.8]) if len(there) else (0.0, 1.0)
    return in_bytes(values, float(low), max(float(high), float(low) + 1e-9))


def scale(title: str, low: float, high: float) -> str:
    """Of a layer: its colours from the least to the greatest value, as HTML."""
    colours = ", ".join(palettes.viridis(9))
    bar = f"background:linear-gradient(to right, {colours})"
    return (
        f"<span style='color:{DIM}'>{escape(title)}</span> {low:.3g} "
        f"<span style='display:inline-block;width:140px;height:9px;{bar}'></span> {high:.3g}"
    )


def in_bytes(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values between low and high as 1 to 255, those beyond as the ends; 0 for no number."""
    there = np.isfinite(values)
    scaled = (np.where(there, values, low) - low) / (high - low)
    return np.where(there, 1 + 254 * np.clip(scaled, 0.0, 1.0), 0).astype(np.uint8)


def outlines(boxes: Floats) -> NDArray[np.float32]:
    """Boxes (n, 4, 2) as one line (6 n, 2) with gaps: one for each would be much to send."""
    gaps = np.full((len(boxes), 1, 2), np.nan)
    return np.concatenate([boxes, boxes[:, :1], gaps], axis=1).reshape(-1, 2).astype(np.float32)


def thinned(count: int, most: int) -> NDArray[np.int64]:
    """Evenly chosen numbers below ``count``, at most about so many, the last one among them."""
    every = max(1, -(-count // most))
    return np.arange(count - 1, -1, -every)[::-1]


def extent(field: FieldMap) -> tuple[float, float, float, float]:
    """x, y, width and height of a map, half a step beyond its outer positions."""
    step = [np.diff(a).min() if len(a) > 1 else 1.0 for a in (field.y_nm, field.x_nm)]
    y, x = field.y_nm[0] - step[0] / 2, field.x_nm[0] - step[1] / 2
    return x, y, np.ptp(field.x_nm) + step[1], np.ptp(field.y_nm) + step[0]


def outline(request: ScanRequest, latest: Step | None) -> Floats:
    """The corners (4, 2) of a request on the specimen, as stage and beam shift are now."""
    return footprint(request.region, State() if latest is None else latest.frame.state)
