"""The network: a U-Net with residual blocks (Ronneberger et al. 2015; He et al. 2016).

It is small on purpose: 128 x 128 pixels within 15 ms on one core.  A file of weights holds
several *members*, networks of one shape and about 0.7 MB each: snapshots of one training, whose
disagreement is an uncertainty (Huang et al., *Snapshot Ensembles*, ICLR 2017).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

WIDTHS = (16, 32, 64, 96)
F32 = NDArray[np.float32]


class Residual(nn.Module):
    """Two convolutions and a way past them."""

    def __init__(self, given: int, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(given, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.past = nn.Conv2d(given, width, 1) if given != width else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.past(x) + self.second_norm(self.second(inner)))

    def fuse(self) -> None:
        """Take the norms, which are constant by now, into the convolutions."""
        self.first = fuse_conv_bn_eval(self.first, self.first_norm)
        self.second = fuse_conv_bn_eval(self.second, self.second_norm)
        self.first_norm, self.second_norm = nn.Identity(), nn.Identity()  # type: ignore[assignment]


class UNet(nn.Module):
    """Logits (n, channels, rows, columns) of images (n, 1, rows, columns).

    Args:
        channels: of the output.
        widths: of the levels, each at half the pixels of the one before; the images' sides are
            multiples of 2 to the power of all but the first.
    """

    def __init__(self, channels: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        given = (1, *widths[:-1])
        self.down = nn.ModuleList(Residual(g, w) for g, w in zip(given, widths, strict=True))
        pairs = list(pairwise(widths))
        self.narrow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(Residual(a, a) for a, _ in pairs)
        self.head = nn.Conv2d(widths[0], channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        for level, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if level else x)
            kept.append(x)
        for level in reversed(range(len(self.up))):
            wider = functional.interpolate(self.narrow[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](wider + kept[level])
        logits: torch.Tensor = self.head(x)
        return logits


def ready(members: list[UNet]) -> list[UNet]:
    """The same for looking at pictures only: fused, laid out as the processor likes it."""
    for member in members:
        member.eval()
        for block in (*member.down, *member.up):
            block.fuse()
        member.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return members


def probabilities(members: list[UNet], images: F32) -> tuple[F32, F32]:
    """Mean and standard deviation over the members (n, channels, rows, columns).

    Images (n, rows, columns) are of mean 0 and variance 1.  They are continued beyond
    their borders as mirrors show them, to what the levels' halving needs.
    """
    levels = len(members[0].up)
    rows, columns = images.shape[1:]
    more = [-n % 2**levels for n in (rows, columns)]
    given = torch.from_numpy(np.ascontiguousarray(images))[:, None]
    if any(more):
        way = "reflect" if max(more) < min(rows, columns) else "replicate"
        given = functional.pad(given, (0, more[1], 0, more[0]), mode=way)
    given = given.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        each = [torch.sigmoid(m(given))[..., :rows, :columns] for m in members]
        every = torch.stack(each)
        spread = every.std(dim=0, correction=0) if len(each) > 1 else torch.zeros_like(each[0])
        return _array(every.mean(dim=0)), _array(spread)


def _array(tensor: torch.Tensor) -> F32:
    return np.ascontiguousarray(tensor.numpy())


def state_of(network: UNet) -> dict[str, Any]:
    """Its parameters and norms, without what only training needs."""
    return {k: v for k, v in network.state_dict().items() if "num_batches" not in k}
