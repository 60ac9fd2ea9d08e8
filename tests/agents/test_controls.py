"""What a person may do while an experiment runs."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from stemscout.agents.agent import Needs
from stemscout.agents.catalogue import AGENTS, Entry, make_agent
from stemscout.agents.controls import APPROVE, AUTOMATIC, MANUAL
from stemscout.agents.experiment import PERSON, Experiment

BUDGET = 0.06  # fifteen frames


class Running:
    """An experiment in a thread of its own."""

    def __init__(self, env, name="linear-bo", **options):
        self.records = []
        agent = make_agent(name)

        def record(kind, data):
            self.records.append((kind, data))

        self.of = Experiment(env, agent, seed=0, record=record, **options)
        self.thread = threading.Thread(target=self.of.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.of.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def said(self, kind):
        return [data for of, data in self.records if of == kind]


@pytest.fixture
def running(graphene):
    def make(**options):
        return Running(graphene(budget=BUDGET), **options)

    return make


def centres(experiment):
    return [s.request.centre_yx_nm for s in experiment.steps]


def test_it_waits_and_goes_on(running, eventually):
    with running() as run:
        eventually(lambda: len(run.of.steps) > 2)
        run.of.pause()
        run.thread.join(0.3)
        taken = len(run.of.steps)
        assert run.of.paused
        run.thread.join(0.3)
        assert len(run.of.steps) == taken < 15
        run.of.resume()
        run.thread.join(30)
        assert len(run.of.steps) == 15


class TestManual:
    def test_frames_are_taken_where_a_person_asks_and_nowhere_else(self, running, eventually):
        with running(mode=MANUAL) as run:
            run.thread.join(0.3)
            assert run.of.steps == []
            for place in ((1.0, 2.0), (-3.0, 0.5)):
                run.of.ask(place)
            eventually(lambda: len(run.of.steps) == 2)
            assert centres(run.of) == [
                pytest.approx(p, abs=1e-5) for p in ((1.0, 2.0), (-3.0, 0.5))
            ]
            assert [d["agent"] for d in run.said("decision")] == [PERSON] * 2
            assert "a person asked for it" in run.of.steps[0].explanation.sentence
            assert len(run.of.agent.frames) == 2
            run.of.mode = AUTOMATIC
            run.thread.join(30)
            assert len(run.of.steps) == 15

    def test_there_the_agent_may_be_interrupted_too(self, running, eventually):
        with running() as run:
            eventually(lambda: len(run.of.steps) > 3)
            run.of.ask((5.0, -5.0))
            run.thread.join(30)
            assert any(c == pytest.approx((5.0, -5.0), abs=1e-5) for c in centres(run.of))
            assert len(run.of.steps) == 15

    @pytest.mark.parametrize("place", [(1e3, 0.0), (float("nan"), 0.0)])
    def test_what_is_no_place_is_refused_and_ends_nothing(self, running, eventually, place):
        with running(mode=MANUAL) as run:
            run.of.ask(place)
            eventually(lambda: run.of.refused)
            assert run.said("refused wish")[0]["wish"]["ask"][0] != 0.0
            run.of.ask((0.0, 0.0))
            eventually(lambda: len(run.of.steps) == 1)


class TestApproval:
    def test_each_decision_waits_for_a_person(self, running, eventually):
        with running(mode=APPROVE) as run:
            for count in range(3):
                eventually(
                    lambda n=count: run.of.proposal is not None and run.of.proposal.step == n
                )
                assert len(run.of.steps) == count
                proposed = run.of.proposal
                assert proposed.by == "linear-bo"
                run.of.answer(True)
                eventually(lambda n=count: len(run.of.steps) == n + 1)
                assert run.of.steps[-1].request.centre_yx_nm == proposed.request.centre_yx_nm

    def test_what_is_refused_is_never_scanned(self, running, eventually):
        with running(mode=APPROVE) as run:
            refused = []
            for _ in range(3):
                eventually(
                    lambda: (
                        run.of.proposal is not None
                        and run.of.proposal.request.centre_yx_nm not in refused
                    )
                )
                refused.append(run.of.proposal.request.centre_yx_nm)
                run.of.answer(False)
            run.of.mode = AUTOMATIC
            run.thread.join(30)
            assert not set(refused) & set(centres(run.of))
            assert len(run.of.forbidden) == 3

    def test_a_wish_meanwhile_asks_anew(self, running, eventually):
        with running(mode=APPROVE) as run:
            eventually(lambda: run.of.proposal is not None)
            first = run.of.proposal.request.centre_yx_nm
            y, x = first
            run.of.steer(forbid=[((y - 0.1, x - 0.1), (y + 0.1, x + 0.1))])
            eventually(
                lambda: (
                    run.of.proposal is not None and run.of.proposal.request.centre_yx_nm != first
                )
            )
            assert run.of.steps == []


class TestWishes:
    def test_one_that_cannot_be_granted_is_told_and_ends_nothing(self, running, eventually):
        with running() as run:
            run.of.steer(target="cheese")
            eventually(lambda: run.of.refused)
            assert "unknown component 'cheese'" in run.of.refused[0]
            run.thread.join(30)
            assert len(run.of.steps) == 15
            (told,) = run.said("refused wish")
            assert told["wish"]["target"] == "cheese"
            assert not run.said("steer")

    def test_nothing_is_asked_for_in_what_is_forbidden(self, running, eventually):
        with running(mode=MANUAL) as run:
            run.of.steer(forbid=[((0.0, 0.0), (4.0, 4.0))])
            run.of.ask((4.5, 2.0))
            eventually(lambda: run.of.refused)
            assert "allow that first" in run.of.refused[0]
            run.of.steer(forbid=[])
            run.of.ask((4.5, 2.0))
            eventually(lambda: len(run.of.steps) == 1)

    def test_another_agent_takes_over_the_history(self, running, eventually):
        with running() as run:
            eventually(lambda: len(run.of.steps) > 7)
            run.of.steer(forbid=[((-12.0, -12.0), (0.0, 12.0))])
            run.of.switch("contrast-search")
            run.thread.join(30)
            assert run.of.agent.name == "contrast-search"
            names = [d["agent"] for d in run.said("decision")]
            at = names.index("contrast-search")
            assert 0 < at < 15
            assert len(run.of.agent.frames) == 15
            assert len(set(centres(run.of))) == 15, "it does not begin anew"
            half = run.of.env.episode.reference.fov_yx_nm[0] / 2
            assert all(y - half >= 0 for y, _ in centres(run.of)[at:])

    def test_one_that_does_not_fit_is_refused(self, running, eventually, monkeypatch):
        def cells():
            made = make_agent("raster")
            made.needs = Needs(action="grid")
            return made

        monkeypatch.setitem(AGENTS, "cells", Entry(cells, "takes cells"))
        with running() as run:
            run.of.switch("cheese")
            run.of.switch("cells")
            eventually(lambda: len(run.of.refused) == 2)
            assert "unknown agent 'cheese'" in run.of.refused[0]
            assert "and this experiment was begun with" in run.of.refused[1]
            run.thread.join(30)
            assert len(run.of.steps) == 15

    def test_another_budget_is_that_of_frames_to_come(self, running, eventually):
        with running(name="sobol", mode=APPROVE) as run:
            eventually(lambda: run.of.proposal is not None)
            run.of.allow(0.1)
            run.of.mode = AUTOMATIC
            run.thread.join(30)
            assert len(run.of.steps) == 25

    @pytest.mark.parametrize("budget", [0.0, 1.5, float("nan")])
    def test_a_budget_of_no_use_is_refused(self, running, eventually, budget):
        with running() as run:
            run.of.allow(budget)
            eventually(lambda: run.of.refused)
            run.thread.join(30)
            assert len(run.of.steps) == 15

    def test_an_experiment_is_done_again_with_all_that_was_wished(self, running, graphene):
        with running() as run:
            wishes = [
                ("steer", {"exploration": 2.0}),
                ("ask", {"centre_yx_nm": (3.0, -2.0)}),
                ("steer", {"forbid": [((-12.0, -12.0), (-6.0, 12.0))]}),
                ("switch", {"name": "contrast-bo"}),
                ("allow", {"budget": 0.08}),
            ]
            for verb, given in wishes:
                taken = len(run.of.steps)
                getattr(run.of, verb)(**given)
                while len(run.of.steps) == taken and run.thread.is_alive():
                    run.thread.join(0.01)
            run.thread.join(30)
        had = {}
        for told in run.said("steer"):
            had.setdefault(told["step"], []).append(told["wish"])
        assert sum(map(len, had.values())) == 5
        again = Experiment(graphene(budget=BUDGET), make_agent("linear-bo"), seed=0, wishes=had)
        again.run()
        assert centres(again) == centres(run.of)
        assert len(again.steps) == 20
        for one, other in zip(again.steps, run.of.steps, strict=True):
            assert np.array_equal(one.frame.image, other.frame.image)
