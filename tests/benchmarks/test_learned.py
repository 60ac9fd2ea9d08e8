"""Learned navigators beside others: trainings together, paired, and what follows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stemscout.benchmarks import learned
from stemscout.benchmarks.results import Results
from stemscout.benchmarks.suite import Suite

ENVS = ("StemScout/FerroelectricDomains-v0", "StemScout/NiOPillars-v0")
AGENTS = (
    {"name": "random"},
    {"name": "grid"},
    {"name": "oracle"},
    *({"name": "dcnn-belief", "member": k} for k in (2, 0, 1)),
)
LEVEL = {"random": 0.1, "grid": 0.2, "oracle": 0.9}


def suite(agents=AGENTS, specimens=12):
    numbers = tuple(range(specimens))
    return Suite("mine", 1, "a test", ENVS, ("medium", "hard"), numbers, agents, readings=(0.1,))


def scored(learned_level, between=0.0):
    """Scores that are known: of a label, and of a training."""

    def change(job, record, rng):
        own = LEVEL.get(job.label, learned_level)
        own += between * (job.agent.get("member", 1) - 1) + 0.01 * np.sin(job.specimen)
        record["scores"]["seen_area"] = own
        record["scores"]["readings"] = {"0.1": {"seen_area": own / 2}}

    return change


def of(found, environment="FerroelectricDomains-v0", variant="as is"):
    return {s.navigator: s for s in found if (s.environment, s.variant) == (environment, variant)}


@pytest.fixture
def tabled(made_up):
    """Makes a folder of a suite's results, with its table."""

    def make(*given, **options):
        folder = made_up(*given, **options)
        Results(folder).write_table()
        return folder

    return make


def test_trainings_of_one_navigator_belong_together():
    found = learned.families([*AGENTS, {"name": "dcnn-belief", "member": 0, "member_of": 1}])
    assert found["dcnn-belief"] == [f"dcnn-belief(member={k})" for k in range(3)]
    assert found["grid"] == ["grid"]
    assert len(found) == 5
    labelled = [{"name": "a", "member": k, "label": f"mine {k}"} for k in (1, 0)]
    assert learned.families(labelled) == {"a": ["mine 0", "mine 1"]}
    with pytest.raises(ValueError, match="a is there twice"):
        learned.families([{"name": "a", "member": 0}, {"name": "a", "member": 0, "label": "b"}])


def test_the_table_has_a_line_for_each_navigator_the_largest_area_first(tabled):
    found = learned.standings([tabled("a", suite(), scored(0.5))])
    own = of(found)
    assert [s.navigator for s in found[:4]] == ["oracle", "dcnn-belief", "grid", "random"]
    assert len(found) == 8
    belief = own["dcnn-belief"]
    assert (belief.trainings, belief.specimens, belief.best) == (3, 12, "grid")
    assert belief.area.value == pytest.approx(0.5, abs=0.01)
    assert belief.at["0.1"].value == pytest.approx(belief.area.value / 2)
    assert belief.over.value == pytest.approx(2.5, abs=0.1)
    assert belief.closed.value == pytest.approx(0.5, abs=0.01)
    assert belief.apart
    assert belief.p < 0.001
    assert own["oracle"].privileged
    assert own["grid"].over is None
    rows = learned.lines(found)
    assert rows[0]["navigator"] == "oracle (knows the truth)"
    assert rows[1]["trainings"] == 3
    assert rows[2]["over the best"] == ""


def test_trainings_that_differ_make_it_less_sure(tabled):
    widths = []
    for name, between in (("a", 0.0), ("b", 0.1)):
        area = of(learned.standings([tabled(name, suite(), scored(0.5, between))]))
        widths.append(area["dcnn-belief"].area.high - area["dcnn-belief"].area.low)
    assert widths[1] > 3 * widths[0]


@pytest.mark.parametrize(
    ("level", "between", "structured", "other"),
    [
        (0.55, 0.0, "reached", "reached"),
        (0.22, 0.0, "missed", "reached"),  # better, and not by so much
        (0.27, 0.05, "missed", "reached"),  # perhaps by so much
        (0.12, 0.0, "missed", "missed"),
    ],
)
def test_what_was_asked_for_is_told_of_each_environment(tabled, level, between, structured, other):
    found = learned.standings([tabled("a", suite(), scored(level, between))])
    first, second = learned.conclusions(found)
    assert first.startswith("FerroelectricDomains-v0: dcnn-belief, the best of the learned, sees")
    assert first.endswith(f": {structured}.")
    assert second.endswith(f"asked for were no worse: {other}.")


def test_folders_together_are_of_the_specimens_that_all_have(tabled):
    slow = replace(suite(({"name": "dcnn-bo", "engine": "deep"},), specimens=5), name="slow")
    folders = [tabled("a", suite(), scored(0.5)), tabled("b", slow, scored(0.4))]
    own = of(learned.standings(folders))
    assert {s.specimens for s in own.values()} == {5}
    assert own["dcnn-belief"].best == "dcnn-bo(engine=deep)"


def test_without_results_or_without_both_ends_there_is_nothing_to_tell(tabled):
    with pytest.raises(ValueError, match="no results yet"):
        learned.standings([tabled("a", suite(), keep=lambda job: False)])
    without = suite(AGENTS[:2])
    with pytest.raises(ValueError, match="without random and oracle"):
        learned.standings([tabled("b", without, scored(0.5))])


def test_what_is_changed_stands_in_lines_of_its_own(tabled):
    two = replace(suite(), variants=(("as is", {}), ("three times the dose", {"dose": 3.0})))

    def change(job, record, rng):
        scored(0.5)(job, record, rng)
        if job.variant != "as is" and job.label.startswith("dcnn"):
            record["scores"]["seen_area"] = 0.3

    found = learned.standings([tabled("a", two, change)])
    assert len(found) == 4 * len(ENVS) * 2
    assert of(found)["dcnn-belief"].area.value == pytest.approx(0.5, abs=0.01)
    assert of(found, variant="three times the dose")["dcnn-belief"].area.value == pytest.approx(0.3)
    assert {r["variant"] for r in learned.lines(found)} == {"as is", "three times the dose"}
    assert "variant" not in learned.lines(list(of(found).values()))[0]


def test_where_specimens_are_no_sample_no_interval_is_told(tabled):
    alone = replace(suite(), population=False)
    belief = of(learned.standings([tabled("a", alone, scored(0.5))]))["dcnn-belief"]
    assert belief.area.value == pytest.approx(0.5, abs=0.01)
    assert np.isnan(belief.area.low)
    assert not belief.apart
