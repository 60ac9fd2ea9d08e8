"""An experiment's panels below a notebook's cell, or wherever Panel serves them."""

from __future__ import annotations

import socket
import subprocess
import sys

import numpy as np
import pytest

import stemscout
from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment
from stemscout.views import notebook
from stemscout.views.console import session as of

pn = pytest.importorskip("panel")

BUDGET = 0.06  # fifteen frames


@pytest.fixture
def experiment(graphene):
    made = Experiment(graphene(budget=BUDGET), make_agent("dcnn-bo"), seed=0)
    yield made
    made.stop()


def page_of(view):
    """What is below the cell, and the page behind it."""
    from stemscout.views.console.inline import _latest

    shown = view._create_view()
    return shown, _latest[view.session][0]


def test_importing_stemscout_imports_no_panel():
    code = "import sys, stemscout; print({'panel', 'bokeh'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.stdout.strip() == "set()"


def test_without_panel_it_says_what_to_install(monkeypatch, experiment):
    monkeypatch.setattr(notebook, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'stemscout\[console\]'"):
        stemscout.view(experiment)


def test_only_experiments_are_shown(graphene):
    with pytest.raises(TypeError, match="view shows an Experiment, and this is of type"):
        stemscout.view(graphene())


def test_one_that_was_not_begun_starts_by_its_button_with_a_guard(experiment):
    view = stemscout.view(experiment)
    assert view._repr_mimebundle_() is not None
    _, page = page_of(view)
    assert page.begin.label == "Start"
    assert not page.begin.disabled
    page.begin.clicks += 1
    assert view.session.wait(60)
    page.update()
    shown = view.session.shown()
    assert (shown.phase, shown.frames) == (of.ENDED, 15)
    assert "beam blanked" in shown.beam
    assert len(page.map.boxes.data["x"])


def test_one_that_was_run_is_rebuilt_from_its_steps(experiment):
    steps = experiment.run()
    view = stemscout.view(experiment)
    shown = view.session.shown()
    assert (shown.phase, shown.frames) == (of.ENDED, len(steps))
    assert shown.charge == pytest.approx([s.spent for s in steps])
    assert shown.recall == pytest.approx([s.fraction for s in steps])
    assert sum(map(len, shown.findings.values())) == len(steps[-1].findings)
    assert shown.segmented is not None
    assert shown.explanation.maps
    assert "frame 15 at (" in shown.log[-1]
    assert 0 < np.isfinite(view.session.mosaic()).mean() < 2 * BUDGET
    _, page = page_of(view)
    assert page.begin.disabled
    assert len(page.curve.curve.data["x"]) == len(steps) + 1


def test_it_is_the_same_as_one_that_was_watched(graphene, experiment):
    view = stemscout.view(experiment)
    view.session.start()
    assert view.session.wait(60)
    again = Experiment(graphene(budget=BUDGET), make_agent("dcnn-bo"), seed=0)
    again.run()
    watched, rebuilt = view.session, stemscout.view(again).session
    assert np.array_equal(watched.mosaic(), rebuilt.mosaic(), equal_nan=True)
    one, other = watched.shown(), rebuilt.shown()
    assert np.array_equal(one.footprints_yx_nm, other.footprints_yx_nm)
    assert one.findings.keys() == other.findings.keys()


def test_shown_again_it_is_the_same_run_and_the_latest_view_has_control(experiment):
    first, second = stemscout.view(experiment), stemscout.view(experiment)
    assert first.session is second.session
    _, before = page_of(first)
    assert before.key is not None
    _, after = page_of(second)
    assert before.key is None
    assert after.key is not None


def test_one_that_went_on_is_shown_as_far_as_it_came(experiment):
    frames = [
        stemscout.view(experiment).session.shown().frames
        for step in experiment
        if step.index in (4, 9)
    ]
    assert frames == [5, 10]


def test_the_key_that_leaves_a_cell_stops_nothing(experiment):
    _, page = page_of(stemscout.view(experiment))
    assert not page.keys.escape
    assert page.stop_button.label == "STOP"


def test_a_browser_shows_it_where_panel_serves_it(chromium, experiment, eventually):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = pn.serve(
        lambda: stemscout.view(experiment, "in a notebook"), port=port, address="127.0.0.1",
        show=False, threaded=True,
    )  # fmt: skip
    wrong = []
    page = chromium.new_page(viewport={"width": 1280, "height": 800})
    page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
    try:
        page.goto(f"http://127.0.0.1:{port}")
        page.get_by_text("in a notebook").first.wait_for()
        page.get_by_role("button", name="Start").click()
        page.get_by_text("ended").first.wait_for()
        page.get_by_text("frame 15 at").first.wait_for()
    finally:
        page.close()
        server.stop()
    assert stemscout.view(experiment).session.shown().frames == 15
    assert wrong == []
