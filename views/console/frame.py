"""The latest frame, what is seen in it, and the frames that are most like it."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import numpy as np
from bokeh.models import ColumnDataSource, LinearColorMapper, Range1d
from numpy.typing import NDArray

from ...agents.agent import ClassMap, Explanation, Finding
from ...agents.experiment import Step
from ...hardware.coordinates import pixel_from_specimen
from .. import style
from .plots import CLEAR, DIM, GREYS, INK, Marks, add_scale_bar, plain, shades
from .session import Shown

AREAS = ("#93a3b5", "#5b6675")  # contamination, particles and the like: grey, whatever else is not
FEATURE = "#ffffff"
SEEN_THROUGH = 0.5
LIKE = 5  # frames that are shown as the most alike
LARGEST_PX = 64  # of their pictures
GLYPHS = {"circle": "○", "square": "□", "diamond": "◇", "triangle": "△"}


class LatestFrame:
    """The latest frame, what is claimed in it, and what a network sees in it.

    Args:
        marks: of the classes.
        side_px: of the picture.

    Attributes:
        legend: its number and size, and what the colours and markers over it mean, as HTML.
    """

    def __init__(self, marks: Marks, side_px: int = 254) -> None:
        self.marks, self.legend = marks, ""
        self.plot = plain("frame",
            side_px, side_px, "The latest frame", x_range=Range1d(0, 1), y_range=Range1d(1, 0),
            tools="",
        )  # fmt: skip
        self.plot.axis.visible = False
        self.image = ColumnDataSource({"image": [], "dw": [], "dh": []})
        grey = LinearColorMapper(palette=GREYS, low=0, high=255)
        self.plot.image("image", x=0, y=0, dw="dw", dh="dh", source=self.image, color_mapper=grey)
        self.classes = ColumnDataSource({"image": [], "dw": [], "dh": []})
        self.colours = LinearColorMapper(palette=["#000000"], low=0.5, high=1.5, low_color=CLEAR)
        self.plot.image(
            "image", x=0, y=0, dw="dw", dh="dh", source=self.classes,
            color_mapper=self.colours, global_alpha=SEEN_THROUGH,
        )  # fmt: skip
        self.lines = ColumnDataSource({"xs": [], "ys": [], "colour": []})
        self.plot.multi_line("xs", "ys", source=self.lines, line_color="colour", line_width=2.5)
        self.claims = ColumnDataSource({k: [] for k in ("x", "y", "colour", "marker")})
        self.plot.scatter(
            "x", "y", source=self.claims, size=13, fill_alpha=0, line_width=2.5,
            line_color="colour", marker="marker",
        )  # fmt: skip
        add_scale_bar(self.plot)

    def update(
        self,
        shown: Shown,
        display: NDArray[np.float32] | None,
        findings: bool = True,
        segmentation: bool = False,
    ) -> None:
        """To the latest, in readings for display, with what is wanted over it."""
        step = shown.latest
        if step is None or display is None:
            return
        rows, columns = display.shape
        height, width = step.frame.region.fov_yx_nm
        self.plot.x_range.update(start=0, end=width)
        self.plot.y_range.update(start=height, end=0)
        self.image.data = {"image": [shades(display)], "dw": [width], "dh": [height]}
        told = self._segment(step, shown.segmented if segmentation else None)
        claimed = self._mark(step, shown if findings else None, (rows, columns))
        # Not in the plot's title: with every new one a browser lays the whole plot out anew.
        head = f"<div>frame {step.index + 1}<br>{width:.3g} x {height:.3g} nm</div>"
        self.legend = "".join([head, *claimed, *told])
        if segmentation and shown.segmented is None:
            self.legend += "<div>there is no network to tell</div>"

    def _segment(self, step: Step, told: ClassMap | None) -> list[str]:
        """Lay the classes over it; a line for each that is there."""
        if told is None:
            self.classes.data = {"image": [], "dw": [], "dh": []}
            return []
        there = [k for k in np.unique(told.values).tolist() if k]
        colours = class_colours(told)
        self.colours.update(palette=colours, high=len(colours) + 0.5)
        height, width = step.frame.region.fov_yx_nm
        scanned = height * step.frame.valid_rows / step.frame.request.shape_yx[0]
        self.classes.data = {"image": [told.values], "dw": [width], "dh": [scanned]}
        return [_line("■", colours[k - 1], told.names[k - 1]) for k in there]

    def _mark(self, step: Step, shown: Shown | None, shape_yx: tuple[int, int]) -> list[str]:
        """Mark what is claimed within it; a line for each class with how often."""
        found: list[tuple[float, float, str, str]] = []
        legend = []
        scale = np.asarray(step.frame.region.fov_yx_nm) / shape_yx
        for label, places in sorted(({} if shown is None else shown.findings).items()):
            pixels = pixel_from_specimen(step.frame, places)
            inside = ((pixels > -0.5) & (pixels < np.array(shape_yx) - 0.5)).all(axis=1)
            colour, marker = self.marks.of(label)
            found += [(x, y, colour, marker) for y, x in (pixels[inside] + 0.5) * scale]
            if inside.any():
                legend.append(_line(GLYPHS[marker], colour, f"{label} ({inside.sum()})"))
        names = ("x", "y", "colour", "marker")
        columns = zip(*found, strict=True) if found else ((),) * 4
        self.claims.data = {k: list(v) for k, v in zip(names, columns, strict=True)}
        own = [] if shown is None else extended(step)
        paths = [(f.points_px + 0.5) * scale for f in own]
        self.lines.data = {
            "xs": [p[:, 1] for p in paths],
            "ys": [p[:, 0] for p in paths],
            "colour": [self.marks.of(f.label)[0] for f in own],
        }
        return legend


class Neighbours:
    """The frames whose descriptors are nearest to those of the latest that has some."""

    def __init__(self, width: int = 345, height: int = 98) -> None:
        self.plot = plain("neighbours",
            width, height, "", x_range=Range1d(-0.04, LIKE * 1.08), y_range=Range1d(1.32, -0.42),
            tools="",
        )  # fmt: skip
        self.title = ColumnDataSource({"text": []})
        self.plot.text(
            0, -0.06, text="text", source=self.title, text_color=INK, text_font_size="12px",
            text_font_style="bold",
        )  # fmt: skip
        self.plot.axis.visible, self.plot.frame_align = False, False
        self.plot.outline_line_color = None
        self.pictures = ColumnDataSource({"image": [], "x": [], "name": [], "middle": []})
        grey = LinearColorMapper(palette=GREYS, low=0, high=255)
        self.plot.image("image", x="x", y=0, dw=1, dh=1, source=self.pictures, color_mapper=grey)
        self.plot.text(
            "middle", 1.3, text="name", source=self.pictures, text_align="center",
            text_color=INK, text_font_size="11px",
        )  # fmt: skip

    def update(
        self, explanation: Explanation, displays: Callable[[int], NDArray[np.float32]]
    ) -> None:
        """To an explanation.

        Args:
            explanation: has the descriptors.
            displays: called with a frame's number, gives its readings for display.
        """
        frame, near = nearest(explanation)
        if frame is None:
            return
        self.title.data = {"text": [f"Most like frame {frame + 1} by descriptors"]}
        left = np.arange(len(near)) * 1.08
        self.pictures.data = {
            "image": [shades(_small(displays(k))) for k in near],
            "x": left,
            "middle": left + 0.5,
            "name": [f"{k + 1}" for k in near],
        }


def nearest(explanation: Explanation, count: int = LIKE) -> tuple[int | None, list[int]]:
    """The latest frame that has descriptors, and those nearest to it, the nearest first.

    By their distance, each descriptor in its standard deviation over the frames.
    """
    of, frames = explanation.descriptors, np.asarray(explanation.frames, dtype=np.int64)
    if of is None:
        return None, []
    there = np.isfinite(of).all(axis=1)
    of, frames = of[there], frames[there]
    if len(of) < 2:
        return None, []
    spread = of.std(axis=0)
    apart = (of[:-1] - of[-1]) / np.where(spread > 0, spread, np.inf)
    order = np.argsort(np.linalg.norm(apart, axis=1), kind="stable")[:count]
    return int(frames[-1]), [int(frames[k]) for k in order]


def class_colours(told: ClassMap) -> list[str]:
    """Of what can be told: columns in colours, areas in greys, and features, which are rare, white.

    There are more classes than colours that everybody tells apart; which feature it is the marker
    of its claim says.
    """
    palettes = {"column": style.CLASS_COLOURS, "area": AREAS, "feature": (FEATURE,)}
    number = dict.fromkeys(palettes, 0)
    colours = []
    for kind in told.kinds:
        colours.append(palettes[kind][number[kind] % len(palettes[kind])])
        number[kind] += 1
    return colours


def extended(step: Step) -> list[Finding]:
    """Lines and outlines that were claimed in a step's own frame."""
    return [f for f in step.findings if f.frame == step.index and len(f.points_px) > 1]


def _small(display: NDArray[np.float32]) -> NDArray[np.float32]:
    every = max(1, -(-max(display.shape) // LARGEST_PX))
    return display[::every, ::every]


def _line(glyph: str, colour: str, text: str) -> str:
    return (
        f"<div style='line-height:1.25'><span style='color:{colour}'>{glyph}</span> "
        f"<span style='color:{DIM}'>{escape(text)}</span></div>"
    )
