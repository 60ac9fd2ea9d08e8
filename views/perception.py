"""Pictures of what a perception says, and of how right it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..agents.perception.dcnn.weights import Header

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
