"""The best and the worst episode: which they are, and what is shown of them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from stemscout.agents.agent import Agent, Explanation, FieldMap, Finding
from stemscout.benchmarks import portraits, report
from stemscout.benchmarks.episode import run_job
from stemscout.benchmarks.episode_figure import episode
from stemscout.benchmarks.examples import (
    NotShown,
    best_and_worst,
    explained,
    finding_rows,
    frame_rows,
    taken_again,
    title_of,
)
from stemscout.benchmarks.found import Claim, verdicts
from stemscout.benchmarks.leaderboard import Scores
from stemscout.benchmarks.results import Results
from stemscout.benchmarks.suite import Job, suite_of

NIO, GRAPHENE = "StemScout/NiOPillars-v0", "StemScout/GrapheneDefects-v0"


class Believer(Agent):
    """Every so manyth frame of the raster; it claims an inclusion in each, and has a map."""

    name = "believer"
    stride = 7
    belief = np.outer(np.arange(4.0), np.arange(5.0))

    def reset(self, context, seed):
        self.context, self.taken = context, 0
        self.centres, _ = context.reference.lattice(context.field_yx_nm)

    def act(self, observation):
        y, x = self.centres[self.taken * self.stride % len(self.centres)].tolist()
        return self.context.actions.encode(self.context.reference.at((y, x)))

    def observe(self, frame):
        self.taken += 1

    def findings(self):
        middle = np.array([[31.5, 31.5]])
        return [Finding(n, middle, "inclusion", 0.5) for n in range(self.taken)]

    def explain(self):
        y, x = np.arange(4.0), np.arange(5.0)
        field = FieldMap(self.belief, y, x, "apples")
        return Explanation(f"frame {self.taken + 1} is due", {"hope": field})


SUITE = {
    "version": 1,
    "about": "a test",
    "environments": [NIO],
    "difficulties": ["easy"],
    "specimens": 2,
    "budget": 0.05,
    "agents": [{"name": f"{__name__}:Believer", "label": "believer"}, {"name": "oracle"}],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    suite = suite_of("mine", SUITE)
    results = Results(tmp_path_factory.mktemp("examples") / "mine", suite)
    for job in suite.jobs():
        results.keep(job.key, run_job(job))
    return results.folder


@pytest.fixture(scope="module")
def record(folder):
    """Of the believer on the first specimen."""
    return next(
        r
        for r in Results(folder).records()
        if (r["job"]["label"], r["job"]["specimen"]) == ("believer", 0)
    )


@pytest.fixture(scope="module")
def again(record):
    return taken_again(record)


@pytest.fixture
def copy(folder, tmp_path):
    """Results to change."""
    without = shutil.ignore_patterns("report*")
    return shutil.copytree(folder, tmp_path / "copy", ignore=without)


# Which they are


def run_of(environment, label, specimen, area, difficulty="easy", **changed):
    job = Job(environment, difficulty, "as is", {}, {"name": "grid"}, label, specimen, *REST)
    plain = {**job.__dict__, "yardstick": changed.get("yardstick", False)}
    privileged = changed.get("privileged", False)
    return {"job": plain, "privileged": privileged, "scores": {"seen_area": area}}


REST = ("test", 0.4, (), "none")
TWO = {
    "environments": [NIO, GRAPHENE],
    "difficulties": ["easy", "hard"],
    "variants": [["as is", {}]],
    "agents": [{"name": "grid", "label": "b"}, {"name": "grid", "label": "a"}],
}


def choice(records, suite=TWO):
    rows = [
        {**r["job"], "agent": r["job"]["label"], "privileged": r["privileged"]} for r in records
    ]
    found = best_and_worst(records, Scores(rows), suite)
    return [
        (e.environment, e.rank, e.record["job"]["label"], e.record["job"]["specimen"])
        for e in found
    ]


def test_the_highest_and_the_lowest_area_of_each_id():
    records = [
        run_of(environment, label, n, area)
        for environment, areas in ((GRAPHENE, (0.1, 0.5, 0.3, 0.2)), (NIO, (0.4, 0.3, 0.2, 0.9)))
        for (label, n), area in zip([("a", 0), ("a", 1), ("b", 0), ("b", 1)], areas, strict=True)
    ]
    assert choice(records) == [
        (NIO, "best", "b", 1),
        (NIO, "worst", "b", 0),
        (GRAPHENE, "best", "a", 1),
        (GRAPHENE, "worst", "a", 0),
    ]


def test_of_equals_the_first_in_the_order_of_the_suite_then_the_first_specimen():
    records = [run_of(NIO, a, n, 0.2, d) for d in ("hard", "easy") for a in "ab" for n in (1, 0)]
    (only,) = best_and_worst(
        records, Scores([{**r["job"], "agent": r["job"]["label"]} for r in records]), TWO
    )
    job = only.record["job"]
    assert (only.rank, job["difficulty"], job["label"], job["specimen"]) == ("only", "easy", "b", 0)
    assert title_of(only) == "Only: b on specimen 0, easy"


def test_who_knows_the_truth_and_the_yardstick_are_no_examples():
    told = [run_of(NIO, "a", n, 0.9 * n, privileged=n == 0) for n in (0, 1)]
    raster = [run_of(NIO, "raster", n, 1.0, yardstick=True) for n in (0, 1)]
    others = [run_of(NIO, "b", n, 0.3 + 0.1 * n) for n in (0, 1)]
    assert choice(told + raster + others) == [(NIO, "best", "b", 1), (NIO, "worst", "b", 0)], (
        "an agent that failed before anybody knew what it is told is still the same agent"
    )


def test_specimens_that_not_all_agents_have_are_no_examples():
    records = [run_of(NIO, a, n, 0.1 + n / 10) for a in "ab" for n in (0, 1)]
    assert choice([*records, run_of(NIO, "a", 7, 0.9)])[0] == (NIO, "best", "b", 1)


# What is shown of them


def test_the_frames_are_those_of_the_record(record, again):
    rows = frame_rows(again)
    curve = record["scores"]["curve"]
    assert [r["charge"] for r in rows] == curve["charge"]
    assert [r["seen"] for r in rows] == curve["seen"]
    assert [r["n"] for r in rows] == list(range(1, len(rows) + 1))
    sides = np.ptp(again.footprints_yx_nm, axis=1)
    assert sides == pytest.approx(np.array([[r["height_nm"], r["width_nm"]] for r in rows]))
    middles = np.array([[r["y_nm"], r["x_nm"]] for r in rows])
    assert middles == pytest.approx(again.footprints_yx_nm.mean(axis=1), abs=1e-3)


def test_what_was_paid_for_is_where_the_frames_are(again):
    height, width = again.specimen.field_yx_nm
    frames = again.frames  # side by side: none overlaps another
    areas = [f.region.fov_yx_nm[0] * f.region.fov_yx_nm[1] for f in frames]
    assert again.paid.mean() == pytest.approx(sum(areas) / (height * width), rel=0.05)
    assert again.image.shape == again.paid.shape


def test_a_record_with_other_frames_is_not_shown(record):
    changed = json.loads(json.dumps(record))
    changed["scores"]["seen"] += 0.1
    with pytest.raises(ValueError, match="its frames give other scores here"):
        taken_again(changed)


def test_another_specimen_is_not_shown(record):
    with pytest.raises(ValueError, match="made by another version"):
        taken_again({**record, "specimen_digest": "0"})


def test_beliefs_are_those_of_the_last_decision(record, again):
    found = explained(record, again.frames)
    assert found.sentence == f"frame {len(again.frames)} is due"
    assert list(found.maps) == ["hope"]


def test_an_agent_that_goes_elsewhere_is_not_believed(record, again, monkeypatch):
    monkeypatch.setattr(Believer, "stride", 5)
    with pytest.raises(NotShown, match="it does not take the same frames here"):
        explained(record, again.frames)


def test_an_agent_that_there_is_no_more(record, again, monkeypatch):
    monkeypatch.delattr(sys.modules[__name__], "Believer")
    with pytest.raises(NotShown, match=r"fails here.*no agent"):
        explained(record, again.frames)


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3)])
def test_an_agent_that_fails_now(record, again, monkeypatch, error):
    def fail(self, frame):
        raise error

    monkeypatch.setattr(Believer, "observe", fail)
    with pytest.raises(NotShown, match=f"fails here .*{type(error).__name__}"):
        explained(record, again.frames)


def test_no_report_waits_for_an_agent_that_thought_for_long(record, again):
    slow = {**record["scores"], "latency_ms": {"mean": 60e3}}
    with pytest.raises(NotShown, match="a report waits for 120 s"):
        explained({**record, "scores": slow}, again.frames)
    with pytest.raises(NotShown, match="it took no frame"):
        explained(record, [])


def test_findings_have_their_verdicts_and_what_was_missed_is_named(again):
    specimen = again.specimen
    k = specimen.class_names.index("inclusion")
    own = np.flatnonzero(specimen.feature_class == k)
    claims = [
        Claim("inclusion", specimen.feature_yx_nm[own[:1]]),
        Claim("inclusion", np.empty((0, 2))),
        Claim("unicorn", specimen.feature_yx_nm[own[1:2]]),
    ]
    rows = finding_rows(replace(again, claims=claims, verdicts=verdicts(claims, specimen)))
    assert [r["verdict"] for r in rows[:3]] == ["right", "false", "wrong class"]
    assert [r["truly"] for r in rows[:3]] == ["inclusion", "", "inclusion"]
    assert rows[0]["feature"] == own[0]
    missed = rows[3:]
    assert {r["verdict"] for r in missed} == {"missed"}
    assert [r["feature"] for r in missed] == [
        n for n in range(len(specimen.feature_class)) if n != own[0]
    ]


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def test_a_panel_for_each_thing_that_there_is_and_none_else(record, again):
    plain = replace(again, claims=None, verdicts=None)
    two = ["The path over the specimen", "What was seen of what there is"]
    assert titles(episode(plain, None)) == two
    assert titles(episode(plain, Explanation("no maps"))) == two
    everything = episode(again, explained(record, again.frames))
    assert titles(everything) == [*two, "What it claimed", "Hope"]
    key = everything.axes[2].get_legend().get_texts()
    said = [r["verdict"] for r in finding_rows(again)]
    assert [t.get_text() for t in key] == [
        f"{word} ({said.count(word)})" for word in ("right", "wrong class", "false", "missed")
    ]


def test_an_episode_without_a_frame_has_a_picture(again):
    nothing = replace(
        again,
        footprints_yx_nm=np.empty((0, 4, 2)),
        paid=np.zeros_like(again.paid),
        seen=np.zeros_like(again.seen),
        curve={"charge": [], "seen": []},
        claims=None,
        verdicts=None,
        frames=[],
    )
    assert len(titles(episode(nothing, None))) == 2
    assert frame_rows(nothing) == []


# On the page


def test_the_page_shows_both_with_their_data(folder):
    page = report.write_report(folder, "again").read_text()
    (section,) = re.findall(r'<section class="episodes".*?</section>', page, re.DOTALL)
    assert "NiOPillars: the best and the worst episode" in section
    assert section.count("<svg") == 2
    assert section.count("is due.</p>") == 2
    parts = folder / "report"
    for rank in ("best", "worst"):
        assert (parts / f"niopillars-{rank}.pdf").read_bytes().startswith(b"%PDF")
        assert len((parts / f"niopillars-{rank}.svg").read_bytes()) <= portraits.LARGEST
        rows = list(csv.DictReader(io.StringIO((parts / f"niopillars-{rank}.csv").read_text())))
        assert list(rows[0]) == ["n", "y_nm", "x_nm", "height_nm", "width_nm", "charge", "seen"]
        found = (parts / f"niopillars-{rank}-findings.csv").read_text()
        assert found.startswith("class,y_nm,x_nm,verdict,right,truly,feature\ninclusion,")
        assert f'download="niopillars-{rank}-findings.csv"' in section


def test_one_of_them_is_made_by_its_name(copy):
    files = report.write_figure(copy, "niopillars-worst")
    assert [f.name.removeprefix("niopillars-worst") for f in files] == [
        ".csv",
        ".pdf",
        ".svg",
        "-findings.csv",
    ]
    assert not list((copy / "report").glob("niopillars-best*"))
    for name in ("graphenedefects-best", "niopillars-only"):
        with pytest.raises(ValueError, match="of episodes there are: niopillars-best, niopillars-"):
            report.write_figure(copy, name)


def test_maps_that_are_no_maps_cost_only_themselves(copy, monkeypatch):
    monkeypatch.setattr(Believer, "belief", np.zeros((3, 3, 3)))
    page = report.write_report(copy, "again").read_text()
    assert page.count("Its maps cannot be drawn: ") == 2
    assert (copy / "report" / "niopillars-best.svg").is_file()


def test_maps_as_fine_as_noise_do_not_make_a_heavy_page(copy, monkeypatch):
    noise = np.random.default_rng(0).normal(size=(400, 400))

    def explain(self):
        at = np.linspace(-14.0, 14.0, 400)
        return Explanation("so", {f"map {n}": FieldMap(noise, at, at, "") for n in range(9)})

    monkeypatch.setattr(Believer, "explain", explain)
    page = report.write_report(copy, "again").read_text()
    svg = (copy / "report" / "niopillars-best.svg").read_text()
    assert len(svg) <= portraits.LARGEST
    assert page.count("the first 3 of its 9 maps") == 2


def test_an_episode_that_cannot_be_shown_does_not_cost_the_page(copy):
    results = Results(copy)
    for record in results.records():
        results.keep(Job.of(record["job"]).key, {**record, "specimen_digest": "0"})
    page = report.write_report(copy, "again").read_text()
    assert page.count("It cannot be shown here: ValueError: specimen ") == 2
    assert "<h2>Leaderboard</h2>" in page


def test_a_suite_of_no_sample_has_a_page_without_intervals(copy, tmp_path):
    results = Results(tmp_path / "exact", suite_of("exact", {**SUITE, "population": False}))
    for record in Results(copy).records():
        results.keep(Job.of(record["job"]).key, record)
    page = report.write_report(results.folder, "again").read_text()
    assert "without claims about populations" in page
    assert not re.search(r"<small>|95 %|Who beats whom", page)
    parts = results.folder / "report"
    assert not list(parts.glob("improvement.*"))
    assert "(" not in (parts / "leaderboard.md").read_text().split("oracle (knows")[0]
