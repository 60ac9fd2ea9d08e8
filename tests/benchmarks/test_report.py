"""The benchmark's page: everything on it, sorted by click, readable on a phone."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from stemscout.benchmarks.curves import Runs, reached
from stemscout.benchmarks.facts import facts, sureness, warnings
from stemscout.benchmarks.leaderboard import Scores, leaderboard
from stemscout.benchmarks.report import write_figure, write_report
from stemscout.benchmarks.results import Results, row_of
from stemscout.benchmarks.runner import run_suite
from stemscout.benchmarks.scores import Curve
from stemscout.benchmarks.statistics import Interval
from stemscout.benchmarks.suite import suite_of
from stemscout.benchmarks.tables import Cell, csv_of, latex, markdown

SUITE = {
    "version": 1,
    "about": "a test <of> what is said",
    "environments": ["StemScout/GrapheneDefects-v0", "StemScout/NiOPillars-v0"],
    "difficulties": ["easy"],
    "specimens": 2,
    "budget": 0.1,
    "agents": [{"name": "random"}, {"name": "grid", "label": "g & h_1"}, {"name": "oracle"}],
}
PLATES = (
    "positions",
    "discovery",
    "discovery-in-time",
    "profiles",
    "improvement",
    "acceleration",
    "latency",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results with their report."""
    suite = suite_of("mine", SUITE)
    results = Results(tmp_path_factory.mktemp("report") / "mine", suite)
    run_suite(suite, results, "1")
    write_report(results.folder, "stemscout bench run mine.yaml --out mine")
    return results.folder


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def test_the_page_needs_nothing_else(page):
    assert not re.search(r"""(src|href)=["']?https?:""", page)
    assert "a test &lt;of&gt; what is said" in page
    assert "stemscout bench run mine.yaml --out mine" in page
    for agent in ("random", "g &amp; h_1", "oracle"):
        assert page.count(f">{agent}</td>") == 2, "a row of each table"
    assert "GrapheneDefects, easy" in page
    assert "NiOPillars, easy" in page


