"""What an experiment keeps of its steps."""

from __future__ import annotations

from stemscout.agents.catalogue import make_agent
from stemscout.agents.experiment import Experiment


def test_sentences_of_all_decisions_are_kept_and_the_maps_of_the_latest(graphene):
    """Maps of thousands of steps would fill the memory; whoever iterates has each of them."""
    experiment = Experiment(graphene(budget=0.06), make_agent("linear-bo"), seed=0)
    passed = list(experiment)
    assert sum(bool(s.explanation.maps) for s in passed) > 5
    kept = [s.explanation for s in experiment.steps]
    assert [e.sentence for e in kept] == [s.explanation.sentence for s in passed]
    assert [bool(e.maps) for e in kept] == [False] * (len(kept) - 1) + [True]
    assert [e.components is None for e in kept] == [True] * (len(kept) - 1) + [False]


def test_descriptors_are_kept_of_the_latest_step_alone(graphene):
    """They are of all frames so far; without maps nobody threw them away."""
    experiment = Experiment(graphene(budget=0.06), make_agent("contrast-grid"), seed=0)
    passed = list(experiment)
    assert sum(s.explanation.descriptors is not None for s in passed) > 10
    kept = [s.explanation for s in experiment.steps]
    assert [e.descriptors is None for e in kept] == [True] * (len(kept) - 1) + [False]
    assert [e.frames for e in kept[:-1]] == [()] * (len(kept) - 1)


def test_an_explanation_holds_what_frames_were_made_into(graphene):
    experiment = Experiment(graphene(budget=0.06), make_agent("linear-bo"), seed=0)
    last = list(experiment)[-1].explanation
    assert last.names == tuple(f"component {k}" for k in range(4))
    assert last.descriptors.shape == (14, 4)  # of the frames before it
    assert last.frames == tuple(range(14))
