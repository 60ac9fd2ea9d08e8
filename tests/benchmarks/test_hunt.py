"""One navigator on one target: what is scored, by hand."""

from __future__ import annotations

import time
from dataclasses import asdict

import numpy as np
import pytest

from stemscout.agents.agent import Needs
from stemscout.agents.catalogue import make_navigator
from stemscout.agents.navigation.navigator import Candidates, Decision
from stemscout.benchmarks import hunt as hunting
from stemscout.benchmarks.contest import Length
from stemscout.benchmarks.hunt import Trace, found_at, given_up, hunt, replayed, run_job, scores
from stemscout.benchmarks.rivals import contestant
from stemscout.benchmarks.suite import Job
from stemscout.benchmarks.targets import Target, context_for, make_target


def tiny():
    """Candidate 5 is worth 1 and 6 is worth 0.5; two features, {5, 6} and {100}."""
    values = np.zeros((64, 64))
    values[0, 5], values[0, 6] = 1.0, 0.5
    return Target("bumps", 0, values, features=(np.array([5, 6]), np.array([100])))


class Scripted:
    """Takes these candidates, batch by batch, and keeps what it was told."""

    name, privileged, needs, settings = "scripted", False, Needs(), {}

    def __init__(self, *batches):
        self.batches = batches

    def reset(self, context, rng):
        self.context, self.candidates = context, Candidates.of(context)
        self.left, self.situations = list(self.batches), []

    def decide(self, situation):
        self.situations.append(situation)
        if not self.left:
            return None
        centres = self.candidates.centres_yx_nm[np.array(self.left.pop(0), dtype=int)]
        return Decision.at(self.context, centres, "it is written")


def trace_of(*batches, latency=0.001):
    candidates = Candidates.of(context_for(500))
    decisions = [
        Decision.at(context_for(500), candidates.centres_yx_nm[np.array(b)], "") for b in batches
    ]
    requests = [asdict(r) for d in decisions for r in d.requests]
    return Trace(requests, [len(b) for b in batches], [latency] * len(batches))


def test_what_a_navigator_is_told():
    target, navigator = tiny(), Scripted([7], [5, 6], [100])
    choices = list(hunt(navigator, target, Length(observations=4)))
    assert [len(c.requests) for c in choices] == [1, 2, 1]
    first, second, third = navigator.situations
    assert [len(s.measured_yx_nm) for s in (first, second, third)] == [0, 1, 3]
    assert [s.left for s in (first, second, third)] == [4, 3, 1]
    assert third.targets == pytest.approx(target.observed.ravel()[[7, 5, 6]])
    assert third.dose.tolist() == [1.0] * 3
    assert third.descriptors is None


def test_what_is_read_depends_on_the_candidate_and_not_on_the_order():
    target, forth, back = tiny(), Scripted([1], [2], [3]), Scripted([3, 2, 1])
    for navigator in (forth, back):
        list(hunt(navigator, target, Length(observations=4)))
    there, back_again = forth.situations[-1].targets, back.situations[-1].targets
    assert np.array_equal(there, back_again[::-1])


def test_scores_by_hand():
    found = scores(tiny(), trace_of([7], [6], [100], [5]), Length(observations=100))
    assert found["frames"] == 4
    assert found["regret"] == {"50": 0.0, "100": 0.0}
    assert found["share"] == {"50": 1.0, "100": 1.0}
    assert found["curve"] == {"at": [2, 3], "of": 2}
    assert found["area"] == pytest.approx((0 + 0.5 + 98 * 1.0) / 100)
    assert found["repeats"] == 0


def test_regret_is_of_values_without_noise_over_their_range():
    halfway = scores(tiny(), trace_of([7], [6]), Length(observations=50))
    assert halfway["regret"] == {"50": 0.5}
    nothing = scores(tiny(), Trace(), Length(observations=50))
    assert nothing["regret"] == {"50": 1.0}
    assert nothing["share"] == {"50": 0.0}


def test_a_feature_is_found_at_the_first_of_its_candidates():
    assert found_at(tiny(), np.array([6, 5, 6])).tolist() == [1.0, np.inf]


def test_a_score_at_a_count_is_that_of_a_prefix():
    rest = list(range(200, 296))
    found = scores(tiny(), trace_of(rest[:60], [5], rest[60:90], [100]), Length(observations=100))
    assert found["share"] == {"50": 0.0, "100": 1.0}
    assert found["regret"] == {"50": 1.0, "100": 0.0}


def test_a_flat_field_has_coverage_and_nothing_else():
    found = scores(make_target("flat", 0), trace_of([0], [4095]), Length(observations=50))
    assert found["regret"] == {"50": None}
    assert found["share"] == {"50": None}
    assert found["area"] is None
    # A quarter of a disc of radius 3 at each corner.
    assert found["covered"] == {"50": pytest.approx(2 * 11 / 4096)}


def test_a_navigator_that_repeats_itself_is_caught():
    found = scores(tiny(), trace_of([7], [8, 7], [8]), Length(observations=50))
    assert found["repeats"] == 2


def test_a_batch_that_goes_beyond_the_end_is_cut():
    target, navigator = tiny(), Scripted([1, 2, 3], [4, 5, 6])
    choices = list(hunt(navigator, target, Length(observations=5)))
    assert [len(c.requests) for c in choices] == [3, 2]


def test_times_belong_to_the_decisions_around_a_count():
    """At 50 those with 41 to 50 observations; the first 41 were slow."""
    trace = trace_of(*[[k] for k in range(100)])
    trace.latency_s = [1.0] * 41 + [0.002] * 10 + [0.003] * 49
    found = scores(tiny(), trace, Length(observations=100))
    assert found["median_ms"] == {"50": pytest.approx(2.0), "100": pytest.approx(3.0)}
    assert found["p95_ms"]["50"] == pytest.approx(2.0)


