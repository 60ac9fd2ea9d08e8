"""What a card says: thresholds by class, and up to which noise a network is reliable."""

from __future__ import annotations

import numpy as np
import pytest

from stemscout.agents.perception.dcnn.card import best_threshold, greatest_noise
from stemscout.agents.perception.dcnn.scoring import BINS, Tally


def tally(true, right_at, wrong_at):
    """Of claims by confidence, in tenths."""
    right, wrong = np.zeros(BINS, dtype=np.int64), np.zeros(BINS, dtype=np.int64)
    for of, at in ((right, right_at), (wrong, wrong_at)):
        for tenth, count in at.items():
            of[tenth] = count
    return Tally(true, int((right + wrong).sum()), int(right.sum()), right + wrong, right)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (tally(20, {9: 20}, {}), 0.5),  # any will do: a half
        (tally(20, {9: 18}, {5: 10, 6: 10}), 0.7),  # what is wrong is left out
        (tally(200, {9: 180}, {5: 3, 6: 3}), 0.5),  # but not for a little of it
        (tally(20, {3: 10, 9: 10}, {}), 0.3),  # what is right but unsure is not
        (tally(5, {9: 3}, {6: 10}), 0.5),  # too few to say
    ],
)
def test_a_threshold_is_that_of_the_highest_f1(of, expected):
    assert best_threshold(of) == pytest.approx(expected)


def test_noise_is_bounded_where_the_network_fails():
    sure, lost, none = tally(10, {9: 10}, {}), tally(10, {9: 2}, {}), tally(0, {}, {})
    noise = np.linspace(0.0, 1.0, 100)

    def most(of):
        """Columns are always found."""
        return greatest_noise([(n, {"C": tally(100, {9: 100}, {}), "hole": of(n)}) for n in noise])

    assert most(lambda n: sure) == 1.0
    assert most(lambda n: sure if n < 0.5 else lost) == pytest.approx(0.5, abs=0.02)
    assert most(lambda n: sure if n < 0.5 and not 0.2 < n < 0.3 else lost) > 0.45, "by chance"
    assert most(lambda n: lost) == 0.0
    assert most(lambda n: lost if n < 0.1 or n > 0.7 else sure) == pytest.approx(0.7, abs=0.02)
    assert most(lambda n: none) == 1.0, "columns alone were asked for"
    assert most(lambda n: none if n > 0.9 else lost if n > 0.5 else sure) == pytest.approx(
        0.5, abs=0.02
    ), "where no feature is, columns alone do not stretch the limit"
