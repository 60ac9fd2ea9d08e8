"""The U-Net: shapes, what fusing changes, and what members say together."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

from stemscout.agents.perception.dcnn.legend import LEGENDS
from stemscout.agents.perception.dcnn.network import WIDTHS, UNet, probabilities, ready


@pytest.mark.parametrize("shape", [(64, 64), (27, 27), (8, 8), (61, 200), (9, 16)])
def test_every_pixel_of_any_picture_gets_probabilities(network_of, shape):
    images = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    mean, spread = probabilities(ready([deepcopy(network_of(5))]), images)
    assert mean.shape == spread.shape == (2, 5, *shape)
    assert mean.dtype == np.float32
    assert ((mean >= 0) & (mean <= 1)).all()
    assert not spread.any()


def test_being_made_ready_changes_nothing_that_is_said(network_of):
    network = network_of(5)
    images = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(network(torch.from_numpy(images)[:, None])).numpy()
    found, _ = probabilities(ready([deepcopy(network)]), images)
    assert found == pytest.approx(expected, abs=1e-5)


def test_members_say_their_mean_and_how_far_they_are_apart(network_of):
    images = np.random.default_rng(0).normal(size=(1, 32, 32)).astype(np.float32)
    first, second = (ready([deepcopy(network_of(5, seed))]) for seed in (0, 1))
    one, two = probabilities(first, images)[0], probabilities(second, images)[0]
    mean, spread = probabilities([*first, *second], images)
    assert mean == pytest.approx((one + two) / 2, abs=1e-6)
    assert spread == pytest.approx(np.abs(one - two) / 2, abs=1e-6)


def test_pictures_are_looked_at_one_by_one(network_of):
    """What else is in the batch does not matter."""
    images = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
    members = ready([deepcopy(network_of(5))])
    together, _ = probabilities(members, images)
    alone, _ = probabilities(members, images[1:2])
    assert together[1] == pytest.approx(alone[0], abs=1e-5)


def test_four_snapshots_of_any_legend_fit_in_3_mb():
    for legend in LEGENDS.values():
        network = UNet(len(legend.channels), WIDTHS)
        numbers = sum(v.numel() for v in network.state_dict().values())
        assert 4 * 2 * numbers < 3e6  # in half precision
