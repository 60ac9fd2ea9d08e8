"""What a run leaves: files that are complete, and a page that needs nothing else."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.benchmarks.single import record, summarise
from stemscout.views import terminal
from stemscout.views.folder import COLUMNS, RunFolder
from stemscout.views.report import facts_of
from stemscout.views.style import round_length


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A linear-bo run on graphene, and its folder."""
    from stemscout.envs.registration import make_env

    path = tmp_path_factory.mktemp("runs") / "first"
    env = make_env("StemScout/GrapheneDefects-v0", budget=0.05, terminate_when_done=False)
    experiment = Experiment(env, make_agent("linear-bo"), seed=0)
    record(experiment, RunFolder(path), {"env": "here"}, "stemscout run <script>alert(1)</script>")
    return experiment, path


def test_everything_is_there(finished):
    experiment, path = finished
    assert {p.name for p in path.iterdir()} == {
        "run.json",
        "trajectory.csv",
        "frames",
        "report.html",
    }
    assert len(list((path / "frames").iterdir())) == len(experiment.steps)


def test_run_json_says_what_is_needed_to_repeat_the_run(finished):
    experiment, path = finished
    data = json.loads((path / "run.json").read_text())
    assert data["versions"]["stemscout"]
    assert data["versions"]["scikit-optimize"]
    assert data["seed"] == 0
    configuration = data["configuration"]
    assert configuration["env"] == "here"
    assert configuration["source"]["difficulty"] == "medium"
    assert configuration["source"]["optics"]["energy_kev"] == 60.0
    assert configuration["source"]["costs"]["flyback_us"] > 0
    assert configuration["world"]["digest"]
    assert configuration["agent_settings"]["perception"]["decomposition"] == "pca"
    assert configuration["agent_settings"]["navigator"]["acquisition"] == "EI"
    assert data["spent"]["frames"] == len(experiment.steps)
    assert data["spent"]["rasters"] <= data["budget"]["rasters"]
    assert data["spent"]["charge_e"] == pytest.approx(experiment.env.episode.budget.spent_charge_e)
    assert data["scores"]["seen"] == pytest.approx(experiment.env.episode.task.fraction)
    assert data["scores"]["flagged"]["frames"] == 64


@pytest.fixture(scope="module")
def two_of_five_behind(finished):
    """The same run, as if perception had taken half a second too long in the last two of five."""
    experiment, _ = finished
    steps = [replace(s, perception_s=0.001, scan_s=1.0) for s in experiment.steps[:3]]
    steps += [replace(s, perception_s=1.5, scan_s=1.0) for s in experiment.steps[3:5]]
    return steps


def test_a_summary_says_in_how_many_frames_perception_was_behind(
    finished, two_of_five_behind, monkeypatch
):
    experiment, _ = finished
    monkeypatch.setattr(experiment, "steps", two_of_five_behind)
    summary = summarise(experiment, {}, None)
    assert summary["spent"]["behind_ms_median"] == 0.0
    assert summary["spent"]["behind_share"] == pytest.approx(0.4)
    assert summary["spent"]["behind_s"] == pytest.approx(1.0)
    said = facts_of(summary)["perception"]
    assert said == (
        "1.0 ms (median), longer than the scan that feeds it in 40% of the frames, by 1.00 s in all"
    )
    monkeypatch.setattr(experiment, "steps", two_of_five_behind[:3])
    said = facts_of(summarise(experiment, {}, None))["perception"]
    assert said == "1.0 ms (median), never longer than the scan that feeds it"


def test_the_bar_says_so_while_it_happens(two_of_five_behind, monkeypatch):
    shown = io.StringIO()
    screen = Console(file=shown, force_terminal=True, width=200)
    monkeypatch.setattr(terminal, "console", lambda: screen)
    for steps, said in ((two_of_five_behind[:3], False), (two_of_five_behind, True)):
        with terminal.progress({"agent": "linear-bo", "budget": 1.0}) as on_step:
            for step in steps:
                on_step(step)
        assert f"frame {len(steps)}" in shown.getvalue()
        assert ("perception behind in 2, by 1.00 s" in shown.getvalue()) == said


