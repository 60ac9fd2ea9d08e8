"""What a suite may hold, and what its episodes are."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
import yaml

from stemscout.agents.agent import Needs
from stemscout.agents.catalogue import AGENTS, LOOKS_WITH, PERCEPTIONS, Entry
from stemscout.agents.navigation.scripted import Grid
from stemscout.agents.workflow import Navigated
from stemscout.benchmarks.suite import load_suite, suite_of, suites

GOOD = {
    "version": 1,
    "about": "a test",
    "environments": ["StemScout/GrapheneDefects-v0"],
    "difficulties": ["easy"],
    "specimens": 2,
    "agents": [{"name": "grid"}],
}


@pytest.mark.parametrize("name", suites())
def test_suites_of_the_package_are_valid(name):
    suite = load_suite(name)
    if suite.kind == "episode":
        assert set(suite.labels) >= {"random", "oracle"}  # what a position lies between
    assert suite.split == "test"
    assert suite.about


@pytest.mark.parametrize("name", [n for n in suites() if load_suite(n).kind == "episode"])
def test_in_every_comparison_the_scripted_agents_are_there(name):
    scripted = {"random", "raster", "grid", "lawnmower", "sobol", "oracle"}
    assert set(load_suite(name).labels) >= scripted


def test_the_matrix_has_all_that_look_with_every_perception_and_the_others_where_they_claim():
    scripted = {"random", "raster", "grid", "lawnmower", "sobol", "oracle"}
    named = set(load_suite("matrix").labels) - scripted
    looking = {f"{p}-{n}" for p in PERCEPTIONS for n in {"raster"} | set(LOOKS_WITH)}
    assert named == looking | {f"{p}-{n}" for p in ("dcnn", "true") for n in scripted}


def test_robustness_changes_one_thing_at_a_time():
    named = dict(load_suite("robustness").variants)
    assert named.pop("as is") == {}
    assert all(len(options) == 1 for options in named.values())
    changed = {next(iter(o)) for o in named.values()}
    assert changed == {"dose", "imperfections", "defocus_nm", "field_nm"}


def test_sensitivity_changes_one_choice_of_linear_bo_at_a_time():
    own = [a for a in load_suite("sensitivity").agents if a["name"] == "linear-bo"]
    changed = [set(a) - {"name", "label"} for a in own]
    assert changed[0] == set()
    assert all(len(c) == 1 for c in changed[1:])
    asked = {"window", "length_scale_nm", "component", "acquisition", "seeding", "noise"}
    assert set().union(*changed) >= asked


def test_a_suite_from_a_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**GOOD, "readings": [0.1, 0.2]}))
    suite = load_suite(str(path))
    assert (suite.name, suite.budget, suite.readings) == ("mine", 0.4, (0.1, 0.2))
    assert suite.specimens == (0, 1)
    assert suite.labels == ("grid",)


def test_every_agent_gets_every_specimen_of_every_condition():
    suite = suite_of(
        "x",
        {
            **GOOD,
            "difficulties": ["easy", "hard"],
            "specimens": [3, 5],
            "variants": [{"name": "as is"}, {"name": "worn", "imperfections": "realistic"}],
            "agents": [{"name": "grid"}, {"name": "random", "label": "chance"}],
        },
    )
    jobs = suite.jobs()
    contest = [j for j in jobs if not j.yardstick]
    assert len(contest) == 2 * 2 * 2 * 2
    assert {(j.label, j.specimen) for j in contest} == {
        (label, n) for label in ("grid", "chance") for n in (3, 5)
    }
    assert len({j.condition for j in contest}) == 4
    assert {j.options.get("imperfections") for j in contest} == {None, "realistic"}


def test_a_raster_of_the_whole_field_is_the_yardstick():
    jobs = [j for j in suite_of("x", GOOD).jobs() if j.yardstick]
    assert [(j.agent["name"], j.budget, j.specimen) for j in jobs] == [
        ("raster", 1.0, 0),
        ("raster", 1.0, 1),
    ]


def test_keys_of_episodes_follow_from_their_content():
    suite = suite_of("x", GOOD)
    keys = [j.key for j in suite.jobs()]
    assert len(set(keys)) == len(keys)
    assert [j.key for j in suite_of("y", GOOD).jobs()] == keys
    assert not set(keys) & {j.key for j in replace(suite, budget=0.3).jobs() if not j.yardstick}


def test_the_hash_is_of_what_is_compared():
    suite = suite_of("x", GOOD)
    assert suite_of("other", {**GOOD, "about": "said otherwise"}).digest == suite.digest
    for change in ({"version": 2}, {"budget": 0.3}, {"specimens": 3}, {"survey": "low"}):
        assert suite_of("x", {**GOOD, **change}).digest != suite.digest, change


def test_whether_specimens_are_a_sample_is_hashed_only_where_they_are_none():
    suite = suite_of("x", GOOD)
    assert suite_of("x", {**GOOD, "population": True}).digest == suite.digest
    assert suite_of("x", {**GOOD, "population": False}).digest != suite.digest
    assert [n for n in suites() if not load_suite(n).population] == ["exact"]


def test_hashes_of_suites_are_what_they_were():
    """Results that people have stay valid: another hash refuses them."""
    assert suite_of("x", GOOD).digest == "5133a087ae03c1a2"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colour": "red"}, "unknown: colour; it must hold version, about"),
        ({"environments": ["Go-v0"]}, "unknown environment 'Go-v0'; there are: StemScout/"),
        ({"environments": []}, "there must be at least one, none twice"),
        ({"environments": "StemScout/GrapheneDefects-v0"}, "it must be a list"),
        ({"environments": GOOD["environments"] * 2}, "none twice"),
        ({"difficulties": ["brutal"]}, "brutal"),
        ({"environments": ["StemScout/Composite-v0"]}, "hard"),
        ({"environments": ["StemScout/Recorded-v0"]}, "image"),
        ({"agents": [{"name": "chess"}]}, "unknown agent 'chess'; there are: raster"),
        ({"agents": [{"name": "grid"}, {"name": "grid"}]}, "named twice: grid; give them a label"),
        ({"agents": [{"name": "grid", "speed": 3}]}, "grid has no option speed"),
        ({"agents": []}, "at least one agent"),
        ({"agents": [{"speed": 3}]}, "entries with a name"),
        ({"agents": "grid"}, "at least one agent, in a list"),
        ({"specimens": 0}, "a number above 0, or a list of integers"),
        ({"specimens": []}, "a number above 0, or a list of integers"),
        ({"specimens": [1, 1]}, "a number above 0, or a list of integers"),
        ({"specimens": ["a"]}, "a number above 0, or a list of integers"),
        ({"specimens": True}, "a number above 0, or a list of integers"),
        ({"budget": 2.0}, "at most 1"),
        ({"budget": "much"}, "a number in"),
        ({"readings": [0.5]}, "between 0 and the budget, 0.4"),
        ({"readings": 0.1}, "it must be a list"),
        ({"split": "exam"}, "exam"),
        ({"track": "race"}, "unknown track 'race'; there are: fixed-frame, free-frame"),
        ({"survey": "high"}, "unknown survey 'high'"),
        ({"population": "none"}, "population is 'none'; it must be true or false"),
        ({"population": 1}, "it must be true or false"),
        ({"version": 0}, "an integer, at least 1"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "none twice"),
        ({"variants": [{"imperfections": "realistic"}]}, "entries with a name"),
        ({"variants": [{"name": "a", "weather": "bad"}]}, "unknown option weather"),
        ({"variants": [{"name": "a", "budget": 0.1}]}, "variant a sets budget; the suite itself"),
        ({"agents": [{"name": "grid", 3: 4}]}, "each must be a word"),
        ({"agents": [{"name": "grid", "label": {1, 2}}]}, "not JSON serializable"),
    ],
)
def test_what_cannot_be_run_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        suite_of("x", {**GOOD, **change})


@pytest.mark.parametrize("key", ["version", "about", "environments", "specimens", "agents"])
def test_what_is_missing_is_named(key):
    with pytest.raises(ValueError, match=f"missing: {key}"):
        suite_of("x", {k: v for k, v in GOOD.items() if k != key})


@pytest.mark.parametrize("content", ["agents: [", "- 1", "", "\xff\xfe"])
def test_broken_files(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=r"bad\.yaml"):
        load_suite(str(path))


def test_keys_that_stand_twice_are_refused_with_their_line(tmp_path):
    """Plain YAML takes the last one, and says nothing."""
    path = tmp_path / "twice.yaml"
    path.write_text(yaml.safe_dump(GOOD) + "budget: 0.1\nreadings: [0.05]\nbudget: 0.4\n")
    said = r"twice\.yaml': the key 'budget' in line 12 is there already, in line 10"
    with pytest.raises(ValueError, match=said):
        load_suite(str(path))
    path.write_text(yaml.safe_dump({**GOOD, "agents": []}).replace("[]", "[{name: a, name: b}]"))
    with pytest.raises(ValueError, match="the key 'name' in line 2 is there already, in line 2"):
        load_suite(str(path))


def test_merged_keys_may_be_set_anew(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        yaml.safe_dump({k: v for k, v in GOOD.items() if k != "agents"})
        + "agents:\n- &first {name: linear-bo, label: a}\n- {<<: *first, label: b}\n"
    )
    assert load_suite(str(path)).labels == ("a", "b")


def test_unknown_suites_list_the_known():
    with pytest.raises(
        ValueError, match="unknown suite 'all'; there are: exact, half, matrix, navigation"
    ):
        load_suite("all")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"about": date(2020, 1, 1)}, "one line of text"),
        ({"about": None}, "one line of text"),
        ({"specimens": [10**23]}, "list of integers from 0"),
        ({"agents": [{"name": "grid", "label": None}]}, "must be text"),
        ({"agents": [{"name": "grid", "label": ""}]}, "one line of text"),
        ({"agents": [{"name": "grid", "label": "two\nlines"}]}, "one line of text"),
        ({"agents": [{"name": "grid", "label": "_hidden"}]}, "begin with _"),
        ({"agents": [{"name": "grid", "label": r"$\frac$"}]}, "without"),
        ({"variants": [{"name": "$x$"}]}, "name of a variant"),
    ],
)
def test_what_no_table_or_figure_could_show_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        suite_of("x", {**GOOD, **change})


def test_modules_that_exit_and_agents_without_needs_are_refused(tmp_path, monkeypatch):
    (tmp_path / "leaving.py").write_text("import sys; sys.exit(0)\n")
    (tmp_path / "needless.py").write_text(
        "from stemscout.agents.navigation.scripted import Grid\n"
        "from stemscout.agents.workflow import Navigated\n"
        "class Needless(Navigated):\n"
        "    def __init__(self):\n"
        "        super().__init__(Grid())\n"
        "        self.needs = None\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, says in (("leaving:A", "SystemExit"), ("needless:Needless", "instance of Needs")):
        with pytest.raises(ValueError, match=says):
            suite_of("x", {**GOOD, "agents": [{"name": name}]})


def test_a_file_of_brackets_is_refused(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("a: " + "[" * 3000 + "]" * 3000)
    with pytest.raises(ValueError, match="brackets"):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"agents": [{"name": "grid", "label": "random"}]},
            "another agent is labelled 'random', by which positions go",
        ),
        ({"readings": [0.05, 0.05]}, "and stand there once"),
        ({"variants": [{"name": "x", "task": "follow"}]}, "sets task"),
        ({"variants": [{"name": "x", "max_episode_steps": 3}]}, "sets max_episode_steps"),
        ({"variants": [{"name": "x", "dose": None}]}, "dose is None; it must be a number"),
        ({"agents": [{"name": "linear-bo", "n_components": 1.5}]}, "1.5 components"),
    ],
)
def test_what_would_only_fail_in_the_run_is_refused_before(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        suite_of("x", {**GOOD, **change})


def test_an_agent_that_needs_what_there_is_not_is_refused(monkeypatch):
    class Elsewhere(Grid):
        needs = Needs(action="telepathy")

    entry = Entry(lambda: Navigated(Elsewhere()), "a test's own")
    monkeypatch.setitem(AGENTS, "elsewhere", entry)
    with pytest.raises(ValueError, match="telepathy"):
        suite_of("x", {**GOOD, "agents": [{"name": "elsewhere"}]})
