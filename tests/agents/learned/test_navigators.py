"""Navigators that go by a learned belief: obedient, and towards what can be expected."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stemscout.agents.learned.ahead import BeliefAhead
from stemscout.agents.learned.belief import Belief, BeliefThompson, worth
from stemscout.agents.learned.evidence import Cells
from stemscout.agents.learned.weights import Held, load
from stemscout.agents.navigation.navigator import Candidates, Situation
from stemscout.agents.navigation.search import CELLS, Cover
from stemscout.agents.perception.sightings import BLOCKS, Layers
from stemscout.simulators.specimens import specimen_module

KINDS = (Belief, BeliefAhead, BeliefThompson)
LAYERS = Layers.of("bifeo3")
MODULE = specimen_module("bifeo3")
CELLS_OF = Cells.of((MODULE.FIELD_NM,) * 2, (MODULE.FRAME_NM,) * 2)


@pytest.fixture
def context(context_of):
    return context_of("StemScout/FerroelectricDomains-v0", budget=0.05)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request):
    return request.param


@pytest.fixture
def ready(context, file, kind):
    navigator = kind(belief=str(file))
    navigator.reset(context[0], np.random.default_rng(0))
    return navigator


def situation(centres, sighted=0.0, **options):
    centres = np.asarray(centres, dtype=np.float64).reshape(-1, 2)
    shape = (len(centres), len(LAYERS.names), BLOCKS, BLOCKS)
    k = len(centres)
    return Situation(
        centres, np.full(k, np.nan), np.ones(k), 50,
        sightings=np.full(shape, sighted, np.float32), **options,
    )  # fmt: skip


def test_it_takes_no_frame_twice(ready):
    taken = []
    for _ in range(30):
        taken.append(ready.decide(situation(taken)).centre_yx_nm)
    assert len({tuple(np.round(t, 6)) for t in taken}) == 30


def test_it_goes_where_most_is_expected(ready, monkeypatch):
    likely = np.full((len(LAYERS.classes), *CELLS_OF.shape), 1e-4, np.float32)
    likely[1, 40:44, 20:24] = 0.9
    monkeypatch.setattr(ready, "likely", lambda: likely)
    decision = ready.decide(situation([]))
    (under,) = ready.cells.under(np.array([decision.centre_yx_nm]))
    assert under[0, 0].tolist() == [40, 20]
    assert "wall 180°" in decision.reason


def test_what_is_forbidden_it_leaves_alone(ready):
    half = MODULE.FIELD_NM / 2
    forbidden = [((-half, -half), (half, 0.0))]
    for taken in ([], [[3.0, 3.0]]):
        decision = ready.decide(situation(taken, forbidden=forbidden))
        assert decision.centre_yx_nm[1] >= MODULE.FRAME_NM / 2


def test_evidence_moves_with_the_stage(ready):
    ready.decide(situation([[0.0, 0.0], [3.6, 3.6]], 1.0))
    before = ready.laid.evidence.looks.copy()
    ready.decide(situation([[1.8, 0.0], [5.4, 3.6]], 1.0))
    assert (ready.laid.evidence.looks[0, 4:] == before[0, :-4]).all()


def test_restored_it_decides_the_same(ready, context, file, kind):
    taken = [[0.0, 0.0], [3.6, -3.6]]
    first = ready.decide(situation(taken, 0.5))
    other = kind(belief=str(file))
    other.reset(context[0], np.random.default_rng(9))
    other.restore(ready.save(), situation(taken, 0.5))
    again = other.decide(situation(taken, 0.5))
    assert again.centre_yx_nm == first.centre_yx_nm


def test_the_belief_for_another_specimen_is_refused(context_of, file, kind):
    context, _, _ = context_of("StemScout/GrapheneDefects-v0", budget=0.05)
    with pytest.raises(ValueError, match="none for graphene"):
        kind(belief=str(file)).reset(context, np.random.default_rng(0))


def test_a_frame_is_worth_what_lies_in_the_cells_that_it_tells_of(context_of):
    context, _, _ = context_of("StemScout/FerroelectricDomains-v0", budget=0.05)
    candidates = Candidates.of(context)
    cover = Cover(context, candidates)
    told = cover.told(np.empty((0, 2)))
    weight = np.ones(CELLS_OF.shape, np.float32)
    value = worth(weight, told, cover.places)
    assert value == pytest.approx(told.sum(axis=(1, 2)) * (BLOCKS / CELLS) ** 2)
    weight[:] = 0.0
    weight[30, 30] = 1.0
    centres = candidates.centres_yx_nm[worth(weight, told, cover.places) > 0]
    off = np.abs(centres / MODULE.FRAME_NM * BLOCKS + 32 - 30.5).max(axis=1)
    assert len(centres)
    assert (off <= BLOCKS / 2 - 1).all()


def test_thompson_draws_among_the_networks(context, file):
    navigator = BeliefThompson(str(file))
    navigator.reset(context[0], np.random.default_rng(0))
    drawn = set()
    for _ in range(12):
        decision = navigator.decide(situation([]))
        assert f"as network {navigator.drawn} believes" in decision.reason
        drawn.add(navigator.drawn)
    assert drawn == {0, 1}


def test_thompson_needs_several(context, file):
    alone = Held("bifeo3", load(file).members[:1], {})
    with pytest.raises(ValueError, match="the file has one"):
        BeliefThompson(alone).reset(context[0], np.random.default_rng(0))


class OneOfTwo(torch.nn.Module):
    """Is nearly sure of one place, and that of two wide areas one is full and the other empty."""

    sure, areas = (slice(8, 12), slice(48, 52)), (slice(8, 28), slice(36, 56))
    columns = slice(8, 28)

    def forward(self, given):
        likely = torch.full((len(given), len(LAYERS.classes), *given.shape[2:]), 1e-4)
        likely[:, 0, *self.sure] = 0.9
        seen = [given[:, 2, rows, self.columns].sum(dim=(1, 2)) > 0 for rows in self.areas]
        for k, rows in enumerate(self.areas):
            p = torch.where(seen[k], 0.99, torch.where(seen[1 - k], 0.01, 0.5))
            likely[:, 0, rows, self.columns] = p[:, None, None]
        return torch.logit(likely)


@pytest.mark.parametrize(
    ("kind", "left", "area"),
    [(Belief, 25, False), (BeliefAhead, 1, False), (BeliefAhead, 25, True)],
)
def test_the_rest_of_the_budget_is_minded(context, kind, left, area):
    """What is sure can wait while there is time to find out which of two areas is full."""
    navigator = kind(belief=Held("bifeo3", (OneOfTwo(),), {}))
    navigator.reset(context[0], np.random.default_rng(0))
    decision = navigator.decide(replace(situation([]), left=left))
    ((_, column),) = navigator.cells.at(np.array([decision.centre_yx_nm]))
    assert (column < 30) == area


@pytest.mark.parametrize("given", [{"closely": 0}, {"outcomes": 1.5}, {"closely": "many"}])
def test_what_is_no_count_is_refused(given):
    with pytest.raises(ValueError, match="must be an integer, at least 1"):
        BeliefAhead(**given)
