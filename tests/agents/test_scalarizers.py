"""From what a perception says of frames to the one number that is pursued."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from stemscout.agents.scalarizers import WORDS, frame_means, scalarizer_of

NAMES = ("first", "second")
EVERY = [
    *WORDS,
    1,
    "second",
    {"direction": [0.6, -0.8]},
    {"point": [5.0, -2.0]},
    {"region": [[-1, -1], [-1, 9], [9, 0]]},
]


def usual(frames=30, pieces=8, seed=0):
    """Pieces of usual frames: two descriptors, of very different widths."""
    rng = np.random.default_rng(seed)
    return [rng.normal([5.0, -2.0], [1.0, 0.01], (pieces, 2)) for _ in range(frames)]


def even(pieces):
    return np.full(len(pieces), 1 / len(pieces))


def fitted(plain, pieces, shares=None):
    made = scalarizer_of(plain)
    made.check(NAMES)
    made.fit(pieces, even(pieces) if shares is None else shares)
    return made


@pytest.mark.parametrize("plain", EVERY, ids=str)
class TestAll:
    def test_a_number_for_each_frame(self, plain):
        pieces = usual()
        assert fitted(plain, pieces)(pieces).shape == (30,)

    def test_plain_data_make_the_same_one_again(self, plain):
        pieces = usual()
        made = fitted(plain, pieces)
        again = fitted(json.loads(json.dumps(made.plain)), pieces)
        assert np.array_equal(made(pieces), again(pieces))

    def test_frames_without_a_piece_have_no_target(self, plain):
        pieces = [*usual(), np.empty((0, 2))]
        found = fitted(plain, pieces)(pieces)
        assert np.isnan(found[-1])
        assert np.isfinite(found[:-1]).all()

    def test_frames_that_are_all_alike_do_no_harm(self, plain):
        pieces = [np.full((3, 2), 0.1)] * 4
        found = fitted(plain, pieces)(pieces)
        assert np.isfinite(found).all()
        assert np.ptp(found) == 0.0

    def test_descriptors_that_are_no_numbers_are_not_learned_from(self, plain):
        pieces = [*usual(), np.full((2, 2), np.nan)]
        assert np.isfinite(fitted(plain, pieces)(pieces)[:-1]).all()

    def test_the_order_of_the_pieces_of_a_frame_does_not_matter(self, plain):
        pieces = usual(pieces=4)
        made = fitted(plain, pieces)
        assert made([p[::-1] for p in pieces]) == pytest.approx(made(pieces))


@pytest.mark.parametrize("plain", ["distance", "farthest", "rarity", "rarest"])
def test_the_unusual_frame_stands_out_whatever_the_units_are(plain):
    odd = usual(1)[0]
    odd[:4, 1] += 0.2  # 20 deviations, of the narrow descriptor and of half of the pieces
    found = fitted(plain, [*usual(seed=1), odd])([*usual(seed=1), odd])
    assert found.argmax() == 30


@pytest.mark.parametrize("plain", ["farthest", "rarest"])
def test_one_odd_piece_among_many_counts_in_full(plain):
    few, many = (usual(1, pieces=n)[0] for n in (4, 400))
    for frame in (few, many):
        frame[0] = [5.0, -1.8]
    made = fitted(plain, usual(seed=1))
    assert made([few])[0] == pytest.approx(made([many])[0], rel=0.2)


def test_variation_is_of_the_frames_and_towards_what_is_rare():
    pieces = usual()
    for frame in pieces[:3]:
        frame[:, 0] -= 8.0
    made = fitted("variation", pieces)
    assert made.shown == (0, -1.0)
    assert made(pieces)[:3].min() > made(pieces)[3:].max()


def test_variation_goes_by_the_field_and_not_by_where_was_looked():
    """Twenty frames of a patch that is a tenth of the field, and three of the rest."""
    pieces = usual(23)
    for frame in pieces[:20]:
        frame[:, 0] += 8.0
    made = fitted("variation", pieces, np.repeat([0.1 / 20, 0.9 / 3], [20, 3]))
    assert made.shown == (0, 1.0)
    assert fitted("variation", pieces).shown == (0, -1.0)


def test_distance_is_mahalanobis():
    rng = np.random.default_rng(0)
    pieces = list(rng.multivariate_normal([1, 2], [[4, 1.5], [1.5, 1]], (40, 25)))
    every = np.concatenate(pieces)
    inverse = np.linalg.inv(np.cov(every.T, bias=True))
    away = every - every.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", away, inverse, away)).reshape(40, 25)
    assert fitted("distance", pieces)(pieces) == pytest.approx(expected.mean(axis=1))
    assert fitted("farthest", pieces)(pieces) == pytest.approx(expected.max(axis=1))


def test_rarity_is_scipys_kernel_density():
    rng = np.random.default_rng(0)
    pieces = list(rng.multivariate_normal([1, 2], [[4, 1.5], [1.5, 1]], (20, 25)))
    every = np.concatenate(pieces)
    density = gaussian_kde(every.T).logpdf(every.T).reshape(20, 25)
    found = fitted("rarity", pieces)(pieces)
    away = found + density.mean(axis=1)  # equal but for the constant of the whitening
    assert np.ptp(away) < 0.01 * np.ptp(found)


def test_a_direction_has_length_1_and_a_region_counts_pieces():
    pieces = [np.array([[1.0, 0.0], [3.0, 2.0]])]
    assert fitted({"direction": [0.0, 5.0]}, pieces)(pieces)[0] == pytest.approx(1.0)
    box = {"region": [[2, 1], [2, 3], [4, 3], [4, 1]]}
    assert fitted(box, pieces)(pieces)[0] == 0.5


def test_nearer_to_a_point_is_better_in_the_units_of_each_descriptor():
    pieces = usual()
    means = frame_means(pieces)
    found = fitted({"point": [5.0, -2.0]}, pieces)(pieces)
    apart = (means - [5.0, -2.0]) / np.concatenate(pieces).std(axis=0)
    assert found == pytest.approx(-np.linalg.norm(apart, axis=1))
    alone = fitted({"point": [5.0]}, pieces)(pieces)  # whatever the second descriptor is
    assert alone == pytest.approx(-np.abs(apart[:, 0]))


def test_one_is_shown_where_one_descriptor_is_pursued():
    pieces = usual()
    shown = {str(p): fitted(p, pieces).shown for p in EVERY}
    assert shown["1"] == shown["second"] == (1, 1.0)
    assert all(shown[w] is None for w in ("distance", "rarity", "{'direction': [0.6, -0.8]}"))


def test_means_of_frames_are_of_their_pieces():
    assert np.array_equal(frame_means([np.array([[1.0], [3.0]])]), [[2.0]])
    assert frame_means([]).shape == (0, 0)


@pytest.mark.parametrize(
    ("plain", "sentence"),
    [
        (-1, "component -1; it must be at least 0"),
        (True, "component True; it must be an integer >= 0, or a name"),
        (0.5, "component 0.5; it must be an integer"),
        (None, "component None"),
        (2, "component 2; there are components 0 to 1"),
        ("third", "unknown component 'third'; there are: first, second, variation, distance"),
        ({"direction": [1.0]}, "a direction of 1 components; there are 2 descriptors: first, sec"),
        ({"direction": [0, 0]}, "a direction of length 0"),
        ({"direction": "up"}, "a direction 'up'; it must be numbers"),
        ({"direction": [np.nan, 1]}, "it must be 1-dimensional, and finite"),
        ({"point": [0, 1, 2]}, "a point of 3 numbers; there are 2 descriptors: first, second"),
        ({"point": 1}, "a point 1; it must be 1-dimensional"),
        ({"point": ["left"]}, "it must be numbers"),
        ({"region": [[0, 0], [1, 1]]}, "at least three corners"),
        ({"region": [0, 1, 2]}, "it must be 2-dimensional"),
        ({"circle": 1}, "unknown scalarizer {'circle': 1}; there are: variation, distance"),
        ({}, "unknown scalarizer {}"),
    ],
)
def test_bad_wishes(plain, sentence):
    with pytest.raises(ValueError, match=sentence):
        scalarizer_of(plain).check(NAMES)


def test_a_region_needs_a_plane():
    with pytest.raises(ValueError, match="a region needs two descriptors"):
        scalarizer_of({"region": [[0, 0], [1, 1], [0, 1]]}).check(("one",))
