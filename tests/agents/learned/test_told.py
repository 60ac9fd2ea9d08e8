"""What frames tell of: the same as active search counts, for many episodes at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stemscout.agents.learned.evidence import Cells
from stemscout.agents.learned.told import FINER, Told
from stemscout.agents.navigation.search import CELLS
from stemscout.agents.perception.sightings import BLOCKS

SIDE = 8  # frames to a side of the field
CELLS_OF = Cells.of((SIDE, SIDE), (1.0, 1.0))
ONE = np.zeros(1, dtype=np.int64)


def by_definition(centres):
    """Places whose five by five surroundings are all scanned."""
    n = SIDE * CELLS
    scanned = np.zeros((n, n), dtype=bool)
    for y, x in np.rint((centres + SIDE / 2) * CELLS - CELLS / 2).astype(int):
        low, high = np.clip([[y, x], [y + CELLS, x + CELLS]], 0, n)
        scanned[low[0] : high[0], low[1] : high[1]] = True
    told = np.zeros_like(scanned)
    for i in range(2, n - 2):
        for j in range(2, n - 2):
            told[i, j] = scanned[i - 2 : i + 3, j - 2 : j + 3].all()
    return told


places = st.lists(
    st.tuples(*[st.integers(-40, 40).map(lambda k: k / CELLS)] * 2), min_size=1, max_size=12
)


@settings(max_examples=25, deadline=None)
@given(places)
def test_it_follows_the_definition(centres):
    """Frames anywhere, over each other and beyond the field, too."""
    told = Told(CELLS_OF)
    gained = sum(told.add(ONE, told.corners(np.array([c])))[0] for c in centres)
    wanted = by_definition(np.array(centres))
    assert (told.map[0] == wanted).all()
    assert gained * CELLS**2 == pytest.approx(wanted.sum())


def test_what_is_told_weighs_what_lies_there():
    told, rng = Told(CELLS_OF, 3), np.random.default_rng(0)
    weight = rng.random((3, *CELLS_OF.shape), np.float32)
    total = np.zeros(3)
    for _ in range(30):
        which = np.flatnonzero(rng.random(3) < 0.7)
        centres = rng.uniform(-SIDE / 2, SIDE / 2, (len(which), 2))
        total[which] += told.add(which, told.corners(centres), weight)
    assert total == pytest.approx((told.shares * weight).sum(axis=(1, 2)), rel=1e-5)


def test_episodes_begin_anew_one_by_one():
    told = Told(CELLS_OF, 2)
    both = np.arange(2)
    told.add(both, told.corners(np.zeros((2, 2))))
    told.clear(both[:1])
    assert not told.map[0].any()
    assert told.map[1].sum() == (CELLS - 4) ** 2
    assert told.shares[1].sum() == pytest.approx((BLOCKS - 4 / FINER) ** 2)
    again = told.add(both, told.corners(np.zeros((2, 2))))
    assert again.tolist() == [pytest.approx((CELLS - 4) ** 2 / CELLS**2), 0.0]
