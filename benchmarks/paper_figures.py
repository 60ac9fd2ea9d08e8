"""A figure for each picture, in the paper's style: true map, belief, uncertainty, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from ..views import style
from .figures import LINES
from .paper import LAST, Place
from .paper_verdicts import COLLECTED, PUBLISHED
from .pictures import SIDE, Picture
from .protocol import SHOWN, Floats, Trace, measured_of, restored
from .tables import Rows
from .workflows import Setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 1.12  # inches of a map
QUARTILES = (25, 50, 75)
Curves = Mapping[str, Sequence[Sequence[float]]]


def picture_figure(
    picture: Picture,
    shown: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    settings: Mapping[str, Setting],
) -> Figure:
    """A row of maps for each workflow, and the curves of all below.

    Args:
        picture: that was scanned.
        shown: by label the record whose maps are drawn.
        curves: by label its ``ssim`` and ``collected`` of all seeds, against steps.
        settings: by label.
    """
    width = CELL * (1 + 2 * len(SHOWN)) + 1.0
    heights = [CELL * max(1, len(shown)) + 0.5, 3.1]  # all runs may have failed
    with style.figure(width, sum(heights)) as fig:
        above, below = fig.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        grid = above.subplots(max(1, len(shown)), 1 + 2 * len(SHOWN), squeeze=False)
        for row, (label, record) in zip(grid, shown.items(), strict=False):
            _maps(row, picture, Trace(**record["trace"]), settings[label].oracle_descriptors)
            row[0].set_ylabel(fill(label, 14), fontsize=8)
        for axes, title in zip(grid[0], _titles(), strict=True):
            axes.set_title(title, fontsize=8)
        whole, similarity, collected = below.subplots(1, 3)
        _whole(whole, picture)
        drawn = lines_of({label: settings[label] for label in curves})
        for axes, name, title in (
            (similarity, "ssim", "SSIM of belief and true map"),
            (collected, "collected", "feature pixels collected"),
        ):
            for label, of in curves.items():
                _band(axes, of[name], label, *drawn[label])
            axes.set(title=title, xlabel="step", ylim=(0, 1.03), xlim=(0, LAST + 1))
            axes.grid(axis="y", lw=0.4, color="0.88")
        if picture.name == "nio":
            _published(similarity, collected, {s.perception for s in settings.values()})
        handles, names = similarity.get_legend_handles_labels()
        below.legend(handles, names, loc="outside lower left", ncols=4, frameon=False, fontsize=7)
    return fig


def _titles() -> list[str]:
    return ["true map", *(f"belief, {n}" for n in SHOWN), *(f"σ, {n}" for n in SHOWN)]


def _maps(row: Sequence[Axes], picture: Picture, trace: Trace, same_units: bool) -> None:
    """True map, beliefs with what had been measured by then over them, uncertainties."""
    truth = np.array(trace.truth)
    measured, upto = measured_of(picture, trace), np.cumsum(trace.taken)
    # Online beliefs are in units of their own, and shown over their own range.
    of_truth = {"vmin": truth.min(), "vmax": truth.max()} if same_units and len(truth) else {}
    if len(truth):
        row[0].imshow(truth.reshape(SIDE, SIDE), cmap=style.BELIEF)
    for k, step in enumerate(SHOWN):
        if step <= len(trace.means):
            mean = restored(trace.means[step - 1]).reshape(SIDE, SIDE)
            row[1 + k].imshow(mean, cmap=style.BELIEF, **of_truth)
            y, x = np.divmod(measured[: upto[step - 1]], SIDE)
            row[1 + k].scatter(x, y, s=2.0, c=np.arange(len(x)), cmap=style.ORDER, lw=0)
        if str(step) in trace.sigmas:
            sigma = restored(trace.sigmas[str(step)]).reshape(SIDE, SIDE)
            row[1 + len(SHOWN) + k].imshow(sigma, cmap=style.UNCERTAINTY)
    for axes in row:
        axes.set_xticks([])
        axes.set_yticks([])


def _whole(axes: Axes, picture: Picture) -> None:
    half = picture.side_nm / 2
    image = picture.image[::2, ::2]  # nobody tells the difference, and a page is smaller
    axes.imshow(image, cmap=style.MICROGRAPH, extent=(-half, half, half, -half))
    if picture.truth is not None:
        y, x = picture.truth.feature_yx_nm.T
        axes.plot(x, y, "o", ms=3, mfc="none", mec="#e69f00", mew=0.7)
    axes.set_title(picture.name)
    axes.set_xticks([])
    axes.set_yticks([])
    style.scale_bar(axes, picture.side_nm)


def quartiles(runs: Sequence[Sequence[float]]) -> tuple[Floats, Floats]:
    """Steps (n,), from 1, and lower quartile, median and upper one (3, n) over the runs.

    As far as the shortest run goes.
    """
    count = min((len(r) for r in runs), default=0)
    if not count:
        return np.zeros(0), np.zeros((3, 0))
    every = np.array([r[:count] for r in runs], dtype=np.float64)
    return np.arange(1.0, count + 1), np.asarray(np.percentile(every, QUARTILES, axis=0))


def lines_of(settings: Mapping[str, Setting]) -> dict[str, tuple[str, str]]:
    """By label the colour and the dashes of its line.

    A perception has one colour, whole where it was fitted on all windows and dashed online;
    what runs on some pictures alone has colours of its own, and dots.
    """
    found, colours = {}, iter(LINES * (1 + len(settings)))
    of_perception: dict[str, str] = {}
    for label, of in settings.items():
        if of.pictures is not None:
            continue
        if of.perception not in of_perception:
            of_perception[of.perception] = next(colours)
        found[label] = (of_perception[of.perception], "-" if of.oracle_descriptors else "--")
    for label in settings:
        if label not in found:
            found[label] = (next(colours), ":")
    return found


def _band(
    axes: Axes, runs: Sequence[Sequence[float]], label: str, colour: str, dashes: str
) -> None:
    steps, (low, middle, high) = quartiles(runs)
    axes.plot(steps, middle, color=colour, lw=1.4, ls=dashes, label=label)
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, lw=0)


def _published(similarity: Axes, collected: Axes, perceptions: set[str]) -> None:
    marks = {"linear": "o", "rvae": "s"}
    for perception in sorted(perceptions & set(PUBLISHED)):
        of = PUBLISHED[perception]
        mark: dict[str, Any] = {
            "marker": marks[perception],
            "ls": "",
            "mfc": "none",
            "mec": "black",
            "ms": 5,
        }
        similarity.plot(list(of), list(of.values()), label=f"published, {perception}", **mark)
        if perception in COLLECTED:
            collected.plot([LAST], [COLLECTED[perception]], **mark)


def curves_of(
    runs: Mapping[Place, Mapping[int, Any]], picture: str
) -> dict[str, dict[str, list[list[float]]]]:
    """By label ``ssim`` by step, and ``collected`` after the batch of that step, of each seed."""
    found: dict[str, dict[str, list[list[float]]]] = {}
    for (of, label), records in runs.items():
        if of != picture:
            continue
        curves = [r["scores"]["curve"] for r in records.values()]
        found[label] = {
            "ssim": [c["ssim"] for c in curves],
            "collected": [c["collected"][1:] for c in curves if c["collected"]],
        }
    return found


def rows_of_curves(curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]]) -> Rows:
    """What the curves show, as rows."""
    rows: Rows = []
    for label, of in curves.items():
        for name, runs in of.items():
            steps, parts = quartiles(runs)
            rows += [
                {"workflow": label, "score": name, "step": int(n), "low": a, "median": b, "high": c}
                for n, (a, b, c) in zip(steps.tolist(), parts.T.tolist(), strict=True)
            ]
    return rows
