"""The upper bound: a navigator that knows the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs import seen
from ...hardware.costs import ELECTRONS_PER_PA_US
from ...simulators.exposure import Exposure
from ..agent import Context
from .navigator import Candidates, Floats
from .scripted import Scripted

PITCH = 0.25


class Oracle(Scripted):
    """Takes, frame by frame, the greatest gain in seen recall for its charge.

    It chooses among reference frames on a quarter-frame lattice and frames
    centred on a feature; ties go to the lattice order.  Greedy, and so a bound
    in practice rather than in theory.
    """

    name = "oracle"
    reason = "the greatest gain in features seen"

    def plan(
        self, context: Context, rng: np.random.Generator
    ) -> tuple[Candidates, NDArray[np.int64]]:
        if context.truth is None:
            raise ValueError("the oracle needs the truth, and this microscope has none to tell")
        lattice, _ = context.reference.lattice(context.field_yx_nm, PITCH)
        half = np.asarray(context.reference.half_range_yx_nm(context.field_yx_nm))
        centred = np.clip(context.truth.feature_yx_nm, -half, half)
        centres = np.vstack([lattice, centred])
        wanted = seen.targets(context.truth)
        order = _greedy(centres, wanted, context)
        return Candidates(centres, (len(centres), 1)), order


def _greedy(centres: Floats, wanted: seen.Targets, context: Context) -> NDArray[np.int64]:
    """Frames in order of the plan, until nothing is left to be seen."""
    reference = context.reference
    given = np.array([seen.dose(wanted, _exposure(c, context)) for c in centres])
    received = np.zeros(wanted.points_yx_nm.shape[:2])
    done = np.zeros(len(wanted.weight), dtype=bool)
    order: list[int] = []
    most = len(reference.lattice(context.field_yx_nm)[0])
    while not done.all() and len(order) < most:
        enough = received + given >= wanted.need_e_per_a2[:, None] * (1 - seen.ROUNDING)
        gain = (enough.all(axis=2) & ~done) @ wanted.weight
        best = int(gain.argmax())
        if gain[best] <= 0:  # no single frame suffices: add dose where it brings most
            missing = np.clip(wanted.need_e_per_a2[:, None] - received, 0, None)
            best = int(np.minimum(given, missing).sum(axis=(1, 2)).argmax())
            if not given[best].any():
                break
        order.append(best)
        received += given[best]
        done = seen.seen(wanted, received)
    return np.asarray(order, dtype=np.int64)


def _exposure(centre: Floats, context: Context) -> Exposure:
    """What a reference frame there gives; its dose is that of the declared current."""
    request = context.reference.at((float(centre[0]), float(centre[1])))
    pitch = request.pixel_yx_nm
    electrons = (context.beam_current_pa or 0.0) * ELECTRONS_PER_PA_US * request.dwell_us
    return Exposure(
        request.region, (0.0, 0.0), max(pitch), electrons / (pitch[0] * pitch[1] * 100.0)
    )
