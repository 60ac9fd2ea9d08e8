"""Beliefs as they are before any training."""

from __future__ import annotations

import pytest
import torch

from stemscout.agents.learned import weights
from stemscout.agents.learned.network import BeliefNet
from stemscout.agents.perception.sightings import Layers

LAYERS = Layers.of("bifeo3")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    torch.manual_seed(0)
    nets = tuple(BeliefNet(2 + len(LAYERS.names), len(LAYERS.classes)) for _ in range(2))
    path = tmp_path_factory.mktemp("beliefs") / "bifeo3.safetensors"
    weights.save(path, weights.Held("bifeo3", nets, {"median": 1}))
    return path
