"""The upper bound: a navigator that knows the truth."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...envs import seen
from ...envs.actions import GridAction, PositionAction
from ...hardware.costs import ELECTRONS_PER_PA_US
from ...simulators.exposure import Exposure
from ..agent import Context
from .navigator import Candidates, Floats
from .scripted import Scripted

PITCH = 0.25


class Oracle(Scripted):
    """Takes, frame by frame, the greatest gain in seen recall for its charge.

    It chooses among reference frames on a quarter-frame lattice and frames
    centred on a feature, or among the cells where actions are cells; ties go to the
    lattice order.  Greedy, and so a bound
    in practice rather than in theory.
    """

    name = "oracle"
    privileged = True
    reason = "the greatest gain in features seen"

    def plan(
        self, context: Context, rng: np.random.Generator
    ) -> tuple[Candidates, NDArray[np.int64]]:
        if context.truth is None:
            raise ValueError("the oracle needs the truth, and this microscope has none to tell")
        centres = _candidates(context, context.truth.feature_yx_nm)
        wanted = seen.targets(context.truth, context.reference.side_nm)
        order = _greedy(centres, wanted, context)
        return Candidates(centres, (len(centres), 1)), order


def _candidates(context: Context, feature_yx_nm: Floats) -> Floats:
    """Centres (n, 2) where frames truly come to lie, which an action of 32 bits rounds."""
    if isinstance(context.actions, GridAction):
        return context.actions.centres_yx_nm
    lattice, _ = context.reference.lattice(context.field_yx_nm, PITCH)
    half = np.asarray(context.reference.half_range_yx_nm(context.field_yx_nm))
    wanted = np.vstack([lattice, np.clip(feature_yx_nm, -half, half)])
    if not isinstance(context.actions, PositionAction):
        return wanted
    actions = [context.actions.encode(context.reference.at((y, x))) for y, x in wanted.tolist()]
    still = np.zeros((len(actions), 2))
    rounded = context.actions.check(np.stack(actions), len(actions))
    return context.actions.decode_all(rounded, still).centre_yx_nm


def _greedy(centres: Floats, wanted: seen.Targets, context: Context) -> NDArray[np.int64]:
    """Frames in order of the plan, until nothing is left to be seen."""
    exposures = [_exposure(c, context) for c in centres]
    low, high = wanted.bounds_yx_nm
    # A frame concerns few features, and taking it changes the gain of few frames.
    near = [np.flatnonzero(e.may_cover(low, high)) for e in exposures]
    given = [
        seen.dose(wanted.only(features), e) for features, e in zip(near, exposures, strict=True)
    ]
    concerned = np.zeros((len(wanted.weight), len(centres)), dtype=bool)
    for k, features in enumerate(near):
        concerned[features, k] = True
    tally = seen.Tally(wanted)
    gain = np.zeros((len(centres), 2))  # recall, and the dose still missing that it brings
    stale = np.arange(len(centres))
    order: list[int] = []
    while not tally.seen.all() and len(order) < len(centres):
        for k in stale.tolist():
            gain[k] = _gain(wanted, tally, near[k], given[k])
        column = 0 if gain[:, 0].max() > seen.ROUNDING else 1
        best = int(gain[:, column].argmax())
        if gain[best, column] <= 0:
            break
        order.append(best)
        tally.add(exposures[best])
        stale = np.flatnonzero(concerned[near[best]].any(axis=0))
    return np.asarray(order, dtype=np.int64)


def _gain(
    wanted: seen.Targets, tally: seen.Tally, features: NDArray[np.int64], given: Floats
) -> tuple[float, float]:
    """Weight newly seen by a frame, and the missing dose that it brings to what stays unseen."""
    local = wanted.only(features)
    received, new = tally.received[features], ~tally.seen[features]
    shown = seen.enough(local, received + given) & new
    missing = np.clip(local.need_e_per_a2[:, None] - received, 0, None)
    brought = (np.minimum(given, missing).sum(axis=1) * new).sum()
    return float(local.weight[shown].sum()), float(brought)


def _exposure(centre: Floats, context: Context) -> Exposure:
    """What a reference frame there gives; its dose is that of the declared current."""
    request = context.reference.at((float(centre[0]), float(centre[1])))
    pitch = request.pixel_yx_nm
    electrons = (context.beam_current_pa or 0.0) * ELECTRONS_PER_PA_US * request.dwell_us
    return Exposure(
        request.region, (0.0, 0.0), max(pitch), electrons / (pitch[0] * pitch[1] * 100.0)
    )