def test_trajectory_has_a_row_for_each_frame(finished):
    experiment, path = finished
    with (path / "trajectory.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert tuple(rows[0]) == COLUMNS
    assert [int(r["index"]) for r in rows] == list(range(len(experiment.steps)))
    for row, step in zip(rows, experiment.steps, strict=True):
        assert (float(row["y_nm"]), float(row["x_nm"])) == pytest.approx(
            step.frame.region.centre_yx_nm, abs=1e-4
        )
        assert float(row["charge_e"]) == pytest.approx(step.frame.charge_e, abs=1)
        assert float(row["latency_ms"]) > 0
    assert float(rows[-1]["target"]) == pytest.approx(experiment.steps[-1].target, rel=1e-4)


def test_frames_are_kept_whole(finished):
    experiment, path = finished
    for step in experiment.steps:
        with np.load(path / "frames" / f"{step.index:05d}.npz") as kept:
            assert np.array_equal(kept["data_haadf"], step.frame.image)
            assert tuple(kept["centre_yx_nm"]) == step.frame.region.centre_yx_nm


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.links, self.scripts, self.headings = [], [], 0, []
        self._in_heading = False

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self._in_heading = tag in ("h1", "h2")
        if tag == "img":
            self.images.append(found)
        if tag == "script":
            self.scripts += 1
        self.links += [
            v for k, v in attributes if k in ("src", "href") and not v.startswith("data:")
        ]

    def handle_data(self, data):
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False


def test_the_page_needs_nothing_else_and_escapes_what_it_is_given(finished):
    _, path = finished
    text = (path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.links == []
    assert page.scripts == 0
    assert "&lt;script&gt;" in text
    assert not re.search(r"https?://", text)


def test_the_page_has_every_picture_and_says_what_it_is(finished):
    _, path = finished
    page = Page()
    page.feed((path / "report.html").read_text(encoding="utf-8"))
    for heading in (
        "The specimen",
        "What the agent believed at its last decision",
        "What the agent looks for",
        "Discovery",
        "The target along the way",
        "Frames",
    ):
        assert heading in page.headings
    assert len(page.images) == 6
    for image in page.images:
        assert image["alt"]
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        picture = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
        assert min(picture.shape) > 200
        assert picture.std() > 10, "an empty picture"


def test_an_agent_without_beliefs_and_a_specimen_without_truth_have_a_page_too(recorded, tmp_path):
    experiment = Experiment(recorded(budget=0.05), make_agent("grid"), seed=0)
    summary = record(experiment, RunFolder(tmp_path / "r"), {}, "stemscout run")
    assert summary["scores"]["seen"] is None
    page = Page()
    page.feed((tmp_path / "r" / "report.html").read_text(encoding="utf-8"))
    assert page.headings[1:] == ["The specimen", "Frames", "Every frame", "Again"]


def test_a_run_stopped_before_its_first_frame_still_has_its_files(recorded, tmp_path):
    experiment = Experiment(recorded(budget=0.05), make_agent("grid"), seed=0)
    experiment.stop()
    summary = record(experiment, RunFolder(tmp_path / "r"), {}, "stemscout run")
    assert summary["spent"]["frames"] == 0
    assert summary["ended"] == "stopped by a person"
    assert (tmp_path / "r" / "report.html").exists()
    assert (tmp_path / "r" / "trajectory.csv").exists()


def test_of_two_runs_given_one_folder_only_one_has_it(finished, tmp_path):
    experiment, _ = finished
    first, second = RunFolder(tmp_path / "r"), RunFolder(tmp_path / "r")
    first.add(experiment.steps[0])
    with pytest.raises(FileExistsError, match="was taken by another run"):
        second.add(experiment.steps[1])
    assert len(list((tmp_path / "r" / "frames").iterdir())) == 1


def test_a_privileged_run_says_so(tmp_path):
    from stemscout.envs.registration import make_env

    env = make_env("StemScout/GrapheneDefects-v0", budget=0.03, terminate_when_done=False)
    experiment = Experiment(env, make_agent("oracle"), seed=0)
    record(experiment, RunFolder(tmp_path / "r"), {}, "stemscout run")
    text = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert "privileged: it was told the truth" in text
    assert "hidden from the agent" not in text


def test_nothing_is_overwritten(finished, tmp_path):
    _, path = finished
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    with pytest.raises(FileExistsError, match="already holds a run; name a new or empty folder"):
        RunFolder(path)
    assert before == {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    (tmp_path / "other").write_text("mine")
    with pytest.raises(FileExistsError, match="already holds files"):
        RunFolder(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        RunFolder(tmp_path / "other")


@pytest.mark.parametrize(
    ("about", "length"), [(7.5, 5.0), (5.0, 5.0), (4.9, 2.0), (1.0, 1.0), (0.3, 0.2), (250, 200)]
)
def test_scale_bars_are_round(about, length):
    assert round_length(about) == pytest.approx(length)
