"""StemScout/Recorded-v0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .scan_env import ScanEnv
from .sources import RecordedSource


class RecordedEnv(ScanEnv):
    """One's own image as if it were a microscope.

    ## Description
    Frames are a sixteenth of the shorter side (27 px of 435) and read the
    image's own pixels.  The recording holds one reference dose for each pixel;
    reading a pixel again is charged again.

    ## Action space, observation space
    As in ``StemScout/GrapheneDefects-v0``.

    ## Reward
    0: nobody knows what the image shows.

    ## End of the episode
    Never terminated; truncated when what is left does not pay for another frame.

    ## Arguments
    ``image`` (a path, or an array of rows and columns), ``pixel_nm`` (may be
    left out where the file says it), ``electrons`` (Poisson noise as if full
    scale were that many electrons; none by default), and those of ``ScanEnv``.
    """

    def __init__(
        self,
        image: str | Path | NDArray[Any],
        pixel_nm: float | None = None,
        electrons: float | None = None,
        **options: Any,
    ) -> None:
        source = RecordedSource(image, pixel_nm, electrons=electrons)
        super().__init__(source, **{"task": "explore", **options})
