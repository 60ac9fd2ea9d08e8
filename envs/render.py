"""A plain picture of an episode, and a window to show it in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .mosaic import Mosaic

if TYPE_CHECKING:
    from matplotlib.image import AxesImage

    from .episode import Episode

SHORTER_SIDE_PX = 384
UNSEEN = np.array([32, 36, 66], dtype=np.uint8)  # dark blue, as unlike a micrograph as can be
OUTLINE = np.array([255, 176, 0], dtype=np.uint8)

RGB = NDArray[np.uint8]


def picture(episode: Episode) -> RGB:
    """What has been seen (height, width, 3): grey where measured, blue elsewhere."""
    field = episode.field_yx_nm
    scale = SHORTER_SIDE_PX / min(field)
    shape = (round(field[0] * scale), round(field[1] * scale))
    # One cell for each frame pixel at most, so that measured areas have no holes.
    fine = min(episode.reference.shape_yx[a] / episode.reference.fov_yx_nm[a] for a in (0, 1))
    density = min(scale, fine)
    cells = (max(1, round(field[0] * density)), max(1, round(field[1] * density)))
    mosaic = Mosaic(field, cells)
    for frame in episode.history:
        mosaic.add(frame, episode.display(frame))
    value, mask = mosaic.as_uint8()
    rgb = np.where(mask[..., None] > 0, value[..., None], UNSEEN)
    rows = np.arange(shape[0]) * cells[0] // shape[0]
    columns = np.arange(shape[1]) * cells[1] // shape[1]
    out: RGB = np.ascontiguousarray(rgb[np.ix_(rows, columns)].astype(np.uint8))
    if episode.history:
        _outline(out, episode, scale)
    return out


def _outline(out: RGB, episode: Episode, scale: float) -> None:
    region = episode.history[-1].region
    edges = []
    for axis in (0, 1):
        middle = region.centre_yx_nm[axis] + episode.field_yx_nm[axis] / 2
        half = region.fov_yx_nm[axis] / 2
        low, high = (round((middle + sign * half) * scale) for sign in (-1, 1))
        edges.append((max(0, low), min(out.shape[axis], high)))
    (top, bottom), (left, right) = edges
    out[top:bottom, left : left + 2] = out[top:bottom, right - 2 : right] = OUTLINE
    out[top : top + 2, left:right] = out[bottom - 2 : bottom, left:right] = OUTLINE


class Window:
    """A window for ``render_mode="human"``; without a display it draws unseen."""

    def __init__(self, fps: float) -> None:
        from matplotlib import pyplot as plt

        self._pause = 1.0 / fps
        # Without a display matplotlib falls back to Agg, whose manager shows nothing.
        self._visible = plt.get_backend().lower() != "agg"
        self._figure, axes = plt.subplots(num="StemScout", figsize=(5, 5))
        axes.set_axis_off()
        self._axes = axes
        self._image: AxesImage | None = None

    def show(self, rgb: RGB) -> None:
        if self._image is None:
            self._image = self._axes.imshow(rgb)
        else:
            self._image.set_data(rgb)
        if self._visible:
            self._figure.show()
            self._figure.canvas.start_event_loop(self._pause)
        else:
            self._figure.canvas.draw()

    def close(self) -> None:
        from matplotlib import pyplot as plt

        plt.close(self._figure)
