"""The figures of a benchmark's report: plain data in, a matplotlib figure out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..views import style
from .leaderboard import Condition, Entry
from .statistics import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
# Okabe and Ito's, without the yellow, which is too faint for a line.
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a7a7a")
DASHES = ("-", "--", ":")
BAR = 0.42  # inches of an agent's row
ABREAST = 4  # names of lines


def colour_of(agent: str, agents: Sequence[str]) -> dict[str, Any]:
    """Colour and dash of an agent's line, the same in all figures."""
    n = list(agents).index(agent)
    return {"color": LINES[n % len(LINES)], "ls": DASHES[n // len(LINES) % len(DASHES)]}


def name_of(environment: str) -> str:
    """An id without namespace and version."""
    return environment.split("/")[-1].rsplit("-", 1)[0]


def title_of(condition: Condition) -> str:
    """A condition in words."""
    environment, difficulty, variant = condition
    of = f"{name_of(environment)}, {difficulty}"
    return of + ("" if variant == "as is" else f", {variant}")


def positions(entries: Sequence[Entry], agents: Sequence[str]) -> Figure:
    """Where every agent stands between random and oracle, with its interval."""
    told = [(e, e.position) for e in entries if e.position is not None]
    with style.figure(7.4, 0.9 + BAR * len(told)) as fig:
        axes = fig.subplots()
        for row, (entry, of) in enumerate(told):
            colour = colour_of(entry.agent, agents)["color"]
            axes.plot([of.low, of.high], [row, row], color=colour, lw=6, alpha=0.3)
            axes.plot(of.value, row, "o", color=colour, ms=7)
            axes.annotate(
                f"{round(float(of.value), 2) + 0.0:.2f}",
                (np.fmax(of.high, of.value), row),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
        for at in (0.0, 1.0):
            axes.axvline(at, color="0.6", lw=0.8, zorder=0)
        axes.set_yticks(range(len(told)), [e.agent for e, _ in told])
        axes.set_ylim(len(told) - 0.5, -0.5)
        axes.margins(x=0.12)
        axes.set_xlabel("position: 0 as good as random frames, 1 as the oracle")
    return fig


def discovery(
    curves: Mapping[Condition, Mapping[str, tuple[Floats, Floats]]],
    agents: Sequence[str],
    against: str,
    same: bool,
) -> Figure:
    """Share of the features seen ``against`` something, a panel for each condition.

    With ``same``, all run over the same of it.
    """
    across = min(2, len(curves))
    down = -(-len(curves) // across)
    with style.figure(4.4 * across, 2.7 * down + 0.3 + _names(agents)) as fig:
        panels = np.atleast_1d(fig.subplots(down, across, sharex=same, sharey=True)).ravel()
        for axes, (condition, of) in zip(panels, curves.items(), strict=False):
            for agent, (at, share) in of.items():
                axes.plot(at, share, lw=1.6, label=agent, **colour_of(agent, agents))
            axes.set_title(title_of(condition))
            axes.set_ylim(0, 1.02)
            axes.set_xlim(0, max(at[-1] for at, _ in of.values()))
            axes.locator_params(axis="x", nbins=6)
            axes.grid(axis="y", lw=0.4, color="0.88")
        for axes in panels[len(curves) :]:
            axes.set_visible(False)
        for axes in panels[::across][:down]:
            axes.set_ylabel("share seen")
        for axes in panels[max(0, len(curves) - across) : len(curves)]:
            axes.set_xlabel(against)
            axes.tick_params(labelbottom=True)
        _name_lines(fig, panels[0])
    return fig


def _names(agents: Sequence[str]) -> float:
    """Inches of the names below a figure."""
    return 0.2 * -(-len(agents) // ABREAST)


def _name_lines(fig: Figure, axes: Axes) -> None:
    """Below the figure, where there is room for any number of them."""
    handles, names = axes.get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower left", ncols=ABREAST, frameon=False, fontsize=8)


def profiles(thresholds: Floats, shares: Mapping[str, Interval], agents: Sequence[str]) -> Figure:
    """Performance profiles: the share of the runs that score more than a threshold."""
    with style.figure(6.4, 3.4 + _names(agents)) as fig:
        axes = fig.subplots()
        for agent, of in shares.items():
            line = colour_of(agent, agents)
            axes.plot(thresholds, of.value, lw=1.6, label=agent, **line)
            axes.fill_between(thresholds, of.low, of.high, color=line["color"], alpha=0.15, lw=0)
        axes.set(
            xlabel="area under the discovery curve",
            ylabel="share of the runs above it",
            xlim=(0, 1),
            ylim=(0, 1.02),
        )
        axes.grid(axis="y", lw=0.4, color="0.88")
        _name_lines(fig, axes)
    return fig


def improvement(probability: Floats, agents: Sequence[str]) -> Figure:
    """How often the agent of a row beats that of a column on the same specimen."""
    side = 1.9 + 0.62 * len(agents)
    with style.figure(side + 1.0, side) as fig:
        axes = fig.subplots()
        shown = axes.imshow(probability, vmin=0, vmax=1, cmap="RdBu_r")
        for i, j in np.ndindex(probability.shape):
            if i != j:
                value = probability[i, j]
                ink = "white" if abs(value - 0.5) > 0.3 else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color=ink)
        axes.set_xticks(range(len(agents)), agents, rotation=40, ha="right")
        axes.set_yticks(range(len(agents)), agents)
        axes.set_ylabel("scores higher")
        axes.set_xlabel("than")
        axes.tick_params(length=0)
        style.colour_bar(fig, shown, axes, "probability")
    return fig


def matrix(
    panels: Mapping[str, Floats], navigators: Sequence[str], perceptions: Sequence[str]
) -> Figure:
    """Scores (navigators, perceptions) as heat maps side by side; NaN is not applicable.

    Colours go with the square root, or beside the oracle's row all others would be alike.
    """
    side = 0.72
    width = 1.3 + len(panels) * (0.5 + side * len(perceptions))
    with style.figure(width, 1.6 + 0.5 * len(navigators)) as fig:
        for axes, (title, of) in zip(
            fig.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels.items(), strict=True
        ):
            told = np.isfinite(of)
            highest = max(float(of[told].max()) if told.any() else 0.0, 1e-9)
            axes.set_facecolor("0.93")
            depth = np.sqrt(np.clip(of, 0, None) / highest)
            axes.imshow(np.ma.masked_invalid(depth), vmin=0, vmax=1, cmap="Blues", aspect="auto")
            for i, j in np.ndindex(of.shape):
                text = f"{of[i, j]:.2f}" if told[i, j] else "n/a"
                ink = "0.45" if not told[i, j] else "white" if depth[i, j] > 0.6 else "black"
                axes.text(j, i, text, ha="center", va="center", fontsize=8.5, color=ink)
            axes.set_xticks(range(len(perceptions)), perceptions, rotation=35, ha="right")
            axes.set_yticks(range(len(navigators)), navigators)
            # White lines part the cells.
            axes.set_xticks(np.arange(1, len(perceptions)) - 0.5, minor=True)
            axes.set_yticks(np.arange(1, len(navigators)) - 0.5, minor=True)
            axes.grid(which="minor", color="white", lw=1.5)
            axes.tick_params(which="both", length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title)
            axes.set_xlabel("perception")
        fig.axes[0].set_ylabel("navigator")
    return fig


def accelerations(of: Mapping[str, Floats], agents: Sequence[str]) -> Figure:
    """Every specimen's acceleration over the raster, and their median."""
    told = {a: v[np.isfinite(v)] for a, v in of.items() if np.isfinite(v).any()}
    with style.figure(7.4, 0.9 + BAR * len(told)) as fig:
        axes = fig.subplots()
        rng = np.random.default_rng(0)
        for row, (agent, values) in enumerate(told.items()):
            colour = colour_of(agent, agents)["color"]
            scatter = row + rng.uniform(-0.16, 0.16, len(values))
            axes.plot(values, scatter, ".", color=colour, alpha=0.5, ms=6, mew=0)
            axes.plot([np.median(values)] * 2, [row - 0.3, row + 0.3], color=colour, lw=2.4)
        axes.axvline(1.0, color="0.6", lw=0.8, zorder=0)
        axes.set_xscale("log")
        ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50]
        axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axes.minorticks_off()
        axes.set_yticks(range(len(told)), list(told))
        axes.set_ylim(len(told) - 0.5, -0.5)
        axes.set_xlabel("charge a raster pays for as much, over the agent's; bar: median")
    return fig


def latencies(entries: Sequence[Entry], agents: Sequence[str]) -> Figure:
    """Time of a decision: median to 95th percentile."""
    with style.figure(7.4, 0.9 + BAR * len(entries)) as fig:
        axes = fig.subplots()
        for row, entry in enumerate(entries):
            colour = colour_of(entry.agent, agents)["color"]
            middle, high = entry.latency_ms
            axes.plot([middle, high], [row, row], color=colour, lw=6, alpha=0.3)
            axes.plot(middle, row, "o", color=colour, ms=7)
        axes.axvline(40.0, color="0.6", lw=0.8, ls=":", zorder=0)
        axes.set_xscale("log")
        axes.set_yticks(range(len(entries)), [e.agent for e in entries])
        axes.set_ylim(len(entries) - 0.5, -0.5)
        axes.set_xlabel("ms to a decision, median to 95th percentile; dotted: what standard allows")
    return fig
