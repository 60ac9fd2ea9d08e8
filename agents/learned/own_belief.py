"""A belief within a policy, which is trained with it by what it earns."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ..perception.sightings import Layers
from .network import BeliefNet, extended
from .outlook import CHANNELS, FORESEEN, foreseen
from .rehearsal import lattice_shape


class OwnBelief(nn.Module):
    """Maps (n, CHANNELS, rows, columns) over frames, from ``outlook``'s that are whole.

    Args:
        layers: of the evidence.
        begun: the belief that it begins as; it is left as it is. None for an untrained one, whose
            parameters are loaded.
    """

    kinds: torch.Tensor

    def __init__(self, layers: Layers, begun: BeliefNet | None = None) -> None:
        super().__init__()
        fresh = BeliefNet(2 + len(layers.names), len(layers.classes))
        self.belief = fresh if begun is None else copy.deepcopy(begun)
        self.register_buffer("kinds", extended(layers), persistent=False)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        rows, columns = lattice_shape(given.shape[2:])
        likely = torch.sigmoid(self.belief(given[:, len(CHANNELS) : -1]))
        told = torch.stack(foreseen(likely, given[:, -1], self.kinds), dim=1)
        rest = given[:, FORESEEN : len(CHANNELS), :rows, :columns]
        return torch.cat([told, rest], dim=1)
