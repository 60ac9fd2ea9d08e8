"""Navigators that follow a plan: what their plans look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.navigation.scripted import Grid, Random, bit_reversed_order, coarse_shape


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