@pytest.mark.parametrize("name", PLATES)
def test_every_figure_has_its_data_and_its_files(folder, page, name):
    assert f'<section id="{name}">' in page
    assert f'download="{name}.csv"' in page
    parts = folder / "report"
    assert (parts / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (parts / f"{name}.svg").read_text()
    rows = list(csv.DictReader(io.StringIO((parts / f"{name}.csv").read_text())))
    assert {"random", "g & h_1", "oracle"} <= {r["agent"] for r in rows}


def test_every_figure_says_the_command_that_made_it(folder, page):
    for name in PLATES:
        assert f"stemscout bench report {folder} --only {name}</code>" in page


def test_one_figure_alone_is_the_same_and_nothing_else_is_written(folder, tmp_path):
    alone = tmp_path / "of mine"
    shutil.copytree(folder, alone)
    shutil.rmtree(alone / "report")
    (alone / "report.html").unlink()
    written = write_figure(alone, "discovery")
    assert sorted(p.name for p in (alone / "report").iterdir()) == sorted(p.name for p in written)
    assert [p.name for p in written] == [f"discovery.{kind}" for kind in ("pdf", "svg", "csv")]
    assert written[2].read_text() == (folder / "report" / "discovery.csv").read_text()
    assert not (alone / "report.html").exists()


def test_a_figure_that_there_is_not(folder):
    known = "unknown figure 'heat'; there are: positions, discovery,"
    with pytest.raises(ValueError, match=known):
        write_figure(folder, "heat")


def test_the_leaderboard_as_text(folder):
    parts = folder / "report"
    lines = (parts / "leaderboard.md").read_text().splitlines()
    assert lines[0].startswith("| agent | area | in time | seen | position |")
    assert lines[2].startswith("| oracle (knows the truth) | ")
    tex = (parts / "leaderboard.tex").read_text()
    assert r"g \& h\_1 & " in tex
    assert tex.count(r"\\") == 4


def test_special_characters_in_tables():
    rows = [{"agent": "a|b", "score": "50 %"}]
    assert markdown(rows).splitlines()[2] == r"| a\|b | 50 % |"
    assert r"50 \%" in latex(rows)
    assert csv_of([]) == ""


@pytest.mark.parametrize(
    ("found", "text", "whole"),
    [
        (None, "n/a", "n/a"),
        (Interval(np.nan, np.nan, np.nan), "n/a", "n/a"),
        (Interval(0.123, 0.1, 0.2), "0.12", "0.12 (0.10 to 0.20)"),
        (Interval(-0.001, -0.001, 0.0), "0.00", "0.00 (0.00 to 0.00)"),
        (Interval(0.3, 0.2, np.inf), "0.30", "0.30 (0.20 to never)"),
        (Interval(np.inf, np.inf, np.inf), "never", "never"),
        (Interval(np.inf, 0.3, np.inf), "never", "never (0.30 to never)"),
        (Interval(0.3, np.nan, np.nan), "0.30", "0.30"),
        (Interval(np.inf, np.nan, np.nan), "never", "never"),
    ],
)
def test_numbers_as_people_read_them(found, text, whole):
    cell = Cell.of(found)
    assert (cell.text, cell.whole) == (text, whole)


def test_curves_are_steps():
    curve = Curve(np.array([0.1, 0.2]), np.array([0.0, 0.5]), 0.4)
    assert reached(curve, np.array([0.0, 0.1, 0.19, 0.2, 0.4])).tolist() == [0, 0, 0, 0.5, 0.5]
    nothing = Curve(np.empty(0), np.empty(0), 0.4)
    assert reached(nothing, np.array([0.0, 0.4])).tolist() == [0, 0]


def test_a_raster_that_sees_as_much_with_four_times_the_charge_is_an_acceleration_of_4(folder):
    records = Results(folder).records()
    runs = Runs(records, Scores([row_of(r) for r in records]))
    faster = runs.acceleration("oracle")
    assert len(faster) == 4
    rasters = {
        (r["job"]["environment"], r["job"]["specimen"]): r["scores"]["curve"]
        for r in records
        if r["job"]["yardstick"]
    }
    own = next(
        r
        for r in records
        if r["job"]["label"] == "oracle"
        and (r["job"]["environment"], r["job"]["specimen"]) == ("StemScout/GrapheneDefects-v0", 0)
    )["scores"]["curve"]
    raster = rasters["StemScout/GrapheneDefects-v0", 0]
    share = own["seen"][-1]
    paid = own["charge"][np.flatnonzero(np.array(own["seen"]) >= share - 1e-9)[0]]
    would = raster["charge"][np.flatnonzero(np.array(raster["seen"]) >= share - 1e-9)[0]]
    assert faster[0] == pytest.approx(would / paid)
    assert (faster > 1.0).all()


def test_discovery_in_time_runs_over_what_its_area_is_over(folder):
    """The area under every curve, to the time allowed, is the score that is recorded."""
    records = Results(folder).records()
    runs = Runs(records, Scores([row_of(r) for r in records]))
    for condition in runs.scores.conditions:
        allowed = runs.allowed_s(condition)
        at, share = runs.in_time("oracle", condition, allowed)
        assert (at[0], at[-1], share[0]) == (0.0, allowed, 0.0)
        own = [
            r["scores"]
            for r in records
            if r["job"]["label"] == "oracle" and r["job"]["environment"] == condition[0]
        ]
        exact = [
            Curve(np.array(o["curve"]["time_s"]), np.array(o["curve"]["seen"]), allowed).area()
            for o in own
        ]
        assert exact == pytest.approx([o["seen_area_in_time"] for o in own])
        assert np.mean(share) == pytest.approx(np.mean(exact), abs=0.02)


def made(stemscout, cores=2, wall_s=30.0):
    versions = {"stemscout": stemscout, "numpy": "2.3.1"}
    return {
        "job": {"yardstick": False},
        "failed": False,
        "cpu_s": 60.0,
        "wall_s": wall_s,
        "made": {"versions": versions, "python": "3.11.2", "processor": "x86_64", "cores": cores},
    }


def rows_of(count, environment="StemScout/NiOPillars-v0"):
    numbers = dict.fromkeys(("seen_area", "seen_area_in_time", "seen", "charge_to_0.5"), 0.25)
    numbers |= {"flagged_average_precision": None, "found_area": None, "budget": 0.4}
    numbers |= {"latency_ms_median": 1.0, "latency_ms_p95": 2.0}
    place = {"environment": environment, "difficulty": "easy", "variant": "as is"}
    marks = {"agent": "grid", "yardstick": False, "privileged": False, "failed": False}
    return [{**numbers, **place, **marks, "specimen": n} for n in range(count)]


def test_records_made_alike_need_no_warning():
    assert warnings([made("0.1.0"), made("0.1.0")]) == []


def test_other_versions_and_machines_are_said_with_their_numbers():
    records = [made("0.1.0"), made("0.1.0"), made("0.2.0", cores=64)]
    of_versions, of_circumstances = warnings(records)
    assert "stemscout: 0.1.0 (2 episodes), 0.2.0 (1 episode)" in of_versions
    assert "cores 2 (2 episodes), 64 (1 episode)" in of_circumstances
    assert "numpy" not in of_circumstances


def test_a_package_that_only_some_records_have_is_a_difference():
    without = made("0.1.0")
    del without["made"]["versions"]["numpy"]
    (sentence,) = warnings([made("0.1.0"), without])
    assert "numpy 2.3.1 (1 episode), none (1 episode)" in sentence


def test_the_facts_name_every_version_and_machine_and_both_times():
    suite = {"name": "x", "version": 1, "digest": "d", "track": "fixed-frame", "budget": 0.4}
    records = [made("0.1.0"), made("0.2.0", cores=64, wall_s=90.0)]
    told = facts({**suite, "survey": "none"}, records, Scores(rows_of(3)))
    assert told["versions"] == "stemscout 0.1.0 and 0.2.0, numpy 2.3.1"
    assert told["machine"] == "x86_64, 2 cores, Python 3.11.2; x86_64, 64 cores, Python 3.11.2"
    assert told["processor time"] == "2.0 min"
    assert told["wall-clock time"] == "2.0 min, added up over the episodes"


def test_fewer_than_ten_specimens_are_marked():
    few = rows_of(9, "StemScout/GrapheneDefects-v0")
    sentence = sureness(Scores([*few, *rows_of(10)]))
    assert sentence.startswith("Fewer than 10 specimens: GrapheneDefects, easy (9). Intervals")
    assert sureness(Scores(rows_of(10))) == ""


def test_specimens_that_are_no_sample_have_scores_without_intervals():
    scores = Scores(rows_of(3), population=False)
    (entry,) = leaderboard(scores)
    assert Cell.of(entry.area).whole == "0.25"
    assert scores.few == []
    assert "without claims about populations" in sureness(scores)


PROBE = """
<script>
window.addEventListener("load", () => {
  const errors = window.errors || [];
  const table = document.querySelector("table.sortable");
  const first = () => table.tBodies[0].rows[0].cells[0].dataset.key;
  const count = (selector) => document.querySelectorAll(selector).length;
  const found = {plates: count(".plate:not(.portrait) svg"), before: first()};
  found.portraits = count(".portrait svg");
  table.tHead.rows[0].cells[1].querySelector("button").click();
  found.ascending = first();
  table.tHead.rows[0].cells[0].querySelector("button").click();
  table.tHead.rows[0].cells[0].querySelector("button").click();
  found.byName = first();
  found.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.errors = errors;
  document.title = JSON.stringify(found);
});
</script></body>"""


@pytest.mark.parametrize("width", [1200, 500])
def test_in_a_browser(folder, page, tmp_path, width, chromium_command):
    """No error, all figures, sorted by click, and no wider than a narrow window."""
    watched = page.replace(
        "<head>",
        "<head><script>window.errors = []; "
        "window.onerror = (message) => { window.errors.push(message); };</script>",
    ).replace("</body>", PROBE)
    path = tmp_path / "watched.html"
    path.write_text(watched)
    command = [*chromium_command, f"--user-data-dir={tmp_path / 'profile'}"]
    command += [f"--window-size={width},900", "--virtual-time-budget=3000", "--dump-dom"]
    done = subprocess.run(
        [*command, path.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL).group(1)
    found = json.loads(title.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))
    assert found == {
        "plates": len(PLATES),
        "portraits": 4,
        "before": "oracle",
        "ascending": found["ascending"],
        "byName": "g & h_1",
        "wider": 0,
        "errors": [],
    }
    assert found["ascending"] != "oracle"
