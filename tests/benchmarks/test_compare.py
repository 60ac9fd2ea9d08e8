"""What changed between two folders: pairs, differences that are real, what is left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from stemscout.benchmarks import compare as module
from stemscout.benchmarks.compare import (
    compare,
    conclusion,
    markdown_of,
    rows_of,
    sentences,
    verdict_of,
)
from stemscout.benchmarks.statistics import Interval
from stemscout.benchmarks.suite import suite_of
from stemscout.commands.bench import app

SUITE = {
    "version": 1,
    "about": "a test",
    "environments": ["StemScout/GrapheneDefects-v0", "StemScout/NiOPillars-v0"],
    "difficulties": ["easy"],
    "specimens": 12,
    "budget": 0.1,
    "agents": [{"name": "random"}, {"name": "grid"}, {"name": "oracle"}],
}


@pytest.fixture
def folder(made_up):
    """Makes a folder of results of a suite, ``SUITE`` with what a test changes in it."""

    def make(name, change=None, keep=lambda job: True, **suite):
        return made_up(name, suite_of("mine", {**SUITE, **suite}), change, keep)

    return make


def by(found, score="area"):
    return {c.agent: c for c in found.changes if c.score == score}


def test_the_same_results_are_identical(folder):
    found = compare(folder("a"), folder("b"))
    assert [(c.agent, c.score) for c in found.changes] == [
        (a, s) for a in ("random", "grid", "oracle") for s in ("area", "in time", "seen")
    ]
    assert {(c.verdict, c.p, c.specimens, c.a - c.b) for c in found.changes} == {
        ("identical", None, 24, 0.0)
    }
    assert (found.conditions, found.specimens, found.notes) == (2, 24, [])
    assert found.suites[0] == found.suites[1]
    assert found.apart == {}


def test_what_is_better_what_is_worse_and_what_is_noise(folder):
    def after(job, record, rng):
        gain = {"random": 0.05, "grid": -0.05}.get(job.label, 0.0)
        record["scores"]["seen_area"] += gain + float(rng.normal(0, 0.02))

    found = compare(folder("a"), folder("b", after))
    random, grid, oracle = by(found).values()
    assert (random.verdict, grid.verdict, oracle.verdict) == (
        "better",
        "worse",
        "no difference shown",
    )
    assert random.difference.low < 0.05 < random.difference.high
    assert random.difference.value == pytest.approx(random.b - random.a)
    assert random.improvement.value > 0.9
    assert grid.improvement.value < 0.1
    assert max(random.p, grid.p) <= 0.05 < oracle.p
    assert {c.verdict for c in by(found, "seen").values()} == {"identical"}
    assert "by area: better: random; worse: grid; no difference shown: oracle." in " ".join(
        conclusion(found)
    )


def test_the_other_way_round_it_is_the_other_way_round(folder):
    def after(job, record, rng):
        record["scores"]["seen_area"] += 0.02 + float(rng.normal(0, 0.01))

    a, b = folder("a"), folder("b", after)
    there, back = by(compare(a, b))["grid"], by(compare(b, a))["grid"]
    assert there.difference.value == -back.difference.value
    assert there.p == back.p
    assert (there.verdict, back.verdict) == ("better", "worse")


def test_of_many_agents_by_chance_alone_none_is_called_real(folder):
    """Twelve agents whose scores are drawn anew: some interval may leave out 0, no verdict does."""
    agents = [{"name": "random", "label": f"agent {n}"} for n in range(12)]

    def after(job, record, rng):
        record["scores"]["seen_area"] = float(rng.uniform(0.2, 0.4))

    found = compare(folder("a", agents=agents), folder("b", after, agents=agents))
    assert len(by(found)) == 12
    assert not {"better", "worse"} & {c.verdict for c in by(found).values()}


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.01, 0.02, 0.05, "better"),
        (0.01, 0.02, 0.051, "perhaps better"),
        (-0.02, -0.01, 0.01, "worse"),
        (-0.02, -0.01, 0.2, "perhaps worse"),
        (-0.01, 0.02, 0.01, "no difference shown"),
        (1e-17, 0.02, 0.01, "no difference shown"),
        (0.0, 0.0, None, "identical"),
    ],
)
def test_verdicts(low, high, p, verdict):
    assert verdict_of(Interval((low + high) / 2, low, high), p) == verdict
    assert verdict in module.VERDICTS


def test_of_suites_that_differ_what_they_share_is_compared(folder):
    a = folder("a")
    b = folder(
        "b",
        version=2,
        environments=["StemScout/NiOPillars-v0", "StemScout/MoS2Defects-v0"],
        specimens=20,
        agents=[{"name": "oracle"}, {"name": "grid"}, {"name": "raster"}],
    )
    found = compare(a, b)
    assert set(by(found)) == {"grid", "oracle"}
    assert {c.specimens for c in found.changes} == {12}
    assert found.only == {"A": ["random"], "B": ["raster"]}
    assert found.settings == ["version", "environments", "specimens", "agents"]
    said = sentences(found)
    assert "24 episodes are in A only: 24 of GrapheneDefects, easy." in said
    assert "56 episodes are in B only: 40 of MoS2Defects, easy; 16 of NiOPillars, easy." in said
    assert "In A only: random." in said
    assert "The suites differ in version, environments, specimens, agents; compared is what" in (
        " ".join(said)
    )


def test_specimens_that_were_made_differently_are_left_out_and_said(folder):
    def after(job, record, rng):
        if job.specimen < 2 and "NiO" in job.environment:
            record["specimen_digest"] = "another"

    found = compare(folder("a"), folder("b", after))
    assert {c.specimens for c in found.changes} == {22}
    assert found.notes == [
        "6 episodes are left out, on specimens of the same number that were made differently in "
        "A and B: 2 of NiOPillars, easy."
    ]


def test_variants_of_the_same_name_and_other_options_are_not_the_same(folder):
    def noisy(imperfections):
        return [{"name": "as is"}, {"name": "noisy", "imperfections": imperfections}]

    a, b = (folder(n, variants=noisy(i)) for n, i in (("a", "realistic"), ("b", "pristine")))
    found = compare(a, b)
    assert found.conditions == 2
    assert found.notes == [
        "72 episodes are left out: options is {'imperfections': 'realistic'} in A and "
        "{'imperfections': 'pristine'} in B."
    ]


def test_what_is_not_finished_is_compared_as_far_as_it_is(folder):
    a = folder("a", keep=lambda job: job.specimen < 5)
    b = folder("b", keep=lambda job: job.label != "grid" or job.specimen != 3)
    found = compare(a, b)
    assert {agent: c.specimens for agent, c in by(found).items()} == {
        "random": 10,
        "grid": 8,
        "oracle": 10,
    }
    assert "A lacks 42 of the 72 episodes of its suite." in found.notes
    assert "B lacks 2 of the 72 episodes of its suite." in found.notes


def test_an_agent_that_found_something_and_one_that_failed_before_it_could(folder):
    def claims(job, record, rng):
        if job.label == "grid" and job.specimen > 0:
            f1 = dict.fromkeys(("precision", "recall", "f1", "false"), 0.5)
            record["scores"]["found"] = {**f1, "area": 0.5}

    a, b = folder("a", claims), folder("b", claims)
    (found,) = by(compare(a, b), "found").values()
    assert (found.agent, found.specimens, found.verdict) == ("grid", 24, "identical")
    once = compare(folder("c"), b)
    assert not by(once, "found")
    assert "grid has the score found in B only." in once.notes


def test_a_target_is_compared_where_both_have_a_score(folder):
    def flags(share):
        def change(job, record, rng):
            if job.label == "random" and job.specimen >= share:
                told = {"average_precision": 0.6, "prevalence": 0.5, "frames": 64}
                record["scores"]["flagged"] = told

        return change

    (found,) = by(compare(folder("a", flags(2)), folder("b", flags(4))), "flagged").values()
    assert (found.agent, found.specimens, found.a, found.b) == ("random", 16, 0.6, 0.6)


def test_options_versions_failures_and_time_to_decide(folder, made):
    def after(job, record, rng):
        record["scores"]["latency_ms"] = {"median": 3.0, "p95": 4.0, "mean": 3.0}
        record["failed"] = job.label == "grid" and job.specimen == 0

    a = folder("a")
    made["versions"]["numpy"], made["cores"] = "9.9", 64
    b = folder("b", after, agents=[{"name": "random"}, {"name": "raster", "label": "grid"}])
    found = compare(a, b)
    assert "grid is {'name': 'grid'} in A and {'name': 'raster'} in B." in found.notes
    assert found.apart == {"numpy": (["2.4.6"], ["9.9"]), "cores": (["2"], ["64"])}
    assert "Made with numpy 2.4.6 in A and 9.9 in B; cores 2 in A and 64 in B." in sentences(found)
    assert [(p.agent, p.median_ms, p.p95_ms, p.failed) for p in found.paces] == [
        ("random", (1.0, 3.0), (2.0, 4.0), (0, 0)),
        ("grid", (1.0, 3.0), (2.0, 4.0), (0, 2)),
    ]


def test_too_few_specimens_say_so(folder):
    """Three pairs can be swapped in eight ways, and two of them give as much."""

    def after(job, record, rng):
        record["scores"]["seen_area"] += 0.5

    few = {"specimens": 3, "environments": SUITE["environments"][:1]}
    found = compare(folder("a", **few), folder("b", after, **few))
    assert {c.verdict for c in by(found).values()} == {"perhaps better"}
    assert (
        "With 3 specimens no difference can be called real, however large: of 3 agents that "
        "takes at least 7." in found.notes
    )
    assert by(found)["grid"].p > 0.05


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"budget": 0.2}, "72 episodes are left out: budget is 0.1 in A and 0.2 in B"),
        ({"split": "train"}, "split is test in A and train in B"),
        ({"readings": [0.05]}, r"readings is \[\] in A and \[0.05\] in B"),
        ({"survey": "low"}, "survey is none in A and low in B"),
        ({"track": "free-frame"}, "track is fixed-frame in A and free-frame in B"),
        ({"agents": [{"name": "raster"}]}, "A has the agents random, grid, oracle, B raster"),
        ({"specimens": [50]}, "72 episodes are in A only"),
    ],
)
def test_nothing_shared_is_refused_with_the_reason(folder, other, sentence):
    with pytest.raises(ValueError, match=f"share no episode. .*{sentence}"):
        compare(folder("a"), folder("b", **other))


def test_no_results_are_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="holds no results of a suite"):
        compare(folder("a"), tmp_path / "nowhere")
    with pytest.raises(ValueError, match="holds no finished episode"):
        compare(folder("empty", keep=lambda job: False), tmp_path / "a")


def test_the_command(folder, tmp_path, capsys):
    def after(job, record, rng):
        record["scores"]["seen_area"] += 0.1

    a, b = str(folder("a")), str(folder("b", after))
    page = tmp_path / "changes.md"
    app(["compare", a, b, "--markdown", str(page)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "+0.100" in shown
    assert "better: random, grid, oracle" in shown
    assert "| random | area | 24 | " in page.read_text()
    app(["compare", a, b, "--json"], standalone_mode=False)
    told = json.loads(capsys.readouterr().out)
    assert told["changes"][0]["verdict"] == "better"
    assert told["changes"][0]["difference"]["low"] == pytest.approx(0.1)
    assert page.read_text() == markdown_of(compare(a, b)), "the same every time"


def test_a_gain_of_the_middle_half_is_not_real_where_the_mean_falls():
    gain = Interval(0.01, 0.009, 0.011)
    assert verdict_of(gain, 0.001, 0.005) == "better"
    assert verdict_of(gain, 0.001, -0.04) == "perhaps better"


def test_of_specimens_that_are_no_sample_nothing_is_claimed(folder):
    def after(job, record, rng):
        record["scores"]["seen_area"] += 0.2 * (job.label == "grid")

    found = compare(folder("a", population=False), folder("b", after, population=False))
    assert {c.verdict for c in found.changes} == {"identical", "no claim"}
    moved = by(found)["grid"]
    assert moved.difference.value == pytest.approx(0.2)
    assert moved.p is None
    assert np.isnan(moved.difference.low)
    assert any("no sample of others" in note for note in found.notes)
    (row,) = [r for r in rows_of(found) if r["agent"] == "grid" and r["score"] == "area"]
    assert row["95 % interval"] == ""
    assert "nan" not in markdown_of(found)
