"""Films of runs: an environment's own pictures one after another, as a GIF.

Few greys compress well, and all pictures of a film share their palette.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..envs.render import OUTLINE, UNSEEN

if TYPE_CHECKING:
    from PIL.Image import Image

RGB = NDArray[np.uint8]
GREYS = 64  # besides the three colours
STRIP_PX, GAP_PX = 26, 6
MOST, PLAYED_MS, LAST_MS = 40, 6000, 2500


def chosen(count: int, most: int = MOST) -> NDArray[np.int64]:
    """Which of so many pictures a film shows, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, most - 1).round().astype(np.int64))


def still(panels: Sequence[tuple[RGB, str]], gamma: float = 1.0) -> Image:
    """Pictures (rows, columns, 3), all as tall, side by side, with a line of text below each."""
    from PIL import Image, ImageDraw, ImageFont

    parts = [_indexed(rgb, gamma) for rgb, _ in panels]
    gap = np.full((len(parts[0]), GAP_PX), GREYS + 2, dtype=np.uint8)
    beside = [parts[0]] + [part for own in parts[1:] for part in (gap, own)]
    image = Image.fromarray(np.hstack(beside))  # grey until it has its palette
    greys = np.repeat(np.round(np.linspace(0, 255, GREYS)).astype(np.uint8)[:, None], 3, axis=1)
    image.putpalette(np.vstack([greys, UNSEEN, OUTLINE, [0, 0, 0]]).astype(np.uint8).tobytes())
    draw: Any = ImageDraw.Draw(image)
    draw.fontmode = "1"
    left = 8
    for part, (rgb, text) in zip(parts, panels, strict=True):
        place = (left, len(rgb) + 5)
        draw.text(place, text, fill=GREYS - 1, font=ImageFont.load_default(13))
        left += part.shape[1] + GAP_PX
    return image


def _indexed(rgb: RGB, gamma: float) -> NDArray[np.uint8]:
    """In the palette, with room for a line below."""
    scale = (np.arange(256) / 255.0) ** gamma
    index = np.round(scale[rgb[..., 1]] * (GREYS - 1)).astype(np.uint8)
    for k, colour in enumerate((UNSEEN, OUTLINE)):
        index[(rgb == colour).all(axis=-1)] = GREYS + k
    below = np.full((STRIP_PX, index.shape[1]), GREYS + 2, dtype=np.uint8)
    return np.vstack([index, below])


def write(path: Path, stills: Sequence[Image]) -> None:
    """A GIF of them, for ever; the first and the last stay longer."""
    each = PLAYED_MS // len(stills)
    durations = [3 * each] + [each] * (len(stills) - 2) + [LAST_MS]
    stills[0].save(
        path,
        save_all=True,
        append_images=list(stills[1:]),
        duration=durations,
        loop=0,
        optimize=False,
    )
