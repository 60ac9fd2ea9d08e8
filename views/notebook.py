"""An experiment in a notebook: the console's panels, below a cell."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from ..agents.experiment import Experiment


def view(experiment: Experiment, title: str = "") -> Any:
    """The panels of the console for an experiment, as an object that a notebook shows.

    One that was not begun has a button to start it, and runs in a thread of its own, with a guard
    in front of its microscope.  Of one that was run, by whatever loop, the frames so far are
    shown.  Shown again, it is the same run.

    Example:
        >>> stemscout.view(Experiment(make_env("StemScout/MoS2Defects-v0"), make_agent("rvae-bo")))

    Args:
        experiment: not begun, or as far as it came.
        title: for the head; by default the agent's name.

    Raises:
        ImportError: Panel is not installed.
        TypeError: it is no experiment.
    """
    if not isinstance(experiment, Experiment):
        raise TypeError(
            f"view shows an Experiment, and this is of type {type(experiment).__name__}"
        )
    if find_spec("panel") is None:
        raise ImportError("stemscout.view needs Panel: pip install 'stemscout[console]'")
    from .console.inline import Inline

    return Inline.of(experiment, title)
