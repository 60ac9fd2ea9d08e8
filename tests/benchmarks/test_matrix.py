"""Perception times navigation: who is in which cell, and what the figure shows."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.matrix import matrix_of, parts_of
from stemscout.benchmarks.report import write_figure
from stemscout.benchmarks.results import Results, row_of
from stemscout.benchmarks.suite import Suite

NAMES = ("random", "grid", "oracle", "linear-grid", "true-grid", "linear-bo", "true-bo")


def named(*names):
    return [{"name": n} for n in names]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("linear-bo", ("linear", "bo")),
        ("true-grid", ("true", "grid")),
        ("linear-oracle", ("linear", "oracle")),
        ("dcnn-rvae-bo", ("dcnn-rvae", "bo")),
        ("grid", ("none", "grid")),
        ("my-module:Agent", None),
    ],
)
def test_a_name_tells_perception_and_navigator(name, parts):
    assert parts_of(name) == parts


def test_rows_are_navigators_and_columns_perceptions_none_first():
    matrix = matrix_of(named(*NAMES))
    assert matrix.navigators == ("random", "grid", "oracle", "bo")
    assert matrix.perceptions == ("none", "linear", "true")
    assert matrix.labels["bo", "true"] == "true-bo"
    assert ("bo", "none") not in matrix.labels


def test_what_does_not_look_goes_the_same_way_with_every_perception():
    matrix = matrix_of(named(*NAMES))
    assert matrix.on_the_way_of("grid", "linear") == "linear-grid"
    assert matrix.on_the_way_of("random", "linear") == "random"
    assert matrix.on_the_way_of("oracle", "true") == "oracle"
    assert matrix.on_the_way_of("bo", "none") == ""
    assert matrix.alone("random", "linear") == ""


def test_options_and_labels_share_a_cell_and_the_first_holds_it():
    agents = named("linear-grid", "true-grid", "true-bo")
    agents += [{"name": "linear-bo", "exploration": 0.1}, {"name": "linear-bo", "label": "plain"}]
    assert matrix_of(agents).labels["bo", "linear"] == "linear-bo(exploration=0.1)"
    assert matrix_of([*agents[:3], *agents[:2:-1]]).labels["bo", "linear"] == "plain"


@pytest.mark.parametrize(
    "names",
    [
        ("random", "grid", "linear-bo", "oracle"),
        ("grid", "linear-grid", "bo", "linear-bo"),
        ("linear-grid", "true-grid", "linear-bo"),
        ("a:B", "a:C"),
    ],
)
def test_without_two_navigators_of_two_perceptions_each_there_is_none(names):
    assert matrix_of(named(*names)) is None


def suite(names):
    agents = tuple(named(*names))
    return Suite("mine", 1, "a test", ("StemScout/NiOPillars-v0",), ("easy",), (0, 1, 2, 3), agents)


def claims(job, record, rng):
    if job.label.startswith("true-"):
        f1 = dict.fromkeys(("precision", "recall", "f1", "false"), 0.5)
        record["scores"]["found"] = {**f1, "area": 0.5 + 0.01 * job.specimen}


def test_the_figure_shows_three_scores_with_intervals_and_what_is_not_applicable(made_up):
    folder = made_up("a", suite(NAMES), claims)
    *_, path = write_figure(folder, "matrix")
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == 3 * 4 * 3
    cells = {(r["score"], r["navigator"], r["perception"]): r for r in rows}
    found = cells["found", "bo", "true"]
    assert (found["agent"], float(found["value"])) == ("true-bo", pytest.approx(0.515))
    assert 0.5 <= float(found["low"]) < float(found["high"]) <= 0.53
    assert cells["found", "bo", "linear"]["agent"] == "linear-bo"
    assert cells["found", "bo", "linear"]["value"] == ""
    assert cells["area", "bo", "none"]["agent"] == ""
    assert cells["area", "random", "true"]["agent"] == "random"
    assert cells["area", "random", "true"]["value"] == cells["area", "random", "none"]["value"]
    assert cells["flagged", "random", "true"]["agent"] == ""
    entries = leaderboard(Scores([row_of(r) for r in Results(folder).records()]))
    areas = {e.agent: e.area.value for e in entries}
    assert float(cells["area", "grid", "none"]["value"]) == areas["grid"]
    svg = (folder / "report" / "matrix.svg").read_text()
    assert all(title in svg for title in ("seen, area", "flagged", "found, area"))


@pytest.mark.parametrize("figure", ["discovery", "profiles", "matrix"])
def test_figures_have_room_for_the_names_of_30_agents(made_up, figure):
    """Matplotlib warns where there is none, and a warning fails here."""
    perceptions = ("linear", "contrast", "dcnn", "dcnn-rvae", "true")
    parts = [f"{p}-{n}" for p in perceptions for n in "abcdef"]
    write_figure(made_up("a", replace(suite(parts), specimens=(0,))), figure)


def test_a_suite_without_one_says_why(made_up):
    with pytest.raises(ValueError, match="has no figure matrix: its agents are not two navigators"):
        write_figure(made_up("a", suite(NAMES[:3])), "matrix")


def test_an_agent_that_failed_before_it_could_claim_anything_has_found_nothing(made_up):
    def fails(job, record, rng):
        if job.specimen > 0:
            claims(job, record, rng)

    rows = [row_of(r) for r in Results(made_up("a", suite(NAMES), fails)).records()]
    scores = Scores(rows)
    assert scores.found("true-bo")[0].tolist() == [0.0, 0.51, 0.52, 0.53]
    assert scores.found("grid") is None
    found = {e.agent: e.found for e in leaderboard(scores)}
    assert found["true-bo"].low < 0.515
    assert found["grid"] is None
