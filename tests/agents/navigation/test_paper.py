"""The paper's protocol: its batches, the stall of the published run, and the run mended."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from scipy.special import ndtr

from stemscout.agents.agent import Context
from stemscout.agents.navigation.navigator import Decision
from stemscout.agents.navigation.paper import OFFERED, Paper, mended_batch, published_batch
from stemscout.envs.actions import PositionAction
from stemscout.envs.reference import ReferenceFrame
from stemscout.hardware import Limits

SIDE = 24  # candidates of the synthetic map, along each edge
LINE = np.column_stack([np.zeros(10), np.arange(10.0)])


@pytest.fixture(scope="module")
def square():
    """The context of a field of 24 x 24 candidates, half a nm apart."""
    reference = ReferenceFrame((1.0, 1.0), (32, 32), 10.0)
    field = (0.5 * (SIDE + 1),) * 2
    limits = Limits(field, (0.1, 20), (0.001, 20), (1, 500), (1, 100), ("haadf",))
    actions = PositionAction(field, reference)
    return Context(field, reference, limits, actions, {"haadf": (0.0, 1.0)}, 1.0, 10_000)


@pytest.fixture(scope="module")
def pillars():
    """Abundances (24, 24) of three pillars in a matrix that has none, without noise."""
    y, x = np.mgrid[:SIDE, :SIDE]
    bumps = [
        top * np.exp(-((y - at) ** 2 + (x - by) ** 2) / (2 * 1.8**2))
        for at, by, top in ((5, 6, 1.0), (17, 9, 0.8), (11, 18, 0.9))
    ]
    return np.sum(bumps, axis=0)


@pytest.fixture(scope="module")
def follow(square, situation):
    """Runs the protocol on a map from its brightest pillar: decisions, and the candidates taken."""

    def go(truth, steps, **options):
        navigator = Paper(steps=steps, **options)
        navigator.reset(square, np.random.default_rng(0))
        centres, at = navigator.candidates.centres_yx_nm, [int(truth.argmax())]
        decisions: list[Decision] = []
        while (
            d := navigator.decide(situation(centres[at], truth.ravel()[at], left=10_000))
        ) is not None:
            decisions.append(d)
            new = np.array([r.centre_yx_nm for r in d.requests])
            at += navigator.candidates.nearest(new).tolist()
        return decisions, at

    return go


@pytest.fixture(scope="module")
def published(follow, pillars):
    return follow(pillars, 50, faithful=True)


@pytest.fixture(scope="module")
def mended(follow, pillars):
    return follow(pillars, 50, border=3)


def ssim(a, b, span, side=7):
    """Structural similarity (Wang et al., IEEE Trans. Image Process. 13 (2004) 600, eq. 13).

    In windows of 7 x 7, with K = 0.01 and 0.03 and unbiased covariances, averaged over the
    windows that lie inside: what the paper's notebooks use.
    """
    mean = lambda image: uniform_filter(image, side)  # noqa: E731
    unbiased = side**2 / (side**2 - 1)
    m, n = mean(a), mean(b)
    v, w, both = (unbiased * (mean(p * q) - mean(p) * mean(q)) for p, q in ((a, a), (b, b), (a, b)))
    c, d = (0.01 * span) ** 2, (0.03 * span) ** 2
    every = (2 * m * n + c) * (2 * both + d) / ((m * m + n * n + c) * (v + w + d))
    half = side // 2
    return every[half:-half, half:-half].mean()


def test_ssim_is_that_of_the_paper():
    image = np.random.default_rng(0).random((20, 20))
    assert ssim(image, image, 1.0) == pytest.approx(1.0)
    assert ssim(image, 1 - image, 1.0) < 0
    brighter = ssim(np.full((9, 9), 0.5), np.full((9, 9), 0.6), 1.0)
    assert brighter == pytest.approx((0.6 + 1e-4) / (0.25 + 0.36 + 1e-4)), "luminance alone"


# GPim's rule of the batch


def test_the_published_batch_lists_the_best_a_length_scale_apart():
    values = np.array([0, 9, 8, 7, 6, 5, 4, 3, 2, np.nan])
    batch = published_batch(values, np.zeros(10, bool), LINE, 2.0, 3, 500, np.random.default_rng(0))
    assert batch == [1, 4, 7], "what lies just a length scale away is too near"


def test_the_published_batch_begins_at_the_first_that_was_not_used():
    """Only its first: what follows down the list may be a repeat."""
    values = np.arange(10.0)[::-1]
    used = np.isin(np.arange(10), [0, 1, 5])
    batch = published_batch(values, used, LINE, 2.0, 2, 500, np.random.default_rng(0))
    assert batch == [2, 5]


def test_the_published_batch_begins_at_the_first_of_equals_even_if_used():
    """The stall: equal values are looked up by value, and the first of the zeros was used."""
    values = np.zeros(10)
    values[9] = 1.0
    used = np.isin(np.arange(10), [9, 8, 5, 2])  # 7 is the first that was not
    batch = published_batch(values, used, LINE, 2.0, 3, 500, np.random.default_rng(0))
    assert batch == [8, 5, 2]
    assert used[batch].all()


def test_the_published_batch_is_filled_with_whatever_is_on_the_list():
    values = np.array([5.0, 4, 3, 2, *[np.nan] * 6])
    used = np.isin(np.arange(10), [0])
    batch = published_batch(values, used, LINE, 50.0, 10, 3, np.random.default_rng(0))
    assert batch[0] == 1
    assert len(batch) == 10
    assert set(batch[1:]) == {1, 2}, "the second and third of the three best, repeats included"


def test_the_published_batch_goes_anywhere_once_all_was_used():
    values, used = np.arange(10.0), np.ones(10, bool)
    firsts = {
        published_batch(values, used, LINE, 1.0, 1, 500, np.random.default_rng(k))[0]
        for k in range(20)
    }
    assert len(firsts) > 3


@given(
    levels=st.integers(1, 30),
    taken=st.integers(0, 35),
    count=st.integers(1, 12),
    among=st.integers(1, 40),
    apart=st.floats(0.0, 8.0),
    seed=st.integers(0, 99),
)
def test_a_mended_batch_holds_different_new_ones(levels, taken, count, among, apart, seed):
    rng = np.random.default_rng(seed)
    yx = np.stack(np.mgrid[:6, :6], axis=-1).reshape(-1, 2).astype(float)
    values = rng.integers(0, levels, 36).astype(float)
    free = np.ones(36, bool)
    free[rng.choice(36, taken, replace=False)] = False
    count = min(count, int(free.sum()))
    batch = mended_batch(values, np.zeros(36), free, yx, apart, count, among, rng)
    assert len(set(batch)) == len(batch) == count
    assert free[batch].all()
    assert values[batch[0]] == values[free].max()
    worst = np.sort(values[free])[::-1][: max(among, count)].min()
    assert (values[batch] >= worst).all()


def test_a_mended_batch_is_apart_as_far_as_it_can_be():
    values = np.arange(10.0)[::-1]
    rng = np.random.default_rng(0)
    batch = mended_batch(values, values, np.ones(10, bool), LINE, 2.0, 6, 500, rng)
    assert batch[:4] == [0, 3, 6, 9]
    assert len(set(batch)) == 6


def test_equal_values_go_by_what_comes_second_and_then_by_chance():
    free, then = np.ones(10, bool), np.arange(10.0)
    rng = np.random.default_rng(0)
    assert mended_batch(np.zeros(10), then, free, LINE, 0.5, 3, 500, rng) == [9, 8, 7]
    firsts = {
        mended_batch(np.zeros(10), np.zeros(10), free, LINE, 0.5, 1, 500, rng)[0] for _ in range(30)
    }
    assert len(firsts) > 5


# the runs


def test_the_published_run_stalls(published):
    """From some step on every batch is the same, and all of it was measured before."""
    decisions, at = published
    batches = np.array(at[1:]).reshape(len(decisions), 10)
    assert len(decisions) == 50
    fresh = [len(set(b) - set(at[: 1 + 10 * k])) for k, b in enumerate(batches.tolist())]
    stalled = np.flatnonzero(fresh)[-1] + 1
    assert 10 < stalled < 40
    assert (batches[stalled + 1 :] == batches[-1]).all()
    left = (SIDE - 6) ** 2 - len(set(at))
    assert left > 50, "and that is not because there was nothing left"
    assert "underflowed to 0" in decisions[-1].reason
    assert "a batch of 10" in decisions[-1].reason
    assert "10 of them measured before" in decisions[-1].reason


def test_it_stalls_because_everything_new_is_worth_exactly_0(published):
    decisions, at = published
    values, _ = decisions[-1].maps["acquisition"]
    new = ~np.isin(np.arange(SIDE**2), at) & ~np.isnan(values)
    assert new.any()
    assert (values[new] == 0.0).all()
    assert np.nanmax(values) > 0.0, "what is measured keeps its worth, and the head of the list"


def test_the_mended_run_does_not_stall(mended):
    """It goes on where the other stalls, to the last candidate."""
    decisions, at = mended
    assert len(set(at)) == len(at) == (SIDE - 6) ** 2
    assert all(len(d.requests) == 10 for d in decisions[:-1])
    assert not any("before" in d.reason for d in decisions)
    assert any("where least is missing" in d.reason for d in decisions)


def test_the_mended_run_maps_as_well_and_collects_all(published, mended, pillars):
    feature = (pillars > pillars.std() ** 2).ravel()  # the notebooks' threshold
    feature &= np.pad(np.ones((SIDE - 6,) * 2, bool), 3).ravel()
    collected, similar = [], []
    for decisions, at in (published, mended):
        collected.append(np.isin(np.flatnonzero(feature), at).mean())
        mean = decisions[-1].maps["posterior mean"][0].reshape(SIDE, SIDE)
        similar.append(ssim(pillars, mean, np.ptp(pillars)))
    assert collected[0] < 0.9
    assert collected[1] == 1.0
    assert similar[1] > similar[0] > 0.8


def test_the_border_is_left_out_as_published(published):
    rows, columns = np.divmod(published[1], SIDE)
    assert min(rows.min(), columns.min()) == 3
    assert max(rows.max(), columns.max()) == SIDE - 4


def test_the_published_incumbent_is_the_greatest_of_means_and_deviations(
    ready, measured, bump, situation
):
    """GPim takes the maximum over the pair that its prediction returns."""
    navigator = ready(Paper(faithful=True, seed_frames=3, border=0))
    centres, targets = measured(navigator, 12, bump)
    decision = navigator.decide(situation(centres, targets - 5.0))
    (mean, _), (sigma, _) = (decision.maps[k] for k in ("posterior mean", "uncertainty"))
    noisy = np.sqrt(sigma**2 + navigator.gp.noise_at_reference())
    at = navigator.candidates.nearest(centres)
    assert mean.max() < 0 < noisy[at].max()
    expected = ndtr((mean - noisy[at].max() - 0.01) / noisy)
    values, _ = decision.maps["acquisition"]
    assert np.isnan(values[at[:3]]).all(), "seed frames are masked"
    there = ~np.isnan(values)
    assert there.sum() == len(values) - 3
    assert values[there] == pytest.approx(expected[there], rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("acquisition", OFFERED)
def test_units_of_the_target_do_not_matter_to_the_mended(
    ready, measured, bump, situation, acquisition
):
    picks = []
    for scale, offset in ((1.0, 0.0), (1e6, -3e6), (1e-6, 0.0)):
        navigator = ready(Paper(acquisition))
        centres, targets = measured(navigator, 15, bump)
        decision = navigator.decide(situation(centres, scale * targets + offset))
        assert len(decision.requests) == 10
        picks.append([r.centre_yx_nm for r in decision.requests])
    assert picks[0] == picks[1] == picks[2]


@pytest.mark.parametrize("acquisition", OFFERED)
@pytest.mark.parametrize("faithful", [False, True])
def test_every_acquisition_finds_the_bump(ready, run, bump, acquisition, faithful):
    navigator = ready(Paper(acquisition, faithful=faithful, border=0))
    _, targets = run(navigator, bump, 41)
    assert targets.max() > 0.85


def test_the_first_batch_knows_one_frame_and_keeps_away_from_it(ready, situation):
    """A workflow has no target before its second frame."""
    for target in (np.nan, 0.7):
        navigator = ready(Paper())
        seed = navigator.decide(situation())
        assert seed.reason == "seed frame 1 of 1"
        assert len(seed.requests) == 1
        first = navigator.decide(situation([seed.centre_yx_nm], [target]))
        new = np.array([r.centre_yx_nm for r in first.requests])
        assert len(new) == 10
        assert "least" in first.reason
        assert np.hypot(*(new[0] - seed.centre_yx_nm)) > 6.0


def test_it_ends_after_its_steps(follow, pillars):
    decisions, at = follow(pillars, 4, batch=5)
    assert len(decisions) == 4
    assert len(at) == 21


def test_a_batch_is_no_longer_than_what_is_left(ready, measured, bump, situation):
    for faithful in (False, True):
        navigator = ready(Paper(faithful=faithful))
        centres, targets = measured(navigator, 15, bump)
        assert len(navigator.decide(situation(centres, targets, left=4)).requests) == 4


@pytest.mark.parametrize("faithful", [False, True])
def test_no_frame_touches_what_is_forbidden(ready, measured, bump, situation, faithful):
    navigator = ready(Paper(faithful=faithful, border=0))
    centres, targets = measured(navigator, 25, bump)
    rectangle = ((0.0, -9.0), (6.0, 9.0))  # the bump is in there
    decision = navigator.decide(situation(centres, targets, forbidden=[rectangle]))
    assert all(r.centre_yx_nm[0] + 0.75 <= 0.0 for r in decision.requests)
    assert np.isnan(decision.maps["acquisition"][0]).sum() > 150


@pytest.mark.parametrize("faithful", [False, True])
def test_a_run_goes_on_as_it_would_have(ready, run, bump, situation, faithful):
    navigator = ready(Paper(faithful=faithful, border=0, batch=4))
    centres, targets = run(navigator, bump, 17)
    state = json.loads(json.dumps(navigator.save()))
    other = ready(Paper(faithful=faithful, border=0, batch=4), seed=77)
    other.restore(state, situation(centres, targets))
    for _ in range(3):
        one, two = (n.decide(situation(centres, targets)).requests for n in (navigator, other))
        assert [r.centre_yx_nm for r in one] == [r.centre_yx_nm for r in two]
        new = np.array([r.centre_yx_nm for r in one])
        centres, targets = np.vstack([centres, new]), np.append(targets, [bump(*c) for c in new])
    assert navigator.done == other.done


@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("value", [0.0, 3.5, -1e9])
def test_constant_targets_send_it_where_it_knows_least(
    ready, measured, bump, situation, faithful, value
):
    navigator = ready(Paper(faithful=faithful))
    centres, _ = measured(navigator, 8, bump)
    decision = navigator.decide(situation(centres, np.full(8, value)))
    assert "all targets are equal" in decision.reason
    assert len(decision.requests) == 10
    sigma, _ = decision.maps["acquisition"]
    first = navigator.candidates.nearest(np.array([decision.centre_yx_nm]))
    assert sigma[first] == np.nanmax(sigma) > 0


@pytest.mark.parametrize("faithful", [False, True])
def test_targets_that_are_not_finite_are_left_out_and_points_may_coincide(
    ready, measured, bump, situation, faithful
):
    navigator = ready(Paper(faithful=faithful))
    centres, targets = measured(navigator, 12, bump)
    targets[2], targets[5], targets[6] = np.nan, np.inf, -np.inf
    centres = np.vstack([centres, centres[:2], [[0.1, 0.2]]])
    targets = np.append(targets, [0.4, 0.5, 0.1])
    decision = navigator.decide(situation(centres, targets))
    assert len(decision.requests) == 10
    assert np.isfinite(decision.maps["posterior mean"][0]).all()


def test_of_a_repeated_candidate_the_latest_reading_counts_as_published(
    ready, measured, bump, situation
):
    believed = []
    for twice in (False, True):
        navigator = ready(Paper(faithful=True))
        centres, targets = measured(navigator, 15, bump)
        if twice:
            centres, targets = np.vstack([centres, centres[4]]), np.append(targets, targets[4])
            targets[4] = 9.0
        believed.append(navigator.decide(situation(centres, targets)).maps["posterior mean"][0])
    assert believed[0] == pytest.approx(believed[1])


def test_few_are_left_and_then_none(ready, bump, situation):
    navigator = ready(Paper())
    every = navigator.candidates.centres_yx_nm
    targets = np.array([bump(*c) for c in every])
    most = np.delete(every, [3, 200, 300], axis=0)
    decision = navigator.decide(situation(most, np.delete(targets, [3, 200, 300])))
    assert {r.centre_yx_nm for r in decision.requests} == set(map(tuple, every[[3, 200, 300]]))
    assert navigator.decide(situation(every, targets)) is None
    assert ready(Paper(faithful=True)).decide(situation(every, targets)) is None


def test_a_field_of_one_frame(square, situation):
    """One candidate: it is the seed, and then there is none."""
    navigator = Paper()
    one = replace(square, field_yx_nm=(1.0, 1.0))
    navigator.reset(one, np.random.default_rng(0))
    first = navigator.decide(situation())
    assert [r.centre_yx_nm for r in first.requests] == [(0.0, 0.0)]
    assert navigator.decide(situation([(0.0, 0.0)], [1.0])) is None


def test_noise_keeps_the_published_run_going(follow, pillars):
    """Nothing underflows beside a σ that noise has widened."""
    noisy = pillars + np.random.default_rng(1).normal(0.0, 0.03, pillars.shape)
    _, at = follow(noisy, 40, faithful=True)
    assert len(set(at[-100:]) - set(at[:-100])) > 20


def test_a_border_that_leaves_nothing_is_refused(ready):
    ready(Paper(border=7))
    with pytest.raises(ValueError, match="a border of 8 leaves nothing of 15 x 23 candidates"):
        ready(Paper(border=8))


def test_curiosity_can_be_set_where_there_is_any(ready):
    navigator = ready(Paper("mean+sigma"))
    assert navigator.settings["exploration"] == 4.0
    navigator.steer(1.0)
    assert navigator.settings["exploration"] == 1.0
    with pytest.raises(ValueError, match="none to set"):
        Paper("sigma").steer(1.0)


def test_bad_settings():
    for wrong in (
        {"acquisition": "luck"},
        {"faithful": "yes"},
        {"batch": 0},
        {"among": 2.5},
        {"steps": 0},
        {"border": -1},
        {"seed_frames": 0},
        {"seeding": "everywhere"},
        {"length_scale_nm": [3.0, 1.0]},
        {"noise": 0.0},
        {"exploration": -1.0},
    ):
        (name,) = wrong
        with pytest.raises(ValueError, match=name.split("_")[0]):
            Paper(**wrong)