def test_with_observations_that_were_told_only_times_are_scored():
    length = Length(observations=300, told=200, decisions=5)
    navigator = make_navigator("random")
    choices = list(hunt(navigator, make_target("bumps", 0), length))
    assert len(choices) == 5
    trace = trace_of([0], [1])
    found = scores(tiny(), trace, length)
    assert set(found) == {"frames", "repeats", "median_ms", "p95_ms"}
    assert found["median_ms"] == {"200": pytest.approx(1.0)}


def test_what_was_told_is_the_same_for_all_and_counts_as_observed():
    length = Length(observations=300, told=200, decisions=1)
    target, one, other = make_target("bumps", 4), Scripted([0]), Scripted([9])
    list(hunt(one, target, length)), list(hunt(other, target, length))
    told = one.situations[0].measured_yx_nm
    assert len(np.unique(told, axis=0)) == 200
    assert np.array_equal(told, other.situations[0].measured_yx_nm)
    assert np.array_equal(one.situations[0].targets, other.situations[0].targets)


def job(navigator="random", target="bumps", seed=3, **options):
    options = {"observations": 60, **options}
    return Job(
        f"navigation/{target}",
        "as is",
        "a test",
        options,
        {"name": navigator},
        navigator,
        seed,
        "test",
        0.4,
        (),
        "none",
    )


def test_the_same_seed_gives_the_same_trace_and_its_replay_the_same_scores():
    first, again = run_job(job()), run_job(job())
    assert first["ended"] == "all observations were made"
    assert first["trace"]["requests"] == again["trace"]["requests"]
    assert replayed(first) == first["scores"]
    assert run_job(job(seed=4))["trace"]["requests"] != first["trace"]["requests"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"specimen_digest": "0" * 16}, "it was made by another version"),
        ({"taken": [1] * 59}, "its decisions are not those that took its frames"),
    ],
)
def test_a_record_that_cannot_be_is_refused(change, sentence):
    record = run_job(job())
    trace = {k: v for k, v in change.items() if k in record["trace"]}
    top = {k: v for k, v in change.items() if k not in record["trace"]}
    with pytest.raises(ValueError, match=sentence):
        replayed({**record, **top, "trace": {**record["trace"], **trace}})


@pytest.fixture
def lends(monkeypatch):
    """Lets a job's navigator be another."""

    def lend(navigator):
        monkeypatch.setattr(hunting, "contestant", lambda **of: navigator)

    return lend


def test_a_navigator_with_nothing_left_keeps_what_it_has(lends):
    lends(Scripted([0], [1]))
    record = run_job(job())
    assert record["ended"] == "the navigator had nothing left to do"
    assert not record["failed"]
    assert record["scores"]["frames"] == 2
    assert replayed(record) == record["scores"]


def test_one_that_raises_scores_what_it_had(lends):
    class Breaks(Scripted):
        def decide(self, situation):
            if len(situation.targets) == 3:
                raise ZeroDivisionError("of no use")
            return super().decide(situation)

    lends(Breaks([0], [1], [2]))
    record = run_job(job())
    assert record["failed"]
    assert record["ended"].startswith("failed: ZeroDivisionError: of no use")
    assert record["scores"]["frames"] == 3


def test_one_that_decides_upon_nothing_has_failed(lends):
    class Nothing(Scripted):
        def decide(self, situation):
            return Decision((), "no reason")

    lends(Nothing())
    assert "decided upon no frame" in run_job(job())["ended"]


def test_one_that_leaves_the_field_has_failed(lends):
    class Leaves(Scripted):
        def decide(self, situation):
            return Decision.at(self.context, np.array([0.0, 1e3]), "away")

    lends(Leaves())
    assert "and the field ends at" in run_job(job())["ended"]


def test_one_that_hangs_has_failed(lends):
    class Hangs(Scripted):
        def decide(self, situation):
            time.sleep(30.0)

    lends(Hangs())
    assert run_job(job(), patience_s=0.2)["ended"] == "failed: no decision within 0.2 s"


def test_one_that_nothing_came_back_from_has_a_record():
    record = given_up(job(), "its workers died")
    assert record["ended"] == "failed: its workers died"
    assert record["scores"]["share"] == {"50": 0.0}
    assert replayed(record) == record["scores"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"observations": 0}, "observations is 0; it must be an integer from 1 to 4096"),
        ({"observations": 5000}, "it must be an integer from 1 to 4096"),
        ({"observations": 1.5}, "observations is 1.5"),
        ({"told": 500}, "500 observations are told first, of 500; at least one must be left"),
        ({"decisions": 0}, "decisions is 0"),
        ({"speed": 3}, "unknown option speed; navigators have: observations, told, decisions"),
    ],
)
def test_lengths_that_are_none(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Length.of(options)


def test_who_may_hunt():
    assert contestant("grid").name == "grid"
    assert contestant("bo", acquisition="UCB").acquisition == "UCB"
    with pytest.raises(ValueError, match=r"unknown navigator 'chess'; there are: .*botorch"):
        contestant("chess")
    with pytest.raises(ValueError, match="unknown navigator 'botorch'; there are: raster"):
        make_navigator("botorch")
    with pytest.raises(ValueError, match="grid has no option speed; it has: none"):
        contestant("grid", speed=3)
    with pytest.raises(ValueError, match="botorch has no option speed; it has: none"):
        contestant("botorch", speed=3)
