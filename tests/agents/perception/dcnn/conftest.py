"""What tests of the segmentation network share."""

from __future__ import annotations

import pytest
import torch

from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.network import UNet
from stemscout.agents.perception.dcnn.weights import Header, save

WIDTHS = (4, 6, 8)


@pytest.fixture(scope="session")
def network_of():
    """A small network with random weights, and norms that have seen something."""

    def made(channels, seed=0):
        torch.manual_seed(seed)
        network = UNet(channels, WIDTHS).train()
        for _ in range(3):
            network(torch.randn(4, 1, 32, 32))
        return network.eval()

    return made


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory, network_of):
    """Two members for graphene, which know nothing."""
    legend = LEGENDS["graphene"]
    path = tmp_path_factory.mktemp("weights") / "graphene.safetensors"
    members = [network_of(len(legend.channels), seed) for seed in (1, 2)]
    header = Header("graphene", legend.pixel_nm, legend.channels, WIDTHS, 2, {"made": "here"})
    save(path, members, header)
    return path
