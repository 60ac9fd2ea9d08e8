"""The navigator that goes by a trained policy: it is shown what was shown in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from stemscout.agents.learned import weights
from stemscout.agents.learned.actor import Preference
from stemscout.agents.learned.detector import Detector
from stemscout.agents.learned.members import cells_of, pool
from stemscout.agents.learned.network import BeliefNet
from stemscout.agents.learned.own_belief import OwnBelief
from stemscout.agents.learned.policies import BELIEFS, Policies
from stemscout.agents.learned.rehearsal import Rehearsal
from stemscout.agents.learned.rehearsal_env import RehearsalEnv
from stemscout.agents.learned.trained import Policy
from stemscout.agents.learned.weights import load
from stemscout.agents.navigation.navigator import Situation
from stemscout.agents.perception.sightings import BLOCKS, Layers

LAYERS, CELLS = Layers.of("bifeo3"), cells_of("bifeo3")
SMALL = {"width": 6, "dilations": (1, 2)}
BUDGET = 0.05


@pytest.fixture(params=BELIEFS)
def belief(request):
    return request.param


@pytest.fixture
def begun(file, monkeypatch):
    net = load(file).member()
    monkeypatch.setattr(weights, "belief_of", lambda specimen: net)
    return net


@pytest.fixture
def held(begun, belief):
    """A policy that was not trained, but that prefers something other than its belief does."""
    torch.manual_seed(2)
    own = OwnBelief(LAYERS, begun) if belief == "tuned" else None
    made = Preference(**SMALL, own=own)
    torch.nn.init.normal_(made.last.weight)
    return Policies("bifeo3", "ppo", dict(SMALL), belief, (made.state_dict(),))


@pytest.fixture
def ready(context_of, held):
    context, _, _ = context_of("StemScout/FerroelectricDomains-v0", budget=BUDGET)
    navigator = Policy(held)
    navigator.reset(context, np.random.default_rng(0))
    return navigator


def situation(centres, left):
    k = len(centres)
    nothing = np.zeros((k, len(LAYERS.names), BLOCKS, BLOCKS), np.float32)
    return Situation(
        np.asarray(centres, float).reshape(-1, 2),
        np.full(k, np.nan), np.ones(k), left, sightings=nothing,
    )  # fmt: skip


def test_it_is_shown_what_was_shown_in_training_and_decides_as_it_did(ready, held, begun, belief):
    detector = Detector.perfect(LAYERS)
    rehearsal = Rehearsal(pool("bifeo3", 1), LAYERS, CELLS, detector, np.random.default_rng(0), 1)
    whole = belief == "tuned"
    given = begun if belief == "frozen" else None
    env = RehearsalEnv(rehearsal, given, BUDGET, "frame", whole)
    maps = env.reset()
    rehearsal.there[:] = 0.0  # so nothing is sighted
    centres = []
    for _ in range(6):
        now = situation(centres, env.left)
        ready.laid.follow(now)
        assert np.allclose(ready.outlook(now), maps, atol=1e-5)
        logits = held.preference()(torch.from_numpy(maps))
        logits[torch.from_numpy(~env.action_masks())] = -np.inf
        choice = logits.argmax(dim=1).numpy()
        decision = ready.decide(now)
        assert "trained by ppo" in decision.reason
        place = ready.candidates.centres_yx_nm[choice[0]]
        assert decision.centre_yx_nm == pytest.approx(tuple(place))
        centres.append(decision.centre_yx_nm)
        maps, _, _, _ = env.step(choice)


def test_restored_it_decides_the_same(ready, held, context_of):
    taken = [ready.decide(situation([], 20)).centre_yx_nm]
    context, _, _ = context_of("StemScout/FerroelectricDomains-v0", budget=BUDGET)
    other = Policy(held)
    other.reset(context, np.random.default_rng(7))
    other.restore(ready.save(), situation(taken, 19))
    now = situation(taken, 19)
    assert other.decide(now).centre_yx_nm == ready.decide(now).centre_yx_nm


def test_what_is_forbidden_it_leaves_alone(ready):
    half = ready.context.field_yx_nm[0] / 2
    now = replace(situation([], 20), forbidden=[((-half, -half), (half, 0.0))])
    assert ready.decide(now).centre_yx_nm[1] >= ready.context.reference.fov_yx_nm[1] / 2


def test_on_another_specimen_it_is_asked_through_that_ones_own_belief(
    held, belief, context_of, monkeypatch
):
    other = Layers.of("mos2")
    net = BeliefNet(2 + len(other.names), len(other.classes)).eval()
    monkeypatch.setattr(weights, "belief_of", {"mos2": net}.__getitem__)
    context, _, _ = context_of("StemScout/MoS2Defects-v0", budget=BUDGET)
    navigator = Policy(held)
    if belief == "tuned":
        with pytest.raises(ValueError, match="the policy for bifeo3 is none for mos2"):
            navigator.reset(context, np.random.default_rng(0))
        return
    navigator.reset(context, np.random.default_rng(0))
    assert navigator.layers == Layers.of("mos2")
    sighted = np.zeros((0, len(navigator.layers.names), BLOCKS, BLOCKS), np.float32)
    now = replace(situation([], 20), sightings=sighted)
    assert "on bifeo3" in navigator.decide(now).reason
