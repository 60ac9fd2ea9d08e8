"""StemScout/Recorded-v0."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..simulators.specimens import Specimen
from .scan_env import ScanEnv
from .sources import RecordedSource
from .vector import ScanVectorEnv


class RecordedEnv(ScanEnv):
    """One's own image as if it were a microscope.

    ## Description
    Frames are a sixteenth of the shorter side (27 px of 435) and read the
    image's own pixels.  The recording holds one reference dose for each pixel;
    reading a pixel again is charged again.  A labels file says what the image
    shows; its manual is ``envs/labels.py``.

    ## Action space, observation space
    As in ``StemScout/GrapheneDefects-v0``, over this field and these frames.  Nothing is
    finer than the image's pixels nor longer than its one dwell: ``operator`` chooses
    fields of view from the frame up to the whole image, and no dwell.

    ## Reward
    With labels the gain in the task's fraction, as in every id; any task but
    ``map``, of which labels know nothing.  Without labels 0: nobody knows what
    the image shows.

    ## End of the episode
    With labels terminated when the task is done (unless
    ``terminate_when_done=False``), without them never; truncated when what is
    left does not pay for another frame.

    ## Arguments
    ``image`` (a path, or an array of rows and columns), ``pixel_nm`` (may be
    left out where the file says it), ``labels`` (a path, or a mapping with the
    content of such a file; none by default), ``electrons`` (Poisson noise as if
    full scale were that many electrons; none by default), and those of ``ScanEnv``;
    ``task`` is ``discover`` with labels and ``explore`` without.
    """

    def __init__(
        self,
        image: str | Path | NDArray[Any],
        pixel_nm: float | None = None,
        electrons: float | None = None,
        labels: str | Path | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        source = RecordedSource(image, pixel_nm, labels, electrons=electrons)
        task = "explore" if source.specimen is None else "discover"
        options = {"task": task, **options}
        if source.specimen is not None:
            _check_labelled(options["task"], source.specimen)
        super().__init__(source, **options)


def _check_labelled(task: str, specimen: Specimen) -> None:
    """Refuse the tasks that need more than these labels say."""
    if task == "map":
        raise ValueError(
            "the task 'map' needs a map of the specimen, and labels hold none; there are: "
            "discover, classes, follow, target, explore"
        )
    shapes = {specimen.classes[k].shape for k in specimen.feature_class}
    if task == "follow" and shapes == {"point"}:
        raise ValueError(
            "the task 'follow' needs walls, boundaries or areas; these labels hold only points"
        )


make_vector = partial(ScanVectorEnv, RecordedEnv)
