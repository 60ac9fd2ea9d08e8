"""Pictures of the candidates' surroundings: what a deep kernel goes by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...hardware.coordinates import scan_now
from ...hardware.microscope import Frame, State
from ..agent import Context
from .navigator import Candidates, Floats

SIDE = 12  # cells to a side of a picture
PER_FRAME = 4  # cells to a side of a reference frame in the mosaic
SURVEY_PER_FRAME = 8


def of_survey(context: Context, candidates: Candidates, now: State | None = None) -> Floats | None:
    """The survey about each candidate, (n, 1, SIDE, SIDE) with mean 0 and variance 1.

    A cell is an eighth of a reference frame; the nearest pixel of the survey is taken, and
    the field goes on beyond its border as a mirror shows it.  None without a survey.
    ``now`` is the instrument's state; None while it is as it was.
    """
    frame = context.survey
    if frame is None:
        return None
    image = frame.image.astype(np.float64)
    spread = float(image.std())
    image = (image - image.mean()) / (spread if spread > 0.0 else 1.0)
    pixel = np.asarray(frame.request.pixel_yx_nm)
    centre = scan_now(frame, frame.state if now is None else now)
    first = centre - (np.asarray(image.shape) - 1) / 2 * pixel
    cells = _cells(context, SURVEY_PER_FRAME)
    rows, columns = (
        _mirrored(
            ((candidates.centres_yx_nm[:, a, None] + cells[a] - first[a]) / pixel[a]),
            image.shape[a],
        )
        for a in (0, 1)
    )
    return np.asarray(image[rows[:, :, None], columns[:, None, :]][:, None])


def of_frames(context: Context, candidates: Candidates, frames: Sequence[Frame]) -> Floats:
    """What was seen about each candidate, its own frame left out: (n, 3, SIDE, SIDE).

    Channels are the mean and the standard deviation of the pixels in each cell, a quarter of
    a reference frame wide, both with mean 0 and variance 1 over the cells that were seen,
    and 1 where there was anything to see.  A candidate that was measured looks as it did
    before it was, so that all can be compared.
    """
    shape = tuple(max(1, round(f / s * PER_FRAME)) for f, s in _sides(context))
    total, square, count = (np.zeros(shape) for _ in range(3))
    low = -np.asarray(context.field_yx_nm) / 2
    cell = np.asarray(context.field_yx_nm) / shape
    for frame in frames:
        image = frame.image.astype(np.float64) / frame.request.dwell_us
        centre = scan_now(frame, frames[-1].state)
        at = [
            (
                (centre[a] - low[a]) / cell[a]
                + (np.arange(n) - (n - 1) / 2) * frame.request.pixel_yx_nm[a] / cell[a]
            )
            for a, n in enumerate(frame.request.shape_yx)
        ]
        at[0], image = at[0][: frame.valid_rows], image[: frame.valid_rows]
        rows, columns = (
            np.clip(np.floor(of).astype(np.int64), 0, most - 1)
            for of, most in zip(at, shape, strict=True)
        )
        where = rows[:, None] * shape[1] + columns
        for into, values in ((total, image), (square, image**2), (count, np.ones_like(image))):
            into += np.bincount(
                where.ravel(), values.ravel(), minlength=shape[0] * shape[1]
            ).reshape(shape)
    seen = count > 0
    mean = np.where(seen, total / np.maximum(count, 1), 0.0)
    deviation = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0.0))
    channels = np.stack([_scaled(mean, seen), _scaled(deviation, seen), seen.astype(np.float64)])
    margin = SIDE
    padded = np.pad(channels, ((0, 0), (margin, margin), (margin, margin)))
    cells = _cells(context, PER_FRAME)
    rows, columns = (
        np.floor((candidates.centres_yx_nm[:, a, None] + cells[a] - low[a]) / cell[a]).astype(
            np.int64
        )
        + margin
        for a in (0, 1)
    )
    shown = padded[:, rows[:, :, None], columns[:, None, :]].transpose(1, 0, 2, 3).copy()
    own = slice((SIDE - PER_FRAME) // 2, (SIDE + PER_FRAME) // 2)
    shown[:, :, own, own] = 0.0
    return np.asarray(shown)


def _sides(context: Context) -> list[tuple[float, float]]:
    return list(zip(context.field_yx_nm, context.reference.fov_yx_nm, strict=True))


def _cells(context: Context, per_frame: int) -> list[Floats]:
    """Where the cells of a picture lie from its middle, along y and x."""
    steps = np.arange(SIDE) - (SIDE - 1) / 2
    return [steps * side / per_frame for side in context.reference.fov_yx_nm]


def _mirrored(position: Floats, count: int) -> NDArray[np.int64]:
    index = np.round(position).astype(np.int64) % (2 * count)
    return np.minimum(index, 2 * count - 1 - index)


def _scaled(values: Floats, seen: NDArray[np.bool_]) -> Floats:
    if not seen.any():
        return np.zeros_like(values)
    spread = float(values[seen].std())
    scaled = (values - values[seen].mean()) / (spread if spread > 0.0 else 1.0)
    return np.where(seen, scaled, 0.0)
