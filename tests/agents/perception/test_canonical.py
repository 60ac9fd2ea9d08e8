"""Pictures on rings: turns, shifts, scales."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stemscout.agents.perception.canonical import ANGLES, Rings, turn_of

SIDE = 32


@pytest.fixture(scope="module")
def rings():
    return Rings(SIDE)


def blobs(*centres, wide=2.0, scale=1.0):
    """A picture (1, 32, 32) of blobs at (y, x) px from the middle, enlarged as a whole."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    picture = sum(
        np.exp(-((y - scale * a) ** 2 + (x - scale * b) ** 2) / (2 * (scale * wide) ** 2))
        for a, b in centres
    )
    return torch.tensor(picture[None], dtype=torch.float32)


def turned(at, angle):
    """From the columns' axis towards the rows'."""
    y, x = at
    return (
        y * math.cos(angle) + x * math.sin(angle),
        x * math.cos(angle) - y * math.sin(angle),
    )


MOTIF = [(5.0, 1.0), (-4.0, -6.0), (0.0, 3.0)]


def test_errors_are_those_of_every_turn(rings):
    a, b = (torch.randn(2, 16, ANGLES, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    found = rings.errors(a, b)
    for k in (0, 1, 17, 71):
        apart = (a - b.roll(k, dims=2)) ** 2
        expected = (apart * rings.areas[:, None]).sum(dim=(1, 2))
        assert found[:, k].numpy() == pytest.approx(expected.numpy(), rel=1e-4)


@pytest.mark.parametrize("degrees", [0.0, 5.0, 47.3, 90.0, 181.7, 359.0])
def test_the_turn_is_found_between_the_steps_too(rings, degrees):
    angle = math.radians(degrees)
    seen = rings.see(blobs(*(turned(at, angle) for at in MOTIF)))
    shown = rings.see(blobs(*MOTIF))
    off = float(turn_of(rings.errors(seen, shown))[0]) - angle
    assert abs(math.remainder(off, 2 * math.pi)) < math.radians(0.5)


def test_a_quarter_turn_is_a_shift_along_the_rings(rings):
    picture = blobs(*MOTIF)
    turned_left = torch.rot90(picture, 1, dims=(2, 1))  # columns' axis onto the rows'
    expected = rings.see(picture).roll(ANGLES // 4, dims=2)
    assert rings.see(turned_left).numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_it_is_scaled_and_then_shifted(rings):
    """As if the blobs had been larger, and elsewhere."""
    scale, (dy, dx) = 1.2, (2.0, -1.5)
    moved = [(y + dy / scale, x + dx / scale) for y, x in MOTIF]
    expected = rings.see(blobs(*moved, scale=scale))
    found = rings.see(
        blobs(*MOTIF), torch.tensor([[dy, dx]]) / SIDE, torch.tensor([math.log(scale)])
    )
    within = rings.disc > 0.5
    assert (found - expected)[:, within].abs().max() < 0.05
    assert (rings.see(blobs(*MOTIF)) - expected)[:, within].abs().max() > 0.3


def test_shift_and_scale_can_be_learned(rings):
    """Their gradients lead to where the picture came from."""
    seen = rings.see(blobs(*((y * 1.1 + 1.0, x * 1.1 - 2.0) for y, x in MOTIF), wide=2.2))
    offset = torch.zeros(1, 2, requires_grad=True)
    log_scale = torch.zeros(1, requires_grad=True)
    descent = torch.optim.Adam([offset, log_scale], lr=0.01)
    for _ in range(150):
        error = rings.errors(seen, rings.see(blobs(*MOTIF), offset, log_scale))[:, 0].sum()
        descent.zero_grad()
        error.backward()
        descent.step()
    assert (offset * SIDE).detach().numpy() == pytest.approx(np.array([[1.0, -2.0]]), abs=0.1)
    assert math.exp(float(log_scale.detach())) == pytest.approx(1.1, abs=0.01)


def test_what_lies_outside_the_disc_does_not_matter(rings):
    corner = torch.zeros(1, SIDE, SIDE)
    corner[:, :3, :3] = 100.0
    assert float(rings.errors(rings.see(corner), torch.zeros(1, 16, ANGLES)).max()) == 0.0
    assert float((rings.picture * corner).max()) == 0.0


def test_its_pixels_are_those_that_are_seen(rings):
    assert rings.pixels == pytest.approx(float(rings.picture.sum()), rel=0.01)


@pytest.mark.parametrize("degrees", [0.0, 47.3, 90.0, 200.0])
def test_a_picture_is_posed_as_it_is_seen(rings, degrees):
    """Scaled, shifted, turned: on its own pixels as on the rings."""
    angle, (down, right), scale = math.radians(degrees), (1.5, -1.0), 1.2
    wide = 2.5
    at = [(scale * y + down, scale * x + right) for y, x in MOTIF]
    expected = blobs(*(turned(p, angle) for p in at), wide=scale * wide)
    offset = torch.tensor([[down, right]]) / SIDE
    log_scale = torch.tensor([math.log(scale)])
    given = blobs(*MOTIF, wide=wide)
    posed = rings.posed(given, torch.tensor([angle]), offset, log_scale)
    assert posed.numpy() == pytest.approx(expected.numpy(), abs=0.05)
