"""The frame in which turning is counting on: pictures on rings about their middle.

On a polar grid, rings by angles, a turn by one angular step is a cyclic shift.  So the squared
error between two pictures is had for every turn of the one at once, by a Fourier transform
along the rings; none is turned, and nothing is interpolated but once, when the picture is
put on the rings.  A shift and a change of scale are made there too: the picture is sampled
where they lead, by ``grid_sample``, and the sample is differentiable in them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

ANGLES = 72  # steps of 5 degrees; divisible by the symmetries that crystals have
HARMONICS = 13  # along a ring, the constant among them
EDGE = 0.75  # of the radius, from where the disc fades


class Rings(nn.Module):
    """A polar grid about the middle of square pictures, and what is compared on it.

    Rings lie a pixel apart; angles count from the columns' axis towards the rows'.  Everything
    is compared through a disc with a smooth edge, a cosine.

    Args:
        side: of the pictures in px; even.
    """

    points: Tensor
    disc: Tensor
    areas: Tensor
    picture: Tensor
    pixel: Tensor
    waves: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.count = side, side // 2
        radii = torch.arange(self.count) + 0.5
        angles = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
        y, x = radii[:, None] * torch.sin(angles), radii[:, None] * torch.cos(angles)
        # As grid_sample counts: x first, from -1 to 1 between the outer edges.
        points = torch.stack([x, y], dim=-1) / (side / 2)
        from_middle = torch.arange(side) + 0.5 - side / 2
        picture = self._through(torch.hypot(from_middle[:, None], from_middle))
        pixel = torch.stack(torch.meshgrid(from_middle, from_middle, indexing="xy"), dim=-1)
        areas = self._through(radii) * radii * (2 * math.pi / ANGLES)
        phases = angles[:, None] * torch.arange(HARMONICS)
        waves = torch.cat([torch.cos(phases), torch.sin(phases)], dim=1) / ANGLES
        self.register_buffer("waves", waves, persistent=False)
        self.register_buffer("points", points, persistent=False)
        self.register_buffer("disc", self._through(radii), persistent=False)
        self.register_buffer("areas", areas, persistent=False)
        self.register_buffer("picture", picture, persistent=False)
        self.register_buffer("pixel", pixel / (side / 2), persistent=False)

    def _through(self, radii: Tensor) -> Tensor:
        """How much of what lies at these radii in px is seen, from 1 to 0."""
        faded = ((radii / self.count - EDGE) / (1 - EDGE)).clamp(0, 1)
        return 0.5 + 0.5 * torch.cos(math.pi * faded)

    @property
    def pixels(self) -> float:
        """How many are seen, those at the edge in part."""
        return float(self.areas.sum()) * ANGLES

    def see(
        self, pictures: Tensor, offset: Tensor | None = None, log_scale: Tensor | None = None
    ) -> Tensor:
        """Pictures (n, side, side) on the rings, (n, rings, angles): scaled, then shifted.

        Args:
            pictures: nothing (0) lies beyond their edges.
            offset: (n, 2) as (y, x), in sides.
            log_scale: (n,), the logarithms of how much larger they get.
        """
        at = self.points.expand(len(pictures), -1, -1, -1)
        return self._sampled(pictures, at, offset, log_scale)

    def posed(
        self,
        pictures: Tensor,
        turn: Tensor,
        offset: Tensor | None = None,
        log_scale: Tensor | None = None,
    ) -> Tensor:
        """Pictures (n, side, side) scaled, shifted, then turned by ``turn`` (n,) in radians."""
        x, y = self.pixel[..., 0], self.pixel[..., 1]
        cosine, sine = torch.cos(turn)[:, None, None], torch.sin(turn)[:, None, None]
        at = torch.stack([cosine * x + sine * y, cosine * y - sine * x], dim=-1)
        return self._sampled(pictures, at, offset, log_scale)

    def _sampled(
        self, pictures: Tensor, at: Tensor, offset: Tensor | None, log_scale: Tensor | None
    ) -> Tensor:
        """Of pictures (n, side, side) the values at points (n, ..., ..., 2) as (x, y)."""
        if offset is not None:
            at = at - 2.0 * offset.flip(1)[:, None, None]
        if log_scale is not None:
            at = at * torch.exp(-log_scale)[:, None, None, None]
        seen: Tensor = functional.grid_sample(pictures[:, None], at, align_corners=False)
        return seen[:, 0]

    def errors(self, seen: Tensor, shown: Tensor) -> Tensor:
        """Squared errors (n, angles) between what is seen and what is shown, summed over px.

        Both are (n, rings, angles); the k-th error is that of ``shown`` turned by k steps.
        """
        crossed = torch.fft.rfft(seen) * torch.fft.rfft(shown).conj()
        common = torch.fft.irfft((crossed * self.areas[:, None]).sum(dim=1), n=ANGLES)
        alone = (self.areas[:, None] * (seen**2 + shown**2)).sum(dim=(1, 2))
        errors: Tensor = alone[:, None] - 2.0 * common
        return errors.clamp(min=0.0)


def turn_of(errors: Tensor) -> Tensor:
    """The turns (n,) in radians, from 0 to 2 pi, of the least of errors (n, angles).

    Between the steps the error is taken for a parabola.
    """
    least = errors.argmin(dim=1)
    left, at, right = (errors.gather(1, ((least + k) % ANGLES)[:, None])[:, 0] for k in (-1, 0, 1))
    curved = (left - 2.0 * at + right).clamp(min=1e-12)
    between = (0.5 * (left - right) / curved).clamp(-0.5, 0.5)
    return torch.remainder((least + between) * (2 * math.pi / ANGLES), 2 * math.pi)
