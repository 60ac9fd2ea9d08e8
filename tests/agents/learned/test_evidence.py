"""The evidence: what was sighted, in the right cells, once for each look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemscout.agents.learned.evidence import Cells, Evidence
from stemscout.agents.perception.sightings import BLOCKS
from stemscout.envs.reference import ReferenceFrame

FRAME = (1.5, 1.5)
ONE = np.zeros(1, dtype=np.int64)


@given(st.floats(1.5, 40.0), st.floats(1.5, 40.0))
def test_every_frame_on_the_lattice_lies_in_cells_of_the_field(height, width):
    cells = Cells.of((height, width), FRAME)
    centres, _ = ReferenceFrame(FRAME, (32, 32), 10.0).lattice((height, width), 0.5)
    under = cells.under(centres)
    assert under.shape == (len(centres), BLOCKS, BLOCKS, 2)
    assert cells.inside(under).all()
    first = under[:, :1, :1]
    assert np.abs(under - first - np.moveaxis(np.indices((BLOCKS, BLOCKS)), 0, -1)).max() <= 1


def test_where_frames_fit_the_field_they_fit_the_cells():
    cells = Cells.of((24.0, 24.0), FRAME)
    assert cells.shape == (64, 64)
    (under,) = cells.under(np.array([[-11.25, 11.25]]))
    assert under[0, 0].tolist() == [0, 60]
    assert under[-1, -1].tolist() == [3, 63]


def test_what_is_looked_at_twice_is_the_mean_of_both():
    evidence = Evidence(Cells.of((6.0, 6.0), FRAME), 2)
    under = evidence.cells.under(np.array([[0.0, 0.0]]))
    for amount in (1.0, 0.0):
        evidence.add(ONE, under, np.full((1, 2, BLOCKS, BLOCKS), amount, np.float32))
    looked = evidence.looks[0] > 0
    assert looked.sum() == BLOCKS**2
    assert (evidence.means[0, :, looked] == 0.5).all()
    assert (evidence.means[0, :, ~looked] == 0.0).all()


def test_a_frame_half_outside_counts_where_it_is_inside():
    evidence = Evidence(Cells.of((6.0, 6.0), FRAME), 1)
    under = evidence.cells.under(np.array([[-3.0, 0.0]]))
    evidence.add(ONE, under, np.ones((1, 1, BLOCKS, BLOCKS), np.float32))
    assert evidence.looks.sum() == BLOCKS**2 / 2
    assert evidence.sums.sum() == BLOCKS**2 / 2


def test_what_nobody_could_look_at_was_not_looked_at():
    evidence = Evidence(Cells.of((6.0, 6.0), FRAME), 1)
    sighted = np.ones((1, 1, BLOCKS, BLOCKS), np.float32)
    sighted[0, 0, 0] = np.nan
    evidence.add(ONE, evidence.cells.under(np.zeros((1, 2))), sighted)
    assert evidence.looks.sum() == BLOCKS * (BLOCKS - 1)
    assert np.isfinite(evidence.sums).all()


def test_episodes_side_by_side_do_not_meddle():
    rng = np.random.default_rng(0)
    cells = Cells.of((6.0, 7.5), FRAME)
    together, alone = Evidence(cells, 2, 3), [Evidence(cells, 2) for _ in range(3)]
    for _ in range(5):
        under = cells.under(rng.uniform(-2.0, 2.0, (3, 2)))
        sighted = rng.random((3, 2, BLOCKS, BLOCKS), np.float32)
        together.add(np.arange(3), under, sighted)
        for k in range(3):
            alone[k].add(ONE, under[k : k + 1], sighted[k : k + 1])
    for k in range(3):
        assert (together.means[k] == alone[k].means[0]).all()
    together.clear(np.array([1]))
    assert together.looks[1].sum() == 0
    assert (together.looks[0] == alone[0].looks[0]).all()


@pytest.mark.parametrize("field", [(24.0, 24.0), (16.0, 16.0)])
def test_there_are_cells_for_the_whole_field(field):
    cells = Cells.of(field, FRAME)
    corners = np.array([[-1, -1], [1, 1]]) * (np.asarray(field) / 2 - 1e-3)
    assert cells.inside(cells.at(corners)).all()
