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
        (tally(20, {3: 10, 9: 10}, {}), 0.3),  # what is right but unsure is not
        (tally(5, {9: 3}, {6: 10}), 0.5),  # too few to say
    ],
)
def test_a_threshold_is_that_of_the_highest_f1(of, expected):
    assert best_threshold(of) == pytest.approx(expected)


def test_noise_is_bounded_where_the_network_fails():
    sure, lost = tally(10, {9: 10}, {}), tally(10, {9: 2}, {})
    noise = np.linspace(0.0, 1.0, 100)
    assert greatest_noise([(n, sure) for n in noise]) == 1.0
    half = greatest_noise([(n, sure if n < 0.5 else lost) for n in noise[::-1]])
    assert half == pytest.approx(0.5, abs=0.02)
    assert greatest_noise([(n, lost) for n in noise]) == 0.0
    assert greatest_noise([(n, tally(0, {}, {})) for n in noise]) == 1.0, "nothing was asked"
