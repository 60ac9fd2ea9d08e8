"""What counts as found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from stemscout.agents.agent import Finding
from stemscout.benchmarks.found import Claim, claims_of, found, verdicts
from stemscout.hardware.microscope import ScanRegion
from stemscout.simulators.exposure import Exposure
from stemscout.simulators.specimens import FeatureClass, Specimen
from stemscout.simulators.specimens.specimen import Kind

DEFECT = FeatureClass("defect", 0.3, 0.2, 0.05, 100.0)
OTHER = FeatureClass("other", 0.3, 0.2, 0.05, 100.0)
WALL = FeatureClass("wall", 0.3, 0.3, 0.05, 100.0, "segment", 1.0)
CELL = FeatureClass("pillar", 0.3, 0.3, 0.05, 100.0, "cell", 1.0)
CLASSES = (DEFECT, OTHER, WALL, CELL)

DEFECTS = [(0, (1.0, 1.0)), (0, (4.0, -3.0)), (1, (-5.0, 2.0))]
SEGMENTS = [(2, (-7.0, x + 0.5)) for x in range(8)]  # along x, from 0 to 8
CELLS = [(3, (y + 0.5, x + 0.5)) for y in range(-9, -7) for x in range(-4, 0)]


def specimen(*features):
    return Specimen(
        name="mos2",
        seed=(0,),
        difficulty="easy",
        field_yx_nm=(24.0, 24.0),
        positions_yx_nm=np.zeros((1, 2)),
        height_nm=np.zeros(1),
        kind=np.zeros(1, dtype=np.int64),
        kinds=(Kind.atom("Mo"),),
        classes=CLASSES,
        feature_class=np.array([k for k, _ in features], dtype=np.int64),
        feature_yx_nm=np.array([yx for _, yx in features]).reshape(-1, 2),
    )


def point(y, x, label="defect"):
    return Claim(label, np.array([[y, x]]))


def line(x0, x1, y=-7.0):
    return Claim("wall", np.array([[y, x0], [y, x1]]))


def box(y0, x0, y1, x1):
    return Claim("pillar", np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]]))


RIGHT = [point(1.0, 1.0), point(4.0, -3.0), point(-5.0, 2.0, "other")]


def test_all_of_it_and_nothing_else_is_one():
    everything = specimen(*DEFECTS, *SEGMENTS, *CELLS)
    of = found([*RIGHT, line(0.0, 8.0), box(-9.0, -4.0, -7.0, 0.0)], everything)
    assert (of.precision, of.recall, of.f1, of.false) == pytest.approx((1.0, 1.0, 1.0, 0.0))


def test_nothing_claimed_is_nothing_found():
    of = found([], specimen(*DEFECTS))
    assert (of.precision, of.recall, of.f1, of.false) == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("claims", "precision", "recall"),
    [
        (RIGHT[:2], 1.0, 2 / 3),
        ([*RIGHT, point(9.0, 9.0)], 3 / 4, 1.0),
        ([*RIGHT, point(1.05, 1.0)], 3 / 4, 1.0),
        ([point(1.19, 1.0)], 1.0, 1 / 3),
        ([point(1.21, 1.0)], 0.0, 0.0),
        ([point(-5.0, 2.0)], 0.0, 0.0),
        ([*RIGHT, point(1.0, 1.0, "no such class")], 3 / 4, 1.0),
        ([*RIGHT, line(0.0, 1.0)], 3 / 4, 1.0),
        ([*RIGHT, Claim("defect", np.empty((0, 2)))], 3 / 4, 1.0),
    ],
    ids=[
        "one was missed",
        "one where nothing is",
        "the same once more",
        "within the tolerance",
        "beyond it",
        "of another class",
        "of no class",
        "of a kind that there is none of",
        "senseless",
    ],
)
def test_points(claims, precision, recall):
    of = found(claims, specimen(*DEFECTS))
    assert (of.precision, of.recall) == pytest.approx((precision, recall))
    total = precision + recall
    assert of.f1 == pytest.approx(2 * precision * recall / total if total else 0.0)


def test_two_claims_between_two_defects_are_matched_as_well_as_can_be():
    """The first is near both, the second near one alone: both are right."""
    both = specimen((0, (0.0, 0.0)), (0, (0.0, 0.3)))
    assert found([point(0.0, 0.15), point(0.0, 0.1)], both).recall == 1.0
    assert found([point(0.0, 0.15), point(0.0, -0.1)], both).recall == 1.0


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60))
def test_no_matching_has_more_pairs(seed, features, claims):
    rng = np.random.default_rng(seed)
    truth, said = rng.uniform(-1.0, 1.0, (features, 2)), rng.uniform(-1.0, 1.0, (claims, 2))
    near = np.hypot(*(said[:, None] - truth).transpose(2, 0, 1)) <= DEFECT.tolerance_nm
    most = (maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).sum()
    of = found([point(*yx) for yx in said], specimen(*((0, tuple(yx)) for yx in truth)))
    assert of.recall * features == pytest.approx(most)
    assert of.precision * claims == pytest.approx(most)


def test_long_walls_claimed_whole_are_all_found():
    """All pieces are near ten of the truth, and there is one matching that is right of each."""
    across = [(2, (y, x + 0.5)) for y in np.arange(-11.0, 12.0, 2.0) for x in range(-11, 11)]
    of = found([line(-11.0, 11.0, y) for y in np.arange(-11.0, 12.0, 2.0)], specimen(*across))
    assert (of.precision, of.recall) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("claims", "precision", "recall"),
    [
        ([line(0.0, 4.0)], 1.0, 0.5),
        ([line(0.0, 8.0, -6.75)], 1.0, 1.0),
        ([line(0.0, 8.0, -6.65)], 0.0, 0.0),
        ([line(0.0, 8.0), line(0.0, 8.0)], 0.5, 1.0),
        ([line(0.0, 16.0)], 0.5 + 0.3 / 16, 1.0),
        ([Claim("wall", np.array([[-7.0, 3.5]]))], 1.0, 1 / 80),
    ],
    ids=["half", "within the buffer", "beyond it", "twice", "and too long", "a single point"],
)
def test_walls_count_by_length(claims, precision, recall):
    of = found(claims, specimen(*SEGMENTS))
    assert (of.precision, of.recall) == pytest.approx((precision, recall), abs=0.02)


@pytest.mark.parametrize(
    ("claims", "precision", "recall"),
    [
        ([box(-9.0, -4.0, -8.0, 0.0)], 1.0, 0.5),
        ([box(-9.0, -4.0, -7.0, 4.0)], 0.5, 1.0),
        ([box(-9.0, -4.0, -7.0, 0.0)] * 2, 0.5, 1.0),
        ([Claim("pillar", np.array([[-9.0, -4.0], [-7.0, 0.0]]))], 0.0, 0.0),
    ],
    ids=["half", "too wide", "twice", "no polygon"],
)
def test_areas_count_by_area(claims, precision, recall):
    of = found(claims, specimen(*CELLS))
    assert (of.precision, of.recall) == pytest.approx((precision, recall))


def test_points_and_extended_features_carry_half_each():
    both = specimen(*DEFECTS, *SEGMENTS)
    assert found(RIGHT, both).f1 == pytest.approx(0.5)
    assert found([line(0.0, 8.0)], both).f1 == pytest.approx(0.5)


def test_each_claim_and_each_feature_has_a_verdict():
    claims = [
        point(1.0, 1.1),
        point(1.0, 1.0),
        point(-5.0, 2.1),
        point(9.0, 9.0),
        Claim("defect", np.empty((0, 2))),
        point(-5.0, 2.0, "no such class"),
    ]
    of = verdicts(claims, specimen(*DEFECTS))
    assert sorted(of.right[:2]) == [0.0, 1.0], "the same claimed twice is right once"
    assert of.right[2:].tolist() == [0.0] * 4
    assert of.otherwise == ("", "", "other", "", "", "other")
    assert sorted(of.feature[:2].tolist()) == [-1, 0]
    assert of.feature[2:].tolist() == [-1] * 4
    assert of.claimed.tolist() == [1.0, 0.0, 0.0]


def test_verdicts_on_walls_and_areas_are_by_their_parts():
    both = specimen(*SEGMENTS, *CELLS)
    claims = [line(0.0, 4.0), line(4.0, 12.0), line(-10.0, -8.0), box(-9.0, -4.0, -8.0, 0.5)]
    of = verdicts(claims, both)
    assert of.right == pytest.approx([1.0, 0.5, 0.0, 4 / 4.5], abs=0.05)
    assert of.feature[2] == -1
    assert of.claimed[:8] == pytest.approx([1.0] * 8, abs=0.31), "all of the wall was claimed"
    assert of.claimed[8:].tolist() == [1.0] * 4 + [0.0] * 4, "the upper half of the area"


def test_a_right_wall_by_another_name_is_of_the_wrong_class():
    seam = FeatureClass("seam", 0.3, 0.3, 0.05, 100.0, "segment", 1.0)
    truth = replace(specimen(*SEGMENTS), classes=(*CLASSES, seam))
    claims = [Claim("seam", np.array([[-7.0, 0.0], [-7.0, 8.0]])), point(-7.0, 1.0)]
    of = verdicts(claims, truth)
    assert of.otherwise == ("wall", ""), "a point on a wall is no wall"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-8, -6), st.floats(-4, 8), st.sampled_from(["defect", "wall"])),
        max_size=8,
    )
)
def test_verdicts_add_up_to_what_is_counted(places):
    truth = specimen(*SEGMENTS)
    claims = [
        Claim(label, np.array([[y, x]] if label == "defect" else [[y, x], [y + 0.5, x + 1.0]]))
        for y, x, label in places
    ]
    of = verdicts(claims, truth)
    assert of.claimed.sum() / len(SEGMENTS) == pytest.approx(found(claims, truth).recall)


def test_a_finding_is_where_the_electrons_truly_were():
    """In a frame that was shifted and turned, pixels are those of the true footprint."""
    region = ScanRegion((2.0, 0.0), (1.6, 1.6), np.pi / 2)
    exposures = [Exposure(region, (0.5, -0.25), 0.1, 10.0)]
    finding = Finding(0, np.array([[7.5, 7.5], [7.5, 11.5]]), "wall", 1.0)
    (claim,) = claims_of([finding], exposures, [(16, 16)])
    # Turned by a right angle, (y, x) becomes (x, -y), and so does a step of 0.4 nm along x.
    assert claim.points_yx_nm == pytest.approx(np.array([[0.5, -2.25], [0.9, -2.25]]))


@pytest.mark.parametrize(
    "finding",
    [
        Finding(1, np.array([[3.0, 3.0]]), "defect", 1.0),
        Finding(-1, np.array([[3.0, 3.0]]), "defect", 1.0),
        Finding(0, np.array([[np.nan, 3.0]]), "defect", 1.0),
        Finding(0, np.array([[3.0, 1e9]]), "defect", 1.0),
        Finding(0, np.array([3.0, 3.0]), "defect", 1.0),
    ],
    ids=["no such frame", "negative", "not a number", "far outside", "not (n, 2)"],
)
def test_rubbish_is_a_false_claim(finding):
    exposures = [Exposure(ScanRegion((1.0, 1.0), (1.6, 1.6)), (0.0, 0.0), 0.1, 10.0)]
    claims = claims_of([finding], exposures, [(16, 16)])
    of = found([*RIGHT, *claims], specimen(*DEFECTS))
    assert (of.precision, of.recall, of.false) == (0.75, 1.0, 1.0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(-11, 11), st.floats(-11, 11), st.sampled_from(["defect", "other"])),
        max_size=12,
    )
)
def test_one_more_claim_never_lowers_recall_and_scores_stay_in_range(places):
    truth = specimen(*DEFECTS, *SEGMENTS)
    claims = [point(y, x, label) for y, x, label in places]
    before = 0.0
    for n in range(len(claims) + 1):
        of = found(claims[:n], truth)
        assert min(of.precision, of.recall, of.f1) >= 0.0
        assert max(of.precision, of.recall, of.f1) <= 1.0
        assert of.recall >= before - 1e-12
        before = of.recall
