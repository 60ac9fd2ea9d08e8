"""A table that grows while it is looked at."""

from __future__ import annotations

import numpy as np

from stemscout.views.console.growing import Growing


def test_it_has_the_rows_that_were_added():
    table = Growing(2)
    assert table.rows.shape == (0, 2)
    for k in range(200):
        table.add((k, -k))
    assert np.array_equal(table.rows, [(k, -k) for k in range(200)])


def test_what_was_looked_at_stays_as_it_was():
    table = Growing(4, 2)
    table.add(np.ones((4, 2)))
    before = table.rows
    for _ in range(100):
        table.add(np.zeros((4, 2)))
    assert np.array_equal(before, np.ones((1, 4, 2)))
