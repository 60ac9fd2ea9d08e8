"""Navigators that follow a plan: what their plans look like."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.agent import Context
from stemscout.agents.navigation.navigator import Candidates
from stemscout.agents.navigation.scripted import (
    Grid,
    Hierarchical,
    LatinHypercube,
    Random,
    Raster,
    Sobol,
    Spiral,
    bit_reversed_order,
    coarse_shape,
    coarse_to_fine_order,
    spiral_order,
)
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.hardware import Limits

PLANS = (Raster, Grid, Random, Sobol, LatinHypercube, Spiral, Hierarchical)
FINE = (Random, Sobol, LatinHypercube, Hierarchical)  # those of all half-pitch candidates


def square(frames=100, side_nm=24.0):
    """A context of a square field, 16 frames of 1.5 nm across."""
    field, reference = (side_nm, side_nm), ReferenceFrame((1.5, 1.5), (32, 32), 10.0)
    limits = Limits(field, (0.1, 30), (0.001, 20), (1, 500), (1, 100), ("haadf",))
    actions = PositionAction(field, reference)
    return Context(field, reference, limits, actions, {"haadf": (0.0, 1.0)}, 0.4, frames)


def planned(plan, context, seed=0):
    """Centres (n, 2) in their order."""
    candidates, order = plan().plan(context, np.random.default_rng(seed))
    return candidates.centres_yx_nm[order]


def largest_gap_nm(centres):
    """How far a half-pitch candidate may be from the nearest of some centres."""
    every = Candidates.of(square()).centres_yx_nm
    return np.hypot(*(every[:, None] - centres[None]).transpose(2, 0, 1)).min(axis=1).max()


@given(rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_bit_reversed_order_visits_everything_once(rows, columns):
    order = bit_reversed_order(rows, columns)
    assert sorted(order) == list(range(rows * columns))


@pytest.mark.parametrize("prefix", [4, 16, 64])
def test_every_prefix_of_the_grid_spreads_over_the_field(prefix):
    """After 4, 16, 64 frames every quarter, sixteenth, 64th of a 16 x 16 grid has one."""
    first = bit_reversed_order(16, 16)[:prefix]
    side = int(np.sqrt(prefix))
    blocks = (first // 16) * side // 16 * side + (first % 16) * side // 16
    assert len(set(blocks)) == prefix


@given(frames=st.integers(1, 300), aspect=st.floats(0.3, 3.0))
def test_coarse_grids_fit_the_budget_and_use_most_of_it(frames, aspect):
    rows, columns = coarse_shape(frames, aspect)
    assert rows * columns <= frames
    assert rows * columns > frames / 2


def test_the_grid_covers_the_field(ready):
    grid = ready(Grid(), frames=54)
    main = grid.candidates.centres_yx_nm[:54]
    rows, columns = (np.unique(main[:, a].round(9)) for a in (0, 1))
    assert (len(rows), len(columns)) == (6, 9)
    assert rows == pytest.approx((np.arange(6) + 0.5) * 2 - 6), "equal shares of 12 nm"
    assert columns == pytest.approx((np.arange(9) + 0.5) * 2 - 9), "equal shares of 18 nm"


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 54, 96, 200])
def test_the_grid_never_ends_before_the_budget(ready, situation, frames):
    grid = ready(Grid(), frames=frames)
    assert all(grid.decide(situation()) for _ in range(frames))


def test_random_visits_every_candidate_once(ready, situation):
    random = ready(Random())
    count = len(random.candidates.centres_yx_nm)
    found = {random.decide(situation()).centre_yx_nm for _ in range(count)}
    assert len(found) == count
    assert random.decide(situation()) is None


@pytest.mark.parametrize("plan", PLANS)
@given(frames=st.integers(1, 400), seed=st.integers(0, 2**32))
def test_a_plan_repeats_no_frame_and_never_ends_before_the_budget(plan, frames, seed):
    """A budget of 1 pays for the contiguous raster, 256 frames here."""
    centres = planned(plan, square(frames), seed)
    assert len(np.unique(centres.round(6), axis=0)) == len(centres)
    assert len(centres) >= min(frames, 256)
    assert np.abs(centres).max() <= 24 / 2 - 1.5 / 2 + 1e-9


@pytest.mark.parametrize("plan", FINE)
@given(frames=st.integers(1, 400), seed=st.integers(0, 2**32))
def test_fine_plans_visit_every_candidate_once(plan, frames, seed):
    candidates, order = plan().plan(square(frames), np.random.default_rng(seed))
    assert sorted(order) == list(range(31 * 31))
    assert candidates.shape == (31, 31)


@pytest.mark.parametrize("plan", PLANS)
def test_after_the_plan_there_is_nothing(plan, ready, situation):
    navigator = ready(plan())
    count = len(navigator.order)
    assert all(navigator.decide(situation()) for _ in range(count))
    assert navigator.decide(situation()) is None


@pytest.mark.parametrize("plan", PLANS)
def test_plans_pass_over_what_is_forbidden(plan, ready, situation):
    navigator = ready(plan())
    forbidden = [((-6.0, -9.0), (6.0, 0.0))]
    while (decision := navigator.decide(situation(forbidden=forbidden))) is not None:
        assert decision.centre_yx_nm[1] >= 0.75 - 1e-9


@pytest.mark.parametrize(
    ("plan", "frames"),
    [(p, n) for p in (Sobol, Grid, Spiral) for n in (25, 49, 100)]
    + [(Hierarchical, n) for n in (9, 49, 225)],  # the ends of its levels
)
def test_as_many_frames_leave_smaller_gaps_than_at_random(plan, frames):
    """The largest empty circle, on average over seeds."""
    gaps = {}
    for kind in (plan, Random):
        gaps[kind] = np.mean(
            [largest_gap_nm(planned(kind, square(frames), s)[:frames]) for s in range(10)]
        )
    assert gaps[plan] < 0.85 * gaps[Random]


@pytest.mark.parametrize("plan", [Sobol, Grid])
def test_every_prefix_of_a_plan_that_spreads_is_more_even_than_at_random(plan):
    """Frames in each of 4 x 4 equal parts of the field vary less than by chance."""

    def unevenness(kind, seed):
        part = ((planned(kind, square(), seed) + 12) / 6).astype(int) @ [4, 1]
        prefixes = range(16, 101, 12)
        return [np.var(np.bincount(part[:n], minlength=16)) / n for n in prefixes]

    seeds = range(10)
    chance = np.mean([unevenness(Random, s) for s in seeds], axis=0)
    own = np.mean([unevenness(plan, s) for s in seeds], axis=0)
    assert (own < chance).all()


@given(frames=st.integers(31, 200), seed=st.integers(0, 2**32))
def test_a_latin_hypercube_is_even_along_either_axis(frames, seed):
    """Every run of rows or columns holds its share of the frames, but for rounding."""
    _, order = LatinHypercube().plan(square(frames), np.random.default_rng(seed))
    for line in np.divmod(order[: int(0.9 * frames)], 31):
        held = np.cumsum(np.bincount(line, minlength=31))
        assert (held <= np.arange(1, 32) / 31 * frames + 1).all()


def test_sobol_and_latin_follow_the_seed(context):
    for plan in (Sobol, LatinHypercube):
        first, again, other = (planned(plan, context(), s) for s in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


@given(rows=st.integers(1, 20), columns=st.integers(1, 20))
def test_a_spiral_goes_outwards_from_frame_to_neighbouring_frame(rows, columns):
    order = spiral_order(rows, columns)
    assert sorted(order) == list(range(rows * columns))
    i, j = np.divmod(order, columns)
    assert (np.abs(np.diff(i)) + np.abs(np.diff(j)) == 1).all()
    rim = np.minimum(np.minimum(i, rows - 1 - i), np.minimum(j, columns - 1 - j))
    assert (np.diff(rim) <= 0).all(), "never back towards the middle"


def test_the_spiral_is_contiguous_where_the_budget_pays_for_it_and_covers_the_field_else():
    whole = planned(Spiral, square(256))
    assert np.hypot(*np.diff(whole[:256], axis=0).T) == pytest.approx(1.5)
    coarse = planned(Spiral, square(100))[:100]
    assert np.hypot(*np.diff(coarse, axis=0).T) == pytest.approx(2.4)
    assert np.abs(coarse[0]).max() < 2.4, "from the middle"
    assert np.abs(coarse).max() == pytest.approx(10.8), "to the border"


@given(rows=st.integers(1, 40), columns=st.integers(1, 40))
def test_each_level_halves_the_pitch(rows, columns):
    order = coarse_to_fine_order(rows, columns)
    assert sorted(order) == list(range(rows * columns))
    i, j = np.divmod(order, columns) - np.array([[(rows - 1) // 2], [(columns - 1) // 2]])
    divides = [np.gcd(np.gcd(a, b), 64) for a, b in zip(i.tolist(), j.tolist(), strict=True)]
    pitch = np.array([d & -d for d in divides])
    assert (np.diff(pitch) <= 0).all()


def test_levels_go_to_and_fro():
    candidates = Candidates.of(square())
    order = coarse_to_fine_order(*candidates.shape)
    ends = [1, 9, 49, 225, 961]  # 1, 3, 7, 15, 31 squared
    for (start, end), pitch in zip(pairwise(ends), (6.0, 3.0, 1.5, 0.75), strict=True):
        way = np.hypot(*np.diff(candidates.centres_yx_nm[order[start:end]], axis=0).T)
        assert way.max() <= 2 * pitch * (1 + 1e-9), "over one frame of a coarser level at most"


@pytest.mark.parametrize("plan", PLANS)
def test_plans_pass_over_what_a_person_has_taken(plan, ready, situation):
    planned = ready(plan(), 12)
    first = planned.decide(situation(left=12)).centre_yx_nm
    other = ready(plan(), 12)
    assert other.decide(situation([first], left=11)).centre_yx_nm != first


@pytest.mark.parametrize("plan", PLANS)
def test_where_an_axis_has_no_room_nothing_is_taken_twice(plan, context, situation):
    """A field as high as a frame: rows of the coarse grid would coincide."""
    navigator = plan()
    low = replace(context(40), field_yx_nm=(1.5, 18.0))
    navigator.reset(low, np.random.default_rng(0))
    centres = np.empty((0, 2))
    while (decision := navigator.decide(situation(centres))) is not None:
        centres = np.vstack([centres, decision.centre_yx_nm])
    assert len(np.unique(centres.round(6), axis=0)) == len(centres) > 10


@pytest.mark.parametrize("plan", PLANS)
def test_what_was_forbidden_for_a_while_is_taken_later(plan, ready, situation):
    navigator, free = ready(plan()), ready(plan())
    centres = np.empty((0, 2))
    for forbidden in [[((-6.0, -9.0), (6.0, 0.0))]] * 5 + [()] * len(free.order):
        decision = navigator.decide(situation(centres, forbidden=forbidden))
        if decision is not None:
            centres = np.vstack([centres, decision.centre_yx_nm])
    assert len(centres) == len(free.order)
