"""Wide frames at low dose: what they are, and what they show of the field."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...envs.actions import OperatorAction
from ...hardware.coordinates import scan_from_specimen, specimen_from_pixel
from ...hardware.microscope import Frame, ScanRequest, State
from ..agent import Context
from ..outliers import deviations
from .navigator import Candidates, Floats
from .scripted import even, mesh

WIDE = 4.0  # reference frames, the side of a wide frame
WIDER = 1.5  # reference frames; what is wider is an overview
LOW_DOSE = 1.0 / 8.0  # reference dwells, as a granted survey has it
ROUNDING = 1e-5  # relative; actions hold 32 bits
SMOOTH = 0.7  # frames, standard deviation


def overview(frames: Sequence[Frame], candidates: Candidates, now: State) -> Floats:
    """How odd (n,) each candidate is on wide frames; 0 where none of them shows it.

    The greater of the deviations, in MADs, of the mean and of the standard deviation of
    the readings within a candidate.  Readings are those of a unit of dwell, so that
    frames of different dwells may be mixed.  ``now`` is the state in whose scan
    coordinates the candidates are.
    """
    from scipy.ndimage import gaussian_filter

    n = len(candidates.centres_yx_nm)
    moments = np.zeros((3, n))
    for frame in frames:
        image = frame.image[: frame.valid_rows].astype(np.float64)
        pixels = np.indices(image.shape).reshape(2, -1).T
        cell = candidates.nearest(scan_from_specimen(specimen_from_pixel(frame, pixels), now))
        readings = image.ravel() / frame.request.dwell_us
        moments += [np.bincount(cell, readings**k, n) for k in range(3)]
    covered = moments[0] > 0
    count, total, squares = (
        gaussian_filter(m.reshape(candidates.shape), SMOOTH).ravel() for m in moments
    )
    mean = total[covered] / count[covered]
    contrast = np.sqrt(np.maximum(squares[covered] / count[covered] - mean**2, 0.0))
    alike = np.full(len(mean), 1.0 / len(mean))
    odd = np.zeros(n)
    odd[covered] = np.maximum(deviations(mean, alike), deviations(contrast, alike))
    return odd


def wide_frames(context: Context, share: float) -> list[ScanRequest]:
    """Frames of equal size, side by side over the field, at low dose.

    They are ``WIDE`` reference frames wide, or twice that, and so on until they cost no more
    than a share of the budget; the widest allowed cost what they cost.
    """
    codec, reference = context.actions, context.reference
    if not isinstance(codec, OperatorAction):
        raise ValueError("an operator that is free needs the action 'operator'")
    (_, widest), (shortest, longest) = codec.fov_nm, codec.dwell_us
    dwell_us = min(max(LOW_DOSE * reference.dwell_us, shortest), longest)
    whole = context.costs.beam_on_us(reference.at((0.0, 0.0)))
    side = min(WIDE * reference.side_nm, widest)
    while True:
        axes = [
            even(length, (length - side) / 2, int(np.ceil(length / side * (1 - ROUNDING))))
            for length in context.field_yx_nm
        ]
        frames = [
            ScanRequest(
                (y, x), (side, side), reference.shape_yx, dwell_us, 0.0, reference.detectors
            )
            for y, x in mesh(*axes).tolist()
        ]
        price = sum(context.costs.beam_on_us(f) for f in frames) / whole
        if price <= share * context.frames or side >= widest:
            return frames
        side = min(2 * side, widest)


def same_place(a: ScanRequest, b: ScanRequest) -> bool:
    """Whether two frames are one but for the rounding of actions."""
    apart = np.abs(np.subtract((*a.centre_yx_nm, *a.fov_yx_nm), (*b.centre_yx_nm, *b.fov_yx_nm)))
    return bool(apart.max() < ROUNDING * max(b.fov_yx_nm))
